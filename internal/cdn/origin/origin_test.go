package origin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// shelf is a Source with objects in memory, which knows how many of them are open.
type shelf struct {
	objects map[string]string
	open    atomic.Int64
	asked   []string
}

type openObject struct {
	io.ReadSeeker
	shelf *shelf
}

func (o *openObject) Close() error { o.shelf.open.Add(-1); return nil }

func (s *shelf) Object(ctx context.Context, key string) (io.ReadSeekCloser, http.Header, error) {
	s.asked = append(s.asked, key)
	switch key {
	case "wait":
		<-ctx.Done()
		return nil, nil, fmt.Errorf("wait for %q: %w", key, ctx.Err())
	case "secret":
		return nil, nil, fs.ErrPermission
	case "broken":
		return nil, nil, errors.New("open /var/objects/x: input/output error")
	}
	body, ok := s.objects[key]
	if !ok {
		return nil, nil, fmt.Errorf("object %q: %w", key, fs.ErrNotExist)
	}
	s.open.Add(1)
	return &openObject{strings.NewReader(body), s}, http.Header{
		"Content-Type": {"video/mp4"}, "Cache-Control": {"max-age=60"}, "Etag": {`"` + key + `"`},
	}, nil
}

func newOrigin(t testing.TB) (*Handler, *shelf) {
	t.Helper()
	h, err := New(Settings{Registerer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	s := &shelf{objects: map[string]string{"a/1.m4s": "abcdefghij", "deep/er/x": "x", "empty": ""}}
	h.Mount("live/", s)
	return h, s
}

// ways are the two ways to ask an origin; both are to answer alike.
func ways(h *Handler) map[string]func(*http.Request) *http.Response {
	return map[string]func(*http.Request) *http.Response{
		"over the network": func(r *http.Request) *http.Response {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			return w.Result()
		},
		"in process": func(r *http.Request) *http.Response {
			w, err := h.RoundTrip(r)
			if err != nil {
				return &http.Response{Status: err.Error(), Body: http.NoBody}
			}
			return w
		},
	}
}

func TestAnswers(t *testing.T) {
	for _, tt := range []struct {
		name, method, target string
		fields               []string
		status               int
		body                 string
		header               map[string]string
	}{
		{"whole", "GET", "/live/a/1.m4s", nil, 200, "abcdefghij", map[string]string{
			"Content-Length": "10", "Content-Type": "video/mp4", "Cache-Control": "max-age=60", "Etag": `"a/1.m4s"`,
		}},
		{"head", "HEAD", "/live/a/1.m4s", nil, 200, "", map[string]string{"Content-Length": "10"}},
		{"part", "GET", "/live/a/1.m4s", []string{"Range", "bytes=2-4"}, 206, "cde", map[string]string{
			"Content-Length": "3", "Content-Range": "bytes 2-4/10",
		}},
		{"several parts", "GET", "/live/a/1.m4s", []string{"Range", "bytes=0-1,4-5"}, 200, "abcdefghij", nil},
		{"no such part", "GET", "/live/a/1.m4s", []string{"Range", "bytes=10-"}, 416, "*", map[string]string{"Content-Range": "bytes */10"}},
		{"unchanged", "GET", "/live/a/1.m4s", []string{"If-None-Match", `"a/1.m4s"`}, 304, "", map[string]string{
			"Etag": `"a/1.m4s"`, "Cache-Control": "max-age=60",
		}},
		{"changed", "GET", "/live/a/1.m4s", []string{"If-None-Match", `"old"`}, 200, "abcdefghij", nil},
		{"empty", "GET", "/live/empty", nil, 200, "", map[string]string{"Content-Length": "0"}},
		{"deep", "GET", "/live/deep/er/x", nil, 200, "x", nil},
		{"another spelling", "GET", "/live//deep/./y/../er/x", nil, 200, "x", nil},
		{"absent", "GET", "/live/b", nil, 404, "*", map[string]string{
			"Cache-Control": "max-age=1", "Content-Type": "application/problem+json",
		}},
		{"nowhere", "GET", "/vod/a/1.m4s", nil, 404, "*", nil},
		{"the mount itself", "GET", "/live/", nil, 404, "*", nil},
		{"a directory", "GET", "/live/a/", nil, 404, "*", nil},
		{"out of the mount", "GET", "/live/../live/../../etc/passwd", nil, 404, "*", nil},
		{"not permitted", "GET", "/live/secret", nil, 403, "*", map[string]string{"Cache-Control": "no-store"}},
		{"broken", "GET", "/live/broken", nil, 500, "*", map[string]string{"Cache-Control": "no-store"}},
		{"other method", "POST", "/live/a/1.m4s", nil, 405, "*", map[string]string{"Allow": "GET, HEAD"}},
	} {
		h, source := newOrigin(t)
		for way, ask := range ways(h) {
			t.Run(tt.name+" "+way, func(t *testing.T) {
				u, err := url.ParseRequestURI(tt.target)
				if err != nil {
					t.Fatal(err)
				}
				r := (&http.Request{Method: tt.method, URL: u, Header: http.Header{}}).WithContext(t.Context())
				for i := 0; i < len(tt.fields); i += 2 {
					r.Header.Set(tt.fields[i], tt.fields[i+1])
				}
				w := ask(r)
				body, err := io.ReadAll(w.Body)
				if err != nil {
					t.Fatal(err)
				}
				if w.StatusCode != tt.status || tt.body != "*" && string(body) != tt.body {
					t.Errorf("%d %q, want %d %q (%s)", w.StatusCode, body, tt.status, tt.body, w.Status)
				}
				if tt.body != "*" && tt.method != "HEAD" && tt.status != 304 && w.ContentLength != int64(len(body)) {
					t.Errorf("ContentLength = %d of %d bytes", w.ContentLength, len(body))
				}
				for name, want := range tt.header {
					if got := w.Header.Get(name); got != want {
						t.Errorf("%s = %q, want %q", name, got, want)
					}
				}
				if strings.Contains(string(body), "/var/objects") {
					t.Errorf("the answer tells a file's name: %s", body)
				}
				if err := w.Body.Close(); err != nil {
					t.Error(err)
				}
				if n := source.open.Load(); n != 0 {
					t.Errorf("%d objects are still open", n)
				}
			})
		}
	}
}

func TestLongestPrefixWins(t *testing.T) {
	h, all := newOrigin(t)
	part := &shelf{objects: map[string]string{"x": "part"}}
	h.Mount("/live/deep", part)
	h.Mount("", &shelf{objects: map[string]string{"live/x": "never", "y": "root"}})
	for target, want := range map[string]string{"/live/deep/x": "part", "/live/a/1.m4s": "abcdefghij", "/y": "root"} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", target, nil))
		if w.Body.String() != want {
			t.Errorf("%s: %q, want %q", target, w.Body, want)
		}
	}
	if d := cmp.Diff([]string{"a/1.m4s"}, all.asked); d != "" {
		t.Error(d)
	}
	h.Mount("live/deep/", &shelf{objects: map[string]string{"x": "new"}})
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/live/deep/x", nil))
	if w.Body.String() != "new" {
		t.Errorf("after it was mounted again: %q", w.Body)
	}
}

func TestContextEndsAWaitingRequest(t *testing.T) {
	h, _ := newOrigin(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		w, err := h.RoundTrip(httptest.NewRequestWithContext(ctx, "GET", "/live/wait", nil))
		if err == nil {
			_ = w.Body.Close()
		}
		done <- err
	}()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("RoundTrip = %v", err)
	}
}

