package segment

import (
	"context"
	"errors"
	"slices"
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
	n, g := 1, s.queue[0].seg
	hole := run{s.queue[0].offset, s.queue[0].size}
	// What was written together is often dropped together.
	for n < len(s.queue) && s.queue[n].seg == g && s.queue[n].offset == hole.end() && hole.n < MaxBodyBytes {
		hole.n += s.queue[n].size
		n++
	}
	dropped := slices.Clone(s.queue[:n])
	clear(s.queue[:n])
	if s.queue = s.queue[n:]; len(s.queue) == 0 {
		s.queue = nil
	}
	s.reclaiming -= hole.n
	if s.retire(g); !g.gone { // else it goes with the file
		s.punch(g, hole, dropped)
	}
	return true
}

// punch gives a range of g back, in which nothing is but what was dropped. Called with mu held, which it
// gives up for a while.
func (s *Store) punch(g *segment, hole run, dropped []*Region) {
	g.holds++
	s.busy++
	err := errors.ErrUnsupported
	unable := s.noPunch
	s.mu.Unlock()
	if !unable {
		err = g.file.Punch(hole.offset, hole.n)
	}
	if err != nil {
		for _, r := range dropped { // at least they are not found again
			g.file.WriteAt(make([]byte, headBytes), r.offset) //nolint:errcheck // it is tried again, or was found wrong anyway
		}
	}
	s.mu.Lock()
	s.end()
	g.holds--
	if err == nil {
		g.giveBack(hole)
	} else {
		s.used += hole.n
		g.wasted += hole.n
	}
	switch {
	case err == nil:
	case errors.Is(err, errors.ErrUnsupported):
		s.noPunch = true
		if g == s.active && g.holds == 0 {
			s.active = nil // only a file as a whole can be given back
		}
	default:
		s.metrics.errors.WithLabelValues("punch").Inc()
		s.stuck = append(s.stuck, dropped...)
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
	s.busy++
	s.mu.Unlock()
	err := errors.Join(g.close(), s.fs.Remove(fileName(s.dir, g.head.number)))
	s.mu.Lock()
	s.end()
	g.closed = true
	s.open--
	if err != nil {
		s.metrics.errors.WithLabelValues("unlink").Inc()
	}
}

// retry puts what could not be given back on its way once more.
func (s *Store) retry() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.stuck {
		if g.seg.gone {
			continue
		}
		g.seg.wasted -= g.size
		s.used -= g.size
		s.enqueue(g)
	}
	s.stuck = nil
}

// background works whenever it is woken, until ctx ends.
func (s *Store) background(ctx context.Context, work func() bool, woken <-chan struct{}) {
	ticker := time.NewTicker(stuckInterval)
	defer ticker.Stop()
	for {
		for more := true; more && ctx.Err() == nil; {
			more = work()
		}
		select {
		case <-ctx.Done():
			return
		case <-woken:
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
	s.busy++
	s.mu.Unlock()
	err := g.file.Sync()
	if err != nil {
		// What the page cache holds of the segment is not what the disk holds, and the kernel may drop
		// it whenever it wants to; it does not try to write it again.
		g.lost.Store(true)
	}
	s.mu.Lock()
	s.end()
	g.holds--
	if err != nil {
		s.failed("sync", err)
		if g == s.active { // it was made so again meanwhile
			s.active = nil
		}
	}
	s.retire(g)
	return true
}
