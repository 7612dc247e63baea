package h1

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	// copyBytes is how much of an answer is copied at once from what a Handler reads.
	copyBytes = 64 << 10
	// lingerBytes and lingerTime bound what is read from a client whose connection is about to be closed.
	lingerBytes = 256 << 10
	lingerTime  = time.Second
)

// Settings are what a Server needs.
type Settings struct {
	Config Config
	// Hitter is asked first; nil is a server in which nothing hits.
	Hitter Hitter
	// Handler serves what Hitter does not, each request in a goroutine of its own.
	Handler http.Handler
	// Base is what the contexts of the Handler's requests come from, so that its end ends them; nil is
	// context.Background(). The context given to ServeConn is not: its end lets them finish.
	Base context.Context
	// Secure returns what every answer over TLS has besides, such as Strict-Transport-Security: names and values by
	// turns. It is asked once, when the first such connection comes; nil is nothing.
	Secure func() []string
	Log    *slog.Logger
	// Registerer takes the metrics; nil is nobody.
	Registerer prometheus.Registerer
}

// Server serves HTTP/1.1 connections that others have accepted.
type Server struct {
	config  Config
	hitter  Hitter
	handler http.Handler
	base    context.Context
	log     *slog.Logger
	metrics *metrics
	second  atomic.Pointer[second]
	// grain is how exactly time is kept: a deadline that was set less than this ago is left as it is.
	grain   time.Duration
	secure  func() secureFields
	mu      sync.Mutex // guards groups; taken before a connection's
	groups  map[context.Context]*group
	inputs  sync.Pool // of *input
	outputs sync.Pool // of *output
	copies  sync.Pool // of *[copyBytes]byte
}

// New returns a server.
func New(s Settings) (*Server, error) {
	if err := s.Config.Validate(); err != nil {
		return nil, err
	}
	if s.Handler == nil || s.Log == nil {
		return nil, errors.New("h1: a handler and a log are expected")
	}
	m, err := newMetrics(s.Registerer)
	if err != nil {
		return nil, err
	}
	server := &Server{
		config: s.Config, hitter: s.Hitter, handler: s.Handler, base: cmp.Or(s.Base, context.Background()), log: s.Log, metrics: m,
		groups: make(map[context.Context]*group),
		grain:  min(time.Second, s.Config.IdleTimeout/16, s.Config.StallTimeout/16),
	}
	server.secure = sync.OnceValue(func() secureFields { return newSecureFields(s.Secure) })
	server.inputs.New = func() any { return &input{buffer: make([]byte, inputBytes), extra: make([]byte, 0, 256)} }
	server.outputs.New = func() any { return &output{buffer: make([]byte, 0, inlineBytes+2<<10)} }
	server.copies.New = func() any { return new([copyBytes]byte) }
	return server, nil
}

// Joiner is what a connection below TLS may offer: from Hold to Flush it keeps what is written, as far as it has
// room, so that the records of an answer reach the socket in few writes. Whoever writes the answer calls both, while
// another goroutine may be reading.
type Joiner interface {
	Hold()
	Flush() error
}

// ServeConn serves a connection until it ends, and returns nil; or until a request comes that is not for this loop,
// and returns the connection, whose Read gives first what has been read already. When ctx ends, the answer that runs
// is finished and the connection closed.
//
// The socket below is looked for through NetConn. Of a plaintext connection it is then used directly, so a wrapper
// that offers NetConn must not hold bytes that it has read. TLS is what offers ConnectionState.
func (s *Server) ServeConn(ctx context.Context, nc net.Conn) net.Conn {
	c := &conn{server: s, nc: nc}
	c.secure, _ = nc.(stater)
	for below := nc; ; {
		if c.joiner == nil {
			c.joiner, _ = below.(Joiner)
		}
		if c.half == nil {
			c.half, _ = below.(halfCloser)
		}
		n, ok := below.(interface{ NetConn() net.Conn })
		if !ok {
			c.socket = rawOf(below)
			break
		}
		below = n.NetConn()
	}
	if c.socket != nil && c.secure == nil {
		c.direct, c.readDirect, c.writeDirect = true, c.readSocket, c.writeSocket
	}
	if a, ok := nc.RemoteAddr().(*net.TCPAddr); ok {
		p := a.AddrPort()
		c.remote = netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
	}
	s.metrics.accepted.Inc()
	s.metrics.connections.Inc()
	defer s.metrics.connections.Dec()
	s.join(ctx, c)
	defer s.leave(ctx, c)
	return c.serve()
}

// group is the connections that one context ends. A context.AfterFunc for each of them would be a part of what an
// idle connection needs.
type group struct {
	members map[*conn]struct{}
	stop    func() bool
}

func (s *Server) join(ctx context.Context, c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.groups[ctx]
	if g == nil {
		g = &group{members: make(map[*conn]struct{})}
		g.stop = context.AfterFunc(ctx, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			for c := range g.members {
				c.drain()
			}
		})
		s.groups[ctx] = g
	}
	if g.members[c] = struct{}{}; ctx.Err() != nil {
		c.drain()
	}
}

func (s *Server) leave(ctx context.Context, c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.groups[ctx]
	if delete(g.members, c); len(g.members) == 0 {
		g.stop()
		delete(s.groups, ctx)
	}
}

// stater is what a TLS connection is known by.
type stater interface {
	ConnectionState() tls.ConnectionState
}

type halfCloser interface {
	CloseWrite() error
}

// second is the Date field line of a second, rendered once for all answers.
type second struct {
	unix int64
	line []byte
}

func (s *Server) date(now time.Time) []byte {
	current := s.second.Load()
	if current == nil || current.unix != now.Unix() {
		// Two may render the same second; either is right.
		current = &second{now.Unix(), append(now.UTC().AppendFormat([]byte("Date: "), http.TimeFormat), "\r\n"...)}
		s.second.Store(current)
	}
	return current.line
}

// secureFields are what every answer over TLS has besides: as lines, and as names and values by turns.
type secureFields struct {
	lines []byte
	pairs []string
}

func newSecureFields(of func() []string) (f secureFields) {
	if of == nil {
		return f
	}
	f.pairs = of()
	for i := 0; i+1 < len(f.pairs); i += 2 {
		f.lines = append(append(append(append(f.lines, f.pairs[i]...), ": "...), f.pairs[i+1]...), "\r\n"...)
	}
	return f
}
