package cache

import (
	"net/http"
	"time"

	"github.com/weir-stream/weir/internal/cdn/cache/freshness"
)

// variant returns the newest object that is for a request with this header.
func (e *entry) variant(h http.Header) *Object {
	for _, o := range e.variants {
		if o.variant == freshness.VaryKey(o.Vary, h) {
			return o
		}
	}
	return nil
}

// drop takes o out of the entry, and the entry out of the index if it was the last. The caller lets o
// go, without the lock. Called with the lock held.
func (e *entry) drop(s *shard, key string, o *Object) {
	for i, v := range e.variants {
		if v == o {
			e.variants = append(e.variants[:i:i], e.variants[i+1:]...)
			break
		}
	}
	if len(e.variants) == 0 {
		delete(s.index, key)
	}
}

// replace puts another object into the place of o. Called with the lock held.
func (e *entry) replace(o, other *Object) {
	for i := range e.variants {
		if e.variants[i] == o {
			e.variants[i] = other
		}
	}
}

// insert puts o into the index, in the place of the object that it replaces. The caller has given it a
// reference for that, and lets go what is returned, without the lock. Called with the lock held.
func (s *shard) insert(c *Cache, o *Object) []*Object {
	s.ghosts.drop(c.hash(o.key))
	e := s.index[o.key]
	if e == nil {
		s.index[o.key] = &entry{variants: []*Object{o}}
		return nil
	}
	e.retry = time.Time{}
	var out []*Object
	kept := []*Object{o}
	for _, v := range e.variants {
		switch {
		case v.variant == o.variant, len(kept) == maxVariants:
			out = append(out, v)
		default:
			kept = append(kept, v)
		}
	}
	e.variants = kept
	return out
}

// detach takes the objects with this body out of the index: there are two if the origin has renewed one and said that
// it is another variant.
func (c *Cache) detach(b *Body) {
	s := c.shard(b.key)
	var out []*Object
	s.mu.Lock()
	for o := s.find(b); o != nil; o = s.find(b) {
		s.index[b.key].drop(s, b.key, o)
		out = append(out, o)
	}
	s.mu.Unlock()
	for _, o := range out {
		o.letGo()
	}
}

// newer returns the object in memory that is in the place of o, which was found on disk, and is not older; nil if
// there is none. Called with the lock held.
func (s *shard) newer(o *Object) *Object {
	if e := s.index[o.key]; e != nil {
		for _, v := range e.variants {
			if v.variant == o.variant && !v.body.onDisk() && !v.Received.Before(o.Received) {
				return v
			}
		}
	}
	return nil
}

// find returns the object in the index that has this body. Called with the lock held.
func (s *shard) find(b *Body) *Object {
	if e := s.index[b.key]; e != nil {
		for _, o := range e.variants {
			if o.body == b || o.backup == b {
				return o
			}
		}
	}
	return nil
}
