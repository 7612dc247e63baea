package segment

import (
	"context"
	"errors"
	"time"
)

// stuckInterval is how often room is tried to be given back again when the disk has failed to.
const stuckInterval = 30 * time.Second

// discard puts a region that is dead, and that nobody pins, on the way to be given back. Called with mu
// held.
func (s *Store) discard(g *Region) {
	if s.closed.Load() {
		return // it is found again, and dropped again
	}
	g.seg.holds--
	s.used -= g.size
	s.enqueue(g)
}

func (s *Store) enqueue(g *Region) {
	s.reclaiming += g.size
	s.queue = append(s.queue, g)
	wake(s.reclaimable)
}

// reclaim gives back one piece of room, or unlinks one file, and reports whether there was any.
func (s *Store) reclaim() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Load() {
		return false
	}
	if n := len(s.doomed); n > 0 {
		g := s.doomed[n-1]
		s.doomed = s.doomed[:n-1]
		s.unlink(g)
		return true
	}
	if len(s.queue) == 0 {
		return false
	}
	first := s.queue[0]
	g, hole := first.seg, run{first.offset, first.size}
	taken := 1
	// What was written together is often dropped together.
	for taken < len(s.queue) && s.queue[taken].seg == g && s.queue[taken].offset == hole.end() && hole.n < MaxBodyBytes {
		hole.n += s.queue[taken].size
		taken++
	}
	clear(s.queue[:taken])
	if s.queue = s.queue[taken:]; len(s.queue) == 0 {
		s.queue = nil
	}
	s.reclaiming -= hole.n
	if s.retire(g); g.gone {
		return true // with the file
	}
	s.punch(g, hole)
	return true
}

// punch gives a range of g back. Called with mu held, which it gives up for a while.
func (s *Store) punch(g *segment, hole run) {
	g.holds++
	s.begin()
	unable := s.noPunch
	s.mu.Unlock()
	err := errors.ErrUnsupported
	if !unable {
		err = g.file.Punch(hole.offset, hole.n)
	}
	if err != nil {
		// At least it must not be found again. Nobody minds if that fails too.
		g.file.WriteAt(make([]byte, headBytes), hole.offset) //nolint:errcheck // see above
	}
	s.mu.Lock()
	s.end()
	g.holds--
	switch {
	case err == nil:
		g.giveBack(hole)
	case errors.Is(err, errors.ErrUnsupported):
		s.noPunch = true
		s.used += hole.n
		g.wasted += hole.n
		if g == s.active && g.holds == 0 {
			s.active = nil // only a file as a whole can be given back
		}
	default:
		s.metrics.errors.WithLabelValues(punching).Inc()
		s.used += hole.n
		g.wasted += hole.n
		s.stuck = append(s.stuck, &Region{seg: g, offset: hole.offset, size: hole.n})
	}
	s.retire(g)
}

// retire dooms g if nothing lives in it. Called with mu held.
func (s *Store) retire(g *segment) {
	if g.holds > 0 || g.gone || g == s.active {
		return
	}
	g.gone = true
	s.used -= g.wasted
	g.wasted = 0
	delete(s.segments, g.head.number)
	s.doomed = append(s.doomed, g)
	wake(s.reclaimable)
}

// unlink closes and removes the file of g. Called with mu held, which it gives up for a while.
func (s *Store) unlink(g *segment) {
	s.begin()
	s.mu.Unlock()
	err := s.fs.Remove(fileName(s.dir, g.head.number))
	if closing := g.close(); err == nil {
		err = closing
	}
	s.mu.Lock()
	s.end()
	g.closed = true
	s.open--
	if err != nil {
		s.metrics.errors.WithLabelValues(unlinking).Inc()
	}
}

// retry puts what could not be given back on its way once more, and reports whether there was any.
func (s *Store) retry() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	again := false
	for _, g := range s.stuck {
		if g.seg.gone {
			continue
		}
		again = true
		g.seg.wasted -= g.size
		s.used -= g.size
		s.enqueue(g)
	}
	s.stuck = nil
	return again
}

func (s *Store) reclaimer(ctx context.Context) {
	ticker := time.NewTicker(stuckInterval)
	defer ticker.Stop()
	for {
		for ctx.Err() == nil && s.reclaim() {
		}
		select {
		case <-ctx.Done():
			return
		case <-s.reclaimable:
		case <-ticker.C:
			s.retry()
		}
	}
}

// syncLater has a segment synced once it is full and all of it is written. Called with mu held.
func (s *Store) syncLater(g *segment) {
	if g.dirty && g.writers == 0 && g != s.active && !g.gone {
		g.dirty = false
		s.unsynced = append(s.unsynced, g)
		wake(s.syncable)
	}
}

// sync syncs one segment, and reports whether there was one.
func (s *Store) sync() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Load() || len(s.unsynced) == 0 {
		return false
	}
	g := s.unsynced[0]
	s.unsynced = s.unsynced[1:]
	if g.gone {
		return true
	}
	g.holds++
	s.begin()
	s.mu.Unlock()
	err := g.file.Sync()
	if err != nil {
		// What the page cache holds of the segment is not what the disk holds, and the kernel may drop
		// it whenever it wants to; it does not try to write it again.
		g.lost.Store(true)
	} else if err = s.fs.SyncDir(s.dir); err != nil {
		err = nil // the file may be missing after a power cut: so be it
		s.metrics.errors.WithLabelValues(syncing).Inc()
	}
	s.mu.Lock()
	s.end()
	g.holds--
	if err != nil {
		s.failed(syncing, err)
	}
	s.retire(g)
	return true
}

func (s *Store) syncer(ctx context.Context) {
	for {
		for ctx.Err() == nil && s.sync() {
		}
		select {
		case <-ctx.Done():
			return
		case <-s.syncable:
		}
	}
}
