package httpserver

import (
	"net"
	"sync"
	"time"
)

// pieceBytes is how much a client must take within the stall timeout.
const pieceBytes = 64 << 10

// boundListener bounds the connections that are open, so that viewers leave file descriptors for publishers
// and the store, and bounds each write. Connections above the limit wait in the kernel's queue.
//
// A client that has vanished without a word, or that means harm, takes nothing of its answer, and would hold
// a goroutine and the object that it was given for as long as it likes. http.Server has only bounds on a whole
// request, which would end a slow viewer and a held playlist as well. So each step has a bound here.
type boundListener struct {
	net.Listener
	stall  time.Duration
	slots  chan struct{}
	closed chan struct{}
	once   sync.Once
}

func newBoundListener(l net.Listener, c Config) *boundListener {
	return &boundListener{
		Listener: l, stall: c.StallTimeout, slots: make(chan struct{}, c.MaxConnections), closed: make(chan struct{}),
	}
}

func (l *boundListener) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &boundConn{Conn: c, stall: l.stall, release: sync.OnceFunc(func() { <-l.slots })}, nil
}

func (l *boundListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

type boundConn struct {
	net.Conn
	stall   time.Duration
	release func()
}

func (c *boundConn) Close() error {
	defer c.release()
	return c.Conn.Close()
}

func (c *boundConn) Write(p []byte) (int, error) {
	written := 0
	for {
		piece := p[written:min(len(p), written+pieceBytes)]
		if err := c.SetWriteDeadline(time.Now().Add(c.stall)); err != nil {
			return written, err
		}
		n, err := c.Conn.Write(piece)
		written += n
		if err != nil || written == len(p) {
			return written, err
		}
	}
}
