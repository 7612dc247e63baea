package cache

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weir-stream/weir/internal/cdn/cache/freshness"
	"github.com/weir-stream/weir/internal/cdn/cache/policy"
	"github.com/weir-stream/weir/internal/cdn/cache/segment"
)

const (
	// maxWaiting bounds the objects that wait to be written to disk. What is beyond stays in memory only.
	maxWaiting = 256
	// writers is the number of objects that are written at the same time.
	writers = 2
)

// errUnreadable says that an object on disk cannot be read any more.
var errUnreadable = errors.New("the object on disk cannot be read")

// tier is the disk: segment files, and who may stay in them. Bodies come when they are complete.
type tier struct {
	store  *segment.Store
	policy *policy.Policy
	queue  chan *Object

	running    context.Context //nolint:containedctx // of the writers
	stop       context.CancelFunc
	writing    sync.Mutex  // held by Run
	gone       atomic.Bool // the folder is another's: its records are not dropped
	registered registrations
	closed     bool // guarded by the cache's attaching

	squeeze sync.Mutex
	ballast policy.Node // of no object
	laid    bool        // ballast is in policy
}

// record is the head of an object as it is written to disk.
type record struct {
	Key        string
	Variant    string `json:",omitempty"`
	Status     int
	Header     http.Header
	Freshness  freshness.Freshness
	Tags       []string `json:",omitempty"`
	Generation uint64
}

// takeOver puts an object that was found on disk into the index, if it can still be of use.
func (c *Cache) takeOver(t *tier, ref segment.Ref, r record) bool {
	now := c.now()
	if r.Generation < c.purges.forgotten() || r.Freshness.Received.After(now.Add(time.Minute)) {
		return false
	}
	b := c.diskBody(t, r.Key, ref)
	o := newObject(r.Key, Head{Status: r.Status, Header: r.Header, Freshness: r.Freshness, Tags: r.Tags}, b)
	o.variant, o.stored, o.checked = r.Variant, true, r.Generation
	checked := c.purges.sequence()
	hard, soft := c.purges.since(r.Key, r.Tags, r.Generation)
	if hard {
		return false
	}
	if soft {
		o.soften(o.Received)
	}
	o.checked = checked
	validator := o.ETag != "" || !o.LastModified.IsZero()
	if !validator && !o.freshness().UsableOnError(now, freshness.RequestControl{}) && !o.Fresh(now) {
		return false
	}
	if !t.policy.Insert(&b.node, c.evict) {
		return false
	}
	b.refs.Store(1)
	s := c.shard(r.Key)
	s.mu.Lock()
	if v := s.newer(o); v != nil { // it has come while the folder was another's
		backup := v.Received.Equal(o.Received) && v.backup == nil && v.body.complete.Load() && v.body.length == b.length
		if backup {
			v.backup = b
		}
		s.mu.Unlock()
		if !backup {
			t.policy.Remove(&b.node)
		}
		return backup
	}
	out := s.insert(c, o)
	s.mu.Unlock()
	for _, old := range out {
		old.letGo()
	}
	return true
}

// roomOf is what a record with this body takes on disk: whole pages, the head and the meta in one of their own.
func roomOf(body int64) int64 {
	const page = 4 << 10
	return (body+page-1)/page*page + page
}

func (c *Cache) diskBody(t *tier, key string, ref segment.Ref) *Body {
	b := &Body{cache: c, key: key, length: ref.BodyBytes, size: ref.BodyBytes, done: true, policy: t.policy, tier: t, record: &ref}
	b.node = policy.Node{Hash: c.hash(key), Group: c.group(key), Size: roomOf(ref.BodyBytes), Value: b}
	b.complete.Store(true)
	return b
}

// Run writes objects to disk until ctx ends.
func (c *Cache) Run(ctx context.Context) error {
	for {
		if t := c.disk.Load(); t != nil {
			if err := c.runTier(ctx, t); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-c.attached:
		}
	}
}

// runTier writes objects to t, and copies some to memory, until ctx ends or the folder is let go.
func (c *Cache) runTier(ctx context.Context, t *tier) error {
	t.writing.Lock()
	defer t.writing.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(t.running, cancel)()
	var parts sync.WaitGroup
	for range writers {
		parts.Go(func() {
			for {
				select {
				case o := <-t.queue:
					c.write(t, o)
				case <-ctx.Done():
					return
				}
			}
		})
	}
	parts.Go(func() {
		for {
			select {
			case b := <-c.copies.wanted:
				c.copyUp(t, b)
			case <-ctx.Done():
				return
			}
		}
	})
	err := t.store.Run(ctx)
	parts.Wait()
	t.drain(c) // a restart finds what had come before it
	return err
}

// drain writes what waits to be written.
func (t *tier) drain(c *Cache) {
	for {
		select {
		case o := <-t.queue:
			c.write(t, o)
		default:
			return
		}
	}
}

// Close closes the folder. Nothing may be read any more.
func (c *Cache) Close() error {
	c.attaching.Lock()
	defer c.attaching.Unlock()
	t := c.disk.Load()
	if t == nil {
		return c.purges.abandon()
	}
	if t.closed {
		return nil
	}
	t.closed = true
	t.stop()
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		for _, e := range s.index {
			for _, o := range e.variants {
				o.body.unmap()
				if o.backup != nil {
					o.backup.unmap()
				}
			}
		}
		s.mu.Unlock()
	}
	return errors.Join(t.store.Close(), c.purges.log.close())
}

