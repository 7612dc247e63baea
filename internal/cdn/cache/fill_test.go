package cache

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weir-stream/weir/internal/cdn/cache/freshness"
)

// renewing asks for what must be validated first, and leads the fill.
func renewing(t testing.TB, c *Cache, key string) *Fill {
	t.Helper()
	l := c.Get(Query{Key: key, Now: noon, Control: freshness.RequestControl{NoCache: true}})
	if !l.Leader || l.Fill.Stale() == nil {
		t.Fatalf("Get = %+v, want to lead the renewal", l)
	}
	return l.Fill
}

// The origin says that an object is unchanged of which the body will never be whole: that is not kept.
func TestWhatIsLostIsNotRenewed(t *testing.T) {
	for name, tt := range map[string]struct {
		length int64
		end    func(w *io.PipeWriter)
	}{
		"broken off":   {1000, func(w *io.PipeWriter) { _ = w.CloseWithError(errors.New("the origin is gone")) }},
		"outgrown":     {-1, func(w *io.PipeWriter) { go func() { _, _ = w.Write(make([]byte, 4*chunkBytes)) }() }},
		"broken later": {1000, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCache(t, func(cfg *Config) { cfg.CapacityBytes, cfg.MaxObjectBytes = 4<<20, chunkBytes })
				o, err := lead(t, c, "/a", noon).Store(head(tt.length, time.Hour))
				if err != nil {
					t.Fatal(err)
				}
				source, w := io.Pipe()
				filled := make(chan error, 1)
				go func() { filled <- o.FillFrom(t.Context(), source) }()
				if _, err := w.Write([]byte("abc")); err != nil {
					t.Fatal(err)
				}
				f := renewing(t, c, "/a")
				if tt.end != nil {
					tt.end(w)
					synctest.Wait()
				}
				f.Revalidated(head(tt.length, time.Hour))
				out, err := f.Wait(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if tt.end != nil {
					if !errors.Is(out.Err, ErrLost) || out.Object != nil {
						t.Errorf("the outcome is %+v, want ErrLost", out)
					}
				} else {
					out.Object.Release()
				}
				_ = w.CloseWithError(errors.New("the origin is gone"))
				_ = source.Close()
				o.Release()
				<-filled
				if l := get(c, "/a", noon); l.Object != nil {
					_, err := readAll(t.Context(), l.Object.Open(0, -1))
					t.Errorf("what is lost is in the cache again: %v", err)
				}
				if c.Used() != 0 {
					t.Errorf("%d bytes are charged", c.Used())
				}
			})
		})
	}
}

// moved returns a cache with an object that goes to disk while it is renewed.
func moved(t *testing.T) (*Cache, *Fill, []byte) {
	t.Helper()
	cfg := DefaultConfig()
	cfg.DiskBytes, cfg.SegmentBytes = 16<<20, 4<<20
	c, err := New(Settings{Config: cfg, Dir: t.TempDir(), Now: atNoon})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	body := random(300 << 10)
	put(t, c, "/a", body, head(int64(len(body)), time.Hour))
	f := renewing(t, c, "/a")
	disk := c.disk.Load()
	c.write(disk, <-disk.queue)
	if c.DiskUsed() == 0 {
		t.Fatal("the object is not on disk")
	}
	return c, f, body
}

func TestAnObjectThatGoesToDiskWhileItIsReplaced(t *testing.T) {
	c, f, _ := moved(t)
	f.Pass(nil, noon) // it is private now
	if l := get(c, "/a", noon); l.Object != nil {
		l.Object.Release()
		t.Error("the old object is still served")
	}
	if n := c.DiskUsed(); n != 0 {
		t.Errorf("%d bytes on disk are of what nobody can find", n)
	}
}

func TestAnObjectThatGoesToDiskWhileTheOriginFails(t *testing.T) {
	c, f, _ := moved(t)
	f.Fail(errors.New("the origin is gone"), nil, noon)
	out, err := f.Wait(t.Context())
	if err != nil || out.Object == nil {
		t.Fatalf("%+v, %v", out, err)
	}
	out.Object.Release()
	l := c.Get(Query{Key: "/a", Now: noon.Add(time.Hour)})
	if l.Object != nil {
		l.Object.Release()
	}
	if got := c.shard("/a").index["/a"].retry; got.IsZero() {
		t.Error("the origin is asked again at once")
	}
}

func TestAnObjectThatGoesToDiskWhileItIsRenewed(t *testing.T) {
	c, f, body := moved(t)
	used := c.DiskUsed()
	f.Revalidated(head(int64(len(body)), time.Hour))
	out, err := f.Wait(t.Context())
	if err != nil || out.Object == nil {
		t.Fatalf("%+v, %v", out, err)
	}
	out.Object.Release()
	disk := c.disk.Load()
	if n := len(disk.queue); n != 0 {
		t.Error("it is written once more")
	}
	if got := read(t, c, "/a", noon); !bytes.Equal(got, body) {
		t.Errorf("%d bytes are read, want %d", len(got), len(body))
	}
	if c.Used() != 0 || c.DiskUsed() != used || c.Len() != 1 {
		t.Errorf("%d bytes in memory, %d on disk, want 0 and %d; %d objects", c.Used(), c.DiskUsed(), used, c.Len())
	}
}
