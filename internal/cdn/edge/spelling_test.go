package edge

import (
	"bufio"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/weir-stream/weir/internal/cdn/access"
	"github.com/weir-stream/weir/internal/cdn/access/network"
	"github.com/weir-stream/weir/internal/cdn/cache"
)

// proxy is a rule for any origin, beside one for media.
func proxy(e *Config, _ *cache.Config) {
	e.Rules = []Rule{
		{Path: "/", Forward: ForwardRequest, ObeyRequests: true, Prefetch: true},
		{Path: "/media/", Forward: ForwardObject, Prefetch: true},
	}
}

// Another spelling of a path chooses no other rule: what is told to the origin and what is kept go together.
func TestARuleIsChosenByTheCleanPath(t *testing.T) {
	hs := newHarness(t, func(r *http.Request) (*http.Response, error) {
		return reply(200, r.Header.Get("Cookie"), "Cache-Control", "max-age=60"), nil
	}, proxy)
	for _, target := range []string{"/x/../media/a", "//media/a", "/media/./a"} {
		if w := hs.get(target, "Cookie", "secret"); strings.Contains(w.Body.String(), "secret") {
			t.Errorf("%s: the origin of media is told of a cookie", target)
		}
	}
	if w := hs.get("/media/../y", "Cookie", "mine"); w.Body.String() != "mine" {
		t.Errorf("the other origin is not told of it: %q", w.Body)
	}
}

// What a viewer says of the host is in no key, so the origin is not told.
func TestAHostCannotPoisonTheCache(t *testing.T) {
	hs := newHarness(t, func(r *http.Request) (*http.Response, error) {
		return reply(200, r.Host+r.Header.Get("X-Forwarded-Host")+r.Header.Get("X-Forwarded-Proto"), "Cache-Control", "max-age=60"), nil
	}, proxy)
	w := hs.do("GET", "http://evil.example/page", "X-Forwarded-Host", "evil.example", "X-Forwarded-Proto", "evil")
	if strings.Contains(w.Body.String(), "evil") {
		t.Errorf("the origin was told %q", w.Body)
	}
}

// An origin that says it serves ranges and does not: the object is too large to be kept, and passes.
func TestAnOriginThatOnlySaysItServesRanges(t *testing.T) {
	f := newFilm(1 << 20)
	hs := newHarness(t, func(r *http.Request) (*http.Response, error) {
		r.Header.Del("Range")
		return f.serve(r)
	}, slicing)
	for range 3 {
		if w := hs.get("/film.bin"); w.Code != 200 || w.Body.String() != string(f.body) {
			t.Errorf("%d, %d bytes", w.Code, w.Body.Len())
		}
	}
}

// A prefetch where requests are forwarded is a request of nobody.
func TestAPrefetchOfNobody(t *testing.T) {
	hs := newHarness(t, func(r *http.Request) (*http.Response, error) {
		return reply(200, r.URL.Path, "Cache-Control", "max-age=60"), nil
	}, proxy)
	hs.get("/a/1?CMCD=nor%3D%222%22")
	waitForFetches(t, hs, 2)
	if got := hs.asked[1]; got.URL.Path != "/a/2" || got.Header.Get("Cookie") != "" {
		t.Errorf("asked for %s", got.URL)
	}
}

// What is protected is protected under every spelling, on both ways.
func TestNoSpellingPassesTheAccessChain(t *testing.T) {
	hs := newHarness(t, func(r *http.Request) (*http.Response, error) {
		return reply(200, "of "+r.URL.EscapedPath(), "Cache-Control", "max-age=60"), nil
	}, proxy)
	cfg := access.DefaultConfig()
	cfg.Rules = []access.RuleConfig{{Path: "/private/", Addresses: &network.Config{Allow: []string{"203.0.113.0/24"}}}}
	chain, err := access.New(access.Settings{Config: cfg, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	hs.access = chain
	address := serveLoop(t, hs)
	for _, target := range []string{
		"/private/a", "/x/../private/a", "//private/a", "/%70rivate/a", "/private/index.php/%252e%252e/%252e%252e/public/x", "/public/%2e%2e/private/a",
	} {
		if w := hs.get(target); w.Code != 403 {
			t.Errorf("%s by the handler: %d", target, w.Code)
		}
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		if status, _, body := exchangeRaw(t, c, bufio.NewReader(c), "GET", target); !strings.HasPrefix(status, "403") {
			t.Errorf("%s by the loop: %s %q", target, status, body)
		}
		c.Close()
	}
	if n := hs.fetches(); n != 0 {
		t.Errorf("the origin was asked %d times", n)
	}
}

// A body that comes with GET says more than the key does.
func TestAGetWithABodyIsForItsViewer(t *testing.T) {
	hs := newHarness(t, func(r *http.Request) (*http.Response, error) {
		body, err := io.ReadAll(r.Body)
		return reply(200, string(body), "Cache-Control", "max-age=60"), err
	}, proxy)
	for _, body := range []string{"one", "two"} {
		w := httptest.NewRecorder()
		hs.ServeHTTP(w, httptest.NewRequest("GET", "/search", strings.NewReader(body)))
		if w.Body.String() != body {
			t.Errorf("asked for %q, got %q", body, w.Body)
		}
	}
}
