package h2

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/net/http/httpguts"

	"github.com/weir-stream/weir/internal/cdn/edge/h1"
)

// Settings are what a Server needs.
type Settings struct {
	// Config has the bounds, which are those of HTTP/1.1; what is said there of a connection's head is of the client's
	// first frame here.
	Config h1.Config
	// Streams is how many may be open on a connection at a time; 0 is DefaultStreams.
	Streams int
	// Hitter is asked first; nil is a server in which nothing hits.
	Hitter h1.Hitter
	// Handler serves what Hitter does not, each request in a goroutine of its own.
	Handler http.Handler
	// Base is what the contexts of the Handler's requests come from, so that its end ends them; nil is
	// context.Background(). The context given to ServeConn is not: its end lets them finish.
	Base context.Context
	// Secure returns what every answer has besides, such as Strict-Transport-Security: names and values by turns. It is
	// asked once, when the first connection comes; nil is nothing.
	Secure func() []string
	Log    *slog.Logger
	// Registerer takes the metrics; nil is nobody.
	Registerer prometheus.Registerer
}

// DefaultStreams is how many streams may be open on a connection that nobody has configured.
const DefaultStreams = 250

// Server serves HTTP/2 connections that others have accepted.
type Server struct {
	config  h1.Config
	streams int
	hitter  h1.Hitter
	handler http.Handler
	base    context.Context
	log     *slog.Logger
	metrics *metrics
	second  atomic.Pointer[second]
	secure  func() secureFields
	batches sync.Pool // of *[]byte
	copies  sync.Pool // of *[copyBytes]byte
}

// New returns a server.
func New(s Settings) (*Server, error) {
	if err := s.Config.Validate(); err != nil {
		return nil, err
	}
	if s.Handler == nil || s.Log == nil || s.Streams < 0 {
		return nil, errors.New("h2: a handler, a log and a number of streams from 0 are expected")
	}
	m, err := newMetrics(s.Registerer)
	if err != nil {
		return nil, err
	}
	server := &Server{
		config: s.Config, streams: cmp.Or(s.Streams, DefaultStreams), hitter: s.Hitter, handler: s.Handler,
		base: cmp.Or(s.Base, context.Background()), log: s.Log, metrics: m,
	}
	server.secure = sync.OnceValue(func() (f secureFields) {
		if s.Secure == nil {
			return f
		}
		f.pairs = s.Secure()
		for i := 0; i+1 < len(f.pairs); i += 2 {
			f.block = appendField(f.block, f.pairs[i], f.pairs[i+1])
		}
		return f
	})
	server.batches.New = func() any { return new(make([]byte, 0, turnBytes+turnRoom)) }
	server.copies.New = func() any { return new([copyBytes]byte) }
	return server, nil
}

// ServeConn serves a connection, over TLS with h2 negotiated or in plaintext with prior knowledge (RFC 9113 §3), until
// it ends, and returns nil. When ctx ends, the client is told to open no more streams, and those that are open are
// finished.
func (s *Server) ServeConn(ctx context.Context, nc net.Conn) net.Conn {
	c := newConn(s, nc)
	s.metrics.accepted.Inc()
	s.metrics.connections.Inc()
	defer s.metrics.connections.Dec()
	defer context.AfterFunc(ctx, c.drain)()
	c.serve()
	return nil
}

// second is the Date field of a second, made once for all answers.
type second struct {
	unix  int64
	field []byte
}

func (s *Server) date(now time.Time) []byte {
	current := s.second.Load()
	if current == nil || current.unix != now.Unix() {
		// Two may make the same second; either is right.
		current = &second{now.Unix(), appendField(nil, "date", now.UTC().Format(http.TimeFormat))}
		s.second.Store(current)
	}
	return current.field
}

// secureFields are what every answer has besides: as fields, and as names and values by turns.
type secureFields struct {
	block []byte
	pairs []string
}

// text returns b as a string that is valid as long as b is not written to.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

func validName(name string) bool   { return httpguts.ValidHeaderFieldName(name) }
func validValue(value string) bool { return httpguts.ValidHeaderFieldValue(value) }
