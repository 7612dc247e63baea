package cache

import (
	"hash/maphash"
	"time"
)

// ghosts remember something about keys whose objects are not held: a hash and a time each, in a ring,
// so that the oldest are forgotten. Guarded by Cache.mu.
type ghosts struct {
	seed  maphash.Seed
	index map[uint64]ghost
	ring  []uint64
	next  int
}

type ghost struct {
	slot int // in ring
	// uncacheable until until; else evicted, and fresh it would have been until until.
	uncacheable bool
	until       time.Time
}

func newGhosts(n int) *ghosts {
	return &ghosts{seed: maphash.MakeSeed(), index: make(map[uint64]ghost), ring: make([]uint64, 0, n)}
}

func (g *ghosts) put(key string, v ghost) {
	if cap(g.ring) == 0 {
		return
	}
	sum := maphash.String(g.seed, key)
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

func (g *ghosts) get(key string) (ghost, bool) {
	v, ok := g.index[maphash.String(g.seed, key)]
	return v, ok
}

func (g *ghosts) drop(key string) { delete(g.index, maphash.String(g.seed, key)) }
