package policy

import (
	"container/list"

	"github.com/maypok86/otter/v2"
)

// The policies that ours is measured against, in as few lines as they need: they hold no objects.

type simulated interface {
	// access says whether the object was held; one that was not is offered.
	access(q *request) bool
}

type held struct {
	hash uint64
	size int64
	freq uint8
}

type lru struct {
	capacity, used int64
	queue          list.List
	index          map[uint64]*list.Element
}

func newLRU(capacity int64) *lru { return &lru{capacity: capacity, index: map[uint64]*list.Element{}} }

func (c *lru) access(q *request) bool {
	if e, ok := c.index[q.hash]; ok {
		c.queue.MoveToFront(e)
		return true
	}
	for c.used+int64(q.size) > c.capacity {
		x := c.queue.Remove(c.queue.Back()).(*held)
		delete(c.index, x.hash)
		c.used -= x.size
	}
	c.index[q.hash] = c.queue.PushFront(&held{hash: q.hash, size: int64(q.size)})
	c.used += int64(q.size)
	return false
}

// s3fifo is the published algorithm (SOSP '23) over bytes: a small queue of a tenth, a main queue, and
// a ghost queue that remembers as many bytes as the main queue holds.
type s3fifo struct {
	capacity, smallUsed, mainUsed, ghostUsed int64
	small, main, ghost                       list.List
	index, ghosts                            map[uint64]*list.Element
}

func newS3FIFO(capacity int64) *s3fifo {
	return &s3fifo{capacity: capacity, index: map[uint64]*list.Element{}, ghosts: map[uint64]*list.Element{}}
}

func (c *s3fifo) access(q *request) bool {
	size := int64(q.size)
	if e, ok := c.index[q.hash]; ok {
		x := e.Value.(*held)
		x.freq = min(3, x.freq+1)
		return true
	}
	for c.smallUsed+c.mainUsed+size > c.capacity {
		if c.smallUsed >= c.capacity/10 || c.main.Len() == 0 {
			c.evictSmall()
		} else {
			c.evictMain()
		}
	}
	x := &held{hash: q.hash, size: size}
	if g, ok := c.ghosts[q.hash]; ok {
		c.forget(g)
		c.index[q.hash] = c.main.PushFront(x)
		c.mainUsed += size
	} else {
		c.index[q.hash] = c.small.PushFront(x)
		c.smallUsed += size
	}
	return false
}

func (c *s3fifo) forget(e *list.Element) {
	x := c.ghost.Remove(e).(*held)
	delete(c.ghosts, x.hash)
	c.ghostUsed -= x.size
}

func (c *s3fifo) evictSmall() {
	for c.small.Len() > 0 {
		x := c.small.Remove(c.small.Back()).(*held)
		c.smallUsed -= x.size
		if x.freq > 1 {
			x.freq = 0
			c.index[x.hash] = c.main.PushFront(x)
			c.mainUsed += x.size
			continue
		}
		delete(c.index, x.hash)
		c.ghosts[x.hash] = c.ghost.PushFront(x)
		c.ghostUsed += x.size
		for c.ghostUsed > c.capacity-c.capacity/10 {
			c.forget(c.ghost.Back())
		}
		return
	}
	c.evictMain()
}

func (c *s3fifo) evictMain() {
	for c.main.Len() > 0 {
		e := c.main.Back()
		x := e.Value.(*held)
		if x.freq > 0 {
			x.freq--
			c.main.MoveToFront(e)
			continue
		}
		c.main.Remove(e)
		delete(c.index, x.hash)
		c.mainUsed -= x.size
		return
	}
}

// split gives live objects an LRU of their own.
type split struct {
	live *lru
	rest simulated
}

func (c *split) access(q *request) bool {
	if q.kind == live {
		return c.live.access(q)
	}
	return c.rest.access(q)
}

type otterCache struct{ cache *otter.Cache[uint64, uint32] }

func newOtter(capacity int64) *otterCache {
	return &otterCache{otter.Must(&otter.Options[uint64, uint32]{
		MaximumWeight: uint64(capacity),
		Weigher:       func(_ uint64, size uint32) uint32 { return size },
		Executor:      func(f func()) { f() }, // the same every time
	})}
}

func (c *otterCache) access(q *request) bool {
	if _, ok := c.cache.GetIfPresent(q.hash); ok {
		return true
	}
	c.cache.Set(q.hash, q.size)
	return false
}
