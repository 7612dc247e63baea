package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-stream/weir/internal/telemetry"
)

// Settings are what [New] needs.
type Settings struct {
	Config     Config
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Bus is the bus in one process. Its methods may be called from many goroutines.
type Bus struct {
	config  Config
	log     *slog.Logger
	metrics *metrics
	dropped atomic.Int64

	requests, reports prometheus.Counter

	mu      sync.Mutex
	open    telemetry.Batch // the batch that is being filled
	sinks   []*sinkQueue
	running bool
	stopped bool
}

// New makes a bus without sinks.
func New(s Settings) (*Bus, error) {
	if err := s.Config.Validate(); err != nil {
		return nil, fmt.Errorf("telemetry bus: %w", err)
	}
	m, err := newMetrics(s.Registerer)
	if err != nil {
		return nil, fmt.Errorf("telemetry bus: register metrics: %w", err)
	}
	if s.Log == nil {
		s.Log = slog.New(slog.DiscardHandler)
	}
	return &Bus{
		config: s.Config, log: s.Log, metrics: m,
		requests: m.records.WithLabelValues("request"),
		reports:  m.records.WithLabelValues("report"),
	}, nil
}

// Subscribe adds a sink, which gets every record from now on. It must be called before Run, and
// panics afterwards; the name is for metrics and the log.
func (b *Bus) Subscribe(name string, sink telemetry.Sink) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.running {
		panic(fmt.Sprintf("bus: sink %q subscribed after Run", name))
	}
	b.sinks = append(b.sinks, newSinkQueue(b, name, sink))
}

// Request hands a copy of a request to the bus. It never blocks, and drops and counts what finds no room.
func (b *Bus) Request(r *telemetry.Request) {
	b.requests.Inc()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stopped {
		for _, q := range b.sinks {
			b.drop(q.name, stopped, 1)
		}
		return
	}
	b.open.Requests = append(b.open.Requests, *r)
	b.closeIfFull()
}

// Accept hands reports to the bus: all of them, or none. When it has returned nil they are where
// this bus promises to keep them: in memory, with room for them in the queue of every sink, whatever
// else comes. The error is [telemetry.ErrFull] if a sink has no room for them, [ErrStopped] after the
// end of Run, or that of ctx; then none was taken, and to try again is the caller's affair. The bus
// does not keep the slice.
func (b *Bus) Accept(ctx context.Context, reports []telemetry.Report) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("hand %d reports to the bus: %w", len(reports), err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stopped {
		b.metrics.refused.WithLabelValues(stopped).Add(float64(len(reports)))
		return fmt.Errorf("hand %d reports to the bus: %w", len(reports), ErrStopped)
	}
	for _, q := range b.sinks {
		if !q.room(len(b.open.Reports) + len(reports)) {
			b.metrics.refused.WithLabelValues(full).Add(float64(len(reports)))
			return fmt.Errorf("hand %d reports to the bus: sink %s: %w", len(reports), q.name, telemetry.ErrFull)
		}
	}
	b.reports.Add(float64(len(reports)))
	b.open.Reports = append(b.open.Reports, reports...)
	b.closeIfFull()
	return nil
}

// Load returns how full the fullest queue is, from 0 to 1. Above three quarters only reports are in the way
// of reports.
func (b *Bus) Load() float64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	waiting := 0
	for _, q := range b.sinks {
		waiting = max(waiting, q.waiting())
	}
	return min(1, float64(waiting+b.open.Len())/float64(b.config.QueueRecords))
}

// Dropped returns how many records were dropped after the bus had taken them, for whatever reason;
// one that several sinks did not get counts several times.
func (b *Bus) Dropped() int64 { return b.dropped.Load() }

func (b *Bus) drop(sink, reason string, n int) {
	b.dropped.Add(int64(n))
	b.metrics.dropped.WithLabelValues(sink, reason).Add(float64(n))
}

func (b *Bus) closeIfFull() {
	if b.open.Len() >= b.config.BatchRecords {
		b.closeBatch()
	}
}

// closeBatch hands the open batch to every sink. The caller holds b.mu, so that all sinks see the
// records in the same order, and so that nothing takes the room that Accept has found.
func (b *Bus) closeBatch() {
	batch := b.open
	if batch.Len() == 0 {
		return
	}
	// The sinks keep the old slices. The next batch will be about as large as this one.
	b.open = telemetry.Batch{
		Requests: make([]telemetry.Request, 0, len(batch.Requests)),
		Reports:  make([]telemetry.Report, 0, len(batch.Reports)),
	}
	for _, q := range b.sinks {
		switch {
		case len(batch.Requests) > 0 && q.put(batch, b.config.requestRecords()):
		case q.put(telemetry.Batch{Reports: batch.Reports}, b.config.QueueRecords): // Accept found room for them
			b.drop(q.name, full, len(batch.Requests))
		default:
			b.drop(q.name, full, batch.Len())
		}
	}
}

// Run appends batches to the sinks until ctx ends; then it takes no more records, and appends what
// is queued before it returns. It may be called once.
func (b *Bus) Run(ctx context.Context) error {
	b.mu.Lock()
	if b.running {
		b.mu.Unlock()
		return errors.New("telemetry bus: Run was called twice")
	}
	b.running = true
	b.mu.Unlock()

	// Sinks outlive ctx by the time to flush.
	sinkCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	var sinks sync.WaitGroup
	for _, q := range b.sinks {
		sinks.Go(func() { q.run(sinkCtx) })
	}

	age := time.NewTicker(b.config.BatchAge)
	defer age.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-age.C:
			b.mu.Lock()
			b.closeBatch()
			b.mu.Unlock()
		}
	}

	b.mu.Lock()
	b.closeBatch()
	b.stopped = true
	for _, q := range b.sinks {
		q.close()
	}
	b.mu.Unlock()
	deadline := time.AfterFunc(b.config.FlushTimeout, cancel)
	defer deadline.Stop()
	sinks.Wait()
	return nil
}
