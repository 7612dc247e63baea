package transform

import (
	"fmt"
	"io"
	"testing"
)

func BenchmarkBody(b *testing.B) {
	c := newCompressor(b)
	body := playlist(2000)
	for _, e := range all {
		for effort, name := range map[Effort]string{Dynamic: "dynamic", Static: "static"} {
			b.Run(fmt.Sprintf("%s/%s", e, name), func(b *testing.B) {
				var out []byte
				b.SetBytes(int64(len(body)))
				b.ReportAllocs()
				for b.Loop() {
					var err error
					if out, err = c.Body(out[:0], body, e, effort); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(len(body))/float64(len(out)), "ratio")
			})
		}
	}
}

func BenchmarkWriter(b *testing.B) {
	c := newCompressor(b)
	body := playlist(2000)
	for _, e := range all {
		b.Run(string(e), func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				w, err := c.Writer(io.Discard, e, Dynamic)
				if err != nil {
					b.Fatal(err)
				}
				_, _ = w.Write(body)
				if err := w.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkReader(b *testing.B) {
	c := newCompressor(b)
	body := playlist(2000)
	for _, e := range all {
		encoded, err := c.Body(nil, body, e, Static)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(string(e), func(b *testing.B) {
			var out []byte
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				if out, err = c.Decoded(out[:0], encoded, e, 1<<20); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkNegotiate(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		Negotiate("gzip, deflate, br, zstd", all)
	}
}
