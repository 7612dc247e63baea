package h1

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime/debug"
	"time"
)

// headReader reads heads once more, as net/http does.
type headReader struct {
	bytes    bytes.Reader
	buffered bufio.Reader
}

// httpRequest makes of the head what net/http would, by having net/http do it: a Handler sees no difference.
func (c *conn) httpRequest(head []byte) (*http.Request, error) {
	h, _ := c.server.readers.Get().(*headReader)
	defer c.server.readers.Put(h)
	h.bytes.Reset(head)
	h.buffered.Reset(&h.bytes)
	r, err := http.ReadRequest(&h.buffered)
	h.bytes.Reset(nil)
	if err != nil {
		return nil, err
	}
	if c.secure != nil && c.state == nil {
		s := c.secure.ConnectionState()
		c.state = &s
	}
	r.RemoteAddr, r.TLS = c.nc.RemoteAddr().String(), c.state
	return r, nil
}

// handle has the Handler answer, and reports whether another request may follow.
func (c *conn) handle(closing bool) bool {
	r, err := c.httpRequest(c.in.request.head)
	if err != nil {
		c.refuse(http.StatusBadRequest)
		return false
	}
	c.in.next(len(c.in.request.head)) // nothing of the request is used from here on
	c.server.metrics.handled.Inc()
	ctx, cancel := context.WithCancel(context.WithValue(c.server.base, http.LocalAddrContextKey, c.nc.LocalAddr()))
	defer cancel()
	w := &response{c: c, r: r.WithContext(ctx), header: make(http.Header), length: -1, closing: closing, cancel: cancel}
	c.handling = true // its goroutine is not there yet
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer c.handled()
		w.run()
	}()
	c.watch(cancel)
	<-ended
	c.armed = unarmed
	c.now = time.Now()
	return w.whole && !w.closing && !c.left && !c.draining.Load()
}

// handled ends watch, and the deadlines that the Handler has set.
func (c *conn) handled() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.handling = false
	c.readLimit = time.Time{}
	if !c.writeLimit.IsZero() {
		c.writeLimit, c.stallAt = time.Time{}, time.Time{}
		_ = c.nc.SetWriteDeadline(time.Time{})
	}
	_ = c.nc.SetReadDeadline(time.Unix(1, 0)) // long ago
}

// watch reads while a Handler runs: what the client sends meanwhile is for later, and when it goes, so does the
// request's context. As with net/http, a client that ends only its own direction counts as gone.
func (c *conn) watch(cancel context.CancelFunc) {
	for {
		c.mu.Lock()
		handling, limit := c.handling, c.readLimit
		if handling {
			_ = c.nc.SetReadDeadline(limit)
		}
		c.mu.Unlock()
		if !handling || c.in != nil && !c.in.room(c.server.config.HeaderBytes) {
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
			cancel()
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
