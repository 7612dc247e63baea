package edge

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/weir-stream/weir/internal/cdn"
	"github.com/weir-stream/weir/internal/cdn/cache"
	"github.com/weir-stream/weir/internal/cdn/edge/h1"
	"github.com/weir-stream/weir/internal/cdn/transform"
)

// textRules compress everything below /, and nothing below /media/.
func textRules(c *Config, _ *cache.Config) {
	c.Rules = []Rule{
		{Path: "/", Forward: ForwardRequest, Compress: true},
		{Path: "/live/", Forward: ForwardObject, CORS: true, Live: true, Compress: true},
		{Path: "/media/", Forward: ForwardObject},
	}
}

// prose is text that becomes smaller.
func prose(word string, size int) string {
	return strings.Repeat(word+" and so on. ", size/len(word)+1)[:size]
}

// decode frees a body of its content coding.
func decode(t testing.TB, coding string, body []byte) string {
	t.Helper()
	var r io.Reader = bytes.NewReader(body)
	var err error
	switch coding {
	case "br":
		r = brotli.NewReader(r)
	case "gzip":
		r, err = gzip.NewReader(r)
	case "zstd":
		var d *zstd.Decoder
		if d, err = zstd.NewReader(r, zstd.WithDecoderConcurrency(1)); err == nil {
			defer d.Close()
			r = d
		}
	}
	if err != nil {
		t.Fatalf("decode %q: %v", coding, err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Errorf("decode %q: %v", coding, err)
	}
	return string(text)
}

// recorder is a ResponseRecorder whose body may be looked at meanwhile.
type recorder struct {
	*httptest.ResponseRecorder
	mu sync.Mutex
}

func (w *recorder) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ResponseRecorder.Write(p)
}

func (w *recorder) bytes() []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	return bytes.Clone(w.Body.Bytes())
}

