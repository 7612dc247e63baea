package sniff

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
)

// ErrMalformed is what the reader of a body gets that is broken.
var ErrMalformed = errors.New("malformed request")

// poison is no request line and no field line, wherever in a head it comes.
const poison = "\x00\r\n\r\n"

// Conn is a connection from which no malformed request can be read.
type Conn struct {
	net.Conn
	refused func(Reason)
	through atomic.Bool
	scanner scanner // of the reader
	poison  string  // what is still to be read instead of what came
	failure error   // for every read from now on, after the poison
}

// New returns a connection over c, which is at the beginning of a request. If c has a ConnectionState method, the
// connection has it as well. refused is called when a request has been refused.
func New(c net.Conn, refused func(Reason)) Sniffer {
	conn := &Conn{Conn: c, refused: refused}
	if secure, ok := c.(interface {
		ConnectionState() tls.ConnectionState
	}); ok {
		return &secureConn{Conn: conn, state: secure.ConnectionState}
	}
	return conn
}

// Sniffer is what New returns.
type Sniffer interface {
	net.Conn
	// Hijacked ends the sniffing: what comes from now on is no HTTP.
	Hijacked()
	NetConn() net.Conn
	CloseWrite() error
}

type secureConn struct {
	*Conn
	state func() tls.ConnectionState
}

// ConnectionState returns that of the connection below.
func (c *secureConn) ConnectionState() tls.ConnectionState { return c.state() }

// Hijacked ends the sniffing: what comes from now on is no HTTP.
func (c *Conn) Hijacked() { c.through.Store(true) }

// NetConn returns the connection below, as (*tls.Conn).NetConn does.
func (c *Conn) NetConn() net.Conn { return c.Conn }

// CloseWrite ends the sending side, which lets a client read the answer that refuses it.
func (c *Conn) CloseWrite() error {
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	return half.CloseWrite()
}

func (c *Conn) Read(p []byte) (int, error) {
	if c.through.Load() {
		return c.Conn.Read(p)
	}
	if c.failure != nil {
		return c.readPoison(p)
	}
	n, err := c.Conn.Read(p)
	if n <= 0 || c.through.Load() {
		return n, err
	}
	good, inHead, why := c.scanner.scan(p[:n])
	if why == "" {
		return n, err
	}
	c.refused(why)
	c.failure = io.EOF
	if inHead {
		c.poison = poison
	} else {
		c.failure = fmt.Errorf("%w: %s", ErrMalformed, why)
	}
	if good > 0 {
		return good, nil
	}
	return c.readPoison(p)
}

func (c *Conn) readPoison(p []byte) (int, error) {
	if c.poison == "" {
		return 0, c.failure
	}
	n := copy(p, c.poison)
	c.poison = c.poison[n:]
	return n, nil
}
