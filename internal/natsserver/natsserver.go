package natsserver

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
)

// Settings are what [New] needs.
type Settings struct {
	Config Config
	// Name is this node's name, which no other server of the cluster has.
	Name string
	// Dir is the folder for what the server keeps.
	Dir        string
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

const (
	readyTimeout = 10 * time.Second
	readyPoll    = 100 * time.Millisecond
	// A connection that has died without a word is found out after two pings without an answer.
	pingInterval = 5 * time.Second
	maxPings     = 2
	// reconnectWait is the pause before a lost connection is tried again.
	reconnectWait, reconnectJitter = 250 * time.Millisecond, 250 * time.Millisecond
	dialTimeout                    = 5 * time.Second
	// Of the attempts to reach another server, one a second for each route, the first and each of so many are logged.
	errorReports = 3600
	// lameDuck is how long a server of a cluster takes to part with its clients, after it has handed over what
	// it leads: else the others would find out by its silence, some seconds later.
	lameDuck = time.Second
)

// Server is this node's part in the bus.
type Server struct {
	config Config
	name   string
	log    *slog.Logger
	server *server.Server // nil: the servers are those of other nodes
	tls    *tls.Config

	closing sync.Once
	watched sync.WaitGroup
	stop    context.CancelFunc

	mu    sync.Mutex
	conns []*nats.Conn
	ended bool // by Close
}

// New starts the server, if one is to run here, and returns when it takes connections. It need not
// have found the others of its cluster by then.
func New(s Settings) (*Server, error) {
	if err := s.Config.Validate(); err != nil {
		return nil, fmt.Errorf("bus server: %w", err)
	}
	if err := s.Config.TLS.Validate(); err != nil {
		return nil, fmt.Errorf("bus server: tls: %w", err)
	}
	if s.Name == "" {
		return nil, errors.New("bus server: the node has no name; one that no other server has is expected")
	}
	if s.Log == nil {
		s.Log = slog.New(slog.DiscardHandler)
	}
	b := &Server{config: s.Config, name: s.Name, log: s.Log}
	var err error
	if b.tls, err = s.Config.TLS.load(); err != nil {
		return nil, fmt.Errorf("bus server: %w", err)
	}
	var ctx context.Context
	ctx, b.stop = context.WithCancel(context.Background())
	if !s.Config.Remote() {
		if err := b.start(s); err != nil {
			b.stop()
			return nil, fmt.Errorf("bus server: %w", err)
		}
	}
	if err := b.register(s.Registerer); err != nil {
		_ = b.Close()
		return nil, fmt.Errorf("bus server: register metrics: %w", err)
	}
	if b.server != nil && s.Config.RetransmitMin > 0 && s.Config.Shared() {
		tune(b.ports(), s.Config.RetransmitMin)
		b.watched.Go(func() { b.watchRoutes(ctx) })
	}
	return b, nil
}

func (b *Server) start(s Settings) error {
	options, err := b.options(s)
	if err != nil {
		return err
	}
	if b.server, err = server.NewServer(options); err != nil {
		return err
	}
	fatal := make(chan string, 1)
	b.server.SetLoggerV2(serverLog{b.log, fatal}, false, false, false)
	b.server.Start()
	for deadline := time.Now().Add(readyTimeout); time.Now().Before(deadline); {
		ready := b.server.ReadyForConnections(readyPoll)
		select {
		case text := <-fatal:
			b.shutdown()
			return errors.New(text)
		default:
		}
		if ready {
			return nil
		}
	}
	b.shutdown()
	return fmt.Errorf("it does not take connections after %v; its log has the cause", readyTimeout)
}

func (b *Server) options(s Settings) (*server.Options, error) {
	c := s.Config
	o := &server.Options{
		ServerName: s.Name, DontListen: c.Address == "", NoSigs: true, NoLog: true,
		Username: c.User, Password: string(c.Password),
		JetStream: true, StoreDir: s.Dir, JetStreamMaxStore: c.MaxStoreBytes, JetStreamMaxMemory: 64 << 20,
		SyncInterval: c.SyncInterval, SyncAlways: c.SyncInterval == 0,
		DisableJetStreamBanner: true, ConnectErrorReports: errorReports, ReconnectErrorReports: errorReports,
		PingInterval: pingInterval, MaxPingsOut: maxPings,
		LameDuckDuration: lameDuck, LameDuckGracePeriod: -1, // less than 0 is taken as it is, not as the default of 10 s
	}
	if o.SyncAlways {
		o.SyncInterval = time.Minute
	}
	var err error
	if o.Host, o.Port, err = split(c.Address); err != nil {
		return nil, err
	}
	if c.Address == "" {
		o.Host = "127.0.0.1"
	}
	if b.tls != nil {
		o.TLSConfig, o.TLSVerify, o.TLSTimeout = b.tls.Clone(), true, dialTimeout.Seconds()
	}
	if c.Cluster.Address == "" {
		return o, nil
	}
	o.Cluster = server.ClusterOpts{
		Name: c.Cluster.Name, Advertise: c.Cluster.Advertise, Username: c.User, Password: string(c.Password),
		PingInterval: pingInterval, MaxPingsOut: maxPings, ConnectRetries: 1 << 20,
	}
	if o.Cluster.Host, o.Cluster.Port, err = split(c.Cluster.Address); err != nil {
		return nil, err
	}
	if b.tls != nil {
		o.Cluster.TLSConfig, o.Cluster.TLSTimeout = b.tls.Clone(), dialTimeout.Seconds()
	}
	o.Routes = c.routeURLs()
	return o, nil
}

// split returns an address as the server wants it: port 0, any that is free, is -1 there.
func split(address string) (host string, port int, err error) {
	if address == "" {
		return "", 0, nil
	}
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, err
	}
	if port, err = strconv.Atoi(text); err != nil {
		return "", 0, fmt.Errorf("address %q: the port is %q; a number is expected", address, text)
	}
	if port == 0 {
		port = server.RANDOM_PORT
	}
	if host == "" {
		host = "0.0.0.0"
	}
	return host, port, nil
}

