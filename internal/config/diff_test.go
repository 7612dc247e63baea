package config

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-stream/weir/internal/cdn/edge"
	"github.com/weir-stream/weir/internal/cdn/upstream"
)

func TestChanged(t *testing.T) {
	a, b := Default(), Default()
	if keys := Changed(a, b); len(keys) != 0 {
		t.Errorf("the same differs in %v", keys)
	}
	b.Log.Level = "debug"
	b.Public.TLS.HSTS = time.Hour
	b.CDN.Cache.DiskBytes++
	b.CDN.Edge.Rules = edge.ProxyRules()
	b.CDN.Upstream.Origins = []upstream.OriginConfig{{URL: "http://a.example"}}
	want := []string{"cdn.cache.disk_bytes", "cdn.edge.rules", "cdn.upstream.origins", "log.level", "public.tls.hsts"}
	if d := cmp.Diff(want, Changed(a, b)); d != "" {
		t.Error(d)
	}
	a = b
	a.CDN.Edge.Rules = edge.ProxyRules()
	a.CDN.Edge.Rules[0].CORS = true
	if d := cmp.Diff([]string{"cdn.edge.rules"}, Changed(a, b)); d != "" {
		t.Error(d)
	}
}
