package cache

import (
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-stream/weir/internal/cdn"
	"github.com/weir-stream/weir/internal/cdn/cache/freshness"
	"github.com/weir-stream/weir/internal/cdn/cache/policy"
	"github.com/weir-stream/weir/internal/cdn/cache/segment"
)

const (
	// passTime is how long a key is remembered as uncacheable, so that requests for it do not wait
	// for one another.
	passTime = 10 * time.Second
	// retryTime is how long an origin that has failed is not asked for the same object again while
	// a stale one can be served.
	retryTime = time.Second
	// maxVariants bounds the objects under one key.
	maxVariants = 32
	// sliceMark stands between an object's key and the number of a slice of it. No key has it.
	sliceMark = "\x00"
	// shardCount is the number of parts of the index, each with its own lock.
	shardCount = 64
)

// Settings are what a Cache needs.
type Settings struct {
	Config Config
	// Dir is the folder for what is kept on disk; "" keeps everything in memory.
	Dir        string
	Log        *slog.Logger
	Registerer prometheus.Registerer
	// Now is the clock; nil is time.Now. It is asked only when the content of a folder is taken over.
	Now func() time.Time
	// FS is the file system of the folder; nil is the real one.
	FS segment.FS
	// Later leaves the folder closed until [Cache.Open] opens it.
	Later bool
}

// Cache holds objects by key. It is safe for concurrent use.
type Cache struct {
	cfg     Config
	log     *slog.Logger
	metrics *metrics
	now     func() time.Time

	memory *policy.Policy
	copies *copies
	disk   atomic.Pointer[tier] // nil: everything is in memory
	purges *purges

	dir        string // "": everything is always in memory
	fs         segment.FS
	registerer prometheus.Registerer
	attaching  sync.Mutex    // held while the folder is opened or let go
	attached   chan struct{} // tells Run that it is open; one is enough

	seed   maphash.Seed
	shards [shardCount]shard
}

// shard is a part of the index.
type shard struct {
	mu     sync.Mutex
	index  map[string]*entry
	fills  map[fillKey]*Fill
	ghosts *ghosts
}

// entry is what is held under one key: one object, or one per variant (RFC 9111 §4.1). It has a
// reference to each object's body, and to its backup's.
type entry struct {
	variants []*Object // the newest first
	retry    time.Time // the origin has failed; it is not asked before
}

// fillKey tells the fills of one key's variants apart.
type fillKey struct{ key, variant string }

// New returns a cache that holds what is in the folder, or nothing.
func New(s Settings) (*Cache, error) {
	if err := s.Config.Validate(); err != nil {
		return nil, fmt.Errorf("cache: %w", err)
	}
	c := &Cache{cfg: s.Config, log: s.Log, now: s.Now, seed: maphash.MakeSeed()}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	if c.now == nil {
		c.now = time.Now
	}
	c.memory = policy.New(policy.Settings{CapacityBytes: s.Config.CapacityBytes, LiveBytes: s.Config.liveBytes()})
	c.copies = newCopies(s.Config.CapacityBytes)
	for i := range c.shards {
		c.shards[i] = shard{
			index: make(map[string]*entry), fills: make(map[fillKey]*Fill),
			ghosts: newGhosts(s.Config.GhostKeys / shardCount),
		}
	}
	m, err := newMetrics(s.Registerer, c)
	if err != nil {
		return nil, fmt.Errorf("cache: register metrics: %w", err)
	}
	c.metrics = m
	c.purges = newPurges(nil, 0)
	if s.Dir == "" || s.Config.DiskBytes == 0 {
		return c, nil
	}
	c.dir, c.fs, c.registerer, c.attached = s.Dir, s.FS, s.Registerer, make(chan struct{}, 1)
	if s.Later {
		if err := os.MkdirAll(c.dir, 0o750); err != nil {
			return nil, fmt.Errorf("cache: %w", err)
		}
		if err := c.purges.detach(c.dir); err != nil {
			return nil, fmt.Errorf("cache: %w", err)
		}
		return c, nil
	}
	c.purges.detached.Store(true)
	if err := c.Open(); err != nil {
		return nil, err
	}
	return c, nil
}

// Freshness returns the rules of the cache.
func (c *Cache) Freshness() *freshness.Config { return &c.cfg.Freshness }

// SliceKey returns the key of a slice of the object under key.
func SliceKey(key string, number int64) string {
	return key + sliceMark + strconv.FormatInt(number, 10)
}

// MaxObject returns the size above which an object is not kept in one piece.
func (c *Cache) MaxObject() int64 { return c.cfg.MaxObjectBytes }

