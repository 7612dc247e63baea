package httpserver

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/weir-stream/weir/internal/httpserver/certs"
)

const (
	// arrivalTimeout bounds how long a server that stops waits for what new connections want.
	arrivalTimeout = 3 * time.Second
	// firstRequest is how long a handler of connections is not told that the server stops: what has just been
	// accepted is no idle connection, and its request is about to come.
	firstRequest = 100 * time.Millisecond
	// shutdownInterval is how often connections are told that the server stops.
	shutdownInterval = 50 * time.Millisecond
	// closeTimeout is how long what still runs has to notice that its connection was closed.
	closeTimeout = time.Second
)

// parts are the goroutines of Run.
type parts struct {
	running tally
	failed  chan error
}

func (p *parts) start(run func() error) {
	p.running.add(1)
	go func() {
		defer p.running.add(-1)
		if err := run(); err != nil {
			select {
			case p.failed <- err:
			default: // one reason is enough
			}
		}
	}()
}

// Run serves until ctx ends; then it takes no more connections, closes those that are idle, ends the contexts of
// long-lived requests halfway into the drain time, and returns when all requests have ended or the drain time
// has passed. Listen must have been called.
func (s *Server) Run(ctx context.Context) error {
	p := &parts{failed: make(chan error, 1)}
	accepting, stopAccepting := context.WithCancel(context.Background())
	defer stopAccepting()
	watching, stopWatching := context.WithCancel(context.Background())
	defer stopWatching()
	accepted := make(chan struct{})

	p.start(func() error { return serveHTTP(s.http1, s.http1Feed) })
	p.start(func() error { return serveHTTP(s.http2, s.http2Feed) })
	if s.certificates != nil {
		p.start(func() error { return s.certificates.Run(watching, s.challengeListeners()) })
	}
	if s.quic != nil {
		p.start(s.quic.serve)
	}
	if s.plain != nil {
		p.start(func() error { return s.plain.Run(accepting) })
	}
	p.start(func() error {
		defer close(accepted)
		return s.accept(accepting)
	})

	var failure error
	select {
	case failure = <-p.failed:
	case <-ctx.Done():
	}
	stopAccepting()
	_ = s.listener.Close()
	<-accepted
	s.stop()
	stopWatching()
	p.running.wait(context.Background())
	if failure == nil {
		select {
		case failure = <-p.failed:
		default:
		}
	}
	return failure
}

func serveHTTP(server *http.Server, feed *feed) error {
	if err := server.Serve(feed); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func (s *Server) challengeListeners() certs.Listeners {
	host, _, _ := net.SplitHostPort(s.config.Address)
	at := certs.Listeners{Host: host, TLS: port(s.listener.Addr())}
	if s.plain != nil {
		at.HTTP = port(s.plain.listener.Addr())
	}
	return at
}

// stop lets what runs finish. Nothing new arrives.
func (s *Server) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), s.config.DrainTimeout)
	defer cancel()
	defer s.endRequests()
	halfway := time.AfterFunc(s.config.DrainTimeout/2, s.endRequests)
	defer halfway.Stop()

	s.http1.SetKeepAlivesEnabled(false) // closes those that are idle
	idle := time.AfterFunc(firstRequest, s.drain)
	defer func() {
		idle.Stop()
		s.drain()
	}()
	var stopping parts
	if s.quic != nil {
		stopping.start(func() error {
			s.quic.drain(ctx, &s.http3Requests)
			return nil
		})
	}
	// What was accepted is served, whatever it turns out to speak: its client was told that it is connected.
	arrival, cancelArrival := context.WithTimeout(ctx, arrivalTimeout)
	defer cancelArrival()
	s.arriving.wait(arrival)
	stopping.start(func() error {
		shutdown(ctx, s.http2, &s.http2Conns)
		return nil
	})
	s.handled.wait(ctx)
	// From Shutdown on net/http closes connections whose first request has just come.
	first, cancelFirst := context.WithTimeout(ctx, arrivalTimeout)
	defer cancelFirst()
	s.http1Conns.wait(first)
	shutdown(ctx, s.http1, &s.http1Conns)
	stopping.running.wait(ctx)
	if ctx.Err() != nil {
		s.endRequests()
		s.abandon() // the slowest clients have had their time
	}
	// What is open now is nobody's who could be told to finish, such as a WebSocket, but by its request's context.
	s.endRequests()
	goodbye, cancelGoodbye := context.WithTimeout(ctx, closeTimeout)
	defer cancelGoodbye()
	s.open.wait(goodbye)
	s.abandon()
	_ = s.http1.Close()
	_ = s.http2.Close()
	end, cancelEnd := context.WithTimeout(context.Background(), closeTimeout)
	defer cancelEnd()
	s.arriving.wait(end)
	s.handled.wait(end)
	stopping.running.wait(end)
}

// shutdown lets the requests of server finish. Its own Shutdown does not see a connection that has just been given to
// it, and does not tell it then.
func shutdown(ctx context.Context, server *http.Server, conns *tally) {
	for {
		if err := server.Shutdown(ctx); err != nil || conns.count() == 0 {
			return
		}
		again, cancel := context.WithTimeout(ctx, shutdownInterval)
		conns.wait(again)
		cancel()
	}
}

// abandon closes every connection that is open.
func (s *Server) abandon() {
	s.mu.Lock()
	var all []*conn
	for c := range s.conns {
		all = append(all, c)
	}
	s.mu.Unlock()
	for _, c := range all {
		_ = c.Conn.Close() // and not by its owner's way, which might have something left to say
		c.release()
	}
}
