package h1

import (
	"cmp"
	"errors"
	"os"
	"runtime"
	"runtime/debug"
	"time"
)

const (
	// inlineBytes is the size of body up to which it is copied behind its head, which is cheaper than a second piece.
	inlineBytes = 16 << 10
	// turnBytes is how much is written before other connections have their turn, and memoryTurnBytes how much of a body
	// in memory. A longer turn wakes the client less often; of a file it would let two fast clients keep the processor to
	// themselves, as each has taken all by the end of the other's turn, for as long as the runtime lets them.
	turnBytes, memoryTurnBytes = 256 << 10, 2 << 20
	// recordBytes is the most that a TLS record holds (RFC 8446 §5.1).
	recordBytes = 16 << 10
	// pieceBytes is how much a client of TLS must take within the stall timeout: there what it has taken of a longer
	// write cannot be told.
	pieceBytes = 64 << 10
	// joinBytes is how many bytes of records are joined: the client may take as many stall timeouts as this has pieces.
	joinBytes = 2 * pieceBytes
)

var (
	errStalled = errors.New("the client took nothing of its answer within the stall timeout")
	errNoBody  = errors.New("the answer's body is not as long as it says, or is there only as a file")
	errShort   = errors.New("the file ended before the answer's length")
)

// output is what a connection needs while it writes.
type output struct {
	buffer       []byte
	pieces       [3][]byte // to be written first; the first one is in buffer
	file         uintptr   // then these bytes of a file
	offset, left int64
	turn         int   // how much may be written in this turn
	taken        int64 // what has been written
	first        time.Time
	err          error
	progress     bool // since the deadline was set
}

func (o *output) pending() int { return len(o.pieces[0]) + len(o.pieces[1]) + len(o.pieces[2]) }

func (o *output) empty() bool { return o.left == 0 && o.pending() == 0 }

func (s *Server) takeOutput() *output {
	o, _ := s.outputs.Get().(*output)
	return o
}

func (s *Server) releaseOutput(o *output) {
	if cap(o.buffer) <= 4*inlineBytes {
		*o = output{buffer: o.buffer[:0]}
		s.outputs.Put(o)
	}
}

// send writes the answer of a Hitter, and reports whether the connection can be used further.
func (c *conn) send(r *Request, a *Answer, closing bool) bool {
	o := c.server.takeOutput()
	head := append(o.buffer, a.Head...)
	if !a.Dated {
		head = append(head, c.server.date(c.now)...)
	}
	if c.secure != nil {
		head = append(head, c.server.secure().lines...)
	}
	if closing {
		head = append(head, "Connection: close\r\n"...)
	}
	head = append(append(head, a.Extra...), "\r\n"...)
	size := int64(len(head))
	length := int64(len(a.Body))
	if a.FD != 0 {
		length = a.Length
	}
	if a.NoBody || r.Head {
		length = 0
	}
	if a.FD != 0 && (!c.direct || length <= inlineBytes) {
		// A mapped page that cannot be read is to be a panic and not the end of the process; see serve.
		defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	}
	switch {
	case length == 0:
	case a.FD != 0 && c.direct && (length >= c.server.config.SendfileBytes || a.Body == nil):
		o.file, o.offset, o.left = a.FD, a.Offset, length
	case int64(len(a.Body)) != length:
		o.err = errNoBody
	case length <= inlineBytes:
		head = append(head, a.Body...)
	default:
		o.pieces[1] = a.Body
	}
	c.answers++
	if o.err == nil {
		o.buffer, o.pieces[0] = head, head
		c.setPace(a.Pace)
		o.err = c.write(o)
	}
	c.now = time.Now()
	if a.Done != nil {
		result := Result{Bytes: max(o.taken-size, 0), Err: o.err, FirstByte: o.first, Last: c.now}
		if o.first.IsZero() && o.taken > 0 {
			result.FirstByte = c.now
		}
		every := int64(c.server.config.TCPInfoEvery)
		if c.socket != nil && (length >= c.server.config.TCPInfoBytes || every > 0 && c.answers%every == 0) {
			result.TCP = c.sample()
		}
		done := a.Done
		a.Done = nil
		done(result)
	}
	err := o.err
	c.server.releaseOutput(o)
	return err == nil
}

func (c *conn) setPace(rate int64) {
	if rate != c.pace && c.socket != nil {
		c.pace = rate
		_ = c.socket.Control(func(fd uintptr) { setPace(fd, c.pace) })
	}
}

// write writes what the output has, in turns, and returns when the kernel has all of it.
func (c *conn) write(o *output) error {
	if !c.direct {
		return c.writeStream(o)
	}
	c.out = o
	var err error
	for err == nil {
		if o.turn = turnBytes; o.left == 0 {
			o.turn = memoryTurnBytes
		}
		if err = c.socket.Write(c.writeDirect); errors.Is(err, os.ErrDeadlineExceeded) {
			err = c.stalled(err)
		} else if err == nil {
			err = o.err
		}
		if err != nil || o.empty() {
			break
		}
		runtime.Gosched() // others want their turn, and this one could go on for very long
	}
	if c.stallArmed {
		c.stallArmed = false
		c.setWriteDeadline(time.Time{})
	}
	c.out = nil
	return err
}