// What the viewer is told of an encoding, each time by both ways of a hit (RFC 9110 §8.4, §8.8.3, §12.5.3, §13.1, §14).
func TestEncodingsOfAnObject(t *testing.T) {
	page := prose("page", 4000)
	hs := newHarness(t, func(r *http.Request) (*http.Response, error) {
		fields := []string{"Cache-Control", "max-age=60", "Etag", `"1"`, "Content-Type", "text/html", "Accept-Ranges", "bytes", "Content-Digest", "sha-256=:x:"}
		body := page
		switch r.URL.Path {
		case "/image":
			fields[5] = "image/png"
		case "/kept":
			fields[1] = "max-age=60, no-transform"
		case "/short":
			body = "short"
		case "/varying":
			fields = append(fields, "Vary", "Accept-Encoding")
		}
		return reply(200, body, fields...), nil
	}, textRules)
	c, err := net.Dial("tcp", serveLoop(t, hs))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	reader := bufio.NewReader(c)
	const whole, part, unchanged = "200 OK", "206 Partial Content", "304 Not Modified"
	for _, tt := range []struct {
		name, method, path string
		fields             []string
		status, coding     string
		etag, vary, ranges string
	}{
		{"plain", "GET", "/a", nil, whole, "", `"1"`, "Accept-Encoding", "bytes"},
		{"brotli", "GET", "/a", []string{"Accept-Encoding", "br"}, whole, "br", `W/"1-br"`, "Accept-Encoding", "none"},
		{"what the edge likes", "GET", "/a", []string{"Accept-Encoding", "gzip, deflate, br, zstd"}, whole, "zstd", `W/"1-zstd"`, "Accept-Encoding", "none"},
		{"what the viewer likes", "GET", "/a", []string{"Accept-Encoding", "br;q=0.1, gzip"}, whole, "gzip", `W/"1-gzip"`, "Accept-Encoding", "none"},
		{"nothing known", "GET", "/a", []string{"Accept-Encoding", "compress"}, whole, "", `"1"`, "Accept-Encoding", "bytes"},
		{"head", "HEAD", "/a", []string{"Accept-Encoding", "br"}, whole, "br", `W/"1-br"`, "Accept-Encoding", "none"},
		{"range", "GET", "/a", []string{"Accept-Encoding", "br", "Range", "bytes=0-9"}, part, "", `"1"`, "Accept-Encoding", "bytes"},
		{"range of an encoding", "GET", "/a", []string{"Accept-Encoding", "br", "Range", "bytes=0-9", "If-Range", `W/"1-br"`}, whole, "", `"1"`, "Accept-Encoding", "bytes"},
		{"has it encoded", "GET", "/a", []string{"Accept-Encoding", "br", "If-None-Match", `W/"1-br"`}, unchanged, "", `W/"1-br"`, "Accept-Encoding", ""},
		{"has it plain", "GET", "/a", []string{"If-None-Match", `"1"`}, unchanged, "", `"1"`, "Accept-Encoding", ""},
		{"has it in another coding", "GET", "/a", []string{"Accept-Encoding", "br", "If-None-Match", `W/"1-gzip"`}, whole, "br", `W/"1-br"`, "Accept-Encoding", "none"},
		{"wants what is stored", "GET", "/a", []string{"Accept-Encoding", "br", "Cache-Control", "no-transform"}, whole, "", `"1"`, "Accept-Encoding", "bytes"},
		{"image", "GET", "/image", []string{"Accept-Encoding", "br"}, whole, "", `"1"`, "", "bytes"},
		{"no-transform", "GET", "/kept", []string{"Accept-Encoding", "br"}, whole, "", `"1"`, "", "bytes"},
		{"short", "GET", "/short", []string{"Accept-Encoding", "br"}, whole, "", `"1"`, "", "bytes"},
		{"the origin varies", "GET", "/varying", []string{"Accept-Encoding", "br"}, whole, "br", `W/"1-br"`, "Accept-Encoding", "none"},
		{"media", "GET", "/media/a", []string{"Accept-Encoding", "br"}, whole, "", `"1"`, "", "bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, way := range []string{"first", "again"} {
				before := hs.rowCount()
				status, header, body := exchangeRaw(t, c, reader, tt.method, tt.path, tt.fields...)
				waitForRows(t, hs, before+1)
				for name, want := range map[string]string{
					"Content-Encoding": tt.coding, "Etag": tt.etag, "Vary": tt.vary, "Accept-Ranges": tt.ranges,
				} {
					if got := strings.Join(header[name], " | "); got != want {
						t.Errorf("%s: %s is %q, want %q", way, name, got, want)
					}
				}
				if status != tt.status {
					t.Errorf("%s: status %s, want %s", way, status, tt.status)
				}
				if digest := header.Get("Content-Digest"); (digest == "") != strings.HasPrefix(tt.etag, "W/") {
					t.Errorf("%s: Content-Digest of %s is %q", way, tt.etag, digest)
				}
				if row := hs.row(t, -1); row.Bytes != int64(len(body)) {
					t.Errorf("%s: row has %d bytes, the body %d", way, row.Bytes, len(body))
				}
				want := map[string]string{whole: page, part: page[:10]}[tt.status]
				switch {
				case tt.path == "/short":
					want = "short"
				case status == whole && tt.method == "GET" && header.Get("Content-Length") != fmt.Sprint(len(body)):
					t.Errorf("%s: Content-Length %q for %d bytes", way, header.Get("Content-Length"), len(body))
				}
				if tt.method == "HEAD" {
					continue
				}
				if got := decode(t, tt.coding, []byte(body)); got != want {
					t.Errorf("%s: %d bytes are not the %d expected", way, len(got), len(want))
				}
			}
		})
	}
	for _, r := range hs.asked {
		if got := r.Header["Accept-Encoding"]; !slices.Equal(got, []string{"identity"}) {
			t.Errorf("the origin was asked for %s with Accept-Encoding %q", r.URL.Path, got)
		}
	}
	if n := hs.fetches(); n != 6 {
		t.Errorf("%d fetches for 6 objects", n)
	}
}

// ask is what the loop asks for a viewer that accepts a coding.
func ask(path, accepted string) *h1.Request {
	r := hitRequest()
	r.Path, r.Query, r.Target, r.AcceptEncoding = []byte(path), nil, []byte(path), []byte(accepted)
	return r
}

// short reports whether the loop answers by itself, and with which body.
func (hs *harness) short(t testing.TB, r *h1.Request) (string, bool) {
	t.Helper()
	var a h1.Answer
	if !hs.Hit(r, &a) {
		return "", false
	}
	coding := ""
	for line := range strings.SplitSeq(string(a.Head), "\r\n") {
		if name, value, _ := strings.Cut(line, ": "); strings.EqualFold(name, "Content-Encoding") {
			coding = value
		}
	}
	body := decode(t, coding, a.Body)
	a.Done(h1.Result{Bytes: int64(len(a.Body))})
	return coding + ":" + body, true
}

