package edge

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weir-stream/weir/internal/cdn"
	"github.com/weir-stream/weir/internal/cdn/cache"
)

// Who sends credentials gets an answer of its own, and changes nothing for all others.
func TestCredentialsDoNotMakeAKeyUncacheable(t *testing.T) {
	for name, credentials := range map[string][]string{"Authorization": {"Authorization", "Basic x"}, "Cookie": {"Cookie", "me"}} {
		t.Run(name, func(t *testing.T) {
			hs := newHarness(t, func(r *http.Request) (*http.Response, error) {
				control := "max-age=60"
				if r.Header.Get("Cookie") != "" {
					return reply(200, "for me", "Etag", `"mine"`), nil // without a lifetime it may be mine
				}
				return reply(200, "for "+r.Header.Get("Authorization"), "Cache-Control", control), nil
			}, forProxies)
			hs.get("/a", credentials...)
			hs.get("/a", credentials...)
			if row := hs.row(t, -1); hs.fetches() != 2 || row.MissReason != string(cdn.Uncacheable) {
				t.Errorf("with credentials: %d fetches, %+v", hs.fetches(), row)
			}
			for range 10 {
				if w := hs.get("/a"); w.Body.String() != "for " {
					t.Errorf("without credentials: %q", w.Body)
				}
			}
			if hs.fetches() != 3 {
				t.Errorf("%d fetches, want 3", hs.fetches())
			}
		})
	}
}

// What is held stays when a request with credentials asks whether it has changed.
func TestCredentialsDoNotDropWhatIsHeld(t *testing.T) {
	for name, status := range map[string]int{"another answer": 200, "unchanged": 304} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hs := newHarness(t, func(r *http.Request) (*http.Response, error) {
					switch {
					case r.Header.Get("Authorization") == "" && r.Header.Get("If-None-Match") == "":
						return reply(200, "page", "Cache-Control", "max-age=1", "Etag", `"1"`), nil
					case r.Header.Get("Authorization") == "" || status == 304:
						return reply(304, "", "Cache-Control", "max-age=1", "Etag", `"1"`), nil
					}
					return reply(200, "mine", "Cache-Control", "max-age=1", "Etag", `"2"`), nil
				}, forProxies)
				hs.get("/a")
				time.Sleep(5 * time.Second)
				want := map[int]string{200: "mine", 304: "page"}[status]
				if w := hs.get("/a", "Authorization", "Basic x"); w.Body.String() != want {
					t.Errorf("with credentials: %q, want %q", w.Body, want)
				}
				if w := hs.get("/a"); w.Body.String() != "page" || hs.row(t, -1).OriginStatus != 304 {
					t.Errorf("without: %q, the origin said %d, want 304", w.Body, hs.row(t, -1).OriginStatus)
				}
			})
		})
	}
}

// Who waited for a fetch that was somebody's own shares another with all who did.
func TestWaitersForSomebodysOwnAnswerShareAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hs := newHarness(t, func(r *http.Request) (*http.Response, error) {
			time.Sleep(time.Second)
			return reply(200, "for "+r.Header.Get("Authorization"), "Cache-Control", "max-age=60"), nil
		}, forProxies)
		var viewers sync.WaitGroup
		viewers.Go(func() { hs.get("/a", "Authorization", "me") })
		synctest.Wait()
		for range 20 {
			viewers.Go(func() {
				if w := hs.get("/a"); w.Body.String() != "for " {
					t.Errorf("%q", w.Body)
				}
			})
		}
		viewers.Wait()
		if hs.fetches() != 2 {
			t.Errorf("%d fetches, want 2", hs.fetches())
		}
	})
}

// A viewer who invents a loop is alone with the answer to that.
func TestALoopThatAViewerInventsIsNotShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hs := newHarness(t, func(r *http.Request) (*http.Response, error) {
			time.Sleep(time.Second)
			if strings.Contains(r.Header.Get("Cdn-Loop"), "shield") {
				return reply(508, "loop"), nil
			}
			return reply(200, "x", "Cache-Control", "max-age=60"), nil
		})
		var viewers sync.WaitGroup
		viewers.Go(func() {
			if w := hs.get("/a", "Cdn-Loop", "shield"); w.Code != 508 {
				t.Errorf("who has invented it: %d", w.Code)
			}
		})
		synctest.Wait()
		for range 20 {
			viewers.Go(func() {
				if w := hs.get("/a"); w.Code != 200 {
					t.Errorf("who has not: %d", w.Code)
				}
			})
		}
		viewers.Wait()
		if hs.fetches() != 2 {
			t.Errorf("%d fetches, want 2", hs.fetches())
		}
	})
}

// ticking is a body that gives a piece each interval.
type ticking struct {
	ctx   context.Context
	every time.Duration
	piece string
	left  int
}

