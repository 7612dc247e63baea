package segment

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
)

// Ref names a record of a store that is open. Append and Recovered make them; two of the same record
// are equal, and the zero Ref names none. It holds on to a few words of memory, not to the record.
type Ref struct {
	Segment   uint32
	Offset    int64 // of the record in its segment
	MetaBytes uint32
	BodyBytes int64

	region *Region
}

// Region is a record that is pinned: its bytes stay where they are until it is released, even if the
// record is dropped. All who have acquired a record share one Region, and each releases it once.
type Region struct {
	seg      *segment
	offset   int64 // of the head
	size     int64
	bodyAt   int64 // in the file
	body     int64
	meta     int
	state    atomic.Int64 // pins, and dead
	checks   atomic.Pointer[checks]
	fallback atomic.Pointer[fallback]
}

// dead is the bit of a region's state that says that it must not be acquired any more. Its room is
// given back by whoever makes the state exactly this.
const dead = 1 << 62

// checks is what is known of the body of a record that this process has not written.
type checks struct {
	lock sync.Mutex
	sums []byte // of the blocks; nil: not read yet
	good []bool // of the blocks
	left int    // blocks that are not good yet
}

// fallback is a body in memory, where its file cannot be mapped.
type fallback struct {
	lock sync.Mutex
	body []byte // nil while nobody has pinned the record
}

func newRegion(g *segment, offset int64, l layout) *Region {
	return &Region{seg: g, offset: offset, size: l.size, bodyAt: offset + l.bodyAt, body: l.body, meta: l.meta}
}

func (g *Region) ref() Ref {
	return Ref{Segment: g.seg.head.number, Offset: g.offset, MetaBytes: uint32(g.meta), BodyBytes: g.body, region: g}
}

// Acquire pins a record and verifies its body, which takes reading it once after a restart and nothing
// after that. It returns [ErrGone] if there is no such record, and [ErrCorrupt] if it is not what was
// written; the caller then forgets the Ref, and need not Drop it.
func (s *Store) Acquire(r Ref) (*Region, error) { return s.AcquireRange(r, 0, r.BodyBytes) }

// AcquireRange is like Acquire, but verifies only the blocks that n bytes of the body from offset on
// are in. Of the other bytes nothing may be given out before [Region.Verify] has returned nil for them.
func (s *Store) AcquireRange(r Ref, offset, n int64) (*Region, error) {
	g, err := s.pinned(r)
	if err != nil {
		return nil, err
	}
	if err := g.prepare(offset, n); err != nil {
		g.Release()
		return nil, err
	}
	return g, nil
}

// pinned pins a record whose body need not be readable.
func (s *Store) pinned(r Ref) (*Region, error) {
	g := r.region
	if g == nil || g.seg.store != s {
		return nil, ErrGone
	}
	g.seg.pins.Add(1)
	if s.closed.Load() {
		s.unpin(g.seg)
		return nil, ErrClosed
	}
	if !g.pin() {
		s.unpin(g.seg)
		return nil, ErrGone
	}
	return g, nil
}

func (g *Region) pin() bool {
	for {
		pins := g.state.Load()
		if pins&dead != 0 {
			return false
		}
		if g.state.CompareAndSwap(pins, pins+1) {
			return true
		}
	}
}

// Release takes the pin back. What Bytes and File have returned must not be used any more.
func (g *Region) Release() {
	s := g.seg.store
	pins := g.state.Add(-1)
	if f := g.fallback.Load(); f != nil && pins&^dead == 0 {
		f.lock.Lock()
		if g.state.Load()&^dead == 0 { // nobody has pinned it meanwhile
			f.body = nil
		}
		f.lock.Unlock()
	}
	switch {
	case pins == dead:
		s.mu.Lock()
		s.discard(g)
		s.mu.Unlock()
	case pins < 0, pins > dead/2 && pins < dead:
		panic("segment: a Region is released more often than it was acquired")
	}
	s.unpin(g.seg)
}

// kill makes sure that the region is not acquired any more, and reports whether it could be before.
func (g *Region) kill() bool {
	pins := g.state.Or(dead)
	if pins == 0 {
		s := g.seg.store
		s.mu.Lock()
		s.discard(g)
		s.mu.Unlock()
	}
	return pins&dead == 0
}

// Drop says that a record is not needed any more. It cannot be acquired from now on, and its room is
// given back once no Region pins it. A record that is gone already is none the worse for it.
func (s *Store) Drop(r Ref) {
	if r.region != nil && r.region.seg.store == s {
		r.region.kill()
	}
}

// prepare makes the body readable, and verifies n bytes from offset on.
func (g *Region) prepare(offset, n int64) error {
	if g.seg.lost.Load() {
		return g.quarantine("sync", errors.New("its segment could not be synced"))
	}
	if err := g.Verify(offset, n); err != nil {
		return err
	}
	if g.seg.mapping.Load() != nil {
		return nil
	}
	if err := g.seg.mapFile(); err != nil {
		if !errors.Is(err, errors.ErrUnsupported) {
			g.seg.store.metrics.errors.WithLabelValues("map").Inc()
		}
		return g.load()
	}
	return nil
}

