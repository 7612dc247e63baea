package e2e

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

// The headers of CMCD, as Chromium writes them into a request of HTTP/1.1 without their case.
var cmcdHeaders = []string{"cmcd-object", "cmcd-request", "cmcd-session", "cmcd-status"}

// wire is what a tab puts on the wire, as the browser's network stack tells it. It shares nothing with
// the page and nothing with the program.
type wire struct {
	mu       sync.Mutex
	requests map[network.RequestID]*onWire
	order    []*onWire
}

// onWire is one request.
type onWire struct {
	method, url string
	at          time.Time
	body        []byte
	cmcd        map[string]string // its CMCD headers, by their names in lower case
	sent        bool              // the network stack has written its headers
	cached      bool              // the browser had the answer and sent nothing
	status      int64             // of the answer, 0 as long as there is none
}

// listen begins before the page is opened, or what its first script sends would be missed.
func listen(t *testing.T, ctx context.Context) *wire {
	t.Helper()
	w := &wire{requests: make(map[network.RequestID]*onWire)}
	if err := chromedp.Listen(ctx, w.hear); err != nil {
		t.Fatal(err)
	}
	all := int64(1 << 20) // as large as the collector takes
	if _, err := chromedp.Call(ctx, network.Enable, network.EnableParams{MaxPostDataSize: &all}); err != nil {
		t.Fatalf("listen to the tab's network: %v", err)
	}
	return w
}

func (w *wire) hear(event any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		r := w.request(e.RequestID)
		r.method, r.url, r.at = e.Request.Method, e.Request.URL, time.UnixMicro(int64(e.WallTime.Float64()*1e6))
		r.body = nil
		for _, entry := range e.Request.PostDataEntries {
			r.body = append(r.body, entry.Bytes...)
		}
	case *network.EventRequestWillBeSentExtraInfo: // may come first
		r := w.request(e.RequestID)
		r.sent, r.cmcd = true, make(map[string]string)
		for name, value := range e.Headers {
			if name = strings.ToLower(name); slices.Contains(cmcdHeaders, name) {
				r.cmcd[name] = fmt.Sprint(value)
			}
		}
	case *network.EventRequestServedFromCache:
		w.request(e.RequestID).cached = true
	case *network.EventResponseReceived:
		w.request(e.RequestID).status = e.Response.Status
	}
}

func (w *wire) request(id network.RequestID) *onWire {
	r := w.requests[id]
	if r == nil {
		r = &onWire{}
		w.requests[id] = r
		w.order = append(w.order, r)
	}
	return r
}

// spoken are the records of CMCD that a tab has sent in one session.
type spoken struct {
	requests map[string][]request // for an object, by the object's path
	reports  []record
	posts    []int64 // the status that each POST of reports was answered with, 0 if it has no answer yet
}

// request is one request for an object. One that the browser answered itself has no record.
type request struct {
	at   time.Time
	said record
}

// records are those of the requests for a path that went out with CMCD.
func (s *spoken) records(path string) []record {
	var out []record
	for _, r := range s.requests[path] {
		if r.said != nil {
			out = append(out, r.said)
		}
	}
	return out
}

func (s *spoken) count() int {
	n := 0
	for path := range s.requests {
		n += len(s.records(path))
	}
	return n
}

// said reads the records of the session strictly, so a player that writes what RFC 8941 does not
// allow fails the test: then the rows would have nothing to be compared with.
func (w *wire) said(sid string) (*spoken, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := &spoken{requests: make(map[string][]request)}
	for _, r := range w.order {
		u, err := url.Parse(r.url)
		if err != nil {
			return nil, err
		}
		if r.method == http.MethodPost && r.sent && strings.HasPrefix(u.Path, "/cmcd") {
			reports, err := r.reports(sid)
			if err != nil {
				return nil, err
			}
			if len(reports) > 0 {
				s.reports = append(s.reports, reports...)
				s.posts = append(s.posts, r.status)
			}
			continue
		}
		if r.method != http.MethodGet {
			continue
		}
		said, err := r.record(u)
		if err != nil {
			return nil, err
		}
		if said == nil || said.is(sid) {
			s.requests[u.Path] = append(s.requests[u.Path], request{at: r.at, said: said})
		}
	}
	return s, nil
}

// reports are the session's records in the body of a POST.
func (r *onWire) reports(sid string) ([]record, error) {
	var mine []record
	for line := range bytes.SplitSeq(r.body, []byte("\n")) {
		if len(line) == 0 {
			continue
		}
		report, err := strict(string(line))
		if err != nil {
			return nil, fmt.Errorf("report %q: %w", line, err)
		}
		if report.is(sid) {
			mine = append(mine, report)
		}
	}
	return mine, nil
}

// record is what went out with a request for an object, nil if nothing did.
func (r *onWire) record(u *url.URL) (record, error) {
	if !r.sent || r.cached {
		return nil, nil
	}
	var shards []string
	for _, name := range cmcdHeaders {
		if value := r.cmcd[name]; value != "" {
			shards = append(shards, value)
		}
	}
	if value := u.Query().Get("CMCD"); len(shards) == 0 && value != "" {
		shards = append(shards, value)
	}
	if len(shards) == 0 {
		return nil, nil
	}
	said, err := strict(strings.Join(shards, ","))
	if err != nil {
		return nil, fmt.Errorf("%s: %q: %w", r.url, shards, err)
	}
	return said, nil
}
