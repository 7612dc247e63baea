package edge

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/weir-stream/weir/internal/cdn/access"
	"github.com/weir-stream/weir/internal/cdn/cache"
	"github.com/weir-stream/weir/internal/cdn/edge/h1"
)

// announcing is a request's target in which a player says what it will ask for next.
func announcing(path string, cmcd string) string { return path + "?CMCD=" + url.QueryEscape(cmcd) }

// askedFor returns the paths that the origin was asked for, sorted.
func (hs *harness) askedFor() []string {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	var out []string
	for _, r := range hs.asked {
		asked := r.URL.Path
		if part := r.Header.Get("Range"); part != "" {
			asked += " " + part
		}
		out = append(out, asked)
	}
	slices.Sort(out)
	return out
}

func (hs *harness) prefetches(result string) int {
	return int(testutil.ToFloat64(hs.metrics.prefetches.WithLabelValues(result)))
}

func TestWhatAPlayerAnnouncesIsFetchedAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hs := newHarness(t, slowOrigin(nil, "x"))
		hs.get(announcing("/vod/a/1.m4s", `nor="2.m4s"`)) // a miss
		time.Sleep(10 * time.Second)
		r := hitRequest()
		r.Path, r.Received = []byte("/vod/a/2.m4s"), time.Now()
		r.Query = []byte("CMCD=" + url.QueryEscape(`nor="3.m4s"`))
		var a h1.Answer
		if !hs.Hit(r, &a) {
			t.Fatal("what was announced with a miss is no hit")
		}
		a.Done(h1.Result{Bytes: 1})
		time.Sleep(10 * time.Second)
		w := hs.get(announcing("/vod/a/3.m4s", `nor="4.m4s"`)) // a hit on the long way
		if got := w.Header().Get("Cache-Status"); !strings.HasPrefix(got, "edge-1; hit") {
			t.Errorf("what was announced with a hit: %s", got)
		}
		time.Sleep(10 * time.Second)
		want := []string{"/vod/a/1.m4s", "/vod/a/2.m4s", "/vod/a/3.m4s", "/vod/a/4.m4s"}
		if got := hs.askedFor(); !slices.Equal(got, want) {
			t.Errorf("the origin was asked for %v, want %v", got, want)
		}
		hs.get(announcing("/vod/a/3.m4s", `nor="4.m4s"`))
		if hs.prefetches("started") != 3 || hs.prefetches("held") != 1 {
			t.Errorf("%d started, %d held", hs.prefetches("started"), hs.prefetches("held"))
		}
		if hs.rowCount() != 4 { // what nobody has asked for is no row
			t.Errorf("%d rows for 4 requests", hs.rowCount())
		}
	})
}

// A player comes a moment too early: it reads along with the fetch that its own announcement began.
func TestAPlayerReadsAlongWithWhatItAnnounced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hs := newHarness(t, slowOrigin(nil, "x"))
		hs.get(announcing("/vod/a/1.m4s", `nor="2.m4s"`))
		time.Sleep(500 * time.Millisecond)
		begin := time.Now()
		if w := hs.get("/vod/a/2.m4s"); w.Body.String() != "x" || time.Since(begin) >= 2*time.Second || hs.fetches() != 2 {
			t.Errorf("%d %q after %v and %d fetches", w.Code, w.Body, time.Since(begin), hs.fetches())
		}
	})
}

func TestNothingElseIsFetchedAhead(t *testing.T) {
	for name, tt := range map[string]struct {
		cmcd   string
		result string
	}{
		"the folder above":                {`nor="../b/1.m4s"`, "refused"},
		"the folder above, escaped":       {`nor="..%2Fb%2F1.m4s"`, "refused"},
		"… from a folder below":           {`nor="c%2F%2e%2e%2F%2e%2e%2Fb/1.m4s"`, "refused"},
		"out of a folder below":           {`nor="c/../../b/1.m4s"`, "refused"},
		"another path":                    {`nor="/vod/b/1.m4s"`, "refused"},
		"another host":                    {`nor="//other.example/vod/a/2.m4s"`, "refused"},
		"another host by scheme":          {`nor="https://other.example/vod/a/2.m4s"`, "refused"},
		"itself":                          {`nor="1.m4s"`, "refused"},
		"no URL":                          {`nor="%zz"`, "refused"},
		"a name with a line break":        {`nor="a%0d%0ab"`, "refused"},
		"what the viewer has no right to": {`nor="secret.m4s"`, "refused"},
	} {
		t.Run(name, func(t *testing.T) {
			hs := newHarness(t, func(*http.Request) (*http.Response, error) {
				return reply(200, "x", "Cache-Control", "max-age=60"), nil
			})
			hs.access = prefixed{}
			hs.get(announcing("/vod/a/1.m4s", tt.cmcd))
			hs.running.Wait()
			if got := hs.askedFor(); len(got) != 1 || hs.prefetches(tt.result) != 1 {
				t.Errorf("asked for %v; %d %s", got, hs.prefetches(tt.result), tt.result)
			}
		})
	}
}

