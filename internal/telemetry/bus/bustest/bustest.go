package bustest

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/weir-stream/weir/internal/telemetry"
)

// Bus is what the contract is about.
type Bus interface {
	Subscribe(name string, sink telemetry.Sink)
	Request(*telemetry.Request)
	Accept(ctx context.Context, reports []telemetry.Report) error
	Load() float64
	Run(ctx context.Context) error
	Dropped() int64
}

// Run holds the bus that open returns against the contract, which DESIGN.md of package bus explains.
// The bus must have room for 2,000 records of each sink and for no more than 10 million, try a batch
// again within a second, and give up flushing within 30 seconds.
func Run(t *testing.T, open func(t *testing.T) Bus) {
	t.Run("every sink gets every record in order", func(t *testing.T) {
		bus := open(t)
		a, b := &sink{}, &sink{}
		bus.Subscribe("a", a)
		bus.Subscribe("b", b)
		stop := run(t, bus)
		send(t, bus, 0, 1500)
		a.waitFor(t, 1500)
		b.waitFor(t, 1500)
		stop()
		for _, s := range []*sink{a, b} {
			s.expect(t, 0, 1500)
		}
		expectDropped(t, bus, 0)
	})

	t.Run("records that came before Run are delivered", func(t *testing.T) {
		bus := open(t)
		s := &sink{}
		bus.Subscribe("s", s)
		send(t, bus, 0, 100)
		stop := run(t, bus)
		s.waitFor(t, 100)
		stop()
		s.expect(t, 0, 100)
	})

	t.Run("what is queued is flushed at the end", func(t *testing.T) {
		bus := open(t)
		s := &sink{}
		bus.Subscribe("s", s)
		stop := run(t, bus)
		send(t, bus, 0, 1000)
		stop()
		s.expect(t, 0, 1000)
		expectDropped(t, bus, 0)
	})

	t.Run("a batch is appended again until the sink takes it", func(t *testing.T) {
		bus := open(t)
		s := &sink{fail: func(attempt int) error {
			if attempt < 3 {
				return errors.New("disk is full")
			}
			return nil
		}}
		bus.Subscribe("s", s)
		stop := run(t, bus)
		send(t, bus, 0, 50)
		s.waitFor(t, 50)
		send(t, bus, 50, 100)
		s.waitFor(t, 100)
		stop()
		s.expect(t, 0, 100)
		expectDropped(t, bus, 0)
	})

	t.Run("a permanent error drops the batch and no other", func(t *testing.T) {
		bus := open(t)
		s := &sink{fail: func(attempt int) error {
			if attempt == 0 {
				return telemetry.Permanent(errors.New("no such column"))
			}
			return nil
		}}
		other := &sink{}
		bus.Subscribe("s", s)
		bus.Subscribe("other", other)
		stop := run(t, bus)
		send(t, bus, 0, 1) // one record is one batch
		other.waitFor(t, 1)
		s.waitAttempts(t, 1)
		send(t, bus, 1, 20)
		stop()
		s.expect(t, 1, 20)
		other.expect(t, 0, 20)
		expectDropped(t, bus, 1)
	})

	t.Run("a sink that hangs keeps nobody from working", func(t *testing.T) {
		bus := open(t)
		release := make(chan struct{})
		slow := &sink{hang: release}
		fast := &sink{}
		bus.Subscribe("slow", slow)
		bus.Subscribe("fast", fast)
		stop := run(t, bus)
		send(t, bus, 0, 1000)
		fast.waitFor(t, 1000)
		close(release)
		stop()
		slow.expect(t, 0, 1000)
		fast.expect(t, 0, 1000)
	})

	t.Run("a bus that is full drops, counts, and goes on", func(t *testing.T) {
		bus := open(t)
		release := make(chan struct{})
		slow := &sink{hang: release}
		bus.Subscribe("slow", slow)
		stop := run(t, bus)
		n := 0
		for bus.Dropped() == 0 {
			sendRequests(bus, n, n+1000)
			if n += 1000; n > 10_000_000 {
				t.Fatal("the bus takes records without end")
			}
		}
		close(release)
		stop()
		if got := int64(len(slow.taken())) + bus.Dropped(); got != int64(n) {
			t.Errorf("%d records delivered or counted as dropped, want %d", got, n)
		}
		if got := slow.taken(); !slices.IsSorted(got) {
			t.Error("records are out of order")
		}
	})

	t.Run("a record that comes too late is counted", func(t *testing.T) {
		bus := open(t)
		s := &sink{}
		bus.Subscribe("s", s)
		stop := run(t, bus)
		stop()
		sendRequests(bus, 0, 3)
		expectDropped(t, bus, 3)
	})

	t.Run("many producers at once", func(t *testing.T) {
		bus := open(t)
		s := &sink{}
		bus.Subscribe("s", s)
		stop := run(t, bus)
		var producers sync.WaitGroup
		for p := range 8 {
			producers.Go(func() { send(t, bus, p*200, (p+1)*200) })
		}
		producers.Wait()
		stop()
		got := s.taken()
		slices.Sort(got)
		if len(got) != 1600 || len(slices.Compact(got)) != 1600 {
			t.Errorf("%d records, want 1600 different ones", len(got))
		}
	})

	runAccept(t, open)
}

