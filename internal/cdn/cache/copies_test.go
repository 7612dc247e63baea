package cache

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-stream/weir/internal/cdn"
)

// shelf is a cache with n objects of a size on disk, of which nothing is in memory, and in which copies are made only
// when the test says so.
type shelf struct {
	*Cache
	t      *testing.T
	bodies [][]byte
}

func newShelf(t *testing.T, n, size int, capacity int64) *shelf {
	t.Helper()
	dir := t.TempDir()
	change := func(cfg *Config) { cfg.CapacityBytes, cfg.MaxObjectBytes = capacity, capacity/2 }
	c, stop := onDisk(t, dir, atNoon, change)
	s := &shelf{t: t}
	for i := range n {
		s.bodies = append(s.bodies, random(size))
		put(t, c, s.key(i), s.bodies[i], head(int64(size), time.Hour))
	}
	stop()
	cfg := DefaultConfig()
	cfg.DiskBytes, cfg.SegmentBytes = 16<<20, 4<<20
	change(&cfg)
	var err error
	if s.Cache, err = New(Settings{Config: cfg, Dir: dir, Now: atNoon}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func (s *shelf) key(i int) string { return fmt.Sprintf("/film/%d", 16*i) } // each of a group of its own

// ask asks for an object and checks it, makes the copies that are wanted, and reports whether it lay in memory.
func (s *shelf) ask(i int, now time.Time) (inMemory bool) {
	s.t.Helper()
	l := s.Get(Query{Key: s.key(i), Now: now, Probe: true})
	if l.Object == nil {
		s.t.Fatalf("%s is not there", s.key(i))
	}
	if !bytes.Equal(l.Object.Whole(), s.bodies[i]) {
		s.t.Errorf("%s has other bytes", s.key(i))
	}
	_, _, file := l.Object.File()
	l.Object.Release()
	for {
		select {
		case b := <-s.copies.wanted:
			s.copyUp(s.disk.Load(), b)
			continue
		default:
		}
		return !file
	}
}

func count(t *testing.T, c prometheus.Counter) int {
	t.Helper()
	r := prometheus.NewRegistry()
	r.MustRegister(c)
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	return int(families[0].GetMetric()[0].GetCounter().GetValue())
}

func TestWhatIsAskedForOftenGetsACopyInMemory(t *testing.T) {
	const size = 200 << 10
	s := newShelf(t, 2, size, 8<<20)
	for range copyAfter {
		if s.ask(0, noon) {
			t.Fatal("there is a copy too early")
		}
	}
	for range copyAfter - 1 {
		s.ask(1, noon)
	}
	if !s.ask(0, noon) || s.ask(1, noon.Add(2*heatTime)) {
		t.Error("what was asked for often has no copy, or what was seldom has one")
	}
	if used := s.Used(); used != s.copies.bytes() || used < size || s.Len() != 2 {
		t.Errorf("%d objects, %d bytes in memory, %d of copies", s.Len(), used, s.copies.bytes())
	}
	disk := s.DiskUsed()
	if err := s.Purge(cdn.Purge{Scope: cdn.PurgeURL, Target: s.key(0)}); err != nil {
		t.Fatal(err)
	}
	if l := s.Get(Query{Key: s.key(0), Now: noon, Probe: true}); l.Object != nil {
		t.Error("it was purged")
	}
	if s.Used() != 0 || s.copies.bytes() != 0 || s.DiskUsed() >= disk {
		t.Errorf("after the purge: %d bytes in memory, %d of copies, %d on disk", s.Used(), s.copies.bytes(), s.DiskUsed())
	}
}

// A set that is larger than the room for copies, and asked for in turn, is not copied back and forth; but what is asked
// for twice as often comes in, as does what is asked for when the others no longer are.
func TestCopiesGiveWayToWhatIsHotter(t *testing.T) {
	const size, fit = 200 << 10, 5 // in an eighth of 8 MB
	s := newShelf(t, 16, size, 8<<20)
	now := noon
	for range 100 {
		for i := range s.bodies {
			now = now.Add(10 * time.Millisecond)
			s.ask(i, now)
		}
	}
	if n := count(t, s.metrics.copied); n != fit {
		t.Errorf("%d copies are made, want the first %d", n, fit)
	}
	hot := len(s.bodies) - 1
	for range 250 {
		s.ask(hot, now)
		s.copies.refused.Store(0)
	}
	if !s.ask(hot, now) {
		t.Error("what is hottest has no copy")
	}
	now = now.Add(16 * heatTime)
	for range copyAfter {
		s.ask(hot-1, now)
	}
	if !s.ask(hot-1, now) {
		t.Error("what is asked for now has no copy")
	}
	if used := s.copies.bytes(); used > s.copies.limit || used != s.Used() {
		t.Errorf("%d bytes of copies, %d in memory, %d allowed", used, s.Used(), s.copies.limit)
	}
}

// A copy that gives way is read to its end by those who read it, and the object is there again from disk.
func TestACopyThatIsReadGivesWay(t *testing.T) {
	s := newShelf(t, 6, 200<<10, 8<<20)
	for i := range 5 {
		for range copyAfter {
			s.ask(i, noon)
		}
	}
	reader := s.Hit([]byte(s.key(0)), noon)
	before := s.Used()
	s.copyDown(reader.body)
	if s.Used() != before || !bytes.Equal(reader.Whole(), s.bodies[0]) {
		t.Error("the copy was taken from its reader")
	}
	if s.ask(0, noon) {
		t.Error("the object is still in memory")
	}
	reader.Release()
	if s.Used() >= before {
		t.Errorf("%d bytes in memory, %d before", s.Used(), before)
	}
}

// What needs the memory takes that of copies, and the objects stay on disk.
func TestCopiesAreTheFirstToGo(t *testing.T) {
	s := newShelf(t, 5, 200<<10, 8<<20)
	for i := range s.bodies {
		for range copyAfter {
			s.ask(i, noon)
		}
	}
	for i := range 40 {
		h := head(200<<10, time.Hour)
		h.Live = i%2 == 0
		put(t, s.Cache, fmt.Sprintf("/other/%d", 16*i), random(200<<10), h)
	}
	if s.Used() > s.cfg.CapacityBytes {
		t.Errorf("%d bytes in memory", s.Used())
	}
	for i := range s.bodies {
		s.ask(i, noon)
	}
}

// A copy outlives the folder, as everything does that is in memory.
func TestCopiesStayWhenTheFolderIsLetGo(t *testing.T) {
	s := newShelf(t, 1, 1000, 8<<20)
	for range copyAfter {
		s.ask(0, noon)
	}
	if err := s.LetGo(); err != nil {
		t.Fatal(err)
	}
	if !s.ask(0, noon) {
		t.Error("it is not in memory")
	}
	if err := s.Open(); err != nil {
		t.Fatal(err)
	}
	if !s.ask(0, noon) || s.Len() != 1 {
		t.Errorf("%d objects are there", s.Len())
	}
}
