package cache

import (
	"context"
	"errors"
	"io"
)

// Reader reads an object's body from one offset to another, while it grows if need be. It is for one
// goroutine.
type Reader struct {
	body   *Body
	offset int64
	end    int64 // -1: the end of the body
}

// Open returns a reader of the bytes from start up to, not including, end; end -1 is the end of the
// object. The object must not be released before the reader is closed.
func (o *Object) Open(start, end int64) *Reader {
	b := o.body
	r := &Reader{body: b, offset: start, end: end}
	if !b.complete.Load() {
		b.mu.Lock()
		if !b.done {
			if b.readers == nil {
				b.readers = make(map[*Reader]struct{})
			}
			b.readers[r] = struct{}{}
		}
		b.mu.Unlock()
	}
	return r
}

// Next returns the next bytes, at most as many as have come, and waits until there are any. The bytes
// must not be changed. The error is io.EOF after the last, the fill's error if the object broke off,
// or the context's.
func (r *Reader) Next(ctx context.Context) ([]byte, error) {
	for {
		p, wait, err := r.take()
		if wait == nil {
			return p, err
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// Waits reports whether Next would have to wait.
func (r *Reader) Waits() bool {
	b := r.body
	if b.complete.Load() {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.done && r.offset >= b.size && (r.end < 0 || r.offset < r.end)
}

// take returns the bytes or the error that are there, or else a channel that is closed when there is
// news.
func (r *Reader) take() ([]byte, <-chan struct{}, error) {
	b := r.body
	if b.complete.Load() {
		p, err := r.cut()
		return p, nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.window {
		b.wakeFiller()
	}
	p, err := r.cut()
	if !errors.Is(err, io.EOF) || b.done || r.end >= 0 && r.offset >= r.end {
		if errors.Is(err, io.EOF) && b.err != nil && (r.end < 0 || r.offset < r.end) {
			err = b.err
		}
		return p, nil, err
	}
	if b.changed == nil {
		b.changed = make(chan struct{})
	}
	return nil, b.changed, nil
}

// cut returns the next published bytes of one chunk; io.EOF if there are none. The body is complete or
// its lock is held.
func (r *Reader) cut() ([]byte, error) {
	b := r.body
	end := b.size
	if r.end >= 0 {
		end = min(end, r.end)
	}
	if r.offset >= end {
		return nil, io.EOF
	}
	if b.onDisk() {
		p := b.mapped()
		if p == nil {
			return nil, errUnreadable
		}
		p = p[r.offset:min(end, r.offset+chunkBytes):min(end, r.offset+chunkBytes)]
		r.offset += int64(len(p))
		return p, nil
	}
	if b.whole {
		to := min(end, r.offset+chunkBytes)
		p := b.chunks[0][r.offset:to:to]
		r.offset = to
		return p, nil
	}
	index := r.offset/chunkBytes - b.first
	if index < 0 {
		return nil, errNoReaders // only a reader that was opened after the window had moved
	}
	from := r.offset % chunkBytes
	to := min(end-r.offset+from, int64(len(b.chunks[index])))
	p := b.chunks[index][from:to:to]
	r.offset += int64(len(p))
	return p, nil
}

// Close ends the reading.
func (r *Reader) Close() {
	b := r.body
	if b.complete.Load() {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.readers, r)
	b.wakeFiller()
}
