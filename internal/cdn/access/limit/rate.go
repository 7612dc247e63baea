package limit

import (
	"hash/maphash"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"
)

// ways is how many keys may have the same hash in the table; 8 entries are two cache lines.
const ways = 8

// entry is a key and its theoretical arrival time: when the next request would come if all came in even
// steps (the generic cell rate algorithm, ITU-T I.371). 0 is no key.
type entry struct {
	key uint64
	tat int64
}

type set struct {
	mu      sync.Mutex
	entries [ways]entry
}

// Rate bounds requests per time for any number of keys.
type Rate struct {
	seed   maphash.Seed
	sets   []set
	mask   uint64
	forgot atomic.Uint64
}

// NewRate returns a Rate that remembers at least capacity keys.
func NewRate(capacity int) *Rate {
	sets := uint64(1)
	if n := (capacity + ways - 1) / ways; n > 1 {
		sets = 1 << bits.Len(uint(n-1))
	}
	return &Rate{seed: maphash.MakeSeed(), sets: make([]set, sets), mask: sets - 1}
}

// Key is what requests are counted by: what kind of thing it is, and which.
type Key struct {
	Scope string
	Hi    uint64
	Lo    uint64
	Name  string
}

// Allow reports whether one more request of the key at time now is within perSecond, of which those of a
// while burst may come at once. If it is not, it returns how long to wait until one is; such a request is
// not counted.
func (r *Rate) Allow(k Key, now time.Time, perSecond float64, burst time.Duration) (wait time.Duration, ok bool) {
	key := maphash.Comparable(r.seed, k) | 1 // never 0, which is no key
	at := now.UnixNano()
	step := int64(float64(time.Second) / perSecond)
	s := &r.sets[(key>>1)&r.mask]

	s.mu.Lock()
	defer s.mu.Unlock()
	oldest := 0
	for i := range s.entries {
		e := &s.entries[i]
		if e.key == key {
			return e.take(at, step, int64(burst))
		}
		if e.tat < s.entries[oldest].tat {
			oldest = i
		}
	}
	e := &s.entries[oldest]
	if e.key != 0 && e.tat > at {
		r.forgot.Add(1)
	}
	*e = entry{key: key}
	return e.take(at, step, int64(burst))
}

func (e *entry) take(now, step, burst int64) (time.Duration, bool) {
	tat := max(e.tat, now) + step
	if over := tat - now - max(burst, step); over > 0 {
		return time.Duration(over), false
	}
	e.tat = tat
	return 0, true
}

// Forgotten returns how many busy keys were forgotten for want of room.
func (r *Rate) Forgotten() uint64 { return r.forgot.Load() }
