package h2

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/weir-stream/weir/internal/cdn/edge/h1"
)

const (
	// inputBytes is what is read at once.
	inputBytes = 4 << 10
	// firstWindow and firstFrame are the peer's limits before it has said any (RFC 9113 §6.5.2).
	firstWindow = 1<<16 - 1
	firstFrame  = 16 << 10
	maxWindow   = 1<<31 - 1
	// streamWindow and connWindow are how much of requests' bodies may be on its way, of one and of all.
	streamWindow = 256 << 10
	connWindow   = 1 << 20
	// controlBytes is how much that is not body may wait to be written before nothing more is read.
	controlBytes = 64 << 10
	// maxExcess is how often in a row a client may reset a stream or send what is of no use.
	maxExcess = 200
	// resetsKept is how many streams that were reset here are remembered: what the client sent before it knew is no error.
	resetsKept = 100
	// farewell is how long a client may go on to open streams after it has been told to stop.
	farewell = 500 * time.Millisecond
	// lingerTime and lingerBytes bound what is read from a client whose connection is about to be closed.
	lingerTime  = time.Second
	lingerBytes = 256 << 10
	// maxStream is the last stream that can be (RFC 9113 §5.1.1).
	maxStream = 1<<31 - 1
)

var (
	errReset   = errors.New("the client has reset the stream")
	errGone    = errors.New("the connection has ended")
	errStalled = errors.New("the client took nothing of its answer within the stall timeout")
	errIdle    = errors.New("there was no stream within the idle timeout")
	errSilent  = errors.New("the client sent no preface within the header timeout")
)

// conn is a connection.
type conn struct {
	server *Server
	nc     net.Conn
	joiner h1.Joiner // below TLS, or nil
	remote netip.AddrPort
	from   string // remote, as net/http writes it
	state  *tls.ConnectionState
	base   context.Context

	// Of the goroutine that reads.
	framer  *http2.Framer
	in      *bufio.Reader
	request h1.Request
	head    []byte
	answer  h1.Answer
	extra   []byte
	block   []byte
	known   h1.TCPInfo

	told h1.TCPInfo // of who writes

	mu       sync.Mutex // guards the rest
	timer    *time.Timer
	watched  bool      // it is set for streams, and not for an idle connection only
	space    sync.Cond // control has been taken
	streams  map[uint32]*stream
	ready    []*stream // have something to send that their windows allow
	probe    *h1.Probe // nil: there is no socket
	control  []byte    // frames to be written first
	resized  bool      // the next block begins with the size of the table
	writing  bool      // somebody does
	window   int64     // what the peer lets the connection send
	initial  int64     // window of new streams
	frame    int       // the largest that the peer takes
	given    int64     // what the peer may send
	read     int64     // of that, what has been read and not been given back
	last     uint32    // the newest stream
	running  int       // Handlers
	excess   int
	resets   [resetsKept]uint32
	resetAt  int
	idle     time.Time // when the last stream ended; zero: there are some
	settled  bool      // the first frame has come
	draining bool
	refusing bool // streams after last are not served
	over     error
	lingers  bool
}

func newConn(s *Server, nc net.Conn) *conn {
	c := &conn{
		server: s, nc: nc, idle: time.Now(), streams: make(map[uint32]*stream), window: firstWindow, initial: firstWindow,
		frame: firstFrame, given: connWindow, resized: true,
	}
	c.space.L = &c.mu
	for below := nc; c.joiner == nil; {
		n, ok := below.(interface{ NetConn() net.Conn })
		if c.joiner, _ = below.(h1.Joiner); !ok {
			break
		}
		below = n.NetConn()
	}
	c.probe = h1.NewProbe(nc)
	c.from = nc.RemoteAddr().String()
	if a, ok := nc.RemoteAddr().(*net.TCPAddr); ok {
		p := a.AddrPort()
		c.remote = netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
	}
	if t, ok := nc.(interface{ ConnectionState() tls.ConnectionState }); ok {
		state := t.ConnectionState()
		c.state = &state
	}
	c.in = bufio.NewReaderSize(nc, inputBytes)
	c.framer = http2.NewFramer(nil, c.in)
	c.framer.SetReuseFrames()
	c.framer.SetMaxReadFrameSize(firstFrame)
	c.framer.MaxHeaderListSize = uint32(2 * s.config.HeaderBytes) // of a value beyond that the connection ends
	c.framer.ReadMetaHeaders = hpack.NewDecoder(4<<10, nil)
	// Nothing may come before (RFC 9113 §3.4).
	c.control = appendSettings(c.control,
		http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: uint32(s.streams)},
		http2.Setting{ID: http2.SettingInitialWindowSize, Val: streamWindow},
		http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: uint32(s.config.HeaderBytes)})
	c.control = appendWindowUpdate(c.control, 0, connWindow-firstWindow)
	return c
}

