package origin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// RoundTrip answers the request in process. The response's body reads straight from the source's
// object, which is closed with it; a read after the request's context has ended returns the context's
// error.
func (h *Handler) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		// The contract of RoundTripper: the body is closed, whatever happens.
		_ = r.Body.Close()
	}
	ctx := r.Context()
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("origin: %s %s: %w", r.Method, r.URL.Path, err)
	}
	start := time.Now()
	w := &capture{header: http.Header{}}
	object := h.serve(w, r)
	if err := ctx.Err(); err != nil {
		if object != nil {
			_ = object.Close()
		}
		return nil, fmt.Errorf("origin: %s %s: %w", r.Method, r.URL.Path, err)
	}
	if w.status == 0 {
		w.status = http.StatusOK
	}
	if w.header.Get("Date") == "" {
		w.header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	}
	body := &body{ctx: ctx, reader: w.body(), object: object}
	body.end = func(n int64) { h.metrics.observe(w.status, n, time.Since(start)) }
	length := int64(-1)
	if n, err := strconv.ParseInt(w.header.Get("Content-Length"), 10, 64); err == nil {
		length = n
	}
	return &http.Response{
		Status:        strconv.Itoa(w.status) + " " + http.StatusText(w.status),
		StatusCode:    w.status,
		Proto:         "HTTP/1.1",
		ProtoMajor:    1,
		ProtoMinor:    1,
		Header:        w.header,
		Body:          body,
		ContentLength: length,
		Request:       r,
	}, nil
}

// capture is a ResponseWriter that takes the reader that it is to send instead of its bytes.
// http.ServeContent copies with io.CopyN, which leaves the copying to a writer that has ReadFrom. Were
// that to change, Write would be called, and the answer would be whole all the same.
type capture struct {
	header  http.Header
	status  int
	written bytes.Buffer
	rest    io.Reader
}

func (c *capture) Header() http.Header { return c.header }

func (c *capture) WriteHeader(status int) {
	if c.status == 0 {
		c.status = status
	}
}

func (c *capture) Write(p []byte) (int, error) {
	c.WriteHeader(http.StatusOK)
	return c.written.Write(p)
}

func (c *capture) ReadFrom(r io.Reader) (int64, error) {
	c.WriteHeader(http.StatusOK)
	limited, ok := r.(*io.LimitedReader)
	if !ok || c.rest != nil {
		return c.written.ReadFrom(r)
	}
	c.rest = &io.LimitedReader{R: limited.R, N: limited.N}
	return limited.N, nil
}

func (c *capture) body() io.Reader {
	switch {
	case c.rest == nil:
		return &c.written
	case c.written.Len() == 0:
		return c.rest
	default:
		return io.MultiReader(&c.written, c.rest)
	}
}

// body is the body of a response in process.
type body struct {
	ctx    context.Context
	reader io.Reader
	object io.Closer
	n      int64
	end    func(n int64)
	once   sync.Once
	err    error
}

var errBodyClosed = errors.New("origin: read from a closed body")

func (b *body) Read(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	if b.reader == nil {
		return 0, errBodyClosed
	}
	n, err := b.reader.Read(p)
	b.n += int64(n)
	return n, err
}

// Close closes the object. Read and Close are called from one goroutine, as of any response body in
// this program.
func (b *body) Close() error {
	b.once.Do(func() {
		b.reader = nil
		if b.object != nil {
			b.err = b.object.Close()
		}
		b.end(b.n)
	})
	return b.err
}
