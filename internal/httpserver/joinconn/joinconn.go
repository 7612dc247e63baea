package joinconn

import (
	"errors"
	"net"
	"sync"
	"time"
)

const (
	// HeldBytes bounds what is gathered between Hold and Flush.
	HeldBytes = 256 << 10
	// PendingBytes is how much is pending in the background before the writer has to send it itself.
	PendingBytes = 64 << 10
	// Wait bounds how long something is pending while more keeps coming.
	Wait = 50 * time.Microsecond
	// CloseTimeout bounds the time that Close has to send what is pending.
	CloseTimeout = 5 * time.Second

	// recordBytes is room for the record that makes a buffer full: 16 KB, header, tag and padding.
	recordBytes = 17 << 10
	// quietTurns is how often everybody else may run without adding anything before what is pending is
	// taken for all there is.
	quietTurns = 3
)

// Buffers are the room that connections gather in; a connection has some only while something is gathered.
type Buffers struct{ held, pending sync.Pool }

// NewBuffers returns buffers for any number of connections.
func NewBuffers() *Buffers {
	return &Buffers{held: bufferPool(HeldBytes), pending: bufferPool(PendingBytes + recordBytes)}
}

func bufferPool(size int) sync.Pool {
	return sync.Pool{New: func() any {
		b := make([]byte, 0, size)
		return &b
	}}
}

// Conn is a connection whose writes can be gathered. Until it is told to, it passes them on as they are.
type Conn struct {
	net.Conn
	buffers *Buffers

	// sending is held while bytes go to the connection below, so that they go in the order in which they
	// came. It guards what follows, and is not used in the background.
	sending sync.Mutex
	held    *[]byte // nil: nothing is to be gathered
	holds   int     // that are not flushed yet

	failure error // the first error of the connection below; nothing is sent after it

	background *background // nil: every write is sent before it returns. Set once, before the connection is shared
}

// New returns a connection over c.
func (b *Buffers) New(c net.Conn) *Conn { return &Conn{Conn: c, buffers: b} }

// NetConn returns the connection below, as (*tls.Conn).NetConn does.
func (c *Conn) NetConn() net.Conn { return c.Conn }

// Hold gathers the writes from now until Flush. It may be called more than once; the last Flush counts.
func (c *Conn) Hold() {
	c.sending.Lock()
	defer c.sending.Unlock()
	if c.holds++; c.held == nil && c.background == nil {
		c.held = c.buffers.held.Get().(*[]byte)
	}
}

// Flush sends what was gathered since Hold.
func (c *Conn) Flush() error {
	c.sending.Lock()
	defer c.sending.Unlock()
	c.holds = max(c.holds-1, 0)
	if c.held == nil || c.holds > 0 {
		return c.failure
	}
	held := c.held
	c.held = nil
	err := c.sendHeld(held)
	c.buffers.held.Put(held)
	return err
}

func (c *Conn) sendHeld(held *[]byte) error {
	if len(*held) > 0 {
		_ = c.send(*held)
	}
	*held = (*held)[:0]
	return c.failure
}

// send passes p on. The caller holds sending.
func (c *Conn) send(p []byte) error {
	if c.failure == nil { // what came before is lost otherwise, and a record more would make no sense to the client
		_, c.failure = c.Conn.Write(p)
	}
	return c.failure
}

func (c *Conn) Write(p []byte) (int, error) {
	if c.background != nil {
		return c.add(p)
	}
	c.sending.Lock()
	defer c.sending.Unlock()
	if c.held != nil && len(*c.held)+len(p) > HeldBytes {
		if err := c.sendHeld(c.held); err != nil {
			return 0, err
		}
	}
	if c.held == nil || len(p) > HeldBytes {
		if c.failure != nil {
			return 0, c.failure
		}
		var n int
		n, c.failure = c.Conn.Write(p)
		return n, c.failure
	}
	if c.failure != nil {
		return 0, c.failure
	}
	*c.held = append(*c.held, p...)
	return len(p), nil
}

// CloseWrite ends the sending side.
func (c *Conn) CloseWrite() error {
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	return half.CloseWrite()
}

// SetWriteDeadline bounds how long writes may wait.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	if c.background != nil {
		return c.boundWrites(t)
	}
	return c.Conn.SetWriteDeadline(t)
}

// SetDeadline bounds how long reads and writes may wait.
func (c *Conn) SetDeadline(t time.Time) error {
	if c.background == nil {
		return c.Conn.SetDeadline(t)
	}
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.boundWrites(t)
}

// Close sends what is pending, which takes [CloseTimeout] at most, and closes the connection below.
func (c *Conn) Close() error {
	if c.background != nil {
		return c.end()
	}
	return c.Conn.Close()
}
