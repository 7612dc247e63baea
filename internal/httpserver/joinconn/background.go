package joinconn

import (
	"net"
	"os"
	"runtime"
	"sync"
	"time"
)

// background is the state of a connection whose writes return before they are sent.
type background struct {
	mu       sync.Mutex // guards what follows
	free     sync.Cond  // sending has ended
	sending  bool       // somebody gives bytes to the connection below: one at a time, in order
	pending  *[]byte    // nil: nothing is pending
	flushing bool       // a goroutine will send what is pending
	waiting  int        // writes that wait for the connection below
	deadline time.Time  // of Write
	bounded  bool       // the connection below has that deadline
	closed   bool
	failure  error // the first error of the connection below; nothing is sent after it
	flushers sync.WaitGroup
}

// Background makes every later write return before it is sent. It must be called before the connection is
// used by more than one goroutine.
func (c *Conn) Background() {
	if c.background == nil {
		c.background = new(background)
		c.background.free.L = &c.background.mu
	}
}

// add makes p pending, and sends what is pending if that is a full turn.
func (c *Conn) add(p []byte) (int, error) {
	b := c.background
	b.mu.Lock()
	if err := b.refusal(); err != nil {
		b.mu.Unlock()
		return 0, err
	}
	if b.pending == nil {
		b.pending = c.buffers.pending.Get().(*[]byte)
	}
	*b.pending = append(*b.pending, p...)
	full := len(*b.pending) >= PendingBytes
	if full {
		b.waiting++
		b.bound(c.Conn)
	} else if !b.flushing {
		b.flushing = true
		b.flushers.Go(c.flush)
	}
	b.mu.Unlock()
	if !full {
		return len(p), nil
	}
	err := c.sendPending()
	b.mu.Lock()
	b.waiting--
	b.mu.Unlock()
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

// refusal says why nothing can be written now. The caller holds mu.
func (b *background) refusal() error {
	switch {
	case b.failure != nil:
		return b.failure
	case b.closed:
		return net.ErrClosed
	case !b.deadline.IsZero() && !time.Now().Before(b.deadline):
		return os.ErrDeadlineExceeded
	}
	return nil
}

// flush sends what is pending until nothing is.
func (c *Conn) flush() {
	for more := true; more; {
		c.background.settle()
		_ = c.sendPending() // the next write says it
		more = c.background.more()
	}
}

// settle returns when nobody has added anything for some turns, when somebody else has sent what was pending,
// and after Wait at the latest. Giving way to the other goroutines tells more than sleeping: a sleep of 50 µs
// takes a millisecond where nothing else runs, and where much runs a turn is long enough to join what it adds.
func (b *background) settle() {
	begun := time.Now()
	before, quiet := 0, 0
	for quiet < quietTurns && time.Since(begun) < Wait {
		runtime.Gosched()
		b.mu.Lock()
		now := 0
		if b.pending != nil {
			now = len(*b.pending)
		}
		closed := b.closed
		b.mu.Unlock()
		if now == 0 || closed {
			return
		}
		if now == before {
			quiet++
		} else {
			before, quiet = now, 0
		}
	}
}

// more reports whether something is pending; if not, the goroutine that flushes is at its end.
func (b *background) more() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.flushing = b.pending != nil && b.failure == nil && !b.closed
	return b.flushing
}

// sendPending sends what is pending.
func (c *Conn) sendPending() error {
	b := c.background
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.sending {
		b.free.Wait()
	}
	pending := b.pending
	b.pending = nil
	if pending == nil {
		return b.failure
	}
	if b.failure == nil {
		b.bound(c.Conn)
		b.sending = true
		b.mu.Unlock()
		_, err := c.Conn.Write(*pending)
		b.mu.Lock()
		b.sending = false
		b.failure = err
		b.free.Broadcast()
	}
	*pending = (*pending)[:0]
	c.buffers.pending.Put(pending)
	return b.failure
}

// bound gives the connection below the deadline of writes while one waits for it, and takes it away when
// none does: what a Write that has returned has left is not to be lost by a later deadline. The caller holds mu.
func (b *background) bound(below net.Conn) {
	if b.closed {
		return // it has the deadline of Close
	}
	bounded := b.waiting > 0 && !b.deadline.IsZero()
	switch {
	case bounded:
		_ = below.SetWriteDeadline(b.deadline)
	case b.bounded:
		_ = below.SetWriteDeadline(time.Time{})
	}
	b.bounded = bounded
}

// boundWrites sets the deadline of writes, those included that wait now.
func (c *Conn) boundWrites(t time.Time) error {
	b := c.background
	b.mu.Lock()
	defer b.mu.Unlock()
	b.deadline = t
	b.bound(c.Conn)
	return nil
}

// end sends what is pending and closes the connection below.
func (c *Conn) end() error {
	b := c.background
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return net.ErrClosed
	}
	b.closed = true
	_ = c.Conn.SetWriteDeadline(time.Now().Add(CloseTimeout))
	b.mu.Unlock()
	sendError := c.sendPending()
	err := c.Conn.Close()
	b.flushers.Wait()
	if sendError != nil {
		return sendError
	}
	return err
}
