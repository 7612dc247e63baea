package app

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/weir-stream/weir/internal/cdn/access"
	"github.com/weir-stream/weir/internal/cdn/cache"
	"github.com/weir-stream/weir/internal/cdn/edge"
	"github.com/weir-stream/weir/internal/cdn/upstream"
	"github.com/weir-stream/weir/internal/console/rest"
	"github.com/weir-stream/weir/internal/console/webui"
	"github.com/weir-stream/weir/internal/httpserver"
	"github.com/weir-stream/weir/internal/lifecycle"
	"github.com/weir-stream/weir/internal/telemetry"
	"github.com/weir-stream/weir/web"
)

// watchValidation is where the watch page asks what is wrong with what its player sends. No page is
// taken by it, for pages are only read.
const watchValidation = "/watch/validate"

// edgeRole is what viewers get media from.
type edgeRole struct {
	cache  *cache.Cache
	edge   *edge.Handler
	access *access.Chain
	usual  []edge.Rule // if the configuration has none
	log    *slog.Logger
	late   atomic.Bool // the folder is still another process's
	fenced atomic.Bool // nothing is served from the cache, see fence
}

// edgeSource is where an edge gets objects from, and what it does with its rows.
type edgeSource struct {
	origin  http.RoundTripper
	trace   func(context.Context) (context.Context, func() (name, address string))
	once    func(context.Context) context.Context
	looped  func(http.Header) bool // whether a request has been here before; nil: it cannot
	rules   []edge.Rule            // if the configuration has none
	observe func(*telemetry.Request)
}

func newEdge(n *node, s edgeSource) (*edgeRole, error) {
	c := n.config.CDN
	log := n.log.With("part", "edge")
	objects, err := cache.New(cache.Settings{Config: c.Cache, Dir: filepath.Join(n.config.Data, "cache"), Later: true, Log: log, Registerer: n.registry})
	if err != nil {
		return nil, err
	}
	n.ended = append(n.ended, objects.Close)
	r := &edgeRole{cache: objects, usual: s.rules, log: log}
	c.Edge.Rules = r.rules(c)
	if r.access, err = access.New(access.Settings{Config: c.Access, Log: n.log.With("part", "access"), Registerer: n.registry}); err != nil {
		return nil, err
	}
	if r.edge, err = edge.New(edge.Settings{
		Config: c.Edge, ID: n.config.Node.ID, Access: r.access, Looped: s.looped,
		Origin: s.origin, OriginURL: &url.URL{Scheme: "http", Host: "origin"}, Trace: s.trace, Once: s.once,
		Cache: objects, Observe: s.observe, Log: log, Registerer: n.registry,
	}); err != nil {
		return nil, err
	}
	return r, nil
}

// add starts the cache before the edge, and closes it after the edge has ended.
func (r *edgeRole) add(g *lifecycle.Group) {
	g.Add(lifecycle.Service("cache folder", r.keepFolder))
	g.Add(lifecycle.Service("cache", r.cache.Run))
	g.Add(lifecycle.Service("edge", r.edge.Run))
}

// traceUpstream lets the edge know which origin has answered.
func traceUpstream(ctx context.Context) (context.Context, func() (string, string)) {
	t := new(upstream.Trace)
	return upstream.WithTrace(ctx, t), func() (string, string) {
		if !t.Address.IsValid() {
			return t.Origin, ""
		}
		return t.Origin, t.Address.String()
	}
}

func newPages(n *node) (*webui.UI, error) {
	return webui.New(webui.Settings{FS: web.FS, Log: n.log.With("part", "pages")})
}

// publicHandler is the public listener's where everything is in one process: media, the watch page, CMCD and
// other events of players, and the time of day.
func (n *node) publicHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/live/", n.edge.edge)
	mux.Handle("/api/v1/events", n.telemetry.collector.Events())
	mux.Handle("POST "+watchValidation, rest.NewViewersValidation(examineCMCD))
	mux.Handle("/", n.pages.Watch())
	for _, short := range []string{"GET /{$}", "GET /watch"} {
		mux.Handle(short, http.RedirectHandler("/watch/", http.StatusFound))
	}
	mux.HandleFunc("/time", serveTime)
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		// Not by the mux, which redirects a path such as /cmcd//tv to another: few players follow.
		if req.URL.Path == "/cmcd" || strings.HasPrefix(req.URL.Path, "/cmcd/") {
			n.telemetry.collector.ServeHTTP(w, req)
			return
		}
		mux.ServeHTTP(w, req)
	})
}

// edgeConsole is the private listener's of an edge alone.
func (n *node) edgeConsole() (http.Handler, error) {
	api, err := rest.NewEdge(rest.Settings{Purger: purger{n.fleet}, Version: version, Log: n.log.With("part", "rest")})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/api/v1/", api)
	n.addHealth(mux)
	return httpserver.RefuseForeignHosts(mux), nil
}

// addHealth adds what every private listener has.
func (n *node) addHealth(mux *http.ServeMux) {
	mux.Handle("GET /metrics", promhttp.HandlerFor(n.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		ready := n.group.Ready() && !n.fleet.purges.Fenced()
		if !ready {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_ = json.NewEncoder(w).Encode(readiness{Ready: ready, PurgesCurrent: n.fleet.purges.Current(), Parts: n.group.Status()})
	})
}

// readiness is what /readyz says. A node that does not hear of purges serves, for a while from its cache: whether
// viewers are to be kept from it until then is for who asks to judge, as all nodes may be cut off from the bus at the
// same time.
type readiness struct {
	Ready         bool               `json:"ready"`
	PurgesCurrent bool               `json:"purges_current"`
	Parts         []lifecycle.Status `json:"parts"`
}

// counted ends the rows of an edge alone: what they say is in its metrics already. The bus to a fleet's store is
// not built yet.
type counted struct{}

func (counted) Append(context.Context, telemetry.Batch) error { return nil }

// serveTime answers with the time of day, for players that set their clock by the MPD's UTCTiming
// (urn:mpeg:dash:utc:http-iso:2014, ISO/IEC 23009-1 §5.8.4.11).
func serveTime(w http.ResponseWriter, _ *http.Request) {
	header := w.Header()
	header.Set("Content-Type", "text/plain; charset=utf-8")
	header.Set("Cache-Control", "no-store")
	header.Set("Access-Control-Allow-Origin", "*")
	_, _ = w.Write([]byte(time.Now().UTC().Format("2006-01-02T15:04:05.000Z")))
}
