package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-stream/weir/internal/cdn"
	"github.com/weir-stream/weir/internal/cdn/cache/segment"
)

// successor returns a cache that waits for its folder, and what stops it.
func successor(t testing.TB, dir string, registerer prometheus.Registerer) (*Cache, func()) {
	t.Helper()
	cfg := DefaultConfig()
	cfg.DiskBytes, cfg.SegmentBytes = 16<<20, 4<<20
	c, err := New(Settings{Config: cfg, Dir: dir, Now: atNoon, Later: true, Registerer: registerer})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := errors.Join(<-done, c.Close()); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return c, stop
}

// letGo lets c write what waits, and lets go of the folder.
func letGo(t testing.TB, c *Cache) {
	t.Helper()
	if err := c.LetGo(); err != nil {
		t.Fatal(err)
	}
	if c.Attached() || c.DiskUsed() != 0 {
		t.Errorf("the folder is open, with %d bytes", c.DiskUsed())
	}
}

func open(t testing.TB, c *Cache) {
	t.Helper()
	if err := c.Open(); err != nil {
		t.Fatal(err)
	}
	if !c.Attached() {
		t.Error("the folder is not open")
	}
}

func TestAFolderGoesFromOneCacheToTheNext(t *testing.T) {
	dir := t.TempDir()
	large, small := random(1<<20), random(100)
	old, _ := onDisk(t, dir, atNoon)
	put(t, old, "/large", large, head(1<<20, time.Hour))
	put(t, old, "/small", small, head(100, time.Hour))
	next, _ := successor(t, dir, nil)
	if err := next.Open(); !errors.Is(err, segment.ErrLocked) {
		t.Fatalf("Open of a folder in use: %v", err)
	}
	letGo(t, old)
	open(t, next)
	for key, body := range map[string][]byte{"/large": large, "/small": small} {
		if got := read(t, next, key, noon); !bytes.Equal(got, body) {
			t.Errorf("%s in the next: %d bytes, want %d", key, len(got), len(body))
		}
	}
	if got := read(t, old, "/large", noon); got != nil {
		t.Error("the old one finds on disk what is another's")
	}
	if got := read(t, old, "/small", noon); !bytes.Equal(got, small) {
		t.Error("the old one has lost what it has in memory")
	}
	// It goes on in memory.
	put(t, old, "/new", small, head(100, time.Hour))
	if got := read(t, old, "/new", noon); !bytes.Equal(got, small) {
		t.Error("the old one keeps nothing any more")
	}
	if err := errors.Join(old.LetGo(), next.Open()); err != nil {
		t.Errorf("a second time: %v", err)
	}
}

// What has come before writing has begun is written before the folder is another's.
func TestWhatWaitsIsWrittenBeforeTheLettingGo(t *testing.T) {
	dir := t.TempDir()
	body := random(1 << 20)
	cfg := DefaultConfig()
	cfg.DiskBytes, cfg.SegmentBytes = 16<<20, 4<<20
	old, err := New(Settings{Config: cfg, Dir: dir, Now: atNoon}) // and Run comes late
	if err != nil {
		t.Fatal(err)
	}
	put(t, old, "/k", body, head(1<<20, time.Hour))
	letGo(t, old)
	next, _ := onDisk(t, dir, atNoon)
	if got := read(t, next, "/k", noon); !bytes.Equal(got, body) {
		t.Errorf("the next has %d bytes", len(got))
	}
	if err := old.Close(); err != nil {
		t.Error(err)
	}
}

// Who reads from the disk reads to the end, and nobody else writes there before.
func TestReadersOutliveTheLettingGo(t *testing.T) {
	dir := t.TempDir()
	body := random(1 << 20)
	old, stop := onDisk(t, dir, atNoon)
	put(t, old, "/k", body, head(1<<20, time.Hour))
	stop()
	old, _ = onDisk(t, dir, atNoon)
	l := old.Get(Query{Key: "/k", Now: noon, Probe: true})
	if l.Object == nil {
		t.Fatal("it is not on disk")
	}
	reader := l.Object.Open(0, -1)
	first, err := reader.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := bytes.Clone(first)
	next, _ := successor(t, dir, nil)
	letGo(t, old)
	if err := next.Open(); !errors.Is(err, segment.ErrLocked) {
		t.Errorf("Open while somebody reads: %v", err)
	}
	rest, err := readAll(t.Context(), reader)
	if got = append(got, rest...); err != nil || !bytes.Equal(got, body) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	l.Object.Release()
	open(t, next)
	if got := read(t, next, "/k", noon); !bytes.Equal(got, body) {
		t.Errorf("the next has %d bytes", len(got))
	}
}

