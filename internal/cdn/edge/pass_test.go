package edge

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weir-stream/weir/internal/cdn/cache"
)

func TestWhatMayNotBeSharedIsFetchedForEach(t *testing.T) {
	for _, control := range []string{"no-store", "private, max-age=60", "max-age=60"} {
		t.Run(control, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				served := 0
				var mu sync.Mutex
				hs := newHarness(t, func(*http.Request) (*http.Response, error) {
					time.Sleep(time.Second)
					mu.Lock()
					defer mu.Unlock()
					served++
					w := reply(200, strings.Repeat("x", served), "Cache-Control", control, "Etag", `"1"`)
					if control == "max-age=60" {
						w.Header.Set("Vary", "*")
					}
					return w, nil
				})
				start := time.Now()
				var viewers sync.WaitGroup
				seen := map[int]int{}
				for range 10 {
					viewers.Go(func() {
						w := hs.get("/a")
						mu.Lock()
						seen[w.Body.Len()]++
						mu.Unlock()
						if got := w.Header().Get("Cache-Status"); got != "edge-1; fwd=uri-miss; fwd-status=200" {
							t.Errorf("Cache-Status = %q", got)
						}
					})
				}
				viewers.Wait()
				if len(seen) != 10 || hs.fetches() != 10 {
					t.Errorf("%d different answers from %d fetches for 10 viewers", len(seen), hs.fetches())
				}
				if d := time.Since(start); d != 2*time.Second {
					t.Errorf("it took %v: first one asks, then the others, all at once", d)
				}
				hs.get("/a")
				for i := range 11 {
					if row := hs.row(t, i); row.CacheStatus != "miss" || row.MissReason != "uncacheable" || row.OriginStatus != 200 {
						t.Errorf("row %d = %+v", i, row)
					}
				}
				if hs.cache.Len() != 0 || hs.cache.Used() != 0 {
					t.Error("something is kept")
				}
			})
		})
	}
}

func TestObjectTooLargeToKeepIsPassedThrough(t *testing.T) {
	body := strings.Repeat("0123456789", 1<<17)
	hs := newHarness(t, func(r *http.Request) (*http.Response, error) {
		w := httptest.NewRecorder()
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Etag", `"1"`)
		w.Header().Set("Content-Type", "video/mp4")
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(body))
		return w.Result(), nil
	}, func(e *Config, c *cache.Config) { e.SliceBytes, c.MaxObjectBytes = 0, 1<<20 })
	for i, tt := range []struct {
		method string
		fields []string
		status int
		body   string
	}{
		{"GET", []string{"Range", "bytes=10-19"}, 206, "0123456789"}, // not known to be too large yet
		{"GET", nil, 200, body},
		{"GET", []string{"Range", "bytes=5-6"}, 206, "56"},
		{"GET", []string{"If-None-Match", `"1"`}, 304, ""},
		{"HEAD", nil, 200, ""},
		{"GET", []string{"Range", "bytes=99999999-"}, 416, ""},
	} {
		w := hs.do(tt.method, "/a.mp4", tt.fields...)
		if w.Code != tt.status || tt.status != 416 && w.Body.String() != tt.body {
			t.Errorf("%s %v: %d, %d bytes", tt.method, tt.fields, w.Code, w.Body.Len())
		}
		row := hs.row(t, i)
		if row.MissReason != "uncacheable" || row.Bytes != int64(w.Body.Len()) || row.Status != tt.status {
			t.Errorf("row %d = %+v", i, row)
		}
	}
}

func TestObjectOfUnknownLengthThatOutgrowsTheCache(t *testing.T) {
	body := bytes.Repeat([]byte("0123456789"), 1<<18)
	hs := newHarness(t, func(*http.Request) (*http.Response, error) {
		w := reply(200, "", "Cache-Control", "max-age=60")
		w.Body, w.ContentLength = io.NopCloser(bytes.NewReader(body)), -1
		return w, nil
	}, func(_ *Config, c *cache.Config) { c.MaxObjectBytes = 1 << 20 })
	for range 2 {
		for _, fields := range [][]string{nil, {"Range", "bytes=5-6"}} {
			w := hs.get("/a.mp4", fields...)
			if w.Code != 200 || !bytes.Equal(w.Body.Bytes(), body) {
				t.Errorf("%v: %d, %d bytes", fields, w.Code, w.Body.Len())
			}
		}
	}
	if hs.cache.Used() != 0 {
		t.Errorf("%d bytes are charged", hs.cache.Used())
	}
}

func TestRangeOfAnObjectWhoseLengthIsNotKnownYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hs := newHarness(t, func(r *http.Request) (*http.Response, error) {
			w := reply(200, "", "Cache-Control", "max-age=60")
			w.ContentLength = -1
			w.Body = &slowBody{pieces: []string{"one ", "two ", "three"}, pause: time.Second, ctx: r.Context()}
			return w, nil
		})
		w := hs.get("/a.m4s", "Range", "bytes=4-6")
		if w.Code != 206 || w.Body.String() != "two" || w.Header().Get("Content-Range") != "bytes 4-6/13" {
			t.Errorf("%d %q %v", w.Code, w.Body, w.Header())
		}
	})
}

func TestFetchesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hs := newHarness(t, slowOrigin(nil, "x"), func(c *Config, _ *cache.Config) {
			c.MaxFetches, c.MaxQueue, c.QueueTimeout = 2, 1, time.Second
		})
		var viewers sync.WaitGroup
		codes := make(chan int, 4)
		for _, path := range []string{"/1", "/2", "/3", "/4"} {
			viewers.Go(func() {
				w := hs.get(path)
				codes <- w.Code
				if w.Code != 200 && w.Header().Get("Retry-After") != "1" {
					t.Errorf("%d without Retry-After", w.Code)
				}
			})
			synctest.Wait()
		}
		viewers.Wait()
		close(codes)
		count := map[int]int{}
		for c := range codes {
			count[c]++
		}
		// Two run for 2 s; one waits for 1 s and gives up; one finds the queue full.
		if count[200] != 2 || count[503] != 2 || hs.fetches() != 2 {
			t.Errorf("answers %v after %d fetches", count, hs.fetches())
		}
		if row := hs.row(t, 0); row.Status != 503 || row.OriginStatus != 0 || row.MissReason != "cold" {
			t.Errorf("row of the refused = %+v", row)
		}
	})
}

func TestNothingOfAViewerReachesTheOrigin(t *testing.T) {
	hs := newHarness(t, func(r *http.Request) (*http.Response, error) {
		control := "max-age=60"
		if strings.HasPrefix(r.URL.Path, "/private") {
			control = "no-store"
		}
		return reply(200, "x", "Cache-Control", control), nil
	})
	cmcdFields := []string{
		"CMCD-Object", "br=3200", "CMCD-Request", "bl=2000", "CMCD-Session", `sid="a"`, "CMCD-Status", "bs",
		"Cookie", "who=me", "Authorization", "Bearer x", "Origin", "https://page.example",
		"X-Forwarded-For", "1.2.3.4", "User-Agent", "player", "Accept-Encoding", "br", "Cache-Control", "no-cache",
	}
	for _, path := range []string{"/a.m4s", "/private/a.m4s"} {
		for _, query := range []string{
			"?CMCD=br%3D3200%2Csid%3D%22a%22", "?CMCD=br%3D1", "?CMCD=a&CMCD=b", "", "?CMCD",
		} {
			if w := hs.get(path+query, cmcdFields...); w.Code != 200 {
				t.Fatalf("%s%s: %d", path, query, w.Code)
			}
		}
	}
	if n := hs.fetches(); n != 6 {
		t.Errorf("%d fetches; want 1 for what can be kept, 5 for what cannot", n)
	}
	for _, r := range hs.asked {
		if r.URL.RawQuery != "" || r.Host != "origin.example" {
			t.Errorf("the origin was asked for %s at %s", r.URL, r.Host)
		}
		for name := range r.Header {
			switch name {
			case "User-Agent", "Accept-Encoding", "Via":
			default:
				t.Errorf("the origin was sent %s", name)
			}
		}
		if ua := r.Header.Get("User-Agent"); ua != "weir-edge" {
			t.Errorf("User-Agent = %q", ua)
		}
	}
	// Other arguments are part of the key, and do reach it.
	hs.get("/a.m4s?b=2&CMCD=br%3D1&a=1")
	if got := hs.asked[len(hs.asked)-1].URL.RawQuery; got != "b=2&a=1" {
		t.Errorf("query = %q", got)
	}
	row := hs.row(t, 0)
	if br, _ := row.CMCD.NumberFor(cmcdBitrate, ""); !row.HasCMCD || br != 3200 || row.Query != "" {
		t.Errorf("row: CMCD %v, bitrate %v, query %q", row.HasCMCD, br, row.Query)
	}
}

func TestFieldsOfOneConnectionAndOfOneViewerAreDropped(t *testing.T) {
	for _, control := range []string{"max-age=60", "no-store"} {
		hs := newHarness(t, func(*http.Request) (*http.Response, error) {
			return reply(200, "x", "Cache-Control", control, "Connection", "X-Hop, keep-alive", "X-Hop", "1",
				"Keep-Alive", "timeout=5", "Transfer-Encoding", "chunked", "Upgrade", "h2c", "Trailer", "X",
				"Proxy-Authenticate", "Basic", "Set-Cookie", "who=me", "Access-Control-Allow-Origin", "https://one.example",
				"Access-Control-Allow-Credentials", "true", "X-Kept", "1", "Cache-Status", "origin; hit", "Date", alphabetDate), nil
		})
		for range 2 {
			w := hs.get("/a")
			for _, name := range []string{
				"Connection", "X-Hop", "Keep-Alive", "Transfer-Encoding", "Upgrade", "Trailer",
				"Proxy-Authenticate", "Set-Cookie", "Access-Control-Allow-Credentials",
			} {
				if v := w.Header()[name]; len(v) > 0 {
					t.Errorf("%s: %q", name, v)
				}
			}
			if w.Header().Get("X-Kept") != "1" || w.Header().Get("Date") != alphabetDate {
				t.Errorf("header = %v", w.Header())
			}
			if v := w.Header()["Access-Control-Allow-Origin"]; len(v) != 1 || v[0] != "*" {
				t.Errorf("Access-Control-Allow-Origin: %q", v)
			}
			if v := w.Header()["Cache-Status"]; len(v) != 2 || v[0] != "origin; hit" || !member.MatchString(v[1]) {
				t.Errorf("Cache-Status: %q", v)
			}
		}
	}
}

