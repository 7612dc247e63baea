package rest

import (
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// examineWords makes a record of each word of a text, with as many issues as it has letters.
func examineWords(text CMCDText) iter.Seq[CMCDRecord] {
	return func(yield func(CMCDRecord) bool) {
		for i, word := range strings.Fields(text.Text) {
			r := CMCDRecord{Record: i + 1, Version: 2, Mode: "event", Values: map[string]any{"sid": word}}
			for range word {
				r.Issues = append(r.Issues, CMCDIssue{Severity: "error", Key: text.Kind, Rule: "type", Message: text.ContentType})
			}
			if !yield(r) {
				return
			}
		}
	}
}

func post(h http.Handler, target, body string) (int, CMCDRecords, string) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, question(target, strings.NewReader(body)))
	var answer CMCDRecords
	_ = json.Unmarshal(w.Body.Bytes(), &answer)
	return w.Code, answer, w.Body.String()
}

func question(target string, body io.Reader) *http.Request {
	r := httptest.NewRequest(http.MethodPost, target, body)
	r.Header.Set("Content-Type", "application/json")
	return r
}

// texts is a request with n texts.
func texts(n int, text string) string {
	one := fmt.Sprintf(`{"kind":"body","text":%q,"content_type":"application/cmcd"}`, text)
	return `{"records":[` + strings.TrimSuffix(strings.Repeat(one+",", n), ",") + `]}`
}

const (
	operators = "/api/v1/cmcd/validate"
	viewers   = "/watch/validate"
)

func TestValidation(t *testing.T) {
	for path, h := range map[string]http.Handler{
		operators: newHandler(t, &engines{}),
		viewers:   NewViewersValidation(examineWords),
	} {
		status, answer, body := post(h, path, `{"records":[{"kind":"query","text":"a"},{"kind":"body","text":"bb c","content_type":"text/cmcd"}]}`)
		if status != http.StatusOK || len(answer.Records) != 3 || answer.Truncated {
			t.Fatalf("%s: %d %s", path, status, body)
		}
		last := answer.Records[2]
		if last.Index != 1 || last.Record != 2 || last.Version != 2 || last.Mode != "event" || len(last.Issues) != 1 || last.Issues[0].Message != "text/cmcd" {
			t.Errorf("%s: last record %+v", path, last)
		}
		if (last.Values != nil) != (path == operators) {
			t.Errorf("%s: values %v", path, last.Values)
		}
		if strings.Contains(body, "null") {
			t.Errorf("%s: null in %s", path, body)
		}
	}
}

// What a stranger asks for is bounded: in what is read, in what is looked at, in what is answered.
func TestValidationIsBounded(t *testing.T) {
	private, public := newHandler(t, &engines{}), NewViewersValidation(examineWords)
	for name, c := range map[string]struct {
		h            http.Handler
		path, body   string
		status       int
		most, issues int
		truncated    bool
	}{
		"as many records as there may be": {private, operators, texts(200, "a"), 200, 200, 200, false},
		"too many records":                {private, operators, texts(201, "a"), 422, 0, 0, false},
		"too many for viewers":            {public, viewers, texts(51, "a"), 422, 0, 0, false},
		"records in a body":               {public, viewers, texts(1, strings.Repeat("a ", 60)), 200, 50, 50, true},
		"issues in a record":              {public, viewers, texts(1, strings.Repeat("a", 500)), 200, 1, 200, true},
		"issues in all":                   {public, viewers, texts(10, strings.Repeat("a", 80)), 200, 3, 200, true},
		"bytes":                           {private, operators, texts(1, strings.Repeat("a", 1<<20)), 413, 0, 0, false},
		"bytes of viewers":                {public, viewers, texts(1, strings.Repeat("a", 64<<10)), 413, 0, 0, false},
		"no records":                      {public, viewers, `{"records":[]}`, 422, 0, 0, false},
		"an unknown kind":                 {public, viewers, `{"records":[{"kind":"film","text":""}]}`, 422, 0, 0, false},
		"no JSON":                         {public, viewers, `br=1`, 400, 0, 0, false},
		"JSON that is cut off":            {public, viewers, `{"records":[{"kind":"query","text":"a"}`, 400, 0, 0, false},
		"more than JSON":                  {public, viewers, texts(1, "a") + `{}`, 400, 0, 0, false},
		"nothing":                         {public, viewers, ``, 400, 0, 0, false},
		"an array":                        {public, viewers, `[]`, 422, 0, 0, false},
		"no texts":                        {public, viewers, `{}`, 422, 0, 0, false},
		"a record that is none":           {public, viewers, `{"records":[null]}`, 422, 0, 0, false},
		"records that are none":           {public, viewers, `{"records":{}}`, 422, 0, 0, false},
		"no text":                         {public, viewers, `{"records":[{"kind":"query"}]}`, 422, 0, 0, false},
		"a text that is none":             {public, viewers, `{"records":[{"kind":"query","text":5}]}`, 422, 0, 0, false},
		"one member more":                 {public, viewers, `{"records":[{"kind":"query","text":"a"}],"x":1}`, 422, 0, 0, false},
		"one member more in a text":       {public, viewers, `{"records":[{"kind":"query","text":"a","x":1}]}`, 422, 0, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			status, answer, body := post(c.h, c.path, c.body)
			issues := 0
			for _, r := range answer.Records {
				issues += len(r.Issues)
			}
			if status != c.status || len(answer.Records) != c.most || issues != c.issues || answer.Truncated != c.truncated {
				t.Errorf("%d with %d records and %d issues, truncated %v: %.200s", status, len(answer.Records), issues, answer.Truncated, body)
			}
		})
	}
}

