package httpserver

import (
	"errors"
	"io"
	"net/http"
	"time"
)

// boundBodies gives the handler bodies of which each read is bounded, for the reason that [boundListener] has.
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
