package httpserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

const (
	// goodbye is how long clients of HTTP/3 have to leave when a server stops and no request runs: the last bytes of
	// answers have been sent, but may have to be sent again.
	goodbye = 3 * time.Second
	// halfOpen is how long handshakes that have begun may take when a server stops: long enough for packets that were
	// lost, or went to another process, to be sent again.
	halfOpen = time.Second
	// altSvcAge is for how long a client may remember that there is HTTP/3.
	altSvcAge = "86400"
)

var errFull = errors.New("as many connections are open as may be")

// quicServer serves HTTP/3.
type quicServer struct {
	open      tally // connections, those in their handshake included
	server    *http3.Server
	transport *quic.Transport
	listener  *quic.EarlyListener
}

// listenQUIC takes the UDP port of the same number.
func (s *Server) listenQUIC(ctx context.Context) error {
	host, _, _ := net.SplitHostPort(s.config.Address)
	address := net.JoinHostPort(host, strconv.Itoa(port(s.listener.Addr())))
	packets, err := s.sockets.ListenPacket(ctx, "udp", address)
	if err != nil {
		return fmt.Errorf("listen for HTTP/3 on UDP %s: %w", address, err)
	}
	q := &quicServer{
		server: &http3.Server{
			Handler: s.answer(s.handlerHTTP), MaxHeaderBytes: s.config.MaxHeaderBytes, IdleTimeout: s.config.IdleTimeout,
			ConnContext: func(ctx context.Context, _ *quic.Conn) context.Context { return s.withRequests(ctx) },
		},
		transport: &quic.Transport{Conn: packets},
	}
	q.transport.ConnContext = func(ctx context.Context, _ *quic.ClientInfo) (context.Context, error) {
		return s.admitQUIC(ctx, q)
	}
	if ids, ok := packets.(quic.ConnectionIDGenerator); ok { // a socket that processes have in common
		q.transport.ConnectionIDGenerator = ids
	}
	q.listener, err = q.transport.ListenEarly(http3.ConfigureTLSConfig(s.tls), &quic.Config{
		HandshakeIdleTimeout: s.config.HeaderTimeout,
		MaxIdleTimeout:       s.config.IdleTimeout,
	})
	if err != nil {
		_ = packets.Close()
		return fmt.Errorf("listen for HTTP/3 on UDP %s: %w", address, err)
	}
	s.quic = q
	return nil
}

// admitQUIC gives a connection a slot, or refuses it.
func (s *Server) admitQUIC(ctx context.Context, q *quicServer) (context.Context, error) {
	select {
	case s.slots <- struct{}{}:
	default:
		return nil, errFull
	}
	s.metrics.quic.Inc()
	q.open.add(1)
	context.AfterFunc(ctx, func() {
		q.open.add(-1)
		s.metrics.quic.Dec()
		s.slots.release()
	})
	return ctx, nil
}

// withRequests returns a context for requests that ends with the server's.
func (s *Server) withRequests(ctx context.Context) context.Context {
	both, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(s.requests, cancel)
	context.AfterFunc(ctx, func() {
		stop()
		cancel()
	})
	return both
}

func (q *quicServer) serve() error {
	err := q.server.ServeListener(q.listener)
	if errors.Is(err, http.ErrServerClosed) || errors.Is(err, quic.ErrServerClosed) {
		return nil
	}
	return err
}

// drain lets the requests that run finish. Those that come from now on are rejected, which tells the client that they
// have not been looked at, so that it can ask again elsewhere (RFC 9114 §5.2).
func (q *quicServer) drain(ctx context.Context, running *tally) {
	if q.open.count() > 0 {
		// Who is about to connect is let in first.
		select {
		case <-time.After(halfOpen):
		case <-ctx.Done():
		}
	}
	_ = q.listener.Close()
	told, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = q.server.Shutdown(told) // returns when all clients have left, which they need not
	}()
	for left := false; !left; {
		running.wait(ctx)
		select {
		case <-ended:
			left = true
		case <-time.After(goodbye):
			left = running.count() == 0 || ctx.Err() != nil
		}
	}
	cancel()
	select {
	case <-ended:
	case <-time.After(closeTimeout): // a handler that does not end with its request
	}
	q.close()
}

// close gives the port back.
func (q *quicServer) close() {
	_ = q.listener.Close()
	_ = q.transport.Close()
	_ = q.transport.Conn.Close()
}

func (t *tally) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.n
}
