package httpserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
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
	// trustingShare is which part of the connections that may be open can be half open until the addresses of clients
	// are verified, which costs them a round trip.
	trustingShare = 16
	// altSvcAge is for how long a client may remember that there is HTTP/3.
	altSvcAge = "86400"
)

var (
	errFull       = errors.New("as many connections are open as may be")
	errUnverified = errors.New("many handshakes have not ended, and this client has not shown that its address is its own")
)

// quicServer serves HTTP/3.
type quicServer struct {
	open      tally // connections, those in their handshake included
	halfOpen  tally // those in their handshake
	trusting  int   // from so many half-open ones on, clients have to show that their address is theirs
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
			ConnContext: func(ctx context.Context, c *quic.Conn) context.Context {
				go s.countQUIC(c)
				return s.withRequests(ctx)
			},
		},
		transport: &quic.Transport{Conn: packets},
		trusting:  max(s.config.MaxConnections/trustingShare, 1),
	}
	q.transport.VerifySourceAddress = func(net.Addr) bool { return q.halfOpen.count() >= q.trusting }
	q.transport.ConnContext = func(ctx context.Context, client *quic.ClientInfo) (context.Context, error) {
		return s.admitQUIC(ctx, q, client.AddrVerified)
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

// handshake is that of one connection.
type handshake struct{ ended func() } // once: it is not half open any more

type handshakeKey struct{}

// admitQUIC lets a handshake begin, or refuses it. Whoever sends a first packet may have written any address into it,
// so it takes no slot, which TCP would wait for, and when many have not gone on clients have to send what we have sent to
// their address (RFC 9000 §8.1.2).
func (s *Server) admitQUIC(ctx context.Context, q *quicServer, verified bool) (context.Context, error) {
	half := q.halfOpen.count()
	switch {
	case len(s.slots) == cap(s.slots), half >= s.config.MaxConnections:
		return nil, errFull
	case half >= q.trusting && !verified: // many came at once
		return nil, errUnverified
	}
	s.metrics.quic.Inc()
	q.open.add(1)
	q.halfOpen.add(1)
	h := &handshake{ended: sync.OnceFunc(func() { q.halfOpen.add(-1) })}
	context.AfterFunc(ctx, func() {
		h.ended()
		q.open.add(-1)
		s.metrics.quic.Dec()
	})
	return context.WithValue(ctx, handshakeKey{}, h), nil
}

// countQUIC gives a connection a slot when its handshake has ended, or closes it.
func (s *Server) countQUIC(c *quic.Conn) {
	ctx := c.Context()
	h, _ := ctx.Value(handshakeKey{}).(*handshake)
	select {
	case <-c.HandshakeComplete():
	case <-ctx.Done():
		return
	}
	h.ended()
	select {
	case s.slots <- struct{}{}:
		context.AfterFunc(ctx, s.slots.release)
		leave, ok := s.admit(addressOf(c.RemoteAddr()))
		context.AfterFunc(ctx, leave)
		if !ok {
			s.metrics.refuse("address")
			_ = c.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeExcessiveLoad), "")
		}
	default:
		_ = c.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeExcessiveLoad), "")
	}
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
