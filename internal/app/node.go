package app

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/weir-stream/weir/internal/cdn/edge"
	"github.com/weir-stream/weir/internal/cdn/edge/h1"
	"github.com/weir-stream/weir/internal/cdn/edge/h2"
	"github.com/weir-stream/weir/internal/cdn/upstream"
	"github.com/weir-stream/weir/internal/config"
	"github.com/weir-stream/weir/internal/console/webui"
	"github.com/weir-stream/weir/internal/ffmpeg"
	"github.com/weir-stream/weir/internal/httpserver"
	"github.com/weir-stream/weir/internal/lifecycle"
	"github.com/weir-stream/weir/internal/telemetry/bus"
)

// node is the running program: every role on one machine.
type node struct {
	config   config.Config // as it was at the start
	current  config.Config // as it was read last, where that counts without a restart; for the one who reloads
	process  *process
	log      *slog.Logger
	registry *prometheus.Registry
	group    *lifecycle.Group

	telemetry *telemetryRole
	analytics *analyticsRole
	origin    *originRole
	edge      *edgeRole
	fleet     *fleetRole
	pages     *webui.UI
	console   *consoleRole
	upstream  *upstream.Pool // of an edge alone
	rows      *bus.Bus       // of an edge alone
	public    *httpserver.Server
	private   *httpserver.Server

	endRequests func()        // ends what viewers wait for
	retired     chan struct{} // closed when a successor serves

	testChannel *ffmpeg.Abilities // nil: none is wanted
	ended       []func() error    // gives back what was taken before Run, last first
}

// newNode constructs every part and takes the addresses, so that whatever cannot work is an error
// here, before anything runs. With testChannel it also makes sure that ffmpeg can make one.
func newNode(ctx context.Context, c config.Config, testChannel bool, p *process) (_ *node, err error) {
	n := &node{
		config: c, current: c, process: p, log: p.log, registry: prometheus.NewRegistry(), group: lifecycle.NewGroup(p.log),
		retired: make(chan struct{}),
	}
	defer func() {
		if err != nil {
			n.giveBack()
		}
	}()
	n.registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	if err := os.MkdirAll(c.Data, 0o750); err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	if c.Node.ID == "" {
		if n.config.Node.ID, err = config.NodeName(c.Data); err != nil {
			return nil, err
		}
	}
	if testChannel {
		if n.testChannel, err = ffmpeg.Probe(ctx, c.FFmpeg); err != nil {
			return nil, fmt.Errorf("test channel: %w", err)
		}
	}

	if c.Role == config.RoleEdge {
		return n, n.buildEdge(ctx)
	}
	return n, n.buildAll(ctx)
}

// buildAll constructs everything: from where records rest to where frames come from, with the arrows of the
// data.
func (n *node) buildAll(ctx context.Context) (err error) {
	c := n.config
	if n.telemetry, err = newTelemetry(n); err != nil {
		return err
	}
	if n.analytics, err = newAnalytics(n); err != nil {
		return err
	}
	if n.origin, err = newOrigin(n); err != nil {
		return err
	}
	// In this process: the address is never dialled.
	if n.edge, err = newEdge(n, edgeSource{origin: n.origin.origin, rules: edge.MediaRules(), observe: n.telemetry.bus.Request}); err != nil {
		return err
	}
	if n.fleet, err = newFleet(n); err != nil {
		return err
	}
	// After the position in the log of purges has been read: what another process is told from then on, it leaves in
	// the folder.
	if err = n.edge.open(ctx, n.process.takesOver); err != nil {
		return err
	}
	if n.pages, err = newPages(n); err != nil {
		return err
	}
	if n.public, err = n.viewers(n.publicHandler()); err != nil {
		return err
	}
	if n.console, err = newConsole(n); err != nil {
		return err
	}
	if n.private, err = n.listener("private", c.Private, n.console.handler(n), nil, nil); err != nil {
		return err
	}
	n.order()
	return nil
}

// buildEdge constructs an edge alone, in front of origins that are elsewhere.
func (n *node) buildEdge(ctx context.Context) (err error) {
	c := n.config
	if n.upstream, err = upstream.New(upstream.Settings{
		Config: c.CDN.Upstream, ID: c.Node.ID, Log: n.log.With("part", "upstream"), Registerer: n.registry,
	}); err != nil {
		return err
	}
	if n.rows, err = bus.New(bus.Settings{Config: c.Telemetry.Bus, Log: n.log.With("part", "bus"), Registerer: n.registry}); err != nil {
		return err
	}
	n.rows.Subscribe("metrics", counted{})
	if n.edge, err = newEdge(n, edgeSource{origin: n.upstream, trace: traceUpstream, once: upstream.Once, looped: n.upstream.Looped, rules: edge.ProxyRules(), observe: n.rows.Request}); err != nil {
		return err
	}
	if n.fleet, err = newFleet(n); err != nil {
		return err
	}
	// After the position in the log of purges has been read: what another process is told from then on, it leaves in
	// the folder.
	if err = n.edge.open(ctx, n.process.takesOver); err != nil {
		return err
	}
	if n.public, err = n.viewers(n.edge.edge); err != nil {
		return err
	}
	console, err := n.edgeConsole()
	if err != nil {
		return err
	}
	if n.private, err = n.listener("private", c.Private, console, nil, nil); err != nil {
		return err
	}
	n.group.Add(lifecycle.Service("bus", n.rows.Run))
	n.group.Add(lifecycle.Service("private listener", n.privatePart))
	n.edge.add(n.group)
	n.fleet.add(n.group)
	n.group.Add(lifecycle.Service("upstream", n.upstream.Run))
	n.group.Add(n.publicPart())
	return nil
}

