package edge

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sort"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weir-stream/weir/internal/cdn/cache"
	"github.com/weir-stream/weir/internal/telemetry"
)

// sizes are those of a media playlist and of a segment.
var sizes = []struct {
	name  string
	bytes int
}{{"playlist 1 KB", 1 << 10}, {"segment 1 MB", 1 << 20}}

const playerQuery = "?CMCD=bl%3D21300%2Cbr%3D3200%2Cbs%2Ccid%3D%22faec5fc2-ac30-11ea-bb37-0242ac130002%22%2Cd%3D4004%2Cmtp%3D25400%2C" +
	"ot%3Dv%2Crtp%3D15000%2Csf%3Dh%2Csid%3D%226e2fb550-c457-11e9-bb97-0800200c9a66%22%2Cst%3Dv%2Ctb%3D6000"

func contender(b *testing.B, size int) []struct {
	name    string
	handler http.Handler
	target  string
} {
	body := bytes.Repeat([]byte("x"), size)
	hs := newHarness(b, func(*http.Request) (*http.Response, error) {
		w := reply(200, "", "Cache-Control", "max-age=3600", "Content-Type", "video/mp4", "Etag", `"1"`, "Date", time.Now().UTC().Format(http.TimeFormat))
		w.Body, w.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(size)
		return w, nil
	})
	hs.observe = func(*telemetry.Request) {}
	hs.get("/live/a/object.m4s")
	plain := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "video/mp4")
		w.Header().Set("Etag", `"1"`)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
	})
	return []struct {
		name    string
		handler http.Handler
		target  string
	}{
		{"ServeContent", plain, "/live/a/object.m4s"},
		{"edge hit", hs, "/live/a/object.m4s"},
		{"edge hit with CMCD", hs, "/live/a/object.m4s" + playerQuery},
	}
}

// BenchmarkHandler measures the handlers alone: their time and what they allocate.
func BenchmarkHandler(b *testing.B) {
	for _, size := range sizes {
		for _, c := range contender(b, size.bytes) {
			b.Run(size.name+"/"+c.name, func(b *testing.B) {
				r := httptest.NewRequest("GET", c.target, nil)
				w := &nowhere{header: http.Header{}}
				b.SetBytes(int64(size.bytes))
				b.ReportAllocs()
				for b.Loop() {
					clear(w.header)
					c.handler.ServeHTTP(w, r)
				}
				if w.n%int64(size.bytes) != 0 || w.n == 0 {
					b.Fatalf("%d bytes were written", w.n)
				}
			})
		}
	}
}

