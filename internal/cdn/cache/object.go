package cache

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/weir-stream/weir/internal/cdn"
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
	Freshness
	// Fetch is the request that brought the head.
	Fetch *Fetch

	key  string
	body *Body
}

// Fetch is what is known of a request to the origin.
type Fetch struct {
	Started time.Time
	// Reason is why the request was made.
	Reason cdn.MissReason
	// Status is the origin's status, 0 if there was no answer; TTFB the time to the head.
	Status int
	TTFB   time.Duration

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
	Freshness
	Fetch *Fetch
}

func newObject(key string, h Head, b *Body) *Object {
	o := &Object{
		Status: h.Status, Header: h.Header, ETag: h.Header.Get("Etag"),
		Freshness: h.Freshness, Fetch: h.Fetch, key: key, body: b,
	}
	if t, err := http.ParseTime(h.Header.Get("Last-Modified")); err == nil {
		o.LastModified = t
	}
	return o
}

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

// Release says that the caller needs the object no more.
func (o *Object) Release() { o.body.release() }

// FillFrom reads the body from r to its end. It is called once, by whoever got the object from
// [Fill.Store]. An object that breaks off is taken out of the cache; its readers get the error.
func (o *Object) FillFrom(ctx context.Context, r io.Reader) error {
	err := o.body.fill(ctx, r)
	if err != nil {
		o.body.cache.detach(o.body)
		err = fmt.Errorf("fill %q: %w", o.key, err)
	}
	o.body.release()
	return err
}
