package edge

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weir-stream/weir/internal/cdn/cache"
)

// film is an origin of one large object that serves ranges.
type film struct {
	mu   sync.Mutex
	body []byte
	etag string
	// whole makes it ignore ranges.
	whole bool
}

func newFilm(size int) *film {
	f := &film{body: make([]byte, size), etag: `"1"`}
	for i := range f.body {
		f.body[i] = byte(i >> 8 * 7)
	}
	return f
}

func (f *film) serve(r *http.Request) (*http.Response, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	w := httptest.NewRecorder()
	w.Header().Set("Cache-Control", "max-age=60")
	w.Header().Set("Etag", f.etag)
	w.Header().Set("Content-Type", "video/mp4")
	if f.whole {
		r = r.Clone(r.Context())
		r.Header.Del("Range")
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(f.body))
	if f.whole {
		w.Header().Del("Accept-Ranges")
	}
	return w.Result(), nil
}

func slicing(e *Config, c *cache.Config) {
	e.SliceBytes, c.MaxObjectBytes = 64<<10, 100<<10
}

func TestLargeObjectsAreKeptInSlices(t *testing.T) {
	f := newFilm(1<<20 + 5)
	hs := newHarness(t, f.serve, slicing)
	whole := string(f.body)
	for _, tt := range []struct {
		fields []string
		status int
		body   string
	}{
		{nil, 200, whole},
		{nil, 200, whole},
		{[]string{"Range", "bytes=0-9"}, 206, whole[:10]},
		{[]string{"Range", "bytes=65530-65545"}, 206, whole[65530:65546]}, // across a border
		{[]string{"Range", "bytes=500000-"}, 206, whole[500000:]},
		{[]string{"Range", "bytes=-7"}, 206, whole[len(whole)-7:]},
		{[]string{"Range", "bytes=5-9", "If-Range", `"0"`}, 200, whole},
		{[]string{"If-None-Match", `"1"`}, 304, ""},
		{[]string{"Range", "bytes=99999999-"}, 416, ""},
	} {
		w := hs.get("/film.bin", tt.fields...)
		if w.Code != tt.status || tt.status < 300 && w.Body.String() != tt.body {
			t.Errorf("%v: status %d, %d bytes, want %d, %d bytes", tt.fields, w.Code, w.Body.Len(), tt.status, len(tt.body))
		}
		if n := w.Header().Get("Content-Length"); tt.status < 300 && n != fmt.Sprint(len(tt.body)) {
			t.Errorf("%v: Content-Length %s, want %d", tt.fields, n, len(tt.body))
		}
	}
	// One look at the whole, 17 slices, and the range beyond the end.
	if n := hs.fetches(); n != 1+17+1 {
		t.Errorf("the origin was asked %d times", n)
	}
	if row := hs.row(t, 1); row.CacheStatus != "hit" {
		t.Errorf("the second time: %s %s", row.CacheStatus, row.MissReason)
	}
}

// A viewer who seeks into an object that nobody has seen waits for the slice there, not for the beginning.
func TestASeekFetchesItsSliceOnly(t *testing.T) {
	f := newFilm(1 << 20)
	hs := newHarness(t, f.serve, slicing)
	w := hs.get("/film.bin", "Range", "bytes=700000-700009")
	if w.Code != 206 || w.Body.String() != string(f.body[700000:700010]) {
		t.Fatalf("%d, %d bytes", w.Code, w.Body.Len())
	}
	if got := w.Header().Get("Content-Range"); got != "bytes 700000-700009/1048576" {
		t.Errorf("Content-Range: %s", got)
	}
	if n := hs.fetches(); n != 1 || hs.asked[0].Header.Get("Range") != "bytes=655360-720895" {
		t.Errorf("asked %d times, first for %q", n, hs.asked[0].Header.Get("Range"))
	}
	hs.get("/film.bin", "Range", "bytes=800000-800001")
	if row := hs.row(t, -1); row.MissReason != "ranged" {
		t.Errorf("of another slice of an object of which one is held: %s, want ranged", row.MissReason)
	}
}

func TestAnOriginWithoutRangesIsAskedForTheWhole(t *testing.T) {
	f := newFilm(90 << 10)
	f.whole = true
	hs := newHarness(t, f.serve, slicing)
	for range 2 {
		w := hs.get("/film.bin", "Range", "bytes=70000-70009")
		if w.Code != 206 || w.Body.String() != string(f.body[70000:70010]) {
			t.Fatalf("%d, %d bytes", w.Code, w.Body.Len())
		}
	}
	if n := hs.fetches(); n != 2 { // once for the slice, once for the whole
		t.Errorf("the origin was asked %d times", n)
	}
}

// The object changes while slices of both states are held: nobody gets a mixture.
func TestSlicesOfTwoStatesAreNeverMixed(t *testing.T) {
	f := newFilm(1 << 20)
	hs := newHarness(t, f.serve, slicing)
	hs.get("/film.bin", "Range", "bytes=65536-65540") // slice 1 of the old state
	f.mu.Lock()
	f.etag = `"2"`
	f.body = bytes.ToUpper(bytes.Repeat([]byte("new "), 1<<18))
	f.mu.Unlock()
	r := httptest.NewRequest("GET", "/film.bin", nil)
	hs.unfinished(t, r) // slice 0 is new, slice 1 is old: the answer is broken off
	w := hs.get("/film.bin")
	if w.Code != 200 || !bytes.Equal(w.Body.Bytes(), f.body) {
		t.Errorf("afterwards: %d, %d bytes", w.Code, w.Body.Len())
	}
}

