package cache

import (
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-stream/weir/internal/cdn"
)

const (
	// passTime is how long a key is remembered as uncacheable, so that requests for it do not wait
	// for one another.
	passTime = 10 * time.Second
	// retryTime is how long an origin that has failed is not asked for the same object again while
	// a stale one can be served.
	retryTime = time.Second
	// maxPinned bounds how many objects in use are passed over in search of one that can be evicted.
	maxPinned = 256
)

// Settings are what a Cache needs.
type Settings struct {
	Config     Config
	Registerer prometheus.Registerer
}

// Cache holds objects by key, and gives up those that were not asked for longest. It is safe for
// concurrent use.
type Cache struct {
	cfg     Config
	metrics *metrics
	// used are the bytes charged. It grows only with mu held, by reserve.
	used atomic.Int64

	mu     sync.Mutex
	index  map[string]*entry
	recent entry // ring of entries; recent.next was used last
	fills  map[string]*Fill
	ghosts *ghosts
}

// entry is a place in the index. It has a reference to its object's body.
type entry struct {
	object     *Object
	retry      time.Time // the origin has failed; it is not asked before
	prev, next *entry
}

// New returns an empty cache.
func New(s Settings) (*Cache, error) {
	if err := s.Config.Validate(); err != nil {
		return nil, fmt.Errorf("cache: %w", err)
	}
	c := &Cache{
		cfg:    s.Config,
		index:  make(map[string]*entry),
		fills:  make(map[string]*Fill),
		ghosts: newGhosts(s.Config.GhostKeys),
	}
	c.recent.prev, c.recent.next = &c.recent, &c.recent
	m, err := newMetrics(s.Registerer, c)
	if err != nil {
		return nil, fmt.Errorf("cache: register metrics: %w", err)
	}
	c.metrics = m
	return c, nil
}

// Evaluate says what may be done with an answer; see [Config.Evaluate].
func (c *Cache) Evaluate(kind cdn.ObjectKind, status int, h http.Header, requested, received time.Time) Freshness {
	return c.cfg.Evaluate(kind, status, h, requested, received)
}

// Lookup is what the cache says of a key: an object, a fill to wait for or to lead, or to pass.
type Lookup struct {
	// Object can be served at once; the caller releases it.
	Object *Object
	// Stale says that Object's lifetime is over; it is served because the origin has just failed.
	Stale bool

	// Fill is to be waited for. If Leader is set, the caller is to see to it that it ends.
	Fill   *Fill
	Leader bool

	// Pass says that the key was uncacheable a moment ago: the caller asks the origin for itself.
	Pass bool

	// Reason is why there is no fresh object.
	Reason cdn.MissReason
}

// Get looks key up at now.
func (c *Cache) Get(key string, now time.Time) Lookup {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.index[key]
	if e != nil {
		fresh := e.object.Fresh(now)
		if fresh || now.Before(e.retry) && e.object.UsableOnError(now) {
			c.touch(e)
			e.object.body.refs.Add(1)
			l := Lookup{Object: e.object, Stale: !fresh}
			if l.Stale {
				l.Reason = cdn.Expired
			}
			return l
		}
	}
	if f := c.fills[key]; f != nil {
		f.waiting++
		return Lookup{Fill: f, Reason: f.Reason}
	}
	f := &Fill{cache: c, key: key, Reason: cdn.Cold, waiting: 1, ready: make(chan struct{})}
	if e != nil {
		c.touch(e)
		e.object.body.refs.Add(1)
		f.stale = e.object
		f.Reason = cdn.Expired
	} else if g, ok := c.ghosts.get(key); ok {
		switch {
		case g.uncacheable && now.Before(g.until):
			return Lookup{Pass: true, Reason: cdn.Uncacheable}
		case g.uncacheable:
		case now.Before(g.until):
			f.Reason = cdn.Evicted
		default:
			f.Reason = cdn.Expired // it would have been of no use any more
		}
	}
	c.fills[key] = f
	return Lookup{Fill: f, Leader: true, Reason: f.Reason}
}

// Used returns the bytes charged for objects that are held.
func (c *Cache) Used() int64 { return c.used.Load() }

// Len returns the number of objects in the index.
func (c *Cache) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.index)
}

// reserve charges n bytes, for which it gives up other objects if need be.
func (c *Cache) reserve(n int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.used.Load()+n > c.cfg.CapacityBytes {
		if !c.evict() {
			c.metrics.full.Inc()
			return false
		}
	}
	c.used.Add(n)
	return true
}

// evict gives up the object that was used least recently and that nobody reads. Called with mu held.
func (c *Cache) evict() bool {
	for range maxPinned {
		e := c.recent.prev
		if e == &c.recent {
			return false
		}
		o := e.object
		if o.body.refs.Load() > 1 {
			c.touch(e) // somebody is using it now
			continue
		}
		c.ghosts.put(o.key, ghost{until: o.Received.Add(o.Lifetime - o.InitialAge)})
		c.metrics.evictions.Inc()
		c.remove(e)
		return true
	}
	return false
}

// insert puts o into the index; the caller has given it a reference for that. Called with mu held.
func (c *Cache) insert(o *Object) {
	if e := c.index[o.key]; e != nil {
		old := e.object
		e.object, e.retry = o, time.Time{}
		c.touch(e)
		old.body.release()
		return
	}
	e := &entry{object: o}
	c.index[o.key] = e
	c.link(e)
	c.ghosts.drop(o.key)
}

// remove takes e out of the index. Called with mu held.
func (c *Cache) remove(e *entry) {
	delete(c.index, e.object.key)
	e.unlink()
	e.object.body.release()
}

// detach takes the object with this body out of the index.
func (c *Cache) detach(b *Body) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.index[b.key]; e != nil && e.object.body == b {
		c.remove(e)
	}
}

// The ring of entries. All with mu held.

func (c *Cache) link(e *entry) {
	e.prev, e.next = &c.recent, c.recent.next
	e.prev.next, e.next.prev = e, e
}

func (e *entry) unlink() {
	e.prev.next, e.next.prev = e.next, e.prev
}

func (c *Cache) touch(e *entry) {
	if c.recent.next != e {
		e.unlink()
		c.link(e)
	}
}
