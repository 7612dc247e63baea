package collector

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/weir-stream/weir/cmcd"
	"github.com/weir-stream/weir/internal/telemetry"
)

// posts are requests to take turns in, so that no record is a duplicate.
type posts struct {
	bodies  [][]byte
	records int // in each body
}

// newPosts makes bodies of so many records as hls.js sends them, of 100 sessions.
func newPosts(records int) posts {
	p := posts{records: records}
	for i := range 20_000 / records {
		var body bytes.Buffer
		for j := range records {
			n := i*records + j
			fmt.Fprintf(&body, "bl=(8200),br=(2300),cid=\"movie\",e=t,mtp=(15300),pb=(2300),pr=1,pt=%d,sf=h,sid=\"6fb30547-dd18-49d5-a05c-1434ac1c85%02d\",sn=%d,st=v,sta=p,tb=(4800),ts=%d,v=2\n",
				n, i%100, n/100, 1764269150889+n)
		}
		p.bodies = append(p.bodies, body.Bytes())
	}
	return p
}

// null is a response writer that keeps nothing.
type null struct{ header http.Header }

func (n *null) Header() http.Header         { return n.header }
func (n *null) Write(p []byte) (int, error) { return len(p), nil }
func (n *null) WriteHeader(int)             {}

func (p posts) run(b *testing.B, h func() http.Handler) {
	b.ReportAllocs()
	handler := h()
	i := 0
	for b.Loop() {
		if i++; i%len(p.bodies) == 0 {
			b.StopTimer()
			handler = h() // one that has seen none of them
			b.StartTimer()
		}
		r := httptest.NewRequest(http.MethodPost, "/cmcd", bytes.NewReader(p.bodies[i%len(p.bodies)]))
		r.Header.Set("Content-Type", "application/cmcd")
		handler.ServeHTTP(&null{http.Header{}}, r)
	}
	b.ReportMetric(float64(b.N)*float64(p.records)/b.Elapsed().Seconds(), "records/s")
}

// BenchmarkHandler measures a request with one record and with many, beside a handler that only reads the
// body, decodes it and sends what it has over a channel: no limits, no duplicates, no clocks.
func BenchmarkHandler(b *testing.B) {
	for _, records := range []int{1, 5, 100} {
		p := newPosts(records)
		b.Run(fmt.Sprintf("collector/%d", records), func(b *testing.B) {
			p.run(b, func() http.Handler {
				config := DefaultConfig()
				config.MaxSessionRecords = 1 << 30
				h, err := New(Settings{Config: config, Accept: func(context.Context, []telemetry.Report) error { return nil }})
				if err != nil {
					b.Fatal(err)
				}
				return h
			})
		})
		b.Run(fmt.Sprintf("naive/%d", records), func(b *testing.B) {
			out := make(chan cmcd.Values, 1000)
			done := make(chan struct{})
			go func() {
				defer close(done)
				for range out {
				}
			}()
			p.run(b, func() http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					body, err := io.ReadAll(r.Body)
					if err != nil {
						http.Error(w, err.Error(), http.StatusInternalServerError)
						return
					}
					for line := range bytes.Lines(body) {
						v, err := cmcd.Parse(string(line))
						if err == nil {
							out <- v
						}
					}
					w.WriteHeader(http.StatusNoContent)
				})
			})
			close(out)
			<-done
		})
	}
}