func TestManyViewersOfASliceAreOneFetch(t *testing.T) {
	f := newFilm(1 << 20)
	var asked atomic.Int32
	release := make(chan struct{})
	hs := newHarness(t, func(r *http.Request) (*http.Response, error) {
		asked.Add(1)
		<-release
		return f.serve(r)
	}, slicing)
	var viewers sync.WaitGroup
	for range 50 {
		viewers.Go(func() {
			w := hs.get("/film.bin", "Range", "bytes=200000-200009")
			if w.Code != 206 || w.Body.String() != string(f.body[200000:200010]) {
				t.Errorf("%d, %d bytes", w.Code, w.Body.Len())
			}
		})
	}
	close(release)
	viewers.Wait()
	if n := asked.Load(); n != 1 {
		t.Errorf("the origin was asked %d times", n)
	}
}

func TestContentRange(t *testing.T) {
	for in, ok := range map[string]bool{
		"bytes 0-9/10": true, "bytes 5-9/*": true, "bytes 0-9/9": false, "bytes 9-5/10": false, "bytes */10": false,
		"bytes=0-9/10": false, "": false, "bytes 0-9": false, "bytes -1-9/10": false, strings.Repeat("9", 30): false,
	} {
		if _, _, _, got := parseContentRange(in); got != ok {
			t.Errorf("%q: ok = %v", in, got)
		}
	}
}

func TestTheHeadOfWhatIsHeldInSlices(t *testing.T) {
	f := newFilm(300 << 10)
	hs := newHarness(t, f.serve, slicing)
	hs.get("/film.bin")
	before := hs.fetches()
	for range 3 {
		w := hs.do("HEAD", "/film.bin", "Range", "bytes=5-9") // of which HEAD knows nothing
		if w.Code != 200 || w.Header().Get("Content-Length") != fmt.Sprint(len(f.body)) || w.Body.Len() != 0 {
			t.Errorf("%d, Content-Length %s, %d bytes", w.Code, w.Header().Get("Content-Length"), w.Body.Len())
		}
		if row := hs.row(t, -1); row.CacheStatus != "hit" {
			t.Errorf("%s %s", row.CacheStatus, row.MissReason)
		}
	}
	if n := hs.fetches() - before; n != 0 {
		t.Errorf("the origin was asked %d times for what is held", n)
	}
}

// What has grown too large for one piece since it was kept is not served as it was: the origin has not failed.
func TestAnObjectThatGrowsLarge(t *testing.T) {
	f := newFilm(90 << 10)
	hs := newHarness(t, f.serve, slicing)
	var later atomic.Int64
	hs.now = func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
	hs.get("/film.bin")
	eventually(t, "the object to be whole", func() bool {
		l := hs.cache.Get(cache.Query{Key: "/film.bin", Now: time.Now(), Probe: true})
		if l.Object == nil {
			return false
		}
		defer l.Object.Release()
		return l.Object.Complete()
	})
	f.mu.Lock()
	f.body, f.etag = bytes.Repeat([]byte("new "), 75<<10), `"2"`
	f.mu.Unlock()
	later.Store(int64(70 * time.Second))
	for range 2 {
		if w := hs.get("/film.bin"); w.Code != 200 || !bytes.Equal(w.Body.Bytes(), f.body) {
			t.Errorf("%d, %d bytes, want %d: %s", w.Code, w.Body.Len(), len(f.body), w.Header().Get("Cache-Status"))
		}
	}
}

// The object has changed, and one slice of it has been fetched again: one answer is broken off, whichever slice it was.
func TestAChangeBreaksOffOneAnswer(t *testing.T) {
	for _, changed := range []int64{0, 7, 15} {
		t.Run(fmt.Sprint("slice ", changed), func(t *testing.T) {
			f := newFilm(1 << 20)
			hs := newHarness(t, f.serve, slicing)
			hs.get("/film.bin")
			f.mu.Lock()
			f.body, f.etag = bytes.Repeat([]byte("new "), 1<<18), `"2"`
			f.mu.Unlock()
			hs.cache.Invalidate(cache.SliceKey("/film.bin", changed)) // as if it had been evicted
			hs.get("/film.bin", "Range", fmt.Sprintf("bytes=%d-%d", changed<<16, changed<<16))
			before := hs.fetches()
			hs.unfinished(t, httptest.NewRequest("GET", "/film.bin", nil))
			for range 3 {
				if w := hs.get("/film.bin"); w.Code != 200 || !bytes.Equal(w.Body.Bytes(), f.body) {
					t.Errorf("afterwards: %d, %d bytes", w.Code, w.Body.Len())
				}
			}
			// The slice that was new is kept. The one that was read ahead may be fetched twice.
			if n := hs.fetches() - before; n < 15 || n > 16 {
				t.Errorf("the origin was asked %d times for the 15 slices that were old", n)
			}
		})
	}
}

// However long the keys are that viewers think of, what is remembered of them is small.
func TestKeySet(t *testing.T) {
	s := newKeySet(100)
	for i := range 1000 {
		key := strings.Repeat("k", 4<<10) + fmt.Sprint(i)
		s.add(key)
		if !s.has(key) || s.has(key+"x") {
			t.Fatalf("after %d keys: the last is not there, or another is", i)
		}
		if len(s.sums) > 100 {
			t.Fatalf("%d are remembered, the bound is 100", len(s.sums))
		}
	}
	last := strings.Repeat("k", 4<<10) + "999"
	s.forget(last)
	if s.has(last) {
		t.Error("what was forgotten is there")
	}
	before := testing.AllocsPerRun(100, func() { s.has(last) })
	if before != 0 {
		t.Errorf("a look makes %v allocations", before)
	}
}