// load reads the body into memory.
func (g *Region) load() error {
	if g.fallback.Load() == nil {
		g.fallback.CompareAndSwap(nil, new(fallback))
	}
	f := g.fallback.Load()
	f.lock.Lock()
	defer f.lock.Unlock()
	if f.body != nil {
		return nil
	}
	b := make([]byte, g.body)
	if _, err := g.seg.file.ReadAt(b, g.bodyAt); err != nil {
		return g.unreadable(err)
	}
	f.body = b
	return nil
}

// Bytes returns the body. It must not be written to: that is a fault.
func (g *Region) Bytes() []byte {
	if f := g.fallback.Load(); f != nil {
		f.lock.Lock()
		defer f.lock.Unlock()
		if f.body != nil {
			return f.body
		}
	}
	return (*g.seg.mapping.Load())[g.bodyAt : g.bodyAt+g.body : g.bodyAt+g.body]
}

// File returns the descriptor of the file that the body is in, and its offset there.
func (g *Region) File() (fd uintptr, offset int64) { return g.seg.fd, g.bodyAt }

// Meta reads the meta of the record from disk.
func (g *Region) Meta() ([]byte, error) {
	_, meta, err := g.readHead()
	return meta, err
}

// Verify compares the blocks that n bytes of the body from offset on are in with their checksums, unless
// that has been done. It returns [ErrCorrupt] if one does not agree.
func (g *Region) Verify(offset, n int64) error {
	c := g.checks.Load()
	if c == nil {
		return nil
	}
	offset, n = max(offset, 0), min(n, g.body-offset)
	if n <= 0 {
		return nil
	}
	for block := offset / BlockBytes; block <= (offset+n-1)/BlockBytes; block++ {
		if err := g.verify(c, int(block)); err != nil {
			return err
		}
	}
	return nil
}

func (g *Region) verify(c *checks, block int) error {
	c.lock.Lock()
	defer c.lock.Unlock()
	if c.sums == nil {
		sums, _, err := g.readHead()
		if err != nil {
			return err
		}
		c.sums, c.good, c.left = sums, make([]bool, len(sums)/4), len(sums)/4
	}
	if c.good[block] {
		return nil
	}
	pooled := g.seg.store.buffers.Get().(*[]byte)
	defer g.seg.store.buffers.Put(pooled)
	at := int64(block) * BlockBytes
	b := (*pooled)[:min(BlockBytes, g.body-at)]
	if _, err := g.seg.file.ReadAt(b, g.bodyAt+at); err != nil {
		return g.unreadable(err)
	}
	if got, want := checksum(b), binary.LittleEndian.Uint32(c.sums[4*block:]); got != want {
		return g.quarantine("body", fmt.Errorf("block %d has checksum %08x, want %08x", block, got, want))
	}
	c.good[block] = true
	if c.left--; c.left == 0 {
		g.checks.Store(nil)
	}
	return nil
}

// readHead returns the checksums of the blocks and the meta.
func (g *Region) readHead() (sums, meta []byte, err error) {
	l := layoutOf(g.meta, g.body)
	b := make([]byte, l.metaAt+int64(l.meta))
	if _, err := g.seg.file.ReadAt(b, g.offset); err != nil {
		return nil, nil, g.unreadable(err)
	}
	h, ok := parseRecordHead(b, g.seg.head, g.offset)
	if !ok || h.body != g.body || h.meta != g.meta || checksum(b[headBytes:]) != h.tail {
		return nil, nil, g.quarantine("head", errors.New("its head has changed"))
	}
	return b[headBytes:l.metaAt:l.metaAt], b[l.metaAt:], nil
}

func (g *Region) unreadable(err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF // somebody has shortened the file
	}
	g.seg.store.metrics.errors.WithLabelValues("read").Inc()
	return g.quarantine("read", err)
}

// quarantine makes sure that the record is never given out again.
func (g *Region) quarantine(reason string, err error) error {
	if g.kill() {
		g.seg.store.metrics.quarantined.WithLabelValues(reason).Inc()
		g.seg.store.log.Debug("a record is quarantined", "segment", g.seg.head.number, "offset", g.offset, "reason", reason, "error", err)
	}
	return fmt.Errorf("segment %d, offset %d: %w: %w", g.seg.head.number, g.offset, ErrCorrupt, err)
}

// Guard calls f, which reads what Bytes has returned. If the memory cannot be read, Guard quarantines the
// record and returns [ErrCorrupt] and a [FaultError].
func (g *Region) Guard(f func()) error {
	if err := Guard(f); err != nil {
		return g.quarantine("mapping", err)
	}
	return nil
}

// Guard calls f and returns a [FaultError] if f reads memory that is mapped to a file and cannot be read.
// Without it, the signal ends the process. It covers f's own goroutine, not those that f starts, and what
// f had locked without defer stays locked.
func Guard(f func()) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		switch cause := recover().(type) {
		case nil:
		case interface {
			runtime.Error
			Addr() uintptr
		}:
			err = &FaultError{Addr: cause.Addr()}
		default:
			panic(cause)
		}
	}()
	f()
	return nil
}
