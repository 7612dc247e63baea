package policy

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// reference is what the policy is, said with slices and maps, for one caller at a time. Every decision of
// the policy is compared with its.
type reference struct {
	capacity, liveBytes   int64
	live, probation, main []*refNode // the oldest first
	counts                map[uint64]uint32
	ghosts                map[uint64]int64 // by hash: what had left when it left
	left, liveSeen        int64
	tick                  int64
	missed                int
	mean                  int64
	enough                uint32
}

type refNode struct {
	id   uint64
	size int64
	live bool
	freq int64
}

func refGroup(id uint64) uint64 { return id / 4 }

func newReference(capacity, liveBytes int64) *reference {
	return &reference{capacity: capacity, liveBytes: liveBytes, counts: map[uint64]uint32{}, ghosts: map[uint64]int64{}, enough: maxCount}
}

func sum(nodes []*refNode) (n int64) {
	for _, x := range nodes {
		n += x.size
	}
	return n
}

func (r *reference) total() int64 { return sum(r.live) + sum(r.probation) + sum(r.main) }

func (r *reference) queueOf(x *refNode) *[]*refNode {
	for _, q := range []*[]*refNode{&r.live, &r.probation, &r.main} {
		if slices.Contains(*q, x) {
			return q
		}
	}
	return nil
}

func without(q []*refNode, x *refNode) []*refNode {
	return slices.DeleteFunc(q, func(y *refNode) bool { return y == x })
}

func (r *reference) ask(group uint64) {
	if r.counts[group] < r.enough {
		r.counts[group]++
	}
}

func (r *reference) touch(x *refNode) {
	if x.live && r.liveBytes > 0 {
		x.freq = r.tick
		return
	}
	x.freq = min(x.freq+1, 3)
	r.ask(refGroup(x.id))
}

func (r *reference) insert(x *refNode, evict func(uint64) bool) bool {
	own := x.live && r.liveBytes > 0
	if !own {
		r.ask(refGroup(x.id))
		if r.missed++; r.missed >= 3*max(len(r.probation)+len(r.main), 256) {
			r.missed = 0
			for g := range r.counts {
				r.counts[g] /= 2
			}
		}
	}
	if !r.room(nil, x.size, own, evict) {
		return false
	}
	if own {
		r.liveSeen += x.size
		r.tick = r.liveSeen / max(r.liveBytes/liveTicks, 1)
		x.freq = r.tick - liveTicks
		r.live = append(r.live, x)
		return true
	}
	x.freq = 0
	left, ghost := r.ghosts[x.id]
	delete(r.ghosts, x.id)
	if unit := max(r.capacity/ghostUnits, 1); ghost && r.left/unit-left/unit < ghostUnits {
		r.main = append(r.main, x)
	} else {
		r.probation = append(r.probation, x)
	}
	return true
}

func (r *reference) resize(x *refNode, size int64, evict func(uint64) bool) bool {
	q := r.queueOf(x)
	if q == nil {
		return false
	}
	own := q == &r.live
	if size > x.size {
		if !r.room(x, size-x.size, own, evict) {
			return false
		}
		if own {
			r.liveSeen += size - x.size
		}
	}
	x.size = size
	return true
}

func (r *reference) room(self *refNode, size int64, own bool, evict func(uint64) bool) bool {
	limit := r.capacity
	if own {
		limit = r.liveBytes
	}
	whole := size
	if self != nil {
		whole += self.size
	}
	if whole > limit {
		return false
	}
	for pinned := 0; pinned < maxPinned; {
		var x *refNode
		switch {
		case own && sum(r.live)+size > r.liveBytes:
			x = r.oldLive()
		case r.total()+size > r.capacity:
			if x = r.unpopular(); x == nil {
				x = r.oldLive()
			}
		default:
			return true
		}
		if x == nil {
			return false
		}
		q := r.queueOf(x)
		*q = without(*q, x)
		if x == self || !evict(x.id) {
			*q = append(*q, x)
			pinned++
			continue
		}
		if q == &r.probation {
			r.left += x.size
			r.ghosts[x.id] = r.left
		}
	}
	return false
}

func (r *reference) oldLive() *refNode {
	for range maxScan {
		if len(r.live) == 0 {
			return nil
		}
		if r.tick-r.live[0].freq >= liveTicks/2 {
			return r.live[0]
		}
		r.live = append(r.live[1:], r.live[0])
	}
	return r.live[0]
}

func (r *reference) wanted(n uint32) bool { return n > 1 && int64(n)<<16 > r.mean }

