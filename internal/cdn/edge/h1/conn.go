package h1

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// conn is a connection. It is small, as many thousands of them wait for their next request; what only a request needs
// is in input and output.
type conn struct {
	server *Server
	nc     net.Conn
	secure stater     // of TLS, else nil
	joiner Joiner     // below TLS, or nil
	half   halfCloser // the uppermost layer that can close one direction, or nil
	// socket is that of TCP, nil where it cannot be had; with direct, all bytes go through it. The functions are made
	// once, as each would be allocated.
	socket                  syscall.RawConn
	direct                  bool
	readDirect, writeDirect func(uintptr) bool
	remote                  netip.AddrPort
	from                    string // remote, as net/http writes it
	base                    context.Context
	state                   *tls.ConnectionState // as base from the first handled request on

	// Of the connection's goroutine.
	in      *input    // nil while nothing is there
	now     time.Time // when something happened last
	since   time.Time // when the head that is being read began; zero: none has
	armedAt time.Time // when the read deadline was set; zero: it is none of these
	forHead bool      // it is for a head, not for the time between requests
	readErr error
	small   *[smallBytes]byte
	last    bool // nothing comes after what is in
	left    bool // the client has gone

	// Of the goroutine that writes: the Handler's while one runs.
	out        *output
	total      int64 // bytes that the kernel has taken
	stallAt    time.Time
	stallTaken int64 // those of total that the client had taken at stallAt
	stallBytes int   // what the deadline is for, where there is no socket
	stallArmed bool
	pace       int64
	answers    int64
	probe      *Probe // nil: the kernel has not been asked yet

	draining atomic.Bool
	begun    atomic.Bool // there has been a request
	mu       sync.Mutex  // guards the rest, and deadlines that several set
	over     bool        // the connection is no more, or no more ours
	running  *response   // what a Handler writes to; nil: none runs
}

// serve runs the loop.
func (c *conn) serve() (rest net.Conn) {
	defer func() {
		if p := recover(); p != nil {
			c.failed(p)
			rest = nil
		}
		c.mu.Lock()
		c.over = true
		c.mu.Unlock()
		if rest == nil {
			_ = c.nc.Close()
		} else {
			_ = c.nc.SetDeadline(time.Time{})
		}
		c.releaseInput()
	}()
	c.now = time.Now()
	c.since = c.now
	for {
		switch v, status := c.parse(); v {
		case more:
			if err := c.await(); err != nil {
				c.ended(err)
				return nil
			}
		case refuse:
			c.refuse(status)
			return nil
		case handOver:
			c.server.metrics.handedOver.Inc()
			return newReplay(c, bytes.Clone(c.in.buffer[c.in.start:c.in.end]))
		case serve:
			if !c.answer() {
				if c.in != nil && c.in.start < c.in.end && !c.left {
					c.linger()
				}
				return nil
			}
		}
	}
}

// failed ends the answer that runs after a panic: of the Hitter, or of reading a mapped body whose file has failed.
func (c *conn) failed(p any) {
	c.server.panicked("a connection has ended with a panic", c.remote.String(), p)
	if in := c.in; in != nil && in.answer.Done != nil {
		in.answer.Done(Result{Err: fmt.Errorf("panic: %v", p), Last: time.Now()})
	}
}

// ended closes the books on a connection whose next request does not come.
func (c *conn) ended(err error) {
	switch {
	case !errors.Is(err, os.ErrDeadlineExceeded), c.draining.Load() && c.begun.Load():
	case !c.forHead:
		c.server.metrics.idle.Inc()
	default:
		c.server.metrics.slow.Inc()
		if c.in != nil && c.in.start < c.in.end {
			c.refuse(http.StatusRequestTimeout)
		}
	}
}