func TestCORS(t *testing.T) {
	hs := newAlphabetEdge(t)
	w := hs.do("OPTIONS", "/live/a/index.m3u8", "Origin", "https://page.example",
		"Access-Control-Request-Method", "GET", "Access-Control-Request-Headers", "cmcd-session")
	for name, want := range map[string]string{
		"Access-Control-Allow-Origin":  "*",
		"Access-Control-Allow-Methods": "GET, HEAD, OPTIONS",
		"Access-Control-Max-Age":       "7200",
		"Timing-Allow-Origin":          "*",
	} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	for _, name := range []string{"CMCD-Object", "CMCD-Request", "CMCD-Session", "CMCD-Status", "Range"} {
		if !strings.Contains(w.Header().Get("Access-Control-Allow-Headers"), name) {
			t.Errorf("%s is not allowed", name)
		}
	}
	if w.Code != 204 || hs.rowCount() != 0 || hs.fetches() != 0 {
		t.Errorf("preflight: %d, %d rows, %d fetches", w.Code, hs.rowCount(), hs.fetches())
	}
	w = hs.get("/a.txt", "Origin", "https://page.example")
	for _, name := range []string{"Cache-Status", "Age", "Date", "CMSD-Static", "CMSD-Dynamic", "Content-Length", "Content-Range"} {
		if !strings.Contains(w.Header().Get("Access-Control-Expose-Headers"), name) {
			t.Errorf("%s is not exposed", name)
		}
	}
	for _, method := range []string{"POST", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT"} {
		w := hs.do(method, "/a.txt")
		if w.Code != 405 || w.Header().Get("Allow") != "GET, HEAD, OPTIONS" {
			t.Errorf("%s: %d, Allow %q", method, w.Code, w.Header().Get("Allow"))
		}
		if row := hs.row(t, -1); row.Status != 405 || row.CacheStatus != "bypass" || row.Method != method {
			t.Errorf("%s: row %+v", method, row)
		}
	}
	if w := hs.get("/a%00"); w.Code != 400 || hs.row(t, -1).Status != 400 {
		t.Errorf("a name that cannot be: %d", w.Code)
	}
}

func TestClientBehindProxies(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for _, tt := range []struct {
		name, peer string
		forwarded  []string
		want       string
		port       uint16
	}{
		{"direct", "203.0.113.9:4711", nil, "203.0.113.9", 4711},
		{"direct, and invents", "203.0.113.9:4711", []string{"1.2.3.4"}, "203.0.113.9", 4711},
		{"mapped", "[::ffff:203.0.113.9]:4711", nil, "203.0.113.9", 4711},
		{"one proxy", "10.0.0.1:80", []string{"203.0.113.9"}, "203.0.113.9", 0},
		{"one proxy, with port", "10.0.0.1:80", []string{"203.0.113.9:99"}, "203.0.113.9", 99},
		{"IPv6", "[fd00::1]:80", []string{"[2001:db8::1]:99"}, "2001:db8::1", 99},
		{"two proxies", "10.0.0.1:80", []string{"203.0.113.9, 10.0.0.2"}, "203.0.113.9", 0},
		{"two lines", "10.0.0.1:80", []string{"203.0.113.9", "10.0.0.2"}, "203.0.113.9", 0},
		{"the viewer invents", "10.0.0.1:80", []string{"1.2.3.4, 203.0.113.9"}, "203.0.113.9", 0},
		{"the viewer invents lines", "10.0.0.1:80", []string{"1.2.3.4", "203.0.113.9"}, "203.0.113.9", 0},
		{"nonsense", "10.0.0.1:80", []string{"unknown"}, "10.0.0.1", 0},
		{"nonsense behind a proxy", "10.0.0.1:80", []string{"unknown, 10.0.0.2"}, "10.0.0.2", 0},
		{"proxy says nothing", "10.0.0.1:80", nil, "10.0.0.1", 80},
		{"all are proxies", "10.0.0.1:80", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := new(Handler)
			h.table.Store(newTable(Config{TrustedProxies: trusted}))
			r := &http.Request{RemoteAddr: tt.peer, Header: http.Header{"X-Forwarded-For": tt.forwarded}}
			address, port := h.client(r)
			if address.String() != tt.want || port != tt.port {
				t.Errorf("client = %v, %d; want %s, %d", address, port, tt.want, tt.port)
			}
		})
	}
	h := new(Handler)
	h.table.Store(newTable(Config{}))
	if a, _ := h.client(&http.Request{RemoteAddr: "10.0.0.1:80", Header: http.Header{"X-Forwarded-For": {"1.2.3.4"}}}); a.String() != "10.0.0.1" {
		t.Errorf("without trusted proxies the client is %v", a)
	}
}
