//go:build cgo && !noduckdb

package duckdb

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/weir-stream/weir/cmcd"
	"github.com/weir-stream/weir/internal/telemetry"
)

func open(t testing.TB, dir string) *Store {
	t.Helper()
	s, err := New(Settings{Config: DefaultConfig(), Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{500, 5000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			s := open(b, b.TempDir())
			v, err := cmcd.Parse(`bl=21300,br=3200,cid="content-1",d=4004,dl=18500,mtp=48100,nor="..%2F300kbps%2Ftrack.m4v",ot=v,pr=1.08,rtp=12000,sf=h,sid="6e2fb550-c457-11e9-bb97-0800200c9a66",st=v,su,tb=6000`)
			if err != nil {
				b.Fatal(err)
			}
			start := time.Now()
			n := 0
			for b.Loop() {
				var batch telemetry.Batch
				for range size {
					n++
					batch.Requests = append(batch.Requests, telemetry.Request{
						ID: uuid.Must(uuid.NewV7()), Time: start.Add(time.Duration(n) * 100 * time.Microsecond), Edge: "edge-1",
						Client: netip.MustParseAddr("192.0.2.7"), ClientPort: 4711, UserAgent: "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36",
						Method: "GET", Host: "example.com", Path: fmt.Sprintf("/live/news/video-1-%d.m4s", n), Proto: "HTTP/1.1",
						Stream: "news", Kind: "segment", Status: 200, Bytes: 1 << 20, ContentType: "video/mp4",
						TTFB: time.Millisecond, Duration: 20 * time.Millisecond, CacheStatus: "hit", CMCD: v, HasCMCD: true,
					})
				}
				if err := s.Append(context.Background(), batch); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}

