package segment

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"syscall"
	"time"
)

// Append writes a record whose body is the pieces one after the other. Any number of goroutines may
// append at once.
//
// It returns [ErrNoSpace] if the record would exceed the capacity, [ErrTooLarge] if it never fits, and
// [ErrDisk] if it could not be written or the disk has failed a moment ago. A record that was not
// written leaves nothing behind.
func (s *Store) Append(meta []byte, body ...[]byte) (Ref, error) {
	var n int64
	for _, piece := range body {
		n += int64(len(piece))
	}
	if len(meta) > MaxMetaBytes || n > MaxBodyBytes {
		return Ref{}, fmt.Errorf("append: %w: %d bytes of meta and %d of body, at most %d and %d", ErrTooLarge, len(meta), n, MaxMetaBytes, MaxBodyBytes)
	}
	l := layoutOf(len(meta), n)
	if most := s.segmentBytes - pageBytes; l.size > most {
		return Ref{}, fmt.Errorf("append: %w: it takes %d bytes, a segment has %d", ErrTooLarge, l.size, most)
	}
	a, err := s.reserve(l)
	if err != nil {
		return Ref{}, fmt.Errorf("append: %w", err)
	}
	err = s.write(a, meta, body)
	if s.settle(a, err); err != nil {
		return Ref{}, fmt.Errorf("append: %w: %w", ErrDisk, err)
	}
	return a.region.ref(), nil
}

// appending is a record being written.
type appending struct {
	region   *Region
	layout   layout
	sequence uint64
	probe    bool // finds out whether a failed disk works again
}

// reserve finds room for a record.
func (s *Store) reserve(l layout) (appending, error) {
	for {
		s.mu.Lock()
		if err := s.admit(l.size); err != nil {
			s.mu.Unlock()
			return appending{}, err
		}
		a, ok := s.place(l)
		s.mu.Unlock()
		if ok {
			for more := true; more && s.behind(); { // the background does not keep up
				more = s.reclaim()
			}
			return a, nil
		}
		if err := s.grow(l.size); err != nil {
			return appending{}, err
		}
	}
}

// behind reports whether dropped records have to be given back before more is written: too many wait for
// it, or the disk has no room but theirs.
func (s *Store) behind() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reclaiming > s.maxReclaiming || s.limit < s.capacity && s.reclaiming > 0
}

// admit says whether size bytes may be written now. Called with mu held.
func (s *Store) admit(size int64) error {
	if s.closed.Load() {
		return ErrClosed
	}
	now := time.Now()
	if t := &s.trouble; t.err != nil && (t.probing || now.Before(t.retryAt)) {
		s.metrics.refused.WithLabelValues("back-off").Inc()
		return fmt.Errorf("%w a moment ago: %w", ErrDisk, t.err)
	}
	if s.limit < s.capacity && !now.Before(s.raiseAt) {
		s.limit = min(s.limit+max(s.capacity/raiseFraction, size), s.capacity)
		s.raiseAt = now.Add(raiseInterval)
	}
	switch {
	case size > s.capacity:
		return fmt.Errorf("%w: it takes %d bytes, the capacity is %d", ErrTooLarge, size, s.capacity)
	case size > s.limit: // dropping everything would not help
		s.metrics.refused.WithLabelValues("capacity").Inc()
		return fmt.Errorf("%w: %d bytes asked for, %d can be had: %w", ErrDisk, size, s.limit, syscall.ENOSPC)
	case s.used+size > s.limit:
		s.metrics.refused.WithLabelValues("capacity").Inc()
		return fmt.Errorf("%w: %d bytes asked for, %d of %d used", ErrNoSpace, size, s.used, s.limit)
	}
	return nil
}

// place takes room in the active segment. Called with mu held.
func (s *Store) place(l layout) (appending, bool) {
	g := s.active
	if g == nil {
		return appending{}, false
	}
	offset, ok := g.place(l.size)
	if !ok {
		return appending{}, false
	}
	g.holds++
	g.writers++
	g.dirty = true
	s.used += l.size
	s.sequence++
	s.busy++
	a := appending{region: newRegion(g, offset, l), layout: l, sequence: s.sequence}
	if s.trouble.err != nil {
		a.probe, s.trouble.probing = true, true
	}
	return a, true
}

