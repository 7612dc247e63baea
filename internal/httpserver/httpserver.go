package httpserver

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-stream/weir/internal/httpserver/certs"
	"github.com/weir-stream/weir/internal/httpserver/joinconn"
	"github.com/weir-stream/weir/internal/httpserver/sniff"
)

// Settings are what a Server needs.
type Settings struct {
	Config  Config
	Handler http.Handler
	// Log receives what net/http has to say of broken connections, at debug level.
	Log *slog.Logger
	// Conns serves HTTP/1.1 connections before Handler; nil: Handler serves them all.
	Conns ConnHandler
	// HTTP2 serves HTTP/2 connections, all of each; nil: Handler serves them.
	HTTP2 ConnHandler
	// Admit is asked for each connection, whatever it speaks, when it is known whose it is; if it says no the
	// connection is closed. release is called when the connection has ended, whatever ok is. nil: all are let in.
	Admit func(client netip.Addr) (release func(), ok bool)
	// Sockets opens the listening sockets; nil: a net.ListenConfig does.
	Sockets Sockets
	// Data is the folder for what ACME keeps, if the configuration names none.
	Data string
	// Registerer takes the metrics; nil: not measured. Servers that share one need a label that tells them apart.
	Registerer prometheus.Registerer
}

// Sockets opens listening sockets. A *net.ListenConfig does, and so does what takes those of another process.
type Sockets interface {
	Listen(ctx context.Context, network, address string) (net.Listener, error)
	ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error)
}

// Server serves one handler on one listener: HTTP/1.1, and with TLS HTTP/2, and HTTP/3 on the UDP port of the same
// number.
type Server struct {
	config      Config
	log         *slog.Logger
	metrics     *metrics
	sockets     Sockets
	handler     ConnHandler
	handler2    ConnHandler
	admit       func(client netip.Addr) (release func(), ok bool)
	handlerHTTP http.Handler
	buffers     *joinconn.Buffers
	proxies     []netip.Prefix
	slots       slots

	certificates *certs.Store // nil: no TLS
	tls          *tls.Config  // nil: no TLS
	plain        *Server      // redirects to this one; nil: none

	listener  net.Listener
	fields    []Field
	http1     *http.Server
	http2     *http.Server
	http1Feed *feed
	http2Feed *feed
	quic      *quicServer // nil: no HTTP/3

	// Requests that only end with their client (WebSocket, a held playlist) see requests end.
	requests    context.Context //nolint:containedctx // requests have it as their base
	endRequests context.CancelFunc
	draining    context.Context //nolint:containedctx // connections have it
	drain       context.CancelFunc

	arriving      tally // connections of which it is not known what they speak
	handled       tally // connections that the handler of connections has
	open          tally // connections
	http1Conns    tally // connections that net/http has, by what they speak
	http2Conns    tally
	http3Requests tally

	mu    sync.Mutex // guards conns
	conns map[*conn]struct{}
}

// New returns a server that does not listen yet.
func New(s Settings) (*Server, error) {
	if err := s.Config.validate(); err != nil {
		return nil, err
	}
	m, err := newMetrics(s.Registerer)
	if err != nil {
		return nil, err
	}
	server := &Server{
		config: s.Config, log: s.Log, metrics: m, sockets: s.Sockets, handler: s.Conns, handler2: s.HTTP2, handlerHTTP: s.Handler,
		buffers: joinconn.NewBuffers(), proxies: s.Config.proxies(), slots: make(slots, s.Config.MaxConnections),
		conns: make(map[*conn]struct{}), admit: s.Admit,
	}
	if server.admit == nil {
		server.admit = func(netip.Addr) (func(), bool) { return func() {}, true }
	}
	if server.sockets == nil {
		server.sockets = new(net.ListenConfig)
	}
	server.requests, server.endRequests = context.WithCancel(context.Background())
	server.draining, server.drain = context.WithCancel(context.Background())
	server.http1, server.http2 = server.newHTTP(), server.newHTTP()
	server.http1.ConnState = ended(&server.http1Conns)
	server.http2.ConnState = ended(&server.http2Conns)
	if s.Config.TLS.Enabled() {
		if err := server.secure(s); err != nil {
			return nil, fmt.Errorf("tls: %w", err)
		}
	}
	return server, nil
}

