package upstream

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
)

// weary is an origin that has kept connections, and then hangs up on so many requests that it has read.
type weary struct {
	*httptest.Server
	hangsUp  atomic.Int64
	requests atomic.Int64
}

// tire returns an origin with which the pool of the settings has kept n connections.
func tire(t *testing.T, n int, change ...func(*Settings)) (*weary, *Pool) {
	t.Helper()
	var all sync.WaitGroup
	all.Add(n)
	o := new(weary)
	o.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/warm" {
			all.Done()
			all.Wait() // so that each needs a connection of its own
			return
		}
		o.requests.Add(1)
		if o.hangsUp.Add(-1) >= 0 {
			panic(http.ErrAbortHandler)
		}
		_, _ = io.WriteString(w, "rested")
	}))
	o.Config.ErrorLog = log.New(io.Discard, "", 0)
	o.Start()
	t.Cleanup(o.Close)
	p := newPool(t, append([]func(*Settings){origins(o.URL)}, change...)...)
	var warm sync.WaitGroup
	for range n {
		warm.Go(func() {
			if _, _, err := get(t, p, "/warm"); err != nil {
				t.Error(err)
			}
		})
	}
	warm.Wait()
	return o, p
}

func TestWhatAKeptConnectionBrokeOffIsSentOnceMore(t *testing.T) {
	noRetries := config(func(c *Config) { c.Retry.Ratio, c.Retry.PerSecond = 0, 0 })
	for _, test := range []struct {
		name     string
		method   string
		hangsUp  int64
		once     bool
		change   func(*Settings)
		requests int64
		answered bool
	}{
		{name: "over a new connection", method: "GET", hangsUp: 1, requests: 2, answered: true},
		{name: "and no more than that", method: "GET", hangsUp: 1000, requests: 2},
		{name: "not if a failure costs little", method: "GET", hangsUp: 1000, once: true, requests: 1},
		{name: "not if it is not idempotent", method: "POST", hangsUp: 1000, requests: 1},
		{name: "not if no retry is left", method: "GET", hangsUp: 1000, change: noRetries, requests: 1},
		{name: "not beyond the attempts", method: "GET", hangsUp: 1000, change: config(func(c *Config) { c.Retry.Attempts = 1 }), requests: 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			change := test.change
			if change == nil {
				change = func(*Settings) {}
			}
			o, p := tire(t, 6, change)
			o.hangsUp.Store(test.hangsUp)
			r := request(t, test.method, "/film", nil)
			if test.once {
				r = r.WithContext(Once(r.Context()))
			}
			body, trace, err := send(t, p, r)
			if got := o.requests.Load(); got != test.requests || trace.Attempts != int(test.requests) {
				t.Errorf("the origin has read %d requests, of %d attempts; want %d", got, trace.Attempts, test.requests)
			}
			switch {
			case test.answered && (err != nil || body != "rested"):
				t.Errorf("%q, %v; the answer of the second attempt is expected", body, err)
			case !test.answered && (err == nil || classOf(t, err) != FailureReset):
				t.Errorf("%q, %v; a failure of class reset is expected", body, err)
			}
		})
	}
}

// An origin that is back finds no request that was meant for what it was before.
func TestTheOtherKeptConnectionsAreClosed(t *testing.T) {
	o, p := tire(t, 6)
	o.hangsUp.Store(1)
	if _, trace, err := get(t, p, "/film"); err != nil || trace.Reused {
		t.Errorf("%+v, %v; a new connection is expected", trace, err)
	}
	if _, trace, err := get(t, p, "/film"); err != nil || !trace.Reused || o.requests.Load() != 3 {
		t.Errorf("%+v, %v, %d requests; the same connection is expected", trace, err, o.requests.Load())
	}
}

func TestAnotherOriginIsAskedForWhatIsSentOnce(t *testing.T) {
	second := serve(t, says("second"))
	o, p := tire(t, 3, config(func(c *Config) {
		c.Origins = append(c.Origins, OriginConfig{URL: second.URL, Backup: true})
	}))
	o.hangsUp.Store(1000)
	r := request(t, http.MethodGet, "/film", nil)
	body, _, err := send(t, p, r.WithContext(Once(r.Context())))
	if err != nil || body != "second" || o.requests.Load() != 1 {
		t.Errorf("%q, %v, the first was asked %d times; the answer of the second is expected, the first asked once", body, err, o.requests.Load())
	}
}
