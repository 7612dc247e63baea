package upstream

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newPool returns a running pool that ends with the test.
func newPool(t testing.TB, change ...func(*Settings)) *Pool {
	t.Helper()
	s := Settings{Config: DefaultConfig(), ID: "edge-1", Registerer: prometheus.NewRegistry()}
	for _, f := range change {
		f(&s)
	}
	p, err := New(s)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return p
}

func origins(urls ...string) func(*Settings) {
	return func(s *Settings) {
		for _, u := range urls {
			s.Config.Origins = append(s.Config.Origins, OriginConfig{URL: u})
		}
	}
}

func config(f func(*Config)) func(*Settings) { return func(s *Settings) { f(&s.Config) } }

// serve starts an origin.
func serve(t testing.TB, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

// says answers everything with body.
func says(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }
}

// refusing returns the URL of an address that nobody listens on.
func refusing(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	return "http://" + l.Addr().String()
}

// raw starts an origin that does with each connection what f does, after a request head has been read.
func raw(t testing.TB, f func(net.Conn)) (url string, requests *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	requests = new(atomic.Int64)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			buffer := make([]byte, 64<<10)
			if n, _ := c.Read(buffer); n > 0 {
				requests.Add(1)
				f(c)
			}
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return "http://" + l.Addr().String(), requests
}

func reset(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0) }

func request(t testing.TB, method, target string, body io.Reader) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://origin"+target, body)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// get asks for target and returns the body.
func get(t testing.TB, p *Pool, target string) (string, Trace, error) {
	t.Helper()
	return send(t, p, request(t, http.MethodGet, target, nil))
}

func send(t testing.TB, p *Pool, r *http.Request) (string, Trace, error) {
	t.Helper()
	var trace Trace
	w, err := p.RoundTrip(r.WithContext(WithTrace(r.Context(), &trace)))
	if err != nil {
		return "", trace, err
	}
	body, err := io.ReadAll(w.Body)
	if closed := w.Body.Close(); closed != nil {
		t.Error(closed)
	}
	return string(body), trace, err
}

func state(t testing.TB, p *Pool, name string) OriginState {
	t.Helper()
	for _, s := range p.State() {
		if s.Name == name || s.URL == name {
			return s
		}
	}
	t.Fatalf("there is no origin %q in %v", name, p.State())
	return OriginState{}
}

func classOf(t testing.TB, err error) FailureClass {
	t.Helper()
	var failure *OriginError
	if !errors.As(err, &failure) {
		t.Fatalf("error %v (%T), want an OriginError", err, err)
	}
	return failure.Class
}

func TestOneOrigin(t *testing.T) {
	origin := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Age", "7")
		w.Header().Set("Cache-Status", "shield; hit")
		w.Header().Set("X-Seen", strings.Join([]string{
			r.Method, r.RequestURI, r.Host, r.Header.Get("CDN-Loop"), r.Header.Get("Via"), r.Header.Get("Accept-Encoding"),
		}, " "))
		_, _ = io.WriteString(w, "abc")
	})
	p := newPool(t, origins(origin.URL+"/base/"))
	host := strings.TrimPrefix(origin.URL, "http://")
	r := request(t, http.MethodGet, "/live//a%2Fb/1.m4s?x=1&y", nil)
	r.Header.Set("Accept-Encoding", "identity")
	var trace Trace
	w, err := p.RoundTrip(r.WithContext(WithTrace(r.Context(), &trace)))
	if err != nil {
		t.Fatal(err)
	}
	if got := state(t, p, origin.URL+"/base").Running; got != 1 {
		t.Errorf("%d requests are running before the end of the answer, want 1", got)
	}
	body, err := io.ReadAll(w.Body)
	if err != nil || string(body) != "abc" {
		t.Errorf("%q, %v", body, err)
	}
	_ = w.Body.Close()
	want := "GET /base/live//a%2Fb/1.m4s?x=1&y " + host + " edge-1 1.1 edge-1 identity"
	if got := w.Header.Get("X-Seen"); got != want {
		t.Errorf("the origin saw %q, want %q", got, want)
	}
	if w.Header.Get("Age") != "7" || w.Header.Get("Cache-Status") != "shield; hit" {
		t.Errorf("header %v: Age and Cache-Status of the origin are expected", w.Header)
	}
	if len(r.Header) != 1 || r.URL.Host != "origin" {
		t.Errorf("the caller's request was changed: %v %v", r.URL, r.Header)
	}
	if trace.Origin != host+"/base" || trace.Attempts != 1 || trace.Reused || trace.Connect <= 0 || trace.Address.String() != host {
		t.Errorf("trace %+v", trace)
	}
	_, trace, err = get(t, p, "/again")
	if err != nil || !trace.Reused || trace.Connect != 0 || trace.Address.String() != host {
		t.Errorf("second request: trace %+v, error %v; the connection is expected to be used again", trace, err)
	}
	if got := state(t, p, host+"/base"); got.Running != 0 || got.Requests != 2 || !got.Healthy {
		t.Errorf("state %+v", got)
	}
}

