package policy

import (
	"fmt"
	"testing"
)

// ours is the policy as a cache uses it.
type ours struct {
	policy *Policy
	index  map[uint64]*Node
}

func newOurs(capacity, live int64, objects int) *ours {
	return &ours{New(Settings{CapacityBytes: capacity, LiveBytes: live, Objects: objects}), make(map[uint64]*Node)}
}

func (c *ours) access(q *request) bool {
	if n, ok := c.index[q.hash]; ok {
		c.policy.Touch(n)
		return true
	}
	n := &Node{Hash: q.hash, Group: q.group, Size: int64(q.size), Live: q.kind == live}
	if c.policy.Insert(n, c.evict) {
		c.index[q.hash] = n
	}
	return false
}

func (c *ours) evict(n *Node) bool {
	delete(c.index, n.Hash)
	return true
}

// byteHits returns the share of the bytes that came from the cache once it was warm, of all requests and
// of those for live objects, in per cent.
func byteHits(trace []request, cache simulated) (all, ofLive float64) {
	var asked, hit [3]float64
	for i := range trace {
		q := &trace[i]
		held := cache.access(q)
		if i < len(trace)/4 {
			continue
		}
		asked[q.kind] += float64(q.size)
		if held {
			hit[q.kind] += float64(q.size)
		}
	}
	return 100 * (hit[vod] + hit[live] + hit[small]) / (asked[vod] + asked[live] + asked[small]), 100 * hit[live] / asked[live]
}

const gigabyte = 1_000_000_000

// liveWindow is what the live channels of the traces have in use, and a little more.
func liveWindow(capacity int64) int64 { return min(capacity/4, 6*gigabyte) }

var peers = []struct {
	name string
	make func(capacity int64) simulated
}{
	{"LRU", func(c int64) simulated { return newLRU(c) }},
	{"otter", func(c int64) simulated { return newOtter(c) }},
	{"S3-FIFO", func(c int64) simulated { return newS3FIFO(c) }},
	{"split S3-FIFO", func(c int64) simulated { return &split{newLRU(liveWindow(c)), newS3FIFO(c - liveWindow(c))} }},
	{"split otter", func(c int64) simulated { return &split{newLRU(liveWindow(c)), newOtter(c - liveWindow(c))} }},
	{"weir", func(c int64) simulated { return newOurs(c, liveWindow(c), 0) }},
}

// BenchmarkByteHitRatio is the simulator: one operation is a whole trace.
func BenchmarkByteHitRatio(b *testing.B) {
	for _, zipf := range []float64{0.8, 1.0} {
		trace := workload{requests: 6_000_000, titles: 6000, zipf: zipf, live: .25, seed: 42}.trace()
		for _, size := range []int64{16, 64, 256, 1024} {
			for _, peer := range peers {
				b.Run(fmt.Sprintf("zipf=%.1f/%dGB/%s", zipf, size, peer.name), func(b *testing.B) {
					for b.Loop() {
						all, ofLive := byteHits(trace, peer.make(size*gigabyte))
						b.ReportMetric(all, "byte_hit_%")
						b.ReportMetric(ofLive, "live_byte_hit_%")
					}
					b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(trace)), "ns/request")
				})
			}
		}
	}
}

// What the policy is for: more bytes from the cache than the best that others have.
func TestByteHitRatioIsBetterThanS3FIFO(t *testing.T) {
	trace := workload{requests: 300_000, titles: 1500, zipf: .8, live: .25, seed: 7}.trace()
	for _, size := range []int64{8, 32} {
		capacity := size * gigabyte
		plain, _ := byteHits(trace, newS3FIFO(capacity))
		apart, _ := byteHits(trace, &split{newLRU(liveWindow(capacity)), newS3FIFO(capacity - liveWindow(capacity))})
		got, ofLive := byteHits(trace, newOurs(capacity, liveWindow(capacity), 0))
		t.Logf("%d GB: S3-FIFO %.2f %%, with live apart %.2f %%, ours %.2f %% (of live %.2f %%)", size, plain, apart, got, ofLive)
		if got < plain+1 {
			t.Errorf("%d GB: %.2f %% of the bytes come from the cache, S3-FIFO has %.2f %%: less than a point between them", size, got, plain)
		}
		if got < apart+.5 {
			t.Errorf("%d GB: counting by group is worth %.2f points, at least 0.5 are expected", size, got-apart)
		}
		if ofLive < 90 {
			t.Errorf("%d GB: %.2f %% of live bytes come from the cache, at least 90 %% are expected", size, ofLive)
		}
	}
}

// Traffic whose names say nothing is no worse off than with S3-FIFO.
func TestByteHitRatioWithoutGroups(t *testing.T) {
	trace := workload{requests: 300_000, titles: 1500, zipf: .8, live: 0, seed: 8}.trace()
	for i := range trace {
		trace[i].group = 0
	}
	const capacity = 32 * gigabyte
	plain, _ := byteHits(trace, newS3FIFO(capacity))
	got, _ := byteHits(trace, newOurs(capacity, 0, 0))
	t.Logf("S3-FIFO %.2f %%, ours %.2f %%", plain, got)
	if got < plain-.25 {
		t.Errorf("%.2f %% of the bytes come from the cache, S3-FIFO has %.2f %%", got, plain)
	}
}

func BenchmarkTouch(b *testing.B) {
	p := New(Settings{CapacityBytes: gigabyte, LiveBytes: gigabyte / 4})
	nodes := make([]Node, 512)
	for i := range nodes {
		nodes[i] = Node{Hash: scatter(uint64(i)), Group: scatter(uint64(i / 4)), Size: 1000}
		p.Insert(&nodes[i], nil)
	}
	b.Run("counting", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if i&1023 == 0 {
				p.groups.age.Add(1) // nothing is asked for often enough to be counted no longer
			}
			p.Touch(&nodes[i&511])
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for i := 0; pb.Next(); i++ {
				p.Touch(&nodes[i&511])
			}
		})
	})
	film := &Node{Hash: 1, Live: true, Size: 1000}
	p.Insert(film, nil)
	b.Run("live", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			p.Touch(film)
		}
	})
}

func BenchmarkInsert(b *testing.B) {
	p := New(Settings{CapacityBytes: gigabyte})
	nodes := make([]Node, 1<<12) // four times what fits
	evict := func(*Node) bool { return true }
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		n := &nodes[i%len(nodes)]
		n.Hash, n.Group, n.Size = scatter(uint64(i)), scatter(uint64(i/16)), 1_000_000
		p.Insert(n, evict)
	}
}
