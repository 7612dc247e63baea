package edge

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weir-stream/weir/internal/cdn"
	"github.com/weir-stream/weir/internal/cdn/cache"
)

// parts serves the ranges of a body, with fields beside it.
func parts(r *http.Request, body []byte, fields ...string) (*http.Response, error) {
	w := httptest.NewRecorder()
	w.Header().Set("Content-Type", "video/mp4")
	for i := 0; i < len(fields); i += 2 {
		w.Header().Set(fields[i], fields[i+1])
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
	return w.Result(), nil
}

// A viewer who seeks in a large object that may not be kept gets the part from the origin.
func TestASeekInWhatMayNotBeKeptIsPassed(t *testing.T) {
	body := bytes.Repeat([]byte("0123456789"), 100<<10)
	for _, control := range []string{"private", "no-store", "private, max-age=60"} {
		hs := newHarness(t, func(r *http.Request) (*http.Response, error) {
			return parts(r, body, "Cache-Control", control, "Etag", `"1"`)
		}, slicing)
		for range 3 {
			w := hs.get("/film.bin", "Range", "bytes=700000-700009")
			if w.Code != 206 || w.Body.String() != "0123456789" {
				t.Errorf("%s: %d %q", control, w.Code, w.Body)
			}
		}
		if row := hs.row(t, -1); row.MissReason != string(cdn.Uncacheable) || row.OriginStatus != 206 {
			t.Errorf("%s: row %+v", control, row)
		}
	}
}

// As long as what is in use takes all of the memory, large objects are passed.
func TestASeekWithoutRoomIsPassed(t *testing.T) {
	body := bytes.Repeat([]byte("0123456789"), 200<<10)
	hold := make(chan struct{})
	begun := make(chan struct{})
	hs := newHarness(t, func(r *http.Request) (*http.Response, error) {
		if r.URL.Path == "/large.bin" {
			return parts(r, body, "Cache-Control", "max-age=60", "Etag", `"1"`)
		}
		w := reply(200, "", "Cache-Control", "max-age=60")
		w.ContentLength = 1000 << 10
		w.Body = &heldBody{begun: begun, hold: hold, left: 1000 << 10}
		return w, nil
	}, func(e *Config, c *cache.Config) {
		e.SliceBytes, c.CapacityBytes, c.MaxObjectBytes, c.DiskBytes = 64<<10, 1<<20, 1001<<10, 0
	})
	var viewer sync.WaitGroup
	viewer.Go(func() { hs.get("/in-use.bin") })
	<-begun
	w := hs.get("/large.bin", "Range", "bytes=700000-700009")
	if w.Code != 206 || w.Body.String() != "0123456789" {
		t.Errorf("%d %q", w.Code, w.Body)
	}
	close(hold)
	viewer.Wait()
}

// heldBody comes when hold is closed.
type heldBody struct {
	begun, hold chan struct{}
	once        sync.Once
	left        int
}

func (b *heldBody) Read(p []byte) (int, error) {
	b.once.Do(func() { close(b.begun) })
	<-b.hold
	n := min(len(p), b.left)
	if b.left -= n; b.left == 0 {
		return n, io.EOF
	}
	return n, nil
}

func (b *heldBody) Close() error { return nil }

// Without a validator nobody can tell whether two slices are of the same state.
func TestWithoutAValidatorThereAreNoSlices(t *testing.T) {
	for name, fields := range map[string][]string{
		"none": {"Cache-Control", "max-age=60"},
		"weak": {"Cache-Control", "max-age=60", "Etag", `W/"1"`},
	} {
		t.Run(name, func(t *testing.T) {
			var letter atomic.Uint32
			letter.Store('a')
			hs := newHarness(t, func(r *http.Request) (*http.Response, error) {
				return parts(r, bytes.Repeat([]byte{byte(letter.Load())}, 1<<20), fields...)
			}, slicing)
			hs.get("/film.bin", "Range", "bytes=655360-655369")
			letter.Store('b')
			w := hs.get("/film.bin", "Range", "bytes=655360-800000")
			if body := w.Body.String(); w.Code != 206 || strings.Contains(body, "a") && strings.Contains(body, "b") {
				t.Errorf("%d, a mixture of two states", w.Code)
			}
		})
	}
}

// An object that grows within a second has the date of before, and another length.
func TestSlicesOfTwoLengthsAreNeverMixed(t *testing.T) {
	const date = "Thu, 01 Jan 2026 00:00:00 GMT"
	var body atomic.Pointer[[]byte]
	set := func(letter string, size int) {
		b := bytes.Repeat([]byte(letter), size)
		body.Store(&b)
	}
	set("a", 1<<20)
	hs := newHarness(t, func(r *http.Request) (*http.Response, error) {
		return parts(r, *body.Load(), "Cache-Control", "max-age=60", "Last-Modified", date)
	}, slicing)
	hs.get("/film.bin", "Range", "bytes=65536-65540") // slice 1 of the shorter
	set("b", 1<<20+100)
	hs.unfinished(t, httptest.NewRequest("GET", "/film.bin", nil))
	if w := hs.get("/film.bin"); w.Code != 200 || !bytes.Equal(w.Body.Bytes(), *body.Load()) {
		t.Errorf("afterwards: %d, %d bytes", w.Code, w.Body.Len())
	}
}

func inLanguages(r *http.Request) (*http.Response, error) {
	language := r.Header.Get("Accept-Language")
	if language == "" {
		language = "none"
	}
	return parts(r, bytes.Repeat([]byte(language[:1]), 300<<10), "Cache-Control", "max-age=60", "Etag", `"`+language+`"`, "Vary", "Accept-Language")
}

// Slices have variants as whole objects have.
func TestSlicesVary(t *testing.T) {
	hs := newHarness(t, inLanguages, slicing, forProxies)
	for range 2 {
		for _, language := range []string{"", "fr", "de"} {
			var fields []string
			want := "n"
			if language != "" {
				fields, want = []string{"Accept-Language", language}, language[:1]
			}
			for _, part := range []string{"", "bytes=100000-200000"} {
				w := hs.get("/film.bin", append(fields, "Range", part)...)
				if body := w.Body.String(); strings.Trim(body, want) != "" || len(body) < 100001 {
					t.Errorf("%q %q: %d, %d bytes, that begin with %.1s", language, part, w.Code, len(body), body)
				}
			}
		}
	}
	if row := hs.row(t, -1); row.CacheStatus != string(cdn.Hit) {
		t.Errorf("the second time: %s", row.CacheStatus)
	}
}

// Who waits for a slice that turns out to be of another variant asks again.
func TestWaitersForASliceGetTheirVariant(t *testing.T) {
	hold := make(chan struct{})
	var asked atomic.Int32
	hs := newHarness(t, func(r *http.Request) (*http.Response, error) {
		if r.Header.Get("Range") != "" && asked.Add(1) == 1 {
			<-hold
		}
		return inLanguages(r)
	}, slicing, forProxies)
	hs.large.add("/film.bin")
	var viewers sync.WaitGroup
	for _, language := range []string{"fr", "de", "es"} {
		viewers.Go(func() {
			w := hs.get("/film.bin", "Accept-Language", language)
			if body := w.Body.String(); strings.Trim(body, language[:1]) != "" || len(body) != 300<<10 {
				t.Errorf("%s: %d, %d bytes, that begin with %.1s", language, w.Code, len(body), body)
			}
		})
	}
	waitForFetches(t, hs, 1)
	close(hold)
	viewers.Wait()
}

// What a request says to caches counts for large objects too.
func TestDirectivesOfRequestsForLargeObjects(t *testing.T) {
	f := newFilm(300 << 10)
	hs := newHarness(t, f.serve, slicing, forProxies)
	hs.get("/film.bin")
	if w := hs.get("/film.bin", "Cache-Control", "only-if-cached"); w.Code != 200 || w.Body.String() != string(f.body) {
		t.Errorf("of what is held: %d, %d bytes", w.Code, w.Body.Len())
	}
	before := hs.fetches()
	if w := hs.get("/film.bin", "Cache-Control", "no-cache"); w.Code != 200 || hs.fetches() != before+5 {
		t.Errorf("no-cache: %d, and %d of 5 slices were revalidated", w.Code, hs.fetches()-before)
	}
	before = hs.fetches()
	if w := hs.get("/film.bin", "Cache-Control", "no-store"); w.Code != 200 || hs.fetches() != before+1 || w.Body.String() != string(f.body) {
		t.Errorf("no-store: %d after %d fetches", w.Code, hs.fetches()-before)
	}
	hs.cache.Invalidate(cache.SliceKey("/film.bin", 3))
	before = hs.fetches()
	for part, want := range map[string]int{"": 504, "bytes=0-9": 206, "bytes=0-290000": 504} {
		w := hs.get("/film.bin", "Cache-Control", "only-if-cached", "Range", part)
		if w.Code != want || w.Header().Get("Etag") != "" && want == 504 {
			t.Errorf("only-if-cached without a slice, %q: %d %v, want %d", part, w.Code, w.Header(), want)
		}
	}
	if err := hs.cache.Purge(cdn.Purge{Scope: cdn.PurgeAll}); err != nil {
		t.Fatal(err)
	}
	if w := hs.get("/film.bin", "Cache-Control", "only-if-cached"); w.Code != 504 || hs.fetches() != before {
		t.Errorf("only-if-cached of what was purged: %d after %d fetches", w.Code, hs.fetches()-before)
	}
}
