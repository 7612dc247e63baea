package cache

import (
	"time"

	"github.com/weir-stream/weir/internal/cdn"
)

// ghosts remember something about keys whose objects are not held: a hash and a time each, in a ring,
// so that the oldest are forgotten. Guarded by the shard's lock.
type ghosts struct {
	index map[uint64]ghost
	ring  []uint64
	next  int
}

// ghost is why an object is not held: uncacheable until until; or evicted or purged, and without that it
// would have been fresh until until.
type ghost struct {
	slot  int // in ring
	why   cdn.MissReason
	until time.Time
}

func newGhosts(n int) *ghosts {
	return &ghosts{index: make(map[uint64]ghost), ring: make([]uint64, 0, n)}
}

func (g *ghosts) put(sum uint64, v ghost) {
	if cap(g.ring) == 0 {
		return
	}
	if old, ok := g.index[sum]; ok {
		v.slot = old.slot
		g.index[sum] = v
		return
	}
	if len(g.ring) < cap(g.ring) {
		v.slot = len(g.ring)
		g.ring = append(g.ring, sum)
	} else {
		v.slot = g.next
		// A slot whose key was dropped has been given to nobody else, but its hash may have come
		// back in another slot; that one stays.
		if old, ok := g.index[g.ring[v.slot]]; ok && old.slot == v.slot {
			delete(g.index, g.ring[v.slot])
		}
		g.ring[v.slot] = sum
		g.next = (g.next + 1) % len(g.ring)
	}
	g.index[sum] = v
}

func (g *ghosts) get(sum uint64) (ghost, bool) {
	v, ok := g.index[sum]
	return v, ok
}

func (g *ghosts) drop(sum uint64) { delete(g.index, sum) }