func TestBodyInProcess(t *testing.T) {
	h, source := newOrigin(t)
	source.objects["large"] = strings.Repeat("x", 10<<20)
	ctx, cancel := context.WithCancel(t.Context())
	w, err := h.RoundTrip(httptest.NewRequestWithContext(ctx, "GET", "/live/large", nil))
	if err != nil {
		t.Fatal(err)
	}
	if w.Header.Get("Date") == "" {
		t.Error("there is no Date")
	}
	// The reader is handed over: a large read is answered at once, and nothing was copied before.
	p := make([]byte, 1<<20)
	if n, err := w.Body.Read(p); err != nil || n != 1<<20 {
		t.Errorf("Read = %d, %v", n, err)
	}
	cancel()
	if _, err := w.Body.Read(p); !errors.Is(err, context.Canceled) {
		t.Errorf("Read after the context's end = %v", err)
	}
	if n := source.open.Load(); n != 1 {
		t.Errorf("%d objects are open, want 1", n)
	}
	for range 2 {
		if err := w.Body.Close(); err != nil {
			t.Error(err)
		}
	}
	if n := source.open.Load(); n != 0 {
		t.Errorf("%d objects are open after Close", n)
	}
	if got := testutil.ToFloat64(h.metrics.requests.WithLabelValues("200")); got != 1 {
		t.Errorf("%v requests are counted", got)
	}
	if got := testutil.ToFloat64(h.metrics.bytes); got != 1<<20 {
		t.Errorf("%v bytes are counted", got)
	}
}

func TestCaptureOfASecondAnswerIsWhole(t *testing.T) {
	c := &capture{header: http.Header{}}
	for _, r := range []io.Reader{
		&io.LimitedReader{R: strings.NewReader("captured, and more"), N: 8}, strings.NewReader(" copied"),
	} {
		if _, err := io.Copy(c, r); err != nil {
			t.Fatal(err)
		}
	}
	got, err := io.ReadAll(c.body())
	// A writer that is given several readers cannot keep their order; none of the two may be lost.
	if err != nil || !bytes.Contains(got, []byte("captured")) || !bytes.Contains(got, []byte(" copied")) {
		t.Errorf("%q, %v", got, err)
	}
}

func FuzzPaths(f *testing.F) {
	for _, s := range []string{"/live/a/1.m4s", "/live/../../x", "//live//..", "/live/a\\..\\b", "/live/\x00", "/live/a/./"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, p string) {
		h, source := newOrigin(t)
		w, err := h.RoundTrip((&http.Request{Method: "HEAD", URL: &url.URL{Path: p}, Header: http.Header{}}).WithContext(t.Context()))
		if err != nil {
			t.Fatal(err)
		}
		_ = w.Body.Close()
		for _, key := range source.asked {
			if !fs.ValidPath(key) || key == "." || strings.ContainsAny(key, "\\\x00") {
				t.Errorf("%q: the source was asked for %q", p, key)
			}
		}
		if n := source.open.Load(); n != 0 {
			t.Errorf("%d objects are still open", n)
		}
	})
}

func BenchmarkRoundTripSegment(b *testing.B) {
	h, source := newOrigin(b)
	source.objects["seg"] = strings.Repeat("x", 1<<20)
	buffer := make([]byte, 256<<10)
	b.SetBytes(1 << 20)
	b.ReportAllocs()
	for b.Loop() {
		source.asked = source.asked[:0]
		w, err := h.RoundTrip(httptest.NewRequest("GET", "/live/seg", nil))
		if err != nil {
			b.Fatal(err)
		}
		for {
			if _, err := w.Body.Read(buffer); err != nil {
				break
			}
		}
		_ = w.Body.Close()
	}
}
