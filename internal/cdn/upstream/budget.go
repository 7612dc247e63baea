package upstream

import (
	"math"
	"sync"
	"time"
)

const (
	// maxTokens bounds what the budget saves up: after a quiet hour an outage must not be answered with
	// an hour's retries.
	maxTokens = 50
	// floorSeconds is for how many seconds the floor is saved up.
	floorSeconds = 3
)

// budget bounds retries to a share of the requests, and a little beside it for quiet times: when
// everything fails, retries must not multiply the load.
type budget struct {
	mu     sync.Mutex
	ratio  float64
	floor  float64 // per second
	tokens float64 // earned by requests
	spare  float64 // given by time
	last   time.Time
}

// configure takes new values over and keeps what is saved.
func (b *budget) configure(c RetryConfig, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.last.IsZero() {
		b.last, b.spare = now, math.Ceil(c.PerSecond)
	}
	b.ratio, b.floor = c.Ratio, c.PerSecond
}

// earn counts a request.
func (b *budget) earn() {
	b.mu.Lock()
	b.tokens = min(maxTokens, b.tokens+b.ratio)
	b.mu.Unlock()
}

// spend takes the price of a retry; false: there is nothing left.
func (b *budget) spend(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if elapsed := now.Sub(b.last).Seconds(); elapsed > 0 {
		b.spare = min(math.Ceil(b.floor*floorSeconds), b.spare+elapsed*b.floor)
		b.last = now
	}
	switch {
	case b.tokens >= 1:
		b.tokens--
	case b.spare >= 1:
		b.spare--
	default:
		return false
	}
	return true
}
