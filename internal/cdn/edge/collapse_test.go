package edge

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weir-stream/weir/internal/cdn/cache"
)

// slowBody gives one piece, then waits, and so on.
type slowBody struct {
	pieces []string
	pause  time.Duration
	err    error // instead of io.EOF
	ctx    context.Context
}

func (b *slowBody) Read(p []byte) (int, error) {
	if len(b.pieces) == 0 {
		if b.err != nil {
			return 0, b.err
		}
		return 0, io.EOF
	}
	select {
	case <-time.After(b.pause):
	case <-b.ctx.Done():
		return 0, b.ctx.Err()
	}
	n := copy(p, b.pieces[0])
	if b.pieces[0] = b.pieces[0][n:]; b.pieces[0] == "" {
		b.pieces = b.pieces[1:]
	}
	return n, nil
}

func (b *slowBody) Close() error { return nil }

// slowOrigin takes a second to the head, and one for each of the pieces.
func slowOrigin(err error, pieces ...string) originFunc {
	return func(r *http.Request) (*http.Response, error) {
		select {
		case <-time.After(time.Second):
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
		w := reply(200, "", "Cache-Control", "max-age=60", "Etag", `"1"`)
		w.ContentLength = 0
		for _, p := range pieces {
			w.ContentLength += int64(len(p))
		}
		if err != nil {
			w.ContentLength++ // the byte that never comes
		}
		w.Body = &slowBody{pieces: slices.Clone(pieces), pause: time.Second, err: err, ctx: r.Context()}
		return w, nil
	}
}

func TestOneFetchForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hs := newHarness(t, slowOrigin(nil, "one ", "two ", "three"))
		start := time.Now()
		var viewers sync.WaitGroup
		answers := make([]*httptest.ResponseRecorder, 100)
		for i := range answers {
			viewers.Go(func() {
				// They come over 3.96 s: before the head, and while the body grows.
				time.Sleep(time.Duration(i) * 40 * time.Millisecond)
				answers[i] = hs.get("/live/a/video-1-1.m4s")
			})
		}
		viewers.Wait()
		if d := time.Since(start); d != 4*time.Second {
			t.Errorf("all were served after %v; the fetch takes 4 s", d)
		}
		if n := hs.fetches(); n != 1 {
			t.Errorf("%d fetches, want 1", n)
		}
		count := map[string]int{}
		for i, w := range answers {
			if w.Code != 200 || w.Body.String() != "one two three" {
				t.Errorf("viewer %d: %d %q", i, w.Code, w.Body)
			}
			if s := w.Header().Get("Cache-Status"); !member.MatchString(s) {
				t.Errorf("Cache-Status %q is not in the grammar", s)
			} else if strings.Contains(s, "collapsed") {
				count["collapsed"]++
			}
		}
		for i := range answers {
			row := hs.row(t, i)
			count[row.CacheStatus]++
			if row.MissReason != "cold" || row.OriginStatus != 200 || row.OriginTTFB != time.Second {
				t.Errorf("row %d: %+v", i, row)
			}
			switch row.CacheStatus {
			case "miss":
				if row.CollapsedWait != 0 || row.Duration != 4*time.Second || row.TTFB != 2*time.Second {
					t.Errorf("the first viewer's row: wait %v, duration %v, ttfb %v", row.CollapsedWait, row.Duration, row.TTFB)
				}
			case "collapsed":
				if row.CollapsedWait != row.Duration || row.CollapsedWait == 0 {
					t.Errorf("a follower waited %v of %v", row.CollapsedWait, row.Duration)
				}
			}
		}
		if count["miss"] != 1 || count["collapsed"] != 99+99 {
			t.Errorf("counts: %v", count)
		}
		w := hs.get("/live/a/video-1-1.m4s")
		if got := w.Header().Get("Cache-Status"); got != "edge-1; hit; ttl=57" {
			t.Errorf("afterwards: Cache-Status = %q", got)
		}
		if got := w.Header().Get("Age"); got != "3" {
			t.Errorf("afterwards: Age = %q", got)
		}
	})
}

