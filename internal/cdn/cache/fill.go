package cache

import (
	"context"
	"errors"
	"time"

	"github.com/weir-stream/weir/internal/cdn"
	"github.com/weir-stream/weir/internal/cdn/cache/freshness"
	"github.com/weir-stream/weir/internal/cdn/cache/policy"
)

// ErrNoRoom says that an object is too large to be kept, or that all room is taken by objects in use.
var ErrNoRoom = errors.New("the cache has no room for the object")

// ErrLost says that the body of an object broke off, or outgrew the cache, before the origin said that it is unchanged.
// Who waited for that asks anew.
var ErrLost = errors.New("the object that was renewed is gone")

// Fill is the getting of one key. Whoever leads it ends it with exactly one of Store, Revalidated, Fail,
// Abandon and Pass; all who wait for it are told the same.
type Fill struct {
	// Reason is why the key is got.
	Reason cdn.MissReason
	// Since is when it was begun.
	Since time.Time

	cache *Cache
	shard *shard
	id    fillKey
	stale *Object // to be revalidated; with a reference, set aside, until the fill ends
	ready chan struct{}
	// generation is that of purges when the origin was asked: what has been purged since is not kept.
	generation uint64

	// Guarded by the shard's lock.
	waiting     int
	ended       bool
	invalidated bool // by an unsafe request: what comes is given to those who wait, and not kept

	outcome Outcome // written before ready is closed
}

// Outcome is how a fill ended.
type Outcome struct {
	// Object is to be served; who waited releases it.
	Object *Object
	// Stored says that Object is kept.
	Stored bool
	// Stale says that Object is an old one, served because of Err.
	Stale bool
	// Pass says that the answer is for one request only: who led the fill may use it, the others
	// ask the origin for themselves.
	Pass bool
	// Own says, with Pass, that the answer is not shared because of who led the fill: others ask the cache
	// again.
	Own bool
	// Err is why there is no answer. Fetch is the request that failed, if one was made.
	Err   error
	Fetch *Fetch
}

// Stale returns the object that the fill is to replace or to renew, nil if there is none. It is valid
// until the fill ends.
func (f *Fill) Stale() *Object { return f.stale }

// Done is closed when the fill has ended.
func (f *Fill) Done() <-chan struct{} { return f.ready }

// Wait waits for the fill's end. The error is the context's.
func (f *Fill) Wait(ctx context.Context) (Outcome, error) {
	select {
	case <-f.ready:
		return f.outcome, nil
	default:
	}
	select {
	case <-f.ready:
		return f.outcome, nil
	case <-ctx.Done():
	}
	f.shard.mu.Lock()
	var given *Object
	if !f.ended {
		f.waiting--
	} else {
		given = f.outcome.Object // the caller had been counted as somebody who gets it
	}
	f.shard.mu.Unlock()
	if given != nil {
		given.Release()
	}
	return Outcome{}, context.Cause(ctx)
}

// TakeStale gives the stale object to one who waits and will do so no longer; the caller releases it. It is nil if the
// fill has ended, which [Fill.Wait] then tells, or if the object may not be served now.
func (f *Fill) TakeStale(now time.Time, control freshness.RequestControl) *Object {
	f.shard.mu.Lock()
	defer f.shard.mu.Unlock()
	if f.ended || f.indexed() == nil || f.stale.body.lost.Load() || !f.stale.freshness().UsableOnError(now, control) {
		return nil
	}
	if purged, _ := f.cache.purges.hit(f.id.key, f.stale.Tags, f.stale.checked); purged {
		return nil
	}
	f.stale.body.refs.Add(1)
	f.waiting--
	return f.stale
}

// Store ends the fill with a new object, which is kept if its freshness allows. All who wait read it
// while the caller fills it with [Object.FillFrom]. The error is [ErrNoRoom]; the fill has not ended
// then.
func (f *Fill) Store(h Head) (*Object, error) {
	c := f.cache
	b := &Body{cache: c, key: f.id.key, length: h.Length, whole: h.Length > 0, policy: c.memory, windowed: h.Windowed}
	n := max(h.Length, 0)
	if n > c.cfg.MaxObjectBytes {
		return nil, ErrNoRoom
	}
	b.node = policy.Node{Hash: c.hash(b.key), Group: c.group(b.key), Size: n + overhead(b.key), Live: h.Live, Value: b}
	if !c.memory.Insert(&b.node, c.evict) {
		c.metrics.full.Inc()
		return nil, ErrNoRoom
	}
	o := newObject(b.key, h, b)
	o.checked = f.generation
	f.end(Outcome{Object: o, Fetch: h.Fetch}, func() []*Object {
		b.refs.Store(1 + int32(f.waiting)) // the filler and those who wait
		switch {
		case h.Store && f.mayKeep(o):
			f.outcome.Stored = true
			b.refs.Add(1)
			return f.shard.insert(c, o)
		case h.Status < 500:
			return f.dropStale() // the origin has said something newer
		}
		return nil
	})
	return o, nil
}

