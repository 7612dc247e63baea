package cache

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/weir-stream/weir/internal/cdn"
	"github.com/weir-stream/weir/internal/cdn/cache/freshness"
)

// Object is what an origin has answered: a head, which never changes, and a body, which may still be
// growing. Who got it from this package calls Release when done with it and its readers.
type Object struct {
	Status int
	// Header is the header to answer with; it must not be changed. The length is not in it.
	Header http.Header
	// ETag and LastModified are the validators; "" and the zero time if there are none.
	ETag         string
	LastModified time.Time
	freshness.Freshness
	// Tags are the groups that the origin has put it in (RFC 9875).
	Tags []string
	// Fetch is the request that brought the head; nil if that was before a restart.
	Fetch *Fetch
	// Rendered are places for the head as bytes, for whoever answers with it: of the whole, of a part, and of 304.
	Rendered *[3]atomic.Pointer[[]byte]

	key     string
	variant string // which of the key's variants it is
	body    *Body
	live    bool
	stored  bool // it may be kept for requests to come
	// softened is when a soft purge made it stale, in nanoseconds of Unix time; 0: never.
	softened *atomic.Int64

	// The rest is guarded by the shard's lock.

	// backup is the body on disk of an object that is in memory too.
	backup *Body
	// checked is the generation of purges up to which it is known not to be purged.
	checked uint64
}

// Fetch is what is known of a request to the origin.
type Fetch struct {
	Started time.Time
	// Reason is why the request was made.
	Reason cdn.MissReason
	// Status is the origin's status, 0 if there was no answer; TTFB the time to the head.
	Status int
	TTFB   time.Duration
	// Origin names the origin that answered, Address is where it was.
	Origin, Address string
	// Queued is how long the fetch waited for its turn before Started.
	Queued time.Duration

	duration atomic.Int64
}

// End records the time from Started to the last byte.
func (f *Fetch) End(d time.Duration) { f.duration.Store(int64(d)) }

// Duration returns the time from Started to the last byte, 0 as long as that has not come.
func (f *Fetch) Duration() time.Duration { return time.Duration(f.duration.Load()) }

// Head is what an object is made from.
type Head struct {
	Status int
	// Header is kept, not copied.
	Header http.Header
	// Length is the Content-Length, -1 if the answer has none.
	Length int64
	freshness.Freshness
	// Request is the header of the request that was answered, by which variants are told apart.
	Request http.Header
	Tags    []string
	// Live says that it is of use for a short time only, and never worth writing to disk.
	Live  bool
	Fetch *Fetch
	// Own says of a 304 that it is not shared because of who asked: what is held stays as it is.
	Own bool
	// Windowed is called when a body of unknown length has outgrown what the cache may hold: from then on the
	// slowest reader says how fast it is read. It may be nil.
	Windowed func()
}

func newObject(key string, h Head, b *Body) *Object {
	o := &Object{
		Status: h.Status, Header: h.Header, ETag: h.Header.Get("Etag"),
		Freshness: h.Freshness, Tags: h.Tags, Fetch: h.Fetch, Rendered: new([3]atomic.Pointer[[]byte]), softened: new(atomic.Int64),
		key: key, variant: freshness.VaryKey(h.Vary, h.Request), body: b, live: h.Live, stored: h.Store,
	}
	if t, err := http.ParseTime(h.Header.Get("Last-Modified")); err == nil {
		o.LastModified = t
	}
	return o
}

// on returns the object with another body that has the same bytes.
func (o *Object) on(b *Body) *Object {
	n := *o
	n.body, n.backup = b, nil
	b.heat.Store(o.body.heat.Load())
	return &n
}

// is reports whether both are one answer of the origin, the bodies of which may lie in different places.
func (o *Object) is(p *Object) bool { return o.softened == p.softened }

// freshness is Freshness, or what a soft purge has left of it.
func (o *Object) freshness() freshness.Freshness {
	if at := o.softened.Load(); at != 0 {
		return o.Expire(time.Unix(0, at))
	}
	return o.Freshness
}

// soften makes the object stale.
func (o *Object) soften(now time.Time) { o.softened.CompareAndSwap(0, now.UnixNano()) }

// Matches reports whether the object is for a request with this header (RFC 9111 §4.1).
func (o *Object) Matches(h http.Header) bool { return o.variant == freshness.VaryKey(o.Vary, h) }

// Length returns the length of the body, -1 while it is not known.
func (o *Object) Length() int64 {
	b := o.body
	if b.complete.Load() {
		return b.length
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.length
}

// Complete reports whether all of the body has come.
func (o *Object) Complete() bool { return o.body.complete.Load() }

// WaitLength waits until the length of the body is known, or never will be because it has outgrown the cache.
// The error is that which broke the body off, or the context's.
func (o *Object) WaitLength(ctx context.Context) error {
	b := o.body
	for {
		b.mu.Lock()
		if b.done || b.window || b.length >= 0 {
			defer b.mu.Unlock()
			return b.err
		}
		if b.changed == nil {
			b.changed = make(chan struct{})
		}
		changed := b.changed
		b.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Whole returns the bytes of a complete object that lie in one piece: in memory, or mapped from disk. It is
// nil if there is no such piece. They must not be changed, nor used after the object has been released.
func (o *Object) Whole() []byte {
	b := o.body
	switch {
	case !b.complete.Load():
		return nil
	case b.onDisk():
		return b.mapped()
	case len(b.chunks) == 1:
		return b.chunks[0]
	}
	return nil
}

// File returns where a complete object lies on disk, for sendfile; ok is false if it is in memory. It is
// valid until the object is released.
func (o *Object) File() (fd uintptr, offset int64, ok bool) {
	b := o.body
	if !b.complete.Load() || !b.onDisk() {
		return 0, 0, false
	}
	region := b.region.Load()
	if region == nil {
		return 0, 0, false
	}
	fd, offset = region.File()
	return fd, offset, true
}

// SetAside says that the caller, who has the object, is not going to read it: an object that outgrows the cache does
// not wait for that. The function that is returned is called before the object is released.
func (o *Object) SetAside() (end func()) {
	b := o.body
	if b.complete.Load() {
		return func() {}
	}
	b.aside.Add(1)
	b.mu.Lock()
	b.wakeFiller()
	b.mu.Unlock()
	return func() { b.aside.Add(-1) }
}

// Release says that the caller needs the object no more.
func (o *Object) Release() { o.body.release() }

// letGo gives back the references that the index had. It is called without the shard's lock.
func (o *Object) letGo() {
	if o.backup != nil {
		o.backup.release()
	}
	o.body.release()
}

// FillFrom reads the body from r to its end. It is called once, by whoever got the object from
// [Fill.Store]. An object that breaks off is taken out of the cache; its readers get the error.
func (o *Object) FillFrom(ctx context.Context, r io.Reader) error {
	c := o.body.cache
	err := o.body.fill(ctx, r)
	if err != nil {
		o.body.lost.Store(true)
		c.detach(o.body)
		err = fmt.Errorf("fill %q: %w", o.key, err)
	} else {
		c.keep(o)
	}
	o.body.release()
	return err
}
