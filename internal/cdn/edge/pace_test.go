package edge

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/weir-stream/weir/internal/cdn/cache"
	"github.com/weir-stream/weir/internal/cdn/edge/h1"
)

func pacing(c *Config, _ *cache.Config) {
	c.Rules = []Rule{{Path: "/", Forward: ForwardObject}, {Path: "/paced/", Forward: ForwardObject, Pace: true}}
}

func TestPaceIsWhatThePlayerAsksWhereTheRuleSaysSo(t *testing.T) {
	hs := newHarness(t, func(*http.Request) (*http.Response, error) {
		return reply(200, "x", "Cache-Control", "max-age=60"), nil
	}, pacing)
	for _, tt := range []struct {
		path, cmcd string
		want       int64
	}{
		{"/paced/a", "rtp=8000", 1_000_000},
		{"/paced/a", "rtp=100", 12_500},
		{"/paced/a", "rtp=50", 0}, // a mistake
		{"/paced/a", "br=3000", 0},
		{"/paced/a", "", 0},
		{"/a", "rtp=8000", 0},
	} {
		hs.get(tt.path)
		r := hitRequest()
		r.Path, r.Query = []byte(tt.path), []byte("CMCD="+url.QueryEscape(tt.cmcd))
		var a h1.Answer
		if !hs.Hit(r, &a) {
			t.Fatalf("%s is no hit", tt.path)
		}
		if a.Pace != tt.want {
			t.Errorf("%s with %q: %d bytes/s, want %d", tt.path, tt.cmcd, a.Pace, tt.want)
		}
		a.Done(h1.Result{})
		w := &pacedRecorder{recorder: recorder{ResponseRecorder: httptest.NewRecorder()}, rate: -1}
		request, err := http.NewRequest("GET", announcing(tt.path, tt.cmcd), nil)
		if err != nil {
			t.Fatal(err)
		}
		hs.ServeHTTP(w, request)
		if w.rate != tt.want {
			t.Errorf("%s with %q on the long way: %d bytes/s, want %d", tt.path, tt.cmcd, w.rate, tt.want)
		}
	}
}

// pacedRecorder is a writer of the loop.
type pacedRecorder struct {
	recorder
	rate int64
}

func (w *pacedRecorder) SetPace(rate int64)   { w.rate = rate }
func (w *pacedRecorder) TCP() *h1.TCPInfo     { return nil }
func (w *pacedRecorder) LastTCP() *h1.TCPInfo { return nil }

// Over a real connection the kernel does it. The rate is roughly what was asked, and the next answer is not held back.
func TestAClientGetsRoughlyTheRateThatItAsksFor(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("Linux only")
	}
	const size = 2 << 20
	hs := newHarness(t, func(*http.Request) (*http.Response, error) {
		return reply(200, strings.Repeat("x", size), "Cache-Control", "max-age=60"), nil
	}, pacing)
	c, err := net.Dial("tcp", serveLoop(t, hs))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	reader := bufio.NewReader(c)
	get := func(target string) time.Duration {
		begin := time.Now()
		if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: edge\r\n\r\n", target); err != nil {
			t.Fatal(err)
		}
		response, err := http.ReadResponse(reader, nil)
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, response.Body)
		if err != nil || n != size {
			t.Fatalf("%d bytes: %v", n, err)
		}
		return time.Since(begin)
	}
	slow := announcing("/paced/a", "rtp=16000") // 2 MB/s: a second
	for _, way := range []string{"miss", "hit"} {
		if d := get(slow); d < 600*time.Millisecond || d > 5*time.Second {
			t.Errorf("a %s of 2 MiB at 2 MB/s took %v", way, d)
		}
		if d := get("/paced/a"); d > 600*time.Millisecond {
			t.Errorf("the next without a wish took %v", d)
		}
	}
}
