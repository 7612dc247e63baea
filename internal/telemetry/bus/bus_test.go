package bus

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/weir-stream/weir/internal/telemetry"
	"github.com/weir-stream/weir/internal/telemetry/bus/bustest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newBus(t testing.TB, change func(*Config)) *Bus {
	t.Helper()
	config := DefaultConfig()
	if change != nil {
		change(&config)
	}
	b, err := New(Settings{Config: config, Registerer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestContract(t *testing.T) {
	bustest.Run(t, func(t *testing.T) bustest.Bus {
		return newBus(t, func(c *Config) { c.BatchAge, c.RetryMin = 5*time.Millisecond, time.Millisecond })
	})
}

// recorder notes when batches come and how large they are.
type recorder struct {
	fail func() error

	mu    sync.Mutex
	sizes []int
	at    []time.Time
}

func (r *recorder) Append(_ context.Context, b telemetry.Batch) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sizes = append(r.sizes, b.Len())
	r.at = append(r.at, time.Now())
	if r.fail != nil {
		return r.fail()
	}
	return nil
}

// start runs the bus until the returned function is called.
func start(t *testing.T, b *Bus) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- b.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestABatchClosesByAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, nil)
		sink := &recorder{}
		b.Subscribe("s", sink)
		stop := start(t, b)
		sent := time.Now()
		b.Request(&telemetry.Request{})
		time.Sleep(b.config.BatchAge)
		synctest.Wait()
		if len(sink.at) != 1 || sink.at[0].Sub(sent) > b.config.BatchAge {
			t.Errorf("the record arrived at %v, want within %v of %v", sink.at, b.config.BatchAge, sent)
		}
		stop()
	})
}

func TestABatchClosesByCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, nil)
		sink := &recorder{}
		b.Subscribe("s", sink)
		stop := start(t, b)
		sent := time.Now()
		for range b.config.BatchRecords {
			if err := b.Accept(t.Context(), []telemetry.Report{{}}); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if len(sink.sizes) != 1 || sink.sizes[0] != b.config.BatchRecords || !sink.at[0].Equal(sent) {
			t.Errorf("batches of %v at %v, want one of %d at once", sink.sizes, sink.at, b.config.BatchRecords)
		}
		stop()
	})
}

func TestABacklogIsTakenInLargerPieces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, nil)
		sink := &recorder{}
		b.Subscribe("s", sink)
		for range 24 * b.config.BatchRecords {
			b.Request(&telemetry.Request{})
		}
		stop := start(t, b)
		synctest.Wait()
		if len(sink.sizes) != 3 || sink.sizes[0] != b.config.AppendRecords || sink.sizes[2] != 2000 {
			t.Errorf("batches of %v, want 5000, 5000 and 2000", sink.sizes)
		}
		stop()
	})
}

// Nobody was told that a request is safe; so requests go first.
func TestRequestsMakeRoomForReports(t *testing.T) {
	b := newBus(t, func(c *Config) { c.QueueRecords, c.BatchRecords = 400, 10 })
	b.Subscribe("s", &recorder{})
	for range 1000 {
		b.Request(&telemetry.Request{})
	}
	if load := b.Load(); load != 0.75 || b.Dropped() != 700 {
		t.Errorf("load %v with %d requests dropped, want 0.75 and 700", load, b.Dropped())
	}
	taken := 0
	for b.Accept(t.Context(), make([]telemetry.Report, 10)) == nil {
		taken += 10
	}
	if load := b.Load(); load != 1 || taken != 100 || b.Dropped() != 700 {
		t.Errorf("load %v with %d reports taken and %d records dropped, want 1, 100 and 700", load, taken, b.Dropped())
	}
}

func TestRetriesBackOffAndEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, func(c *Config) { c.RetryMin, c.RetryMax, c.RetryAge = time.Second, 4*time.Second, 15*time.Second })
		sink := &recorder{fail: func() error { return errors.New("no") }}
		b.Subscribe("s", sink)
		stop := start(t, b)
		for range b.config.BatchRecords {
			b.Request(&telemetry.Request{})
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		var pauses []time.Duration
		for i := 1; i < len(sink.at); i++ {
			pauses = append(pauses, sink.at[i].Sub(sink.at[i-1]))
		}
		want := []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 4 * time.Second, 4 * time.Second}
		if len(pauses) != len(want) {
			t.Fatalf("pauses %v, want %v", pauses, want)
		}
		for i := range want {
			if pauses[i] != want[i] {
				t.Errorf("pauses %v, want %v", pauses, want)
			}
		}
		if n := testutil.ToFloat64(b.metrics.dropped.WithLabelValues("s", expired)); n != float64(b.config.BatchRecords) {
			t.Errorf("%v records counted as expired, want %d", n, b.config.BatchRecords)
		}
		stop()
	})
}

func TestFlushingEndsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, nil)
		b.Subscribe("fails", &recorder{fail: func() error { return errors.New("no") }})
		b.Subscribe("hangs", hanging{})
		stop := start(t, b)
		for range 1200 {
			b.Request(&telemetry.Request{})
		}
		began := time.Now()
		stop()
		if took := time.Since(began); took != b.config.FlushTimeout {
			t.Errorf("Run ended after %v, want %v", took, b.config.FlushTimeout)
		}
		if n := b.Dropped(); n != 2400 {
			t.Errorf("%d records counted as dropped, want 2400", n)
		}
		if n := testutil.ToFloat64(b.metrics.dropped.WithLabelValues("hangs", unflushed)); n != 1200 {
			t.Errorf("%v records counted as not flushed, want 1200", n)
		}
	})
}

type hanging struct{}

func (hanging) Append(ctx context.Context, _ telemetry.Batch) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestConfigIsChecked(t *testing.T) {
	for key, change := range map[string]func(*Config){
		"batch_records":  func(c *Config) { c.BatchRecords = 0 },
		"append_records": func(c *Config) { c.AppendRecords = -1 },
		"queue_records":  func(c *Config) { c.QueueRecords = 1 },
		"batch_age":      func(c *Config) { c.BatchAge = 0 },
		"retry_min":      func(c *Config) { c.RetryMin = -1 },
		"retry_max":      func(c *Config) { c.RetryMax = 1 },
		"retry_age":      func(c *Config) { c.RetryAge = 0 },
		"flush_timeout":  func(c *Config) { c.FlushTimeout = 0 },
	} {
		c := DefaultConfig()
		change(&c)
		if err := c.Validate(); err == nil || !strings.HasPrefix(err.Error(), key+" is ") {
			t.Errorf("%s: error %v, want one that names it", key, err)
		}
	}
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
}

func BenchmarkRequest(b *testing.B) {
	bus := newBus(b, nil)
	bus.Subscribe("s", &recorder{})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- bus.Run(ctx) }()
	b.ReportAllocs()
	var r telemetry.Request
	for b.Loop() {
		bus.Request(&r)
	}
	cancel()
	<-done
	b.ReportMetric(float64(bus.Dropped())/float64(b.N), "dropped/op")
}