// parse looks at what has been read.
func (c *conn) parse() (verdict, int) {
	in := c.in
	if in == nil || in.start == in.end {
		return more, 0
	}
	b := in.buffer[in.start:in.end]
	if !in.skipped && len(b) >= 2 && b[0] == '\r' && b[1] == '\n' {
		// One empty line before a request is to be ignored (RFC 9112 §2.2).
		in.start += 2
		in.skipped = true
		b = b[2:]
	}
	// A head that comes byte by byte is parsed when its first line or what looks like its end has come, not each time.
	limit := c.server.config.HeaderBytes
	if tail := b[max(in.searched-2, 0):]; len(b) < limit && bytes.IndexByte(b, '\n') < in.searched &&
		!bytes.Contains(tail, []byte("\n\r\n")) && !bytes.Contains(tail, []byte("\n\n")) {
		in.searched = len(b)
		return more, 0
	}
	in.request.Remote, in.request.TLS = c.remote, c.secure != nil
	v, status := in.request.parse(b, limit)
	in.searched = len(b)
	return v, status
}

// await waits for bytes of the next request, as long as it may take.
func (c *conn) await() error {
	if c.since.IsZero() && c.in != nil && c.in.start < c.in.end {
		c.since = c.now
	}
	switch {
	case c.since.IsZero():
		if c.forHead || c.now.Sub(c.armedAt) >= c.server.grain {
			c.arm(false, c.now.Add(c.server.config.IdleTimeout))
		}
	case !c.forHead:
		c.arm(true, c.since.Add(c.server.config.HeaderTimeout))
	}
	// The order matters: either this sees the flags, or drain's deadline comes after the one above.
	if c.draining.Load() && c.begun.Load() {
		return net.ErrClosed
	}
	if err := c.fill(); err != nil {
		return err
	}
	if c.now = time.Now(); c.since.IsZero() {
		c.since = c.now
	}
	return nil
}

func (c *conn) arm(forHead bool, t time.Time) {
	c.forHead, c.armedAt = forHead, c.now
	_ = c.nc.SetReadDeadline(t)
}

// drain has the connection closed as soon as no answer runs. One that has not asked for anything yet may do so.
func (c *conn) drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.draining.Store(true)
	if !c.over && c.begun.Load() {
		_ = c.nc.SetReadDeadline(time.Unix(1, 0)) // long ago
	}
}

// answer answers the request that has been parsed, and reports whether another may follow.
func (c *conn) answer() bool {
	in := c.in
	r := &in.request
	r.Received, c.since = c.now, time.Time{}
	r.LastTCP = c.probe.Last()
	c.begun.Store(true)
	if c.forHead {
		c.forHead, c.armedAt = false, time.Time{}
	}
	closing := r.Close || c.draining.Load()
	if h := c.server.hitter; h != nil && !r.repeated {
		in.answer = Answer{Extra: in.extra[:0]}
		if h.Hit(r, &in.answer) {
			c.server.metrics.hits.Inc()
			ok := c.send(r, &in.answer, closing)
			in.extra = in.answer.Extra[:0]
			in.answer = Answer{}
			in.next(len(r.head))
			return ok && !closing && !c.draining.Load()
		}
		in.answer = Answer{}
	}
	return c.handle(closing)
}

// refuse answers with an error of this server's own and ends the connection.
func (c *conn) refuse(status int) {
	c.server.metrics.refused.Inc()
	text := strconv.Itoa(status) + " " + http.StatusText(status)
	o := c.server.takeOutput()
	o.buffer = fmt.Appendf(o.buffer, "HTTP/1.1 %s\r\n%sContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n"+
		"Connection: close\r\n\r\n%s\n", text, c.server.date(time.Now()), len(text)+1, text)
	o.pieces[0] = o.buffer
	err := c.write(o)
	c.server.releaseOutput(o)
	if err == nil {
		c.linger()
	}
}

// sample asks the kernel how the connection fares.
func (c *conn) sample() *TCPInfo {
	if c.probe == nil {
		c.probe = newProbe(c.socket)
	}
	return c.probe.Sample()
}

// linger ends our direction and reads on for a while: closing a connection with bytes unread has the kernel reset it,
// which can take an answer from the client that it has not read yet (RFC 9112 §9.6).
func (c *conn) linger() {
	if c.half == nil || c.half.CloseWrite() != nil || c.draining.Load() {
		return
	}
	_ = c.nc.SetReadDeadline(time.Now().Add(lingerTime))
	_, _ = io.CopyN(io.Discard, c.nc, lingerBytes)
}