func TestAnEncodingIsAHitOfTheLoop(t *testing.T) {
	body := prose("text", 3000)
	noise := make([]byte, 3000)
	random := rand.NewChaCha8([32]byte{1})
	_, _ = random.Read(noise)
	hs := newHarness(t, func(r *http.Request) (*http.Response, error) {
		w := reply(200, body, "Cache-Control", "max-age=60", "Content-Type", "text/css")
		if r.URL.Path == "/noise" {
			w = reply(200, string(noise), "Cache-Control", "max-age=60", "Content-Type", "text/css")
		}
		return w, nil
	}, textRules)
	if _, ok := hs.short(t, ask("/a", "br")); ok {
		t.Fatal("a hit before anything is there")
	}
	hs.get("/a")
	if got, ok := hs.short(t, ask("/a", "")); !ok || got != ":"+body {
		t.Errorf("plain: %v, %.20q", ok, got)
	}
	if _, ok := hs.short(t, ask("/a", "br")); ok {
		t.Error("what is not encoded yet is a hit")
	}
	hs.get("/a", "Accept-Encoding", "br")
	if got, ok := hs.short(t, ask("/a", "br")); !ok || got != "br:"+body {
		t.Errorf("encoded: %v, %.20q", ok, got)
	}
	// What does not become smaller is not tried again.
	hs.get("/noise", "Accept-Encoding", "br")
	if got, ok := hs.short(t, ask("/noise", "br")); !ok || got != ":"+string(noise) {
		t.Errorf("what does not become smaller: %v, %.20q", ok, got)
	}
	if n := hs.fetches(); n != 2 {
		t.Errorf("%d fetches for 2 objects", n)
	}
}

// Whatever takes an object out of the cache takes its encodings too.
func TestAnEncodingGoesWithItsObject(t *testing.T) {
	for name, take := range map[string]func(*harness) error{
		"url":    func(hs *harness) error { return hs.cache.Purge(cdn.Purge{Scope: cdn.PurgeURL, Target: "/a"}) },
		"prefix": func(hs *harness) error { return hs.cache.Purge(cdn.Purge{Scope: cdn.PurgePrefix, Target: "/"}) },
		"tag":    func(hs *harness) error { return hs.cache.Purge(cdn.Purge{Scope: cdn.PurgeTag, Target: "pages"}) },
		"all":    func(hs *harness) error { return hs.cache.Purge(cdn.Purge{Scope: cdn.PurgeAll}) },
		"soft": func(hs *harness) error {
			return hs.cache.Purge(cdn.Purge{Scope: cdn.PurgeURL, Target: "/a", Soft: true})
		},
		"POST":     func(hs *harness) error { hs.do("POST", "/a"); return nil },
		"new body": func(*harness) error { time.Sleep(2 * time.Minute); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				body := prose("old", 2000)
				hs := newHarness(t, func(*http.Request) (*http.Response, error) {
					return reply(200, body, "Cache-Control", "max-age=60", "Content-Type", "text/css", "Cache-Tag", "pages"), nil
				}, textRules)
				hs.get("/a", "Accept-Encoding", "br")
				if got, ok := hs.short(t, ask("/a", "br")); !ok || got != "br:"+body {
					t.Fatalf("before: %v, %.20q", ok, got)
				}
				body = prose("new", 2000)
				if err := take(hs); err != nil {
					t.Fatal(err)
				}
				if got, ok := hs.short(t, ask("/a", "br")); ok {
					t.Errorf("the loop still answers with %.20q", got)
				}
				w := hs.get("/a", "Accept-Encoding", "br")
				if got := decode(t, w.Header().Get("Content-Encoding"), w.Body.Bytes()); got != body {
					t.Errorf("afterwards: %.20q", got)
				}
				if got, ok := hs.short(t, ask("/a", "br")); !ok || got != "br:"+body {
					t.Errorf("and by the loop: %v, %.20q", ok, got)
				}
			})
		})
	}
}