func (s *Server) newHTTP() *http.Server {
	return &http.Server{
		Handler:           s.answer(s.handlerHTTP),
		ReadHeaderTimeout: s.config.HeaderTimeout,
		IdleTimeout:       s.config.IdleTimeout,
		MaxHeaderBytes:    s.config.MaxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		BaseContext:       func(net.Listener) context.Context { return s.requests },
	}
}

// ended returns what keeps account of the connections that net/http has.
func ended(conns *tally) func(net.Conn, http.ConnState) {
	return func(c net.Conn, state http.ConnState) {
		switch state {
		case http.StateHijacked:
			if sniffer, ok := c.(sniff.Sniffer); ok {
				sniffer.Hijacked()
			}
			conns.add(-1)
		case http.StateClosed:
			conns.add(-1)
		case http.StateNew, http.StateActive, http.StateIdle:
		}
	}
}

// secure prepares what TLS needs.
func (s *Server) secure(settings Settings) error {
	c := s.config.TLS
	acme := c.ACME
	if acme.Storage == "" {
		acme.Storage = settings.Data
	}
	var err error
	s.certificates, err = certs.New(certs.Settings{
		Files: c.Certificates, ACME: acme, Plain: c.Redirect != "", Log: s.log, Registerer: settings.Registerer,
	})
	if err != nil {
		return err
	}
	s.tls = c.serverConfig(s.certificates)
	if c.Redirect == "" {
		return nil
	}
	plain := s.config
	plain.Address, plain.TLS = c.Redirect, DefaultTLSConfig()
	s.plain, err = New(Settings{
		Config: plain, Log: s.log, Sockets: s.sockets, Admit: s.admit,
		Handler: s.certificates.ServeChallenges(redirect(func() int { return port(s.listener.Addr()) })),
	})
	return err
}

// port returns the number of a TCP port.
func port(address net.Addr) int {
	if tcp, ok := address.(*net.TCPAddr); ok {
		return tcp.Port
	}
	return 0
}

// Listen takes the address, and those for HTTP/3 and the redirection; an address in use is an error here and not
// later.
func (s *Server) Listen() error {
	ctx := context.Background()
	l, err := s.sockets.Listen(ctx, "tcp", s.config.Address)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", s.config.Address, err)
	}
	s.listener = l
	s.http1Feed, s.http2Feed = newFeed(l.Addr()), newFeed(l.Addr())
	if s.tls == nil {
		return nil
	}
	if s.config.TLS.HTTP3 {
		if err := s.listenQUIC(ctx); err != nil {
			_ = s.Close()
			return err
		}
		value := `h3=":` + strconv.Itoa(port(l.Addr())) + `"; ma=` + altSvcAge
		s.fields = append(s.fields, Field{Name: altSvc, Value: value, values: []string{value}})
	}
	if s.config.TLS.HSTS > 0 {
		value := s.config.TLS.hstsValue()
		s.fields = append(s.fields, Field{Name: "Strict-Transport-Security", Value: value, values: []string{value}})
	}
	if s.plain != nil {
		if err := s.plain.Listen(); err != nil {
			_ = s.Close()
			return fmt.Errorf("redirect: %w", err)
		}
	}
	return nil
}

// Addr returns the address that the server listens on. It is nil before Listen.
func (s *Server) Addr() net.Addr {
	if s.listener == nil {
		return nil
	}
	return s.listener.Addr()
}

// RedirectAddr returns the address of the listener that redirects to this one; nil if there is none.
func (s *Server) RedirectAddr() net.Addr {
	if s.plain == nil {
		return nil
	}
	return s.plain.Addr()
}

// Reload reads the files with certificates again.
func (s *Server) Reload() error {
	if s.certificates == nil {
		return nil
	}
	return s.certificates.Reload()
}

// Close gives the addresses back if Run is never to be called.
func (s *Server) Close() error {
	s.endRequests()
	s.drain()
	if s.plain != nil {
		_ = s.plain.Close()
	}
	if s.quic != nil {
		s.quic.close()
	}
	if s.listener == nil {
		return nil
	}
	return s.listener.Close()
}