// Query is what is asked of the cache.
type Query struct {
	Key string
	Now time.Time
	// Header is the request's, by which a variant is chosen; nil where the origin is told nothing of
	// the request.
	Header http.Header
	// Control are the request's own directives.
	Control freshness.RequestControl
	// Probe asks without making a fill; Ahead makes one, but for nobody who waits for it.
	Probe, Ahead bool
	// Credentials says that the request has some, for which the origin may give it an answer of its own.
	Credentials bool
}

// Lookup is what the cache says of a key: an object, a fill to wait for or to lead, or to pass.
type Lookup struct {
	// Object can be served at once; the caller releases it.
	Object *Object
	// Stale says that Object's lifetime is over. With a Fill, it is to be served while that runs;
	// without one, the origin has just failed.
	Stale bool

	// Fill is to be waited for, if there is no Object. If Leader is set, the caller is to see to it
	// that it ends.
	Fill   *Fill
	Leader bool

	// Pass says that the key was uncacheable a moment ago: the caller asks the origin for itself.
	Pass bool

	// Reason is why there is no fresh object.
	Reason cdn.MissReason
}

// Get looks a key up.
func (c *Cache) Get(q Query) Lookup {
	s := c.shard(q.Key)
	for {
		var dropped []*Object
		s.mu.Lock()
		l, o, unread := c.get(s, q, &dropped)
		if unread != nil {
			unread.body.refs.Add(1)
		}
		s.mu.Unlock()
		for _, d := range dropped {
			d.letGo()
		}
		switch {
		case unread != nil:
			if err := unread.body.open(); err != nil {
				if !errors.Is(err, segment.ErrClosed) { // else the folder was just let go
					c.metrics.corrupt.Inc()
					c.log.Warn("an object on disk cannot be used", "key", q.Key, "error", err)
				}
				c.detach(unread.body)
			}
			unread.body.release()
			continue
		case o != nil:
			c.touch(o, q.Now)
		}
		return l
	}
}

// get is Get with the shard's lock held. It returns also the object that was looked up; or one, alone, that must
// be opened before that can be done. What it takes out of the index is to be let go.
func (c *Cache) get(s *shard, q Query, dropped *[]*Object) (l Lookup, found, unread *Object) {
	e := s.index[q.Key]
	reason := cdn.Cold
	if e != nil && c.prune(s, q.Key, e, q.Now, dropped) {
		reason = cdn.Purged
		e = s.index[q.Key]
	}
	var o *Object
	id := fillKey{key: q.Key}
	if e != nil {
		o = e.variant(q.Header)
		id.variant = freshness.VaryKey(e.variants[0].Vary, q.Header)
	}
	if o != nil && !o.body.atHand() {
		return Lookup{}, nil, o
	}
	l = Lookup{Reason: reason}
	if o != nil {
		f := o.freshness()
		use := f.Usable(q.Now, q.Control)
		retry := q.Now.Before(e.retry) && f.UsableOnError(q.Now, q.Control)
		switch {
		case use == freshness.Serve:
			o.body.refs.Add(1)
			l.Object, l.Reason = o, ""
			if !f.Fresh(q.Now) {
				l.Stale, l.Reason = true, cdn.Expired
			}
			return l, o, nil
		case retry:
			o.body.refs.Add(1)
			l.Object, l.Stale, l.Reason = o, true, cdn.Expired
			return l, o, nil
		case use == freshness.ServeAndRevalidate:
			o.body.refs.Add(1)
			l.Object, l.Stale, l.Reason = o, true, cdn.Expired
			if !q.Probe && s.fills[id] == nil {
				l.Fill, l.Leader = c.leader(s, id, q.Now, cdn.Expired, o, false).Fill, true
			}
			return l, o, nil
		}
	}
	if q.Probe {
		return l, nil, nil
	}
	if q.Credentials {
		if g, ok := s.ghosts.get(c.hash(credentialsKey(q.Key))); ok && q.Now.Before(g.until) {
			return Lookup{Pass: true, Reason: cdn.Uncacheable}, nil, nil
		}
	}
	if f := s.fills[id]; f != nil && !c.purges.mayHit(q.Key, f.generation) {
		if q.Ahead {
			return l, nil, nil
		}
		f.waiting++
		l.Fill, l.Reason = f, f.Reason
		return l, nil, nil
	}
	if o != nil {
		return c.leader(s, id, q.Now, cdn.Expired, o, !q.Ahead), o, nil
	}
	if g, ok := s.ghosts.get(c.hash(q.Key)); ok && reason == cdn.Cold {
		switch {
		case g.why == cdn.Uncacheable && q.Now.Before(g.until):
			return Lookup{Pass: true, Reason: cdn.Uncacheable}, nil, nil
		case g.why == cdn.Uncacheable:
		case g.why == cdn.Purged || q.Now.Before(g.until):
			l.Reason = g.why
		default:
			l.Reason = cdn.Expired // it would have been of no use any more
		}
	}
	return c.leader(s, id, q.Now, l.Reason, nil, !q.Ahead), nil, nil
}