// What is no question costs little, and is not answered with itself.
func TestValidationOfHostileBodies(t *testing.T) {
	const size = 64<<10 - 20
	fill := func(before, piece, after string) string {
		return before + strings.TrimSuffix(strings.Repeat(piece, (size-len(before)-len(after))/len(piece)), ",") + after
	}
	var properties strings.Builder
	for i := 0; properties.Len() < size-40; i++ {
		fmt.Fprintf(&properties, `,"a%d":1`, i)
	}
	for path, h := range map[string]http.Handler{
		operators: newHandler(t, &engines{}),
		viewers:   NewViewersValidation(examineWords),
	} {
		for name, body := range map[string]string{
			"unknown properties":           `{` + properties.String()[1:] + `}`,
			"unknown properties in a text": `{"records":[{` + properties.String()[1:] + `}]}`,
			"empty records":                fill(`{"records":[`, `{},`, `]}`),
			"wrong kinds":                  fill(`{"records":[`, `{"kind":"x","text":""},`, `]}`),
			"numbers":                      fill(`{"records":[`, `1,`, `]}`),
			"nested arrays":                fill(`{"records":[`, `[`, ``),
			"nested objects":               fill(``, `{"records":`, ``),
			"a long name":                  fill(`{"`, `x`, `":1}`),
			"a long kind":                  fill(`{"records":[{"text":"","kind":"`, `x`, `"}]}`),
			"blanks":                       fill(``, ` `, ``),
			"commas":                       fill(`{"records":[`, `,`, ``),
		} {
			began := time.Now()
			status, _, answer := post(h, path, body)
			if status != http.StatusBadRequest && status != http.StatusUnprocessableEntity || len(answer) > 1<<10 || time.Since(began) > time.Second {
				t.Errorf("%s: %s: %d with %d bytes after %v: %.200s", path, name, status, len(answer), time.Since(began), answer)
			}
		}
	}
}

// An answer has a bound whatever is found.
func TestValidationAnswersAreBounded(t *testing.T) {
	long := strings.Repeat("\u2028", 20_000)
	h := NewViewersValidation(func(CMCDText) iter.Seq[CMCDRecord] {
		return func(yield func(CMCDRecord) bool) {
			for {
				issue := CMCDIssue{Severity: "error", Key: long, Rule: "type", Section: "§", Message: long}
				if !yield(CMCDRecord{Mode: "event", Error: long, Issues: []CMCDIssue{issue, issue, issue, issue}}) {
					return
				}
			}
		}
	})
	status, answer, body := post(h, viewers, texts(50, "a"))
	if status != http.StatusOK || !answer.Truncated || len(answer.Records) != 50 || len(body) > 1<<20 {
		t.Errorf("%d with %d records in %d bytes, truncated %v", status, len(answer.Records), len(body), answer.Truncated)
	}
	if got := answer.Records[0].Issues[0].Message; !strings.HasSuffix(got, "…") || !strings.HasPrefix(long, strings.TrimSuffix(got, "…")) {
		t.Errorf("a message is cut to %q", got)
	}
}

// A page of another origin can send forms and plain text to a listener that it cannot read from; JSON
// needs the leave of that listener.
func TestValidationTakesJSONOnly(t *testing.T) {
	for path, h := range map[string]http.Handler{
		operators: newHandler(t, &engines{}),
		viewers:   NewViewersValidation(examineWords),
	} {
		for contentType, want := range map[string]int{
			"": 415, "text/plain": 415, "application/x-www-form-urlencoded": 415, "text/plain; application/json": 415, "application/jsonp": 415,
			"application/json": 200, "application/json; charset=utf-8": 200, "Application/JSON": 200,
		} {
			w := httptest.NewRecorder()
			r := question(path, strings.NewReader(texts(1, "a")))
			r.Header.Set("Content-Type", contentType)
			if contentType == "" {
				r.Header.Del("Content-Type")
			}
			if h.ServeHTTP(w, r); w.Code != want {
				t.Errorf("%s: %q is answered %d: %s", path, contentType, w.Code, w.Body)
			}
			if w.Header().Get("X-Content-Type-Options") != "nosniff" || w.Header().Get("Cache-Control") != "no-store" {
				t.Errorf("%s: %q is answered with %v", path, contentType, w.Header())
			}
		}
	}
}