// A client that has the beginning of one encoding does not get the end of another, though both have the same date.
func TestNoPartByDateOfWhatMayHaveBeenEncoded(t *testing.T) {
	const date = "Fri, 20 Nov 2026 10:00:00 GMT"
	body := prose("dated", 3000)
	for _, control := range []string{"max-age=60", "no-store"} {
		hs := newHarness(t, func(r *http.Request) (*http.Response, error) {
			w := httptest.NewRecorder()
			w.Header().Set("Cache-Control", control)
			w.Header().Set("Content-Type", "text/css")
			modified, err := http.ParseTime(date)
			if err != nil {
				return nil, err
			}
			http.ServeContent(w, r, "", modified, strings.NewReader(body))
			return w.Result(), nil
		}, textRules)
		for range 2 {
			w := hs.get("/a", "Range", "bytes=9-", "If-Range", date, "Accept-Encoding", "br")
			if got := decode(t, "br", w.Body.Bytes()); w.Code != 200 || got != body {
				t.Errorf("%s: %d, %d bytes", control, w.Code, len(got))
			}
			if w := hs.get("/a", "Range", "bytes=9-", "If-Range", date); w.Code != 206 || w.Body.String() != body[9:] {
				t.Errorf("%s, nothing encoded is accepted: %d, %d bytes", control, w.Code, w.Body.Len())
			}
		}
		r := ask("/a", "br")
		r.Range, r.IfRange = []byte("bytes=9-"), []byte(date)
		if got, ok := hs.short(t, r); ok {
			t.Errorf("the loop answers with %.20q", got)
		}
	}
}

// An encoding that a slow viewer's older object was made of never takes the place of a newer one, nor outlives a
// purge that came in between.
func TestAnEncodingOfAnObjectThatWasPurgedIsNotKept(t *testing.T) {
	body := prose("old", 2000)
	hs := newHarness(t, func(*http.Request) (*http.Response, error) {
		return reply(200, body, "Cache-Control", "max-age=60", "Content-Type", "text/css", "Etag", `"same"`), nil
	}, textRules)
	hs.get("/a")
	l := hs.cache.Get(cache.Query{Key: "/a", Now: time.Now(), Header: http.Header{}, Probe: true})
	if err := hs.cache.Purge(cdn.Purge{Scope: cdn.PurgeURL, Target: "/a"}); err != nil {
		t.Fatal(err)
	}
	fill := hs.cache.Get(cache.Query{Key: cache.EncodingKey("/a", "br"), Now: time.Now(), Header: http.Header{}})
	plan := hs.compressor.PlanFor(asks("br"), 200, l.Object.Header, -1)
	hs.encode(fill.Fill, l.Object, plan, http.Header{}, false)
	if out, err := fill.Fill.Wait(t.Context()); err != nil || out.Stored {
		t.Errorf("the encoding of what was purged is kept: %+v, %v", out, err)
	} else {
		out.Object.Release()
	}
	l.Object.Release()
	body = prose("new", 2000)
	w := hs.get("/a", "Accept-Encoding", "br")
	if got := decode(t, "br", w.Body.Bytes()); got != body {
		t.Errorf("after the purge: %.20q", got)
	}
}

// A playlist that is found unchanged is not encoded again.
func TestAnEncodingIsRenewedWithItsObject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body := prose("#EXTINF", 2000)
		etag := `"1"`
		hs := newHarness(t, func(r *http.Request) (*http.Response, error) {
			fields := []string{"Cache-Control", "max-age=1", "Etag", etag, "Content-Type", "application/vnd.apple.mpegurl"}
			if r.Header.Get("If-None-Match") == etag {
				return reply(304, "", fields...), nil
			}
			return reply(200, body, fields...), nil
		}, textRules)
		bytesOf := func() *byte {
			l := hs.cache.Get(cache.Query{Key: cache.EncodingKey("/live/a.m3u8", "gzip"), Now: time.Now(), Probe: true})
			if l.Object == nil {
				t.Fatal("there is no encoding")
			}
			defer l.Object.Release()
			return &l.Object.Whole()[0]
		}
		get := func() string {
			w := hs.get("/live/a.m3u8", "Accept-Encoding", "gzip")
			return decode(t, w.Header().Get("Content-Encoding"), w.Body.Bytes())
		}
		get()
		first := bytesOf()
		for range 3 {
			time.Sleep(2 * time.Second)
			if got := get(); got != body || bytesOf() != first {
				t.Error("it was encoded again")
			}
			if _, ok := hs.short(t, ask("/live/a.m3u8", "gzip")); !ok {
				t.Error("what was revalidated is no hit of the loop")
			}
		}
		time.Sleep(2 * time.Second)
		body, etag = prose("#EXTINF:2", 2000), `"2"`
		if got := get(); got != body || bytesOf() == first {
			t.Errorf("after a change: %.30q", got)
		}
	})
}