// send hands over the records with the numbers from up to to, every third a report.
func send(t *testing.T, bus Bus, from, to int) {
	t.Helper()
	for n := from; n < to; n++ {
		if n%3 != 0 {
			sendRequests(bus, n, n+1)
		} else if err := bus.Accept(context.Background(), reports(n, n+1)); err != nil {
			t.Errorf("report %d was not accepted: %v", n, err)
		}
	}
}

func sendRequests(bus Bus, from, to int) {
	for n := from; n < to; n++ {
		bus.Request(&telemetry.Request{ID: uuid.Must(uuid.NewV7()), Path: strconv.Itoa(n)})
	}
}

func reports(from, to int) []telemetry.Report {
	list := make([]telemetry.Report, 0, to-from)
	for n := from; n < to; n++ {
		list = append(list, telemetry.Report{ID: uuid.Must(uuid.NewV7()), Path: strconv.Itoa(n)})
	}
	return list
}

func run(t *testing.T, bus Bus) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- bus.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			select {
			case err := <-done:
				if err != nil {
					t.Errorf("Run: %v", err)
				}
			case <-time.After(time.Minute):
				t.Error("Run does not come to its end")
			}
		})
	}
	t.Cleanup(stop)
	return stop
}

func expectDropped(t *testing.T, bus Bus, want int64) {
	t.Helper()
	if got := bus.Dropped(); got != want {
		t.Errorf("%d records were dropped, want %d", got, want)
	}
}

// sink takes note of the numbers of the records, once each.
type sink struct {
	fail func(attempt int) error // asked before a batch is taken
	hang chan struct{}           // Append waits for it

	mu       sync.Mutex
	attempts int
	requests []int
	reports  []int
	changed  chan struct{}
}

func (s *sink) Append(ctx context.Context, batch telemetry.Batch) error {
	if s.hang != nil {
		select {
		case <-s.hang:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.announce()
	s.attempts++
	if s.fail != nil {
		if err := s.fail(s.attempts - 1); err != nil {
			return err
		}
	}
	for _, r := range batch.Requests {
		n, _ := strconv.Atoi(r.Path)
		s.requests = append(s.requests, n)
	}
	for _, r := range batch.Reports {
		n, _ := strconv.Atoi(r.Path)
		s.reports = append(s.reports, n)
	}
	return nil
}

func (s *sink) announce() {
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

// wait returns when enough says so, which is asked after each Append.
func (s *sink) wait(t *testing.T, what string, enough func() bool) {
	t.Helper()
	timeout := time.After(30 * time.Second)
	for {
		s.mu.Lock()
		if enough() {
			s.mu.Unlock()
			return
		}
		if s.changed == nil {
			s.changed = make(chan struct{})
		}
		changed := s.changed
		s.mu.Unlock()
		select {
		case <-changed:
		case <-timeout:
			t.Fatalf("waited 30 s for %s in vain", what)
		}
	}
}

func (s *sink) waitFor(t *testing.T, n int) {
	t.Helper()
	s.wait(t, strconv.Itoa(n)+" records", func() bool { return len(s.requests)+len(s.reports) >= n })
}

func (s *sink) waitAttempts(t *testing.T, n int) {
	t.Helper()
	s.wait(t, strconv.Itoa(n)+" attempts", func() bool { return s.attempts >= n })
}

// taken returns the numbers of the records. Requests and reports each keep their order, so merging
// the two gives a sorted list if nothing was out of order.
func (s *sink) taken() []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	merged := make([]int, 0, len(s.requests)+len(s.reports))
	i, j := 0, 0
	for i < len(s.requests) || j < len(s.reports) {
		if j == len(s.reports) || i < len(s.requests) && s.requests[i] < s.reports[j] {
			merged = append(merged, s.requests[i])
			i++
		} else {
			merged = append(merged, s.reports[j])
			j++
		}
	}
	return merged
}

func (s *sink) expect(t *testing.T, from, to int) {
	t.Helper()
	if got := s.taken(); !slices.Equal(got, numbers(from, to)) {
		t.Errorf("%d records, want those from %d to %d once and in order", len(got), from, to-1)
	}
}
