package segment

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	// DefaultSegmentBytes is the size of a segment file unless the settings say otherwise.
	DefaultSegmentBytes = 256 << 20
	// maxReclaiming is how many dropped bytes may wait to be given back before an Append has to do it; no
	// more than a fraction of the capacity, either.
	maxReclaiming      = 64 << 20
	reclaimingFraction = 8

	maxPooled  = 2 * BlockBytes
	minBackOff = time.Second
	maxBackOff = time.Minute
	// raiseInterval is how often a capacity that was lowered because the disk was full is raised again,
	// each time by a 32nd of what was configured.
	raiseInterval = time.Minute
	raiseFraction = 32
)

// Settings are what a Store needs.
type Settings struct {
	// Dir is the folder, made if it is not there. Nobody else puts anything into it.
	Dir string
	// CapacityBytes is how much disk records may take. They take whole pages of 4 KiB.
	CapacityBytes int64
	// SegmentBytes is the size of a file; 0 is [DefaultSegmentBytes]. A record has to fit into one. Files
	// of another size that are there already are used as they are.
	SegmentBytes int64
	Log          *slog.Logger          // nil: silent
	Registerer   prometheus.Registerer // nil: no metrics
	FS           FS                    // nil: [OS]
}

// Validate says what is wrong with the settings.
func (s Settings) Validate() error {
	switch {
	case s.Dir == "":
		return errors.New("dir is empty, want a folder")
	case s.CapacityBytes <= 0:
		return fmt.Errorf("capacity is %d bytes, want more than none", s.CapacityBytes)
	case s.SegmentBytes != 0 && (s.SegmentBytes < minSegmentBytes || s.SegmentBytes > maxSegmentBytes):
		return fmt.Errorf("segments of %d bytes, want %d to %d", s.SegmentBytes, minSegmentBytes, int64(maxSegmentBytes))
	}
	return nil
}

// Store keeps records in the segment files of a folder. It is safe for concurrent use.
type Store struct {
	dir           string
	fs            FS
	log           *slog.Logger
	metrics       *metrics
	capacity      int64
	segmentBytes  int64
	maxReclaiming int64
	maxFiles      int // from which on holes are written to again

	buffers sync.Pool // *[]byte, of maxPooled bytes

	reclaimable, syncable chan struct{} // wake the background

	growing sync.Mutex  // held to put another segment in the place of the active one
	closed  atomic.Bool // changes with mu held

	mu       sync.Mutex
	idle     *sync.Cond // busy has become 0
	busy     int        // operations that need the files open
	segments map[uint32]*segment
	open     int      // files that are not closed, those of gone segments included
	active   *segment // the one that is appended to, nil if there is none
	number   uint32   // of the next segment
	sequence uint64   // of the last record

	used       int64 // bytes of records that are not given back, nor waiting for that
	reclaiming int64 // bytes of queue
	limit      int64 // the capacity, or less while the disk is fuller than that
	raiseAt    time.Time
	trouble    trouble

	queue     []*Region  // dropped, to be given back
	stuck     []*Region  // could not be given back; tried again after a while
	doomed    []*segment // nothing lives in them; to be unlinked
	unsynced  []*segment
	recovered []*Region // in the order in which they were written
	noPunch   bool      // the file system cannot punch holes
	lock      io.Closer
}

// trouble is what the store knows of a disk that fails.
type trouble struct {
	err     error // nil: none
	delay   time.Duration
	retryAt time.Time
	probing bool // an Append finds out whether it is over
}

// Open locks the folder, and finds the records that are there.
//
// It returns [ErrLocked] if the folder is in use, and [ErrVersion] if another version of the program has
// left a file there, in which case it changes nothing.
func Open(settings Settings) (*Store, error) {
	if err := settings.Validate(); err != nil {
		return nil, fmt.Errorf("segment: %w", err)
	}
	s := newStore(settings)
	lock, err := s.fs.Lock(s.dir)
	if err != nil {
		return nil, fmt.Errorf("segment: %w", err)
	}
	s.lock = lock
	err = s.recover()
	if err == nil && settings.Registerer != nil {
		err = s.metrics.register(settings.Registerer, s)
	}
	if err != nil {
		s.Close()
		return nil, fmt.Errorf("segment: open %s: %w", s.dir, err)
	}
	return s, nil
}