// drip is a body that never ends.
type drip struct {
	every time.Duration
	cut   chan struct{} // closed by the deadline
}

func (d *drip) Read(p []byte) (int, error) {
	select {
	case <-d.cut:
		return 0, os.ErrDeadlineExceeded
	case <-time.After(d.every):
		p[0] = ' '
		return 1, nil
	}
}

type cutter struct {
	*httptest.ResponseRecorder
	body *drip
}

func (c cutter) SetReadDeadline(time.Time) error { close(c.body.cut); return nil }

// A body that does not come has a deadline of its own, and holds up nobody.
func TestValidationOfSlowBodies(t *testing.T) {
	for name, every := range map[string]time.Duration{"a byte at a time": time.Second, "never a byte": time.Hour} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := NewViewersValidation(examineWords)
				w := cutter{httptest.NewRecorder(), &drip{every: every, cut: make(chan struct{})}}
				done := make(chan time.Duration)
				start := time.Now()
				go func() {
					h.ServeHTTP(w, question(viewers, w.body))
					done <- time.Since(start)
				}()
				synctest.Wait()
				if status, _, body := post(h, viewers, texts(1, "a")); status != http.StatusOK || time.Since(start) > 0 {
					t.Errorf("another was answered %d after %v: %s", status, time.Since(start), body)
				}
				if took := <-done; w.Code != http.StatusRequestTimeout || took > 6*time.Second {
					t.Errorf("it was answered %d after %v", w.Code, took)
				}
			})
		})
	}
}

type stuck struct {
	*httptest.ResponseRecorder
	goOn chan struct{}
}

func (s stuck) Write(p []byte) (int, error) {
	<-s.goOn
	return s.ResponseRecorder.Write(p)
}

// Who does not take the answer holds up nobody. There are so many places; who finds none is not kept waiting.
func TestValidationHasPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewViewersValidation(examineWords)
		goOn := make(chan struct{})
		var all sync.WaitGroup
		ask := func() {
			all.Go(func() {
				h.ServeHTTP(stuck{httptest.NewRecorder(), goOn}, question(viewers, strings.NewReader(texts(1, "a"))))
			})
		}
		ask()
		synctest.Wait()
		start := time.Now()
		if status, _, body := post(h, viewers, texts(1, "a")); status != http.StatusOK || time.Since(start) > 0 {
			t.Errorf("the second was answered %d after %v: %s", status, time.Since(start), body)
		}
		for range viewerLimits.places - 1 {
			ask()
		}
		synctest.Wait()
		r := httptest.NewRecorder()
		h.ServeHTTP(r, question(viewers, strings.NewReader(texts(1, "a"))))
		if r.Code != http.StatusServiceUnavailable || r.Header().Get("Retry-After") == "" || time.Since(start) > 0 {
			t.Errorf("without a place: %d %v after %v", r.Code, r.Header(), time.Since(start))
		}
		close(goOn)
		all.Wait()
	})
}

// Only so many requests are looked at at a time; who waits too long is told so.
func TestValidationsTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun, goOn := make(chan struct{}), make(chan struct{})
		h := NewViewersValidation(func(CMCDText) iter.Seq[CMCDRecord] {
			return func(func(CMCDRecord) bool) {
				begun <- struct{}{}
				<-goOn
			}
		})
		first := make(chan int)
		go func() {
			status, _, _ := post(h, viewers, texts(1, "a"))
			first <- status
		}()
		<-begun
		for _, body := range []string{texts(1, "a"), `{"no`} { // not even its JSON is looked at
			start := time.Now()
			if status, _, body := post(h, viewers, body); status != http.StatusServiceUnavailable || time.Since(start) != validationPatience {
				t.Errorf("the second was answered %d after %v: %s", status, time.Since(start), body)
			}
		}
		close(goOn)
		if status := <-first; status != http.StatusOK {
			t.Errorf("the first was answered %d", status)
		}
	})
}

func TestValidationIsPostedTo(t *testing.T) {
	w := httptest.NewRecorder()
	newHandler(t, &engines{}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, operators, nil))
	if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "POST" {
		t.Errorf("GET: %d %v", w.Code, w.Header())
	}
}