func (b *ticking) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, io.EOF
	}
	b.left--
	select {
	case <-time.After(b.every):
		return copy(p, b.piece), nil
	case <-b.ctx.Done():
		return 0, context.Cause(b.ctx)
	}
}

func (b *ticking) Close() error { return nil }

// What may have no end is not cut off, and takes no place of those that others wait for.
func TestStreamsOfEventsGoOn(t *testing.T) {
	for name, fields := range map[string][]string{
		"events":           {"Cache-Control", "no-cache", "Content-Type", "text/event-stream; charset=utf-8"},
		"frames":           {"Cache-Control", "max-age=1", "Content-Type", "multipart/x-mixed-replace; boundary=x"},
		"what nobody says": {"Content-Type", "application/json"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hs := newHarness(t, func(r *http.Request) (*http.Response, error) {
					w := reply(200, "", fields...)
					w.Body, w.ContentLength = &ticking{r.Context(), 10 * time.Second, "data: x\n\n", 30}, -1
					return w, nil
				}, forProxies)
				var viewers sync.WaitGroup
				for range 2 {
					viewers.Go(func() {
						if w := hs.get("/events"); w.Body.Len() != 30*9 {
							t.Errorf("%d bytes", w.Body.Len())
						}
					})
				}
				time.Sleep(time.Second)
				if n := hs.fetches(); n != 2 || inUse(hs.Handler.fetches) != 0 {
					t.Errorf("%d requests to the origin, %d in the places of fetches", n, inUse(hs.Handler.fetches))
				}
				viewers.Wait()
			})
		})
	}
}

// inUse returns how many places are taken.
func inUse(l *limiter) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.running
}

// slowViewer takes its time for each write.
type slowViewer struct {
	*httptest.ResponseRecorder
	each time.Duration
}

func (v slowViewer) Write(p []byte) (int, error) {
	time.Sleep(v.each)
	return v.ResponseRecorder.Write(p)
}

// What outgrows the cache comes as fast as its viewer takes it, which may be slow; the origin may pause, but not for
// longer than a whole fill may take.
func TestWhatOutgrowsTheCacheIsNotCutOff(t *testing.T) {
	for name, tt := range map[string]struct {
		pause time.Duration
		whole bool
	}{"a slow viewer": {0, true}, "an origin that stops": {2 * time.Minute, false}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hs := newHarness(t, func(r *http.Request) (*http.Response, error) {
					w := reply(200, "", "Cache-Control", "max-age=60")
					w.ContentLength = -1
					w.Body = io.NopCloser(io.MultiReader(
						&ticking{r.Context(), 0, strings.Repeat("x", 4<<10), 1000}, &ticking{r.Context(), tt.pause, "y", 1},
						&ticking{r.Context(), 0, strings.Repeat("x", 4<<10), 1000},
					))
					return w, nil
				}, func(_ *Config, c *cache.Config) { c.MaxObjectBytes = 1 << 20 })
				w := slowViewer{httptest.NewRecorder(), 20 * time.Second}
				ended := make(chan any, 1)
				go func() {
					defer func() { ended <- recover() }()
					hs.ServeHTTP(w, httptest.NewRequest("GET", "/a.bin", nil))
				}()
				time.Sleep(30 * time.Second)
				if f, p := inUse(hs.Handler.fetches), inUse(hs.passes); f != 0 || p != 1 {
					t.Errorf("meanwhile it is in %d places of fetches, %d of what is passed", f, p)
				}
				if p := <-ended; (p == nil) != tt.whole {
					t.Errorf("%d bytes, ended with %v", w.Body.Len(), p)
				}
				synctest.Wait()
				if f, p := inUse(hs.Handler.fetches), inUse(hs.passes); f != 0 || p != 0 {
					t.Errorf("afterwards it is in %d places of fetches, %d of what is passed", f, p)
				}
			})
		})
	}
}

// Where a stale object may be served if the origin fails, nobody waits long for one that hangs.
func TestAnOriginThatHangsIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hanging := false
		hs := newHarness(t, func(r *http.Request) (*http.Response, error) {
			if hanging {
				<-r.Context().Done()
				return nil, context.Cause(r.Context())
			}
			return reply(200, "page", "Cache-Control", "max-age=1, stale-if-error=20", "Etag", `"1"`), nil
		})
		hs.get("/a")
		hanging = true
		time.Sleep(2 * time.Second)
		ask := func(want time.Duration) {
			t.Helper()
			since := time.Now()
			w := hs.get("/a")
			row := hs.row(t, -1)
			if w.Code != 200 || w.Body.String() != "page" || time.Since(since) != want || row.CacheStatus != string(cdn.Stale) {
				t.Errorf("%d %q after %v, want it after %v; %s", w.Code, w.Body, time.Since(since), want, row.CacheStatus)
			}
		}
		var viewers sync.WaitGroup
		for range 10 {
			viewers.Go(func() { ask(DefaultConfig().StaleWait) })
		}
		viewers.Wait()
		ask(0) // this fetch has been waited for
		if n := hs.fetches(); n != 2 {
			t.Errorf("%d fetches, want 2", n)
		}
		time.Sleep(20 * time.Second) // what is too old is not served for an error
		if w := hs.get("/a"); w.Code != 504 {
			t.Errorf("in the end: %d", w.Code)
		}
	})
}

