package limit_test

import (
	"net/netip"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weir-stream/weir/internal/cdn/access/limit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func TestARateIsKept(t *testing.T) {
	for _, test := range []struct {
		name      string
		perSecond float64
		burst     time.Duration
		every     time.Duration
		requests  int
		allowed   int
	}{
		{"in even steps", 10, time.Second, 100 * time.Millisecond, 100, 100},
		{"all at once: one second's worth", 10, time.Second, 0, 100, 10},
		{"all at once, without a burst: one", 10, 0, 0, 100, 1},
		{"twice as fast: the burst, then every other", 10, time.Second, 50 * time.Millisecond, 100, 59},
		{"less than one a second", 0.5, 0, time.Second, 10, 5},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, allowed := limit.NewRate(64), 0
			for i := range test.requests {
				if _, ok := r.Allow(limit.Key{Name: "a"}, noon.Add(time.Duration(i)*test.every), test.perSecond, test.burst); ok {
					allowed++
				}
			}
			if allowed != test.allowed {
				t.Errorf("%d of %d were allowed, want %d", allowed, test.requests, test.allowed)
			}
		})
	}
}

func TestTheWaitIsLongEnoughAndNoLonger(t *testing.T) {
	r := limit.NewRate(64)
	k := limit.Key{Name: "a"}
	for range 10 {
		r.Allow(k, noon, 10, time.Second)
	}
	wait, ok := r.Allow(k, noon, 10, time.Second)
	if ok || wait != 100*time.Millisecond {
		t.Fatalf("wait %v, %v; want 100ms, false", wait, ok)
	}
	if _, ok := r.Allow(k, noon.Add(wait-1), 10, time.Second); ok {
		t.Error("allowed before the wait was over")
	}
	if _, ok := r.Allow(k, noon.Add(wait), 10, time.Second); !ok {
		t.Error("refused after the wait was over")
	}
}

func TestKeysAreCountedApart(t *testing.T) {
	r := limit.NewRate(64)
	for _, k := range []limit.Key{{Name: "a"}, {Name: "b"}, {Name: "a", Scope: "x"}, {Name: "a", Hi: 1}, {Name: "a", Lo: 1}} {
		if _, ok := r.Allow(k, noon, 1, 0); !ok {
			t.Errorf("%+v is counted with another", k)
		}
		if _, ok := r.Allow(k, noon, 1, 0); ok {
			t.Errorf("%+v is not counted", k)
		}
	}
}

// A busy key is not forgotten for idle ones; when all are busy, one is, and that is counted.
func TestWhatIsIdleIsForgottenFirst(t *testing.T) {
	r := limit.NewRate(8)
	busy := limit.Key{Name: "busy"}
	for range 10 {
		r.Allow(busy, noon, 10, time.Second)
	}
	for i := range 1000 {
		r.Allow(limit.Key{Lo: uint64(i)}, noon.Add(time.Duration(i)*time.Microsecond), 1e6, time.Second)
	}
	if _, ok := r.Allow(busy, noon.Add(time.Millisecond), 10, time.Second); ok {
		t.Error("the busy key was forgotten")
	}
	if n := r.Forgotten(); n != 0 {
		t.Errorf("%d busy keys were forgotten, want none", n)
	}
	for i := range 100 {
		r.Allow(limit.Key{Hi: uint64(i)}, noon, 1, time.Second)
	}
	if n := r.Forgotten(); n < 90 {
		t.Errorf("%d busy keys were counted as forgotten, want 90 and more", n)
	}
}

func TestClients(t *testing.T) {
	for a, want := range map[string]string{
		"192.0.2.1":             "192.0.2.1",
		"::ffff:192.0.2.1":      "192.0.2.1",
		"2001:db8:1:2:3:4:5:6":  "2001:db8:1:2::",
		"fe80::1%eth0":          "fe80::",
		"2001:db8:1:2:ffff::99": "2001:db8:1:2::",
	} {
		if got := limit.ClientOf(netip.MustParseAddr(a)).String(); got != want {
			t.Errorf("the client at %s is %s, want %s", a, got, want)
		}
	}
	if limit.ClientOf(netip.Addr{}).IsValid() {
		t.Error("no address is a client")
	}
}

func TestConnections(t *testing.T) {
	c := limit.NewConnections()
	a, b := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
	first, ok := c.Open(a, 2)
	if !ok {
		t.Fatal("the first is refused")
	}
	second, ok := c.Open(b, 2)
	if !ok {
		t.Fatal("the second is refused")
	}
	if release, ok := c.Open(a, 2); ok {
		t.Error("a third is let in")
	} else {
		release()
	}
	if _, ok := c.Open(netip.MustParseAddr("2001:db8:0:1::1"), 2); !ok {
		t.Error("another client is refused")
	}
	first()
	first() // counts once
	if _, ok := c.Open(a, 2); !ok {
		t.Error("none is let in after one has ended")
	}
	if _, ok := c.Open(a, 2); ok {
		t.Error("ending twice counts twice")
	}
	second()
	if n := c.Clients(); n != 2 {
		t.Errorf("%d clients are remembered, want 2", n)
	}
}

func TestConnectionsAreForgottenWhenTheyEnd(t *testing.T) {
	c := limit.NewConnections()
	var wait sync.WaitGroup
	for i := range 64 {
		wait.Go(func() {
			for range 100 {
				release, ok := c.Open(netip.AddrFrom4([4]byte{10, 0, 0, byte(i % 4)}), 100)
				if !ok {
					t.Error("refused")
				}
				release()
			}
		})
	}
	wait.Wait()
	if n := c.Clients(); n != 0 {
		t.Errorf("%d clients are remembered, want none", n)
	}
}

func BenchmarkRate(b *testing.B) {
	r := limit.NewRate(131072)
	now := time.Now()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		r.Allow(limit.Key{Scope: "/vod/", Lo: uint64(i & 0xffff)}, now, 10_000, time.Second)
	}
}

func BenchmarkRateByName(b *testing.B) {
	r := limit.NewRate(131072)
	now := time.Now()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			r.Allow(limit.Key{Scope: "/vod/", Name: "a-subject"}, now, 10_000, time.Second)
		}
	})
}
