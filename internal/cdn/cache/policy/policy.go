package policy

import (
	"sync"
	"sync/atomic"
)

const (
	// probationShare is the part of the room of all but live objects that probation may take before
	// its objects go first: one in so many. The published tenth is for objects of which nothing is
	// known when they come; here their group is.
	probationShare = 33
	// maxFreq is what two bits count to.
	maxFreq = 3
	// maxScan bounds how many nodes are moved in search of one to give up.
	maxScan = 256
	// maxPinned bounds how many nodes that cannot be given up are passed over for one insertion.
	maxPinned = 64
	// ageAfter is how many new objects, per object held, make the counts of groups a half of what they
	// were: time passes as fast as what is held is replaced.
	ageAfter = 3
	// leastObjects is as few as count for that.
	leastObjects = 256
	// enough is how many times the mean a group has to be asked for to be counted no longer, but at
	// least so many times.
	enough, leastEnough = 4, 15
	// liveTicks are the parts in which the time that it takes to fill the live area is told.
	liveTicks = 256
	// objectBytes is the mean size of an object if nobody knows better.
	objectBytes = 1 << 20
)

// Node is a place in a Policy, to be embedded in what the cache holds for an object. The exported fields
// are set before Insert and not changed afterwards; Size changes by Resize.
type Node struct {
	// Hash stands for the key.
	Hash uint64
	// Group is what the object shares its popularity with (see GroupOf). If it is 0, it has its own.
	Group uint64
	Size  int64
	// Live says that the object is part of a running stream.
	Live  bool
	Value any

	// freq counts how often the node was asked for, up to maxFreq; of a live node it is the tick at
	// which it was asked for last.
	freq atomic.Uint32

	// Guarded by Policy.mu.
	prev, next *Node
	where      place
	area       *area // whose bytes it is counted in
	ticket     uint64
}

type place uint8

const (
	nowhere  place = iota
	entering       // room is being made for it
	queued
	leaving // somebody is being asked whether it may go
)

func (n *Node) group() uint64 {
	if n.Group == 0 {
		return n.Hash
	}
	return n.Group
}

// Settings are what a Policy needs.
type Settings struct {
	// CapacityBytes bounds the bytes of all nodes.
	CapacityBytes int64
	// LiveBytes bounds the bytes of live nodes; they are part of CapacityBytes. If it is 0, live nodes
	// are like all others.
	LiveBytes int64
	// Objects is how many objects are expected to be held; 0 stands for as many as fit at 1 MiB each.
	// The tables take 32 bytes for each.
	Objects int
}

// Policy decides what is kept. It is safe for concurrent use.
type Policy struct {
	settings Settings
	groups   *sketch
	liveTick atomic.Uint32

	mu                    sync.Mutex
	live, probation, main area
	ghosts                *ghosts
	liveSeen              int64  // bytes that came to the live area
	missed                int    // objects that came since the counts were halved
	mean                  int64  // of the counts of victims' groups, in 1/65536
	tickets               uint64 // numbers the times that somebody was asked whether a node may go
	stats                 Stats
}

// New returns an empty policy. A LiveBytes above CapacityBytes is as good as CapacityBytes.
func New(s Settings) *Policy {
	s.CapacityBytes = max(s.CapacityBytes, 0)
	s.LiveBytes = min(max(s.LiveBytes, 0), s.CapacityBytes)
	if s.Objects <= 0 {
		s.Objects = int(min(s.CapacityBytes/objectBytes, 1<<21))
	}
	s.Objects = min(max(s.Objects, 1<<10), 1<<24)
	p := &Policy{settings: s, groups: newSketch(4 * s.Objects), ghosts: newGhosts(2*s.Objects, s.CapacityBytes)}
	p.live.init()
	p.probation.init()
	p.main.init()
	return p
}

