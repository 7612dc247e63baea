package httpserver

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

// slots bound the connections that are open, so that viewers leave file descriptors for publishers and the
// store. Connections above the limit wait in the kernel's queue.
type slots chan struct{}

// release gives a slot back.
func (s slots) release() { <-s }

// feed is a listener for connections that were accepted elsewhere.
type feed struct {
	address net.Addr
	conns   chan net.Conn
	closed  chan struct{}
	once    sync.Once
}

func newFeed(address net.Addr) *feed {
	return &feed{address: address, conns: make(chan net.Conn), closed: make(chan struct{})}
}

// push gives c to who accepts, and counts it. If nobody accepts any more it is closed.
func (f *feed) push(c net.Conn, conns *tally) {
	conns.add(1)
	select {
	case f.conns <- c:
	case <-f.closed:
		_ = c.Close()
		conns.add(-1)
	}
}

func (f *feed) Accept() (net.Conn, error) {
	select {
	case c := <-f.conns:
		return c, nil
	case <-f.closed:
		return nil, net.ErrClosed
	}
}

func (f *feed) Close() error {
	f.once.Do(func() { close(f.closed) })
	return nil
}

func (f *feed) Addr() net.Addr { return f.address }

// tally counts what somebody waits for the end of.
type tally struct {
	mu   sync.Mutex
	n    int
	none chan struct{} // closed when n falls to 0; nil: nobody waits
}

func (t *tally) add(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.n += n
	if t.n == 0 && t.none != nil {
		close(t.none)
		t.none = nil
	}
}

// wait returns when there is none, or with ctx.
func (t *tally) wait(ctx context.Context) {
	t.mu.Lock()
	if t.n == 0 {
		t.mu.Unlock()
		return
	}
	if t.none == nil {
		t.none = make(chan struct{})
	}
	none := t.none
	t.mu.Unlock()
	select {
	case <-none:
	case <-ctx.Done():
	}
}

// accept gives each connection to serve, in a goroutine of its own, until the listener is closed.
func (s *Server) accept(ctx context.Context) error {
	pause := time.Duration(0)
	for {
		select {
		case s.slots <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		c, err := s.listener.Accept()
		if err != nil {
			s.slots.release()
			if errors.Is(err, net.ErrClosed) {
				return nil
			}
			// Such as no file descriptors: it passes.
			if pause == 0 {
				s.log.Warn("accepting connections fails", "error", err)
			}
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			select {
			case <-time.After(pause):
				continue
			case <-ctx.Done():
				return nil
			}
		}
		pause = 0
		s.arrive(c)
	}
}
