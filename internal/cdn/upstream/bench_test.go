package upstream

import (
	"io"
	"net/http"
	"testing"
)

// What the pool costs beside the transport: one origin, an answer of one byte over loopback.
func BenchmarkRoundTrip(b *testing.B) {
	origin := serve(b, says("x"))
	run := func(b *testing.B, t http.RoundTripper, target string) {
		r, err := http.NewRequestWithContext(b.Context(), http.MethodGet, target, nil)
		if err != nil {
			b.Fatal(err)
		}
		r.Header = http.Header{"User-Agent": {"weir-edge"}, "Accept-Encoding": {"identity"}, "Via": {"1.1 edge-1"}}
		b.ReportAllocs()
		for b.Loop() {
			w, err := t.RoundTrip(r)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, w.Body); err != nil {
				b.Fatal(err)
			}
			_ = w.Body.Close()
		}
	}
	b.Run("transport", func(b *testing.B) {
		t := &http.Transport{DisableCompression: true}
		defer t.CloseIdleConnections()
		run(b, t, origin.URL+"/live/a/1.m4s")
	})
	b.Run("pool", func(b *testing.B) { run(b, newPool(b, origins(origin.URL)), "http://origin/live/a/1.m4s") })
}

// The pool alone: a transport that answers at once.
func BenchmarkOverhead(b *testing.B) {
	answer := &http.Response{StatusCode: http.StatusOK, Header: http.Header{}}
	run := func(b *testing.B, change ...func(*Settings)) {
		p := newPool(b, append(change, func(s *Settings) {
			s.Transport = roundTripper(func(*http.Request) (*http.Response, error) {
				w := *answer
				w.Body = io.NopCloser(nil)
				return &w, nil
			})
		})...)
		r := request(b, http.MethodGet, "/live/a/1.m4s", nil)
		r.Header = http.Header{"User-Agent": {"weir-edge"}, "Accept-Encoding": {"identity"}, "Via": {"1.1 edge-1"}}
		b.ReportAllocs()
		for b.Loop() {
			w, err := p.RoundTrip(r)
			if err != nil {
				b.Fatal(err)
			}
			_ = w.Body.Close()
		}
	}
	four := origins("http://a", "http://b", "http://c", "http://d")
	b.Run("one origin", func(b *testing.B) { run(b, origins("http://a")) })
	b.Run("four origins", func(b *testing.B) { run(b, four) })
	b.Run("four origins, by hash", func(b *testing.B) { run(b, four, config(func(c *Config) { c.Balance = Hash })) })
}