// newStore returns a store that knows no segments.
func newStore(settings Settings) *Store {
	s := &Store{
		dir:          settings.Dir,
		fs:           settings.FS,
		log:          settings.Log,
		metrics:      newMetrics(),
		capacity:     settings.CapacityBytes,
		limit:        settings.CapacityBytes,
		segmentBytes: align(settings.SegmentBytes, pageBytes),
		segments:     make(map[uint32]*segment),
		reclaimable:  make(chan struct{}, 1),
		syncable:     make(chan struct{}, 1),
		number:       1,
	}
	if s.fs == nil {
		s.fs = OS()
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.segmentBytes == 0 {
		s.segmentBytes = DefaultSegmentBytes
	}
	s.maxReclaiming = min(maxReclaiming, s.capacity/reclaimingFraction)
	s.maxFiles = int(2*s.capacity/s.segmentBytes) + 4
	s.idle = sync.NewCond(&s.mu)
	s.buffers.New = func() any { b := make([]byte, maxPooled); return &b }
	return s
}

// Used returns how much disk the records take that are not dropped, and those that were while a Region
// pins them.
func (s *Store) Used() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used
}

// Run works in the background until ctx ends: it gives back the room of what was dropped, and syncs
// segments that are full. It returns nil.
func (s *Store) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	wg.Go(func() { s.background(ctx, s.reclaim, s.reclaimable) })
	wg.Go(func() { s.background(ctx, s.sync, s.syncable) })
	wg.Wait()
	return nil
}

// Close gives back what was dropped, and closes the files. Regions that are not released keep theirs
// open, and the folder locked, until they are; Close then says so.
func (s *Store) Close() error {
	for s.reclaim() { // all of it
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Swap(true) {
		return nil
	}
	for s.busy > 0 {
		s.idle.Wait()
	}
	pinned := 0
	for _, g := range s.segments {
		if !s.closeIdle(g) {
			pinned++
		}
	}
	for _, g := range s.doomed {
		s.closeIdle(g)
	}
	s.queue, s.stuck, s.doomed, s.unsynced, s.recovered = nil, nil, nil, nil, nil
	if s.open == 0 {
		s.lock.Close()
	}
	if pinned > 0 {
		return fmt.Errorf("segment: close %s: %d segments are being read; they stay open until they are not", s.dir, pinned)
	}
	return nil
}

// closeIdle closes the file of g unless somebody reads it. Called with mu held.
func (s *Store) closeIdle(g *segment) bool {
	if g.closed {
		return true
	}
	if g.pins.Load() > 0 {
		return false
	}
	g.closed = true
	s.open--
	if err := g.close(); err != nil {
		s.metrics.errors.WithLabelValues("unlink").Inc()
	}
	return true
}

// unpin takes back a pin of g.
func (s *Store) unpin(g *segment) {
	if g.pins.Add(-1) > 0 || !s.closed.Load() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy == 0 && !g.closed && s.closeIdle(g) && s.open == 0 {
		s.lock.Close()
	}
}

// end ends work that needs the files open, and that busy counts. Called with mu held.
func (s *Store) end() {
	if s.busy--; s.busy == 0 {
		s.idle.Broadcast()
	}
}

// failed makes the store leave the disk alone for a while. Called with mu held.
func (s *Store) failed(operation string, err error) {
	s.metrics.errors.WithLabelValues(operation).Inc()
	now := time.Now()
	// Where next to nothing is used, it is others who have filled the disk: to drop more would not help.
	full := errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
	if full && s.limit > s.used && s.used >= s.capacity/raiseFraction {
		s.limit, s.raiseAt = s.used, now.Add(raiseInterval)
	}
	t := &s.trouble
	if t.err != nil && now.Before(t.retryAt) {
		return // one of several that had begun before
	}
	if t.err == nil {
		s.log.Warn("the disk of the cache fails; nothing is written to it for a while", "dir", s.dir, "operation", operation, "error", err)
	}
	t.err = err
	t.delay = min(max(2*t.delay, minBackOff), maxBackOff)
	t.retryAt = now.Add(t.delay)
}

// wake tells the background of work, unless it has been told.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