// grow makes a segment active that has room for size bytes.
func (s *Store) grow(size int64) error {
	s.growing.Lock()
	defer s.growing.Unlock()
	s.mu.Lock()
	if err := s.admit(size); err != nil {
		s.mu.Unlock()
		return err
	}
	if g := s.active; g != nil {
		if g.free.fits(g.cursor, size) >= 0 {
			s.mu.Unlock()
			return nil // another Append has done it
		}
		s.active = nil
		s.syncLater(g)
		s.retire(g)
	}
	if g := s.holey(size); g != nil {
		g.cursor, s.active = 0, g
		s.mu.Unlock()
		return nil
	}
	number := s.number
	s.number++
	s.busy++
	s.mu.Unlock()

	g, err := s.create(number)

	s.mu.Lock()
	defer s.mu.Unlock()
	s.end()
	if err != nil {
		s.failed("create", err)
		return fmt.Errorf("%w: create %s: %w", ErrDisk, fileName(s.dir, number), err)
	}
	s.segments[number], s.active = g, g
	s.open++
	return nil
}

// holey returns the segment with the most room, if there are as many files as there should be. Called
// with mu held.
func (s *Store) holey(size int64) *segment {
	if len(s.segments) < s.maxFiles {
		return nil
	}
	var best *segment
	for _, g := range s.segments {
		if g.room >= g.head.size/4 && !g.lost.Load() && (best == nil || g.room > best.room) && g.free.fits(0, size) >= 0 {
			best = g
		}
	}
	return best
}

func (s *Store) create(number uint32) (*segment, error) {
	name := fileName(s.dir, number)
	f, err := s.fs.Open(name, true)
	if err != nil {
		return nil, err
	}
	var salt [8]byte
	rand.Read(salt[:]) // it never fails
	head := fileHead{number: number, size: s.segmentBytes, salt: binary.LittleEndian.Uint64(salt[:])}
	if err = f.Truncate(head.size); err == nil {
		_, err = f.WriteAt(head.encode(), 0)
	}
	if err != nil {
		f.Close()
		s.fs.Remove(name) //nolint:errcheck // what stays has no whole head, or no record
		return nil, err
	}
	g := s.newSegment(f, head)
	g.giveBack(run{pageBytes, head.size - pageBytes})
	return g, nil
}

func (s *Store) newSegment(f File, head fileHead) *segment {
	return &segment{store: s, head: head, file: f, fd: f.Fd()}
}

// write writes a record: first the body, then the page that its head is on.
func (s *Store) write(a appending, meta []byte, body [][]byte) error {
	l, g := a.layout, a.region.seg
	whole := l.bodyAt
	small := l.body < BlockBytes
	if small {
		whole += l.body
	}
	pooled := s.buffers.Get().(*[]byte)
	defer s.buffers.Put(pooled)
	b := *pooled
	if whole > maxPooled {
		b = make([]byte, whole)
	}
	b = b[:whole]
	clear(b[l.metaAt+int64(l.meta) : l.bodyAt]) // what fills the page up is not of another record
	blockChecksums(b[headBytes:l.metaAt], body)
	copy(b[l.metaAt:], meta)
	if small {
		rest := b[l.bodyAt:]
		for _, piece := range body {
			rest = rest[copy(rest, piece):]
		}
	}
	recordHead{
		sequence: a.sequence, offset: a.region.offset, body: l.body, meta: l.meta,
		tail: checksum(b[headBytes : l.metaAt+int64(l.meta)]),
	}.encode(b, g.head)

	at := a.region.offset + l.bodyAt
	if small {
		at = a.region.offset + pageBytes
		if whole > pageBytes {
			body = [][]byte{b[pageBytes:]}
			b = b[:pageBytes]
		} else {
			body = nil
		}
	}
	for _, piece := range body {
		if _, err := g.file.WriteAt(piece, at); err != nil {
			return err
		}
		at += int64(len(piece))
	}
	_, err := g.file.WriteAt(b, a.region.offset)
	return err
}

// settle ends the writing of a record.
func (s *Store) settle(a appending, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := a.region.seg
	g.writers--
	if a.probe {
		s.trouble.probing = false
	}
	if err != nil {
		a.region.state.Store(dead)
		s.discard(a.region)
		s.failed("write", err)
	} else {
		s.metrics.appended.Inc()
		s.metrics.bytes.Add(float64(a.layout.size))
		if s.trouble.err != nil {
			s.trouble = trouble{}
			s.log.Info("the disk of the cache works again", "dir", s.dir)
		}
	}
	s.syncLater(g)
	s.end()
}
