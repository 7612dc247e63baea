package freshness

import (
	"net/http"
	"testing"

	"github.com/weir-stream/weir/internal/cdn"
)

func BenchmarkUsable(b *testing.B) {
	f := answer(http.StatusOK, header("Cache-Control", "max-age=100"))
	now := noon.Add(3 * s)
	b.ReportAllocs()
	for b.Loop() {
		if f.Usable(now, RequestControl{}) != Serve {
			b.Fatal("it is not fresh")
		}
	}
}

func BenchmarkParseRequest(b *testing.B) {
	for name, h := range map[string]http.Header{
		"none":   header("Accept", "*/*"),
		"reload": header("Cache-Control", "max-age=0", "Pragma", "no-cache"),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				ParseRequest(h)
			}
		})
	}
}

func BenchmarkVaryKey(b *testing.B) {
	h := header("Accept-Encoding", "gzip, deflate, br, zstd", "Accept-Language", "en-GB,en;q=0.9,de;q=0.8")
	for name, vary := range map[string][]string{
		"none": nil, "encoding": {"Accept-Encoding"}, "encoding and language": {"Accept-Encoding", "Accept-Language"},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			buf := make([]byte, 0, maxVaryKey)
			for b.Loop() {
				buf = AppendVaryKey(buf[:0], vary, h)
			}
		})
	}
}

func BenchmarkEvaluate(b *testing.B) {
	cfg := DefaultConfig()
	for name, h := range map[string]http.Header{
		"segment":  header("Cache-Control", "max-age=3600", "Date", at(0), "Etag", `"1"`),
		"targeted": header("CDN-Cache-Control", "max-age=3600", "Cache-Control", "max-age=1", "Date", at(0), "Etag", `"1"`),
		"varied":   header("Cache-Control", "public, max-age=3600, stale-while-revalidate=60", "Date", at(0), "Vary", "Accept-Encoding, Accept-Language"),
	} {
		b.Run(name, func(b *testing.B) {
			x := Exchange{Kind: cdn.Segment, Status: 200, Response: h, Requested: noon, Received: noon}
			b.ReportAllocs()
			for b.Loop() {
				cfg.Evaluate(x)
			}
		})
	}
}
