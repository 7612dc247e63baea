package httpserver

import (
	"errors"
	"net"
	"os"
	"runtime"
	"sync"
	"time"
)

const (
	// turnBytes is how much is written before other goroutines get their turn: a large answer in one write would
	// hold a core for as long as the client takes all of it.
	turnBytes = 256 << 10
	// stepBytes is how much a client must take within the stall timeout.
	stepBytes = 64 << 10
)

// conn is a TCP connection whose writes are bounded.
//
// A client that has vanished without a word, or that means harm, takes nothing of its answer, and would hold
// a goroutine and the object that it was given for as long as it likes. http.Server has only bounds on a whole
// request, which would end a slow viewer and a held playlist as well. So each step has a bound here.
type conn struct {
	net.Conn
	remote  net.Addr // nil: that of Conn
	stall   time.Duration
	release func() // once
	leave   func() // says that the client has a connection less; guarded by the server's mu

	mu       sync.Mutex // guards the deadlines of writes
	deadline time.Time  // that was asked for
	armed    time.Time  // that Conn has
}

// NetConn returns the TCP connection, for what only it can do.
func (c *conn) NetConn() net.Conn { return c.Conn }

func (c *conn) RemoteAddr() net.Addr {
	if c.remote != nil {
		return c.remote
	}
	return c.Conn.RemoteAddr()
}

func (c *conn) Close() error {
	defer c.release()
	return c.Conn.Close()
}

// CloseWrite ends the sending side.
func (c *conn) CloseWrite() error {
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	return half.CloseWrite()
}

func (c *conn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// SetWriteDeadline bounds writes beside the bound that each step has.
func (c *conn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline, c.armed = t, t
	return c.Conn.SetWriteDeadline(t)
}

func (c *conn) Write(p []byte) (int, error) {
	written := 0
	for {
		if err := c.expect(); err != nil {
			return written, err
		}
		n, err := c.Conn.Write(p[written:min(len(p), written+turnBytes)])
		written += n
		switch {
		case err != nil && n >= stepBytes && errors.Is(err, os.ErrDeadlineExceeded) && !c.late():
			// It is slow, but it takes what it has to.
		case err != nil || written == len(p):
			return written, err
		}
		runtime.Gosched()
	}
}

// expect bounds the next step. To set a deadline costs more than to look at one, so it is set for half as long
// again, and once more when less is left than a step may take.
func (c *conn) expect() error {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	limit := now.Add(c.stall)
	if !c.deadline.IsZero() && c.deadline.Before(limit) {
		if c.armed.Equal(c.deadline) {
			return nil
		}
		c.armed = c.deadline
		return c.Conn.SetWriteDeadline(c.deadline)
	}
	if !c.armed.Before(limit) && c.armed.Before(limit.Add(c.stall)) {
		return nil
	}
	c.armed = limit.Add(c.stall / 2)
	if !c.deadline.IsZero() && c.deadline.Before(c.armed) {
		c.armed = c.deadline
	}
	return c.Conn.SetWriteDeadline(c.armed)
}

// late reports whether the deadline has passed that was asked for.
func (c *conn) late() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.deadline.IsZero() && !time.Now().Before(c.deadline)
}
