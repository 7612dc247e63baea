package policy

import (
	"bytes"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fill inserts n objects of size bytes, the first with this hash.
func fill(p *Policy, first uint64, n int, size int64, live bool, evict func(*Node) bool) []*Node {
	nodes := make([]*Node, n)
	for i := range nodes {
		nodes[i] = &Node{Hash: first + uint64(i), Size: size, Live: live}
		p.Insert(nodes[i], evict)
	}
	return nodes
}

func givenUp(gone map[uint64]bool) func(*Node) bool {
	return func(n *Node) bool { gone[n.Hash] = true; return true }
}

func TestAScanLeavesWhatIsAskedFor(t *testing.T) {
	gone := map[uint64]bool{}
	p := New(Settings{CapacityBytes: 1000})
	popular := fill(p, 1, 50, 10, false, givenUp(gone))
	for range 2 {
		for _, n := range popular {
			p.Touch(n)
		}
	}
	fill(p, 1000, 2000, 10, false, givenUp(gone))
	for _, n := range popular {
		if gone[n.Hash] {
			t.Errorf("object %d was asked for three times and gave way to what was asked for once", n.Hash)
		}
	}
}

func TestWhatComesBackIsNotOnProbation(t *testing.T) {
	gone := map[uint64]bool{}
	p := New(Settings{CapacityBytes: 1000})
	fill(p, 1, 120, 10, false, givenUp(gone))
	if !gone[1] {
		t.Fatal("the first object is still there")
	}
	fill(p, 1, 1, 10, false, givenUp(gone))
	if s := p.Stats(); s.Returned != 1 || s.MainObjects != 1 {
		t.Errorf("returned: %d, in the main area: %d; want 1 and 1", s.Returned, s.MainObjects)
	}
}

func TestAGroupThatIsWantedLeavesProbation(t *testing.T) {
	p := New(Settings{CapacityBytes: 1000})
	const film = 77
	for i := range uint64(20) {
		p.Insert(&Node{Hash: 1 + i, Group: film, Size: 10}, func(*Node) bool { return true })
	}
	gone := map[uint64]bool{}
	fill(p, 1000, 1000, 10, false, givenUp(gone))
	for i := range uint64(20) {
		if gone[1+i] {
			t.Errorf("segment %d of a block that was asked for 20 times is gone", i)
		}
	}
}

func TestLiveGivesWayToLiveOnly(t *testing.T) {
	gone := map[uint64]bool{}
	p := New(Settings{CapacityBytes: 1000, LiveBytes: 200})
	films := fill(p, 1, 80, 10, false, givenUp(gone))
	fill(p, 1000, 500, 10, true, givenUp(gone))
	for _, n := range films {
		if gone[n.Hash] {
			t.Fatalf("film %d gave way to live objects beyond their budget", n.Hash)
		}
	}
	if live, rest := p.Used(); live != 200 || rest != 800 {
		t.Errorf("live %d, rest %d; want 200 and 800", live, rest)
	}
	clear(gone)
	fill(p, 5000, 500, 10, false, givenUp(gone))
	for hash := range gone {
		if hash >= 1000 && hash < 5000 {
			t.Fatalf("live object %d gave way to films", hash)
		}
	}
}

func TestRoomThatLiveDoesNotUseIsForOthers(t *testing.T) {
	p := New(Settings{CapacityBytes: 1000, LiveBytes: 400})
	gone := map[uint64]bool{}
	fill(p, 1, 100, 10, false, givenUp(gone))
	if len(gone) != 0 {
		t.Errorf("%d objects were given up although there was room", len(gone))
	}
	fill(p, 1000, 40, 10, true, givenUp(gone))
	if live, rest := p.Used(); live != 400 || rest != 600 {
		t.Errorf("live %d, rest %d; want 400 and 600", live, rest)
	}
}

func TestALiveObjectThatEverybodyAsksForStays(t *testing.T) {
	gone := map[uint64]bool{}
	p := New(Settings{CapacityBytes: 10_000, LiveBytes: 1000})
	start := &Node{Hash: 1, Size: 1, Live: true}
	p.Insert(start, givenUp(gone))
	for i := range uint64(1000) {
		p.Insert(&Node{Hash: 10 + i, Size: 10, Live: true}, givenUp(gone))
		p.Touch(start)
	}
	if gone[1] {
		t.Error("the initialisation segment, asked for all the time, is gone")
	}
	if !gone[10+800] || gone[10+999] {
		t.Error("segments do not leave in the order in which they came")
	}
}

func TestObjectsInUseArePassedOver(t *testing.T) {
	p := New(Settings{CapacityBytes: 1000})
	fill(p, 1, 100, 10, false, nil)
	asked := 0
	pinned := func(n *Node) bool { asked++; return n.Hash == 50 }
	if !p.Insert(&Node{Hash: 1000, Size: 10}, pinned) {
		t.Error("no room was made although one object was not in use")
	}
	if asked != 50 {
		t.Errorf("%d objects were asked about, 50 were expected", asked)
	}
	asked = 0
	if p.Insert(&Node{Hash: 1001, Size: 10}, func(*Node) bool { asked++; return false }) {
		t.Error("an object was taken in beyond the capacity")
	}
	if asked != maxPinned {
		t.Errorf("%d objects in use were asked about, the bound is %d", asked, maxPinned)
	}
	if _, rest := p.Used(); rest != 1000 {
		t.Errorf("%d bytes are held, want 1000", rest)
	}
}

func TestWhatIsLargerThanItsAreaStaysOut(t *testing.T) {
	p := New(Settings{CapacityBytes: 1000, LiveBytes: 100})
	fill(p, 1, 10, 10, false, nil)
	never := func(n *Node) bool { t.Errorf("object %d gave way to one that cannot be held", n.Hash); return true }
	if p.Insert(&Node{Hash: 100, Size: 1001}, never) || p.Insert(&Node{Hash: 101, Size: 101, Live: true}, never) || p.Insert(&Node{Hash: 102, Size: -1}, never) {
		t.Error("it was taken in")
	}
	if s := p.Stats(); s.TooLarge != 3 {
		t.Errorf("%d were counted, want 3", s.TooLarge)
	}
}

func TestAGrowingObjectDoesNotGiveWayToItself(t *testing.T) {
	gone := map[uint64]bool{}
	p := New(Settings{CapacityBytes: 100})
	nodes := fill(p, 1, 10, 10, false, givenUp(gone))
	if !p.Resize(nodes[0], 90, givenUp(gone)) {
		t.Fatal("there is no room")
	}
	if gone[1] || len(gone) != 8 {
		t.Errorf("%d objects were given up, the growing one among them: %v; want 8 and not that", len(gone), gone[1])
	}
	if p.Resize(nodes[0], 101, givenUp(gone)) {
		t.Error("it grew beyond the capacity")
	}
	if !p.Resize(nodes[0], 5, nil) {
		t.Error("it could not shrink")
	}
	if _, rest := p.Used(); rest != 15 {
		t.Errorf("%d bytes are held, want 15", rest)
	}
	p.Remove(nodes[0])
	if p.Resize(nodes[0], 5, nil) {
		t.Error("what is not in the policy was resized")
	}
}

// The cache may remove an object at any moment, also the one that is about to be given up, the one that
// is coming in, and the one that is growing.
func TestRemoveWhileRoomIsMade(t *testing.T) {
	p := New(Settings{CapacityBytes: 100})
	nodes := fill(p, 1, 10, 10, false, nil)
	n := &Node{Hash: 100, Size: 10}
	if !p.Insert(n, func(v *Node) bool { p.Remove(v); return false }) {
		t.Error("the room of a removed victim was not taken")
	}
	if _, rest := p.Used(); rest != 100 {
		t.Errorf("%d bytes are held, want 100", rest)
	}
	late := &Node{Hash: 101, Size: 10}
	if p.Insert(late, func(*Node) bool { p.Remove(late); return true }) {
		t.Error("an object that was removed while it came in is in")
	}
	if _, rest := p.Used(); rest != 90 {
		t.Errorf("%d bytes are held, want 90", rest)
	}
	if p.Resize(nodes[9], 30, func(*Node) bool { p.Remove(nodes[9]); return true }) {
		t.Error("an object that was removed while it grew has grown")
	}
	if _, rest := p.Used(); rest != 70 {
		t.Errorf("%d bytes are held, want 70", rest)
	}
	p.Remove(nodes[9])
	if _, rest := p.Used(); rest != 70 {
		t.Errorf("%d bytes are held after a second removal, want 70", rest)
	}
}

func TestCountsFade(t *testing.T) {
	s := newSketch(1 << 10)
	for range 100 {
		s.add(7)
	}
	for _, want := range []uint32{100, 50, 25, 12, 6, 3, 1, 0} {
		if got := s.estimate(7); got != want {
			t.Errorf("the count is %d, want %d", got, want)
		}
		s.age.Add(1)
	}
	s.age.Add(ageMask + 1) // all the way round
	if got := s.estimate(7); got > 1 {
		t.Errorf("a forgotten count is back: %d", got)
	}
}

func TestASketchOfManyMoreGroupsThanItsSizeStillTellsThemApart(t *testing.T) {
	s := newSketch(1 << 10)
	r := rand.New(rand.NewPCG(1, 2))
	for range 200_000 {
		s.add(scatter(r.Uint64N(100))) // popular
		s.add(scatter(1000 + r.Uint64N(1_000_000)))
	}
	popular, others := 0, 0
	for i := range uint64(100) {
		if s.estimate(scatter(i)) > 100 {
			popular++
		}
		if s.estimate(scatter(1000+i)) > 100 {
			others++
		}
	}
	if popular < 90 || others > 5 {
		t.Errorf("%d of 100 popular groups and %d of 100 others count as popular", popular, others)
	}
}

func TestTouchAllocatesNothing(t *testing.T) {
	p := New(Settings{CapacityBytes: 1000})
	n := fill(p, 1, 1, 10, false, nil)[0]
	if allocations := testing.AllocsPerRun(100, func() { p.Touch(n) }); allocations != 0 {
		t.Errorf("a touch costs %v allocations", allocations)
	}
}

func TestMetrics(t *testing.T) {
	p := New(Settings{CapacityBytes: 100, LiveBytes: 50})
	fill(p, 1, 12, 10, false, func(*Node) bool { return true })
	fill(p, 100, 3, 10, true, func(*Node) bool { return true })
	p.Insert(&Node{Hash: 200, Size: 1000}, nil)
	r := prometheus.NewPedanticRegistry()
	if err := p.Register(r); err != nil {
		t.Fatal(err)
	}
	if err := testutil.GatherAndCompare(r, bytes.NewReader([]byte(`
# HELP weir_cdn_policy_bytes Bytes of the objects held.
# TYPE weir_cdn_policy_bytes gauge
weir_cdn_policy_bytes{area="live"} 30
weir_cdn_policy_bytes{area="main"} 0
weir_cdn_policy_bytes{area="probation"} 70
# HELP weir_cdn_policy_evictions_total Objects given up to make room.
# TYPE weir_cdn_policy_evictions_total counter
weir_cdn_policy_evictions_total{area="live"} 0
weir_cdn_policy_evictions_total{area="main"} 0
weir_cdn_policy_evictions_total{area="probation"} 5
# HELP weir_cdn_policy_refusals_total Objects not taken in, by why.
# TYPE weir_cdn_policy_refusals_total counter
weir_cdn_policy_refusals_total{reason="pinned"} 0
weir_cdn_policy_refusals_total{reason="size"} 1
`)), "weir_cdn_policy_bytes", "weir_cdn_policy_evictions_total", "weir_cdn_policy_refusals_total"); err != nil {
		t.Error(err)
	}
	if problems, err := testutil.GatherAndLint(r); err != nil || len(problems) > 0 {
		t.Error(problems, err)
	}
}

// Many at once, as in a cache with shards: each entry under a lock of its shard, which eviction takes too.
func TestManyAtOnce(t *testing.T) {
	const (
		capacity, liveBytes = 64 << 10, 16 << 10
		shards, keys        = 8, 600
	)
	type entry struct {
		node Node
		refs int // guarded by its shard
	}
	type shard struct {
		mu      sync.Mutex
		entries map[uint64]*entry
	}
	p := New(Settings{CapacityBytes: capacity, LiveBytes: liveBytes})
	var cache [shards]shard
	for i := range cache {
		cache[i].entries = make(map[uint64]*entry)
	}
	var evictions, held atomic.Int64
	evict := func(n *Node) bool {
		e, s := n.Value.(*entry), &cache[n.Hash%shards]
		s.mu.Lock()
		defer s.mu.Unlock()
		if e.refs > 0 {
			return false
		}
		if s.entries[n.Hash] != e {
			return true // removed by somebody else
		}
		delete(s.entries, n.Hash)
		held.Add(-1)
		evictions.Add(1)
		return true
	}
	// One is in use all the time, so that it is asked for in vain.
	used := &entry{refs: 1}
	used.node = Node{Hash: keys, Group: 1, Size: 1, Value: used}
	cache[keys%shards].entries[keys] = used
	held.Add(1)
	p.Insert(&used.node, evict)
	var workers sync.WaitGroup
	for worker := range uint64(6) {
		workers.Go(func() {
			r := rand.New(rand.NewPCG(worker, 3))
			for range 6000 {
				key := min(r.Uint64N(keys), r.Uint64N(keys))
				s := &cache[key%shards]
				s.mu.Lock()
				e := s.entries[key]
				if e != nil && r.IntN(20) == 0 {
					delete(s.entries, key)
					held.Add(-1)
					p.Remove(&e.node) // under the shard's lock
					s.mu.Unlock()
					continue
				}
				if e != nil {
					e.refs++
					s.mu.Unlock()
					p.Touch(&e.node)
					if r.IntN(10) == 0 {
						p.Resize(&e.node, int64(1+r.IntN(1024)), evict)
					}
				} else {
					e = &entry{refs: 1}
					e.node = Node{Hash: key, Group: 1 + key/16, Size: int64(1 + r.IntN(1024)), Live: key%4 == 0, Value: e}
					s.entries[key] = e
					held.Add(1)
					s.mu.Unlock()
					if !p.Insert(&e.node, evict) {
						s.mu.Lock()
						if s.entries[key] == e {
							delete(s.entries, key)
							held.Add(-1)
						}
						s.mu.Unlock()
					}
				}
				if live, rest := p.Used(); live > liveBytes || live+rest > capacity {
					t.Errorf("%d live bytes and %d others are held", live, rest)
				}
				s.mu.Lock()
				e.refs--
				s.mu.Unlock()
			}
		})
	}
	workers.Wait()
	var live, rest int64
	for i := range cache {
		for _, e := range cache[i].entries {
			if e.node.Live {
				live += e.node.Size
			} else {
				rest += e.node.Size
			}
		}
	}
	if gotLive, gotRest := p.Used(); gotLive != live || gotRest != rest {
		t.Errorf("the policy counts %d live bytes and %d others, the cache holds %d and %d", gotLive, gotRest, live, rest)
	}
	s := p.Stats()
	if n := int64(s.LiveObjects + s.ProbationObjects + s.MainObjects); n != held.Load() {
		t.Errorf("the policy has %d objects, the cache %d", n, held.Load())
	}
	if s.EvictedLive == 0 || s.EvictedMain == 0 || s.EvictedProbation == 0 || s.Pinned == 0 {
		t.Errorf("not everything has happened: %+v", s)
	}
	if n := s.EvictedLive + s.EvictedMain + s.EvictedProbation; n < uint64(evictions.Load()) {
		t.Errorf("%d evictions are counted, %d objects were given up", n, evictions.Load())
	}
}