// The fetch goes on, and what it brings is kept.
func TestAFetchThatIsNotWaitedForIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		hs := newHarness(t, func(*http.Request) (*http.Response, error) {
			if asked.Add(1) == 2 {
				time.Sleep(3 * time.Second)
			}
			return reply(200, string('0'+asked.Load()), "Cache-Control", "max-age=10", "Etag", `"1"`), nil
		})
		hs.get("/a")
		time.Sleep(11 * time.Second)
		if w := hs.get("/a"); w.Body.String() != "1" {
			t.Errorf("while the origin takes its time: %q", w.Body)
		}
		time.Sleep(3 * time.Second)
		if w := hs.get("/a"); w.Body.String() != "2" || hs.row(t, -1).CacheStatus != string(cdn.Hit) {
			t.Errorf("afterwards: %q, %s", w.Body, hs.row(t, -1).CacheStatus)
		}
		hs.cache.Invalidate("/a")
		if n := hs.cache.Used(); n != 0 {
			t.Errorf("%d bytes are still in use", n)
		}
	})
}

// Who asks for something newer waits for it.
func TestWhoAsksForNewerWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		hs := newHarness(t, func(*http.Request) (*http.Response, error) {
			if asked.Add(1) > 1 {
				time.Sleep(3 * time.Second)
			}
			return reply(200, string('0'+asked.Load()), "Cache-Control", "max-age=60", "Etag", `"1"`), nil
		}, forProxies)
		hs.get("/a")
		if w := hs.get("/a", "Cache-Control", "no-cache"); w.Body.String() != "2" {
			t.Errorf("%q", w.Body)
		}
	})
}

// watched is a body that knows how much of it was read before it was closed.
type watched struct {
	io.Reader
	read   int
	ended  bool
	closed chan struct{}
}

func (b *watched) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	b.read += n
	b.ended = b.ended || err == io.EOF
	return n, err
}

func (b *watched) Close() error {
	close(b.closed)
	return nil
}

// A connection can be used again when the answer on it was read to its end.
func TestWhatIsThrownAwayIsReadIfItIsShort(t *testing.T) {
	for name, tt := range map[string]struct {
		status, size int
		ended        bool
	}{
		"a short error": {503, 1000, true}, "one of 4 KB": {503, 4 << 10, true}, "a long one": {503, 1 << 20, false}, "unchanged": {304, 10, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				body := &watched{Reader: strings.NewReader(strings.Repeat("x", tt.size)), closed: make(chan struct{})}
				first := true
				hs := newHarness(t, func(*http.Request) (*http.Response, error) {
					if first {
						first = false
						return reply(200, "page", "Cache-Control", "max-age=1, stale-if-error=60", "Etag", `"1"`), nil
					}
					w := reply(tt.status, "", "Etag", `"1"`)
					w.Body, w.ContentLength = body, -1
					return w, nil
				})
				hs.get("/a")
				time.Sleep(2 * time.Second)
				if w := hs.get("/a"); w.Body.String() != "page" {
					t.Errorf("%d %q", w.Code, w.Body)
				}
				<-body.closed
				if body.ended != tt.ended || body.read > 8<<10 {
					t.Errorf("read %d of %d bytes, to the end: %v", body.read, tt.size, body.ended)
				}
			})
		})
	}
}

// An origin that does not end the body of an error is not waited for.
func TestWhatIsThrownAwayIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := true
		hs := newHarness(t, func(r *http.Request) (*http.Response, error) {
			if first {
				first = false
				return reply(200, "page", "Cache-Control", "max-age=1, stale-if-error=60"), nil
			}
			w := reply(503, "")
			w.Body, w.ContentLength = &ticking{r.Context(), time.Hour, "x", 1}, -1
			return w, nil
		})
		hs.get("/a")
		time.Sleep(2 * time.Second)
		since := time.Now()
		if w := hs.get("/a"); w.Body.String() != "page" || time.Since(since) != 0 {
			t.Errorf("%d %q after %v", w.Code, w.Body, time.Since(since))
		}
		hs.running.Wait()
		if d := time.Since(since); d != drainTime {
			t.Errorf("the fetch ended after %v", d)
		}
	})
}
