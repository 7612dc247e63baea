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
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weir-stream/weir/internal/cdn"
	"github.com/weir-stream/weir/internal/cdn/cache/freshness"
)

// crowd is viewers, an origin whose objects change, and an operator who purges, all at once in a cache that
// has too little room. Each body says again and again which key and version it is of.
type crowd struct {
	t     *testing.T
	cache *Cache
	leads sync.WaitGroup
	// versions is what the origin has now; a version below purged must not be served fresh any more.
	versions, purged [60]atomic.Int64
	served           atomic.Int64
}

func (c *crowd) body(k int, version int64) []byte {
	unit := fmt.Sprintf("/k/%d#%d|", k, version)
	return bytes.Repeat([]byte(unit), (1000+(k*k*137)%400_000)/len(unit)+1)
}

// origin is a body that comes in pieces, and may break off.
type origin struct {
	io.Reader
	pieces int // until it breaks off; negative: it does not
}

func (o *origin) Read(p []byte) (int, error) {
	if o.pieces == 0 {
		return 0, io.ErrUnexpectedEOF
	}
	o.pieces--
	runtime.Gosched()
	return o.Reader.Read(p[:min(len(p), 20_000)])
}

// changed says that the origin has a new version of k, of which the cache was told by tell.
func (c *crowd) changed(k int, tell func(key string) error) {
	version := c.versions[k].Add(1)
	if err := tell("/k/" + strconv.Itoa(k)); err != nil {
		c.t.Error(err)
	}
	for {
		old := c.purged[k].Load()
		if old >= version || c.purged[k].CompareAndSwap(old, version) {
			return
		}
	}
}

func (c *crowd) lead(k int, query Query, fill *Fill) {
	version := c.versions[k].Load()
	body := c.body(k, version)
	etag := fmt.Sprintf(`"%d"`, version)
	h := head(int64(len(body)), time.Duration(rand.IntN(200))*time.Millisecond)
	h.Header, h.Request, h.Live = http.Header{"Etag": {etag}}, query.Header, k%10 == 0
	h.Received, h.StaleWhileRevalidate = time.Now(), 50*time.Millisecond
	if k%5 == 0 {
		h.Length = -1
	}
	if k%7 == 0 {
		h.Vary = []string{"Accept-Language"}
	}
	if stale := fill.Stale(); stale != nil && stale.ETag == etag && rand.IntN(2) == 0 {
		h.Length = stale.Length()
		fill.Revalidated(h)
		return
	}
	switch rand.IntN(12) {
	case 0:
		fill.Fail(errors.New("the origin is away"), nil, time.Now())
		return
	case 1:
		fill.Pass(nil, time.Now().Add(-passTime+5*time.Millisecond))
		return
	case 2:
		h.Store = false
	}
	object, err := fill.Store(h)
	if err != nil {
		fill.Fail(err, nil, time.Now())
		return
	}
	pieces := -1
	if rand.IntN(15) == 0 {
		pieces = 3
	}
	_ = object.FillFrom(context.Background(), &origin{bytes.NewReader(body), pieces})
}

// read takes the object's body, or a part of it, and checks that it is k's, of version least at the least.
func (c *crowd) read(object *Object, k int, least int64) {
	defer object.Release()
	body := object.Open(0, -1)
	defer body.Close()
	var first string
	var n int64
	for {
		p, err := body.Next(context.Background())
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil || rand.IntN(50) == 0 {
			return // the origin broke off, or the viewer left
		}
		if len(first) < 64 {
			first += string(p[:min(len(p), 64)])
		}
		n += int64(len(p))
	}
	c.served.Add(1)
	unit, _, _ := strings.Cut(first, "|")
	key, version, _ := strings.Cut(unit, "#")
	if of, err := strconv.ParseInt(version, 10, 64); err != nil || key != "/k/"+strconv.Itoa(k) {
		c.t.Errorf("/k/%d was answered with %q", k, first)
	} else if of < least {
		c.t.Errorf("/k/%d was answered with version %d after a purge of all below %d", k, of, least)
	}
	if length := object.Length(); length >= 0 && length != n {
		c.t.Errorf("/k/%d: %d bytes of %d", k, n, length)
	}
}