// serve runs the loop.
func (c *conn) serve() {
	defer func() {
		if p := recover(); p != nil {
			c.server.panicked("a connection has ended with a panic", c.remote.String(), p)
			c.fail(fmt.Errorf("panic: %v", p))
		}
		c.fail(net.ErrClosed)
		c.mu.Lock()
		c.timer.Stop()
		c.mu.Unlock()
		// What the client still sends is read: to close a socket with bytes unread has the kernel reset it, which can take
		// from the client what it has not read yet.
		_, _ = io.CopyN(io.Discard, c.nc, lingerBytes)
		_ = c.nc.Close()
	}()
	c.mu.Lock()
	c.timer = time.AfterFunc(c.server.config.HeaderTimeout, c.tick)
	c.mu.Unlock()
	c.flush()
	var preface [len(http2.ClientPreface)]byte
	if _, err := io.ReadFull(c.in, preface[:]); err != nil || string(preface[:]) != http2.ClientPreface {
		c.fail(errors.New("the client's preface is not that of HTTP/2"))
		return
	}
	for {
		if !c.buffered() {
			c.flush()
		}
		f, err := c.framer.ReadFrame()
		if err == nil {
			err = c.take(f)
		}
		if err != nil && !c.forgive(err) {
			return
		}
	}
}

// buffered reports whether a whole frame has been read, so that reading it does not wait.
func (c *conn) buffered() bool {
	const head = 9 // bytes
	n := c.in.Buffered()
	if n < head {
		return false
	}
	b, _ := c.in.Peek(head)
	if http2.FrameType(b[3]) == http2.FrameHeaders && http2.Flags(b[4])&http2.FlagHeadersEndHeaders == 0 {
		return false // what follows is read with it
	}
	return n >= head+(int(b[0])<<16|int(b[1])<<8|int(b[2]))
}

// forgive answers what was wrong with a frame, and reports whether the connection goes on.
func (c *conn) forgive(err error) bool {
	var stream http2.StreamError
	if errors.As(err, &stream) {
		c.mu.Lock()
		if !c.refusing {
			c.last = max(c.last, stream.StreamID) // it was opened, if badly
		}
		r := c.reset(stream.StreamID, stream.Code, stream)
		ok := c.exceeds()
		c.mu.Unlock()
		r.tell()
		return ok
	}
	var connection http2.ConnectionError
	code := http2.ErrCodeNo
	switch {
	case errors.As(err, &connection):
		code = http2.ErrCode(connection)
	case errors.Is(err, http2.ErrFrameTooLarge):
		code = http2.ErrCodeFrameSize
	}
	if code != http2.ErrCodeNo {
		c.server.metrics.errors.Inc()
		c.leave(code, err)
		return false
	}
	c.fail(fmt.Errorf("%w: %w", errGone, err))
	return false
}

// exceeds counts what the client does too much of, and reports whether the connection goes on. Called with mu held.
func (c *conn) exceeds() bool {
	if c.excess++; c.excess <= maxExcess || c.over != nil {
		return c.over == nil
	}
	c.server.metrics.excesses.Inc()
	c.mu.Unlock()
	c.leave(http2.ErrCodeEnhanceYourCalm, errors.New("the client resets too many streams, or sends too much of no use"))
	c.mu.Lock()
	return false
}

