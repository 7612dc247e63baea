package edge

import (
	"net/http"
	"strings"
	"testing"

	"github.com/weir-stream/weir/internal/cdn/cache"
)

// forProxies is an edge in front of any HTTP origin.
func forProxies(e *Config, _ *cache.Config) { e.Rules = ProxyRules() }

// What is announced, or named by a playlist, is under the rule of what was asked for, or is not fetched: under its own
// it might be told of cookies, or vary.
func TestAPrefetchDoesNotCrossToAnotherRule(t *testing.T) {
	for name, target := range map[string]string{
		"announced":        announcing("/x.m4s", `nor="api/me"`),
		"announced range":  announcing("/x.m4s", `nor="api/me",nrr="0-9"`),
		"in a playlist":    "/x.m3u8",
		"escaped":          announcing("/x.m4s", `nor="api%2Fme"`),
		"by a longer path": announcing("/x.m4s", `nor="api/./me"`),
	} {
		t.Run(name, func(t *testing.T) {
			hs := newHarness(t, func(r *http.Request) (*http.Response, error) {
				if strings.HasSuffix(r.URL.Path, ".m3u8") {
					return reply(200, "#EXTM3U\n#EXTINF:4,\napi/me\n", "Cache-Control", "max-age=60"), nil
				}
				return reply(200, "of "+r.Header.Get("Cookie"), "Cache-Control", "public, max-age=60", "Vary", "Cookie"), nil
			}, func(e *Config, _ *cache.Config) {
				e.Rules = []Rule{{Path: "/", Forward: ForwardObject, Prefetch: true}, {Path: "/api/", Forward: ForwardRequest}}
			})
			hs.get(target)
			hs.running.Wait()
			if w := hs.get("/api/me", "Cookie", "me"); w.Body.String() != "of me" {
				t.Errorf("who is somebody got the answer %q", w.Body)
			}
			if hs.prefetches("refused") != 1 {
				t.Errorf("%d were refused, want 1", hs.prefetches("refused"))
			}
		})
	}
}
