package access

import (
	"hash/maphash"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weir-stream/weir/internal/cdn/access/token"
)

// kind is one of the four of credentials: a text that is good as one is not good as another.
type kind uint8

const (
	ownKind kind = iota
	cloudFrontKind
	catKind
	jwtKind
)

// verdictKey is a token and what its signature depends on: the rule whose keys it was held against, and for
// CloudFront's canned policies the resource. The whole text is compared and not a hash alone, so that no two
// tokens can be taken for one another. That the comparison takes less time for a token that differs early
// tells nobody anything: it is made for texts of equal hash under a seed that nobody knows.
type verdictKey struct {
	rule     *rule
	kind     kind
	text     string
	resource string
}

const verdictShards = 32

// verdicts keeps tokens whose signature is right. Those that are wrong are not kept: whoever makes them up
// could push out the others.
type verdicts struct {
	seed   maphash.Seed
	bytes  int64 // bound of each shard
	hits   atomic.Uint64
	misses atomic.Uint64
	pushed atomic.Uint64
	shards [verdictShards]struct {
		mu    sync.RWMutex
		kept  map[verdictKey]*token.Verified
		bytes int64
	}
}

func newVerdicts(bytes int64) *verdicts {
	v := &verdicts{seed: maphash.MakeSeed(), bytes: bytes / verdictShards}
	for i := range v.shards {
		v.shards[i].kept = make(map[verdictKey]*token.Verified)
	}
	return v
}

// get returns the token, if it is known to be right. What it claims is to be checked.
func (v *verdicts) get(k verdictKey) *token.Verified {
	s := &v.shards[maphash.String(v.seed, k.text)%verdictShards]
	s.mu.RLock()
	found := s.kept[k]
	s.mu.RUnlock()
	if found == nil {
		v.misses.Add(1)
	} else {
		v.hits.Add(1)
	}
	return found
}

// put keeps the token, and gives up others for it: those that have expired, then any.
func (v *verdicts) put(k verdictKey, verified *token.Verified, now time.Time) {
	size := entryBytes(k, verified)
	s := &v.shards[maphash.String(v.seed, k.text)%verdictShards]
	k.text, k.resource = strings.Clone(k.text), strings.Clone(k.resource)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, there := s.kept[k]; there || size > v.bytes {
		return
	}
	if s.bytes+size > v.bytes {
		looked := 0
		for other, kept := range s.kept {
			if looked++; looked > 64 {
				break
			}
			if kept.Expires != 0 && kept.Expires <= now.Unix() {
				delete(s.kept, other)
				s.bytes -= entryBytes(other, kept)
			}
		}
	}
	for other, kept := range s.kept { // in random order
		if s.bytes+size <= v.bytes {
			break
		}
		delete(s.kept, other)
		s.bytes -= entryBytes(other, kept)
		v.pushed.Add(1)
	}
	s.kept[k] = verified
	s.bytes += size
}

func entryBytes(k verdictKey, verified *token.Verified) int64 {
	return int64(96 + len(k.text) + len(k.resource) + verified.Bytes())
}

// held returns the bytes that are kept.
func (v *verdicts) held() int64 {
	n := int64(0)
	for i := range v.shards {
		s := &v.shards[i]
		s.mu.RLock()
		n += s.bytes
		s.mu.RUnlock()
	}
	return n
}

// maxReplays bounds the tokens that are good once and have been used.
const maxReplays = 64 << 10

// replays remembers tokens that are good once until they have expired.
type replays struct {
	mu    sync.Mutex
	used  map[string]int64 // by key and identifier: until when
	swept time.Time
}

// use reports whether the token is used for the first time; full if that cannot be said.
func (r *replays) use(v *token.Verified, now time.Time, skew time.Duration) (first, full bool) {
	id := v.Issuer + "\x00" + v.KeyID + "\x00" + v.ID
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, again := r.used[id]; again {
		return false, false
	}
	if len(r.used) >= maxReplays {
		if now.Sub(r.swept) < 10*time.Second {
			return false, true
		}
		r.swept = now
		for other, until := range r.used {
			if until <= now.Unix() {
				delete(r.used, other)
			}
		}
		if len(r.used) >= maxReplays {
			return false, true
		}
	}
	if r.used == nil {
		r.used = make(map[string]int64)
	}
	r.used[id] = v.Expires + int64(skew/time.Second) + 1
	return true, false
}