// A growing object is encoded once for all, and reaches them as it comes.
func TestAGrowingObjectIsEncodedAsItComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pieces := []string{prose("one", 3000), prose("two", 3000), prose("three", 3000)}
		hs := newHarness(t, func(r *http.Request) (*http.Response, error) {
			w := reply(200, "", "Cache-Control", "max-age=60", "Content-Type", "text/plain")
			w.ContentLength = -1
			w.Body = &slowBody{pieces: slices.Clone(pieces), pause: time.Second, ctx: r.Context()}
			return w, nil
		}, textRules)
		var viewers sync.WaitGroup
		recorders := make([]*recorder, 3)
		for i := range recorders {
			recorders[i] = &recorder{ResponseRecorder: httptest.NewRecorder()}
			r := httptest.NewRequest("GET", "/a", nil)
			r.Header.Set("Accept-Encoding", "br")
			viewers.Go(func() { hs.ServeHTTP(recorders[i], r) })
		}
		time.Sleep(1500 * time.Millisecond)
		synctest.Wait()
		for _, w := range recorders {
			got := make([]byte, len(pieces[0]))
			if _, err := io.ReadFull(brotli.NewReader(bytes.NewReader(w.bytes())), got); err != nil || string(got) != pieces[0] {
				t.Errorf("the first piece has not come: %v", err)
			}
		}
		viewers.Wait()
		for _, w := range recorders {
			if got := decode(t, "br", w.Body.Bytes()); got != strings.Join(pieces, "") {
				t.Errorf("%d bytes", len(got))
			}
		}
		if n := hs.fetches(); n != 1 || hs.cache.Len() != 2 {
			t.Errorf("%d fetches, %d objects; want 1 and its encoding", n, hs.cache.Len())
		}
	})
}

func TestALargeObjectIsEncodedInAStream(t *testing.T) {
	body := prose("large", 3<<20)
	hs := newHarness(t, func(*http.Request) (*http.Response, error) {
		return reply(200, body, "Cache-Control", "max-age=60", "Content-Type", "text/plain", "Etag", `"1"`), nil
	}, textRules)
	hs.get("/a")
	for range 2 {
		w := hs.get("/a", "Accept-Encoding", "zstd")
		if got := decode(t, w.Header().Get("Content-Encoding"), w.Body.Bytes()); got != body || w.Body.Len() > 1<<20 {
			t.Errorf("%d bytes, encoded %d", len(got), w.Body.Len())
		}
	}
	eventually(t, "a hit of the loop", func() bool { _, ok := hs.short(t, ask("/a", "zstd")); return ok })
}

// An encoding that breaks off with its object is not taken for whole, and not kept.
func TestAnEncodingBreaksOffWithItsObject(t *testing.T) {
	hs := newHarness(t, func(*http.Request) (*http.Response, error) {
		w := reply(200, "", "Cache-Control", "max-age=60", "Content-Type", "text/plain")
		w.Body, w.ContentLength = io.NopCloser(io.MultiReader(strings.NewReader(prose("x", 70_000)), failed{io.ErrUnexpectedEOF})), -1
		return w, nil
	}, textRules)
	r := httptest.NewRequest("GET", "/a", nil)
	r.Header.Set("Accept-Encoding", "br")
	w := httptest.NewRecorder()
	func() {
		defer func() { _ = recover() }()
		hs.ServeHTTP(w, r)
	}()
	if got, err := io.ReadAll(brotli.NewReader(w.Body)); w.Code == 200 && err == nil {
		t.Errorf("%d bytes look whole", len(got))
	}
	eventually(t, "an empty cache", func() bool { return hs.cache.Len() == 0 })
}

