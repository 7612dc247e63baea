package segment

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// The k-th write fails, for every k: what had been written stays whole, what was being written is not
// there, and the store recovers by itself.
func TestAWriteFails(t *testing.T) {
	for _, fault := range []struct {
		name  string
		cause error
		torn  bool
	}{{"ENOSPC", syscall.ENOSPC, false}, {"ENOSPC after half of it", syscall.ENOSPC, true}, {"EIO after half of it", syscall.EIO, true}} {
		t.Run(fault.name, func(t *testing.T) {
			for k := range 200 {
				if testing.Short() && k%10 != 0 {
					continue
				}
				if !t.Run(fmt.Sprint(k), func(t *testing.T) {
					dir := memoryDir(t)
					synctest.Test(t, func(t *testing.T) { writeFails(t, dir, k, fault.cause, fault.torn) })
				}) {
					return
				}
			}
		})
	}
}

func writeFails(t *testing.T, dir string, k int, cause error, torn bool) {
	fs := newFaultFS()
	fs.torn = torn
	fs.fault = func(operation string, n int) error {
		if operation == "write" && n == k {
			return &os.PathError{Op: operation, Path: "test", Err: cause}
		}
		return nil
	}
	settings := Settings{Dir: dir, CapacityBytes: 4 << 20, SegmentBytes: 512 << 10, FS: fs}
	s, err := Open(settings)
	if err != nil {
		t.Fatal(err)
	}
	stop := background(s)
	defer stop()
	random := rand.New(rand.NewPCG(1, uint64(k)))
	live := make(map[uint64]Ref)
	drop := func() {
		oldest := slices.Min(slices.Collect(maps.Keys(live)))
		s.Drop(live[oldest])
		delete(live, oldest)
	}
	failures := 0
	for seed := uint64(1); seed <= 80; seed++ {
		n := random.IntN(10_000)
		if seed%4 == 0 {
			n = BlockBytes + random.IntN(50_000)
		}
		r, err := s.Append(metaOf(seed, n), pieces(random, bodyOf(seed, n))...)
		switch {
		case err == nil:
			live[seed] = r
		case errors.Is(err, ErrNoSpace):
			drop()
			seed--
		case errors.Is(err, ErrDisk) && errors.Is(err, cause):
			failures++
			before := fs.made("write")
			if _, err := s.Append(nil); !errors.Is(err, ErrDisk) || !errors.Is(err, cause) {
				t.Fatalf("a moment after the failure: %v, want ErrDisk and its cause", err)
			}
			if fs.made("write") != before {
				t.Error("the disk is touched a moment after the failure")
			}
			time.Sleep(minBackOff)
		default:
			t.Fatal(err)
		}
		if seed%7 == 0 && len(live) > 3 {
			drop()
		}
	}
	if failures != 1 {
		t.Errorf("%d failures in %d writes, want 1", failures, fs.made("write"))
	}
	intact := func() {
		for seed, r := range live {
			if err := whole(s, r, seed, int(r.BodyBytes)); err != nil {
				t.Errorf("record %d: %v", seed, err)
			}
		}
	}
	intact()
	synctest.Wait()
	checkBooks(t, s, slices.Collect(maps.Values(live))...)
	stop()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(settings); err != nil {
		t.Fatal(err)
	}
	recovered := found(t, s)
	if len(recovered) != len(live) {
		t.Errorf("%d records are found, want %d", len(recovered), len(live))
	}
	for seed := range live {
		live[seed] = recovered[seed]
	}
	intact()
	if got := quarantined(s, "torn"); got != 0 {
		t.Errorf("%d torn pieces were left", got)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// Whatever fails for however long: no wrong byte, no lost room, and an end to it.
func TestEverythingFailsNowAndThen(t *testing.T) {
	for seed := range uint64(30) {
		dir := memoryDir(t)
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 3))
			fs := newFaultFS()
			fs.torn = seed%2 == 0
			chaos := rand.New(rand.NewPCG(seed, 4))
			fault := func(operation string, _ int) error {
				if operation != "map" && operation != "open" && chaos.IntN(15) == 0 {
					return []error{syscall.ENOSPC, syscall.EIO}[chaos.IntN(2)]
				}
				return nil
			}
			settings := Settings{Dir: dir, CapacityBytes: 2 << 20, SegmentBytes: 512 << 10, FS: fs}
			s, err := Open(settings)
			if err != nil {
				t.Fatal(err)
			}
			stop := background(s)
			defer stop()
			fs.set(fault)
			live := make(map[uint64]Ref)
			var order []uint64
			drop := func() {
				if len(order) > 0 {
					s.Drop(live[order[0]])
					delete(live, order[0])
					order = order[1:]
				}
			}
			check := func() {
				for seed, r := range live {
					if err := whole(s, r, seed, int(r.BodyBytes)); errors.Is(err, errWrong) {
						t.Errorf("record %d: %v", seed, err)
					} else if err != nil && !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrGone) {
						t.Errorf("record %d: %v", seed, err)
					}
				}
			}
			for seed := uint64(1); seed <= 300; seed++ {
				n := random.IntN(100_000)
				r, err := s.Append(metaOf(seed, n), pieces(random, bodyOf(seed, n))...)
				switch {
				case err == nil:
					live[seed] = r
					order = append(order, seed)
				case errors.Is(err, ErrNoSpace):
					drop()
				case errors.Is(err, ErrDisk):
					time.Sleep(time.Duration(random.Int64N(int64(maxBackOff))))
				default:
					t.Fatal(err)
				}
				if random.IntN(10) == 0 {
					check()
				}
			}
			fs.set(nil)
			time.Sleep(40 * raiseInterval) // the background tries again what it could not do
			synctest.Wait()
			for seed, r := range live {
				if _, err := s.Acquire(r); err != nil {
					delete(live, seed) // lost
				} else {
					r.region.Release()
				}
			}
			synctest.Wait()
			s.mu.Lock()
			if s.reclaiming != 0 || len(s.stuck) != 0 {
				t.Errorf("reclaiming %d, %d pieces stuck", s.reclaiming, len(s.stuck))
			}
			s.mu.Unlock()
			checkBooks(t, s, slices.Collect(maps.Values(live))...)
			mustAppend(t, s, 1000, 1000)
			stop()
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if s, err = Open(settings); err != nil {
				t.Fatal(err)
			}
			recovered := found(t, s)
			for seed := range live {
				if err := whole(s, recovered[seed], seed, int(recovered[seed].BodyBytes)); err != nil {
					t.Errorf("record %d after the restart: %v", seed, err)
				}
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestBackOff(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		fs := newFaultFS()
		var log bytes.Buffer
		s, err := Open(Settings{Dir: dir, CapacityBytes: 1 << 20, FS: fs, Log: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		fs.set(failing(syscall.EIO, "create"))
		want := minBackOff
		for range 10 {
			before := fs.made("create")
			if _, err := s.Append(nil); !errors.Is(err, ErrDisk) || !errors.Is(err, syscall.EIO) {
				t.Fatalf("%v, want ErrDisk and EIO", err)
			}
			if fs.made("create") != before+1 {
				t.Fatalf("the disk was not tried after %v", want)
			}
			time.Sleep(want - 1)
			if _, err := s.Append(nil); !errors.Is(err, ErrDisk) {
				t.Fatalf("%v, want ErrDisk", err)
			}
			if fs.made("create") != before+1 {
				t.Fatalf("the disk was tried before %v", want)
			}
			time.Sleep(time.Nanosecond)
			want = min(2*want, maxBackOff)
		}
		fs.set(nil)
		time.Sleep(maxBackOff)
		if _, err := s.Append(nil); err != nil {
			t.Fatalf("the disk works again: %v", err)
		}
		fs.set(failing(syscall.EIO, "write"))
		if _, err := s.Append(nil); !errors.Is(err, ErrDisk) {
			t.Fatal(err)
		}
		time.Sleep(minBackOff) // it begins anew
		fs.set(nil)
		if _, err := s.Append(nil); err != nil {
			t.Fatal(err)
		}
		if got := strings.Count(log.String(), "\n"); got != 4 {
			t.Errorf("%d lines in the log, want one per change:\n%s", got, log.String())
		}
		if got := count(s.metrics.errors.WithLabelValues("create")); got != 10 {
			t.Errorf("%d failures to create counted, want 10", got)
		}
		if got := count(s.metrics.refused.WithLabelValues("back-off")); got != 10 {
			t.Errorf("%d records counted as refused, want 10", got)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// While one Append finds out whether the disk works again, the others do not wait for it.
func TestOnlyOneProbes(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		fs := newFaultFS()
		s, err := Open(Settings{Dir: dir, CapacityBytes: 1 << 20, FS: fs})
		if err != nil {
			t.Fatal(err)
		}
		r, err := s.Append(nil, []byte("before"))
		if err != nil {
			t.Fatal(err)
		}
		fs.set(failing(syscall.EIO, "write"))
		if _, err := s.Append(nil); !errors.Is(err, ErrDisk) {
			t.Fatal(err)
		}
		time.Sleep(minBackOff)
		slow := &slowFile{File: r.region.seg.file, began: make(chan struct{}), end: make(chan struct{})}
		r.region.seg.file = slow
		fs.set(nil)
		done := make(chan error)
		go func() {
			_, err := s.Append(nil)
			done <- err
		}()
		<-slow.began
		if _, err := s.Append(nil); !errors.Is(err, ErrDisk) {
			t.Errorf("while another Append probes: %v, want ErrDisk", err)
		}
		if g, err := s.Acquire(r); err != nil || string(g.Bytes()) != "before" {
			t.Errorf("acquire while the disk fails: %v", err)
		} else {
			g.Release()
		}
		close(slow.end)
		if err := <-done; err != nil {
			t.Errorf("the probe: %v", err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

type slowFile struct {
	File
	began, end chan struct{}
}

func (f *slowFile) WriteAt(b []byte, offset int64) (int, error) {
	close(f.began)
	<-f.end
	return f.File.WriteAt(b, offset)
}

// A disk that has less room than the capacity supposes is used as far as it goes.
func TestAFullDiskLowersTheCapacityForAWhile(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		const room = 1 << 20
		fs := newFaultFS()
		s, err := Open(Settings{Dir: dir, CapacityBytes: 8 << 20, SegmentBytes: 1 << 20, FS: fs})
		if err != nil {
			t.Fatal(err)
		}
		limited := true
		fs.set(func(operation string, _ int) error {
			if operation == "write" && limited && s.used+s.reclaiming > room {
				return syscall.ENOSPC
			}
			return nil
		})
		var live []Ref
		failures := 0
		fill := func(records int) {
			for i := 0; i < records; {
				r, err := s.Append(nil, make([]byte, 30_000))
				switch {
				case err == nil:
					live = append(live, r)
					i++
				case errors.Is(err, ErrNoSpace):
					s.Drop(live[0])
					live = live[1:]
				case errors.Is(err, ErrDisk):
					failures++
					time.Sleep(minBackOff)
				default:
					t.Fatal(err)
				}
			}
		}
		fill(500)
		if failures != 1 || s.Used() < room*9/10 {
			t.Errorf("%d failures, %d bytes used of %d", failures, s.Used(), room)
		}
		failures = 0
		for range 10 {
			time.Sleep(raiseInterval)
			fill(20)
		}
		if failures == 0 || failures > 20 {
			t.Errorf("%d failures in 10 minutes, want about one a minute", failures)
		}
		limited = false
		for range raiseFraction + 1 {
			time.Sleep(raiseInterval)
			fill(20)
		}
		if s.limit != s.capacity {
			t.Errorf("capacity is %d, want %d again", s.limit, s.capacity)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestADiskThatIsFullOfOtherThings(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		fs := newFaultFS()
		s, err := Open(Settings{Dir: dir, CapacityBytes: 8 << 20, FS: fs})
		if err != nil {
			t.Fatal(err)
		}
		fs.set(failing(syscall.ENOSPC, "create", "write"))
		for range 20 {
			if _, err := s.Append(nil); !errors.Is(err, ErrDisk) { // ErrNoSpace would make the caller drop
				t.Fatalf("%v, want ErrDisk", err)
			}
			time.Sleep(7 * time.Second)
		}
		if got := count(s.metrics.errors.WithLabelValues("create")); got > 8 {
			t.Errorf("the disk was tried %d times in 140 s", got)
		}
		fs.set(nil)
		time.Sleep(2 * raiseInterval)
		if _, err := s.Append(nil); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// What could not be synced may vanish from the page cache, so it must not be given out.
func TestASegmentThatCannotBeSyncedIsLost(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		fs := newFaultFS()
		s, err := Open(Settings{Dir: dir, CapacityBytes: 8 << 20, SegmentBytes: 512 << 10, FS: fs})
		if err != nil {
			t.Fatal(err)
		}
		syncAll := func() {
			for s.sync() {
			}
			reclaimAll(s)
		}
		fs.set(failing(syscall.EIO, "sync"))
		lost := []Ref{mustAppend(t, s, 1, 200_000), mustAppend(t, s, 2, 200_000)}
		pinned, err := s.Acquire(lost[1])
		if err != nil {
			t.Fatal(err)
		}
		kept := mustAppend(t, s, 3, 200_000) // in the next segment
		syncAll()
		for _, r := range lost {
			if _, err := s.Acquire(r); !errors.Is(err, ErrCorrupt) {
				t.Errorf("%v, want ErrCorrupt", err)
			}
			if _, err := s.Acquire(r); !errors.Is(err, ErrGone) {
				t.Errorf("%v, want ErrGone", err)
			}
		}
		pinned.Release()
		reclaimAll(s)
		if got := quarantined(s, "sync"); got != 2 {
			t.Errorf("%d records counted as quarantined, want 2", got)
		}
		if err := whole(s, kept, 3, 200_000); err != nil {
			t.Error(err)
		}
		if _, err := s.Append(nil); !errors.Is(err, ErrDisk) {
			t.Errorf("a moment after the failure: %v, want ErrDisk", err)
		}
		fs.set(nil)
		time.Sleep(minBackOff)
		mustAppend(t, s, 4, 200_000)
		mustAppend(t, s, 5, 200_000)
		syncAll()
		if got := fs.made("sync"); got != 2 {
			t.Errorf("%d segments were synced, want 2", got)
		}
		if got := len(files(t, dir)); got != 2 {
			t.Errorf("%d files, want 2: the lost one is unlinked", got)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// The room of a record whose hole cannot be punched stays counted, and the record stays dead.
func TestAHoleCannotBePunched(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		fs := newFaultFS()
		settings := Settings{Dir: dir, CapacityBytes: 8 << 20, FS: fs}
		s, err := Open(settings)
		if err != nil {
			t.Fatal(err)
		}
		stop := background(s)
		defer stop()
		r := mustAppend(t, s, 1, 200_000)
		kept := mustAppend(t, s, 2, 200_000)
		fs.set(failing(syscall.EIO, "punch"))
		s.Drop(r)
		synctest.Wait()
		if want := r.region.size + kept.region.size; s.Used() != want {
			t.Errorf("used %d, want %d", s.Used(), want)
		}
		fs.set(nil)
		time.Sleep(stuckInterval)
		synctest.Wait()
		checkBooks(t, s, kept)
		fs.set(failing(syscall.EIO, "punch"))
		beside := mustAppend(t, s, 3, 200_000)
		stop()
		s.Drop(kept)
		s.Drop(beside) // both at once
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if s, err = Open(settings); err != nil {
			t.Fatal(err)
		}
		if got := found(t, s); len(got) != 0 {
			t.Errorf("%d dropped records are found", len(got))
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestARecordThatCannotBeReadIsQuarantined(t *testing.T) {
	fs := newFaultFS()
	settings := Settings{Dir: t.TempDir(), CapacityBytes: 8 << 20, FS: fs}
	s := open(t, settings)
	mustAppend(t, s, 1, 200_000)
	mustAppend(t, s, 2, 200_000)
	mustClose(t, s)
	s = open(t, settings)
	records := found(t, s)
	fs.set(failing(syscall.EIO, "read"))
	if _, err := s.Acquire(records[1]); !errors.Is(err, ErrCorrupt) || !errors.Is(err, syscall.EIO) {
		t.Errorf("%v, want ErrCorrupt and EIO", err)
	}
	fs.set(nil)
	if _, err := s.Acquire(records[1]); !errors.Is(err, ErrGone) {
		t.Errorf("%v, want ErrGone", err)
	}
	if err := whole(s, records[2], 2, 200_000); err != nil {
		t.Error(err)
	}
	if quarantined(s, "read") != 1 || count(s.metrics.errors.WithLabelValues("read")) != 1 {
		t.Error("the record is not counted")
	}
	reclaimAll(s)
	checkBooks(t, s, records[2])
}

// A disk on which nothing can be read does not keep the store from being opened.
func TestADiskThatCannotBeReadWhenOpened(t *testing.T) {
	fs := newFaultFS()
	settings := Settings{Dir: t.TempDir(), CapacityBytes: 8 << 20, SegmentBytes: 1 << 20, FS: fs}
	s := open(t, settings)
	for i := range uint64(20) {
		mustAppend(t, s, i, 200_000)
	}
	mustClose(t, s)
	fs.set(func(operation string, n int) error {
		if operation == "read" && n > 10 {
			return syscall.EIO
		}
		return nil
	})
	s = open(t, settings)
	if got := fs.made("read"); got > 10+5*(maxUnreadable+1) {
		t.Errorf("%d reads of a disk that cannot be read", got)
	}
	fs.set(nil)
	reclaimAll(s)
	checkBooks(t, s, slices.Collect(maps.Values(found(t, s)))...)
	mustAppend(t, s, 100, 200_000)
}

// Only the blocks that are asked for are read and verified.
func TestARangeIsVerifiedByBlocks(t *testing.T) {
	fs := newFaultFS()
	settings := Settings{Dir: t.TempDir(), CapacityBytes: 8 << 20, FS: fs}
	s := open(t, settings)
	r := mustAppend(t, s, 1, 10*BlockBytes)
	flip(t, files(t, settings.Dir)[0], r.region.bodyAt+7*BlockBytes+5, 3)
	mustClose(t, s)
	s = open(t, settings)
	r = found(t, s)[1]
	before := fs.made("read")
	reads := func(want int) {
		t.Helper()
		if got := fs.made("read") - before; got != want {
			t.Errorf("%d reads so far, want %d", got, want)
		}
	}
	g, err := s.AcquireRange(r, BlockBytes-1, 2)
	if err != nil {
		t.Fatal(err)
	}
	reads(3) // the head and two blocks
	if err := g.Verify(0, 2*BlockBytes); err != nil {
		t.Fatal(err)
	}
	reads(3)
	for _, empty := range [][2]int64{{0, 0}, {-5, 3}, {10 * BlockBytes, 5}, {5, -1}} {
		if err := g.Verify(empty[0], empty[1]); err != nil {
			t.Errorf("%v: %v", empty, err)
		}
	}
	reads(3)
	if err := g.Verify(8*BlockBytes, 1<<40); err != nil {
		t.Fatal(err)
	}
	reads(5)
	if err := g.Verify(7*BlockBytes, 1); !errors.Is(err, ErrCorrupt) {
		t.Errorf("%v, want ErrCorrupt", err)
	}
	if !bytes.Equal(g.Bytes()[:2*BlockBytes], bodyOf(1, 2*BlockBytes)) {
		t.Error("what was verified has changed")
	}
	g.Release()
	if _, err := s.AcquireRange(r, 0, 1); !errors.Is(err, ErrGone) {
		t.Errorf("%v, want ErrGone", err)
	}
	if got := quarantined(s, "body"); got != 1 {
		t.Errorf("%d records counted as quarantined, want 1", got)
	}
}

func TestAFileIsShortenedUnderItsMapping(t *testing.T) {
	settings := Settings{Dir: t.TempDir(), CapacityBytes: 8 << 20}
	s := open(t, settings)
	r := mustAppend(t, s, 1, 500_000)
	g, err := s.Acquire(r)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Release()
	var read int
	count := func() {
		for _, b := range g.Bytes() {
			read += int(b)
		}
	}
	if err := g.Guard(count); err != nil || read == 0 {
		t.Fatalf("read %d: %v", read, err)
	}
	if err := os.Truncate(files(t, settings.Dir)[0], 100_000); err != nil {
		t.Fatal(err)
	}
	var fault *FaultError
	if err := Guard(func() { io.Discard.Write(bytes.Clone(g.Bytes())) }); !errors.As(err, &fault) || fault.Addr == 0 {
		t.Errorf("%v, want a FaultError", err)
	}
	if err := g.Guard(count); !errors.Is(err, ErrCorrupt) || !errors.As(err, &fault) {
		t.Errorf("%v, want ErrCorrupt and a FaultError", err)
	}
	if _, err := s.Acquire(r); !errors.Is(err, ErrGone) {
		t.Errorf("%v, want ErrGone", err)
	}
	if got := quarantined(s, "mapping"); got != 1 {
		t.Errorf("%d records counted as quarantined, want 1", got)
	}
	defer func() {
		if cause := recover(); cause != "other" {
			t.Errorf("Guard has swallowed a panic that is no fault: %v", cause)
		}
	}()
	Guard(func() { panic("other") })
}
