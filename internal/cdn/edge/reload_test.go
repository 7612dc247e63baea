package edge

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weir-stream/weir/internal/cdn/cache"
)

// reloaded is the configuration of a harness with other rules.
func reloaded(change func(*Config)) Config {
	c := DefaultConfig()
	c.Rules = MediaRules()
	change(&c)
	return c
}

func TestReloadChangesRules(t *testing.T) {
	hs := newHarness(t, func(*http.Request) (*http.Response, error) {
		return reply(200, "page", "Cache-Control", "max-age=60"), nil
	})
	hs.get("/a")
	if w := hs.get("/a"); hs.fetches() != 1 || w.Header().Get("Access-Control-Allow-Origin") != "*" {
		t.Fatalf("before: %v", w.Header())
	}
	err := hs.Reload(reloaded(func(c *Config) { c.Rules = []Rule{{Path: "/", Forward: ForwardObject, Bypass: true}} }))
	if err != nil {
		t.Fatal(err)
	}
	if w := hs.get("/a"); w.Header().Get("Cache-Status") != "edge-1; fwd=bypass; fwd-status=200" || w.Header().Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("after: %v", w.Header())
	}
}

func TestReloadRefusesWhatCannotBe(t *testing.T) {
	hs := newHarness(t, func(*http.Request) (*http.Response, error) {
		return reply(200, "page", "Cache-Control", "max-age=60"), nil
	})
	for name, c := range map[string]Config{
		"no rules":          reloaded(func(c *Config) { c.Rules = nil }),
		"no rule for all":   reloaded(func(c *Config) { c.Rules = []Rule{{Path: "/live/", Forward: ForwardObject, Bypass: true}} }),
		"no fetches at all": reloaded(func(c *Config) { c.MaxFetches, c.Rules[0].Bypass = 0, true }),
	} {
		if err := hs.Reload(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	hs.get("/a")
	if w := hs.get("/a"); hs.fetches() != 1 {
		t.Errorf("a configuration that cannot be has changed something: %v", w.Header())
	}
}

// What runs keeps its rule: an answer that was begun under one is not ended under another.
func TestRequestsInFlightKeepTheirRule(t *testing.T) {
	hold := make(chan struct{})
	begun := make(chan struct{})
	hs := newHarness(t, func(*http.Request) (*http.Response, error) {
		close(begun)
		<-hold
		return reply(200, "page", "Cache-Control", "max-age=60"), nil
	})
	answer := make(chan *httptest.ResponseRecorder)
	go func() { answer <- hs.get("/a") }()
	<-begun
	if err := hs.Reload(reloaded(func(c *Config) { c.Rules = []Rule{{Path: "/", Forward: ForwardObject, Bypass: true}} })); err != nil {
		t.Fatal(err)
	}
	close(hold)
	if w := <-answer; w.Header().Get("Access-Control-Allow-Origin") != "*" || !strings.Contains(w.Header().Get("Cache-Status"), "stored") {
		t.Errorf("the answer has the rules of after: %v", w.Header())
	}
}

// Rules change while requests look at them.
func TestReloadUnderLoad(t *testing.T) {
	hs := newHarness(t, func(*http.Request) (*http.Response, error) {
		return reply(200, "page", "Cache-Control", "max-age=60"), nil
	})
	ctx, cancel := context.WithCancel(t.Context())
	var viewers sync.WaitGroup
	for range 4 {
		viewers.Go(func() {
			for ctx.Err() == nil {
				if w := hs.get("/a"); w.Code != 200 || w.Body.String() != "page" {
					t.Errorf("%d %q", w.Code, w.Body)
				}
			}
		})
	}
	for i := range 200 {
		if err := hs.Reload(reloaded(func(c *Config) { c.Rules[0].Bypass, c.MaxFetches, c.MaxPasses = i%2 == 0, 4+i%3, 4+i%3 })); err != nil {
			t.Error(err)
		}
	}
	cancel()
	viewers.Wait()
}

func TestReloadChangesTimeouts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hs := newHarness(t, func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, context.Cause(r.Context())
		}, func(c *Config, _ *cache.Config) { c.HeadTimeout = 10 * time.Second })
		for _, want := range []time.Duration{10 * time.Second, 2 * time.Second} {
			since := time.Now()
			if w := hs.get("/a"); w.Code != http.StatusGatewayTimeout || time.Since(since) != want {
				t.Errorf("%d after %v, want 504 after %v", w.Code, time.Since(since), want)
			}
			if err := hs.Reload(reloaded(func(c *Config) { c.HeadTimeout = 2 * time.Second })); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestLimiterChangesWhileItIsInUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(1, 2, time.Minute)
		if err := l.acquire(t.Context()); err != nil {
			t.Fatal(err)
		}
		got := make(chan error, 3)
		for range 2 {
			go func() { got <- l.acquire(t.Context()) }()
		}
		synctest.Wait()
		if err := l.acquire(t.Context()); !errors.Is(err, errBusy) {
			t.Errorf("a third that waits: %v", err)
		}
		l.configure(3, 2, time.Minute) // more: both run
		if err := errors.Join(<-got, <-got); err != nil {
			t.Error(err)
		}
		l.configure(1, 2, time.Minute) // fewer: nobody new until two have ended
		go func() { got <- l.acquire(t.Context()) }()
		synctest.Wait()
		l.release()
		l.release()
		synctest.Wait()
		if len(got) != 0 {
			t.Error("two run where one may")
		}
		l.release()
		if err := <-got; err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		go func() { got <- l.acquire(ctx) }()
		synctest.Wait()
		cancel()
		if err := <-got; !errors.Is(err, context.Canceled) || l.queued.Load() != 0 || len(l.waiting) != 0 {
			t.Errorf("who left: %v, %d wait", err, len(l.waiting))
		}
		go func() { got <- l.acquire(t.Context()) }()
		time.Sleep(2 * time.Minute)
		if err := <-got; !errors.Is(err, errBusy) {
			t.Errorf("who waited for too long: %v", err)
		}
		l.release()
		if !l.tryAcquire() || l.tryAcquire() {
			t.Error("there is not one slot")
		}
	})
}