// prefixed is an access chain in which nobody may have what is called secret.
type prefixed struct{}

func (prefixed) Needs(string) bool                     { return true }
func (prefixed) Check(*access.Request) access.Decision { return access.Decision{Allow: true} }
func (prefixed) Covers(_ access.Grant, _, candidate string) bool {
	return !strings.Contains(candidate, "secret")
}

// An answer that was refused makes the edge fetch nothing, and neither does a rule without prefetch.
func TestNothingIsFetchedAheadForWhoGetsNothing(t *testing.T) {
	hs := newHarness(t, func(r *http.Request) (*http.Response, error) {
		if r.URL.Path == "/vod/a/0.m4s" {
			return reply(404, "no"), nil
		}
		return reply(200, "x", "Cache-Control", "max-age=60"), nil
	}, func(c *Config, _ *cache.Config) {
		c.Rules = append(MediaRules(), Rule{Path: "/plain/", Forward: ForwardObject})
	})
	hs.get(announcing("/vod/a/0.m4s", `nor="1.m4s"`))
	hs.get(announcing("/plain/1.m4s", `nor="2.m4s"`))
	hs.running.Wait()
	if got := hs.askedFor(); len(got) != 2 {
		t.Errorf("asked for %v", got)
	}
}

func TestFetchingAheadIsBounded(t *testing.T) {
	release := make(chan struct{})
	hs := newHarness(t, func(r *http.Request) (*http.Response, error) {
		if strings.Contains(r.URL.Path, "next") {
			<-release
		}
		return reply(200, "x", "Cache-Control", "max-age=60"), nil
	}, func(c *Config, _ *cache.Config) { c.MaxPrefetches = 2 })
	for i := range 5 {
		hs.get(announcing(fmt.Sprintf("/vod/a/%d.m4s", i), fmt.Sprintf(`nor="next-%d.m4s"`, i)))
	}
	if hs.prefetches("started") != 2 || hs.prefetches("busy") != 3 {
		t.Errorf("%d started, %d without a place", hs.prefetches("started"), hs.prefetches("busy"))
	}
	// A viewer does not wait behind what nobody has asked for.
	if w := hs.get("/vod/a/other.m4s"); w.Code != 200 {
		t.Errorf("a viewer meanwhile: %d", w.Code)
	}
	close(release)
	hs.running.Wait()
	hs.get(announcing("/vod/a/7.m4s", `nor="next-7.m4s"`))
	hs.running.Wait()
	if hs.prefetches("started") != 3 {
		t.Error("the places are not free again")
	}
}

// What is not there yet may be when somebody asks for it.
func TestAnErrorThatWasFetchedAheadIsNotKept(t *testing.T) {
	there := false
	hs := newHarness(t, func(r *http.Request) (*http.Response, error) {
		if r.URL.Path == "/live/tv/2.m4s" && !there {
			return reply(404, "not yet", "Cache-Control", "max-age=60"), nil
		}
		return reply(200, "x", "Cache-Control", "max-age=60"), nil
	}, func(c *Config, _ *cache.Config) {
		c.Rules = []Rule{{Path: "/", Forward: ForwardObject, Live: true, Prefetch: true}}
	})
	hs.get(announcing("/live/tv/1.m4s", `nor="2.m4s"`))
	hs.running.Wait()
	there = true
	if w := hs.get("/live/tv/2.m4s"); w.Code != 200 {
		t.Errorf("%d %s", w.Code, w.Header().Get("Cache-Status"))
	}
}