// Hit returns the object under key if it can be served at once to a request that has no directives of its
// own: fresh, complete, and the same for everybody. The caller releases it. The key is not kept.
func (c *Cache) Hit(key []byte, now time.Time) *Object {
	s := &c.shards[maphash.Bytes(c.seed, key)%shardCount]
	s.mu.Lock()
	e := s.index[string(key)]
	if e == nil || len(e.variants) != 1 {
		s.mu.Unlock()
		return nil
	}
	o := e.variants[0]
	if o.Vary != nil || o.NoCache || o.softened.Load() != 0 || !o.Fresh(now) || !o.body.complete.Load() || !o.body.atHand() {
		s.mu.Unlock()
		return nil
	}
	if generation := c.purges.sequence(); o.checked != generation {
		if hard, soft := c.purges.since(o.key, o.Tags, o.checked); hard || soft {
			s.mu.Unlock()
			return nil
		}
		o.checked = generation
	}
	o.body.refs.Add(1)
	s.mu.Unlock()
	c.touch(o, now)
	return o
}

func (c *Cache) touch(o *Object, now time.Time) {
	b := o.body
	b.policy.Touch(&b.node)
	if n := b.heat.add(now); n%copyAfter == 0 && b.onDisk() {
		c.copies.want(b, now)
	}
}

func (c *Cache) hash(key string) uint64          { return maphash.String(c.seed, key) }
func (c *Cache) shard(key string) *shard         { return &c.shards[c.hash(key)%shardCount] }
func (c *Cache) group(key string) (group uint64) { return policy.GroupOf(key) }

// leader returns a new fill for the caller to lead, and to wait for or not. Called with the lock held.
func (c *Cache) leader(s *shard, id fillKey, now time.Time, reason cdn.MissReason, stale *Object, waits bool) Lookup {
	f := &Fill{
		cache: c, shard: s, id: id, Reason: reason, Since: now, stale: stale,
		generation: c.purges.sequence(), ready: make(chan struct{}),
	}
	if stale != nil {
		stale.body.refs.Add(1)
		stale.body.aside.Add(1) // a window does not wait for the origin's word on it
	}
	if waits {
		f.waiting = 1
	}
	s.fills[id] = f
	return Lookup{Fill: f, Leader: true, Reason: reason}
}

// prune takes the objects of an entry that have been purged out of it, and reports whether it did.
// Called with the lock held.
func (c *Cache) prune(s *shard, key string, e *entry, at time.Time, dropped *[]*Object) bool {
	now := c.purges.sequence()
	gone := false
	for i := 0; i < len(e.variants); {
		o := e.variants[i]
		if o.checked == now {
			i++
			continue
		}
		switch hard, soft := c.purges.since(key, o.Tags, o.checked); {
		case hard:
			e.drop(s, key, o)
			*dropped = append(*dropped, o)
			s.ghosts.put(c.hash(key), ghost{why: cdn.Purged})
			c.metrics.purged.Inc()
			gone = true
		case soft:
			o.soften(at)
			fallthrough
		default:
			o.checked = now
			i++
		}
	}
	return gone
}

// evict gives up the body of a node, if only the index refers to it. The policy calls it, with its lock
// held, and forgets the node if it returns true.
func (c *Cache) evict(n *policy.Node) bool {
	b, ok := n.Value.(*Body)
	if !ok {
		return false // ballast
	}
	s := c.shard(b.key)
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.find(b)
	if o == nil || !b.refs.CompareAndSwap(1, 0) {
		return false
	}
	e := s.index[b.key]
	switch {
	case o.backup == b:
		o.backup = nil
	case o.backup != nil:
		e.replace(o, o.on(o.backup))
	default:
		e.drop(s, b.key, o)
		s.ghosts.put(c.hash(b.key), ghost{why: cdn.Evicted, until: o.Received.Add(o.Lifetime - o.InitialAge)})
		c.metrics.evictions.Inc()
	}
	c.copies.remove(b)
	b.discard()
	return true
}

// Used returns the bytes of memory charged for objects that are held, DiskUsed those on disk.
func (c *Cache) Used() int64 {
	live, rest := c.memory.Used()
	return live + rest
}

// DiskUsed returns the bytes on disk that objects take.
func (c *Cache) DiskUsed() int64 {
	t := c.disk.Load()
	if t == nil {
		return 0
	}
	live, rest := t.policy.Used()
	return live + rest
}

// Len returns the number of objects in the index.
func (c *Cache) Len() int {
	n := 0
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		for _, e := range s.index {
			n += len(e.variants)
		}
		s.mu.Unlock()
	}
	return n
}

// ErrClosed says that the cache has been closed.
var ErrClosed = errors.New("the cache is closed")
