package httpserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// Settings are what a Server needs.
type Settings struct {
	Config  Config
	Handler http.Handler
	// Log receives what net/http has to say of broken connections, at debug level.
	Log *slog.Logger
}

// Server serves one handler on one listener.
type Server struct {
	config   Config
	http     *http.Server
	listener net.Listener
	end      context.CancelFunc
}

// New returns a server that does not listen yet.
func New(s Settings) (*Server, error) {
	if err := s.Config.Validate(); err != nil {
		return nil, err
	}
	// Requests that only end with their client (WebSocket, a held playlist) see this end.
	requests, end := context.WithCancel(context.Background())
	return &Server{
		config: s.Config,
		end:    end,
		http: &http.Server{
			Handler:           boundBodies(s.Handler, s.Config.StallTimeout),
			ReadHeaderTimeout: s.Config.HeaderTimeout,
			IdleTimeout:       s.Config.IdleTimeout,
			MaxHeaderBytes:    s.Config.MaxHeaderBytes,
			ErrorLog:          slog.NewLogLogger(s.Log.Handler(), slog.LevelDebug),
			BaseContext:       func(net.Listener) context.Context { return requests },
		},
	}, nil
}

// Listen takes the address; an address in use is an error here and not later.
func (s *Server) Listen() error {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", s.config.Address)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", s.config.Address, err)
	}
	s.listener = newBoundListener(l, s.config)
	return nil
}

// Addr returns the address that the server listens on. It is nil before Listen.
func (s *Server) Addr() net.Addr {
	if s.listener == nil {
		return nil
	}
	return s.listener.Addr()
}

// Close gives the address back if Run is never to be called.
func (s *Server) Close() error {
	s.end()
	if s.listener == nil {
		return nil
	}
	return s.listener.Close()
}

// Run serves until ctx ends; then it takes no more connections, ends the contexts of long-lived
// requests halfway into the drain time, and returns when all requests have ended or the drain time
// has passed. Listen must have been called.
func (s *Server) Run(ctx context.Context) error {
	served := make(chan error, 1)
	go func() { served <- s.http.Serve(s.listener) }()
	select {
	case err := <-served:
		s.end()
		return err
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.Background(), s.config.DrainTimeout)
	defer cancel()
	halfway := time.AfterFunc(s.config.DrainTimeout/2, s.end)
	defer halfway.Stop()
	defer s.end()
	if err := s.http.Shutdown(drain); errors.Is(err, context.DeadlineExceeded) {
		_ = s.http.Close() // the slowest clients have had their time
	} else if err != nil {
		return err
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
