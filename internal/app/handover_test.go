package app

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weir-stream/weir/internal/cdn"
	"github.com/weir-stream/weir/internal/cdn/access"
	"github.com/weir-stream/weir/internal/cdn/access/keyfile"
	"github.com/weir-stream/weir/internal/cdn/cache"
	"github.com/weir-stream/weir/internal/cdn/cache/segment"
	"github.com/weir-stream/weir/internal/cdn/edge"
	"github.com/weir-stream/weir/internal/cdn/purge"
	"github.com/weir-stream/weir/internal/cdn/upstream"
	"github.com/weir-stream/weir/internal/config"
)

// folderOfTwo returns the cache that has a folder, and the role that is to take it over.
func folderOfTwo(t *testing.T) (*cache.Cache, *edgeRole) {
	t.Helper()
	c := cache.DefaultConfig()
	c.DiskBytes, c.SegmentBytes = 16<<20, 4<<20
	dir := filepath.Join(t.TempDir(), "cache")
	old, err := cache.New(cache.Settings{Config: c, Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	next, err := cache.New(cache.Settings{Config: c, Dir: dir, Later: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(old.Close(), next.Close()); err != nil {
			t.Error(err)
		}
	})
	return old, &edgeRole{cache: next, log: slog.New(slog.DiscardHandler)}
}

func TestASuccessorWaitsForTheFolder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, r := folderOfTwo(t)
		if err := r.open(t.Context(), false); !errors.Is(err, segment.ErrLocked) {
			t.Errorf("who takes nothing over does not wait: %v", err)
		}
		time.AfterFunc(3*time.Second, func() {
			if err := old.LetGo(); err != nil {
				t.Error(err)
			}
		})
		began := time.Now()
		if err := r.open(t.Context(), true); err != nil || !r.cache.Attached() || time.Since(began) > 4*time.Second {
			t.Errorf("%v, the folder is open: %v, after %v", err, r.cache.Attached(), time.Since(began))
		}
	})
}

