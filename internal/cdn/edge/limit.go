package edge

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// errBusy says that as many fetches run and wait as may.
var errBusy = errors.New("the edge is at its limit of fetches")

// limiter bounds what runs at the same time and what waits for it. The bounds can change meanwhile.
type limiter struct {
	queued   atomic.Int64
	maxQueue atomic.Int64

	mu      sync.Mutex
	slots   int
	timeout time.Duration
	running int // may be more than slots for a while, after those have become fewer
	waiting []chan struct{}
}

func newLimiter(slots, queue int, timeout time.Duration) *limiter {
	l := new(limiter)
	l.configure(slots, queue, timeout)
	return l
}

// configure sets the bounds.
func (l *limiter) configure(slots, queue int, timeout time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.slots, l.timeout = slots, timeout
	l.maxQueue.Store(int64(queue))
	l.admit()
}

// admit lets those who wait run, the first first, as far as there is room. Called with mu held.
func (l *limiter) admit() {
	for len(l.waiting) > 0 && l.running < l.slots {
		close(l.waiting[0])
		l.waiting = slices.Delete(l.waiting, 0, 1)
		l.running++
	}
}

// tryAcquire takes a slot if there is one now.
func (l *limiter) tryAcquire() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.running >= l.slots {
		return false
	}
	l.running++
	return true
}

// acquire takes a slot, which is to be given back with release.
func (l *limiter) acquire(ctx context.Context) error {
	l.mu.Lock()
	if l.running < l.slots {
		l.running++
		l.mu.Unlock()
		return nil
	}
	if int64(len(l.waiting)) >= l.maxQueue.Load() {
		l.mu.Unlock()
		return errBusy
	}
	turn := make(chan struct{})
	l.waiting = append(l.waiting, turn)
	timeout := l.timeout
	l.mu.Unlock()
	l.queued.Add(1)
	defer l.queued.Add(-1)
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	var err error
	select {
	case <-turn:
		return nil
	case <-timer.C:
		err = errBusy
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if !l.leave(turn) {
		return nil // its turn came at the same time
	}
	return err
}

// leave takes somebody out of the queue; false if it has a slot.
func (l *limiter) leave(turn chan struct{}) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := slices.Index(l.waiting, turn)
	if at < 0 {
		return false
	}
	l.waiting = slices.Delete(l.waiting, at, at+1)
	return true
}

func (l *limiter) release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.running--
	l.admit()
}

// crowded reports whether more than half of what may wait does.
func (l *limiter) crowded() bool {
	most := l.maxQueue.Load()
	return most > 0 && 2*l.queued.Load() > most
}
