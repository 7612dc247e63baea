package upstream

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// world is a transport to origins that the test makes fail.
type world struct {
	mu     sync.Mutex
	failed map[string]bool // no answer
	status map[string]int  // an answer with this status
	asked  map[string][]time.Time
}

func newWorld() *world {
	return &world{failed: map[string]bool{}, status: map[string]int{}, asked: map[string][]time.Time{}}
}

func (w *world) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		_ = r.Body.Close()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	name := r.URL.Host
	w.asked[name] = append(w.asked[name], time.Now())
	if w.failed[name] {
		return nil, io.ErrUnexpectedEOF
	}
	if status := w.status[name]; status != 0 {
		return answer(status, name)
	}
	return answer(http.StatusOK, name)
}

func (w *world) set(name string, failed bool, status int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failed[name], w.status[name] = failed, status
}

func (w *world) times(name string) []time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := w.asked[name]
	w.asked[name] = nil
	return out
}

// inWorld runs f in a bubble with a pool of the named origins.
func inWorld(t *testing.T, f func(t *testing.T, w *world, p *Pool), change ...func(*Settings)) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		p := newPool(t, append(change, func(s *Settings) { s.Transport = w })...)
		f(t, w, p)
	})
}

func TestBackoffGrowsAndEnds(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world, p *Pool) {
		w.set("a", true, 0)
		// Ten requests each second: nobody notices that a is away.
		for range 10 * 120 {
			if body, _, err := get(t, p, "/"); err != nil || body != "b" {
				t.Fatalf("%q, %v", body, err)
			}
			time.Sleep(100 * time.Millisecond)
		}
		tries := w.times("a")
		if len(tries) < 3+5 || len(tries) > 3+8 {
			t.Fatalf("a was asked %d times in two minutes", len(tries))
		}
		// After three failures in a row: 1, 2, 4, 8, 16, 30, 30 s, ±10 % and the next request.
		want := []int{1, 2, 4, 8, 16, 30, 30, 30}
		for i, got := range gaps(tries[2:]) {
			if w := time.Duration(want[i]) * time.Second; got < w*9/10 || got > w*11/10+100*time.Millisecond {
				t.Errorf("try %d came after %v, want about %v", i+1, got, w)
			}
		}
		w.set("a", false, 0)
		time.Sleep(35 * time.Second)
		if body, _, err := get(t, p, "/"); err != nil || body != "a" {
			t.Errorf("%q, %v: the try is expected to bring a back", body, err)
		}
		if s := state(t, p, "a"); !s.Healthy || s.Out {
			t.Errorf("state %+v", s)
		}
	}, config(func(c *Config) {
		c.Origins = []OriginConfig{{URL: "http://a"}, {URL: "http://b", Backup: true}}
		c.Retry.PerSecond = 1000
	}))
}

func gaps(times []time.Time) []time.Duration {
	var out []time.Duration
	for i := 1; i < len(times); i++ {
		out = append(out, times[i].Sub(times[i-1]))
	}
	return out
}

func TestAllOut(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world, p *Pool) {
		for _, name := range []string{"a", "b"} {
			w.set(name, true, 0)
		}
		refused := 0
		var last error
		for range 500 * 60 {
			start := time.Now()
			_, _, err := get(t, p, "/")
			if err == nil || time.Since(start) != 0 {
				t.Fatalf("error %v after %v; one at once is expected", err, time.Since(start))
			}
			if errors.Is(err, ErrUnavailable) {
				refused++
				last = err
			}
			time.Sleep(2 * time.Millisecond)
		}
		for _, name := range []string{"a", "b"} {
			tries := w.times(name)[3:]
			if len(tries) < 55 || len(tries) > 60 {
				t.Errorf("%s was tried %d times in a minute, want about one each second", name, len(tries))
			}
			for i, gap := range gaps(tries) {
				if gap < time.Second {
					t.Errorf("try %d of %s came after %v, want a second", i, name, gap)
				}
			}
		}
		var unavailable *UnavailableError
		if !errors.As(last, &unavailable) || len(unavailable.Origins) != 2 || unavailable.Origins[0].Origin != "a" ||
			!strings.Contains(last.Error(), `"b" is out: reset: unexpected EOF`) || unavailable.StatusCode() != http.StatusServiceUnavailable {
			t.Errorf("the error is %v (%+v), want one that names the origins and why", last, unavailable)
		}
		if got := int(p.metrics.unavailable.Load()); got != refused || refused < 29000 {
			t.Errorf("%d requests were refused, %d are counted", refused, got)
		}
		w.set("b", false, 0)
		time.Sleep(time.Second)
		for range 3 {
			if body, _, err := get(t, p, "/"); err != nil || body != "b" {
				t.Errorf("%q, %v: b is expected to be back within a second", body, err)
			}
		}
	}, origins("http://a", "http://b"))
}

func TestOneProbeAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var hold atomic.Bool
		var asked atomic.Int64
		release := make(chan struct{})
		p := newPool(t, config(func(c *Config) {
			c.Origins = []OriginConfig{{URL: "http://a"}, {URL: "http://b", Backup: true}}
		}), func(s *Settings) {
			s.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
				if r.URL.Host == "b" {
					return answer(http.StatusOK, "b")
				}
				if !hold.Load() {
					return nil, io.ErrUnexpectedEOF
				}
				asked.Add(1)
				<-release
				return answer(http.StatusOK, "a")
			})
		})
		for range 3 {
			_, _, _ = get(t, p, "/")
		}
		hold.Store(true)
		time.Sleep(2 * time.Second)
		results := make(chan string, 20)
		for range 20 {
			go func() {
				body, _, err := get(t, p, "/")
				if err != nil {
					body = err.Error()
				}
				results <- body
			}()
		}
		synctest.Wait()
		if n := asked.Load(); n != 1 || len(results) != 19 {
			t.Errorf("%d requests try a, %d have an answer; 1 and 19 are expected", n, len(results))
		}
		close(release)
		synctest.Wait()
		if body, _, err := get(t, p, "/"); err != nil || body != "a" {
			t.Errorf("%q, %v: a is expected to be back", body, err)
		}
	})
}

func TestErrorsPutOutOnlyWhoCanBeReplaced(t *testing.T) {
	ask := func(t *testing.T, p *Pool, n int) (answers map[string]int) {
		answers = map[string]int{}
		for range n {
			body, _, err := get(t, p, "/")
			if err != nil {
				t.Fatal(err)
			}
			answers[body]++
			time.Sleep(10 * time.Millisecond)
		}
		return answers
	}
	inWorld(t, func(t *testing.T, w *world, p *Pool) {
		w.set("a", false, http.StatusInternalServerError)
		if got := ask(t, p, 100); got["a"] < 10 || got["a"] > 30 {
			t.Errorf("answers %v: after about 20 errors the other is expected to be asked", got)
		}
		if s := state(t, p, "a"); !s.Out || s.Failures["status"] == 0 {
			t.Errorf("state %+v", s)
		}
	}, config(func(c *Config) {
		c.Origins = []OriginConfig{{URL: "http://a"}, {URL: "http://b", Backup: true}}
	}))
	inWorld(t, func(t *testing.T, w *world, p *Pool) {
		w.set("a", false, http.StatusInternalServerError)
		if got := ask(t, p, 100); got["a"] != 100 {
			t.Errorf("answers %v: the only origin is expected to be asked, whatever it says", got)
		}
	}, origins("http://a"))
	inWorld(t, func(t *testing.T, w *world, p *Pool) {
		w.set("a", false, http.StatusNotFound)
		w.set("b", false, http.StatusNotImplemented)
		ask(t, p, 100)
		for _, s := range p.State() {
			if !s.Healthy {
				t.Errorf("%s is out for answers about the request: %+v", s.Name, s)
			}
		}
	}, origins("http://a", "http://b"))
}

func TestActiveChecks(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world, p *Pool) {
		time.Sleep(20 * time.Second)
		checks := w.times("a")
		if len(checks) < 4 || len(checks) > 5 {
			t.Fatalf("%d checks in 20 s, want one every 5 s", len(checks))
		}
		for _, gap := range gaps(checks) {
			if gap < 4500*time.Millisecond || gap > 5500*time.Millisecond {
				t.Errorf("a check came after %v, want 5 s ± 10 %%", gap)
			}
		}
		if n := len(w.times("b")); n != 0 {
			t.Errorf("b, which has no health path, was checked %d times", n)
		}
		w.set("a", false, http.StatusServiceUnavailable)
		time.Sleep(5500 * time.Millisecond) // one bad check, two at most
		if s := state(t, p, "a"); !s.Healthy {
			t.Errorf("a is down after %d bad checks", len(w.times("a")))
		}
		time.Sleep(12 * time.Second)
		if s := state(t, p, "a"); s.Healthy || !s.Down || s.Reason != "status 503 to a check" {
			t.Errorf("state %+v, want down", s)
		}
		w.set("a", false, 0)
		if body, _, err := get(t, p, "/"); err != nil || body != "b" {
			t.Errorf("%q, %v: the backup is expected while a is down", body, err)
		}
		time.Sleep(12 * time.Second) // two good checks
		if body, _, err := get(t, p, "/"); err != nil || body != "a" {
			t.Errorf("%q, %v: a is expected to be back", body, err)
		}
	}, config(func(c *Config) {
		c.Origins = []OriginConfig{{URL: "http://a"}, {URL: "http://b", Backup: true, HealthPath: "none"}}
		c.Health.Path = "/health"
	}))
}

