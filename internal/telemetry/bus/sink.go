package bus

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-stream/weir/internal/telemetry"
)

// sinkQueue is the queue of one sink. Its goroutine, run, is the only one that takes from it.
type sinkQueue struct {
	bus    *Bus
	name   string
	sink   telemetry.Sink
	log    *slog.Logger
	queued prometheus.Gauge
	append prometheus.Observer
	wake   chan struct{} // has a value if there is something new to look at

	mu      sync.Mutex
	batches []telemetry.Batch
	records int // in batches and at the sink
	closed  bool
}

func newSinkQueue(b *Bus, name string, sink telemetry.Sink) *sinkQueue {
	return &sinkQueue{
		bus: b, name: name, sink: sink,
		log:    b.log.With("sink", name),
		queued: b.metrics.queued.WithLabelValues(name),
		append: b.metrics.append.WithLabelValues(name),
		wake:   make(chan struct{}, 1),
	}
}

// room reports whether n more records would find room.
func (q *sinkQueue) room(n int) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.records+n <= q.bus.config.QueueRecords
}

// waiting returns how many records wait for the sink, with those that it is working on.
func (q *sinkQueue) waiting() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.records
}

// put queues a batch; false if there would be more records than limit.
func (q *sinkQueue) put(batch telemetry.Batch, limit int) bool {
	if batch.Len() == 0 {
		return true
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.records+batch.Len() > limit {
		return false
	}
	q.batches = append(q.batches, batch)
	q.records += batch.Len()
	q.queued.Set(float64(q.records))
	q.signal()
	return true
}

func (q *sinkQueue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.signal()
}

func (q *sinkQueue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// take returns the batches that are next, as one; a backlog is taken in larger pieces, which
// stores swallow faster. more is false if the queue is empty and will stay so.
func (q *sinkQueue) take() (batch telemetry.Batch, more bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.batches) == 0 {
		return telemetry.Batch{}, !q.closed
	}
	n, total := 0, 0
	for n < len(q.batches) && (n == 0 || total+q.batches[n].Len() <= q.bus.config.AppendRecords) {
		total += q.batches[n].Len()
		n++
	}
	batch = q.batches[0]
	if n > 1 { // into new memory, as the slices are shared with other sinks
		batch = telemetry.Batch{}
		for _, b := range q.batches[:n] {
			batch.Requests = append(batch.Requests, b.Requests...)
			batch.Reports = append(batch.Reports, b.Reports...)
		}
	}
	clear(q.batches[:n])
	if q.batches = q.batches[n:]; len(q.batches) == 0 {
		q.batches = nil
	}
	return batch, true
}

func (q *sinkQueue) done(n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.records -= n
	q.queued.Set(float64(q.records))
}

func (q *sinkQueue) run(ctx context.Context) {
	for {
		batch, more := q.take()
		if !more {
			return
		}
		if batch.Len() > 0 {
			q.deliver(ctx, batch)
			q.done(batch.Len())
			continue
		}
		<-q.wake // a closed queue wakes it too, so ctx is not asked
	}
}

// deliver appends the batch, as often as it takes.
func (q *sinkQueue) deliver(ctx context.Context, batch telemetry.Batch) {
	start := time.Now()
	pause := q.bus.config.RetryMin
	for failures := 0; ; failures++ {
		if ctx.Err() != nil {
			q.drop(batch, unflushed, ctx.Err())
			return
		}
		began := time.Now()
		err := q.sink.Append(ctx, batch)
		q.append.Observe(time.Since(began).Seconds())
		switch {
		case err == nil:
			if failures > 0 {
				q.log.Info("telemetry sink works again", "failures", failures, "after", time.Since(start))
			}
			return
		case telemetry.IsPermanent(err):
			q.drop(batch, permanent, err)
			return
		case ctx.Err() != nil:
			q.drop(batch, unflushed, err)
			return
		case time.Since(start)+pause > q.bus.config.RetryAge:
			q.drop(batch, expired, err)
			return
		}
		if failures == 0 {
			q.log.Warn("telemetry sink does not take records, trying again", "error", err)
		}
		q.bus.metrics.retries.WithLabelValues(q.name).Inc()
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
		pause = min(2*pause, q.bus.config.RetryMax)
	}
}

func (q *sinkQueue) drop(batch telemetry.Batch, reason string, err error) {
	q.bus.drop(q.name, reason, batch.Len())
	q.log.Error("telemetry records dropped", "records", batch.Len(), "reason", reason, "error", err)
}
