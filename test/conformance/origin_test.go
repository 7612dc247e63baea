package conformance

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// The origin of our own rules. Each path has a script of its own; the fields with which it answers are
// written on the wire as they are in it.

// answer is what the origin answers with.
type answer struct {
	interim []interim // go first
	status  int       // 0: 200
	fields  []string  // "Name: value"
	// hold, if not nil, is waited for between the interim answers and the final one.
	hold <-chan struct{}
}

type interim struct {
	status int
	fields []string
}

// scripted is an origin with one answer after the other for each path; the last one stays.
type scripted struct {
	*httptest.Server

	mu      sync.Mutex
	answers map[string][]answer
	asked   map[string]int
}

// serial is the field by which a viewer knows which answer it got.
const serial = "Serial"

func newOrigin(t *testing.T) *scripted {
	o := &scripted{answers: make(map[string][]answer), asked: make(map[string]int)}
	o.Server = httptest.NewServer(o)
	t.Cleanup(o.Close)
	return o
}

// says sets the script of a path.
func (o *scripted) says(path string, answers ...answer) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.answers[path] = answers
}

// requests returns how often a path was asked for.
func (o *scripted) requests(path string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.asked[path]
}

func (o *scripted) next(path string) (a answer, n int, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := o.answers[path]
	if len(all) == 0 {
		return answer{}, 0, false
	}
	o.asked[path]++
	n = o.asked[path]
	return all[min(n, len(all))-1], n, true
}

// ServeHTTP writes on the connection itself: what is tested is also what no server would send.
func (o *scripted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a, n, ok := o.next(r.URL.Path)
	if !ok {
		http.NotFound(w, r)
		return
	}
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer conn.Close()
	for _, early := range a.interim {
		fmt.Fprintf(buffered, "HTTP/1.1 %d %s\r\n%s\r\n", early.status, http.StatusText(early.status), lines(early.fields))
	}
	buffered.Flush()
	if a.hold != nil {
		select {
		case <-a.hold:
		case <-time.After(10 * time.Second):
		}
	}
	if a.status == 0 {
		a.status = http.StatusOK
	}
	fmt.Fprintf(buffered, "HTTP/1.1 %d %s\r\n%sConnection: close\r\n", a.status, http.StatusText(a.status), lines(a.fields))
	if a.status == http.StatusNotModified {
		fmt.Fprint(buffered, "\r\n")
	} else {
		body := "answer " + strconv.Itoa(n)
		fmt.Fprintf(buffered, "%s: %d\r\nContent-Length: %d\r\n\r\n%s", serial, n, len(body), body)
	}
	buffered.Flush()
}

// lines writes fields; a {date±seconds} in them is that time.
func lines(fields []string) string {
	var text strings.Builder
	for _, field := range fields {
		if before, rest, ok := strings.Cut(field, "{date"); ok {
			offset, after, _ := strings.Cut(rest, "}")
			seconds, _ := strconv.Atoi(offset)
			field = before + time.Now().Add(time.Duration(seconds)*time.Second).UTC().Format(http.TimeFormat) + after
		}
		text.WriteString(field + "\r\n")
	}
	return text.String()
}

// seen is an answer as a viewer got it.
type seen struct {
	interim []int
	early   []textproto.MIMEHeader
	status  int
	serial  string
	header  http.Header
}

// get asks for a path once. onInterim, if not nil, is called for each interim answer as it comes.
func get(t *testing.T, c *http.Client, url string, onInterim func(status int)) seen {
	t.Helper()
	var s seen
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(status int, header textproto.MIMEHeader) error {
			s.interim = append(s.interim, status)
			s.early = append(s.early, header)
			if onInterim != nil {
				onInterim(status)
			}
			return nil
		},
	})
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	s.status, s.serial, s.header = resp.StatusCode, resp.Header.Get(serial), resp.Header
	if s.serial != "" && string(body) != "answer "+s.serial {
		t.Errorf("the body is %q, but the fields are those of answer %s", body, s.serial)
	}
	return s
}

// rawGet asks in an older version of the protocol, and returns all that comes.
func rawGet(t *testing.T, base, path, version string) string {
	t.Helper()
	address := strings.TrimPrefix(base, "http://")
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "GET %s %s\r\nHost: %s\r\nConnection: close\r\n\r\n", path, version, address)
	said, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	return string(said)
}