// A health path that does not exist must not end delivery.
func TestWhenAllAreDownRequestsDecide(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world, p *Pool) {
		w.set("a", false, http.StatusNotFound)
		time.Sleep(time.Minute)
		if s := state(t, p, "a"); !s.Down {
			t.Fatalf("state %+v, want down", s)
		}
		w.times("a")
		for range 5 {
			if body, _, err := get(t, p, "/"); err != nil || body != "a" {
				t.Errorf("%q, %v: an answer of a is expected", body, err)
			}
		}
	}, origins("http://a"), config(func(c *Config) { c.Health.Path = "/health" }))
}

func TestSlowAndBrokenChecks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, origins("http://slow", "http://short"), config(func(c *Config) { c.Health.Path = "/health" }), func(s *Settings) {
			s.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
				if r.URL.Host == "slow" {
					<-r.Context().Done()
					return nil, r.Context().Err()
				}
				w, err := answer(http.StatusOK, "")
				w.Body = io.NopCloser(io.MultiReader(strings.NewReader("x"), &failing{}))
				return w, err
			})
		})
		time.Sleep(30 * time.Second)
		if got := state(t, p, "slow").Reason; got != "no answer to a check within 2s" {
			t.Errorf("slow: %q", got)
		}
		if got := state(t, p, "short").Reason; got != "the answer to a check broke off: unexpected EOF" {
			t.Errorf("short: %q", got)
		}
	})
}

type failing struct{}

func (*failing) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestATryThatIsAnsweredWithAnError(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world, p *Pool) {
		w.set("a", true, 0)
		for range 3 {
			_, _, _ = get(t, p, "/")
		}
		w.times("a")
		w.set("a", false, http.StatusServiceUnavailable) // it is starting
		time.Sleep(1200 * time.Millisecond)
		if w, err := p.RoundTrip(request(t, http.MethodGet, "/", nil)); err != nil || w.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("%v, %v: the answer is expected", w, err)
		}
		if s := state(t, p, "a"); !s.Out || time.Until(s.Until) < 1800*time.Millisecond {
			t.Errorf("state %+v, want it to be out for about 2 s", s)
		}
		if body, _, err := get(t, p, "/"); err != nil || body != "b" || len(w.times("a")) != 1 {
			t.Errorf("%q, %v", body, err)
		}
		// Without the other, an error is better than nothing.
		w.set("b", true, 0)
		for range 4 {
			_, _, _ = get(t, p, "/")
			time.Sleep(time.Second)
		}
		if s := state(t, p, "a"); !s.Healthy {
			t.Errorf("state %+v, want it back: it answers, and there is nobody else", s)
		}
	}, config(func(c *Config) {
		c.Origins = []OriginConfig{{URL: "http://a"}, {URL: "http://b", Backup: true}}
		c.Retry.PerSecond = 1000
	}))
}

func TestAViewerWhoGoesAwayDuringATry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var hang atomic.Bool
		p := newPool(t, origins("http://a"), func(s *Settings) {
			s.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
				if hang.Load() {
					<-r.Context().Done()
					return nil, r.Context().Err()
				}
				return nil, io.ErrUnexpectedEOF
			})
		})
		for range 3 {
			_, _, _ = get(t, p, "/")
		}
		hang.Store(true)
		for i := range 3 {
			time.Sleep(time.Second)
			ctx, cancel := context.WithTimeoutCause(t.Context(), 100*time.Millisecond, errors.New("the viewer has gone"))
			_, trace, err := send(t, p, request(t, http.MethodGet, "/", nil).WithContext(ctx))
			cancel()
			if trace.Attempts != 1 || err == nil {
				t.Errorf("try %d: %+v, %v: the one before says nothing and must not hold it up", i, trace, err)
			}
		}
	})
}

func TestAnswersThatOftenBreakOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, config(func(c *Config) {
			c.Origins = []OriginConfig{{URL: "http://a"}, {URL: "http://b", Backup: true}}
		}), func(s *Settings) {
			s.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
				w, err := answer(http.StatusOK, r.URL.Host)
				if r.URL.Host == "a" {
					w.Body = io.NopCloser(&failing{})
				}
				return w, err
			})
		})
		broken := 0
		for range 30 {
			if _, _, err := get(t, p, "/"); err != nil {
				broken++
			}
		}
		if broken != 10 || !state(t, p, "a").Out {
			t.Errorf("%d answers broke off, state %+v; a is expected to be out after ten", broken, state(t, p, "a"))
		}
	})
}
