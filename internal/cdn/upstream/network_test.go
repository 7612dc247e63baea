package upstream

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/weir-stream/weir/internal/cdn/upstream/dial"
)

func serveTLS(t *testing.T, h http.HandlerFunc) (origin *httptest.Server, caFile string) {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.EnableHTTP2 = true
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	caFile = t.TempDir() + "/ca.pem"
	write(t, caFile, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})))
	return s, caFile
}

func TestTLS(t *testing.T) {
	origin, ca := serveTLS(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Proto, " ", r.TLS.ServerName) })
	for _, test := range []struct {
		name  string
		tls   dial.TLS
		http2 bool
		want  string // "" for a failure
	}{
		{"by CA file", dial.TLS{CAFile: ca, ServerName: "example.com"}, false, "HTTP/1.1 example.com"},
		{"by address", dial.TLS{CAFile: ca}, false, "HTTP/1.1 "},
		{"HTTP/2", dial.TLS{CAFile: ca, ServerName: "example.com"}, true, "HTTP/2.0 example.com"},
		{"another name", dial.TLS{CAFile: ca, ServerName: "origin.invalid"}, false, ""},
		{"by the system's CAs", dial.TLS{}, false, ""},
		{"insecure", dial.TLS{Insecure: true, ServerName: "origin.invalid"}, false, "HTTP/1.1 origin.invalid"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := newPool(t, config(func(c *Config) {
				c.Origins = []OriginConfig{{URL: origin.URL, TLS: test.tls, HTTP2: test.http2}}
			}))
			body, trace, err := get(t, p, "/")
			if test.want == "" {
				if err == nil || classOf(t, err) != FailureTLS {
					t.Errorf("%q, %v; a failure of TLS is expected", body, err)
				}
				return
			}
			if err != nil || body != test.want || trace.TLS <= 0 || trace.Connect <= 0 {
				t.Errorf("%q, %v, %+v; %q is expected", body, err, trace, test.want)
			}
			if _, trace, err := get(t, p, "/"); err != nil || !trace.Reused || trace.TLS != 0 {
				t.Errorf("second request: %+v, %v", trace, err)
			}
		})
	}
}

func TestWhatSpeaksNoTLS(t *testing.T) {
	plain := serve(t, says("x"))
	p := newPool(t, origins(strings.Replace(plain.URL, "http:", "https:", 1)))
	if _, _, err := get(t, p, "/"); err == nil || classOf(t, err) != FailureTLS {
		t.Errorf("error %v, want one of TLS", err)
	}
}

