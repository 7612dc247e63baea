package segment

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// A disk that is really full: a tmpfs of 8 MiB under a store of 64. It is mounted by a process of its
// own, in a mount namespace of its own, so that nothing is left behind.
func TestADiskIsFull(t *testing.T) {
	const inside = "WEIR_SEGMENT_TINY"
	dir := os.Getenv(inside)
	if dir == "" {
		if os.Getuid() != 0 {
			t.Skip("NOT TESTED: a disk that is full; only root can mount a small one")
		}
		child := exec.Command(os.Args[0], "-test.run=^TestADiskIsFull$", "-test.v")
		child.Env = append(os.Environ(), inside+"="+t.TempDir())
		child.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
		out, err := child.CombinedOutput()
		switch {
		case errors.Is(err, syscall.EPERM):
			t.Skip("NOT TESTED: a disk that is full; a mount namespace is not allowed here")
		case err != nil:
			t.Errorf("%v\n%s", err, out)
		default:
			t.Logf("%s", out)
		}
		return
	}
	if err := syscall.Mount("weir", dir, "tmpfs", 0, "size=8m"); err != nil {
		t.Skipf("NOT TESTED: a disk that is full; mount: %v", err)
	}
	synctest.Test(t, func(t *testing.T) {
		settings := Settings{Dir: dir, CapacityBytes: 64 << 20, SegmentBytes: 16 << 20}
		s, err := Open(settings)
		if err != nil {
			t.Fatal(err)
		}
		stop := background(s)
		defer stop()
		live := make(map[uint64]Ref)
		oldest := uint64(1)
		failures := 0
		for seed := uint64(1); seed <= 1500; {
			r, err := s.Append(metaOf(seed, 100_000), bodyOf(seed, 100_000))
			switch {
			case err == nil:
				live[seed] = r
				seed++
			case errors.Is(err, ErrNoSpace):
				s.Drop(live[oldest])
				delete(live, oldest)
				oldest++
			case errors.Is(err, ErrDisk) && errors.Is(err, syscall.ENOSPC):
				failures++
				time.Sleep(minBackOff)
			default:
				t.Fatal(err)
			}
		}
		if failures == 0 || failures > 20 || len(live) < 60 {
			t.Errorf("%d failures, %d records", failures, len(live))
		}
		t.Logf("1500 records of 100 kB written to 8 MiB: %d failures, %d records at the end", failures, len(live))
		for seed, r := range live {
			if err := whole(s, r, seed, 100_000); err != nil {
				t.Errorf("record %d: %v", seed, err)
			}
		}
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
		for seed, r := range recovered {
			if err := whole(s, r, seed, 100_000); err != nil {
				t.Errorf("record %d: %v", seed, err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}