// load reads the files. Whoever connects is checked against the authority, and so is whom we connect to.
func (c TLSConfig) load() (*tls.Config, error) {
	if c.Certificate == "" {
		return nil, nil
	}
	certificate, err := tls.LoadX509KeyPair(c.Certificate, c.Key)
	if err != nil {
		return nil, fmt.Errorf("tls: %w", err)
	}
	pem, err := os.ReadFile(c.Authority)
	if err != nil {
		return nil, fmt.Errorf("tls: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("tls: %s has no certificate; that of an authority in PEM is expected", c.Authority)
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{certificate},
		RootCAs: pool, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert,
	}, nil
}

// Connect returns a connection to the bus, which finds its way back by itself when it is lost; name
// says in the server's log and statistics what it is for. Nothing that is published while it is lost
// is kept. It may be returned before the servers of others have been reached. [Server.Close] closes it, if its
// user has not.
func (b *Server) Connect(name string) (*nats.Conn, error) {
	c, err := b.connect(name)
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended {
		c.Close()
		return nil, fmt.Errorf("connect to the bus: %w", nats.ErrConnectionClosed)
	}
	b.conns = append(b.conns, c)
	return c, nil
}

func (b *Server) connect(name string) (*nats.Conn, error) {
	options := []nats.Option{
		nats.Name(b.name + " " + name),
		nats.PingInterval(pingInterval), nats.MaxPingsOutstanding(maxPings),
		nats.MaxReconnects(-1), nats.ReconnectWait(reconnectWait), nats.ReconnectJitter(reconnectJitter, reconnectJitter),
		nats.ReconnectBufSize(-1), nats.Timeout(dialTimeout),
		nats.DisconnectErrHandler(func(c *nats.Conn, err error) {
			if c.IsClosed() {
				return // as it was asked
			}
			b.log.Warn("connection to the bus is lost", "connection", name, "error", err)
		}),
		nats.ReconnectHandler(func(c *nats.Conn) {
			b.log.Info("connection to the bus is back", "connection", name, "server", c.ConnectedServerName())
		}),
		nats.ErrorHandler(func(_ *nats.Conn, s *nats.Subscription, err error) {
			subject := ""
			if s != nil {
				subject = s.Subject
			}
			b.log.Warn("the bus reports an error", "connection", name, "subject", subject, "error", err)
		}),
	}
	if b.config.User != "" {
		options = append(options, nats.UserInfo(b.config.User, string(b.config.Password)))
	}
	if b.server != nil {
		c, err := nats.Connect("", append(options, nats.InProcessServer(b.server))...)
		if err != nil {
			return nil, fmt.Errorf("connect to the bus in this process: %w", err)
		}
		return c, nil
	}
	if b.tls != nil {
		options = append(options, nats.Secure(b.tls.Clone()))
	}
	options = append(options, nats.RetryOnFailedConnect(true), nats.SetCustomDialer(dialer{b.config.RetransmitMin}))
	c, err := nats.Connect(strings.Join(b.config.Servers, ","), options...)
	if err != nil {
		return nil, fmt.Errorf("connect to the bus: %w", err)
	}
	return c, nil
}

// Replicas is how many servers should keep each message; 0 where other nodes decide.
func (b *Server) Replicas() int { return b.config.replicas() }

// Addr returns the address for clients, "" if there is none.
func (b *Server) Addr() string {
	if b.server == nil || b.config.Address == "" {
		return ""
	}
	return b.server.Addr().String()
}

// ClusterAddr returns the address for routes, "" if there is none.
func (b *Server) ClusterAddr() string {
	if b.server == nil || b.config.Cluster.Address == "" {
		return ""
	}
	return b.server.ClusterAddr().String()
}

// ports returns the ports of the bus, here and on the servers that this one has routes to.
func (b *Server) ports() map[uint16]bool {
	ports := make(map[uint16]bool)
	for _, address := range append([]string{b.Addr(), b.ClusterAddr()}, b.config.Cluster.Routes...) {
		if _, text, err := net.SplitHostPort(address); err == nil {
			if port, err := strconv.ParseUint(text, 10, 16); err == nil {
				ports[uint16(port)] = true
			}
		}
	}
	return ports
}

// Run blocks until ctx ends, and then stops the server.
func (b *Server) Run(ctx context.Context) error {
	<-ctx.Done()
	return b.Close()
}

// Close closes the connections that [Server.Connect] has made, and stops the server: what it leads goes to
// others, its files are synced. It returns when nothing of it runs any more.
func (b *Server) Close() error {
	b.closing.Do(func() {
		b.stop()
		b.watched.Wait()
		b.mu.Lock()
		conns := b.conns
		b.conns, b.ended = nil, true
		b.mu.Unlock()
		for _, c := range conns {
			c.Close()
		}
		if b.server != nil {
			b.shutdown()
		}
	})
	return nil
}

func (b *Server) shutdown() {
	if b.config.Cluster.Address != "" && b.config.Address != "" {
		b.server.LameDuckShutdown() // does nothing if it has not come so far as to listen
	}
	b.server.Shutdown()
	b.server.WaitForShutdown()
}
