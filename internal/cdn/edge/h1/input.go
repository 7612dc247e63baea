package h1

import (
	"bufio"
	"bytes"
	"io"
)

const (
	// inputBytes is what is read at once; nearly every head is shorter.
	inputBytes = 8 << 10
	// smallBytes is what a connection waits with that cannot wait without.
	smallBytes = 1 << 10
)

// input is what a connection needs once bytes of a request are there.
type input struct {
	buffer     []byte
	start, end int  // the bytes that are not answered yet
	searched   int  // how many of these are known to have no whole head
	skipped    bool // an empty line before the request
	request    Request
	answer     Answer
	extra      []byte
	head       bytes.Reader // what net/http reads a head from
	heads      bufio.Reader
}

// next forgets the head of n bytes.
func (in *input) next(n int) {
	in.start += n
	in.searched, in.skipped = 0, false
}

// room makes some, if the buffer is full, and reports whether there is any.
func (in *input) room(limit int) bool {
	switch {
	case in.start == in.end:
		in.start, in.end = 0, 0
	case in.end < len(in.buffer):
	case in.start > 0:
		in.end = copy(in.buffer, in.buffer[in.start:in.end])
		in.start = 0
	case len(in.buffer) < limit:
		b := make([]byte, min(2*len(in.buffer), limit))
		in.end = copy(b, in.buffer)
		in.buffer = b
	default:
		return false
	}
	return true
}

func (c *conn) takeInput() { c.in, _ = c.server.inputs.Get().(*input) }

func (c *conn) releaseInput() {
	in := c.in
	c.in = nil
	if in != nil && len(in.buffer) <= inputBytes && cap(in.extra) <= inputBytes {
		*in = input{buffer: in.buffer, extra: in.extra[:0], heads: in.heads}
		c.server.inputs.Put(in)
	}
}

// fill reads what is there, or waits for it.
func (c *conn) fill() error {
	if c.last {
		return io.EOF
	}
	if c.in != nil && !c.in.room(c.server.config.HeaderBytes) {
		return io.ErrShortBuffer
	}
	if !c.direct {
		return c.readStream()
	}
	if err := c.socket.Read(c.readDirect); err != nil {
		return err
	}
	return c.readErr
}

// readSocket reads into a buffer that it takes for the time that something is there.
func (c *conn) readSocket(fd uintptr) bool {
	if c.in == nil {
		c.takeInput()
	}
	n, blocked, err := read(fd, c.in.buffer[c.in.end:])
	if blocked {
		if c.in.start == c.in.end {
			c.releaseInput()
		}
		return false
	}
	c.in.end += n
	c.readErr = err
	return true
}

// readStream waits with little room, and takes a buffer when something has come.
func (c *conn) readStream() error {
	if c.in != nil && c.in.end > 0 {
		n, err := c.nc.Read(c.in.buffer[c.in.end:])
		if c.in.end += n; n > 0 {
			return nil
		}
		return err
	}
	c.releaseInput()
	if c.small == nil {
		c.small = new([smallBytes]byte)
	}
	n, err := c.nc.Read(c.small[:])
	if n == 0 {
		return err
	}
	c.takeInput()
	c.in.end = copy(c.in.buffer, c.small[:n])
	return nil
}
