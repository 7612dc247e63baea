package policy

import "math/bits"

// ghosts remember the hashes of objects that left probation, until as many bytes as the cache holds have
// left it after them: a table of a fixed size, in buckets of four, of which the oldest makes room.
type ghosts struct {
	slots []uint64 // tag<<32 | when; 0 is free
	mask  uint64
	clock int64 // bytes that have left
	unit  int64 // of when
}

// ghostUnits is how finely the bytes that the cache holds are told by when.
const ghostUnits = 1 << 16

func newGhosts(objects int, capacity int64) *ghosts {
	n := 1 << bits.Len(uint(max(objects, 64)-1))
	return &ghosts{slots: make([]uint64, n), mask: uint64(n - ways), unit: max(capacity/ghostUnits, 1)}
}

func (g *ghosts) bucket(hash uint64) (b []uint64, tag uint64) {
	h := hash * 0x9e3779b97f4a7c15
	h ^= h >> 32
	i := h & g.mask
	return g.slots[i : i+ways], h>>32 | 1
}

// age is how many units ago a slot was written.
func (g *ghosts) age(slot uint64) uint32 { return uint32(g.clock/g.unit) - uint32(slot) }

func (g *ghosts) put(hash uint64, size int64) {
	g.clock += size
	b, tag := g.bucket(hash)
	free := 0
	for i, slot := range b {
		if slot == 0 || slot>>32 == tag {
			free = i
			break
		}
		if g.age(slot) > g.age(b[free]) {
			free = i
		}
	}
	b[free] = tag<<32 | uint64(uint32(g.clock/g.unit))
}

// take says whether hash is remembered, and forgets it.
func (g *ghosts) take(hash uint64) bool {
	b, tag := g.bucket(hash)
	for i, slot := range b {
		if slot>>32 == tag {
			b[i] = 0
			return g.age(slot) < ghostUnits
		}
	}
	return false
}
