package policy

import (
	"math/bits"
	"sync/atomic"
)

// sketch counts how often groups were asked for, in a table of a fixed size: buckets of four counters,
// each with a tag of the group that it is about and the age at which it was last right. Whoever comes to
// a counter later halves it once for each age that has passed since, so that nothing ever has to walk
// over the table. A group for which a bucket has no room wears down the least of its counters until that
// is free.
type sketch struct {
	slots []atomic.Uint32 // tag<<20 | age<<12 | count
	mask  uint64
	age   atomic.Uint32
	// enough is the count above which nobody counts on: a group that is asked for so often is not to
	// be given up anyway, and a counter that is only read is not fought for by many processors.
	enough atomic.Uint32
}

const (
	ways     = 4
	tagShift = 20
	ageShift = 12
	ageMask  = 1<<(tagShift-ageShift) - 1
	maxCount = 1<<ageShift - 1
)

func newSketch(slots int) *sketch {
	n := 1 << bits.Len(uint(max(slots, 256)-1))
	s := &sketch{slots: make([]atomic.Uint32, n), mask: uint64(n - ways)}
	s.enough.Store(maxCount)
	return s
}

// bucket returns the counters that may be about a group, and its tag.
func (s *sketch) bucket(group uint64) (b *[ways]atomic.Uint32, tag uint32) {
	h := group * 0x9e3779b97f4a7c15
	h ^= h >> 32
	return (*[ways]atomic.Uint32)(s.slots[h&s.mask:]), uint32(h >> (64 - 12))
}

// count is what a counter says at an age.
func count(slot, age uint32) uint32 {
	return slot & maxCount >> ((age - slot>>ageShift) & ageMask)
}

// add counts one request. A count that is lost because two came at once is not made up for.
func (s *sketch) add(group uint64) {
	age := s.age.Load() & ageMask
	b, tag := s.bucket(group)
	var least *atomic.Uint32
	var leastOld, leastCount uint32 = 0, maxCount + 1
	for i := range b {
		old := b[i].Load()
		n := count(old, age)
		if old>>tagShift == tag {
			if n < s.enough.Load() {
				b[i].CompareAndSwap(old, tag<<tagShift|age<<ageShift|(n+1))
			}
			return
		}
		if n < leastCount {
			least, leastOld, leastCount = &b[i], old, n
		}
	}
	if leastCount == 0 {
		least.CompareAndSwap(leastOld, tag<<tagShift|age<<ageShift|1)
	} else {
		least.CompareAndSwap(leastOld, leastOld>>tagShift<<tagShift|age<<ageShift|(leastCount-1))
	}
}

func (s *sketch) estimate(group uint64) uint32 {
	age := s.age.Load() & ageMask
	b, tag := s.bucket(group)
	for i := range b {
		if slot := b[i].Load(); slot>>tagShift == tag {
			return count(slot, age)
		}
	}
	return 0
}