// keep sees to it that an object which has come is written, if it is worth that.
func (c *Cache) keep(o *Object) {
	t := c.disk.Load()
	if t == nil || o.live || !o.stored || o.body.onDisk() || !o.body.complete.Load() || o.TTL(c.now()) < c.cfg.MinDiskTTL {
		return
	}
	o.body.refs.Add(1) // the caller has one
	select {
	case t.queue <- o:
		if t.gone.Load() {
			t.drain(c) // nobody else would
		}
	default:
		c.metrics.unwritten.WithLabelValues("busy").Inc()
		o.body.release()
	}
}

// write writes an object to disk. It is in memory and has a reference, which is given back.
func (c *Cache) write(t *tier, o *Object) {
	defer o.body.release() // of the object that was queued
	if t.gone.Load() {
		return
	}
	s := c.shard(o.key)
	s.mu.Lock()
	o = s.find(o.body) // it may have got a new head
	if o == nil || o.backup != nil || o.body.onDisk() {
		s.mu.Unlock()
		return // purged, replaced or evicted meanwhile
	}
	generation := o.checked
	fresh := o.freshness() // what it is held against next time are later purges
	s.mu.Unlock()
	meta, err := json.Marshal(record{
		Key: o.key, Variant: o.variant, Status: o.Status, Header: o.Header, Freshness: fresh, Tags: o.Tags, Generation: generation,
	})
	if err != nil {
		c.metrics.unwritten.WithLabelValues("error").Inc()
		return
	}
	// Room first: what the policy gives up is dropped from the files.
	b := c.diskBody(t, o.key, segment.Ref{BodyBytes: o.Length()})
	if !t.policy.Insert(&b.node, c.evict) {
		c.metrics.unwritten.WithLabelValues("full").Inc()
		return
	}
	ref, err := t.append(c, meta, o.body.chunks)
	if err != nil {
		t.policy.Remove(&b.node)
		c.metrics.unwritten.WithLabelValues("error").Inc()
		return
	}
	b.record = &ref
	region, err := t.store.Acquire(ref)
	if err != nil {
		t.policy.Remove(&b.node)
		t.store.Drop(ref)
		c.metrics.unwritten.WithLabelValues("error").Inc()
		return
	}
	b.region.Store(region)
	b.refs.Store(1)
	c.metrics.written.Inc()
	if !c.takeIn(s, o, b) {
		b.release()
	}
}

// maxSqueezes bounds how often room is made for one object on a disk that has less than it was said to have.
const maxSqueezes = 4

// append writes a record. If the disk has less room than the configuration says, or gives it back late, others make
// room: ballast takes the place of what is not there, and is taken off again bit by bit.
func (t *tier) append(c *Cache, meta []byte, body [][]byte) (segment.Ref, error) {
	size := int64(len(meta))
	for _, chunk := range body {
		size += int64(len(chunk))
	}
	for tries := 0; ; tries++ {
		ref, err := t.store.Append(meta, body...)
		t.squeeze.Lock()
		switch {
		case err == nil:
			t.weigh(c, t.ballast.Size-max(roomOf(size)/16, 1))
		case errors.Is(err, segment.ErrNoSpace) && tries < maxSqueezes:
			t.weigh(c, t.ballast.Size+2*roomOf(size))
		}
		t.squeeze.Unlock()
		if err == nil || !errors.Is(err, segment.ErrNoSpace) || tries == maxSqueezes {
			return ref, err
		}
	}
}

// weigh gives the ballast a size, for which objects go if need be. Called with squeeze held.
func (t *tier) weigh(c *Cache, size int64) {
	size = max(size, 1)
	if !t.laid {
		if size <= 1 {
			return
		}
		t.ballast.Size = size
		t.laid = t.policy.Insert(&t.ballast, c.evict)
		return
	}
	t.policy.Resize(&t.ballast, size, c.evict)
}

// takeIn makes b the body of an object in the index, or, if the object is small, its backup. It is false if
// the object is no longer there.
func (c *Cache) takeIn(s *shard, o *Object, b *Body) bool {
	s.mu.Lock()
	if o = s.find(o.body); o == nil || o.backup != nil { // gone, or another writer was first
		s.mu.Unlock()
		return false
	}
	if o.Length() <= c.cfg.SmallBytes {
		o.backup = b
		s.mu.Unlock()
		return true
	}
	e := s.index[o.key]
	e.replace(o, o.on(b))
	s.mu.Unlock()
	o.body.release() // the index's
	return true
}

func (b *Body) onDisk() bool { return b.record != nil }

// isLost reports whether the body is of no use to anybody who does not read it already.
func (b *Body) isLost() bool { return b.lost.Load() || b.onDisk() && b.tier.gone.Load() }

// atHand reports whether the body can be read without looking at the disk's checksums first.
func (b *Body) atHand() bool { return !b.onDisk() || b.region.Load() != nil }

// open makes the body ready to be read, when it is used first after a restart: the disk's checksums are
// looked at then.
func (b *Body) open() error {
	region, err := b.tier.store.Acquire(*b.record)
	if err != nil {
		return err
	}
	if !b.region.CompareAndSwap(nil, region) {
		region.Release() // somebody else was first
	}
	return nil
}

// mapped returns the bytes of a body on disk.
func (b *Body) mapped() []byte {
	if region := b.region.Load(); region != nil {
		return region.Bytes()
	}
	return nil
}

// discard gives back what a body that nobody refers to has on disk.
func (b *Body) discard() {
	if !b.onDisk() {
		return
	}
	b.unmap()
	if !b.tier.gone.Load() {
		b.tier.store.Drop(*b.record)
	}
}

// unmap ends the reading of a body on disk.
func (b *Body) unmap() {
	if region := b.region.Swap(nil); region != nil {
		region.Release()
	}
}
