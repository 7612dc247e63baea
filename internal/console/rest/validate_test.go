package rest

import (
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"net/http/httptest"
	"strings"
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
	r := httptest.NewRequest(http.MethodPost, target, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	h.ServeHTTP(w, r)
	var answer CMCDRecords
	_ = json.Unmarshal(w.Body.Bytes(), &answer)
	return w.Code, answer, w.Body.String()
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
		viewers:   NewViewersValidation(viewers, examineWords),
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
	private, public := newHandler(t, &engines{}), NewViewersValidation(viewers, examineWords)
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

// Only so many requests are looked at at a time; who waits too long is told so.
func TestValidationsTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun, goOn := make(chan struct{}), make(chan struct{})
		h := NewViewersValidation(viewers, func(CMCDText) iter.Seq[CMCDRecord] {
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
		start := time.Now()
		if status, _, body := post(h, viewers, texts(1, "a")); status != http.StatusServiceUnavailable || time.Since(start) != validationPatience {
			t.Errorf("the second was answered %d after %v: %s", status, time.Since(start), body)
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