// writeSocket writes until the turn has ended or the socket takes no more.
func (c *conn) writeSocket(fd uintptr) bool {
	o := c.out
	for o.turn > 0 && !o.empty() {
		var n int
		var blocked bool
		if o.pending() > 0 {
			n, blocked, o.err = o.sendPieces(fd)
		} else {
			n, blocked, o.err = sendFile(fd, o.file, &o.offset, int(min(o.left, int64(o.turn))))
			o.left -= int64(n)
		}
		switch {
		case o.err != nil:
			return true
		case blocked:
			c.armStall(fd)
			return false
		}
		o.turn -= n
		o.taken += int64(n)
		c.total += int64(n)
		o.progress = true
		if o.first.IsZero() && !o.empty() {
			o.first = time.Now()
		}
	}
	return true
}

// sendPieces writes of the pieces what the turn allows.
func (o *output) sendPieces(fd uintptr) (n int, blocked bool, err error) {
	pieces, left := o.pieces, o.turn
	for i, p := range pieces {
		pieces[i] = p[:min(len(p), left)]
		left -= len(pieces[i])
	}
	n, blocked, err = send(fd, &pieces, o.left > 0)
	for i, rest := 0, n; rest > 0; i++ {
		k := min(rest, len(o.pieces[i]))
		o.pieces[i] = o.pieces[i][k:]
		rest -= k
	}
	return n, blocked, err
}

// armStall sets the deadline for a client that takes nothing; as it has taken something since the last time it is set
// anew, but not for every packet.
func (c *conn) armStall(fd uintptr) {
	now := time.Now()
	if c.stallArmed && (!c.out.progress || now.Sub(c.stallAt) < c.server.grain) {
		return
	}
	c.stallArmed, c.stallAt, c.out.progress = true, now, false
	c.stallTaken = c.total - unacknowledged(fd)
	c.setWriteDeadline(now.Add(c.server.config.StallTimeout))
}

// stalled decides what a passed deadline means. The socket tells that it can take more only when much of its buffer
// is free; a slow client may have taken less in all this time, but not nothing.
func (c *conn) stalled(err error) error {
	c.mu.Lock()
	limited := c.running != nil && !c.running.writeLimit.IsZero() && !time.Now().Before(c.running.writeLimit)
	c.mu.Unlock()
	if limited {
		return err // the Handler's own deadline
	}
	before := c.stallTaken
	c.stallArmed = false
	if e := c.socket.Control(c.armStall); e != nil {
		return e
	}
	if c.stallTaken > before {
		return nil
	}
	c.server.metrics.stalled.Inc()
	return errStalled
}

// setWriteDeadline sets the deadline, or the Handler's if that is sooner; the zero value is none.
func (c *conn) setWriteDeadline(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running != nil && !c.running.writeLimit.IsZero() && (t.IsZero() || c.running.writeLimit.Before(t)) {
		t = c.running.writeLimit
	}
	_ = c.nc.SetWriteDeadline(t)
}

// writeStream writes through net.Conn: TLS, and whatever has no socket that can be used. What a joiner keeps has not
// been written before it is flushed.
func (c *conn) writeStream(o *output) error {
	// The head shares its record with the beginning of the body.
	for i, p := range o.pieces[1:] {
		k := max(min(recordBytes-len(o.buffer), len(p)), 0)
		if o.buffer, o.pieces[i+1] = append(o.buffer, p[:k]...), p[k:]; k < len(p) {
			break
		}
	}
	o.pieces[0] = o.buffer
	var err error
	for err == nil && !o.empty() {
		size := pieceBytes
		join := c.joiner != nil && o.pending() > recordBytes
		if join {
			size = joinBytes
		}
		// It is never cleared and may have passed since, but then it is older than the grain.
		if now := time.Now(); now.Sub(c.stallAt) >= c.server.grain || size > c.stallBytes {
			c.stallAt, c.stallBytes = now, size
			c.setWriteDeadline(now.Add(c.server.config.StallTimeout * time.Duration(size/pieceBytes)))
		}
		var n int
		if join {
			c.joiner.Hold()
			n, err = c.writePieces(o, size)
			if failed := c.joiner.Flush(); failed != nil {
				n, err = 0, cmp.Or(err, failed)
			}
		} else {
			n, err = c.writePieces(o, size)
		}
		o.taken += int64(n)
		if o.turn += n; o.turn >= turnBytes {
			o.turn = 0
			runtime.Gosched()
		}
		if o.first.IsZero() && err == nil && !o.empty() {
			o.first = time.Now()
		}
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.server.metrics.stalled.Inc()
		return errStalled
	}
	return err
}

// writePieces writes so much of the pieces.
func (c *conn) writePieces(o *output, size int) (written int, err error) {
	for i := range o.pieces {
		p := o.pieces[i][:min(len(o.pieces[i]), size-written)]
		if len(p) == 0 {
			continue
		}
		n, err := c.nc.Write(p)
		o.pieces[i] = o.pieces[i][n:]
		if written += n; err != nil {
			return written, err
		}
	}
	return written, nil
}