// The successor fails, and the old one goes on with what is on disk, also with what the successor has written.
func TestTheFolderComesBack(t *testing.T) {
	dir := t.TempDir()
	body := random(1 << 20)
	registry := prometheus.NewRegistry()
	old, _ := successor(t, dir, registry)
	open(t, old)
	put(t, old, "/k", body, head(1<<20, time.Hour))
	letGo(t, old)
	next, stop := onDisk(t, dir, atNoon)
	put(t, next, "/of the next", body, head(1<<20, time.Hour))
	stop()
	put(t, old, "/meanwhile", body, head(1<<20, time.Hour))
	open(t, old)
	for _, key := range []string{"/k", "/of the next", "/meanwhile"} {
		if got := read(t, old, key, noon); !bytes.Equal(got, body) {
			t.Errorf("%s: %d bytes", key, len(got))
		}
	}
	// It writes again.
	put(t, old, "/after", body, head(1<<20, time.Hour))
	letGo(t, old)
	next, _ = onDisk(t, dir, atNoon)
	if got := read(t, next, "/after", noon); !bytes.Equal(got, body) {
		t.Error("what was written after the folder came back is not there")
	}
	if _, err := registry.Gather(); err != nil {
		t.Error(err)
	}
}

// What is purged while the folder is another's is not served when it comes back, nor after a restart.
func TestPurgesWhileTheFolderIsLetGo(t *testing.T) {
	for name, purge := range map[string]func(*Cache) error{
		"url":        func(c *Cache) error { return c.Purge(cdn.Purge{Scope: cdn.PurgeURL, Target: "/k"}) },
		"prefix":     func(c *Cache) error { return c.Purge(cdn.Purge{Scope: cdn.PurgePrefix, Target: "/"}) },
		"tag":        func(c *Cache) error { return c.Purge(cdn.Purge{Scope: cdn.PurgeTag, Target: "a"}) },
		"all":        func(c *Cache) error { return c.Purge(cdn.Purge{Scope: cdn.PurgeAll}) },
		"invalidate": func(c *Cache) error { c.Invalidate("/k"); return nil },
		"many": func(c *Cache) error {
			var errs []error
			for i := range maxPending + 2 {
				target := "/k"
				if i > 0 {
					target = fmt.Sprint("/", i)
				}
				errs = append(errs, c.Purge(cdn.Purge{Scope: cdn.PurgeURL, Target: target}))
			}
			return errors.Join(errs...)
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			h := head(1<<20, time.Hour)
			h.Tags = []string{"a"}
			old, stop := onDisk(t, dir, atNoon)
			// Numbers of the list that nothing is known of any more.
			old.InvalidateTags([]string{"b", "c"})
			put(t, old, "/k", random(1<<20), h)
			letGo(t, old)
			if err := purge(old); err != nil {
				t.Fatal(err)
			}
			open(t, old)
			if got := read(t, old, "/k", noon); got != nil {
				t.Error("it is served")
			}
			put(t, old, "/k", random(1<<20), h)
			stop()
			again, stop := onDisk(t, dir, atNoon)
			if got := read(t, again, "/k", noon); got == nil {
				t.Error("what has come after the purge is gone")
			}
			stop()
		})
	}
}

// What was purged in the process that has let go is purged in its successor too: there is nobody to tell it, if the
// first has already confirmed.
func TestPurgesOfTheProcessBefore(t *testing.T) {
	dir := t.TempDir()
	old, _ := onDisk(t, dir, atNoon)
	for _, key := range []string{"/purged", "/kept"} {
		put(t, old, key, random(1<<20), head(1<<20, time.Hour))
	}
	letGo(t, old)
	if err := old.Purge(cdn.Purge{Scope: cdn.PurgeURL, Target: "/purged"}); err != nil {
		t.Fatal(err)
	}
	next, stop := onDisk(t, dir, atNoon)
	for range 2 {
		if got := read(t, next, "/purged", noon); got != nil {
			t.Error("what was purged before is served")
		}
		if got := read(t, next, "/kept", noon); got == nil {
			t.Error("what was not purged is gone")
		}
		stop() // after another restart too
		next, stop = onDisk(t, dir, atNoon)
	}
}