// BenchmarkServer measures them behind net/http, over one kept connection of the loopback.
func BenchmarkServer(b *testing.B) {
	for _, size := range sizes {
		for _, c := range contender(b, size.bytes) {
			b.Run(size.name+"/"+c.name, func(b *testing.B) {
				server := httptest.NewServer(c.handler)
				defer server.Close()
				connection, err := net.Dial("tcp", server.Listener.Addr().String())
				if err != nil {
					b.Fatal(err)
				}
				defer connection.Close()
				request := []byte("GET " + c.target + " HTTP/1.1\r\nHost: edge\r\nUser-Agent: player\r\n\r\n")
				buffer := make([]byte, 1<<20)
				b.SetBytes(int64(size.bytes))
				b.ReportAllocs()
				for b.Loop() {
					if _, err := connection.Write(request); err != nil {
						b.Fatal(err)
					}
					if err := readAnswer(connection, buffer, size.bytes); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// readAnswer reads a head and so many bytes of body, with as little work as can be.
func readAnswer(r io.Reader, buffer []byte, body int) error {
	have := 0
	for {
		n, err := r.Read(buffer[have:])
		if err != nil {
			return err
		}
		have += n
		end := bytes.Index(buffer[:min(have, 4<<10)], []byte("\r\n\r\n"))
		if end < 0 {
			continue
		}
		for left := body - (have - end - 4); left > 0; left -= n {
			if n, err = r.Read(buffer[:min(left, len(buffer))]); err != nil {
				return err
			}
		}
		return nil
	}
}

// nowhere is a ResponseWriter that counts.
type nowhere struct {
	header http.Header
	n      int64
}

func (w *nowhere) Header() http.Header { return w.header }
func (w *nowhere) WriteHeader(int)     {}
func (w *nowhere) Write(p []byte) (int, error) {
	w.n += int64(len(p))
	return len(p), nil
}

// pacedBody gives bytes at a rate, in pieces of 20 ms.
type pacedBody struct {
	start time.Time
	left  int
	given int
	rate  int
	ctx   context.Context
}

func (b *pacedBody) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, io.EOF
	}
	const piece = 20 * time.Millisecond
	n := min(len(p), b.left, b.rate/int(time.Second/piece))
	due := b.start.Add(time.Duration(b.given+n) * time.Second / time.Duration(b.rate))
	select {
	case <-time.After(time.Until(due)):
	case <-b.ctx.Done():
		return 0, b.ctx.Err()
	}
	b.given += n
	b.left -= n
	return n, nil
}

func (b *pacedBody) Close() error { return nil }

func pacedOrigin(size, rate int) originFunc {
	return func(r *http.Request) (*http.Response, error) {
		w := reply(200, "", "Cache-Control", "max-age=60")
		w.Body = &pacedBody{start: time.Now(), left: size, rate: rate, ctx: r.Context()}
		w.ContentLength = int64(size)
		return w, nil
	}
}

// TestStorm lets 200 viewers ask at once for a cold object of 4 MB, of which the origin gives 20 MB a
// second, on the clock of the test.
func TestStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size, rate = 4 << 20, 20 << 20
		hs := newHarness(t, pacedOrigin(size, rate))
		start := time.Now()
		var viewers sync.WaitGroup
		for range 200 {
			viewers.Go(func() {
				w := &nowhere{header: http.Header{}}
				hs.ServeHTTP(w, httptest.NewRequest("GET", "/a.m4s", nil))
				if w.n != size {
					t.Errorf("%d bytes", w.n)
				}
			})
		}
		viewers.Wait()
		if n := hs.fetches(); n != 1 {
			t.Errorf("%d fetches, want 1", n)
		}
		if d := time.Since(start); d != 200*time.Millisecond {
			t.Errorf("the last viewer was served after %v; the origin gives the object in 200 ms", d)
		}
	})
}

// BenchmarkStorm is the same over real connections and on the real clock.
func BenchmarkStorm(b *testing.B) {
	const size, rate, count = 4 << 20, 20 << 20, 200
	hs := newHarness(b, pacedOrigin(size, rate), func(_ *Config, c *cache.Config) { c.CapacityBytes = 1 << 30 })
	server := serve(b, hs)
	connections := make([]net.Conn, count)
	for i := range connections {
		c, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		defer c.Close()
		connections[i] = c
	}
	buffers := sync.Pool{New: func() any { return new([256 << 10]byte) }}
	warm := func(target string) []time.Duration {
		var viewers sync.WaitGroup
		took := make([]time.Duration, count)
		start := time.Now()
		for i, c := range connections {
			viewers.Go(func() {
				if _, err := io.WriteString(c, "GET "+target+" HTTP/1.1\r\nHost: edge\r\n\r\n"); err != nil {
					b.Error(err)
				}
				buffer := buffers.Get().(*[256 << 10]byte)
				defer buffers.Put(buffer)
				if err := readAnswer(c, buffer[:], size); err != nil {
					b.Error(err)
				}
				took[i] = time.Since(start)
			})
		}
		viewers.Wait()
		sort.Slice(took, func(i, j int) bool { return took[i] < took[j] })
		return took
	}
	warm("/warm.m4s")
	fetched := hs.fetches()
	i := 0
	var last, median time.Duration
	for b.Loop() {
		i++
		took := warm(fmt.Sprintf("/%d.m4s", i))
		last += took[count-1]
		median += took[count/2]
	}
	b.ReportMetric(float64(hs.fetches()-fetched)/float64(i), "fetches/op")
	b.ReportMetric(float64(last.Milliseconds())/float64(i), "last-ms")
	b.ReportMetric(float64(median.Milliseconds())/float64(i), "median-ms")
}
