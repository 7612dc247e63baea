package policy

import (
	"container/heap"
	"math"
	"math/rand/v2"
	"sort"
)

// The synthetic video edge: what a few thousand viewers ask of one node. It is made of what is known of
// such traffic: titles whose popularity follows Zipf's law and drifts, sessions that ask for six-second
// segments in order at one rendition and mostly end early, live channels that everybody watches at the
// live edge, and one small object at the start of each session.

type request struct {
	hash  uint64
	group uint64
	size  uint32
	kind  uint8
}

const (
	vod = iota
	live
	small
)

type workload struct {
	requests int
	titles   int
	zipf     float64
	live     float64 // share of the sessions
	seed     uint64
}

var (
	renditions     = []float64{0.4e6, 1.0e6, 2.5e6, 5e6, 8e6} // bit/s
	renditionShare = []float64{.08, .17, .30, .30, .15}
)

const (
	segmentSeconds  = 6
	liveChannels    = 40
	sessionsPerHour = 180_000
)

type ranks struct {
	cumulative []float64
	random     *rand.Rand
}

func newRanks(r *rand.Rand, n int, alpha float64) *ranks {
	z := &ranks{cumulative: make([]float64, n), random: r}
	sum := 0.0
	for i := range z.cumulative {
		sum += 1 / math.Pow(float64(i+1), alpha)
		z.cumulative[i] = sum
	}
	for i := range z.cumulative {
		z.cumulative[i] /= sum
	}
	return z
}

func (z *ranks) next() int { return sort.SearchFloat64s(z.cumulative, z.random.Float64()) }

type viewer struct {
	at             float64 // of the next request
	title, segment int
	left           int // segments
	rendition      int
	live           bool
}

type viewers []viewer

func (h viewers) Len() int           { return len(h) }
func (h viewers) Less(i, j int) bool { return h[i].at < h[j].at }
func (h viewers) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *viewers) Push(x any)        { *h = append(*h, x.(viewer)) }
func (h *viewers) Pop() any          { o := *h; x := o[len(o)-1]; *h = o[:len(o)-1]; return x }

func scatter(x uint64) uint64 {
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}

func (v *viewer) request() request {
	key := uint64(v.title)<<40 | uint64(v.segment)<<8 | uint64(v.rendition)<<1
	group := uint64(v.title)<<40 | uint64(v.segment/16)<<8 | uint64(v.rendition)<<1
	varies := 0.6 + 0.8*float64(scatter(key)%1000)/1000
	q := request{size: uint32(renditions[v.rendition] * segmentSeconds / 8 * varies)}
	if v.live {
		key, group, q.kind = key|1, group|1, live
	}
	q.hash, q.group = scatter(key), scatter(group^0x9e3779b97f4a7c15)
	return q
}

// trace makes the requests of a workload; the same seed makes the same requests.
func (w workload) trace() []request {
	r := rand.New(rand.NewPCG(w.seed, 1))
	titles, channels := newRanks(r, w.titles, w.zipf), newRanks(r, liveChannels, 1)
	titleOf := r.Perm(w.titles) // by rank
	out := make([]request, 0, w.requests)
	watching := &viewers{}
	arrival, drift := 0.0, 60.0
	for len(out) < w.requests {
		if watching.Len() == 0 || arrival <= (*watching)[0].at {
			now := arrival
			arrival += r.ExpFloat64() * 3600 / sessionsPerHour
			v := viewer{at: now}
			for p := r.Float64(); v.rendition < len(renditions)-1 && p > renditionShare[v.rendition]; v.rendition++ {
				p -= renditionShare[v.rendition]
			}
			if r.Float64() < w.live {
				v.live = true
				v.title, v.segment = channels.next(), int(now/segmentSeconds)
				v.left = 1 + int(r.ExpFloat64()*100)
			} else {
				v.title = titleOf[titles.next()]
				length := 150 + v.title%600 // 15 to 75 minutes
				if r.Float64() < .2 {
					v.segment = r.IntN(length) // a resumed one, or a jump
				}
				switch p := r.Float64(); {
				case p < .35:
					v.left = 1 + r.IntN(10)
				case p < .7:
					v.left = 1 + int(r.ExpFloat64()*80)
				default:
					v.left = length
				}
				v.left = min(v.left, length-v.segment)
			}
			start := scatter(uint64(v.title)<<1 | 1<<62)
			out = append(out, request{hash: start, group: start, size: uint32(2000 + v.title%30000), kind: small})
			heap.Push(watching, v)
			for now > drift { // new titles rise, old ones fall
				drift += 60
				for range 5 {
					a, b := titles.next(), r.IntN(w.titles)
					titleOf[a], titleOf[b] = titleOf[b], titleOf[a]
				}
			}
			continue
		}
		v := heap.Pop(watching).(viewer)
		now := v.at
		out = append(out, v.request())
		v.segment++
		v.left--
		if r.Float64() < .03 { // the player changes the rendition
			v.rendition = max(0, min(len(renditions)-1, v.rendition+1-2*r.IntN(2)))
		}
		if v.left == 0 {
			continue
		}
		if v.live {
			v.at = math.Max(now+0.1, float64(v.segment+1)*segmentSeconds+r.Float64()*4)
		} else {
			v.at = now + segmentSeconds*(0.9+0.2*r.Float64())
		}
		heap.Push(watching, v)
	}
	return out
}
