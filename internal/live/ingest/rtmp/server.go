package rtmp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"
)

// Server is the RTMP listener and its connections.
type Server struct {
	settings Settings
	config   Config
	log      *slog.Logger
	metrics  *metrics

	listenMu sync.Mutex
	listener net.Listener

	mu    sync.Mutex
	conns map[*conn]struct{}
	wg    sync.WaitGroup // of the connections' goroutines
}

// New returns a Server that does not listen yet.
func New(s Settings) (*Server, error) {
	if err := s.Config.Validate(); err != nil {
		return nil, err
	}
	if s.Hub == nil {
		return nil, errors.New("the RTMP server needs a hub")
	}
	m, err := newMetrics(s.Registerer)
	if err != nil {
		return nil, fmt.Errorf("register the metrics of the RTMP server: %w", err)
	}
	server := &Server{settings: s, config: s.Config, log: s.Log, metrics: m, conns: make(map[*conn]struct{})}
	if server.log == nil {
		server.log = slog.New(slog.DiscardHandler)
	}
	return server, nil
}

// Listen binds the address. It is called before Run, so that a port that is taken is an error at start.
func (s *Server) Listen() error {
	s.listenMu.Lock()
	defer s.listenMu.Unlock()
	if s.listener != nil {
		return nil
	}
	var config net.ListenConfig
	listener, err := config.Listen(context.Background(), "tcp", s.config.Address) // does not wait
	if err != nil {
		return fmt.Errorf("listen for RTMP: %w", err)
	}
	s.listener = listener
	return nil
}

// Addr returns the address that Listen has bound, or nil before it.
func (s *Server) Addr() net.Addr {
	s.listenMu.Lock()
	defer s.listenMu.Unlock()
	if s.listener == nil {
		return nil
	}
	return s.listener.Addr()
}

// Close gives the address back if Run is never to be called.
func (s *Server) Close() error {
	s.listenMu.Lock()
	defer s.listenMu.Unlock()
	if s.listener == nil {
		return nil
	}
	return s.listener.Close()
}

// Run accepts connections until ctx ends. Then it closes the listener and all connections, waits for
// them, and returns nil.
func (s *Server) Run(ctx context.Context) error {
	if err := s.Listen(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = s.listener.Close() })
	defer stop()
	s.log.Info("RTMP server listening", "address", s.listener.Addr().String())

	err := s.accept(ctx)
	if ctx.Err() != nil {
		err = nil
	}
	cancel() // ends what Authorize does
	_ = s.listener.Close()
	s.mu.Lock()
	for c := range s.conns {
		c.interrupt(errStopped)
	}
	s.mu.Unlock()
	s.wg.Wait()
	return err
}

// accept returns why no more connections come: an error, also at the end of ctx.
func (s *Server) accept(ctx context.Context) error {
	const longestPause = time.Second
	var pause time.Duration
	for {
		netConn, err := s.listener.Accept()
		if err == nil {
			pause = 0
			s.start(ctx, netConn)
			continue
		}
		if errors.Is(err, net.ErrClosed) {
			return fmt.Errorf("accept RTMP connections: %w", err)
		}
		// Too many open files, most likely; it passes.
		pause = min(max(2*pause, 5*time.Millisecond), longestPause)
		s.log.Warn("RTMP connection not accepted", "error", err, "retry_in", pause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// start serves a connection in a goroutine of its own.
func (s *Server) start(ctx context.Context, netConn net.Conn) {
	c := newConn(s, netConn)
	s.mu.Lock()
	if len(s.conns) >= s.config.MaxConnections {
		s.mu.Unlock()
		s.metrics.closed.WithLabelValues(string(reasonFull)).Inc()
		s.log.Warn("RTMP connection refused", "remote", c.remote, "max_connections", s.config.MaxConnections)
		_ = netConn.Close()
		return
	}
	s.conns[c] = struct{}{}
	s.mu.Unlock()
	s.metrics.open.Inc()
	s.wg.Add(1)
	go func() {
		defer s.wg.Done()
		c.serve(ctx)
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
		s.metrics.open.Dec()
	}()
}
