package edge

import (
	"net/http"
	"testing"

	"github.com/weir-stream/weir/internal/cdn/edge/h1"
	"github.com/weir-stream/weir/internal/telemetry"
)

// BenchmarkHitOfAnEncoding measures what compress adds to a hit: another lookup, and only where the rule has it.
func BenchmarkHitOfAnEncoding(b *testing.B) {
	body := prose("text", 3000)
	hs := newHarness(b, func(*http.Request) (*http.Response, error) {
		return reply(200, body, "Cache-Control", "max-age=3600", "Content-Type", "text/css"), nil
	}, textRules)
	hs.observe = func(*telemetry.Request) {}
	for _, path := range []string{"/media/a", "/a"} {
		hs.get(path, "Accept-Encoding", "br")
		b.Run(path, func(b *testing.B) {
			r := ask(path, "br, deflate")
			extra := make([]byte, 0, 256)
			b.ReportAllocs()
			for b.Loop() {
				a := h1.Answer{Extra: extra[:0]}
				if !hs.Hit(r, &a) {
					b.Fatal("no hit")
				}
				a.Done(h1.Result{})
			}
		})
	}
}