// viewers is the listener that viewers talk to. Its HTTP/1.1 connections are served by the edge's own loop, which
// answers from the cache by itself and asks handler for the rest.
func (n *node) viewers(handler http.Handler) (*httpserver.Server, error) {
	c := n.config.Public
	loop := h1.DefaultConfig()
	loop.HeaderBytes, loop.HeaderTimeout = c.MaxHeaderBytes, c.HeaderTimeout
	loop.IdleTimeout, loop.StallTimeout = c.IdleTimeout, c.StallTimeout
	base, end := context.WithCancel(context.Background())
	n.ended = append(n.ended, func() error { end(); return nil })
	n.endRequests = end
	secure := func() (pairs []string) {
		for _, f := range n.public.TLSFields() {
			pairs = append(pairs, f.Name, f.Value)
		}
		return pairs
	}
	log := n.log.With("listener", "public")
	http1, err := h1.New(h1.Settings{
		Config: loop, Hitter: n.edge.edge, Handler: handler, Base: base, Log: log, Registerer: n.registry, Secure: secure,
	})
	if err != nil {
		return nil, err
	}
	http2, err := h2.New(h2.Settings{
		Config: loop, Hitter: n.edge.edge, Handler: handler, Base: base, Log: log, Registerer: n.registry, Secure: secure,
	})
	if err != nil {
		return nil, err
	}
	return n.listener("public", c, handler, http1, http2)
}

// listener is one of the two. Viewers' has handlers of connections.
func (n *node) listener(name string, c httpserver.Config, handler http.Handler, conns, http2 httpserver.ConnHandler) (*httpserver.Server, error) {
	settings := httpserver.Settings{
		Config: c, Handler: handler, Conns: conns, HTTP2: http2, Log: n.log.With("listener", name), Data: filepath.Join(n.config.Data, "certificates"),
		Registerer: prometheus.WrapRegistererWith(prometheus.Labels{"listener": name}, n.registry),
	}
	if conns != nil { // viewers', of whom each address may have so many, whatever they speak
		settings.Admit = n.edge.access.ConnOpened
	}
	if n.process.sockets != nil {
		settings.Sockets = n.process.sockets
	}
	server, err := httpserver.New(settings)
	if err != nil {
		return nil, fmt.Errorf("%s listener: %w", name, err)
	}
	if err := server.Listen(); err != nil {
		return nil, fmt.Errorf("%s listener: %w", name, err)
	}
	n.ended = append(n.ended, server.Close)
	return server, nil
}

// publicPart has the time that draining takes to stop.
func (n *node) publicPart() lifecycle.Part {
	part := lifecycle.Service("public listener", n.servePublic)
	part.StopTimeout = n.config.Public.DrainTimeout + lifecycle.DefaultStopTimeout
	return part
}

// servePublic serves viewers until ctx ends. Half of the drain time later what waits for something is ended.
func (n *node) servePublic(ctx context.Context) error {
	defer n.endRequests()
	served := make(chan struct{})
	defer close(served)
	stop := context.AfterFunc(ctx, func() {
		half := time.NewTimer(n.config.Public.DrainTimeout / 2)
		defer half.Stop()
		select {
		case <-half.C:
			n.endRequests()
		case <-served:
		}
	})
	defer stop()
	return n.public.Run(ctx)
}

// order says what starts after what. It stops the other way round, against the arrows: the test
// channel and the publishers go first, the packager writes its last segment, the edge lets its
// viewers finish, the bus flushes, and the store closes last.
func (n *node) order() {
	n.telemetry.addStore(n.group)
	n.telemetry.addBus(n.group)
	n.group.Add(lifecycle.Service("private listener", n.private.Run))
	n.console.add(n.group) // stops before its listener, which would wait for connections without end
	n.edge.add(n.group)
	n.fleet.add(n.group)
	n.group.Add(n.publicPart())
	n.origin.add(n.group)
	if n.testChannel != nil {
		n.group.Add(n.testChannelPart())
	}
}

// Run runs the node until ctx ends, and calls started when all of it is ready.
func (n *node) Run(ctx context.Context, started func()) error {
	return n.group.Run(ctx, started)
}

// giveBack closes what newNode has opened if Run is never called.
func (n *node) giveBack() {
	for i := len(n.ended) - 1; i >= 0; i-- {
		if err := n.ended[i](); err != nil {
			n.log.Warn("closing after a failed start", "error", err)
		}
	}
}

func (n *node) testChannelPart() lifecycle.Part {
	return lifecycle.Service("test channel", func(ctx context.Context) error {
		channel := ffmpeg.DefaultTestChannel(n.addresses().local(testStream).RTMP)
		args, err := channel.Args(n.testChannel)
		if err != nil {
			return err
		}
		return ffmpeg.Child{Path: n.testChannel.Path, Args: args, Log: n.log.With("part", "test channel")}.Keep(ctx)
	})
}
