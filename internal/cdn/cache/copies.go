package cache

import (
	"container/list"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weir-stream/weir/internal/cdn/cache/policy"
	"github.com/weir-stream/weir/internal/cdn/cache/segment"
)

const (
	// copyShare is the part of the memory that copies may take: one in so many. They are for what is asked for all
	// the time, which the processor has at hand; of what it has not, the file is as good.
	copyShare = 8
	// copyAfter is how often, lately, an object must have been asked for to be copied, which costs as much as is saved
	// by about as many answers.
	copyAfter = 8
	// copyParts is how many copies of the largest size there is room for.
	copyParts = 4
	// heatTime is after what time a request counts half.
	heatTime = 16 * time.Second
	// maxLooks bounds how many copies are looked at for some that are asked for less.
	maxLooks = 64
	// refusedTime is how long no copy is made after there was no room for one.
	refusedTime = 100 * time.Millisecond
	// maxWanted bounds the copies that wait to be made.
	maxWanted = 16
)

// copies are bodies in memory of objects that are on disk and were asked for often there. One makes room only for
// one that is asked for twice as often: a set that is larger than the room, and asked for in turn, is left on disk.
type copies struct {
	limit   int64
	wanted  chan *Body   // on disk; without a reference
	refused atomic.Int64 // when there was no room, in nanoseconds of Unix time

	mu    sync.Mutex
	order list.List // of *Body; at the end is what is looked at next
	used  int64
}

func newCopies(capacity int64) *copies {
	return &copies{limit: capacity / copyShare, wanted: make(chan *Body, maxWanted)}
}

// heat is how often a body was asked for lately: the time, in units of heatTime, and the number.
type heat struct{ atomic.Uint64 }

func (h *heat) at(unit uint32) uint32 {
	v := h.Load()
	age := int32(unit - uint32(v>>32))
	return uint32(v) >> min(max(age, 0), 31)
}

// add counts a request and returns the number. One that is lost because two came at once is not made up for.
func (h *heat) add(now time.Time) uint32 {
	unit := uint32(now.Unix() / int64(heatTime/time.Second))
	n := h.at(unit) + 1
	h.Store(uint64(unit)<<32 | uint64(n))
	return n
}

// unit is when the body was asked for last.
func (h *heat) unit() uint32 { return uint32(h.Load() >> 32) }

// want asks for a copy of a body on disk, which has been asked for often. It never waits.
func (k *copies) want(b *Body, now time.Time) {
	if b.length == 0 || b.length > k.limit/copyParts || now.UnixNano()-k.refused.Load() < int64(refusedTime) {
		return
	}
	select {
	case k.wanted <- b:
	default: // it will be asked for again
	}
}

// room takes up in, if there is room or some are asked for half as often at most; these are to leave.
func (k *copies) room(up *Body) (leave []*Body, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	unit := up.heat.unit()
	asked := up.heat.at(unit)
	free := k.limit - k.used
	for range min(maxLooks, k.order.Len()) {
		if free >= up.node.Size {
			break
		}
		v := k.order.Back()
		k.order.MoveToFront(v)
		if b, _ := v.Value.(*Body); 2*b.heat.at(unit) <= asked {
			leave = append(leave, b)
			free += b.node.Size
		}
	}
	if free < up.node.Size {
		return nil, false
	}
	for _, b := range leave {
		k.drop(b)
	}
	up.copied = k.order.PushFront(up)
	k.used += up.node.Size
	return leave, true
}

// remove takes a body out, if it is a copy.
func (k *copies) remove(b *Body) {
	if !b.isCopy {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.drop(b)
}

func (k *copies) drop(b *Body) {
	if b.copied != nil {
		k.order.Remove(b.copied)
		b.copied = nil
		k.used -= b.node.Size
	}
}

func (k *copies) bytes() int64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.used
}

// copyUp makes a body in memory the body of an object on disk, and that its backup.
func (c *Cache) copyUp(t *tier, b *Body) {
	s := c.shard(b.key)
	s.mu.Lock()
	if o := s.find(b); o == nil || o.body != b || b.tier != t {
		s.mu.Unlock()
		return // purged, replaced or copied meanwhile
	}
	b.refs.Add(1)
	s.mu.Unlock()
	defer b.release()
	up := &Body{cache: c, key: b.key, length: b.length, size: b.length, whole: true, done: true, isCopy: true, policy: c.memory}
	up.node = policy.Node{Hash: b.node.Hash, Group: b.node.Group, Size: b.length + overhead(b.key), Value: up}
	up.heat.Store(b.heat.Load())
	leave, ok := c.copies.room(up)
	for _, v := range leave {
		c.copyDown(v)
	}
	if ok && !c.memory.Insert(&up.node, c.evictBacked) {
		c.copies.remove(up)
		ok = false
	}
	if !ok {
		c.copies.refused.Store(c.now().UnixNano())
		return
	}
	if !up.copyFrom(t, b) || !c.putUp(s, b, up) {
		c.memory.Remove(&up.node)
		c.copies.remove(up)
		return
	}
	c.metrics.copied.Inc()
}

// copyFrom reads a body on disk.
func (b *Body) copyFrom(t *tier, from *Body) bool {
	region, err := t.store.Acquire(*from.record) // not that of the body, which Close takes away
	if err != nil {
		return false
	}
	defer region.Release()
	chunk := make([]byte, from.length)
	n := 0
	if err := segment.Guard(func() { n = copy(chunk, region.Bytes()) }); err != nil || int64(n) < from.length {
		return false
	}
	b.chunks = [][]byte{chunk}
	b.refs.Store(1) // the index's
	b.complete.Store(true)
	return true
}

// putUp puts the object that has the body b into the index with another body. It is false if there is none any more.
func (c *Cache) putUp(s *shard, b, up *Body) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.find(b)
	if o == nil || o.body != b {
		return false
	}
	inMemory := o.on(up)
	inMemory.backup = b
	s.index[b.key].replace(o, inMemory)
	return true
}

// copyDown gives up a copy. Who reads it reads on, and so long it is charged.
func (c *Cache) copyDown(b *Body) {
	s := c.shard(b.key)
	s.mu.Lock()
	o := s.find(b)
	if o == nil || o.body != b || o.backup == nil {
		s.mu.Unlock()
		return // gone; or the folder is, and it is the only one
	}
	s.index[b.key].replace(o, o.on(o.backup))
	s.mu.Unlock()
	b.release() // the index's
}

// evictBacked is evict for those who want no object to go that is in memory only.
func (c *Cache) evictBacked(n *policy.Node) bool {
	b, ok := n.Value.(*Body)
	if !ok {
		return false
	}
	s := c.shard(b.key)
	s.mu.Lock()
	o := s.find(b)
	backed := o != nil && o.body == b && o.backup != nil
	s.mu.Unlock()
	return backed && c.evict(n)
}
