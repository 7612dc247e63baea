package cache

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/weir-stream/weir/internal/cdn/cache/policy"
	"github.com/weir-stream/weir/internal/cdn/cache/segment"
)

const (
	// chunkBytes is the unit in which bodies of unknown length are held, and all are handed to readers.
	chunkBytes = 256 << 10
	// firstBytes is what a body of unknown length begins with.
	firstBytes = 4 << 10
)

// ErrLength says that an answer had fewer or more bytes than its Content-Length.
var ErrLength = errors.New("the answer is not as long as it says")

// errNoReaders ends the fill of a body that nobody reads and nobody can find any more.
var errNoReaders = errors.New("nobody reads the object any more")

// Body are the bytes of an object, in memory or on disk. In memory one goroutine fills it, in order; any
// number of readers follow. Bytes that have been published never change. What is on disk is complete.
//
// A body of unknown length that outgrows what the cache may hold becomes a window: it is taken out of
// the index, keeps only what its readers have still to read, and grows no further than the slowest of
// them lets it. It may then hold two chunks beside what it is charged for.
type Body struct {
	cache  *Cache
	key    string
	length int64 // -1: not known before the end
	whole  bool  // the length was known at the beginning: there is one chunk
	// windowed is told when the body becomes a window; it may be nil.
	windowed func()

	// policy is what the body is charged to, with node.
	policy *policy.Policy
	node   policy.Node
	heat   heat
	// isCopy says that it is one of copies, or was; copied is its place there.
	isCopy bool
	copied *list.Element
	// record is where the body is on disk, region what it is read from: nil until it is first used after
	// a restart. Nil record: the body is in memory.
	record *segment.Ref
	tier   *tier // that record is on
	region atomic.Pointer[segment.Region]

	// refs are the index, the filler and each reader; the last gives the charge back. It is
	// increased only under the shard's lock or by one who has a reference.
	refs atomic.Int32
	// aside are those of refs who are not going to read. It is taken back before the reference is.
	aside atomic.Int32
	// complete is set after the last change to anything below, so that readers of a complete body
	// need no lock.
	complete atomic.Bool
	// lost is set before the body is taken out of the index because it has broken off or become a window:
	// nobody may put it back.
	lost atomic.Bool

	mu      sync.Mutex
	chunks  [][]byte
	first   int64 // number of chunks that a window has left behind
	size    int64 // bytes published
	err     error
	done    bool
	changed chan struct{} // closed at the next change; nil if nobody waits
	window  bool
	readers map[*Reader]struct{} // of a body that is not complete
	moved   chan struct{}        // closed when a reader of a window moves; nil if the filler does not wait
}

// release gives one reference back.
func (b *Body) release() {
	if b.refs.Add(-1) == 0 {
		b.policy.Remove(&b.node)
		b.cache.copies.remove(b)
		b.discard()
		return
	}
	if !b.complete.Load() {
		b.mu.Lock()
		b.wakeFiller()
		b.mu.Unlock()
	}
}

// fill reads r to its end and publishes what it reads.
func (b *Body) fill(ctx context.Context, r io.Reader) error {
	err := b.pump(ctx, r)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause // the reader only knows that its context has ended
	}
	b.mu.Lock()
	b.done, b.err = true, err
	if err == nil {
		b.length = b.size
		b.trim()
	}
	b.readers = nil
	if b.changed != nil {
		close(b.changed)
		b.changed = nil
	}
	b.mu.Unlock()
	if err == nil && !b.window {
		b.complete.Store(true)
	}
	return err
}

