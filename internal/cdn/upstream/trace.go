package upstream

import (
	"context"
	"net/netip"
	"time"
)

// Trace says how a request was answered. It is written by the pool before RoundTrip returns, also when
// that returns an error.
type Trace struct {
	// Origin is the name of who was asked last; "" if nobody was. Shield says that it is an edge.
	Origin string
	Shield bool
	// Address is the other end of the connection, which is the proxy's if there is one.
	Address netip.AddrPort
	// Attempts is how often the request was sent.
	Attempts int
	// Reused says that the connection was there already; Connect and TLS are then 0.
	Reused  bool
	Connect time.Duration // with the resolution of the name
	TLS     time.Duration
}

type traceKey struct{}

type onceKey struct{}

// Once returns a context with which no origin is sent a request twice, for who loses little by a failure: an origin that
// breaks down over what it is asked is not to be asked all the more.
func Once(ctx context.Context) context.Context { return context.WithValue(ctx, onceKey{}, true) }

// WithTrace returns a context with which a request fills t.
func WithTrace(ctx context.Context, t *Trace) context.Context {
	return context.WithValue(ctx, traceKey{}, t)
}