func (c *crowd) visit() {
	k := rand.IntN(len(c.versions))
	key := "/k/" + strconv.Itoa(k)
	switch rand.IntN(200) {
	case 0:
		c.changed(k, func(key string) error { return c.cache.Purge(cdn.Purge{Scope: cdn.PurgeURL, Target: key}) })
		return
	case 1:
		c.changed(k, func(key string) error { c.cache.Invalidate(key); return nil })
		return
	case 2:
		if object := c.cache.Hit([]byte(key), time.Now()); object != nil {
			object.Whole()
			object.Release()
		}
		return
	}
	least := c.purged[k].Load()
	query := Query{Key: key, Now: time.Now(), Control: freshness.RequestControl{NoCache: rand.IntN(4) == 0}, Ahead: rand.IntN(10) == 0}
	if rand.IntN(3) == 0 {
		query.Header = http.Header{"Accept-Language": {strconv.Itoa(rand.IntN(3))}}
	}
	found := c.cache.Get(query)
	if query.Ahead {
		least = 0
	}
	if found.Object != nil {
		c.read(found.Object, k, least)
	}
	if found.Fill == nil {
		return
	}
	if found.Leader && (found.Object != nil || query.Ahead) {
		c.lead(k, query, found.Fill)
		return
	}
	if found.Leader {
		c.leads.Go(func() { c.lead(k, query, found.Fill) })
	}
	patience := time.Minute
	if rand.IntN(10) == 0 {
		patience = time.Duration(rand.IntN(300)) * time.Microsecond
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	outcome, err := found.Fill.Wait(ctx)
	if err != nil || outcome.Object == nil {
		return
	}
	if outcome.Stale {
		least = 0
	}
	c.read(outcome.Object, k, least)
}

// Whatever happens at the same time: nobody gets another key's bytes, a part for a whole, or what was purged
// before they asked; and nothing stays behind of what was given up, in memory or on disk.
func TestEverythingAtOnce(t *testing.T) {
	dir := t.TempDir()
	for round := range 2 { // the second begins with what the first has left on disk
		cfg := DefaultConfig()
		cfg.CapacityBytes, cfg.DiskBytes, cfg.SegmentBytes, cfg.MaxObjectBytes = 4<<20, 12<<20, 4<<20, 600<<10
		cfg.MinDiskTTL, cfg.GhostKeys = time.Millisecond, 1024
		cache, err := New(Settings{Config: cfg, Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		stopped := make(chan error, 1)
		go func() { stopped <- cache.Run(ctx) }()

		c := &crowd{t: t, cache: cache}
		for k := range c.versions {
			c.versions[k].Store(time.Now().UnixNano())
		}
		var viewers sync.WaitGroup
		for range 16 {
			viewers.Go(func() {
				for range 1500 {
					c.visit()
				}
			})
		}
		viewers.Wait()
		c.leads.Wait()
		cancel()
		if err := <-stopped; err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if c.served.Load() == 0 || count(t, cache.metrics.copied) == 0 {
			t.Error("nobody was served, or nothing was copied to memory")
		}
		for i := range cache.shards {
			if n := len(cache.shards[i].fills); n != 0 {
				t.Errorf("%d fills are left", n)
			}
		}
		t.Logf("round %d: %d served; %d objects, %d bytes in memory, %d on disk; %d copied to memory", round, c.served.Load(), cache.Len(), cache.Used(),
			cache.DiskUsed(), count(t, cache.metrics.copied))
		if err := cache.Purge(cdn.Purge{Scope: cdn.PurgeAll}); err != nil {
			t.Error(err)
		}
		for k := range c.versions { // whoever asks finds it purged, and takes it away
			for language := range 4 {
				cache.Get(Query{Key: "/k/" + strconv.Itoa(k), Now: time.Now(), Probe: true, Header: http.Header{"Accept-Language": {strconv.Itoa(language)}}})
			}
		}
		var ballast int64
		if disk := cache.disk.Load(); disk.laid {
			ballast = disk.ballast.Size
		}
		if cache.Len() != 0 || cache.Used() != 0 || cache.copies.bytes() != 0 || cache.DiskUsed() != ballast {
			t.Errorf("after a purge of everything: %d objects, %d bytes in memory, %d of copies, %d on disk, %d of them ballast",
				cache.Len(), cache.Used(), cache.copies.bytes(), cache.DiskUsed(), ballast)
		}
		if err := cache.Close(); err != nil {
			t.Error(err)
		}
	}
}