// Touch says that the object of n was asked for. It may be called for a node that is not in the policy.
func (p *Policy) Touch(n *Node) {
	if n.Live && p.settings.LiveBytes > 0 {
		if tick := p.liveTick.Load(); n.freq.Load() != tick {
			n.freq.Store(tick)
		}
		return
	}
	if f := n.freq.Load(); f < maxFreq {
		n.freq.Store(f + 1)
	}
	p.groups.add(n.group())
}

// Insert takes n in. For the room that it needs, evict is called for one node after the other: it gives
// the object up and says true, or says false because the object is in use. Insert says false if n is
// larger than its area, if too many objects are in use, or if n was removed meanwhile; n is not in the
// policy then. It counts as a request for n.
//
// evict is called without the policy's lock. Several callers may be inserting at once, each with victims
// of its own; a victim may be removed by somebody else while evict is asked about it.
func (p *Policy) Insert(n *Node, evict func(*Node) bool) bool {
	own := n.Live && p.settings.LiveBytes > 0
	if !own {
		p.groups.add(n.group())
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if n.where != nowhere {
		return n.where == queued
	}
	if !own {
		p.pass()
	}
	n.where = entering
	if !p.room(n, n.Size, own, evict) {
		if n.where == entering {
			n.where = nowhere
		}
		return false
	}
	switch {
	case own:
		p.liveSeen += n.Size
		tick := uint32(p.liveSeen / max(p.settings.LiveBytes/liveTicks, 1))
		p.liveTick.Store(tick)
		n.freq.Store(tick - liveTicks) // nobody has asked for it again so far
		n.area = &p.live
	case p.ghosts.take(n.Hash):
		p.stats.Returned++
		n.freq.Store(0)
		n.area = &p.main
	default:
		n.freq.Store(0)
		n.area = &p.probation
	}
	n.where = queued
	n.area.push(n)
	n.area.used += n.Size
	return true
}

// pass lets time pass by one new object. Called with mu held.
func (p *Policy) pass() {
	if p.missed++; p.missed >= ageAfter*max(p.probation.n+p.main.n, leastObjects) {
		p.missed = 0
		p.groups.age.Add(1)
	}
}

// Resize says that n has size bytes now, for which room is made as by Insert; n itself is not given up
// for it. If it says false, n is in the policy with the size that it had, or not at all if it was not
// before.
func (p *Policy) Resize(n *Node, size int64, evict func(*Node) bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n.where != queued && n.where != leaving {
		return false
	}
	if more := size - n.Size; more > 0 && !p.room(n, more, n.area == &p.live, evict) {
		return false
	}
	if n.where != queued && n.where != leaving {
		return false // it was removed meanwhile
	}
	if n.area == &p.live && size > n.Size {
		p.liveSeen += size - n.Size
	}
	n.area.used += size - n.Size
	n.Size = size
	return true
}

// Remove takes n out, if it is in.
func (p *Policy) Remove(n *Node) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n.where == queued {
		n.area.unlink(n)
	}
	p.forget(n)
}

// forget ends what n counts for. Called with mu held; n is in no queue.
func (p *Policy) forget(n *Node) {
	if n.where == queued || n.where == leaving {
		n.area.used -= n.Size
	}
	n.where, n.area = nowhere, nil
}

// Used returns the bytes of live nodes and those of all others.
func (p *Policy) Used() (live, rest int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.live.used, p.probation.used + p.main.used
}

// room sees to it that size more bytes fit, for n. Called with mu held, which it lets go while evict is
// called.
func (p *Policy) room(n *Node, size int64, own bool, evict func(*Node) bool) bool {
	limit := p.settings.CapacityBytes
	if own {
		limit = p.settings.LiveBytes
	}
	if whole := size + n.held(); size < 0 || whole < 0 || whole > limit {
		p.stats.TooLarge++
		return false
	}
	for pinned := 0; pinned < maxPinned; {
		var v *Node
		switch {
		case own && p.live.used+size > p.settings.LiveBytes:
			v = p.oldLive()
		case p.live.used+p.probation.used+p.main.used+size > p.settings.CapacityBytes:
			if v = p.unpopular(); v == nil {
				v = p.oldLive() // what is live has more than its share of what is left
			}
		default:
			return true
		}
		if v == nil {
			break
		}
		if v == n || !p.ask(v, evict) {
			p.stats.Pinned++
			pinned++
			if v == n {
				v.area.unlink(v)
				v.area.push(v)
			}
		}
		if n.where == nowhere {
			return false // removed meanwhile
		}
	}
	p.stats.NoRoom++
	return false
}

