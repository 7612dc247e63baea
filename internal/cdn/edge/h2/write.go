package h2

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"time"

	"golang.org/x/net/http2"
)

const (
	// turnBytes is how much is written before other connections have their turn.
	turnBytes = 128 << 10
	// turnRoom is what a turn may have beside bodies.
	turnRoom = 16 << 10
	// keptRoom is the largest buffer that a connection keeps when it has been written.
	keptRoom = 16 << 10
	// stepBytes is how much a client must take within the stall timeout.
	stepBytes = 64 << 10
	// littleBytes is how much of bodies the goroutine that reads writes itself.
	littleBytes = 64 << 10
)

// kick has what there is written. Called with mu held.
func (c *conn) kick() {
	if c.writing || c.over != nil || !c.sendable() {
		return
	}
	c.writing = true
	go c.write(false)
}

// sendable reports whether there is something that may be written now. Called with mu held.
func (c *conn) sendable() bool { return len(c.control) > 0 || len(c.ready) > 0 && c.window > 0 }

// finish ends a stream whose body has all been sent, which needs no window (RFC 9113 §6.9.1). Called with mu held.
func (c *conn) finish(s *stream) {
	c.control = appendFrame(c.control, 0, http2.FrameData, http2.FlagDataEndStream, s.id)
	c.gone(s)
}

// gone notes that the end of a stream is among the frames that are written first. Called with mu held.
func (c *conn) gone(s *stream) report {
	s.last, s.finished, s.written = true, true, true
	if s.ended {
		return c.close(s, nil)
	}
	return c.reset(s.id, http2.ErrCodeNo, nil) // the rest of the request is of no use (RFC 9113 §8.1)
}

// flush has what there is written by the goroutine that reads, if it is little.
func (c *conn) flush() {
	c.mu.Lock()
	if c.writing || c.over != nil || !c.sendable() {
		c.mu.Unlock()
		return
	}
	c.writing = true
	size := 0
	for _, s := range c.ready {
		size += len(s.rest)
	}
	c.mu.Unlock()
	if size > littleBytes {
		go c.write(false)
		return
	}
	c.write(true)
}

// write writes until there is nothing more, or once: who reads must not be kept from that for longer. Only who has set
// writing calls it.
func (c *conn) write(once bool) {
	batch, _ := c.server.batches.Get().(*[]byte)
	defer func() {
		if p := recover(); p != nil { // of who was told of an answer's end
			c.server.panicked("writing to a connection has ended with a panic", c.remote.String(), p)
			c.fail(fmt.Errorf("panic: %v", p))
		}
		if cap(*batch) <= turnBytes+controlBytes+turnRoom {
			*batch = (*batch)[:0]
			c.server.batches.Put(batch)
		}
	}()
	var sent []part
	for {
		c.mu.Lock()
		out, more, err := c.gather((*batch)[:0], &sent)
		*batch = out
		lingers := c.lingers
		if len(out) == 0 || c.over != nil && !lingers || err != nil {
			c.writing = false
			c.mu.Unlock()
			switch {
			case err != nil:
				c.fail(err)
			case lingers:
				c.closeWrite()
			}
			return
		}
		c.space.Broadcast()
		c.mu.Unlock()
		if err := c.send(out); err != nil {
			c.fail(fmt.Errorf("%w: %w", errGone, err))
			c.mu.Lock()
			c.lingers = false
			c.mu.Unlock()
		} else {
			c.sent(sent)
		}
		clear(sent)
		if sent = sent[:0]; once {
			c.mu.Lock()
			if c.writing = c.sendable() || c.lingers; c.writing {
				go c.write(false)
			}
			c.mu.Unlock()
			return
		}
		if more {
			runtime.Gosched() // others want their turn, and this one could go on for very long
		}
	}
}

// send gives bytes to the connection.
func (c *conn) send(p []byte) error {
	if c.joiner != nil {
		c.joiner.Hold()
	}
	_, err := c.nc.Write(p)
	if c.joiner != nil {
		if e := c.joiner.Flush(); err == nil {
			err = e
		}
	}
	return err
}

// gather takes what is to be written now. Called with mu held. A mapped page that cannot be read is an error and not
// the end of the process.
func (c *conn) gather(out []byte, sent *[]part) (_ []byte, more bool, err error) {
	out = append(out, c.control...)
	if c.control = c.control[:0]; cap(c.control) > keptRoom {
		c.control = nil
	}
	turn := len(out) + turnBytes
	for len(c.ready) > 0 && c.window > 0 && len(out) < turn {
		s := c.ready[0]
		c.ready = slices.Delete(c.ready, 0, 1)
		s.queued = false
		n := int(min(int64(len(s.rest)), s.window, c.window, int64(c.frame)))
		if n == 0 || s.failure != nil {
			continue // its window was made smaller, or it has been closed
		}
		flags := http2.Flags(0)
		if s.last && n == len(s.rest) {
			flags = http2.FlagDataEndStream
		}
		out = appendFrame(out, n, http2.FrameData, flags, s.id)
		if out, err = appendBody(out, s.rest[:n], s.mapped); err != nil {
			return out, false, err
		}
		s.rest = s.rest[n:]
		s.window -= int64(n)
		c.window -= int64(n)
		switch {
		case len(s.rest) > 0:
			c.enqueue(s)
		case s.last:
			s.finished = true
		default:
			s.tell()
		}
		*sent = append(*sent, part{s, n})
	}
	return out, c.sendable(), nil
}

func appendBody(out, p []byte, mapped bool) (_ []byte, err error) {
	if mapped {
		defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
		defer func() {
			if what := recover(); what != nil {
				err = fmt.Errorf("read a mapped body: %v", what)
			}
		}()
	}
	return append(out, p...), nil
}

// enqueue puts a stream among those that have something to send, if it may. Called with mu held.
func (c *conn) enqueue(s *stream) {
	if s.queued || s.failure != nil || len(s.rest) == 0 || s.window <= 0 {
		return
	}
	s.queued = true
	c.ready = append(c.ready, s)
}

// part is how much of a stream's body is in a batch.
type part struct {
	s *stream
	n int
}

// sent notes what the kernel has taken.
func (c *conn) sent(parts []part) {
	now := time.Now()
	c.mu.Lock()
	for _, p := range parts {
		s := p.s
		s.result.Bytes += int64(p.n)
		if s.step += p.n; s.step >= stepBytes {
			s.step, s.moved = 0, now
		}
		if s.result.FirstByte.IsZero() {
			s.result.FirstByte = now
		}
	}
	c.mu.Unlock()
	for _, p := range parts {
		c.mu.Lock()
		s := p.s
		if !s.finished || c.streams[s.id] != s { // it may have been closed, or be here again
			c.mu.Unlock()
			continue
		}
		if s.done != nil && s.result.Bytes >= c.server.config.TCPInfoBytes {
			if t := c.probe.Sample(); t != nil {
				c.told = *t // of who writes; the probe may be asked again meanwhile
				s.result.TCP = &c.told
			}
		}
		r := c.gone(s)
		c.mu.Unlock()
		r.tell()
	}
}
