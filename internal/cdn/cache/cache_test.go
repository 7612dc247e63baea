package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"runtime"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/weir-stream/weir/internal/cdn"
	"github.com/weir-stream/weir/internal/cdn/cache/freshness"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newCache(t testing.TB, change ...func(*Config)) *Cache {
	t.Helper()
	cfg := DefaultConfig()
	for _, f := range change {
		f(&cfg)
	}
	c, err := New(Settings{Config: cfg})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func head(length int64, lifetime time.Duration) Head {
	return Head{
		Status: 200, Header: header("Etag", `"1"`), Length: length, Fetch: &Fetch{Status: 200},
		Freshness: freshness.Freshness{Share: true, Store: true, Lifetime: lifetime, Received: noon, StaleIfError: 30 * time.Second},
	}
}

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func header(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h.Add(pairs[i], pairs[i+1])
	}
	return h
}

func get(c *Cache, key string, now time.Time) Lookup { return c.Get(Query{Key: key, Now: now}) }

// lead makes the caller the leader of key's fill.
func lead(t testing.TB, c *Cache, key string, now time.Time) *Fill {
	t.Helper()
	l := get(c, key, now)
	if !l.Leader {
		t.Fatalf("Get(%q) = %+v, want to lead", key, l)
	}
	return l.Fill
}

// put stores body under key and lets go of it.
func put(t testing.TB, c *Cache, key string, body []byte, h Head) {
	t.Helper()
	o, err := lead(t, c, key, h.Received).Store(h)
	if err != nil {
		t.Fatal(err)
	}
	if err := o.FillFrom(t.Context(), bytes.NewReader(body)); err != nil {
		t.Fatal(err)
	}
	o.Release()
}

func readAll(ctx context.Context, r *Reader) ([]byte, error) {
	defer r.Close()
	var all []byte
	for {
		p, err := r.Next(ctx)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		all = append(all, p...)
	}
}

func random(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(n)})
	_, _ = r.Read(b)
	return b
}

func TestReadersFollowAGrowingObject(t *testing.T) {
	body := random(3*chunkBytes + 17)
	for _, known := range []bool{true, false} {
		t.Run(fmt.Sprintf("length known: %v", known), func(t *testing.T) {
			c := newCache(t)
			length := int64(-1)
			if known {
				length = int64(len(body))
			}
			fill := lead(t, c, "k", noon)
			o, err := fill.Store(head(length, time.Minute))
			if err != nil {
				t.Fatal(err)
			}
			var readers sync.WaitGroup
			for i := range 50 {
				l := get(c, "k", noon)
				if l.Object == nil {
					t.Fatalf("Get while it grows = %+v", l)
				}
				start := int64(i * len(body) / 50)
				readers.Go(func() {
					defer l.Object.Release()
					got, err := readAll(t.Context(), l.Object.Open(start, -1))
					if err != nil || !bytes.Equal(got, body[start:]) {
						t.Errorf("reader from %d: %d bytes, %v", start, len(got), err)
					}
				})
			}
			if err := o.FillFrom(t.Context(), iotest.HalfReader(bytes.NewReader(body))); err != nil {
				t.Fatal(err)
			}
			readers.Wait()
			if o.Length() != int64(len(body)) || !o.Complete() {
				t.Errorf("length %d, complete %v", o.Length(), o.Complete())
			}
			o.Release()
			if got, want := c.Used(), int64(len(body))+overhead("k"); got != want {
				t.Errorf("used = %d, want %d", got, want)
			}
		})
	}
}

func TestObjectOfTheWrongLengthIsNotKept(t *testing.T) {
	broken := errors.New("connection reset")
	for _, tt := range []struct {
		name string
		from io.Reader
		want error
	}{
		{"too short", bytes.NewReader(random(99)), ErrLength},
		{"too long", bytes.NewReader(random(101)), ErrLength},
		{"broken off", io.MultiReader(bytes.NewReader(random(50)), iotest.ErrReader(broken)), broken},
		{"broken off after the last byte", io.MultiReader(bytes.NewReader(random(100)), iotest.ErrReader(broken)), broken},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newCache(t)
			o, err := lead(t, c, "k", noon).Store(head(100, time.Minute))
			if err != nil {
				t.Fatal(err)
			}
			reader := o.Open(0, -1)
			if err := o.FillFrom(t.Context(), tt.from); !errors.Is(err, tt.want) {
				t.Errorf("FillFrom = %v, want %v", err, tt.want)
			}
			if _, err := readAll(t.Context(), reader); !errors.Is(err, tt.want) {
				t.Errorf("the reader got %v, want %v", err, tt.want)
			}
			o.Release()
			if l := get(c, "k", noon); !l.Leader || l.Reason != cdn.Cold {
				t.Errorf("Get afterwards = %+v", l)
			}
			if c.Used() != 0 {
				t.Errorf("%d bytes are still charged", c.Used())
			}
		})
	}
}

