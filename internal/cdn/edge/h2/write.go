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

// flush has what there is written by the goroutine that reads, if it is little.
func (c *conn) flush() {
	c.mu.Lock()
	if c.writing || c.over != nil || !c.sendable() {
		c.mu.Unlock()
		return
	}
	c.writing = true
	little := c.little()
	c.mu.Unlock()
	if !little {
		go c.write(false)
		return
	}
	c.write(true)
}

// little reports whether what is ready to be sent is little. Called with mu held.
func (c *conn) little() bool {
	size := 0
	for _, s := range c.ready {
		size += len(s.rest)
	}
	return size <= littleBytes
}

// write writes until there is nothing more, or no longer little if it is to be. Only who has set writing calls it.
func (c *conn) write(little bool) {
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
	var sent []*stream
	for {
		c.mu.Lock()
		if little && !c.little() { // it has become more meanwhile
			c.mu.Unlock()
			go c.write(false)
			return
		}
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
		if sent = sent[:0]; more {
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
func (c *conn) gather(out []byte, sent *[]*stream) (_ []byte, more bool, err error) {
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
		if n == 0 && len(s.rest) > 0 || s.failure != nil || len(s.rest) == 0 && !s.last {
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
		s.result.Bytes += int64(n)
		switch {
		case len(s.rest) > 0:
			c.enqueue(s)
		case s.last:
			s.finished = true
		default:
			s.tell()
		}
		if k := len(*sent); k == 0 || (*sent)[k-1] != s {
			*sent = append(*sent, s)
		}
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
	if s.queued || s.finished || s.failure != nil || len(s.rest) == 0 && !s.last || len(s.rest) > 0 && s.window <= 0 {
		return
	}
	s.queued = true
	c.ready = append(c.ready, s)
}

// sent notes what the kernel has taken.
func (c *conn) sent(streams []*stream) {
	now := time.Now()
	for _, s := range streams {
		c.mu.Lock()
		if s.moved = now; s.result.FirstByte.IsZero() {
			s.result.FirstByte = now
		}
		if !s.finished || c.streams[s.id] != s { // it may have been closed, or be here twice
			c.mu.Unlock()
			continue
		}
		s.written = true
		if s.done != nil && s.result.Bytes >= c.server.config.TCPInfoBytes {
			s.result.TCP = c.probe.Sample()
		}
		var r report
		if s.ended {
			r = c.close(s, nil)
		} else { // the rest of the request is of no use (RFC 9113 §8.1)
			r = c.reset(s.id, http2.ErrCodeNo, nil)
		}
		c.mu.Unlock()
		r.tell()
	}
}