// leave tells the client why the connection ends, and ends it.
func (c *conn) leave(code http2.ErrCode, why error) {
	c.mu.Lock()
	c.control = appendGoAway(c.control, c.last, code)
	c.mu.Unlock()
	c.end(why, true)
}

// fail ends the connection and all that is of it.
func (c *conn) fail(why error) { c.end(why, false) }

// end ends all that is of the connection, and that too. With linger frames that steer are written before, and then the
// direction to the client is ended only: the goroutine that reads does the rest.
func (c *conn) end(why error, linger bool) {
	c.mu.Lock()
	if c.over != nil {
		c.mu.Unlock()
		return
	}
	c.over, c.lingers = why, linger
	writes := linger && !c.writing // else who writes does it
	c.writing = c.writing || writes
	all := slices.Collect(maps.Values(c.streams))
	c.space.Broadcast()
	c.mu.Unlock()
	for _, s := range all {
		c.mu.Lock()
		r := c.close(s, why)
		c.mu.Unlock()
		r.tell()
	}
	if !linger {
		_ = c.nc.Close()
		return
	}
	_ = c.nc.SetDeadline(time.Now().Add(lingerTime))
	if writes {
		c.write(false)
	}
}

// closeWrite ends the direction to the client.
func (c *conn) closeWrite() {
	if half, ok := c.nc.(interface{ CloseWrite() error }); !ok || half.CloseWrite() != nil {
		_ = c.nc.Close()
	}
}

// tick looks at what has taken too long, and when to look again.
func (c *conn) tick() {
	now, config := time.Now(), &c.server.config
	c.mu.Lock()
	if c.over != nil {
		c.mu.Unlock()
		return
	}
	var why error
	next := config.IdleTimeout
	c.watched = len(c.streams) > 0
	switch {
	case !c.settled:
		why = errSilent
		c.server.metrics.silent.Inc()
	case !c.idle.IsZero():
		if next -= now.Sub(c.idle); next <= 0 {
			why = errIdle
			c.server.metrics.idle.Inc()
		}
	default:
		next = min(next, config.StallTimeout/4)
		for _, s := range c.streams {
			if len(s.rest) > 0 && (!s.queued || c.window <= 0) && now.Sub(s.moved) >= config.StallTimeout {
				c.server.metrics.stalled.Inc()
				go c.reset(s.id, http2.ErrCodeCancel, errStalled).tell()
			}
		}
		c.kick()
	}
	if why == nil {
		c.timer.Reset(max(next, time.Millisecond))
	}
	c.mu.Unlock()
	if why != nil {
		c.leave(http2.ErrCodeNo, why)
	}
}

// drain tells the client to open no more streams, after which those are finished that are open. As its next ones may be
// on their way, that is said with the last number that there can be, and again later with the true one (RFC 9113 §6.8).
func (c *conn) drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.draining || c.over != nil {
		return
	}
	c.draining = true
	c.control = appendGoAway(c.control, maxStream, http2.ErrCodeNo)
	c.kick()
	wait := farewell
	if c.last > 0 && len(c.streams) == 0 {
		wait /= 5
	}
	time.AfterFunc(wait, func() {
		c.mu.Lock()
		c.refusing = true
		c.control = appendGoAway(c.control, c.last, http2.ErrCodeNo)
		c.kick()
		none := len(c.streams) == 0
		c.mu.Unlock()
		if none {
			c.end(net.ErrClosed, true)
		}
	})
}

// waitForRoom waits until there is room for frames that answer the client's. Called with mu held.
func (c *conn) waitForRoom() {
	for len(c.control) > controlBytes && c.over == nil {
		c.kick()
		c.space.Wait()
	}
}

// blockOf begins a block of fields. Its caller appends it to control before the lock is given back. Called with mu held.
func (c *conn) blockOf(fields []byte) []byte {
	if !c.resized {
		return fields
	}
	// No table is used (RFC 7541 §6.3), which is to be said when the client has changed its size.
	c.resized = false
	return append([]byte{0x20}, fields...)
}