func TestVariantsHaveTheirOwnEncodings(t *testing.T) {
	hs := newHarness(t, func(r *http.Request) (*http.Response, error) {
		return reply(200, prose(r.Header.Get("Accept-Language"), 2000), "Cache-Control", "max-age=60", "Content-Type", "text/html",
			"Vary", "Accept-Encoding, Accept-Language"), nil
	}, textRules)
	for range 2 {
		for _, language := range []string{"de", "cy"} {
			for _, coding := range []string{"br", "gzip", ""} {
				w := hs.get("/a", "Accept-Language", language, "Accept-Encoding", coding)
				if got := decode(t, w.Header().Get("Content-Encoding"), w.Body.Bytes()); got != prose(language, 2000) || w.Header().Get("Content-Encoding") != coding {
					t.Errorf("%s, %s: %.20q in %q", language, coding, got, w.Header().Get("Content-Encoding"))
				}
				if got := w.Header().Get("Vary"); got != "Accept-Encoding, Accept-Language" {
					t.Errorf("Vary is %q", got)
				}
			}
		}
	}
	if n := hs.fetches(); n != 2 {
		t.Errorf("%d fetches for two languages", n)
	}
}

// What is not kept is encoded as it passes.
func TestWhatIsPassedThroughIsEncoded(t *testing.T) {
	body := prose("private", 5000)
	for name, tt := range map[string]struct {
		method, coding string
		fields         []string
		status         int
		etag, vary     string
		stream         bool
	}{
		"known length":   {"GET", "br", nil, 200, `W/"1-br"`, "Accept-Encoding", false},
		"unknown length": {"GET", "zstd", nil, 200, `W/"1-zstd"`, "Accept-Encoding", true},
		"head":           {"HEAD", "gzip", nil, 200, `W/"1-gzip"`, "Accept-Encoding", false},
		"plain":          {"GET", "", nil, 200, `"1"`, "Accept-Encoding", false},
		"of a form":      {"POST", "br", nil, 200, `W/"1-br"`, "Accept-Encoding", false},
		"range":          {"GET", "br", []string{"Range", "bytes=0-9"}, 206, `"1"`, "Accept-Encoding", false},
		"unchanged":      {"GET", "br", []string{"If-None-Match", `"0", W/"1-br"`}, 304, `W/"1-br"`, "Accept-Encoding", false},
		"changed":        {"GET", "br", []string{"If-None-Match", `W/"0-br"`}, 200, `W/"1-br"`, "Accept-Encoding", false},
	} {
		t.Run(name, func(t *testing.T) {
			hs := newHarness(t, func(r *http.Request) (*http.Response, error) {
				w := httptest.NewRecorder()
				w.Header().Set("Cache-Control", "no-store")
				w.Header().Set("Etag", `"1"`)
				w.Header().Set("Content-Type", "text/plain")
				if r.Method == "POST" {
					_, _ = io.WriteString(w, body)
				} else {
					http.ServeContent(w, r, "", time.Time{}, strings.NewReader(body))
				}
				response := w.Result()
				if tt.stream {
					response.ContentLength = -1
					response.Header.Del("Content-Length")
				}
				return response, nil
			}, textRules)
			for range 2 { // the first is a fill that turns out to be for one viewer
				w := hs.do(tt.method, "/a", append(tt.fields, "Accept-Encoding", tt.coding)...)
				coding := tt.coding
				if tt.status != 200 {
					coding = ""
				}
				for name, want := range map[string]string{"Content-Encoding": coding, "Etag": tt.etag, "Vary": tt.vary} {
					if got := strings.Join(w.Header()[name], ", "); got != want {
						t.Errorf("%s is %q, want %q", name, got, want)
					}
				}
				want := body
				switch {
				case tt.method == "HEAD" || tt.status == 304:
					want = ""
				case tt.status == 206:
					want = body[:10]
				}
				if tt.method != "HEAD" && w.Code != 304 {
					if got := decode(t, coding, w.Body.Bytes()); got != want {
						t.Errorf("%d bytes, want %d", len(got), len(want))
					}
				}
				if w.Code != tt.status || coding != "" && w.Header().Get("Content-Length") != "" {
					t.Errorf("status %d, Content-Length %q", w.Code, w.Header().Get("Content-Length"))
				}
			}
		})
	}
}

