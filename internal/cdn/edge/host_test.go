package edge

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/weir-stream/weir/internal/cdn"
	"github.com/weir-stream/weir/internal/cdn/cache"
	"github.com/weir-stream/weir/internal/cdn/edge/h1"
)

// underNames is an edge that keeps apart what is asked for under different names, but below /shared/.
func underNames(t *testing.T) *harness {
	return newHarness(t, func(r *http.Request) (*http.Response, error) {
		return reply(200, "of "+r.Host, "Cache-Control", "max-age=60"), nil
	}, func(c *Config, _ *cache.Config) {
		c.Rules = []Rule{{Path: "/", Forward: ForwardRequest, Host: HostViewer}, {Path: "/shared/", Forward: ForwardObject, Host: HostOrigin}}
	})
}

func (hs *harness) from(method, host, path string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, nil)
	r.Host = host
	w := httptest.NewRecorder()
	hs.ServeHTTP(w, r)
	return w
}

// getFrom returns the answer, and whether the origin was asked for it.
func (hs *harness) getFrom(host, path string) (body string, fetched bool) {
	before := hs.fetches()
	w := hs.from(http.MethodGet, host, path)
	return w.Body.String(), hs.fetches() > before
}

func TestNamesAreKeptApartWhereTheRuleSaysSo(t *testing.T) {
	hs := underNames(t)
	for _, tt := range []struct {
		host, path, want string
		fetched          bool
	}{
		{"a.example", "/x", "of a.example", true},
		{"b.example", "/x", "of b.example", true},
		{"a.example", "/x", "of a.example", false},
		{"A.Example:80", "/x", "of a.example", false}, // the same name, in other words
		{"a.example:8080", "/x", "of a.example:8080", true},
		{"a.example", "/shared/x", "of origin.example", true},
		{"b.example", "/shared/x", "of origin.example", false},
	} {
		if body, fetched := hs.getFrom(tt.host, tt.path); body != tt.want || fetched != tt.fetched {
			t.Errorf("%s from %s: %q, fetched %v; want %q, %v", tt.path, tt.host, body, fetched, tt.want, tt.fetched)
		}
	}
	for _, host := range []string{"", "a/b", "a..b", "x@y"} {
		if w := hs.from(http.MethodGet, host, "/x"); w.Code != http.StatusBadRequest {
			t.Errorf("host %q: %d, want 400", host, w.Code)
		}
	}
}

func TestAPurgeOfOneName(t *testing.T) {
	hs := underNames(t)
	for _, host := range []string{"a.example", "b.example"} {
		hs.getFrom(host, "/x")
	}
	purge := func(p cdn.Purge) {
		t.Helper()
		if err := hs.cache.Purge(p); err != nil {
			t.Fatal(err)
		}
	}
	hit := func(host string) bool {
		_, fetched := hs.getFrom(host, "/x")
		return !fetched
	}
	purge(cdn.Purge{Scope: cdn.PurgeURL, Target: "/x", Host: "a.example"})
	if hit("a.example") || !hit("b.example") {
		t.Error("a purge of a.example did not purge just that")
	}
	purge(cdn.Purge{Scope: cdn.PurgePrefix, Target: "/", Host: "b.example"})
	if !hit("a.example") || hit("b.example") {
		t.Error("a purge of b.example did not purge just that")
	}
	purge(cdn.Purge{Scope: cdn.PurgeURL, Target: "/x"})
	if hit("a.example") || hit("b.example") {
		t.Error("a purge without a name did not purge all")
	}
}

// A request that changes something changes it under the name that it was sent to.
func TestUnsafeRequestsInvalidateUnderTheirName(t *testing.T) {
	hs := underNames(t)
	for _, host := range []string{"a.example", "b.example"} {
		hs.getFrom(host, "/x")
	}
	hs.from(http.MethodPost, "a.example", "/x")
	if _, fetched := hs.getFrom("a.example", "/x"); !fetched {
		t.Error("what was changed under a.example is still there")
	}
	if _, fetched := hs.getFrom("b.example", "/x"); fetched {
		t.Error("what was not changed under b.example is gone")
	}
}

// The loop finds what the handler has kept.
func TestHitsUnderNames(t *testing.T) {
	hs := underNames(t)
	hs.getFrom("a.example", "/x")
	ask := func(host, path string) (string, bool) {
		r := hitRequest()
		r.Path, r.Query, r.Host, r.Received = []byte(path), nil, []byte(host), time.Now()
		var a h1.Answer
		if !hs.Hit(r, &a) {
			return "", false
		}
		body := string(a.Body)
		a.Done(h1.Result{})
		return body, true
	}
	for deadline := time.Now().Add(5 * time.Second); ; { // the fill's end is not the answer's
		if _, ok := ask("a.example", "/x"); ok || time.Now().After(deadline) {
			break
		}
	}
	for host, want := range map[string]string{"a.example": "of a.example", "A.EXAMPLE:80": "of a.example", "b.example": "", "a/b": "", "": ""} {
		if got, ok := ask(host, "/x"); got != want || ok != (want != "") {
			t.Errorf("host %q: %q, %v; want %q", host, got, ok, want)
		}
	}
}

// What a player announces is fetched under the name that it has asked for.
func TestAnnouncedUnderTheSameName(t *testing.T) {
	hs := newHarness(t, func(r *http.Request) (*http.Response, error) {
		return reply(200, "of "+r.Host, "Cache-Control", "max-age=60"), nil
	}, func(c *Config, _ *cache.Config) {
		c.Rules = []Rule{{Path: "/", Forward: ForwardObject, Host: HostViewer, Prefetch: true}}
	})
	hs.getFrom("a.example", "/v/1.m4s?CMCD=nor%3D%222.m4s%22")
	for deadline := time.Now().Add(5 * time.Second); hs.fetches() < 2 && time.Now().Before(deadline); {
	}
	if body, fetched := hs.getFrom("a.example", "/v/2.m4s"); body != "of a.example" || fetched {
		t.Errorf("the next is %q, fetched %v", body, fetched)
	}
}