func TestPathsAreAppendedAsTheyAre(t *testing.T) {
	for _, test := range []struct{ base, target, want string }{
		{"http://o", "/a", "http://o/a"},
		{"http://o/", "/a/", "http://o/a/"},
		{"http://o/base", "/a//b/../c", "http://o/base/a//b/../c"},
		{"http://o/base/", "/", "http://o/base/"},
		{"http://o/b%2Fc", "/a", "http://o/b%2Fc/a"},
		{"http://o/b c", "/a%2Fd?q=%20", "http://o/b%20c/a%2Fd?q=%20"},
		{"http://o", "/a?", "http://o/a?"},
		{"http://o", "/%E2%82%AC;v=1", "http://o/%E2%82%AC;v=1"},
	} {
		p := newPool(t, origins(test.base))
		var u url.URL
		p.table.Load().all[0].join(&u, request(t, http.MethodGet, test.target, nil).URL)
		if got := u.String(); got != test.want {
			t.Errorf("%s and %s: %s, want %s", test.base, test.target, got, test.want)
		}
	}
}

func TestHostAndFields(t *testing.T) {
	seen := make(chan *http.Request, 1)
	origin := serve(t, func(_ http.ResponseWriter, r *http.Request) { seen <- r })
	secret := t.TempDir() + "/secret"
	write(t, secret, "from a file\n")
	ask := func(o OriginConfig) *http.Request {
		o.URL = origin.URL
		p := newPool(t, config(func(c *Config) { c.Origins = []OriginConfig{o} }), func(s *Settings) {
			s.LookupEnv = func(name string) (string, bool) { return "from " + name, true }
		})
		r := request(t, http.MethodGet, "/", nil)
		r.Host = "viewer.example"
		r.Header.Set("X-A", "the viewer's")
		if _, _, err := send(t, p, r); err != nil {
			t.Fatal(err)
		}
		return <-seen
	}
	if got := ask(OriginConfig{}).Host; got != strings.TrimPrefix(origin.URL, "http://") {
		t.Errorf("Host is %q, want the origin's own", got)
	}
	if got := ask(OriginConfig{Host: "bucket.example"}).Host; got != "bucket.example" {
		t.Errorf("Host is %q, want the configured one", got)
	}
	if got := ask(OriginConfig{PreserveHost: true}).Host; got != "viewer.example" {
		t.Errorf("Host is %q, want the viewer's", got)
	}
	got := ask(OriginConfig{Headers: []HeaderConfig{
		{Name: "x-a", Value: "1"}, {Name: "X-A", Env: "SECRET"}, {Name: "X-B", File: secret},
	}}).Header
	if a, b := strings.Join(got["X-A"], "|"), got.Get("X-B"); a != "1|from SECRET" || b != "from a file" {
		t.Errorf("X-A %q, X-B %q", a, b)
	}
}

func TestRedirectsAreAnswers(t *testing.T) {
	origin := serve(t, http.RedirectHandler("/elsewhere", http.StatusFound).ServeHTTP)
	p := newPool(t, origins(origin.URL))
	w, err := p.RoundTrip(request(t, http.MethodGet, "/", nil))
	if err != nil {
		t.Fatal(err)
	}
	_ = w.Body.Close()
	if w.StatusCode != http.StatusFound || w.Header.Get("Location") != "/elsewhere" {
		t.Errorf("%d %q, want the redirect itself", w.StatusCode, w.Header.Get("Location"))
	}
}