func TestUpgradesGoOverHTTP1(t *testing.T) {
	origin, ca := serveTLS(t, func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 1 {
			http.Error(w, r.Proto, http.StatusBadRequest)
			return
		}
		w.Header().Set("Connection", "Upgrade")
		w.Header().Set("Upgrade", "websocket")
		w.WriteHeader(http.StatusSwitchingProtocols)
	})
	p := newPool(t, config(func(c *Config) {
		c.Origins = []OriginConfig{{URL: origin.URL, HTTP2: true, TLS: dial.TLS{CAFile: ca}}}
	}))
	if _, _, err := get(t, p, "/"); err != nil { // there is an HTTP/2 connection now
		t.Fatal(err)
	}
	r := request(t, http.MethodGet, "/", nil)
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", "websocket")
	w, err := p.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = w.Body.Close()
	if w.StatusCode != http.StatusSwitchingProtocols {
		t.Errorf("status %d, want 101", w.StatusCode)
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	var open, most atomic.Int64
	s := httptest.NewUnstartedServer(says("x"))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			if n := open.Add(1); n > most.Load() {
				most.Store(n)
			}
		case http.StateClosed, http.StateHijacked:
			open.Add(-1)
		default:
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	p := newPool(t, origins(s.URL), config(func(c *Config) { c.MaxConnections = 3 }))
	var all sync.WaitGroup
	for range 30 {
		all.Go(func() {
			if _, _, err := get(t, p, "/"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := most.Load(); n > 3 {
		t.Errorf("%d connections at a time, want 3 at most", n)
	}
}

// Origins die and come back under load: viewers get answers, and only the dead one's are lost.
func TestKilledUnderLoad(t *testing.T) {
	steady := serve(t, says("steady"))
	var victim atomic.Pointer[httptest.Server]
	first := httptest.NewServer(says("victim"))
	victim.Store(first)
	t.Cleanup(func() { victim.Load().Close() })
	address := first.Listener.Addr().String()
	p := newPool(t, origins(first.URL, steady.URL), config(func(c *Config) {
		c.Passive.Backoff, c.Retry.PerSecond = 10*time.Millisecond, 1000
	}))
	stop := make(chan struct{})
	var answers, lost atomic.Int64
	var load sync.WaitGroup
	for range 8 {
		load.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, _, err := get(t, p, "/"); err != nil {
					lost.Add(1)
				} else {
					answers.Add(1)
				}
			}
		})
	}
	await := func(n int64) {
		for start := answers.Load(); answers.Load() < start+n; {
			runtime.Gosched()
		}
	}
	for range 5 {
		await(300)
		victim.Load().CloseClientConnections()
		victim.Load().Close()
		await(300)
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		again := &httptest.Server{Listener: l, Config: &http.Server{Handler: says("victim")}}
		again.Start()
		victim.Store(again)
	}
	await(300)
	close(stop)
	load.Wait()
	// An answer whose first byte had come is lost with its connection; there are 8 of those at a time.
	if n := lost.Load(); n > 5*8 {
		t.Errorf("%d requests were lost, %d answered; what had no byte of an answer is to be asked again", n, answers.Load())
	}
	for _, s := range p.State() {
		if s.Running != 0 {
			t.Errorf("%s has %d running requests after all have ended", s.Name, s.Running)
		}
	}
}

func TestReloadKeepsWhatStays(t *testing.T) {
	seen := make(chan string, 1)
	origin := serve(t, func(_ http.ResponseWriter, r *http.Request) { seen <- r.Header.Get("X-Secret") })
	gone := serve(t, says("gone"))
	secret := t.TempDir() + "/secret"
	write(t, secret, "one")
	c := DefaultConfig()
	stays := OriginConfig{Name: "stays", URL: origin.URL, Headers: []HeaderConfig{{Name: "X-Secret", File: secret}}}
	out := OriginConfig{Name: "out", URL: refusing(t)}
	c.Origins = []OriginConfig{stays, out, {Name: "gone", URL: gone.URL, Weight: 1000}}
	c.Retry.PerSecond = 1000
	p := newPool(t, func(s *Settings) { s.Config = c })
	for state(t, p, "out").Healthy || state(t, p, "stays").Requests == 0 || state(t, p, "gone").Requests == 0 {
		if _, _, err := get(t, p, "/"); err != nil {
			t.Fatal(err)
		}
		select {
		case <-seen:
		default:
		}
	}
	before := state(t, p, "stays")

	write(t, secret, "two")
	bad := c
	bad.Origins = append(bad.Origins[:len(bad.Origins):len(bad.Origins)], OriginConfig{URL: "nonsense"})
	if err := p.Reload(bad); err == nil || len(p.State()) != 3 {
		t.Errorf("error %v, state %v: everything is expected to be as it was", err, p.State())
	}
	stays.Weight = 7
	c.Origins = []OriginConfig{stays, out, {Name: "new", URL: refusing(t), Backup: true}}
	if err := p.Reload(c); err != nil {
		t.Fatal(err)
	}
	if got := state(t, p, "stays"); got.Requests != before.Requests || got.Weight != 7 {
		t.Errorf("state %+v, want that of before (%+v) with weight 7", got, before)
	}
	if got := state(t, p, "out"); !got.Out {
		t.Errorf("state %+v, want it to be still out", got)
	}
	_, trace, err := get(t, p, "/")
	if got := <-seen; err != nil || got != "two" || !trace.Reused {
		t.Errorf("the origin got %q, %+v, %v; the new secret on the old connection is expected", got, trace, err)
	}
	c.IdleTimeout++
	if err := p.Reload(c); err != nil {
		t.Fatal(err)
	}
	_, trace, err = get(t, p, "/")
	if <-seen; err != nil || trace.Reused {
		t.Errorf("%+v, %v; a new connection is expected by what has changed", trace, err)
	}
}

// An answer that runs during a reload goes on, and its connection ends with it.
func TestReloadUnderAnAnswer(t *testing.T) {
	next := make(chan string)
	closed := make(chan struct{})
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for part := range next {
			_, _ = io.WriteString(w, part)
			w.(http.Flusher).Flush()
		}
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			close(closed)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	p := newPool(t, origins(s.URL))
	go func() { next <- "a" }()
	w, err := p.RoundTrip(request(t, http.MethodGet, "/", nil))
	if err != nil {
		t.Fatal(err)
	}
	c := DefaultConfig()
	c.Origins = []OriginConfig{{URL: refusing(t)}}
	if err := p.Reload(c); err != nil {
		t.Fatal(err)
	}
	go func() { next <- "b"; close(next) }()
	body, err := io.ReadAll(w.Body)
	_ = w.Body.Close()
	if err != nil || string(body) != "ab" {
		t.Errorf("%q, %v", body, err)
	}
	<-closed
}

func TestReloadStartsAndStopsChecks(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world, p *Pool) {
		time.Sleep(time.Minute)
		if n := len(w.times("a")); n != 0 {
			t.Errorf("%d checks, none are configured", n)
		}
		w.set("a", false, http.StatusServiceUnavailable)
		c := DefaultConfig()
		c.Origins = []OriginConfig{{URL: "http://a"}}
		c.Health.Path = "/health"
		if err := p.Reload(c); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if n := len(w.times("a")); n < 10 || !state(t, p, "a").Down {
			t.Errorf("%d checks in a minute, state %+v", n, state(t, p, "a"))
		}
		c.Health.Path = ""
		if err := p.Reload(c); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		w.times("a")
		time.Sleep(time.Minute)
		if n := len(w.times("a")); n != 0 || !state(t, p, "a").Healthy {
			t.Errorf("%d checks after their end, state %+v", n, state(t, p, "a"))
		}
	}, origins("http://a"))
}

