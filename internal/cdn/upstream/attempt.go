package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weir-stream/weir/internal/cdn/upstream/dial"
)

// attempted is a request to one origin, and what became of it.
type attempted struct {
	pool     *Pool
	table    *table
	endpoint *endpoint
	probe    bool
	once     bool // see [Once]
	number   int
	cancel   context.CancelCauseFunc

	// What lives as long as the request, in one piece.
	hooks httptrace.ClientTrace
	url   url.URL
	body  body

	head   atomic.Bool // the first byte of an answer has come
	failed bool        // there is no answer
	class  FailureClass

	// Of the connection.
	connected   bool
	conn        *dial.Conn
	reused      bool
	resent      bool // over another, after a kept one had broken
	multiplexed bool
	tls         time.Duration
}

// do sends the request and notes what it teaches about the origin.
func (a *attempted) do(original *http.Request, body *guard) (*http.Response, error) {
	e, p := a.endpoint, a.pool
	e.requests.Add(1)
	e.running.Add(1)
	ctx := original.Context()
	caller := ctx
	ctx, a.cancel = context.WithCancelCause(ctx)
	var patience *time.Timer
	if limit := a.table.config.Retry.AttemptTimeout; limit > 0 {
		patience = time.AfterFunc(limit, func() { a.cancel(errAttemptTimeout) })
	}
	// Whoever asks may have hooks of its own: they are called after these.
	if e.own != nil {
		a.hooks.GetConn = a.getConn
	}
	a.hooks.GotConn = a.gotConn
	a.hooks.GotFirstResponseByte = a.gotFirstByte
	request := p.request(e, original.WithContext(httptrace.WithClientTrace(ctx, &a.hooks)), &a.url)
	if body != nil {
		// The transport may not rewind it by itself: what was sent, is not sent again.
		request.Body, request.GetBody = body.attempt(), nil
	}
	response, err := e.transport.RoundTrip(request)
	if patience != nil && !patience.Stop() && err == nil {
		_ = response.Body.Close()
		err = errAttemptTimeout
	}
	if err != nil {
		e.running.Add(-1)
		if errors.Is(context.Cause(ctx), errAttemptTimeout) {
			err = errAttemptTimeout
		}
		a.cancel(nil)
		return nil, a.fail(caller, err, body)
	}
	a.note(response.StatusCode)
	a.wrap(caller, response)
	return response, nil
}

// getConn is called before the transport takes a connection. If it had one before, that was a kept one and has broken:
// then the transport would send the request over all that are kept, one after the other, and an origin that hangs up
// on each sees it as often. It is sent once more instead, over a new one.
func (a *attempted) getConn(string) {
	if !a.reused || a.multiplexed { // what HTTP/2 sends again, its origin has not processed (RFC 9113 §8.7)
		return
	}
	a.endpoint.own.CloseIdleConnections()
	if a.resent || a.once || a.probe || a.number >= a.table.config.Retry.Attempts {
		a.cancel(errKeptBroke)
		return
	}
	if !a.pool.budget.spend(a.pool.now()) {
		a.pool.metrics.exhausted.Add(1)
		a.cancel(errKeptBroke)
		return
	}
	a.resent = true
	a.number++
	a.endpoint.requests.Add(1)
	a.endpoint.retries.Add(1)
}

func (a *attempted) gotConn(info httptrace.GotConnInfo) {
	a.connected, a.reused, a.tls = true, info.Reused, 0
	if c, ok := info.Conn.(*tls.Conn); ok && a.endpoint.http2 {
		a.multiplexed = c.ConnectionState().NegotiatedProtocol == "h2"
	}
	var secure bool
	a.conn, secure = dial.Of(info.Conn)
	if secure && a.conn != nil && !info.Reused && !info.WasIdle {
		a.tls = time.Since(a.conn.Connected)
	}
}

// gotFirstByte is called by the connection's reader.
func (a *attempted) gotFirstByte() { a.head.Store(true) }

// fill tells of the attempt.
func (a *attempted) fill(t *Trace) {
	*t = Trace{Origin: a.endpoint.name, Shield: a.endpoint.tier == shieldTier, Attempts: a.number, Reused: a.reused}
	if a.conn != nil {
		t.Address = a.conn.Remote
		if !a.reused {
			t.Connect, t.TLS = a.conn.Connect, a.tls
		}
	}
}

// fail notes that there was no answer.
func (a *attempted) fail(caller context.Context, err error, body *guard) error {
	e, now := a.endpoint, a.pool.now()
	a.failed = true
	switch {
	case caller.Err() != nil:
		a.class = callerFault(caller)
	case body.broken():
		a.class = FailureCaller
	default:
		a.class = classify(err, a.connected, e.own != nil, e.base.Scheme == "https")
	}
	e.classes[a.class].Add(1)
	why := a.class.String() + ": " + err.Error()
	switch {
	case a.class == FailureCaller:
		if a.probe {
			e.Unclaim()
		}
	case (a.class == FailureReset || a.class == FailureProtocol) && a.table.alone():
		// It is there and has taken the request. What it makes of one object is no reason to refuse all others
		// when there is no other.
		_, revived := e.Erred(now, &a.table.config.Passive, func() bool { return false }, why)
		if revived {
			a.pool.log.Info("an origin is back", "origin", e.name)
		}
	case e.Failed(now, &a.table.config.Passive, why):
		a.pool.log.Warn("an origin is out", "origin", e.name, "class", a.class.String(), "error", err)
	}
	if e.retired.Load() {
		e.hangUp()
	}
	return &OriginError{Origin: e.name, Class: a.class, Attempts: a.number, Err: err}
}

