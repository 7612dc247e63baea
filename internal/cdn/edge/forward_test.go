package edge

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/netip"
	"net/textproto"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weir-stream/weir/internal/cdn/cache"
)

// forwarding is the rule for any HTTP origin.
func forwarding(c *Config, _ *cache.Config) { c.Rules = ProxyRules() }

// What may change something at the origin gets there as it is, and its answer comes back; it is not kept.
func TestMethodsWithBodies(t *testing.T) {
	for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "PROPFIND", "OPTIONS"} {
		t.Run(method, func(t *testing.T) {
			hs := newHarness(t, func(r *http.Request) (*http.Response, error) {
				body := ""
				if r.Body != nil {
					b, err := io.ReadAll(r.Body)
					if err != nil {
						return nil, err
					}
					body = string(b)
				}
				return reply(201, r.Method+" "+body+" "+r.Header.Get("Content-Type"), "Cache-Control", "max-age=60", "Location", "/made"), nil
			}, forwarding)
			for i := range 2 {
				r := httptest.NewRequest(method, "/form?x=1", strings.NewReader("a=b"))
				r.Header.Set("Content-Type", "text/form")
				w := httptest.NewRecorder()
				hs.ServeHTTP(w, r)
				if w.Code != 201 || w.Body.String() != method+" a=b text/form" || w.Header().Get("Location") != "/made" {
					t.Errorf("%d %q", w.Code, w.Body)
				}
				if got := w.Header().Get("Cache-Status"); got != "edge-1; fwd=method; fwd-status=201" {
					t.Errorf("Cache-Status is %q", got)
				}
				if row := hs.row(t, i); row.CacheStatus != "bypass" || row.Method != method || row.Status != 201 {
					t.Errorf("row = %+v", row)
				}
			}
			if hs.fetches() != 2 || hs.cache.Len() != 0 {
				t.Errorf("%d fetches, %d objects", hs.fetches(), hs.cache.Len())
			}
		})
	}
}

// What an unsafe request has changed is asked for again (RFC 9111 §4.4, RFC 9875 §3).
func TestUnsafeRequestsInvalidate(t *testing.T) {
	const kept, gone = "hit", "miss"
	for name, tt := range map[string]struct {
		method, target string
		status         int
		fields         []string
		a, b           string
	}{
		"itself":              {"POST", "/a", 200, nil, gone, kept},
		"without content":     {"DELETE", "/a", 204, nil, gone, kept},
		"redirected":          {"POST", "/a", 303, nil, gone, kept},
		"Location":            {"POST", "/form", 201, []string{"Location", "/b"}, kept, gone},
		"whole Location":      {"POST", "/form", 201, []string{"Location", "http://example.com/b"}, kept, gone},
		"Content-Location":    {"PUT", "/form", 200, []string{"Content-Location", "b"}, kept, gone},
		"both and itself":     {"PUT", "/a", 200, []string{"Location", "/b", "Content-Location", "/c"}, gone, gone},
		"another origin's":    {"POST", "/form", 201, []string{"Location", "http://other.example/b"}, kept, kept},
		"refused":             {"POST", "/a", 403, []string{"Location", "/b"}, kept, kept},
		"failed":              {"POST", "/a", 500, nil, kept, kept},
		"a group":             {"POST", "/form", 200, []string{"Cache-Group-Invalidation", `"group-b"`}, kept, gone},
		"a safe method":       {"OPTIONS", "/a", 200, []string{"Location", "/b"}, kept, kept},
		"another spelling":    {"POST", "/%61", 200, nil, kept, kept}, // of an object of its own
		"CMCD does not count": {"POST", "/a?CMCD=bs", 200, nil, gone, kept},
	} {
		t.Run(name, func(t *testing.T) {
			hs := newHarness(t, func(r *http.Request) (*http.Response, error) {
				if r.Method != "GET" {
					return reply(tt.status, "", tt.fields...), nil
				}
				return reply(200, "x", "Cache-Control", "max-age=60", "Cache-Groups", `"group-`+r.URL.Path[1:]+`"`), nil
			}, forwarding)
			for _, path := range []string{"/a", "/b"} {
				hs.get(path)
			}
			hs.do(tt.method, tt.target)
			for path, want := range map[string]string{"/a": tt.a, "/b": tt.b} {
				hs.get(path)
				got := hs.row(t, -1).CacheStatus
				if got == "collapsed" { // its last byte is there, the end of its fetch not yet
					got = kept
				}
				if got != want {
					t.Errorf("%s is then a %s, want %s", path, got, want)
				}
			}
		})
	}
}

