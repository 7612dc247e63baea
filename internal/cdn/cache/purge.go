package cache

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/weir-stream/weir/internal/cdn"
)

// maxPurges is the number of purges that are remembered, beside which all objects must be looked at.
const maxPurges = 50_000

// purges are the invalidations that objects in the index may not have been held against yet. A purge adds to
// them and increases the generation; an object is held against those of later generations than its own
// when it is looked up. Nothing walks over the objects when a purge comes.
type purges struct {
	generation atomic.Uint64
	log        *purgeLog  // nil: nothing is remembered over a restart
	order      sync.Mutex // held while a purge gets its generation
	// detached says that the list is another process's; pending are the purges since.
	detached atomic.Bool
	pending  []cdn.Purge // guarded by order, as is spill
	spill    *os.File    // takes the pending too; nil: there is none

	mu sync.RWMutex
	// marks are the latest purges of each target.
	urls, prefixes, tags map[string]mark
	lengths              map[int]int // lengths of the prefixes, and how many have it
	all, anyTag          mark
	// floor is the generation up to which marks have been forgotten, after all objects had been held against
	// them. What was asked of the origin before that is not kept.
	floor uint64
}

// mark are the generations of the last hard and the last soft purge of something.
type mark struct{ hard, soft uint64 }

func (m *mark) set(generation uint64, soft bool) {
	if soft {
		m.soft = generation
	} else {
		m.hard = generation
	}
}

// since reports which kinds of purge are later than generation.
func (m mark) since(generation uint64) (hard, soft bool) {
	return m.hard > generation, m.soft > generation
}

func newPurges(log *purgeLog, generation uint64) *purges {
	p := &purges{
		log: log, urls: make(map[string]mark), prefixes: make(map[string]mark), tags: make(map[string]mark),
		lengths: make(map[int]int),
	}
	p.generation.Store(generation)
	return p
}

// sequence returns the generation of the last purge.
func (p *purges) sequence() uint64 { return p.generation.Load() }

// add notes a purge in the marks.
func (p *purges) add(x cdn.Purge, generation uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	note := func(to map[string]mark, target string) {
		m := to[target]
		m.set(generation, x.Soft)
		to[target] = m
	}
	switch x.Scope {
	case cdn.PurgeURL:
		for _, target := range targetsOf(x) {
			note(p.urls, target)
		}
	case cdn.PurgePrefix:
		for _, target := range targetsOf(x) {
			if _, ok := p.prefixes[target]; !ok {
				p.lengths[len(target)]++
			}
			note(p.prefixes, target)
		}
	case cdn.PurgeTag:
		note(p.tags, x.Target)
		p.anyTag.set(generation, x.Soft)
	case cdn.PurgeAll:
		p.all.set(generation, x.Soft)
	}
	p.generation.Store(generation)
}

// anyHost stands for the host of objects that are the same under every name.
const anyHost = "*"

// targetsOf returns under what a purge of a URL or a prefix is noted. One that names a host is also for what is kept
// without one: that is what is served under this name as under all others.
func targetsOf(x cdn.Purge) []string {
	if x.Host == "" {
		return []string{x.Target}
	}
	targets := []string{anyHost + x.Target}
	for _, host := range x.Hosts() {
		targets = append(targets, host+x.Target)
	}
	return targets
}

// since reports whether there was a purge, later than generation, of what is under key and has these tags.
func (p *purges) since(key string, tags []string, generation uint64) (hard, soft bool) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	hold := func(m mark) {
		h, s := m.since(generation)
		hard, soft = hard || h, soft || s
	}
	hold(p.all)
	key, _, _ = strings.Cut(key, sliceMark) // a slice is purged with its object
	host, path := splitKey(key)
	for _, target := range [2]string{path, cmp.Or(host, anyHost) + path} {
		if len(p.urls) > 0 {
			hold(p.urls[target])
		}
		for n := range p.lengths {
			if n <= len(target) {
				hold(p.prefixes[target[:n]])
			}
		}
	}
	for _, tag := range tags {
		hold(p.tags[tag])
	}
	return hard, soft
}

// hit reports whether there was a purge later than generation, of which a fill that began then knows nothing. What
// was purged softly is kept, and stale.
func (p *purges) hit(key string, tags []string, generation uint64) (hard, soft bool) {
	if p.sequence() == generation {
		return false, false
	}
	hard, soft = p.since(key, tags, generation)
	p.mu.RLock()
	defer p.mu.RUnlock()
	return hard || generation < p.floor, soft
}

