package upstream

import (
	"math"
	"math/bits"
	"net/http"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/weir-stream/weir/internal/cdn/upstream/health"
)

const (
	// loadFactor bounds how much more than its share an origin gets by hash, loadFloor is what it may
	// always have: with a few requests any share is exceeded.
	loadFactor = 1.25
	loadFloor  = 16
	// maxShields is how many shields a request is sent to: what two of them have not, the origin has.
	maxShields = 2
)

// choice is one request's way through the origins.
type choice struct {
	hash    uint64
	hashed  bool
	tried   uint64 // a bit for each endpoint
	shields int    // tried
	direct  bool   // no shields
	again   bool   // the last one was asked a second time
	safe    bool   // it may be sent again after a failure
}

func (c *choice) try(e *endpoint) {
	c.tried |= 1 << e.index
	if e.tier == shieldTier {
		c.shields++
	}
}

// key returns the hash of what is asked for: its path and query, so that all edges agree on it.
func (c *choice) key(r *http.Request) uint64 {
	if !c.hashed {
		c.hash = xxhash.Sum64String(r.URL.Path)
		if r.URL.RawQuery != "" {
			c.hash = mix(c.hash ^ bits.RotateLeft64(xxhash.Sum64String(r.URL.RawQuery), 32))
		}
		c.hashed = true
	}
	return c.hash
}

// mix is the finaliser of SplitMix64: it makes a good hash of two that were put together.
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

// pick returns who is to be asked next, nil if there is nobody. probe says that it is a try of one that is
// out, which is claimed.
func (t *table) pick(c *choice, r *http.Request, now time.Time) (e *endpoint, probe bool) {
	for tier := range tiers {
		if tier == shieldTier && (c.direct || c.shields >= maxShields) {
			continue
		}
		if c.safe && c.tried == 0 {
			// Who is out and may be tried, is: a failure costs the request only time.
			for _, e := range t.tiers[tier] {
				if c.tried&(1<<e.index) == 0 && e.Standing() == health.Out && e.Probe(now, false) {
					return e, true
				}
			}
		}
		e := t.balance(t.tiers[tier], c, r, health.Up)
		if e == nil || e.self {
			continue // this node is the object's shield: the origin is asked
		}
		return e, false
	}
	// All are down or out. What checks say is no reason to ask nobody.
	for _, tier := range []tier{originTier, backupTier} {
		if e := t.balance(t.tiers[tier], c, r, health.Down); e != nil {
			return e, false
		}
	}
	for _, tier := range []tier{originTier, backupTier, shieldTier} {
		if tier == shieldTier && c.direct {
			continue
		}
		for _, e := range t.tiers[tier] {
			if c.tried&(1<<e.index) == 0 && e.Standing() == health.Out && e.Probe(now, true) {
				return e, true
			}
		}
	}
	return nil, false
}

// balance chooses among those of a tier that stand so and have room.
func (t *table) balance(tier []*endpoint, c *choice, r *http.Request, s health.Standing) *endpoint {
	var buffer [16]*endpoint
	able := buffer[:0]
	for _, e := range tier {
		if c.tried&(1<<e.index) == 0 && e.Standing() == s && e.running.Load() < e.maxRequests {
			able = append(able, e)
		}
	}
	switch {
	case len(able) == 0:
		return nil
	case len(able) == 1:
		return able[0]
	case able[0].tier == shieldTier || t.config.Balance == Hash:
		return byHash(able, c.key(r))
	}
	return leastRequests(able, t.turn.Add(1))
}

// leastRequests returns the one with the fewest running requests for its weight. Among equals, as in quiet
// times all are, turns go by weight: multiples of the golden ratio spread evenly.
func leastRequests(able []*endpoint, turn uint64) *endpoint {
	const golden = 0x9e3779b97f4a7c15
	var (
		best  = math.Inf(1)
		equal [maxOrigins]*endpoint
		n     int
		sum   float64
	)
	for _, e := range able {
		load := float64(max(0, e.running.Load())) / e.weight
		switch {
		case load < best:
			best, n, sum = load, 1, e.weight
			equal[0] = e
		case load == best:
			equal[n] = e
			n++
			sum += e.weight
		}
	}
	point := float64(turn*golden>>11) / (1 << 53) * sum
	for _, e := range equal[:n-1] {
		if point -= e.weight; point < 0 {
			return e
		}
	}
	return equal[n-1]
}

// byHash is weighted rendezvous hashing: each has a score for the key, the highest wins, and who goes takes
// only its own keys along. Who has more than its share of the running requests is passed over.
func byHash(able []*endpoint, key uint64) *endpoint {
	var running int64
	var weight float64
	for _, e := range able {
		running += max(0, e.running.Load())
		weight += e.weight
	}
	var first, chosen *endpoint
	firstScore, chosenScore := math.Inf(-1), math.Inf(-1)
	for _, e := range able {
		u := (float64(mix(key^e.hash)>>11) + 0.5) / (1 << 53)
		score := e.weight / -math.Log(u)
		if score > firstScore {
			first, firstScore = e, score
		}
		bound := max(loadFloor, math.Ceil(loadFactor*float64(running+1)*e.weight/weight))
		if score > chosenScore && float64(e.running.Load()+1) <= bound {
			chosen, chosenScore = e, score
		}
	}
	if chosen == nil {
		return first
	}
	return chosen
}

// alone reports whether there is one origin, so that nobody could ever take its place.
func (t *table) alone() bool { return len(t.tiers[originTier])+len(t.tiers[backupTier]) == 1 }

// replaceable reports whether another than e can be asked.
func (t *table) replaceable(e *endpoint) bool {
	for _, tier := range []tier{originTier, backupTier} {
		for _, other := range t.tiers[tier] {
			if other.origin != e.origin && other.Standing() == health.Up {
				return true
			}
		}
	}
	return false
}