func TestASuccessorServesWithoutTheFolderUntilItIsFree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, r := folderOfTwo(t)
		began := time.Now()
		if err := r.open(t.Context(), true); err != nil || r.cache.Attached() || time.Since(began) != folderTimeout {
			t.Fatalf("%v, the folder is open: %v, after %v", err, r.cache.Attached(), time.Since(began))
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- r.keepFolder(ctx) }()
		time.Sleep(time.Minute)
		if r.cache.Attached() {
			t.Error("two have the folder")
		}
		if err := old.LetGo(); err != nil {
			t.Error(err)
		}
		time.Sleep(2 * lateInterval)
		if !r.cache.Attached() {
			t.Error("the folder is free, and not opened")
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestWhoCanHandOver(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*config.Config)
		want   error
	}{
		"everything in one":     {func(c *config.Config) { c.Role = config.RoleAll }, errRoleAll},
		"an edge alone":         {func(*config.Config) {}, nil},
		"a client of the bus":   {func(c *config.Config) { c.Bus.Servers = []string{"192.0.2.1:4222"} }, nil},
		"a server of the bus":   {func(c *config.Config) { c.Bus.Address = ":4222" }, errBusServer},
		"a server of a cluster": {func(c *config.Config) { c.Bus.Cluster.Address = ":6222" }, errBusServer},
	} {
		c := config.Default()
		c.Role = config.RoleEdge
		tt.change(&c)
		if err := (&node{config: c}).canHandOver(); !errors.Is(err, tt.want) || tt.want == nil && err != nil {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
}

// While one process of a node that is alone takes the place of another, neither takes a purge of which the other would
// not hear.
func TestPurgesDuringAHandover(t *testing.T) {
	service, err := purge.New(purge.Settings{Config: purge.DefaultConfig(), Node: "edge-1", Apply: &noted{}})
	if err != nil {
		t.Fatal(err)
	}
	fleet := &fleetRole{purges: service, alone: true}
	ask := func() error {
		return purger{fleet}.Purge(t.Context(), []cdn.Purge{{Scope: cdn.PurgeAll}})[0].Err
	}
	if err := ask(); !errors.Is(err, errHandover) {
		t.Errorf("during the handover: %v", err)
	}
	fleet.open.Store(true)
	if err := ask(); err != nil {
		t.Errorf("after it: %v", err)
	}
}

func TestRulesThatLeaveTheHostOpen(t *testing.T) {
	r := &edgeRole{usual: edge.ProxyRules()}
	var c config.CDNConfig
	c.Upstream.Origins = []upstream.OriginConfig{{URL: "http://a.example"}}
	if rules := r.rules(c); len(rules) != 1 || rules[0].Host != edge.HostOrigin {
		t.Errorf("rules %+v", rules)
	}
	c.Upstream.Origins[0].PreserveHost = true
	c.Edge.Rules = []edge.Rule{{Path: "/"}, {Path: "/shared/", Host: edge.HostOrigin}}
	if rules := r.rules(c); rules[0].Host != edge.HostViewer || rules[1].Host != edge.HostOrigin || c.Edge.Rules[0].Host != "" {
		t.Errorf("rules %+v of %+v", rules, c.Edge.Rules)
	}
}

// edgeNode is an edge in front of an origin, which is not run.
func edgeNode(t *testing.T, origin string) *node {
	t.Helper()
	c := config.Default()
	c.Role, c.Data = config.RoleEdge, t.TempDir()
	c.Public.Address, c.Private.Address = "127.0.0.1:0", "127.0.0.1:0"
	c.CDN.Upstream.Origins = []upstream.OriginConfig{{URL: origin}}
	n, err := newNode(t.Context(), c, false, &process{log: slog.New(slog.DiscardHandler), level: new(slog.LevelVar)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.giveBack)
	return n
}

// One part that cannot use the new configuration is enough: no part uses it.
func TestAReloadIsAllOrNothing(t *testing.T) {
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "page") }))
	defer origin.Close()
	n := edgeNode(t, origin.URL)
	status := func() int {
		w := httptest.NewRecorder()
		n.edge.edge.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/a", nil))
		return w.Code
	}
	closed := []access.RuleConfig{{Path: "/", Token: &access.TokenConfig{
		Keys: []access.KeyConfig{{ID: "k1", Secret: keyfile.SecretRef{File: filepath.Join(t.TempDir(), "secret")}}}, Argument: "token",
	}}}
	for name, change := range map[string]func(*config.Config){
		"a secret that is not there": func(c *config.Config) { c.CDN.Access.Rules = closed },
		"an origin's header that is not there": func(c *config.Config) {
			c.CDN.Access.Rules = []access.RuleConfig{{Path: "/", Referrer: &access.ReferrerConfig{Hosts: []string{"page.example"}}}}
			c.CDN.Upstream.Origins = []upstream.OriginConfig{{URL: origin.URL, Headers: []upstream.HeaderConfig{{Name: "X-A", File: "/not/there"}}}}
		},
		"rules for nothing": func(c *config.Config) {
			c.CDN.Access.Rules = []access.RuleConfig{{Path: "/", Referrer: &access.ReferrerConfig{Hosts: []string{"page.example"}}}}
			c.CDN.Edge.Rules = []edge.Rule{{Path: "/a/", Forward: edge.ForwardObject}}
		},
	} {
		next := n.config
		next.Log.Level = "debug"
		change(&next)
		if err := n.takeOver(next); err == nil {
			t.Errorf("%s: no error", name)
		}
		if s := status(); s != http.StatusOK || n.process.level.Level() != slog.LevelInfo {
			t.Errorf("%s: status %d, level %v", name, s, n.process.level.Level())
		}
	}
	next := n.config
	next.Log.Level = "debug"
	next.CDN.Access.Rules = []access.RuleConfig{{Path: "/", Referrer: &access.ReferrerConfig{Hosts: []string{"page.example"}}}}
	if err := n.takeOver(next); err != nil {
		t.Fatal(err)
	}
	if s := status(); s != http.StatusForbidden || n.process.level.Level() != slog.LevelDebug {
		t.Errorf("status %d, level %v", s, n.process.level.Level())
	}
}

func TestWhatIsReloaded(t *testing.T) {
	c := config.Default()
	var kept []string
	for _, key := range config.Changed(config.Config{}, c) {
		if !reloadable(key) {
			kept = append(kept, key)
		}
	}
	for _, key := range kept {
		if strings.HasPrefix(key, "cdn.access.") || strings.HasPrefix(key, "cdn.upstream.") || key == "cdn.edge.rules" || key == "log.level" {
			t.Errorf("%s needs a restart", key)
		}
	}
	for _, key := range []string{"data", "cdn.cache.disk_bytes", "cdn.edge.slice_bytes", "public.address"} {
		if reloadable(key) {
			t.Errorf("%s needs no restart", key)
		}
	}
}
