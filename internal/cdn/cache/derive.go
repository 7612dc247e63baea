package cache

import "github.com/weir-stream/weir/internal/cdn"

// What belongs to an object under a key of its own (a slice, an encoding) has a key that begins with the object's
// and goes on with what no other key has; see sliceMark. A purge of the object reaches it.

// EncodingKey returns the key of the object under key in another content coding.
func EncodingKey(key, coding string) string { return key + sliceMark + coding }

// AppendEncodingKey is EncodingKey for who has the key as bytes.
func AppendEncodingKey(b, key []byte, coding string) []byte {
	return append(append(append(b, key...), sliceMark...), coding...)
}

// Derive says that what will be stored is made of o, and not asked of the origin now: what o has not been held
// against yet, of the purges, it is held against too. It is called by whoever leads the fill, before its end.
func (f *Fill) Derive(o *Object) {
	s := f.cache.shard(o.key)
	s.mu.Lock()
	checked := o.checked
	s.mu.Unlock()
	f.shard.mu.Lock()
	f.generation = min(f.generation, checked)
	f.shard.mu.Unlock()
}

// Retain is for who has the object and wants to give it to another, who releases it too.
func (o *Object) Retain() { o.body.refs.Add(1) }

// InvalidateParts is [Cache.Invalidate] for all that belongs to the object under key, and for the object.
func (c *Cache) InvalidateParts(key string) {
	host, path := splitKey(key)
	c.remember(cdn.Purge{Scope: cdn.PurgeURL, Host: host, Target: path})
}

// Supersede says that the object under key has changed: old and latest are parts of two states of it. All of its parts
// but latest are invalidated. That is done once, not again for everybody who still has a part of before.
func (c *Cache) Supersede(key string, old, latest *Object) {
	p := c.purges
	p.order.Lock()
	defer p.order.Unlock()
	s := c.shard(old.key)
	s.mu.Lock()
	checked := old.checked
	s.mu.Unlock()
	if known, _ := p.since(old.key, old.Tags, checked); known {
		return
	}
	c.spare(latest, p.sequence()+1)
	host, path := splitKey(key)
	c.note(cdn.Purge{Scope: cdn.PurgeURL, Host: host, Target: path})
}

// spare makes o outlive the purge of a generation that is to come. Called with the order of purges held.
func (c *Cache) spare(o *Object, generation uint64) {
	s := c.shard(o.key)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.index[o.key]
	if e == nil {
		return
	}
	for _, v := range e.variants {
		if !v.is(o) {
			continue
		}
		if hard, soft := c.purges.since(v.key, v.Tags, v.checked); !hard && !soft {
			v.checked = generation
		}
	}
}