func TestVanishedFirstViewerDoesNotEndTheFetch(t *testing.T) {
	for _, after := range []time.Duration{500 * time.Millisecond, 2500 * time.Millisecond} {
		t.Run(after.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hs := newHarness(t, slowOrigin(nil, "one ", "two ", "three"))
				ctx, cancel := context.WithTimeout(t.Context(), after)
				defer cancel()
				var viewers sync.WaitGroup
				viewers.Go(func() {
					r := httptest.NewRequestWithContext(ctx, "GET", "/a.m4s", nil)
					hs.unfinished(t, r)
				})
				synctest.Wait()
				viewers.Go(func() {
					if w := hs.get("/a.m4s"); w.Code != 200 || w.Body.String() != "one two three" {
						t.Errorf("the second viewer got %d %q", w.Code, w.Body)
					}
				})
				viewers.Wait()
				if n := hs.fetches(); n != 1 {
					t.Errorf("%d fetches, want 1", n)
				}
				first := hs.row(t, 0)
				if !first.Aborted || first.CacheStatus != "miss" || first.Duration != after {
					t.Errorf("the first viewer's row = %+v", first)
				}
				if after < time.Second && (first.Status != 0 || first.TTFB != 0 || first.Bytes != 0) {
					t.Errorf("nothing was sent, the row says status %d, ttfb %v, %d bytes", first.Status, first.TTFB, first.Bytes)
				}
				if after > time.Second && first.Bytes != 4 {
					t.Errorf("4 bytes were sent, the row says %d", first.Bytes)
				}
				if row := hs.row(t, 1); row.Aborted || row.Bytes != 13 {
					t.Errorf("the second viewer's row = %+v", row)
				}
			})
		})
	}
}

func TestFetchGoesOnWithoutAnyViewer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hs := newHarness(t, slowOrigin(nil, "one ", "two"))
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		hs.unfinished(t, httptest.NewRequestWithContext(ctx, "GET", "/a.m4s", nil))
		time.Sleep(time.Minute / 2)
		if w := hs.get("/a.m4s"); w.Body.String() != "one two" || hs.row(t, 1).CacheStatus != "hit" {
			t.Errorf("later: %q, %q", w.Body, hs.row(t, 1).CacheStatus)
		}
	})
}

func TestErrorReachesEveryWaiterAndIsNotKept(t *testing.T) {
	unreachable := errors.New("dial tcp 10.0.0.1:80: connection refused")
	for _, tt := range []struct {
		name   string
		origin originFunc
		status int
		row    int // OriginStatus
	}{
		{"no connection", func(*http.Request) (*http.Response, error) { return nil, unreachable }, 502, 0},
		{"no answer", func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		}, 504, 0},
		{"error", func(*http.Request) (*http.Response, error) {
			return reply(500, "out of order", "Cache-Control", "max-age=60"), nil
		}, 500, 500},
		{"error not to be stored", func(*http.Request) (*http.Response, error) {
			return reply(503, "out of order", "Cache-Control", "no-store"), nil
		}, 503, 503},
		{"304 that was not asked for", func(*http.Request) (*http.Response, error) { return reply(304, ""), nil }, 502, 304},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hs := newHarness(t, func(r *http.Request) (*http.Response, error) {
					time.Sleep(time.Second)
					return tt.origin(r)
				})
				var viewers sync.WaitGroup
				for range 30 {
					viewers.Go(func() {
						w := hs.get("/a.m4s")
						if w.Code != tt.status {
							t.Errorf("status = %d, want %d", w.Code, tt.status)
						}
						if strings.Contains(w.Body.String(), "10.0.0.1") {
							t.Errorf("the viewer is told the origin's address: %s", w.Body)
						}
						if w.Header().Get("Access-Control-Allow-Origin") != "*" {
							t.Error("a page could not read the error")
						}
						if s := w.Header().Get("Cache-Status"); !member.MatchString(s) {
							t.Errorf("Cache-Status %q is not in the grammar", s)
						}
					})
				}
				viewers.Wait()
				if n := hs.fetches(); n != 1 {
					t.Errorf("%d fetches for 30 viewers, want 1", n)
				}
				if row := hs.row(t, -1); row.Status != tt.status || row.OriginStatus != tt.row || row.Bytes == 0 {
					t.Errorf("row = %+v", row)
				}
				hs.get("/a.m4s")
				if n := hs.fetches(); n != 2 {
					t.Errorf("%d fetches after one more viewer, want 2", n)
				}
			})
		})
	}
}

