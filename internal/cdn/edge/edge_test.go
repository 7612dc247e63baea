package edge

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/weir-stream/weir/internal/cdn/cache"
	"github.com/weir-stream/weir/internal/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// member is the grammar of a Cache-Status member as this edge may write it: RFC 9211 §2 in the syntax of
// RFC 8941.
var member = regexp.MustCompile(`^(?:[A-Za-z*][A-Za-z0-9:/!#$%&'*+\-.^_` + "`" + `|~]*|"(?:[ !#-\[\]-~]|\\["\\])*")` +
	`(?:; hit|; fwd=(?:bypass|method|uri-miss|vary-miss|miss|request|stale|partial)(?:; fwd-status=[1-5][0-9][0-9])?(?:; collapsed)?(?:; stored)?)` +
	`(?:; ttl=-?[0-9]{1,15})?(?:; detail=[a-z-]+)?$`)

// originFunc is an origin in the words of a test.
type originFunc func(*http.Request) (*http.Response, error)

func (f originFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// reply makes an origin's answer; fields are pairs of name and value.
func reply(status int, body string, fields ...string) *http.Response {
	h := http.Header{}
	for i := 0; i < len(fields); i += 2 {
		h.Add(fields[i], fields[i+1])
	}
	return &http.Response{
		StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
	}
}

// harness is an edge in front of an origin of the test's, with everything that it was asked and told.
type harness struct {
	*Handler
	cache *cache.Cache

	mu    sync.Mutex
	asked []*http.Request
	rows  []telemetry.Request
}

// sentOnce is in the context of a request that is not to be sent a second time.
type sentOnce struct{}

func newHarness(t testing.TB, origin originFunc, change ...func(*Config, *cache.Config)) *harness {
	t.Helper()
	cfg, cacheCfg := DefaultConfig(), cache.DefaultConfig()
	cfg.Rules = MediaRules()
	for _, f := range change {
		f(&cfg, &cacheCfg)
	}
	c, err := cache.New(cache.Settings{Config: cacheCfg})
	if err != nil {
		t.Fatal(err)
	}
	hs := &harness{cache: c}
	hs.Handler, err = New(Settings{
		Config: cfg, ID: "edge-1", Cache: c,
		OriginURL: &url.URL{Scheme: "http", Host: "origin.example"},
		Origin: originFunc(func(r *http.Request) (*http.Response, error) {
			hs.mu.Lock()
			hs.asked = append(hs.asked, r)
			hs.mu.Unlock()
			return origin(r)
		}),
		Once: func(ctx context.Context) context.Context { return context.WithValue(ctx, sentOnce{}, true) },
		Observe: func(row *telemetry.Request) {
			hs.mu.Lock()
			hs.rows = append(hs.rows, *row)
			hs.mu.Unlock()
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- hs.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return hs
}

// get asks the edge; fields are pairs of name and value.
func (hs *harness) get(target string, fields ...string) *httptest.ResponseRecorder {
	return hs.do("GET", target, fields...)
}

func (hs *harness) do(method, target string, fields ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i < len(fields); i += 2 {
		r.Header.Add(fields[i], fields[i+1])
	}
	w := httptest.NewRecorder()
	hs.ServeHTTP(w, r)
	return w
}

// unfinished asks the edge for what it cannot answer to the end, and says so by aborting.
func (hs *harness) unfinished(t testing.TB, r *http.Request) {
	t.Helper()
	defer func() {
		if p, ok := recover().(error); !ok || !errors.Is(p, http.ErrAbortHandler) {
			t.Errorf("the handler ended with %v, want http.ErrAbortHandler", p)
		}
	}()
	hs.ServeHTTP(httptest.NewRecorder(), r)
}

func (hs *harness) fetches() int {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	return len(hs.asked)
}

func (hs *harness) row(t testing.TB, i int) telemetry.Request {
	t.Helper()
	hs.mu.Lock()
	defer hs.mu.Unlock()
	if i < 0 {
		i += len(hs.rows)
	}
	if i < 0 || i >= len(hs.rows) {
		t.Fatalf("there are %d rows, no number %d", len(hs.rows), i)
	}
	return hs.rows[i]
}

func (hs *harness) rowCount() int {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	return len(hs.rows)
}

func TestMissThenHit(t *testing.T) {
	hs := newHarness(t, func(*http.Request) (*http.Response, error) {
		return reply(200, "segment", "Cache-Control", "max-age=60", "Content-Type", "video/mp4", "Etag", `"1"`), nil
	})
	for i, want := range []struct{ status, cache, reason string }{
		{"edge-1; fwd=uri-miss; fwd-status=200; stored; ttl=", "miss", "cold"},
		{"edge-1; hit; ttl=", "hit", ""},
	} {
		w := hs.get("/live/sport/final/video-1-7.m4s")
		if w.Code != 200 || w.Body.String() != "segment" {
			t.Fatalf("answer %d: %d %q", i, w.Code, w.Body)
		}
		got := w.Header().Get("Cache-Status")
		if !strings.HasPrefix(got, want.status) {
			t.Errorf("Cache-Status %d = %q, want %q…", i, got, want.status)
		}
		row := hs.row(t, i)
		if row.CacheStatus != want.cache || row.MissReason != want.reason {
			t.Errorf("row %d: %q, %q", i, row.CacheStatus, row.MissReason)
		}
		if row.Stream != "sport/final" || row.Kind != "segment" || row.Bytes != 7 || row.Status != 200 {
			t.Errorf("row %d: %+v", i, row)
		}
	}
	if n := hs.fetches(); n != 1 {
		t.Errorf("%d fetches, want 1", n)
	}
}