func TestReloadUnderLoad(t *testing.T) {
	a, b := serve(t, says("a")), serve(t, says("b"))
	p := newPool(t, origins(a.URL, b.URL))
	stop := make(chan struct{})
	var load sync.WaitGroup
	for range 4 {
		load.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, _, err := get(t, p, "/"); err != nil {
					t.Error(err)
					return
				}
				_ = p.State()
			}
		})
	}
	for i := range 50 {
		c := DefaultConfig()
		c.Origins = []OriginConfig{{URL: a.URL}, {URL: b.URL}}[i%2:]
		c.IdleTimeout += time.Duration(i)
		c.Health.Path = []string{"", "/"}[i%2]
		if err := p.Reload(c); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	load.Wait()
}

// Two edges that have each other as origin.
func TestEdgesInACircle(t *testing.T) {
	var edges [2]*Pool
	var refused atomic.Int64
	var urls []string
	for i := range edges {
		s := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if edges[i].Looped(r.Header) {
				refused.Add(1)
			}
			out := r.Clone(r.Context())
			answer, err := edges[i].RoundTrip(out)
			var status interface{ StatusCode() int }
			switch {
			case errors.Is(err, ErrLoop) && errors.As(err, &status):
				w.WriteHeader(status.StatusCode())
			case err != nil:
				w.WriteHeader(http.StatusBadGateway)
			default:
				_ = answer.Body.Close()
				w.WriteHeader(answer.StatusCode)
			}
		})
		urls = append(urls, s.URL)
	}
	for i := range edges {
		edges[i] = newPool(t, origins(urls[1-i]), func(s *Settings) { s.ID = fmt.Sprintf("edge-%d", i) })
	}
	w, err := edges[0].RoundTrip(request(t, http.MethodGet, "/", nil))
	if err != nil {
		t.Fatal(err)
	}
	_ = w.Body.Close()
	if w.StatusCode != http.StatusLoopDetected || refused.Load() != 1 || edges[0].metrics.loops.Load() != 1 {
		t.Errorf("status %d, refused %d, counted %d; one 508 is expected", w.StatusCode, refused.Load(), edges[0].metrics.loops.Load())
	}
}

func TestMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	p := two(t, refusing(t), serve(t, says("x")).URL, func(s *Settings) { s.Registerer = registry })
	if _, _, err := get(t, p, "/"); err != nil {
		t.Fatal(err)
	}
	want := `
# HELP weir_cdn_upstream_healthy_origins 1 for an origin that is asked, 0 for one that is down or out.
# TYPE weir_cdn_upstream_healthy_origins gauge
weir_cdn_upstream_healthy_origins{origin="first",tier="origin"} 1
weir_cdn_upstream_healthy_origins{origin="second",tier="backup"} 1
# HELP weir_cdn_upstream_requests_total Requests sent, retries included.
# TYPE weir_cdn_upstream_requests_total counter
weir_cdn_upstream_requests_total{origin="first"} 1
weir_cdn_upstream_requests_total{origin="second"} 1
# HELP weir_cdn_upstream_retries_total Requests sent here after an attempt had failed.
# TYPE weir_cdn_upstream_retries_total counter
weir_cdn_upstream_retries_total{origin="first"} 0
weir_cdn_upstream_retries_total{origin="second"} 1
# HELP weir_cdn_upstream_budget_exhausted_total Retries not made because the budget was used up.
# TYPE weir_cdn_upstream_budget_exhausted_total counter
weir_cdn_upstream_budget_exhausted_total 0
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "weir_cdn_upstream_healthy_origins",
		"weir_cdn_upstream_requests_total", "weir_cdn_upstream_retries_total", "weir_cdn_upstream_budget_exhausted_total"); err != nil {
		t.Error(err)
	}
	if problems, err := testutil.GatherAndLint(registry); err != nil || len(problems) > 0 {
		t.Error(problems, err)
	}
}

func TestClientCertificates(t *testing.T) {
	// The test server's own certificate serves as the edge's as well: only that one is sent is looked at.
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, len(r.TLS.PeerCertificates))
	}))
	s.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	s.StartTLS()
	t.Cleanup(s.Close)
	dir := t.TempDir()
	cert, key := keyPair(t)
	write(t, dir+"/cert.pem", cert)
	write(t, dir+"/key.pem", key)
	p := newPool(t, config(func(c *Config) {
		c.Origins = []OriginConfig{{URL: s.URL, TLS: dial.TLS{Insecure: true, CertFile: dir + "/cert.pem", KeyFile: dir + "/key.pem"}}}
	}))
	if body, _, err := get(t, p, "/"); err != nil || body != "1" {
		t.Errorf("%q, %v", body, err)
	}
}

func TestRunEnds(t *testing.T) {
	p, err := New(Settings{Config: func() Config {
		c := DefaultConfig()
		c.Origins = []OriginConfig{{URL: serve(t, says("x")).URL}}
		c.Health.Path = "/"
		return c
	}(), ID: "edge-1"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Run(ctx); err != nil {
		t.Error(err)
	}
	// What is still asked is answered; the connection does not stay.
	if body, _, err := get(t, p, "/"); err != nil || body != "x" {
		t.Errorf("%q, %v", body, err)
	}
}