// note notes the head of an answer.
func (a *attempted) note(status int) {
	e, now := a.endpoint, a.pool.now()
	if class := status / 100; class >= 0 && class < len(e.answers) {
		e.answers[class].Add(1)
	}
	// 501 and 505 are about the request.
	if status < 500 || status == http.StatusNotImplemented || status == http.StatusHTTPVersionNotSupported {
		if e.Answered(now) {
			a.pool.log.Info("an origin is back", "origin", e.name)
		}
		return
	}
	a.class = FailureStatus
	e.classes[FailureStatus].Add(1)
	why := fmt.Sprintf("status: most answers are errors, such as %d", status)
	ejected, revived := e.Erred(now, &a.table.config.Passive, func() bool { return a.table.replaceable(e) }, why)
	switch {
	case ejected:
		a.pool.log.Warn("an origin is out", "origin", e.name, "class", FailureStatus.String(), "status", status)
	case revived:
		a.pool.log.Info("an origin is back", "origin", e.name)
	}
}

// repeatable reports whether the request may be sent to another origin.
func (a *attempted) repeatable(r *http.Request, body *guard) bool {
	unsent := a.failed && a.endpoint.own != nil && !a.connected
	if !unsent && !idempotent(r.Method) {
		return false
	}
	return body.seal()
}

// wrap makes the answer's body tell when it has ended.
func (a *attempted) wrap(caller context.Context, response *http.Response) {
	b := &a.body
	b.ReadCloser, b.attempt, b.caller = response.Body, a, caller
	if response.Body == http.NoBody {
		b.end(nil)
		return
	}
	if writer, ok := response.Body.(io.Writer); ok && response.StatusCode == http.StatusSwitchingProtocols {
		response.Body = &stream{body: b, Writer: writer}
		return
	}
	response.Body = b
}

// body is the body of an answer.
type body struct {
	io.ReadCloser
	attempt *attempted
	caller  context.Context
	ended   atomic.Bool
}

// stream is the connection after 101 (RFC 9110 §7.8), which is also written to.
type stream struct {
	*body
	io.Writer
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.end(err)
	}
	return n, err
}

// Close ends the answer. It may be called while another goroutine reads.
func (b *body) Close() error {
	b.end(nil) // before: what a reader now gets is no failure of the origin
	return b.ReadCloser.Close()
}

func (b *body) end(err error) {
	if b.ended.Swap(true) {
		return
	}
	a := b.attempt
	e := a.endpoint
	e.running.Add(-1)
	if err != nil && !errors.Is(err, io.EOF) && b.caller.Err() == nil {
		e.classes[FailureBody].Add(1)
		if e.BrokeOff(a.pool.now(), &a.table.config.Passive, func() bool { return a.table.replaceable(e) }, "body: "+err.Error()) {
			a.pool.log.Warn("an origin is out", "origin", e.name, "class", FailureBody.String(), "error", err)
		}
	}
	a.cancel(nil)
	if e.retired.Load() {
		e.hangUp()
	}
}

// guard is a request's body over all attempts. It is closed once, and no attempt reads from it after the
// next one has begun.
type guard struct {
	body io.ReadCloser

	mu      sync.Mutex
	current *sentBody
	touched bool // a byte was asked for
	bad     bool // it could not be read
	closing bool // closed by an attempt that had not read from it
	final   bool // there are no more attempts
}

// newGuard returns nil if there is no body.
func newGuard(b io.ReadCloser) *guard {
	if b == nil || b == http.NoBody {
		return nil
	}
	return &guard{body: b}
}

// sentBody is the body of one attempt.
type sentBody struct{ guard *guard }

func (g *guard) attempt() io.ReadCloser {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.current = &sentBody{g}
	return g.current
}

// seal takes the body away from the attempt; false: the attempt has read from it.
func (g *guard) seal() bool {
	if g == nil {
		return true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.touched {
		return false
	}
	g.current, g.closing = nil, false
	return true
}

// broken reports whether the body could not be read, which is not the origin's fault.
func (g *guard) broken() bool {
	if g == nil {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.bad
}

// finish ends the attempts.
func (g *guard) finish() {
	if g == nil {
		return
	}
	g.mu.Lock()
	g.final = true
	abandoned := g.closing || g.current == nil
	g.mu.Unlock()
	if abandoned {
		_ = g.body.Close()
	}
}

func (b *sentBody) Read(p []byte) (int, error) {
	g := b.guard
	g.mu.Lock()
	if g.current != b {
		g.mu.Unlock()
		return 0, errSealed
	}
	g.touched = true
	g.mu.Unlock()
	n, err := g.body.Read(p)
	if err != nil && err != io.EOF {
		g.mu.Lock()
		g.bad = true
		g.mu.Unlock()
	}
	return n, err
}

func (b *sentBody) Close() error {
	g := b.guard
	g.mu.Lock()
	if g.current != b {
		g.mu.Unlock()
		return nil
	}
	if !g.touched && !g.final {
		g.closing = true
		g.mu.Unlock()
		return nil
	}
	g.mu.Unlock()
	return g.body.Close()
}
