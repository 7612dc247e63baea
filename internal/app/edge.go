package app

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/weir-stream/weir/internal/cdn/cache"
	"github.com/weir-stream/weir/internal/cdn/edge"
	"github.com/weir-stream/weir/internal/console/rest"
	"github.com/weir-stream/weir/internal/console/webui"
	"github.com/weir-stream/weir/internal/lifecycle"
	"github.com/weir-stream/weir/internal/telemetry/collector"
	"github.com/weir-stream/weir/web"
)

// watchValidation is where the watch page asks what is wrong with what its player sends. No page is
// taken by it, for pages are only read.
const watchValidation = "/watch/validate"

// edgeRole is what viewers talk to.
type edgeRole struct {
	edge      *edge.Handler
	collector *collector.Handler
	pages     *webui.UI
}

func newEdge(n *node) (*edgeRole, error) {
	c := n.config.CDN
	objects, err := cache.New(cache.Settings{Config: c.Cache, Registerer: n.registry})
	if err != nil {
		return nil, err
	}
	proxy, err := edge.New(edge.Settings{
		Config: c.Edge, ID: n.config.Node.ID,
		// In this process: the address is never dialled.
		Origin: n.origin.origin, OriginURL: &url.URL{Scheme: "http", Host: "origin"},
		Cache: objects, Observe: n.telemetry.bus.Request,
		Log: n.log.With("part", "edge"), Registerer: n.registry,
	})
	if err != nil {
		return nil, err
	}
	pages, err := webui.New(webui.Settings{FS: web.FS, Log: n.log.With("part", "pages")})
	if err != nil {
		return nil, err
	}
	return &edgeRole{edge: proxy, collector: n.telemetry.collector, pages: pages}, nil
}

func (r *edgeRole) add(g *lifecycle.Group) { g.Add(lifecycle.Service("edge", r.edge.Run)) }

// handler is the public listener's: media, the watch page, CMCD and other events of players, and the
// time of day.
func (r *edgeRole) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/live/", r.edge)
	mux.Handle("/api/v1/events", r.collector.Events())
	mux.Handle("POST "+watchValidation, rest.NewViewersValidation(examineCMCD))
	mux.Handle("/", r.pages.Watch())
	for _, short := range []string{"GET /{$}", "GET /watch"} {
		mux.Handle(short, http.RedirectHandler("/watch/", http.StatusFound))
	}
	mux.HandleFunc("/time", serveTime)
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		// Not by the mux, which redirects a path such as /cmcd//tv to another: few players follow.
		if req.URL.Path == "/cmcd" || strings.HasPrefix(req.URL.Path, "/cmcd/") {
			r.collector.ServeHTTP(w, req)
			return
		}
		mux.ServeHTTP(w, req)
	})
}

// serveTime answers with the time of day, for players that set their clock by the MPD's UTCTiming
// (urn:mpeg:dash:utc:http-iso:2014, ISO/IEC 23009-1 §5.8.4.11).
func serveTime(w http.ResponseWriter, _ *http.Request) {
	header := w.Header()
	header.Set("Content-Type", "text/plain; charset=utf-8")
	header.Set("Cache-Control", "no-store")
	header.Set("Access-Control-Allow-Origin", "*")
	_, _ = w.Write([]byte(time.Now().UTC().Format("2006-01-02T15:04:05.000Z")))
}