func TestAllWhoWaitGetTheSameOutcome(t *testing.T) {
	broken := errors.New("no route")
	for name, end := range map[string]func(*Fill) error{
		"object": func(f *Fill) error {
			o, err := f.Store(head(3, time.Minute))
			if err != nil {
				return err
			}
			return o.FillFrom(context.Background(), bytes.NewReader([]byte("abc")))
		},
		"error": func(f *Fill) error { f.Fail(broken, nil, noon); return nil },
		"pass":  func(f *Fill) error { f.Pass(nil, noon); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCache(t)
				fill := lead(t, c, "k", noon)
				outcomes := make(chan Outcome, 20)
				for range 20 {
					l := get(c, "k", noon)
					if l.Leader || l.Fill != fill {
						t.Fatal("there are two fills for one key")
					}
					go func() {
						out, err := l.Fill.Wait(t.Context())
						if err != nil {
							t.Error(err)
						}
						outcomes <- out
					}()
				}
				gone, cancel := context.WithCancel(t.Context())
				l := get(c, "k", noon)
				go func() { // one goes away before the end
					if _, err := l.Fill.Wait(gone); !errors.Is(err, context.Canceled) {
						t.Errorf("Wait of one who has gone = %v", err)
					}
				}()
				synctest.Wait()
				cancel()
				synctest.Wait()
				if err := end(fill); err != nil {
					t.Fatal(err)
				}
				want, err := fill.Wait(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				for range 20 {
					got := <-outcomes
					if got != want {
						t.Errorf("outcome %+v, want %+v", got, want)
					}
					if got.Object != nil {
						got.Object.Release()
					}
				}
				if want.Object != nil {
					if n := want.Object.body.refs.Load(); n != 2 {
						t.Errorf("%d references, want 2: the index and the leader", n)
					}
				}
			})
		})
	}
}

func TestUsedNeverExceedsTheCapacity(t *testing.T) {
	const capacity = 1 << 20
	c := newCache(t, func(cfg *Config) { cfg.CapacityBytes, cfg.MaxObjectBytes = capacity, 300<<10 })
	var workers sync.WaitGroup
	stop := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				if used := c.Used(); used > capacity || used < 0 {
					t.Errorf("used = %d of %d", used, capacity)
					return
				}
				runtime.Gosched()
			}
		}
	})
	for w := range 4 {
		workers.Go(func() {
			rnd := rand.New(rand.NewPCG(1, uint64(w)))
			for range 150 {
				key := fmt.Sprint(rnd.IntN(40))
				l := get(c, key, noon)
				o := l.Object
				switch {
				case l.Leader:
					size := rnd.IntN(400 << 10)
					length := int64(size)
					if rnd.IntN(2) == 0 {
						length = -1
					}
					var err error
					if o, err = l.Fill.Store(head(length, time.Minute)); err != nil {
						l.Fill.Fail(err, nil, noon)
						continue
					}
					ctx, cancel := context.WithCancel(context.Background())
					workers.Go(func() {
						_ = o.FillFrom(ctx, bytes.NewReader(make([]byte, size))) // may outgrow and be left
						cancel()
					})
				case l.Fill != nil:
					out, err := l.Fill.Wait(context.Background())
					if err != nil {
						t.Error(err)
						return
					}
					if o = out.Object; o == nil {
						continue
					}
				}
				reader := o.Open(0, -1)
				if rnd.IntN(3) > 0 {
					for _, err := reader.Next(context.Background()); err == nil; {
						_, err = reader.Next(context.Background())
					}
				}
				reader.Close()
				o.Release()
			}
		})
	}
	workers.Wait()
	close(stop)
	watch.Wait()
	var held int64
	for i := range c.shards {
		for _, e := range c.shards[i].index {
			held += e.variants[0].body.node.Size
			if n := e.variants[0].body.refs.Load(); n != 1 {
				t.Errorf("an idle object has %d references", n)
			}
		}
	}
	if held != c.Used() {
		t.Errorf("used = %d, the index holds %d", c.Used(), held)
	}
	if held == 0 {
		t.Error("nothing is held; the test shows nothing")
	}
}

func TestObjectInUseIsNotEvicted(t *testing.T) {
	c := newCache(t, func(cfg *Config) { cfg.CapacityBytes, cfg.MaxObjectBytes = 1<<20, 700<<10 })
	put(t, c, "in use", random(600<<10), head(600<<10, time.Minute))
	l := get(c, "in use", noon)
	if _, err := lead(t, c, "next", noon).Store(head(600<<10, time.Minute)); !errors.Is(err, ErrNoRoom) {
		t.Errorf("Store beside an object in use = %v, want ErrNoRoom", err)
	}
	l.Object.Release()
	put(t, c, "third", random(600<<10), head(600<<10, time.Minute))
	if l := get(c, "in use", noon); l.Reason != cdn.Evicted {
		t.Errorf("reason = %q, want evicted", l.Reason)
	}
}