// held returns the bytes that n is counted with.
func (n *Node) held() int64 {
	if n.where == entering {
		return 0
	}
	return n.Size
}

// ask asks whether v may go, and lets it go. Called with mu held, which it lets go for that time.
func (p *Policy) ask(v *Node, evict func(*Node) bool) bool {
	p.tickets++
	ticket := p.tickets
	v.area.unlink(v)
	v.where, v.ticket = leaving, ticket
	p.mu.Unlock()
	gone := evict(v)
	p.mu.Lock()
	if v.where != leaving || v.ticket != ticket {
		return true // somebody removed it, so that its room is free either way
	}
	if !gone {
		v.where = queued
		v.area.push(v)
		return false
	}
	switch v.area {
	case &p.live:
		p.stats.EvictedLive++
	case &p.probation:
		p.stats.EvictedProbation++
		p.ghosts.put(v.Hash, v.Size)
	default:
		p.stats.EvictedMain++
	}
	p.forget(v)
	return true
}

// oldLive returns the live node that goes next: the oldest that was not asked for while the newer half of
// the area came.
func (p *Policy) oldLive() *Node {
	tick := p.liveTick.Load()
	for range maxScan {
		v := p.live.oldest()
		if v == nil || tick-v.freq.Load() >= liveTicks/2 {
			return v
		}
		p.live.unlink(v)
		p.live.push(v)
	}
	return p.live.oldest()
}

// unpopular returns the node that goes next of those that are not live.
func (p *Policy) unpopular() *Node {
	target := (p.settings.CapacityBytes - p.live.used) / probationShare
	for range maxScan {
		if p.main.n == 0 || p.probation.n > 0 && p.probation.used >= target {
			v := p.probation.oldest()
			if v == nil || v.freq.Load() < 2 && !p.wanted(p.groups.estimate(v.group())) {
				return v
			}
			p.stats.Promoted++
			v.freq.Store(0)
			p.probation.unlink(v)
			p.probation.used -= v.Size
			v.area = &p.main
			p.main.push(v)
			p.main.used += v.Size
			continue
		}
		v := p.main.oldest()
		if f := v.freq.Load(); f > 0 {
			v.freq.Store(f - 1)
		} else {
			n := p.groups.estimate(v.group())
			p.mean += (int64(n)<<16 - p.mean) >> 10
			p.groups.enough.Store(uint32(min(max(enough*p.mean>>16, leastEnough), maxCount)))
			if !p.wanted(n) {
				return v
			}
		}
		p.stats.Reinserted++
		p.main.unlink(v)
		p.main.push(v)
	}
	if v := p.main.oldest(); v != nil {
		return v
	}
	return p.probation.oldest()
}

// wanted says whether a group with this count is asked for more often than those that the main area has
// been giving up. One request is no evidence: it may be the one that brought the object.
func (p *Policy) wanted(count uint32) bool { return count > 1 && int64(count)<<16 > p.mean }

// area is a queue of nodes and the bytes that are counted for it, which are those of its nodes and of
// those that are leaving it.
type area struct {
	root Node // a ring; root.next came last
	n    int
	used int64
}

func (a *area) init() { a.root.prev, a.root.next = &a.root, &a.root }

func (a *area) push(n *Node) {
	n.prev, n.next = &a.root, a.root.next
	n.prev.next, n.next.prev = n, n
	a.n++
}

func (a *area) unlink(n *Node) {
	n.prev.next, n.next.prev = n.next, n.prev
	n.prev, n.next = nil, nil
	a.n--
}

func (a *area) oldest() *Node {
	if a.n == 0 {
		return nil
	}
	return a.root.prev
}
