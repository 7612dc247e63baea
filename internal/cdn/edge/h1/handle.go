package h1

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime/debug"
	"time"
)

// handle has the Handler answer, and reports whether another request may follow. The request is what net/http makes
// of the same bytes, so that a Handler sees no difference.
func (c *conn) handle(closing bool) bool {
	in := c.in
	in.head.Reset(in.request.head)
	in.heads.Reset(&in.head)
	r, err := http.ReadRequest(&in.heads)
	if err != nil {
		c.refuse(http.StatusBadRequest)
		return false
	}
	carry := in.request.Carry
	in.next(len(in.request.head)) // nothing of the input is used from here on
	c.server.metrics.handled.Inc()
	if c.base == nil {
		c.from = c.nc.RemoteAddr().String()
		c.base = context.WithValue(c.server.base, http.LocalAddrContextKey, c.nc.LocalAddr())
		if c.secure != nil {
			s := c.secure.ConnectionState()
			c.state = &s
		}
	}
	r.RemoteAddr, r.TLS = c.from, c.state
	ctx, cancel := context.WithCancel(c.base)
	defer cancel()
	if carry != nil {
		ctx = WithCarry(ctx, carry)
	}
	w := &response{c: c, r: r.WithContext(ctx), header: make(http.Header), length: -1, closing: closing, cancel: cancel}
	c.running = w // no lock: its goroutine is not there yet, and drain does not look at it
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer c.handled()
		w.run()
	}()
	c.watch(w)
	<-ended
	c.armedAt, c.now = time.Time{}, time.Now()
	return w.whole && !w.closing && !c.left && !c.draining.Load()
}

// handled ends watch, and the deadlines that the Handler has set.
func (c *conn) handled() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.running.writeLimit.IsZero() {
		c.stallAt = time.Time{}
		_ = c.nc.SetWriteDeadline(time.Time{})
	}
	c.running = nil
	_ = c.nc.SetReadDeadline(time.Unix(1, 0)) // long ago
}

// watch reads while a Handler runs: what the client sends meanwhile is for later, and when it goes, so does the
// request's context. As with net/http, a client that ends only its own direction counts as gone.
func (c *conn) watch(w *response) {
	for {
		c.mu.Lock()
		running, limit := c.running != nil, w.readLimit
		if running {
			_ = c.nc.SetReadDeadline(limit)
		}
		c.mu.Unlock()
		if !running || c.in != nil && !c.in.room(c.server.config.HeaderBytes) {
			return
		}
		err := c.fill()
		switch {
		case err == nil:
		case errors.Is(err, os.ErrDeadlineExceeded) && (limit.IsZero() || time.Now().Before(limit)):
			// The Handler has ended or has set another deadline, or the server drains.
		case errors.Is(err, io.EOF) && c.in != nil && c.in.start < c.in.end:
			c.last = true // more is to be answered, so the client has ended its own direction only
			return
		default:
			c.left = true
			w.cancel()
			return
		}
	}
}

// run calls the Handler and ends what it has written.
func (w *response) run() {
	defer func() {
		if w.kept != nil {
			w.c.server.releaseOutput(w.kept)
		}
		//nolint:errorlint // a panic with this very value, as net/http has it
		if p := recover(); !w.ended && p != http.ErrAbortHandler {
			w.c.server.panicked("a request's handler has panicked", w.r.RemoteAddr, p)
		}
	}()
	w.c.server.handler.ServeHTTP(w, w.r)
	w.finish()
}

// panicked logs a panic; p is nil after runtime.Goexit.
func (s *Server) panicked(message, remote string, p any) {
	s.metrics.panics.Inc()
	s.log.Error(message, "remote", remote, "panic", fmt.Sprint(p), "stack", string(debug.Stack())) //nolint:sloglint // one of two
}
