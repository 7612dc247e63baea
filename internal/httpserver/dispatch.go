package httpserver

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/weir-stream/weir/internal/httpserver/certs"
	"github.com/weir-stream/weir/internal/httpserver/proxyproto"
	"github.com/weir-stream/weir/internal/httpserver/sniff"
)

// ConnHandler serves connections before net/http does.
type ConnHandler interface {
	// ServeConn serves c until it has ended and returns nil, or returns a connection that net/http is to serve for
	// the rest of its life: c, or one over it whose Read first yields what was read already. When ctx ends, the
	// server drains: ServeConn finishes the answer that runs, gives a connection that has not asked for
	// anything yet its first one, and closes.
	//
	// c has NetConn, as a *tls.Conn has, down to the *net.TCPConn. With TLS it has ConnectionState as well, and
	// what is written in one piece goes out in one.
	ServeConn(ctx context.Context, c net.Conn) net.Conn
}

// arrive serves a connection that was accepted.
func (s *Server) arrive(accepted net.Conn) {
	c := &conn{Conn: accepted, stall: s.config.StallTimeout}
	c.release = sync.OnceFunc(func() {
		s.mu.Lock()
		delete(s.conns, c)
		leave := c.leave
		s.mu.Unlock()
		if leave != nil {
			leave()
		}
		s.slots.release()
		s.metrics.open.Dec()
		s.open.add(-1)
	})
	s.mu.Lock()
	s.conns[c] = struct{}{}
	s.mu.Unlock()
	s.metrics.open.Inc()
	s.open.add(1)
	s.metrics.accepted.Inc()
	s.arriving.add(1)
	go func() {
		arrived := sync.OnceFunc(func() { s.arriving.add(-1) })
		defer arrived()
		defer func() {
			if what := recover(); what != nil {
				s.log.Error("serving a connection panicked", "panic", what, "stack", string(debug.Stack()))
				_ = c.Close()
			}
		}()
		s.serve(c, arrived)
	}()
}

// serve finds out what c speaks and gives it to who serves that. It calls arrived when it knows.
func (s *Server) serve(c *conn, arrived func()) {
	if err := s.readProxy(c); err != nil {
		s.metrics.refuse("proxy-protocol")
		_ = c.Close()
		return
	}
	if !s.letIn(c) {
		s.metrics.refuse("address")
		_ = c.Close()
		return
	}
	if s.tls == nil {
		s.serveHTTP1(c, nil, arrived)
		return
	}
	join := s.buffers.New(c)
	secure := tls.Server(join, s.tls)
	_ = c.SetDeadline(time.Now().Add(s.config.HeaderTimeout))
	if err := secure.HandshakeContext(context.Background()); err != nil {
		s.metrics.handshakes.Inc()
		refusePlain(err)
		_ = c.Close()
		return
	}
	_ = c.SetDeadline(time.Time{})
	switch secure.ConnectionState().NegotiatedProtocol {
	case "h2":
		if s.handler2 != nil {
			s.handled.add(1)
			defer s.handled.add(-1)
			arrived()
			s.handler2.ServeConn(s.draining, secureConn{secure, join})
			_ = c.Close()
			return
		}
		join.Background()
		s.http2Feed.push(secure, &s.http2Conns)
	case certs.ChallengeProtocol: // the handshake was all
		_ = secure.Close()
	default:
		s.serveHTTP1(secureConn{secure, join}, secure.ConnectionState, arrived)
	}
}

// readProxy reads who the client is, if a proxy says so.
func (s *Server) readProxy(c *conn) error {
	tcp, ok := c.Conn.RemoteAddr().(*net.TCPAddr)
	if !ok || len(s.proxies) == 0 {
		return nil
	}
	from := tcp.AddrPort().Addr().Unmap()
	if !slices.ContainsFunc(s.proxies, func(p netip.Prefix) bool { return p.Contains(from) }) {
		return nil
	}
	_ = c.SetReadDeadline(time.Now().Add(s.config.HeaderTimeout))
	client, err := proxyproto.Read(c.Conn)
	if err != nil {
		return err
	}
	if client.IsValid() {
		c.remote = net.TCPAddrFromAddrPort(client)
	}
	return c.SetReadDeadline(time.Time{})
}

// letIn reports whether the client may have the connection. It counts until that ends, and not only until somebody
// else serves it.
func (s *Server) letIn(c *conn) bool {
	leave, ok := s.admit(addressOf(c.RemoteAddr()))
	s.mu.Lock()
	_, open := s.conns[c]
	if open {
		c.leave = leave
	}
	s.mu.Unlock()
	if !open { // it was closed meanwhile, because the server stops
		leave()
	}
	return ok
}

// addressOf returns the address of a client.
func addressOf(a net.Addr) netip.Addr {
	switch a := a.(type) {
	case *net.TCPAddr:
		return a.AddrPort().Addr().Unmap().WithZone("")
	case *net.UDPAddr:
		return a.AddrPort().Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}

// refusePlain answers who speaks HTTP where TLS is spoken, as net/http does.
func refusePlain(err error) {
	var header tls.RecordHeaderError
	if !errors.As(err, &header) || header.Conn == nil {
		return
	}
	switch string(header.RecordHeader[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO":
		_, _ = io.WriteString(header.Conn, "HTTP/1.0 400 Bad Request\r\nConnection: close\r\n\r\nClient sent an HTTP request to an HTTPS server.\n")
	}
}

// serveHTTP1 gives c, which has state if it is over TLS, to the handler of connections, and then to net/http.
func (s *Server) serveHTTP1(c net.Conn, state func() tls.ConnectionState, arrived func()) {
	if s.handler != nil {
		s.handled.add(1)
		defer s.handled.add(-1)
		arrived()
		rest := s.handler.ServeConn(s.draining, c)
		if rest == nil {
			_ = c.Close()
			return
		}
		if rest != c {
			r := restConn{Conn: rest, below: c}
			c = r
			if state != nil {
				c = secureRestConn{r, state}
			}
		}
	}
	s.http1Feed.push(sniff.New(c, func(why sniff.Reason) { s.metrics.refuse(string(why)) }), &s.http1Conns)
}

// restConn is what a handler of connections gave back, with what the connection below it can do besides.
type restConn struct {
	net.Conn
	below net.Conn
}

// NetConn returns the connection below.
func (c restConn) NetConn() net.Conn { return c.below }

// CloseWrite ends the sending side.
func (c restConn) CloseWrite() error {
	half, ok := c.below.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	return half.CloseWrite()
}

type secureRestConn struct {
	restConn
	state func() tls.ConnectionState
}

// ConnectionState is what net/http gives to requests as their TLS.
func (c secureRestConn) ConnectionState() tls.ConnectionState { return c.state() }