func TestMissReasons(t *testing.T) {
	c := newCache(t, func(cfg *Config) { cfg.CapacityBytes, cfg.MaxObjectBytes = 1<<20, 700<<10 })
	want := func(key string, now time.Time, reason cdn.MissReason) *Fill {
		t.Helper()
		l := get(c, key, now)
		if l.Reason != reason {
			t.Errorf("Get(%q): reason %q, want %q", key, l.Reason, reason)
		}
		return l.Fill
	}
	want("a", noon, cdn.Cold).Fail(io.ErrUnexpectedEOF, nil, noon)
	want("a", noon, cdn.Cold).Fail(io.ErrUnexpectedEOF, nil, noon)

	put(t, c, "b", random(10), head(10, time.Minute))
	want("b", noon.Add(time.Hour), cdn.Expired).Fail(io.ErrUnexpectedEOF, nil, noon.Add(time.Hour))

	put(t, c, "c", random(600<<10), head(600<<10, time.Minute))
	put(t, c, "d", random(600<<10), head(600<<10, time.Minute))
	want("c", noon, cdn.Evicted).Fail(io.ErrUnexpectedEOF, nil, noon)
	// It has been evicted, but at this time it would have been of no use any more.
	want("c", noon.Add(time.Hour), cdn.Expired).Fail(io.ErrUnexpectedEOF, nil, noon)

	want("e", noon, cdn.Cold).Pass(nil, noon)
	if l := get(c, "e", noon.Add(time.Second)); !l.Pass || l.Reason != cdn.Uncacheable {
		t.Errorf("Get of what was uncacheable a second ago = %+v", l)
	}
	want("e", noon.Add(passTime), cdn.Cold).Fail(io.ErrUnexpectedEOF, nil, noon)
}

func TestGhostsAreBounded(t *testing.T) {
	g := newGhosts(4)
	for i := range 100 {
		g.put(uint64(i), ghost{until: noon})
		if i%7 == 0 {
			g.drop(uint64(i))
		}
		if i%5 == 0 {
			g.put(uint64(i), ghost{until: noon.Add(1)})
		}
		if len(g.index) > 4 || len(g.ring) > 4 {
			t.Fatalf("%d keys in the index, %d in the ring", len(g.index), len(g.ring))
		}
	}
	if _, ok := g.get(99); !ok {
		t.Error("the youngest is forgotten")
	}
	if _, ok := g.get(90); ok {
		t.Error("the oldest is not")
	}
}

func TestRevalidationKeepsTheBody(t *testing.T) {
	c := newCache(t)
	body := random(1000)
	put(t, c, "k", body, head(1000, time.Second))
	used := c.Used()
	later := noon.Add(time.Minute)
	fill := lead(t, c, "k", later)
	if fill.Stale() == nil || fill.Stale().ETag != `"1"` {
		t.Fatalf("stale = %+v", fill.Stale())
	}
	fill.Revalidated(Head{
		Status: 200, Header: header("Etag", `"1"`, "X", "new"), Fetch: &Fetch{Status: 304},
		Freshness: freshness.Freshness{Share: true, Store: true, Lifetime: time.Second, Received: later},
	})
	out, err := fill.Wait(t.Context())
	if err != nil || !out.Stored {
		t.Fatalf("outcome %+v, %v", out, err)
	}
	out.Object.Release()
	l := get(c, "k", later)
	if l.Object == nil || l.Object.Header.Get("X") != "new" {
		t.Fatalf("Get = %+v", l)
	}
	got, err := readAll(t.Context(), l.Object.Open(0, -1))
	if err != nil || !bytes.Equal(got, body) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	l.Object.Release()
	if c.Used() != used {
		t.Errorf("used = %d, before %d", c.Used(), used)
	}
}

func TestStaleIsServedForATimeWhileTheOriginFails(t *testing.T) {
	c := newCache(t)
	broken := errors.New("no route")
	put(t, c, "k", random(10), head(10, 10*time.Second)) // and 30 s more on error
	now := noon.Add(20 * time.Second)

	fill := lead(t, c, "k", now)
	fill.Fail(broken, nil, now)
	out, _ := fill.Wait(t.Context())
	if !out.Stale || out.Object == nil || !errors.Is(out.Err, broken) {
		t.Fatalf("outcome = %+v", out)
	}
	out.Object.Release()

	// The origin is left alone for a while.
	l := get(c, "k", now.Add(retryTime-1))
	if !l.Stale || l.Object == nil {
		t.Fatalf("Get soon afterwards = %+v", l)
	}
	l.Object.Release()
	lead(t, c, "k", now.Add(retryTime)).Fail(broken, nil, now.Add(retryTime))

	// And beyond the bound there is only the error.
	end := noon.Add(41 * time.Second)
	if l := get(c, "k", end); l.Object != nil {
		t.Errorf("Get beyond the bound = %+v", l)
	} else {
		l.Fill.Fail(broken, nil, end)
		if out, _ := l.Fill.Wait(t.Context()); out.Object != nil || !errors.Is(out.Err, broken) {
			t.Errorf("outcome beyond the bound = %+v", out)
		}
	}
}
