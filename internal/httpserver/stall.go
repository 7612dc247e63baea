package httpserver

import (
	"errors"
	"io"
	"net"
	"net/http"
	"time"
)

// A client that has vanished without a word, or that means harm, takes nothing of its answer or sends
// nothing of its body, and would hold a goroutine and the object that it was given for as long as it likes.
// http.Server has only bounds on a whole request, which would end a slow viewer and a held playlist as well.
// So each step has a bound here.

// pieceBytes is how much a client must take within the stall timeout.
const pieceBytes = 64 << 10

// stallListener accepts connections that bound each write.
type stallListener struct {
	net.Listener
	timeout time.Duration
}

func (l stallListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return stallConn{c, l.timeout}, nil
}

type stallConn struct {
	net.Conn
	timeout time.Duration
}

func (c stallConn) Write(p []byte) (int, error) {
	written := 0
	for {
		piece := p[written:min(len(p), written+pieceBytes)]
		if err := c.SetWriteDeadline(time.Now().Add(c.timeout)); err != nil {
			return written, err
		}
		n, err := c.Conn.Write(piece)
		written += n
		if err != nil || written == len(p) {
			return written, err
		}
	}
}

// boundBodies gives the handler bodies of which each read is bounded.
func boundBodies(handler http.Handler, timeout time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Body == nil || r.Body == http.NoBody {
			handler.ServeHTTP(w, r)
			return
		}
		b := &stallBody{ReadCloser: r.Body, control: http.NewResponseController(w), timeout: timeout}
		r = r.WithContext(r.Context()) // a copy, as the request is the server's
		r.Body = b
		handler.ServeHTTP(w, r)
		if !b.ended {
			b.expect() // net/http reads on, to see whether the connection can be used again
		}
	})
}

type stallBody struct {
	io.ReadCloser
	control *http.ResponseController
	timeout time.Duration
	ended   bool
}

func (b *stallBody) Read(p []byte) (int, error) {
	if b.ended {
		return b.ReadCloser.Read(p)
	}
	b.expect()
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		b.ended = true
		// From now on net/http waits for the client's end, which has no time limit.
		_ = b.control.SetReadDeadline(time.Time{})
	}
	return n, err
}

// expect bounds what comes next. A writer without deadlines is not one of this server's.
func (b *stallBody) expect() { _ = b.control.SetReadDeadline(time.Now().Add(b.timeout)) }