// A stream that breaks off does not look whole, and one that pauses has been sent until there.
func TestAPassedStreamIsEncodedAsItComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hs := newHarness(t, func(r *http.Request) (*http.Response, error) {
			w := reply(200, "", "Cache-Control", "no-store", "Content-Type", "text/event-stream")
			w.ContentLength = -1
			w.Body = &slowBody{pieces: []string{"data: 1\n\n", "data: 2\n\n"}, pause: time.Second, ctx: r.Context()}
			return w, nil
		}, textRules)
		w := &recorder{ResponseRecorder: httptest.NewRecorder()}
		r := httptest.NewRequest("GET", "/a", nil)
		r.Header.Set("Accept-Encoding", "gzip")
		done := make(chan struct{})
		go func() { defer close(done); hs.ServeHTTP(w, r) }()
		time.Sleep(1500 * time.Millisecond)
		synctest.Wait()
		g, err := gzip.NewReader(bytes.NewReader(w.bytes()))
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 9)
		if _, err := io.ReadFull(g, got); err != nil || string(got) != "data: 1\n\n" {
			t.Errorf("after the first event: %q, %v", got, err)
		}
		<-done
		if got := decode(t, "gzip", w.Body.Bytes()); got != "data: 1\n\ndata: 2\n\n" {
			t.Errorf("in the end: %q", got)
		}
	})
	hs := newHarness(t, func(*http.Request) (*http.Response, error) {
		w := reply(200, prose("x", 1000), "Cache-Control", "no-store", "Content-Type", "text/plain")
		w.ContentLength = 2000
		return w, nil
	}, textRules)
	r := httptest.NewRequest("GET", "/a", nil)
	r.Header.Set("Accept-Encoding", "gzip")
	hs.unfinished(t, r)
}

// An origin that encodes although it was asked not to: who does not accept that gets it decoded.
func TestWhatTheOriginHasEncoded(t *testing.T) {
	body := prose("encoded", 5000)
	var encoded bytes.Buffer
	g := gzip.NewWriter(&encoded)
	_, _ = io.WriteString(g, body)
	_ = g.Close()
	for _, control := range []string{"max-age=60", "no-store"} {
		hs := newHarness(t, func(*http.Request) (*http.Response, error) {
			return reply(200, encoded.String(), "Cache-Control", control, "Content-Type", "text/plain", "Content-Encoding", "gzip", "Etag", `"1"`), nil
		}, textRules)
		for range 2 {
			for accepted, want := range map[string]struct{ coding, etag string }{
				"gzip": {"gzip", `"1"`}, "br": {"br", `W/"1-br"`}, "": {"", `W/"1-identity"`},
			} {
				w := hs.get("/a", "Accept-Encoding", accepted)
				if got := decode(t, want.coding, w.Body.Bytes()); got != body || w.Header().Get("Content-Encoding") != want.coding ||
					w.Header().Get("Etag") != want.etag || w.Header().Get("Vary") != "Accept-Encoding" {
					t.Errorf("%s, %q accepted: %d bytes, %v", control, accepted, len(got), w.Header())
				}
			}
		}
	}
}

// Many viewers at the same time, while the object changes and is purged: nobody gets a body that never was, nor an
// older one than a purge allows.
func TestEncodingsWhileTheObjectChanges(t *testing.T) {
	var mu sync.Mutex
	version := 0
	hs := newHarness(t, func(*http.Request) (*http.Response, error) {
		mu.Lock()
		defer mu.Unlock()
		return reply(200, prose(fmt.Sprintf("v%06d", version), 3000), "Cache-Control", "max-age=60", "Content-Type", "text/plain", "Etag", `"same"`), nil
	}, textRules)
	var viewers sync.WaitGroup
	stop := make(chan struct{})
	for i := range 6 {
		viewers.Go(func() {
			coding := []string{"br", "gzip", ""}[i%3]
			for {
				select {
				case <-stop:
					return
				default:
				}
				mu.Lock()
				least := version - 1 // a purge of this one may be on its way
				mu.Unlock()
				w := hs.get("/a", "Accept-Encoding", coding)
				var got int
				if _, err := fmt.Sscanf(decode(t, w.Header().Get("Content-Encoding"), w.Body.Bytes()), "v%d", &got); err != nil || got < least {
					t.Errorf("version %d, at least %d is expected: %v", got, least, err)
				}
			}
		})
	}
	for range 100 {
		mu.Lock()
		version++
		mu.Unlock()
		if err := hs.cache.Purge(cdn.Purge{Scope: cdn.PurgeURL, Target: "/a"}); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	viewers.Wait()
}

func asks(accepted string) transform.Asked { return transform.Asked{AcceptEncoding: accepted} }