// A cookie is for whom the origin has set it for, though the page is for all.
func TestACookieIsForOneViewer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hs := newHarness(t, func(r *http.Request) (*http.Response, error) {
			time.Sleep(time.Second)
			return reply(200, "page", "Cache-Control", `max-age=60, private="X-Personal"`, "Set-Cookie", "for="+r.Header.Get("Cookie"), "X-Personal", "1"), nil
		}, forwarding)
		var viewers sync.WaitGroup
		var mu sync.Mutex
		var cookies, personal []string
		for _, who := range []string{"ann", "bob", "cem"} {
			viewers.Go(func() {
				w := hs.get("/a", "Cookie", who)
				mu.Lock()
				defer mu.Unlock()
				cookies = append(cookies, w.Header()["Set-Cookie"]...)
				personal = append(personal, w.Header()["X-Personal"]...)
				if got := w.Header().Get("Set-Cookie"); got != "" && got != "for="+who {
					t.Errorf("%s got the cookie %q", who, got)
				}
				if w.Code != 200 || w.Body.String() != "page" {
					t.Errorf("%s got %d %q", who, w.Code, w.Body)
				}
			})
		}
		viewers.Wait()
		w := hs.get("/a", "Cookie", "dan")
		if len(cookies) != 1 || len(personal) != 1 || w.Header()["Set-Cookie"] != nil || hs.fetches() != 1 {
			t.Errorf("cookies %q, personal %q, of a hit %q, %d fetches", cookies, personal, w.Header()["Set-Cookie"], hs.fetches())
		}
	})
}

// What a viewer says with a session of its own is its own, unless the origin says otherwise (RFC 9111 §3.5).
func TestAnAuthorizedAnswerIsNotShared(t *testing.T) {
	for control, shared := range map[string]bool{"max-age=60": false, "public, max-age=60": true, "s-maxage=60": true} {
		hs := newHarness(t, func(r *http.Request) (*http.Response, error) {
			return reply(200, r.Header.Get("Authorization"), "Cache-Control", control), nil
		}, forwarding)
		first, second := hs.get("/a", "Authorization", "Basic 1"), hs.get("/a", "Authorization", "Basic 2")
		if first.Body.String() != "Basic 1" || (second.Body.String() == "Basic 1") != shared {
			t.Errorf("%s: %q, then %q", control, first.Body, second.Body)
		}
	}
}

func TestInterimAnswersReachTheViewer(t *testing.T) {
	_, server := newNetworkEdge(t, func(w http.ResponseWriter, _ *http.Request) {
		for _, link := range []string{"</a.css>; rel=preload", "</b.css>; rel=preload"} {
			w.Header()["Link"] = []string{link}
			w.WriteHeader(http.StatusEarlyHints)
		}
		w.Header()["Link"] = []string{"</final>"}
		_, _ = io.WriteString(w, "page")
	}, forwarding)
	var hints []string
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
		if code == http.StatusEarlyHints {
			hints = append(hints, h.Get("Link"))
		}
		return nil
	}})
	r, err := http.NewRequestWithContext(ctx, "GET", server.URL+"/a", nil)
	if err != nil {
		t.Fatal(err)
	}
	w, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(w.Body)
	_ = w.Body.Close()
	if err != nil || string(body) != "page" || w.Header.Get("Link") != "</final>" || len(w.Header["Link"]) != 1 {
		t.Errorf("%q, Link %q, %v", body, w.Header["Link"], err)
	}
	if want := []string{"</a.css>; rel=preload", "</b.css>; rel=preload"}; !slices.Equal(hints, want) {
		t.Errorf("hints %q, want %q", hints, want)
	}
}

// Two languages at the same moment: who waited for the other's fetch asks for its own, and from then on each is
// fetched once for all who want it.
func TestVariantsAreCollapsedEachForItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hs := newHarness(t, func(r *http.Request) (*http.Response, error) {
			time.Sleep(time.Second)
			return reply(200, "in "+r.Header.Get("Accept-Language"), "Cache-Control", "max-age=10", "Vary", "Accept-Language"), nil
		}, forwarding)
		for round, want := range []int{2, 4} {
			var viewers sync.WaitGroup
			for range 5 {
				for _, language := range []string{"de", "cy"} {
					viewers.Go(func() {
						if w := hs.get("/a", "Accept-Language", language); w.Body.String() != "in "+language {
							t.Errorf("%s got %q", language, w.Body)
						}
					})
				}
			}
			viewers.Wait()
			if got := hs.fetches(); got != want {
				t.Errorf("round %d: %d fetches, want %d", round, got, want)
			}
			time.Sleep(time.Minute) // both expire
		}
	})
}

