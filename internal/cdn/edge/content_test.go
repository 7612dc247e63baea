package edge

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/weir-stream/weir/internal/cdn/cache"
)

// A request of which it is not known at first whether it has content, as all of HTTP/3, is answered from the cache if it
// has none. If it has, the origin gets all of it.
func TestContentOfUnknownLength(t *testing.T) {
	hs := newHarness(t, func(r *http.Request) (*http.Response, error) {
		got := "nothing"
		if r.Body != nil {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return nil, err
			}
			got = string(body)
		}
		return reply(200, got, "Cache-Control", "max-age=60"), nil
	}, func(c *Config, _ *cache.Config) { c.Rules = ProxyRules() })
	for i, tt := range []struct {
		content, want string
		fetches       int
	}{
		{"", "nothing", 1}, {"", "nothing", 1}, {"what", "what", 2}, {"w", "w", 3}, {"", "nothing", 3},
	} {
		r := httptest.NewRequest(http.MethodGet, "/a", nil)
		r.Body, r.ContentLength = io.NopCloser(struct{ io.Reader }{strings.NewReader(tt.content)}), -1
		w := httptest.NewRecorder()
		hs.ServeHTTP(w, r)
		if w.Body.String() != tt.want || hs.fetches() != tt.fetches {
			t.Errorf("request %d with %q: %q after %d fetches, want %q after %d", i, tt.content, w.Body, hs.fetches(), tt.want, tt.fetches)
		}
	}
}
