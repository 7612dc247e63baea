package cache

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/weir-stream/weir/internal/cdn"
)

// onDisk returns a cache on a folder, and what stops it.
func onDisk(t testing.TB, dir string, now func() time.Time, change ...func(*Config)) (*Cache, func()) {
	t.Helper()
	cfg := DefaultConfig()
	cfg.DiskBytes, cfg.SegmentBytes = 16<<20, 4<<20
	for _, f := range change {
		f(&cfg)
	}
	c, err := New(Settings{Config: cfg, Dir: dir, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		if err := c.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	t.Cleanup(stop)
	return c, stop
}

func atNoon() time.Time { return noon }

func read(t testing.TB, c *Cache, key string, now time.Time) []byte {
	t.Helper()
	l := c.Get(Query{Key: key, Now: now, Probe: true})
	if l.Object == nil {
		return nil
	}
	defer l.Object.Release()
	got, err := readAll(t.Context(), l.Object.Open(0, -1))
	if err != nil {
		t.Errorf("%s: %v", key, err)
	}
	return got
}

func TestObjectsOutliveARestart(t *testing.T) {
	dir := t.TempDir()
	bodies := map[string][]byte{"/empty": {}, "/small": random(100), "/large": random(300 << 10), "/chunks": random(700<<10 + 1)}
	c, stop := onDisk(t, dir, atNoon)
	for key, body := range bodies {
		h := head(int64(len(body)), time.Hour)
		if key == "/chunks" {
			h.Length = -1
		}
		put(t, c, key, body, h)
	}
	short := head(3, time.Second)
	put(t, c, "/short", []byte("abc"), short)
	live := head(3, time.Hour)
	live.Live = true
	put(t, c, "/live", []byte("abc"), live)
	put(t, c, "/purged", []byte("abc"), head(3, time.Hour))
	put(t, c, "/softened", []byte("abc"), head(3, time.Hour))
	stop()
	// The purge comes when the objects are on disk.
	c, stop = onDisk(t, dir, atNoon)
	if err := c.Purge(cdn.Purge{Scope: cdn.PurgeURL, Target: "/purged"}); err != nil {
		t.Fatal(err)
	}
	if err := c.Purge(cdn.Purge{Scope: cdn.PurgeURL, Target: "/softened", Soft: true}); err != nil {
		t.Fatal(err)
	}
	stop()
	c, stop = onDisk(t, dir, atNoon)
	for key, body := range bodies {
		if c.Hit([]byte(key), noon) != nil && key != "/empty" {
			t.Errorf("%s is a hit before its checksums have been looked at", key)
		}
		for range 2 {
			if got := read(t, c, key, noon); !bytes.Equal(got, body) || got == nil && len(body) > 0 {
				t.Errorf("%s: %d bytes, want %d", key, len(got), len(body))
			}
		}
		o := c.Hit([]byte(key), noon)
		if o == nil {
			t.Errorf("%s is no hit", key)
			continue
		}
		if o.ETag != `"1"` || o.Header.Get("Etag") != `"1"` || !bytes.Equal(o.Whole(), body) {
			t.Errorf("%s: %+v", key, o)
		}
		if _, _, ok := o.File(); !ok && len(body) > 0 {
			t.Errorf("%s is not on disk", key)
		}
		o.Release()
	}
	for _, key := range []string{"/short", "/live", "/purged"} {
		if got := read(t, c, key, noon); got != nil {
			t.Errorf("%s is there again", key)
		}
	}
	if l := get(c, "/softened", noon.Add(time.Second)); l.Fill == nil || l.Fill.Stale() == nil {
		t.Errorf("/softened: %+v", l)
	}
	stop()
}

// A large object leaves memory when it is on disk, and whoever reads it meanwhile goes on reading.
func TestLargeObjectsLeaveMemory(t *testing.T) {
	c, stop := onDisk(t, t.TempDir(), atNoon)
	body := random(1 << 20)
	fill := lead(t, c, "/k", noon)
	o, err := fill.Store(head(int64(len(body)), time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	reader := o.Open(0, -1)
	first, err := reader.Next(filled(t, o, body))
	if err != nil {
		t.Fatal(err)
	}
	stop() // what waits to be written is written
	if used := c.DiskUsed(); used < int64(len(body)) {
		t.Errorf("%d bytes on disk", used)
	}
	if used := c.Used(); used < int64(len(body)) {
		t.Errorf("memory that is still read is not charged: %d", used)
	}
	rest, err := readAll(t.Context(), reader)
	if err != nil || !bytes.Equal(append(first, rest...), body) {
		t.Errorf("%d bytes, %v", len(first)+len(rest), err)
	}
	o.Release()
	if used := c.Used(); used != 0 {
		t.Errorf("%d bytes of memory are charged", used)
	}
}

func filled(t *testing.T, o *Object, body []byte) context.Context {
	t.Helper()
	if err := o.FillFrom(t.Context(), bytes.NewReader(body)); err != nil {
		t.Fatal(err)
	}
	return t.Context()
}

// The disk is full of what it may hold: objects go, and what is there is what was put.
func TestTheDiskIsBounded(t *testing.T) {
	dir := t.TempDir()
	c, stop := onDisk(t, dir, atNoon, func(cfg *Config) { cfg.DiskBytes, cfg.SegmentBytes, cfg.SmallBytes = 4<<20, 1<<20, 0 })
	body := func(i int) []byte { return random(100<<10 + i) }
	for i := range 200 {
		put(t, c, fmt.Sprintf("/%d", i), body(i), head(int64(len(body(i))), time.Hour))
		if used := c.DiskUsed(); used > 4<<20 {
			t.Fatalf("%d bytes on disk", used)
		}
	}
	stop()
	c, _ = onDisk(t, dir, atNoon, func(cfg *Config) { cfg.DiskBytes, cfg.SegmentBytes = 4<<20, 1<<20 })
	kept := 0
	for i := range 200 {
		if got := read(t, c, fmt.Sprintf("/%d", i), noon); got != nil {
			kept++
			if !bytes.Equal(got, body(i)) {
				t.Errorf("object %d is not what was put", i)
			}
		}
	}
	if kept < 20 || kept > 40 {
		t.Errorf("%d objects of 100 KB are kept in 4 MB", kept)
	}
}

// What the disk has changed is found out and fetched again.
func TestACorruptObjectIsNeverServed(t *testing.T) {
	dir := t.TempDir()
	c, stop := onDisk(t, dir, atNoon)
	body := random(200 << 10)
	put(t, c, "/k", body, head(int64(len(body)), time.Hour))
	put(t, c, "/other", body, head(int64(len(body)), time.Hour))
	stop()
	names, err := filepath.Glob(filepath.Join(dir, "segments", "*"))
	if err != nil {
		t.Fatal(err)
	}
	changed := false
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if at := bytes.Index(data, body[1000:1100]); at >= 0 {
			data[at] ^= 1
			changed = true
			if err := os.WriteFile(name, data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if !changed {
		t.Fatal("the body is not in the files")
	}
	c, _ = onDisk(t, dir, atNoon)
	served := 0
	for _, key := range []string{"/k", "/other"} {
		if got := read(t, c, key, noon); got != nil {
			served++
			if !bytes.Equal(got, body) {
				t.Errorf("%s is served although it is corrupt", key)
			}
		}
	}
	if served != 1 {
		t.Errorf("%d of 2 objects are served, one is corrupt", served)
	}
}

// The origin has said that an object on disk is unchanged: the bytes on disk stay, also over a restart.
func TestRevalidationOfAnObjectOnDisk(t *testing.T) {
	dir := t.TempDir()
	c, stop := onDisk(t, dir, atNoon)
	body := random(300 << 10)
	put(t, c, "/k", body, head(int64(len(body)), time.Hour))
	stop()
	later := noon.Add(2 * time.Hour)
	c, stop = onDisk(t, dir, func() time.Time { return later })
	fill := lead(t, c, "/k", later)
	if fill.Stale() == nil {
		t.Fatal("it is not there")
	}
	h := head(-1, time.Hour)
	h.Received = later
	fill.Revalidated(h)
	if out, err := fill.Wait(t.Context()); err != nil || !out.Stored {
		t.Fatalf("%+v, %v", out, err)
	} else {
		out.Object.Release()
	}
	if got := read(t, c, "/k", later); !bytes.Equal(got, body) {
		t.Errorf("after it: %d bytes", len(got))
	}
	stop()
	c, _ = onDisk(t, dir, func() time.Time { return later })
	l := get(c, "/k", later)
	if l.Fill == nil || l.Fill.Stale() == nil {
		t.Fatalf("after a restart: %+v", l)
	}
	if got, err := readAll(t.Context(), l.Fill.Stale().Open(0, -1)); err != nil || !bytes.Equal(got, body) {
		t.Errorf("after a restart: %d bytes, %v", len(got), err)
	}
}

// What requests have invalidated is not remembered over a restart, but makes no later purge look older than what is
// on disk.
func TestAPurgeAfterARestartIsLaterThanWhatIsOnDisk(t *testing.T) {
	dir := t.TempDir()
	c, stop := onDisk(t, dir, atNoon)
	for range 10 {
		c.InvalidateTags([]string{"x"})
	}
	put(t, c, "/k", []byte("abc"), head(3, time.Hour))
	stop()
	c, stop = onDisk(t, dir, atNoon)
	if got := read(t, c, "/k", noon); string(got) != "abc" {
		t.Fatalf("after a restart: %q", got)
	}
	if err := c.Purge(cdn.Purge{Scope: cdn.PurgeURL, Target: "/k"}); err != nil {
		t.Fatal(err)
	}
	stop()
	c, _ = onDisk(t, dir, atNoon)
	if got := read(t, c, "/k", noon); got != nil {
		t.Errorf("purged, and there again: %q", got)
	}
}
