package edge

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// errBusy says that as many fetches run and wait as may.
var errBusy = errors.New("the edge is at its limit of fetches")

// limiter bounds what runs at the same time and what waits for it.
type limiter struct {
	slots    chan struct{}
	maxQueue int64
	timeout  time.Duration
	queued   atomic.Int64
}

func newLimiter(slots, queue int, timeout time.Duration) *limiter {
	return &limiter{slots: make(chan struct{}, slots), maxQueue: int64(queue), timeout: timeout}
}

// acquire takes a slot, which is to be given back with release.
func (l *limiter) acquire(ctx context.Context) error {
	select {
	case l.slots <- struct{}{}:
		return nil
	default:
	}
	if l.queued.Add(1) > l.maxQueue {
		l.queued.Add(-1)
		return errBusy
	}
	defer l.queued.Add(-1)
	timer := time.NewTimer(l.timeout)
	defer timer.Stop()
	select {
	case l.slots <- struct{}{}:
		return nil
	case <-timer.C:
		return errBusy
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (l *limiter) release() { <-l.slots }

// crowded reports whether more than half of what may wait does.
func (l *limiter) crowded() bool { return l.maxQueue > 0 && 2*l.queued.Load() > l.maxQueue }