func TestWhatTheOriginIsToldOfTheViewer(t *testing.T) {
	for name, tt := range map[string]struct {
		peer string
		sent []string
		want map[string]string // "" is not sent
	}{
		"a viewer": {"203.0.113.9:4711", nil, map[string]string{
			"X-Forwarded-For": "203.0.113.9", "Via": "1.1 edge-1", "Cookie": "a=b", "User-Agent": "player", "Accept-Language": "cy",
			"Cmcd-Session": "", "Connection": "", "X-Hop": "", "Keep-Alive": "", "Forwarded": "",
		}},
		"a viewer that invents": {"203.0.113.9:4711", []string{
			"X-Forwarded-For", "1.2.3.4", "Forwarded", "for=1.2.3.4", "X-Forwarded-Proto", "gopher", "X-Forwarded-Host", "evil.example",
		}, map[string]string{"X-Forwarded-For": "203.0.113.9", "Forwarded": "", "X-Forwarded-Proto": "", "X-Forwarded-Host": ""}},
		"a proxy of ours": {"10.0.0.1:80", []string{"X-Forwarded-For", "1.2.3.4, 203.0.113.9", "Via", "1.0 balancer"}, map[string]string{
			"X-Forwarded-For": "203.0.113.9", "Via": "1.0 balancer | 1.1 edge-1",
		}},
		"another edge": {"10.0.0.1:80", []string{"CDN-Loop", "edge-0", "Via", "1.1 edge-0"}, map[string]string{
			"Cdn-Loop": "edge-0", "Via": "1.1 edge-0 | 1.1 edge-1",
		}},
	} {
		for _, control := range []string{"max-age=60", "no-store"} {
			hs := newHarness(t, func(*http.Request) (*http.Response, error) { return reply(200, "x", "Cache-Control", control), nil },
				forwarding, func(c *Config, _ *cache.Config) {
					c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
				})
			for _, method := range []string{"GET", "POST"} {
				r := httptest.NewRequest(method, "/"+method, nil)
				r.RemoteAddr = tt.peer
				for i, fields := 0, append(slices.Clone(tt.sent), "Cookie", "a=b", "User-Agent", "player", "Accept-Language", "cy",
					"CMCD-Session", `sid="x"`, "Connection", "X-Hop", "X-Hop", "1", "Keep-Alive", "timeout=5"); i < len(fields); i += 2 {
					r.Header.Add(fields[i], fields[i+1])
				}
				hs.ServeHTTP(httptest.NewRecorder(), r)
				asked := hs.asked[len(hs.asked)-1]
				for field, want := range tt.want {
					if got := strings.Join(asked.Header[field], " | "); got != want {
						t.Errorf("%s, %s %s: the origin was sent %s: %q, want %q", name, method, control, field, got, want)
					}
				}
			}
		}
	}
}

// A request that has been through this edge is not forwarded again, nor does it wait for the fetch that it is part of
// (RFC 8586).
func TestALoopIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var hs *harness
		hs = newHarness(t, func(r *http.Request) (*http.Response, error) {
			if r.Header.Get("Cdn-Loop") != "edge-2" {
				return reply(200, "x", "Cache-Control", "max-age=60"), nil
			}
			// The origin is an edge whose origin is this edge.
			back := httptest.NewRequest("GET", r.URL.Path, nil)
			back.Header["Cdn-Loop"] = []string{"edge-2, edge-1"}
			w := httptest.NewRecorder()
			hs.ServeHTTP(w, back)
			return w.Result(), nil
		}, func(c *Config, _ *cache.Config) {
			c.Rules = append(ProxyRules(), Rule{Path: "/media/", Forward: ForwardObject})
		})
		hs.looped = func(h http.Header) bool { return strings.Contains(strings.Join(h["Cdn-Loop"], ","), "edge-1") }
		for _, path := range []string{"/a", "/media/a"} {
			begin := time.Now()
			if w := hs.get(path, "CDN-Loop", "edge-2"); w.Code != http.StatusLoopDetected || time.Since(begin) > time.Second {
				t.Errorf("%s: %d after %v", path, w.Code, time.Since(begin))
			}
			if w := hs.get(path); w.Code != 200 { // the loop was another's
				t.Errorf("%s, without a loop: %d", path, w.Code)
			}
		}
		if row := hs.row(t, 0); row.Status != http.StatusLoopDetected || row.CacheStatus != "bypass" {
			t.Errorf("row = %+v", row)
		}
	})
}

// A body that a viewer does not send to its end does not look whole to the origin.
func TestAViewerGoesAwayWhileItSends(t *testing.T) {
	seen := make(chan error, 1)
	_, server := newNetworkEdge(t, func(_ http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(r.Body)
		seen <- err
	}, forwarding)
	body, sending := io.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, "POST", server.URL+"/upload", body)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		_, _ = io.WriteString(sending, "the beginning")
		cancel()
		_ = sending.CloseWithError(context.Canceled) // or the client goes on reading it
	}()
	if w, err := server.Client().Do(r); err == nil {
		_ = w.Body.Close()
		t.Errorf("answered with %s", w.Status)
	}
	if err := <-seen; err == nil {
		t.Error("the origin takes the beginning for the whole")
	}
}