// Revalidated ends the fill with the stale object's body under a new head, after the origin has said
// that it is unchanged (RFC 9111 §4.3.4).
func (f *Fill) Revalidated(h Head) {
	c := f.cache
	h.Live = f.stale.live
	o := newObject(f.id.key, h, f.stale.body)
	o.checked = f.generation
	f.end(Outcome{Object: o, Fetch: h.Fetch}, func() []*Object {
		held := f.indexed()
		if held != nil {
			o.body = held.body // which may have gone to disk meanwhile
		}
		if o.body.isLost() {
			f.outcome = Outcome{Err: ErrLost, Fetch: h.Fetch}
			return f.dropStale()
		}
		o.body.refs.Add(int32(f.waiting))
		switch {
		case h.Own:
			return nil // what was held goes on as it was
		case !h.Store || !f.mayKeep(o):
			return f.dropStale()
		}
		f.outcome.Stored = true
		o.body.refs.Add(2) // the index, and keep
		if held != nil && held.backup != nil {
			// The record on disk has the old head: after a restart it is revalidated again.
			held.backup.refs.Add(1)
			o.backup = held.backup
		}
		return f.shard.insert(c, o)
	})
	if f.outcome.Stored {
		c.keep(o) // if it is in memory only, and has now a lifetime that is worth it
		o.body.release()
	}
}

// Fail ends the fill with an error, or with the stale object if that may be served now.
func (f *Fill) Fail(err error, fetch *Fetch, now time.Time) {
	if !f.CanServeStale(now) {
		f.end(Outcome{Err: err, Fetch: fetch}, func() []*Object { return nil })
		return
	}
	f.end(Outcome{Object: f.stale, Stale: true, Err: err, Fetch: fetch}, func() []*Object {
		if f.stale.body.lost.Load() { // since it was asked
			f.outcome = Outcome{Err: err, Fetch: fetch}
			return nil
		}
		f.stale.body.refs.Add(int32(f.waiting))
		if f.indexed() != nil {
			f.shard.index[f.id.key].retry = now.Add(retryTime)
		}
		return nil
	})
}

// Abandon ends the fill with an error that says that the object is to be got in another way: the origin has answered,
// and what is stale is over.
func (f *Fill) Abandon(err error, fetch *Fetch) {
	f.end(Outcome{Err: err, Fetch: fetch}, f.dropStale)
}

// CanServeStale reports whether the stale object may be served at now because the origin fails.
func (f *Fill) CanServeStale(now time.Time) bool {
	return f.stale != nil && !f.stale.body.lost.Load() && f.stale.freshness().UsableOnError(now, freshness.RequestControl{})
}

// Pass ends the fill with an answer that is not shared, and makes that known for a while.
func (f *Fill) Pass(fetch *Fetch, now time.Time) {
	f.end(Outcome{Pass: true, Fetch: fetch}, func() []*Object {
		out := f.dropStale()
		f.shard.ghosts.put(f.cache.hash(f.id.key), ghost{why: cdn.Uncacheable, until: now.Add(passTime)})
		return out
	})
}

// PassOwn ends the fill with an answer that is not shared because of who led the fill. What is held stays, and others
// may lead. credentials says that it was for the leader's credentials: requests that have some, as [Query.Credentials]
// tells, do not wait for one another for a while.
func (f *Fill) PassOwn(fetch *Fetch, now time.Time, credentials bool) {
	f.end(Outcome{Pass: true, Own: true, Fetch: fetch}, func() []*Object {
		if credentials {
			f.shard.ghosts.put(f.cache.hash(credentialsKey(f.id.key)), ghost{why: cdn.Uncacheable, until: now.Add(passTime)})
		}
		return nil
	})
}

// credentialsKey is under what it is remembered that requests with credentials get answers of their own.
func credentialsKey(key string) string { return key + sliceMark + "credentials" }

// mayKeep reports whether nothing has been purged that o is, since the origin was asked for it. If that was softly, o is
// stale from now on: the purge may be forgotten before o is looked up, if all other objects have been held against it.
// Called with the lock held.
func (f *Fill) mayKeep(o *Object) bool {
	if f.invalidated {
		return false
	}
	hard, soft := f.cache.purges.hit(o.key, o.Tags, f.generation)
	if soft {
		o.soften(o.Received)
	}
	return !hard
}

// indexed returns the stale object as it is in the index now, where its body may have gone to disk since the fill
// began; nil if it is not there any more. Called with the lock held.
func (f *Fill) indexed() *Object {
	e := f.shard.index[f.id.key]
	if e == nil || f.stale == nil {
		return nil
	}
	for _, o := range e.variants {
		if o.is(f.stale) {
			return o
		}
	}
	return nil
}

func (f *Fill) dropStale() []*Object {
	o := f.indexed()
	if o == nil {
		return nil
	}
	f.shard.index[f.id.key].drop(f.shard, f.id.key, o)
	return []*Object{o}
}

// end publishes the outcome, after publish has been called with the lock held. What that returns is out
// of the index and is let go.
func (f *Fill) end(out Outcome, publish func() []*Object) {
	f.shard.mu.Lock()
	f.outcome = out
	dropped := publish()
	f.ended = true
	if f.shard.fills[f.id] == f { // else a purge has come between, and a newer fill is there
		delete(f.shard.fills, f.id)
	}
	f.shard.mu.Unlock()
	close(f.ready)
	for _, o := range dropped {
		o.letGo()
	}
	if f.stale != nil {
		f.stale.body.aside.Add(-1)
		f.stale.Release()
	}
}
