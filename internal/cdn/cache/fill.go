package cache

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/weir-stream/weir/internal/cdn"
)

// ErrNoRoom says that an object is too large to be kept, or that all room is taken by objects in use.
var ErrNoRoom = errors.New("the cache has no room for the object")

// Fill is the getting of one key. Whoever leads it ends it with exactly one of Store, Revalidated, Fail
// and Pass; all who wait for it are told the same.
type Fill struct {
	// Reason is why the key is got.
	Reason cdn.MissReason

	cache *Cache
	key   string
	stale *Object // to be revalidated; with a reference until the fill ends
	ready chan struct{}

	waiting int  // guarded by Cache.mu
	ended   bool // guarded by Cache.mu

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
	// Err is why there is no answer. Fetch is the request that failed, if one was made.
	Err   error
	Fetch *Fetch
}

// Stale returns the object that the fill is to replace or to renew, nil if there is none. It is valid
// until the fill ends.
func (f *Fill) Stale() *Object { return f.stale }

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
	f.cache.mu.Lock()
	defer f.cache.mu.Unlock()
	if !f.ended {
		f.waiting--
	} else if o := f.outcome.Object; o != nil {
		o.Release() // it had been counted as somebody who gets it
	}
	return Outcome{}, context.Cause(ctx)
}

// Store ends the fill with a new object, which is kept if its freshness allows. All who wait read it
// while the caller fills it with [Object.FillFrom]. The error is [ErrNoRoom]; the fill has not ended
// then.
func (f *Fill) Store(h Head) (*Object, error) {
	c := f.cache
	b := &Body{cache: c, key: f.key, length: h.Length}
	n := max(h.Length, 0)
	if n > c.cfg.MaxObjectBytes || !c.reserve(n+overhead(f.key)) {
		return nil, ErrNoRoom
	}
	b.charged = n + overhead(f.key)
	o := newObject(f.key, h, b)
	f.end(Outcome{Object: o, Stored: h.Store, Fetch: h.Fetch}, func() {
		b.refs.Store(1 + int32(f.waiting)) // the filler and those who wait
		switch {
		case h.Store:
			b.refs.Add(1)
			c.insert(o)
		case h.Status < 500:
			f.dropStale() // the origin has said something newer
		}
	})
	return o, nil
}

// Revalidated ends the fill with the stale object's body under a new head, after the origin has said
// that it is unchanged (RFC 9111 §4.3.4).
func (f *Fill) Revalidated(header http.Header, fresh Freshness, fetch *Fetch) {
	c := f.cache
	old := f.stale
	o := newObject(f.key, Head{Status: old.Status, Header: header, Freshness: fresh, Fetch: fetch}, old.body)
	f.end(Outcome{Object: o, Stored: fresh.Store, Fetch: fetch}, func() {
		o.body.refs.Add(int32(f.waiting))
		if fresh.Store {
			o.body.refs.Add(1)
			c.insert(o)
		} else {
			f.dropStale()
		}
	})
}

// Fail ends the fill with an error, or with the stale object if that may be served now.
func (f *Fill) Fail(err error, fetch *Fetch, now time.Time) {
	if !f.CanServeStale(now) {
		f.end(Outcome{Err: err, Fetch: fetch}, func() {})
		return
	}
	f.end(Outcome{Object: f.stale, Stale: true, Err: err, Fetch: fetch}, func() {
		f.stale.body.refs.Add(int32(f.waiting))
		if e := f.cache.index[f.key]; e != nil && e.object == f.stale {
			e.retry = now.Add(retryTime)
		}
	})
}

// CanServeStale reports whether the stale object may be served at now because the origin fails.
func (f *Fill) CanServeStale(now time.Time) bool {
	return f.stale != nil && f.stale.UsableOnError(now)
}

// Pass ends the fill with an answer that is not shared, and makes that known for a while.
func (f *Fill) Pass(fetch *Fetch, now time.Time) {
	f.end(Outcome{Pass: true, Fetch: fetch}, func() {
		f.dropStale()
		f.cache.ghosts.put(f.key, ghost{uncacheable: true, until: now.Add(passTime)})
	})
}

func (f *Fill) dropStale() {
	if e := f.cache.index[f.key]; e != nil && e.object == f.stale {
		f.cache.remove(e)
	}
}

// end publishes the outcome, after publish has been called with the lock held.
func (f *Fill) end(out Outcome, publish func()) {
	c := f.cache
	c.mu.Lock()
	publish()
	f.outcome = out
	f.ended = true
	delete(c.fills, f.key)
	c.mu.Unlock()
	if f.stale != nil {
		f.stale.Release()
	}
	close(f.ready)
}