func TestFillThatBreaksOff(t *testing.T) {
	reset := errors.New("connection reset")
	t.Run("before the first byte everybody is told", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			hs := newHarness(t, slowOrigin(reset))
			w := hs.get("/a.m4s")
			if w.Code != 502 || w.Header().Get("Content-Type") != "application/problem+json" || w.Header().Get("Etag") != "" {
				t.Errorf("%d %v", w.Code, w.Header())
			}
		})
	})
	t.Run("later the answer has no end", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			hs := newHarness(t, slowOrigin(reset, "one ", "two"))
			var viewers sync.WaitGroup
			for range 10 {
				viewers.Go(func() { hs.unfinished(t, httptest.NewRequest("GET", "/a.m4s", nil)) })
			}
			viewers.Wait()
			for i := range 10 {
				if row := hs.row(t, i); row.Status != 200 || row.Bytes != 7 || row.Aborted {
					t.Errorf("row %d = %+v", i, row)
				}
			}
			if hs.cache.Len() != 0 || hs.cache.Used() != 0 {
				t.Errorf("%d objects, %d bytes are kept", hs.cache.Len(), hs.cache.Used())
			}
		})
	})
}

func TestOriginThatStopsInTheMiddle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hs := newHarness(t, func(r *http.Request) (*http.Response, error) {
			w := reply(200, "", "Cache-Control", "max-age=60")
			w.ContentLength = 5
			w.Body = &slowBody{pieces: []string{"never"}, pause: time.Hour, ctx: r.Context()}
			return w, nil
		})
		start := time.Now()
		if w := hs.get("/a.m4s"); w.Code != 504 {
			t.Errorf("status = %d, want 504", w.Code)
		}
		if d := time.Since(start); d != DefaultConfig().FillTimeout {
			t.Errorf("the viewer was told after %v", d)
		}
	})
}

func TestManifestIsRevalidatedOnceForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		version := 1
		hs := newHarness(t, func(r *http.Request) (*http.Response, error) {
			time.Sleep(100 * time.Millisecond)
			tag := `"` + string(rune('0'+version)) + `"`
			if r.Header.Get("If-None-Match") == tag {
				return reply(304, "", "Cache-Control", "max-age=1", "Etag", tag, "X-Version", "renewed"), nil
			}
			return reply(200, "playlist "+tag, "Cache-Control", "max-age=1", "Etag", tag, "Content-Type", "application/vnd.apple.mpegurl"), nil
		})
		everybody := func(want, status string) {
			t.Helper()
			var viewers sync.WaitGroup
			for range 50 {
				viewers.Go(func() {
					if w := hs.get("/live/a/index.m3u8"); w.Code != 200 || w.Body.String() != want {
						t.Errorf("%d %q, want %q", w.Code, w.Body, want)
					}
				})
			}
			viewers.Wait()
			for i := 1; i <= 50; i++ {
				if row := hs.row(t, -i); row.CacheStatus == "miss" {
					if row.MissReason != status {
						t.Errorf("reason %q, want %q", row.MissReason, status)
					}
					return
				}
			}
			t.Error("nobody was the first")
		}
		everybody(`playlist "1"`, "cold")
		time.Sleep(2 * time.Second)
		everybody(`playlist "1"`, "expired") // 304
		if w := hs.get("/live/a/index.m3u8"); w.Header().Get("X-Version") != "renewed" || w.Header().Get("Content-Type") == "" {
			t.Errorf("after the 304: %v", w.Header())
		}
		time.Sleep(2 * time.Second)
		version = 2
		everybody(`playlist "2"`, "expired") // 200
		if n := hs.fetches(); n != 3 {
			t.Errorf("%d fetches, want 3", n)
		}
		w := hs.get("/live/a/index.m3u8", "If-None-Match", `"2"`)
		if w.Code != 304 || w.Body.Len() != 0 || hs.row(t, -1).CacheStatus != "hit" {
			t.Errorf("%d %q", w.Code, w.Body)
		}
	})
}

func TestStaleWhileTheOriginFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failing := false
		hs := newHarness(t, func(*http.Request) (*http.Response, error) {
			if failing {
				return reply(503, "out of order"), nil
			}
			return reply(200, "playlist", "Cache-Control", "max-age=1, stale-if-error=10", "Etag", `"1"`), nil
		}, func(_ *Config, c *cache.Config) { c.Freshness.StaleIfError = 0 })
		hs.get("/a.m3u8")
		failing = true
		time.Sleep(3 * time.Second)
		for i, want := range []string{
			"edge-1; fwd=stale; fwd-status=503; ttl=-2; detail=stale-if-error",
			"edge-1; hit; ttl=-2; detail=stale-if-error", // the origin has been asked just now
		} {
			w := hs.get("/a.m3u8")
			if got := w.Header().Get("Cache-Status"); w.Code != 200 || w.Body.String() != "playlist" || got != want {
				t.Errorf("answer %d: %d %q, Cache-Status %q", i, w.Code, w.Body, got)
			}
			if w.Header().Get("Age") != "3" {
				t.Errorf("answer %d: Age = %q", i, w.Header().Get("Age"))
			}
			if row := hs.row(t, -1); row.CacheStatus != "stale" || row.MissReason != "expired" {
				t.Errorf("answer %d: row %+v", i, row)
			}
		}
		for range 20 { // 2 s, ten requests a second
			time.Sleep(100 * time.Millisecond)
			hs.get("/a.m3u8")
		}
		if n := hs.fetches(); n != 4 {
			t.Errorf("%d fetches; want the first, and then one a second", n)
		}
		time.Sleep(10 * time.Second)
		if w := hs.get("/a.m3u8"); w.Code != 503 || w.Body.String() != "out of order" {
			t.Errorf("beyond the bound: %d %q", w.Code, w.Body)
		}
		failing = false
		if w := hs.get("/a.m3u8"); w.Code != 200 || hs.row(t, -1).CacheStatus != "miss" {
			t.Errorf("when the origin is back: %d, %q", w.Code, hs.row(t, -1).CacheStatus)
		}
		for i, r := range hs.asked {
			// The first has nothing to fall back on, and the last ones no more.
			if got, want := r.Context().Value(sentOnce{}) != nil, i > 0 && i < 4; got != want {
				t.Errorf("request %d is to be sent once only: %v, want %v", i, got, want)
			}
		}
	})
}

func TestNotFoundIsBelievedForASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		there := false
		hs := newHarness(t, func(*http.Request) (*http.Response, error) {
			if !there {
				return reply(404, "no", "Cache-Control", "max-age=60"), nil
			}
			return reply(200, "yes", "Cache-Control", "max-age=60"), nil
		})
		for range 5 {
			if w := hs.get("/a.m4s"); w.Code != 404 {
				t.Errorf("status = %d", w.Code)
			}
		}
		if n := hs.fetches(); n != 1 {
			t.Errorf("%d fetches, want 1", n)
		}
		there = true
		time.Sleep(time.Second)
		if w := hs.get("/a.m4s"); w.Code != 200 {
			t.Errorf("a second later: %d", w.Code)
		}
	})
}