func (r *reference) unpopular() *refNode {
	target := (r.capacity - sum(r.live)) / probationShare
	for range maxScan {
		if len(r.main) == 0 || len(r.probation) > 0 && sum(r.probation) >= target {
			if len(r.probation) == 0 {
				return nil
			}
			x := r.probation[0]
			if x.freq < 2 && !r.wanted(r.counts[refGroup(x.id)]) {
				return x
			}
			x.freq = 0
			r.probation = r.probation[1:]
			r.main = append(r.main, x)
			continue
		}
		x := r.main[0]
		if x.freq > 0 {
			x.freq--
		} else {
			n := r.counts[refGroup(x.id)]
			r.mean += (int64(n)<<16 - r.mean) >> 10
			r.enough = uint32(min(max(4*r.mean>>16, 15), maxCount))
			if !r.wanted(n) {
				return x
			}
		}
		r.main = append(r.main[1:], x)
	}
	if len(r.main) > 0 {
		return r.main[0]
	}
	return r.probation[0]
}

// play does to the policy and to the reference what data says, and compares.
func play(t *testing.T, capacity, liveBytes int64, data []byte) {
	p, r := New(Settings{CapacityBytes: capacity, LiveBytes: liveBytes}), newReference(capacity, liveBytes)
	const ids = 200
	nodes, refs, pinned := map[uint64]*Node{}, map[uint64]*refNode{}, map[uint64]bool{}
	for step := 0; len(data) >= 3; step++ {
		op, id, arg := data[0], uint64(data[1]), data[2]
		if id >= ids {
			id %= 16 // some are asked for more often
		}
		data = data[3:]
		var asked, wantAsked []uint64
		evict := func(n *Node) bool {
			asked = append(asked, n.Hash-1)
			if pinned[n.Hash-1] {
				return false
			}
			delete(nodes, n.Hash-1)
			return true
		}
		refEvict := func(id uint64) bool {
			wantAsked = append(wantAsked, id)
			if pinned[id] {
				return false
			}
			delete(refs, id)
			return true
		}
		same := func(what string, got, want any) {
			t.Helper()
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Fatalf("step %d (op %d, object %d, %d): %s is %v, want %v", step, op%8, id, arg, what, got, want)
			}
		}
		switch op % 8 {
		case 0, 1, 2, 3: // asked for: a hit or an insertion
			if n := nodes[id]; n != nil {
				p.Touch(n)
				r.touch(refs[id])
				break
			}
			n := &Node{Hash: id + 1, Group: refGroup(id) + 1, Size: int64(arg), Live: id%5 == 0}
			x := &refNode{id: id, size: int64(arg), live: n.Live}
			got, want := p.Insert(n, evict), r.insert(x, refEvict)
			same("Insert", got, want)
			if got {
				nodes[id], refs[id] = n, x
			}
		case 4:
			if n := nodes[id]; n != nil {
				size := int64(arg)
				if op&8 != 0 {
					size += n.Size
				}
				same("Resize", p.Resize(n, size, evict), r.resize(refs[id], size, refEvict))
			}
		case 5:
			if n := nodes[id]; n != nil && arg < 64 {
				p.Remove(n)
				q := r.queueOf(refs[id])
				*q = without(*q, refs[id])
				delete(nodes, id)
				delete(refs, id)
			}
		case 6:
			pinned[id] = arg < 16
		case 7:
			delete(pinned, id)
		}
		same("what was to be given up", asked, wantAsked)
		live, rest := p.Used()
		same("Used", []int64{live, rest}, []int64{sum(r.live), sum(r.probation) + sum(r.main)})
		if live+rest > capacity || liveBytes > 0 && live > liveBytes {
			t.Fatalf("step %d: %d live bytes and %d others are held; the bounds are %d, and %d in all", step, live, rest, liveBytes, capacity)
		}
		if got, want := p.probation.n+p.main.n+p.live.n, len(nodes); got != want {
			t.Fatalf("step %d: %d nodes are in the policy, %d were not given up", step, got, want)
		}
	}
}

func TestEveryDecisionIsTheReferences(t *testing.T) {
	for _, test := range []struct {
		name                string
		capacity, liveBytes int64
	}{
		{"live apart", 4000, 800},
		{"nothing live", 4000, 0},
		{"live may have all", 2000, 2000},
		{"an object is half of it", 400, 100},
		{"no room at all", 0, 0},
		{"much room", 100_000, 20_000},
	} {
		t.Run(test.name, func(t *testing.T) {
			for seed := range uint64(4) {
				r := rand.New(rand.NewPCG(seed, 5))
				data := make([]byte, 3*6000)
				for i := range data {
					data[i] = byte(r.Uint32())
				}
				play(t, test.capacity, test.liveBytes, data)
			}
		})
	}
}

func FuzzPolicy(f *testing.F) {
	f.Add(uint16(1000), uint16(200), []byte("insert, touch, resize, remove; and pin some of them while others come and go"))
	f.Fuzz(func(t *testing.T, capacity, live uint16, data []byte) {
		play(t, int64(capacity), int64(min(live, capacity)), data)
	})
}
