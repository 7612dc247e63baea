package edge

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/weir-stream/weir/internal/cdn/cache"
)

func TestMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	c, err := cache.New(cache.Settings{Config: cache.DefaultConfig(), Registerer: registry})
	cfg := DefaultConfig()
	cfg.Rules = MediaRules()
	if err != nil {
		t.Fatal(err)
	}
	h, err := New(Settings{
		Config: cfg, ID: "edge-1", OriginURL: &url.URL{Scheme: "http", Host: "o"}, Cache: c, Registerer: registry,
		Origin: originFunc(func(*http.Request) (*http.Response, error) {
			return reply(200, "12345", "Cache-Control", "max-age=60"), nil
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	hs := &harness{Handler: h, cache: c}
	hs.get("/a.m4s")
	hs.get("/a.m4s")
	hs.get("/a.m4s")
	hs.do("OPTIONS", "/a.m4s")
	hs.do("POST", "/a.m4s")
	for name, got := range map[string]float64{
		"misses":     testutil.ToFloat64(h.metrics.requests.WithLabelValues("miss", "segment", "2xx")),
		"fetches":    testutil.ToFloat64(h.metrics.fetches.WithLabelValues("200")),
		"preflights": testutil.ToFloat64(h.metrics.preflights),
		"bypasses":   testutil.ToFloat64(h.metrics.requests.WithLabelValues("bypass", "segment", "4xx")),
	} {
		if got != 1 {
			t.Errorf("%v %s, want 1", got, name)
		}
	}
	if got := testutil.ToFloat64(h.metrics.bytes.WithLabelValues("hit")); got != 10 {
		t.Errorf("%v bytes of hits, want 10", got)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	form := regexp.MustCompile(`^weir_cdn_(edge|cache)_([a-z]+_)*(total|bytes|seconds|objects|fetches)$`)
	for _, f := range families {
		if !form.MatchString(f.GetName()) {
			t.Errorf("a metric is called %s", f.GetName())
		}
	}
}

func TestSettingsAndConfigNameWhatIsWrong(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Config){
		"head_timeout is 0s; a duration of more than 0s is expected":   func(c *Config) { c.HeadTimeout = 0 },
		"fill_timeout is 1s; at least head_timeout (10s) is expected":  func(c *Config) { c.FillTimeout = time.Second },
		"queue_timeout is -1s; a duration of more than 0s is expected": func(c *Config) { c.QueueTimeout = -time.Second },
		"max_fetches is 0; a number from 1 is expected":                func(c *Config) { c.MaxFetches = 0 },
		"max_queue is -1; a number from 0 is expected":                 func(c *Config) { c.MaxQueue = -1 },
		"max_passes is 0; a number from 1 is expected":                 func(c *Config) { c.MaxPasses = 0 },
	} {
		cfg := DefaultConfig()
		change(&cfg)
		if err := cfg.Validate(); err == nil || err.Error() != want {
			t.Errorf("Validate() = %v, want %s", err, want)
		}
	}
	if _, err := New(Settings{Config: DefaultConfig()}); err == nil || !strings.Contains(err.Error(), "ID") {
		t.Errorf("New without an ID = %v", err)
	}
}