func TestSegmentsOfAPlaylistAreFetchedAhead(t *testing.T) {
	for name, tt := range map[string]struct {
		playlist string
		want     []string
	}{
		"live":         {"#EXTM3U\n#EXT-X-MAP:URI=\"init.mp4\"\n#EXTINF:6,\n1.m4s\n#EXTINF:6,\n2.m4s\n#EXTINF:6,\n3.m4s\n", []string{"/a/2.m4s", "/a/3.m4s"}},
		"on demand":    {"#EXTM3U\r\n#EXTINF:6,\r\n1.m4s\r\n#EXTINF:6,\r\n2.m4s\r\n#EXTINF:6,\r\n3.m4s\r\n#EXT-X-ENDLIST\r\n", []string{"/a/1.m4s", "/a/2.m4s"}},
		"one segment":  {"#EXTM3U\n#EXTINF:6,\n1.m4s\n", []string{"/a/1.m4s"}},
		"multivariant": {"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nlow.m3u8\n#EXT-X-STREAM-INF:BANDWIDTH=2\nhigh.m3u8\n", nil},
		"elsewhere":    {"#EXTM3U\n#EXTINF:6,\nhttps://other.example/1.m4s\n#EXTINF:6,\n../b/2.m4s\n", nil},
		"playlists":    {"#EXTM3U\n#EXTINF:6,\nother.m3u8\n", []string{"/a/other.m3u8"}}, // of which nothing is read
		"no playlist":  {"#EXTINF:6,\n1.m4s\n", nil},
		"empty":        {"", nil},
	} {
		t.Run(name, func(t *testing.T) {
			hs := newHarness(t, func(r *http.Request) (*http.Response, error) {
				if strings.HasSuffix(r.URL.Path, ".m3u8") {
					return reply(200, tt.playlist, "Cache-Control", "max-age=2", "Content-Type", "application/vnd.apple.mpegurl"), nil
				}
				return reply(200, "x", "Cache-Control", "max-age=60"), nil
			})
			hs.get("/a/index.m3u8")
			hs.running.Wait()
			want := append(slices.Clone(tt.want), "/a/index.m3u8")
			slices.Sort(want)
			if got := hs.askedFor(); !slices.Equal(got, want) {
				t.Errorf("asked for %v, want %v", got, want)
			}
		})
	}
}

// What an announced playlist names is not fetched: that would have no end.
func TestFetchingAheadIsNotRecursive(t *testing.T) {
	hs := newHarness(t, func(r *http.Request) (*http.Response, error) {
		return reply(200, "#EXTM3U\n#EXTINF:6,\n"+strings.TrimSuffix(r.URL.Path[3:], ".m3u8")+"1.m3u8\n", "Cache-Control", "max-age=60"), nil
	})
	hs.get(announcing("/a/0.m3u8", `nor="other.m3u8"`))
	hs.running.Wait()
	if got, want := hs.askedFor(), []string{"/a/0.m3u8", "/a/01.m3u8", "/a/other.m3u8"}; !slices.Equal(got, want) {
		t.Errorf("asked for %v, want %v", got, want)
	}
}

// A range of a large object is fetched by slices; of one that is there as a whole, or is not large, nothing is fetched
// in parts.
func TestAnAnnouncedRange(t *testing.T) {
	for name, tt := range map[string]struct {
		size int
		cmcd string
		want []string
	}{
		"large":          {1 << 20, `nrr="131072-150000"`, []string{"/a.mp4", "/a.mp4 bytes=131072-196607"}},
		"two slices":     {1 << 20, `nrr="131072-200000"`, []string{"/a.mp4", "/a.mp4 bytes=131072-196607", "/a.mp4 bytes=196608-262143"}},
		"without an end": {1 << 20, `nrr="131072-"`, []string{"/a.mp4", "/a.mp4 bytes=131072-196607"}},
		"far too much": {1 << 20, `nrr="131072-9999999"`, []string{
			"/a.mp4", "/a.mp4 bytes=131072-196607", "/a.mp4 bytes=196608-262143", "/a.mp4 bytes=262144-327679", "/a.mp4 bytes=327680-393215",
		}},
		"small":    {90 << 10, `nrr="70000-80000"`, []string{"/a.mp4"}},
		"no range": {1 << 20, `nrr="x"`, []string{"/a.mp4"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFilm(tt.size)
			hs := newHarness(t, f.serve, slicing)
			hs.get("/a.mp4", "Range", "bytes=0-9")
			for range 2 {
				hs.get(announcing("/a.mp4", tt.cmcd), "Range", "bytes=0-9")
				hs.running.Wait()
			}
			got := slices.DeleteFunc(hs.askedFor(), func(s string) bool { return strings.HasSuffix(s, "bytes=0-65535") })
			if !slices.Equal(got, tt.want) {
				t.Errorf("asked for %v, want %v", got, tt.want)
			}
			if w := hs.get("/a.mp4"); w.Body.Len() != tt.size {
				t.Errorf("afterwards the whole has %d bytes, want %d", w.Body.Len(), tt.size)
			}
		})
	}
}

// Fetches ahead end with the edge.
func TestFetchesAheadEndWithTheEdge(t *testing.T) {
	var asked sync.WaitGroup
	asked.Add(1)
	hs := newHarness(t, func(r *http.Request) (*http.Response, error) {
		if r.URL.Path == "/a/2.m4s" {
			asked.Done()
			<-r.Context().Done()
			return nil, context.Cause(r.Context())
		}
		return reply(200, "x", "Cache-Control", "max-age=60"), nil
	})
	hs.get(announcing("/a/1.m4s", `nor="2.m4s"`))
	asked.Wait() // the harness ends the edge, and waits
}
