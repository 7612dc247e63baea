package app

import (
	"net/http"

	"github.com/weir-stream/weir/internal/console/feed"
	"github.com/weir-stream/weir/internal/console/mcp"
	"github.com/weir-stream/weir/internal/console/rest"
	"github.com/weir-stream/weir/internal/httpserver"
	"github.com/weir-stream/weir/internal/lifecycle"
)

// consoleRole is what operators, engineers and agents talk to.
type consoleRole struct {
	rest *rest.Handler
	feed *feed.Feed
	mcp  *mcp.Server
}

func newConsole(n *node) (*consoleRole, error) {
	api, err := rest.New(rest.Settings{
		Sessions: n.analytics.archive, Querier: n.analytics.query, Streams: n.origin, Snapshot: n.analytics.tracker,
		Addresses: func(host string) rest.Addresses { return n.addresses().from(host) },
		Examine:   examineCMCD,
		Silencer:  n.telemetry.collector,
		Purger:    purger{n.fleet},
		Version:   version, Log: n.log.With("part", "rest"),
	})
	if err != nil {
		return nil, err
	}
	live, err := feed.New(feed.Settings{
		Config: n.config.Console.Feed, Snapshot: n.analytics.tracker, Log: n.log.With("part", "feed"), Registerer: n.registry,
	})
	if err != nil {
		return nil, err
	}
	agents, err := mcp.New(mcp.Settings{
		Sessions: n.analytics.archive, Querier: n.analytics.query, Version: version, Log: n.log.With("part", "mcp"),
	})
	if err != nil {
		return nil, err
	}
	return &consoleRole{rest: api, feed: live, mcp: agents}, nil
}

func (r *consoleRole) add(g *lifecycle.Group) {
	g.Add(lifecycle.Service("mcp", r.mcp.Run))
	g.Add(lifecycle.Service("feed", r.feed.Run))
}

// handler is the private listener's.
func (r *consoleRole) handler(n *node) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/api/v1/", r.rest)
	mux.Handle("/api/v1/feed", r.feed)
	mux.Handle("/mcp", r.mcp.Handler())
	n.addHealth(mux)
	mux.Handle("/", n.pages.Dashboard())
	return httpserver.RefuseForeignHosts(mux)
}