// A list of which a part cannot be read may have purged anything.
func TestAListOfPurgesThatIsBroken(t *testing.T) {
	for name, tt := range map[string]struct {
		list string
		kept bool
	}{
		"torn at its end": {`{"id":"1","scope":"url","target":"/x","time":"2026-03-01T12:00:00Z"}` + "\n" + `{"id":"2","sc`, true},
		"not JSON":        {"what\n", false},
		"no purge":        {`{"scope":"some"}` + "\n", false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			c, stop := onDisk(t, dir, atNoon)
			put(t, c, "/k", random(1<<20), head(1<<20, time.Hour))
			stop()
			if err := os.WriteFile(filepath.Join(dir, spillFile), []byte(tt.list), 0o600); err != nil {
				t.Fatal(err)
			}
			c, stop = onDisk(t, dir, atNoon)
			if got := read(t, c, "/k", noon); (got != nil) != tt.kept {
				t.Errorf("there are %d bytes", len(got))
			}
			stop()
		})
	}
}

// A cache that gets its folder late has been purged, and has newer objects than that.
func TestAFolderThatComesLate(t *testing.T) {
	dir := t.TempDir()
	old, stop := onDisk(t, dir, atNoon)
	for range 3 {
		old.InvalidateTags([]string{"b"})
	}
	for _, key := range []string{"/purged", "/renewed", "/kept"} {
		put(t, old, key, random(1<<20), head(1<<20, time.Hour))
	}
	next, _ := successor(t, dir, nil)
	renewed := head(3, time.Hour)
	renewed.Received = noon.Add(time.Second)
	put(t, next, "/renewed", []byte("new"), renewed)
	if err := next.Purge(cdn.Purge{Scope: cdn.PurgeURL, Target: "/purged"}); err != nil {
		t.Fatal(err)
	}
	stop()
	open(t, next)
	if got := read(t, next, "/renewed", noon.Add(time.Second)); string(got) != "new" {
		t.Errorf("/renewed has %d bytes", len(got))
	}
	if got := read(t, next, "/purged", noon); got != nil {
		t.Error("what was purged before the folder came is served")
	}
	if got := read(t, next, "/kept", noon); got == nil {
		t.Error("what is on disk is not served")
	}
}

// The folder comes and goes while objects come, are read and purged.
func TestLettingGoUnderLoad(t *testing.T) {
	dir := t.TempDir()
	c, _ := successor(t, dir, nil)
	open(t, c)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	var hits atomic.Int64
	for viewer := range 4 {
		running.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				n := (i + viewer) % 40
				key, body := fmt.Sprint("/", n), bytes.Repeat([]byte{byte(n)}, 10<<10*(n%10+1))
				l := get(c, key, noon)
				switch {
				case l.Leader:
					o, err := l.Fill.Store(head(int64(len(body)), time.Hour))
					if err != nil {
						t.Error(err)
						return
					}
					if err := o.FillFrom(ctx, bytes.NewReader(body)); err != nil && ctx.Err() == nil {
						t.Error(err)
					}
					o.Release()
				case l.Fill != nil:
					if out, err := l.Fill.Wait(ctx); err == nil && out.Object != nil {
						out.Object.Release()
					}
				case l.Object != nil:
					got, err := readAll(ctx, l.Object.Open(0, -1))
					if ctx.Err() == nil && (err != nil || !bytes.Equal(got, body)) {
						t.Errorf("%s: %d bytes, want %d: %v", key, len(got), len(body), err)
					}
					hits.Add(1)
					l.Object.Release()
				}
				if i%50 == 0 {
					c.Invalidate(key)
				}
			}
		})
	}
	for range 20 {
		if err := c.LetGo(); err != nil {
			t.Error(err)
		}
		for deadline := time.Now().Add(10 * time.Second); ; {
			err := c.Open()
			if err == nil {
				break
			}
			if !errors.Is(err, segment.ErrLocked) || time.Now().After(deadline) {
				t.Fatal(err)
			}
		}
	}
	for deadline := time.Now().Add(10 * time.Second); hits.Load() == 0 && time.Now().Before(deadline); {
		runtime.Gosched()
	}
	cancel()
	running.Wait()
	if hits.Load() == 0 {
		t.Error("nothing was read")
	}
}
