package h2

import (
	"cmp"
	"context"
	"io"
	"net"
	"os"
	"slices"
	"time"

	"golang.org/x/net/http2"

	"github.com/weir-stream/weir/internal/cdn/edge/h1"
)

// stream is a request and its answer. The connection's lock guards it.
type stream struct {
	c      *conn
	id     uint32
	window int64
	// ended says that the client has sent all, finished that all for it has been gathered, written that the connection
	// below has taken it.
	ended, finished, written bool
	failure                  error // why it was closed

	// rest is to be sent, and nothing after it if last is set.
	rest   []byte
	last   bool
	queued bool      // in ready
	moved  time.Time // when the client had taken step, or the answer began
	step   int

	// Of a hit.
	done   func(h1.Result)
	result h1.Result
	mapped bool // rest is of a file

	// Of a Handler.
	cancel context.CancelFunc
	wrote  chan struct{} // something has changed that who writes may wait for; nil: there is no Handler
	body   *body
	headed bool // the head of the answer is written, or about to be
}

// body is what a Handler reads of a request.
type body struct {
	s      *stream
	chunks [][]byte
	size   int64 // of chunks
	length int64 // that was announced; -1: none was
	came   int64
	given  int64 // what the client may still send
	read   int64 // of what has been read, what has not been given back
	expect bool  // the client waits to be told to send
	closed bool
	limit  time.Time
	news   chan struct{} // something has changed that who reads may wait for
}

// tell tells whoever waits that something has changed. Called with mu held.
func (s *stream) tell() {
	signal(s.wrote)
	if s.body != nil {
		signal(s.body.news)
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // there is nobody, or it has been told
	}
}

// report is what a Hitter is to be told, without the lock.
type report struct {
	s      *stream
	done   func(h1.Result)
	result h1.Result
}

func (r report) tell() {
	if r.done == nil {
		return
	}
	defer func() {
		if p := recover(); p != nil {
			r.s.c.server.panicked("the end of an answer has ended with a panic", r.s.c.remote.String(), p)
		}
	}()
	r.done(r.result)
}

// close ends a stream. Called with mu held.
func (c *conn) close(s *stream, why error) (r report) {
	if c.streams[s.id] != s {
		return r
	}
	delete(c.streams, s.id)
	if s.failure = cmp.Or(why, errGone); s.written {
		c.excess = 0
	}
	if s.queued {
		c.ready = slices.DeleteFunc(c.ready, func(other *stream) bool { return other == s })
	}
	s.rest = nil
	if s.body != nil {
		c.giveBack(nil, s.body.size)
		s.body.chunks, s.body.size = nil, 0
	}
	if len(c.streams) == 0 {
		c.idle = time.Now()
		if c.refusing {
			go c.end(net.ErrClosed, true)
		}
	}
	if s.cancel != nil {
		s.cancel()
	}
	s.tell()
	if s.done == nil {
		return r
	}
	r, s.done = report{s, s.done, s.result}, nil
	if !s.written {
		r.result.Err = s.failure
	}
	r.result.Last = time.Now()
	if r.result.FirstByte.IsZero() && r.result.Bytes > 0 {
		r.result.FirstByte = r.result.Last
	}
	return r
}

// reset tells the client that a stream is over, and closes it. Called with mu held.
func (c *conn) reset(id uint32, code http2.ErrCode, why error) report {
	c.control = appendReset(c.control, id, code)
	c.resets[c.resetAt%resetsKept] = id
	c.resetAt++
	if s := c.streams[id]; s != nil {
		return c.close(s, why)
	}
	return report{}
}

func (c *conn) wasReset(id uint32) bool {
	for _, known := range c.resets {
		if known == id {
			return true
		}
	}
	return false
}

// giveBack lets the client send n bytes more, in place of those that have been read. Called with mu held.
func (c *conn) giveBack(s *stream, n int64) {
	if n == 0 || c.over != nil {
		return
	}
	if c.read += n; c.read >= connWindow/2 {
		c.control = appendWindowUpdate(c.control, 0, int(c.read))
		c.given += c.read
		c.read = 0
		c.kick()
	}
	if s == nil || s.ended || s.failure != nil {
		return
	}
	if b := s.body; b != nil {
		if b.read += n; b.read >= streamWindow/2 {
			c.control = appendWindowUpdate(c.control, s.id, int(b.read))
			b.given += b.read
			b.read = 0
			c.kick()
		}
	}
}

// Read implements [io.Reader] for the Handler.
func (b *body) Read(p []byte) (int, error) {
	c := b.s.c
	stall := time.Now().Add(c.server.config.StallTimeout)
	c.mu.Lock()
	defer c.mu.Unlock()
	expects := b.expect && !b.s.headed && !b.s.ended && b.s.failure == nil && b.size == 0
	if b.expect = false; expects {
		c.control = appendHeaders(c.control, b.s.id, c.blockOf(appendStatus(nil, 100)), false, c.frame)
		c.kick()
	}
	for {
		switch {
		case b.closed:
			return 0, os.ErrClosed
		case b.size > 0:
			n := copy(p, b.chunks[0])
			if b.chunks[0] = b.chunks[0][n:]; len(b.chunks[0]) == 0 {
				b.chunks = b.chunks[1:]
			}
			b.size -= int64(n)
			c.giveBack(b.s, int64(n))
			return n, nil
		case b.s.failure != nil:
			return 0, b.s.failure
		case b.s.ended:
			return 0, io.EOF
		case len(p) == 0:
			return 0, nil
		}
		limit := stall
		if !b.limit.IsZero() && b.limit.Before(limit) {
			limit = b.limit
		}
		if !c.wait(b.news, limit) {
			return 0, os.ErrDeadlineExceeded
		}
	}
}

// Close implements [io.Closer]: what comes then is thrown away.
func (b *body) Close() error {
	c := b.s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	b.closed = true
	c.giveBack(b.s, b.size)
	b.chunks, b.size = nil, 0
	return nil
}

// wait waits for news, without the lock, and reports false when the limit has come before any. A zero limit is none.
// Called with mu held.
func (c *conn) wait(news <-chan struct{}, limit time.Time) bool {
	var late <-chan time.Time
	if !limit.IsZero() {
		left := time.Until(limit)
		if left <= 0 {
			return false
		}
		timer := time.NewTimer(left)
		defer timer.Stop()
		late = timer.C
	}
	c.mu.Unlock()
	defer c.mu.Lock()
	select {
	case <-news:
		return true
	case <-late:
		return false
	}
}