func (b *Body) pump(ctx context.Context, r io.Reader) error {
	for {
		if b.size == b.length {
			return expectEnd(r)
		}
		free, err := b.free(ctx)
		if err != nil {
			return err
		}
		n, err := r.Read(free)
		if n > 0 {
			b.publish(n)
		}
		switch {
		case errors.Is(err, io.EOF) && b.length >= 0 && b.size < b.length:
			return fmt.Errorf("%w: %d of %d bytes", ErrLength, b.size, b.length)
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}

// expectEnd reads the end of an answer of which all bytes have come.
func expectEnd(r io.Reader) error {
	var one [1]byte
	for {
		n, err := r.Read(one[:])
		switch {
		case n > 0:
			return fmt.Errorf("%w: it goes on", ErrLength)
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}

// free returns room behind the published bytes. Only the filler calls it, so it may read what only the
// filler writes without the lock.
func (b *Body) free(ctx context.Context) ([]byte, error) {
	if b.whole {
		if len(b.chunks) == 0 {
			b.addChunk(make([]byte, b.length))
		}
		return b.chunks[0][b.size:], nil
	}
	for {
		at := int(b.size/chunkBytes - b.first)
		offset := int(b.size % chunkBytes)
		if at < len(b.chunks) && offset < len(b.chunks[at]) {
			return b.chunks[at][offset:], nil
		}
		have := 0 // bytes of the chunk that is to grow; 0: a new one
		if at < len(b.chunks) {
			have = len(b.chunks[at])
		}
		if b.window || !b.charge(max(firstBytes, int64(have))) {
			if !b.window {
				b.becomeWindow()
			}
			if err := b.waitForReaders(ctx); err != nil {
				return nil, err
			}
			at = int(b.size/chunkBytes - b.first)
			b.resizeChunk(at, chunkBytes)
			continue
		}
		b.resizeChunk(at, max(firstBytes, 2*have))
	}
}

// charge asks the cache for n more bytes.
func (b *Body) charge(n int64) bool {
	c := b.cache
	if b.node.Size-overhead(b.key)+n > c.cfg.MaxObjectBytes {
		return false
	}
	if !c.memory.Resize(&b.node, b.node.Size+n, c.evict) {
		c.metrics.full.Inc()
		return false
	}
	return true
}

func (b *Body) addChunk(chunk []byte) {
	b.mu.Lock()
	b.chunks = append(b.chunks, chunk)
	b.mu.Unlock()
}

// resizeChunk gives the chunk at index at the size n; readers keep the slices that they have.
func (b *Body) resizeChunk(at, n int) {
	chunk := make([]byte, n)
	b.mu.Lock()
	defer b.mu.Unlock()
	if at < len(b.chunks) {
		copy(chunk, b.chunks[at])
		b.chunks[at] = chunk
		return
	}
	b.chunks = append(b.chunks, chunk)
}

// trim gives back the room of the last chunk that was not needed. Called with mu held.
func (b *Body) trim() {
	if len(b.chunks) == 0 || b.window || b.whole {
		return
	}
	last := len(b.chunks) - 1
	need := b.size - int64(last)*chunkBytes
	spare := int64(len(b.chunks[last])) - need
	if spare <= 0 {
		return
	}
	chunk := make([]byte, need)
	copy(chunk, b.chunks[last])
	b.chunks[last] = chunk
	b.policy.Resize(&b.node, b.node.Size-spare, nil)
}

func (b *Body) publish(n int) {
	b.mu.Lock()
	b.size += int64(n)
	if b.changed != nil {
		close(b.changed)
		b.changed = nil
	}
	b.mu.Unlock()
}

// becomeWindow takes the body out of the index, after which no new reader can find it.
func (b *Body) becomeWindow() {
	b.lost.Store(true)
	b.cache.detach(b)
	b.mu.Lock()
	b.window = true
	if b.changed != nil {
		close(b.changed)
		b.changed = nil
	}
	b.mu.Unlock()
	if b.windowed != nil {
		b.windowed()
	}
}

// waitForReaders forgets the chunks that the slowest reader has left behind, and waits until there is
// room for one more.
func (b *Body) waitForReaders(ctx context.Context) error {
	for {
		b.mu.Lock()
		refs := b.refs.Load() - b.aside.Load()
		if len(b.readers) == 0 && refs <= 1 {
			b.mu.Unlock()
			return errNoReaders
		}
		slowest := b.size
		for r := range b.readers {
			slowest = min(slowest, r.offset)
		}
		if refs > int32(len(b.readers))+1 {
			slowest = min(slowest, b.first*chunkBytes) // somebody is about to open a reader
		}
		if n := slowest/chunkBytes - b.first; n > 0 {
			clear(b.chunks[:n])
			b.chunks = b.chunks[n:]
			b.first += n
		}
		// With less than a chunk and its successor nothing would move.
		if int64(len(b.chunks)) < max(2, b.node.Size/chunkBytes) {
			b.mu.Unlock()
			return nil
		}
		moved := make(chan struct{})
		b.moved = moved
		b.mu.Unlock()
		select {
		case <-moved:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// wakeFiller tells a filler that waits for readers. Called with mu held.
func (b *Body) wakeFiller() {
	if b.moved != nil {
		close(b.moved)
		b.moved = nil
	}
}
