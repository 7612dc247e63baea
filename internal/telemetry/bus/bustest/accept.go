package bustest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weir-stream/weir/internal/telemetry"
)

// body is how many reports the tests accept at once: such that no queue is a multiple of it.
const body = 7

// runAccept holds the bus against the promise of Accept.
func runAccept(t *testing.T, open func(t *testing.T) Bus) {
	t.Run("reports are accepted as a whole or not at all", func(t *testing.T) {
		bus := open(t)
		release := make(chan struct{})
		slow, fast := &sink{hang: release}, &sink{}
		bus.Subscribe("slow", slow)
		bus.Subscribe("fast", fast)
		stop := run(t, bus)
		n := fill(t, bus)
		close(release)
		stop()
		slow.expect(t, 0, n)
		fast.expect(t, 0, n)
		expectDropped(t, bus, 0)
	})

	t.Run("a bus that had no room accepts when there is some again", func(t *testing.T) {
		bus := open(t)
		release := make(chan struct{})
		slow := &sink{hang: release}
		bus.Subscribe("slow", slow)
		stop := run(t, bus)
		n := fill(t, bus)
		close(release)
		slow.waitFor(t, n)
		accepted := false
		for until := time.Now().Add(30 * time.Second); !accepted && time.Now().Before(until); {
			accepted = bus.Accept(t.Context(), reports(n, n+body)) == nil
		}
		if !accepted {
			t.Error("the bus accepts nothing after its queue was emptied")
		}
		stop()
		slow.expect(t, 0, n+body)
	})

	t.Run("requests cannot take the room of accepted reports", func(t *testing.T) {
		bus := open(t)
		release := make(chan struct{})
		slow := &sink{hang: release}
		bus.Subscribe("slow", slow)
		stop := run(t, bus)
		accepted, n := 0, 0
		for full := false; !full; {
			sendRequests(bus, 1_000_000_000, 1_000_000_100)
			if err := bus.Accept(t.Context(), reports(n, n+body)); err == nil {
				accepted += body
				n += body
			} else {
				full = true
			}
			if n > 10_000_000 {
				t.Fatal("the bus takes records without end")
			}
		}
		for bus.Dropped() == 0 {
			sendRequests(bus, 1_000_000_000, 1_000_001_000)
		}
		close(release)
		stop()
		slow.mu.Lock()
		defer slow.mu.Unlock()
		if !slices.Equal(slow.reports, numbers(0, accepted)) {
			t.Errorf("%d reports were delivered, want the %d accepted ones once and in order", len(slow.reports), accepted)
		}
	})

	t.Run("what is accepted by many at once is delivered, and nothing else", func(t *testing.T) {
		bus := open(t)
		release := make(chan struct{})
		slow := &sink{hang: release}
		bus.Subscribe("slow", slow)
		stop := run(t, bus)
		var taken atomic.Int64
		var producers sync.WaitGroup
		for p := range 4 {
			producers.Go(func() {
				for n := p * 10_000_000; n < (p+1)*10_000_000; n += body {
					if bus.Accept(context.Background(), reports(n, n+body)) != nil {
						return
					}
					taken.Add(body)
				}
			})
		}
		producers.Wait()
		close(release)
		stop()
		got := slow.taken()
		slices.Sort(got)
		if int64(len(got)) != taken.Load() || len(slices.Compact(got)) != int(taken.Load()) {
			t.Errorf("%d reports were delivered, want %d different ones", len(got), taken.Load())
		}
	})

	t.Run("the slice is the caller's again", func(t *testing.T) {
		bus := open(t)
		s := &sink{}
		bus.Subscribe("s", s)
		stop := run(t, bus)
		for n := 0; n < 10*body; n += body {
			list := reports(n, n+body)
			if err := bus.Accept(t.Context(), list); err != nil {
				t.Fatal(err)
			}
			for i := range list {
				list[i] = telemetry.Report{Path: "-1"}
			}
		}
		stop()
		s.expect(t, 0, 10*body)
	})

	t.Run("a context that has ended accepts nothing", func(t *testing.T) {
		bus := open(t)
		s := &sink{}
		bus.Subscribe("s", s)
		stop := run(t, bus)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := bus.Accept(ctx, reports(0, body)); !errors.Is(err, context.Canceled) {
			t.Errorf("error is %v, want that of the context", err)
		}
		stop()
		s.expect(t, 0, 0)
	})

	t.Run("a bus that has stopped says so", func(t *testing.T) {
		bus := open(t)
		s := &sink{}
		bus.Subscribe("s", s)
		stop := run(t, bus)
		stop()
		if err := bus.Accept(t.Context(), reports(0, body)); err == nil || errors.Is(err, telemetry.ErrFull) {
			t.Errorf("error is %v, want one that does not speak of room", err)
		}
		s.expect(t, 0, 0)
		expectDropped(t, bus, 0)
	})

	t.Run("the load is that of the fullest queue", func(t *testing.T) {
		bus := open(t)
		release := make(chan struct{})
		slow := &sink{hang: release}
		bus.Subscribe("slow", slow)
		bus.Subscribe("fast", &sink{})
		stop := run(t, bus)
		if load := bus.Load(); load != 0 {
			t.Errorf("load is %v with nothing queued, want 0", load)
		}
		n := fill(t, bus)
		if load := bus.Load(); load < 0.9 || load > 1 {
			t.Errorf("load is %v after the bus had no room, want 0.9 to 1", load)
		}
		close(release)
		slow.waitFor(t, n)
		stop()
		if load := bus.Load(); load != 0 {
			t.Errorf("load is %v after all was delivered, want 0", load)
		}
	})
}

// fill accepts reports until there is no room, and returns their number.
func fill(t *testing.T, bus Bus) (n int) {
	t.Helper()
	for ; n < 10_000_000; n += body {
		err := bus.Accept(t.Context(), reports(n, n+body))
		if err == nil {
			continue
		}
		if !errors.Is(err, telemetry.ErrFull) {
			t.Errorf("a bus without room says %v, want %v", err, telemetry.ErrFull)
		}
		return n
	}
	t.Fatal("the bus accepts reports without end")
	return n
}

func numbers(from, to int) []int {
	list := make([]int, 0, to-from)
	for n := from; n < to; n++ {
		list = append(list, n)
	}
	return list
}
