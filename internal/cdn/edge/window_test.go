package edge

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/weir-stream/weir/internal/cdn/cache"
)

// A text of unknown length that outgrows the cache is encoded while it comes: the viewer reads the encoding only.
func TestATextThatOutgrowsTheCacheIsEncoded(t *testing.T) {
	body := strings.Repeat("hello world, ", 4<<20/13)
	hs := newHarness(t, func(*http.Request) (*http.Response, error) {
		w := reply(200, "", "Cache-Control", "max-age=60", "Content-Type", "text/plain", "Etag", `"1"`)
		w.Body, w.ContentLength = io.NopCloser(strings.NewReader(body)), -1
		return w, nil
	}, func(e *Config, c *cache.Config) {
		e.Rules = []Rule{{Path: "/", Forward: ForwardRequest, Compress: true}}
		c.MaxObjectBytes, e.SliceBytes = 1<<20, 0
		e.HeadTimeout, e.FillTimeout = 5*time.Second, 20*time.Second
	})
	for _, coding := range []string{"gzip", "zstd"} {
		w := hs.get("/a.txt", "Accept-Encoding", coding)
		if got := w.Header().Get("Content-Encoding"); got != coding {
			t.Fatalf("Content-Encoding: %q, want %q", got, coding)
		}
		if got := decode(t, coding, w.Body.Bytes()); got != body {
			t.Errorf("%s: %d bytes, want %d", coding, len(got), len(body))
		}
	}
}