// mayHit is hit for a fill whose tags are not known yet.
func (p *purges) mayHit(key string, generation uint64) bool {
	if p.sequence() == generation {
		return false
	}
	hard, soft := p.since(key, nil, generation)
	p.mu.RLock()
	defer p.mu.RUnlock()
	return hard || soft || generation < p.floor || p.anyTag.hard > generation || p.anyTag.soft > generation
}

// forgotten returns the generation up to which marks have been forgotten.
func (p *purges) forgotten() uint64 {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.floor
}

// size returns how many marks there are.
func (p *purges) size() int {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return len(p.urls) + len(p.prefixes) + len(p.tags)
}

// forget drops the marks up to generation. Of two sweeps at the same time, the first may end last.
func (p *purges) forget(generation uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.floor = max(p.floor, generation)
	for _, marks := range []map[string]mark{p.urls, p.prefixes, p.tags} {
		for target, m := range marks {
			if max(m.hard, m.soft) <= generation {
				delete(marks, target)
			}
		}
	}
	clear(p.lengths)
	for prefix := range p.prefixes {
		p.lengths[len(prefix)]++
	}
}

// splitKey splits a key into the host that it begins with, if any, and the rest, which begins with a slash.
func splitKey(key string) (host, rest string) {
	for i := range len(key) {
		if key[i] == '/' {
			return key[:i], key[i:]
		}
	}
	return "", key
}

// ErrPurge says that a purge cannot be carried out.
var ErrPurge = errors.New("purge")

// Purge invalidates objects. When it returns, no later lookup returns what has been purged, also after a
// restart. It takes the same time however many objects there are.
func (c *Cache) Purge(x cdn.Purge) error {
	if err := x.Validate(); err != nil {
		return fmt.Errorf("%w: %w", ErrPurge, err)
	}
	p := c.purges
	p.order.Lock()
	generation := p.sequence() + 1
	err := errors.Join(p.log.append(generation, x), p.pend(x))
	if err == nil {
		p.add(x, generation)
	}
	p.order.Unlock()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrPurge, err)
	}
	c.metrics.purges.WithLabelValues(string(x.Scope)).Inc()
	if p.size() > maxPurges {
		c.sweep()
	}
	return nil
}

// sweep holds every object in the index against the purges so far, so that those can be forgotten.
func (c *Cache) sweep() {
	generation := c.purges.sequence()
	for i := range c.shards {
		s := &c.shards[i]
		var dropped []*Object
		s.mu.Lock()
		for key, e := range s.index {
			c.prune(s, key, e, c.now(), &dropped)
		}
		s.mu.Unlock()
		for _, o := range dropped {
			o.letGo()
		}
	}
	c.purges.forget(generation)
}

// Invalidate takes what is under key out of the cache, because a request has changed it (RFC 9111 §4.4). Unlike
// a purge it is not remembered.
func (c *Cache) Invalidate(key string) {
	s := c.shard(key)
	var dropped []*Object
	s.mu.Lock()
	if e := s.index[key]; e != nil {
		dropped = e.variants
		delete(s.index, key)
	}
	for id, f := range s.fills { // few at a time
		if id.key == key {
			f.invalidated = true
			delete(s.fills, id)
		}
	}
	s.mu.Unlock()
	recorded := false
	for _, o := range dropped {
		recorded = recorded || o.body.onDisk() || o.backup != nil
		o.letGo()
	}
	if recorded || c.purges.detached.Load() { // or it could be there again after a restart
		host, path := splitKey(key)
		c.remember(cdn.Purge{Scope: cdn.PurgeURL, Host: host, Target: path})
	}
}

// remember notes an invalidation that nobody waits for. After a power failure it may be forgotten, as may what was
// on disk.
func (c *Cache) remember(x cdn.Purge) {
	c.purges.order.Lock()
	c.note(x)
	c.purges.order.Unlock()
	if c.purges.size() > maxPurges {
		c.sweep()
	}
}

// note is remember with the order of purges held, and without a sweep.
func (c *Cache) note(x cdn.Purge) {
	p := c.purges
	generation := p.sequence() + 1
	err := errors.Join(p.log.write(generation, x), p.pend(x))
	p.add(x, generation)
	if err != nil {
		c.log.Warn("an invalidation could not be noted; what is on disk may be served again after a restart", "error", err)
	}
}

// InvalidateTags makes the cache hold every object against these tags (RFC 9875 §3).
func (c *Cache) InvalidateTags(tags []string) {
	for _, tag := range tags {
		c.remember(cdn.Purge{Scope: cdn.PurgeTag, Target: tag})
	}
}
