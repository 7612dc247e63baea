package h2

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime/debug"
	"strconv"
	"time"

	"golang.org/x/net/http2"

	"github.com/weir-stream/weir/internal/cdn/edge/h1"
)

const (
	// keptBytes is how much of a body is kept back, so that it goes out in few frames; undecidedBytes is it before the
	// head is written, as net/http does: an answer that ends within it has a Content-Length.
	keptBytes      = 16 << 10
	undecidedBytes = 2 << 10
	// copyBytes is how much of an answer is copied at once from what a Handler reads.
	copyBytes = 64 << 10
)

var errAborted = errors.New("the handler has ended without all of the body")

// response is the ResponseWriter of a Handler. It does what net/http's does, but for trailers and push, which nothing
// here needs. It is for one goroutine at a time, but for the deadlines.
type response struct {
	s *stream
	r *http.Request

	header  http.Header
	decided http.Header
	status  int   // 0: it is not decided
	length  int64 // of Content-Length; -1: none
	written int64
	kept    []byte
	begun   bool // the head is written, or about to be
	ended   bool // the Handler has returned
	err     error
	limit   time.Time // of writes; guarded by the connection's lock
	taken   int64     // bytes of the body
}

var _ h1.Connection = (*response)(nil)

// Header returns the fields of the head, which may be changed until it is decided.
func (w *response) Header() http.Header { return w.header }

// WriteHeader decides the head; a status of 1xx is an interim answer of its own.
func (w *response) WriteHeader(status int) {
	switch {
	case w.status != 0:
		return // superfluous
	case status < 100 || status > 999:
		panic(fmt.Sprintf("invalid WriteHeader code %d", status))
	case status == http.StatusSwitchingProtocols: // RFC 9113 §8.6
		status = http.StatusInternalServerError
	case status < 200:
		w.interim(status)
		return
	}
	w.status = status
	if value := w.header.Get("Content-Length"); value != "" {
		n, err := strconv.ParseInt(value, 10, 64)
		if w.length = n; err != nil || n < 0 {
			w.length = -1
			w.header.Del("Content-Length")
		}
	}
	w.decided = w.header.Clone()
}

func (w *response) interim(status int) {
	h := w.header.Clone()
	h.Del("Content-Length")
	c := w.s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if w.s.failure == nil {
		c.control = appendHeaders(c.control, w.s.id, c.blockOf(appendHeader(appendStatus(nil, status), h)), false, c.frame)
		c.kick()
	}
}

// Write writes more of the body.
func (w *response) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if len(p) == 0 {
		return 0, nil
	}
	if !h1.HasBody(w.status) {
		return 0, http.ErrBodyNotAllowed
	}
	if w.length >= 0 && w.written+int64(len(p)) > w.length {
		return 0, http.ErrContentLength
	}
	w.written += int64(len(p))
	size := len(p)
	for {
		room := keptBytes - len(w.kept)
		if !w.begun {
			room = undecidedBytes - len(w.kept)
		}
		switch {
		case len(p) <= room:
			w.kept = append(w.kept, p...)
			return size, w.err
		case len(w.kept) == 0:
			w.emit(p)
			return size, w.err
		}
		w.kept = append(w.kept, p[:room]...)
		p = p[room:]
		w.emitKept()
	}
}

// ReadFrom writes what the source has, with a buffer that others use as well.
func (w *response) ReadFrom(source io.Reader) (int64, error) {
	b, _ := w.s.c.server.copies.Get().(*[copyBytes]byte)
	defer w.s.c.server.copies.Put(b)
	return io.CopyBuffer(struct{ io.Writer }{w}, source, b[:])
}

// Flush writes what is kept back.
func (w *response) Flush() { _ = w.FlushError() }

// FlushError writes what is kept back.
func (w *response) FlushError() error {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	w.emitKept()
	return w.err
}

// SetReadDeadline bounds reading the body of the request.
func (w *response) SetReadDeadline(t time.Time) error {
	c := w.s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if w.s.body != nil {
		w.s.body.limit = t
		w.s.tell()
	}
	return nil
}

// SetWriteDeadline bounds the time that writing the answer may take.
func (w *response) SetWriteDeadline(t time.Time) error {
	c := w.s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	w.limit = t
	w.s.tell()
	return nil
}

// SetPace implements [h1.Connection]: it does nothing, as the connection is not this answer's alone.
func (w *response) SetPace(int64) {}

// TCP implements [h1.Connection].
func (w *response) TCP() *h1.TCPInfo {
	c := w.s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if w.taken < c.server.config.TCPInfoBytes {
		return nil
	}
	if t := c.probe.Sample(); t != nil {
		return new(*t)
	}
	return nil
}

// LastTCP implements [h1.Connection].
func (w *response) LastTCP() *h1.TCPInfo {
	c := w.s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := c.probe.Last(); t != nil {
		return new(*t)
	}
	return nil
}

// run calls the Handler and ends what it has written.
func (w *response) run() {
	c := w.s.c
	aborted := true
	defer func() {
		//nolint:errorlint // a panic with this very value, as net/http has it
		if p := recover(); aborted && p != http.ErrAbortHandler {
			c.server.panicked("a request's handler has panicked", w.r.RemoteAddr, p)
		}
		c.mu.Lock()
		c.running--
		r := report{}
		if c.streams[w.s.id] == w.s && !w.s.last {
			r = c.reset(w.s.id, http2.ErrCodeInternal, errAborted)
			c.kick()
		}
		w.s.cancel()
		c.mu.Unlock()
		r.tell()
	}()
	c.server.handler.ServeHTTP(w, w.r)
	aborted = false
	w.finish()
}

// finish ends the answer after the Handler has returned.
func (w *response) finish() {
	w.ended = true
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if w.length >= 0 && w.written != w.length && w.r.Method != http.MethodHead && h1.HasBody(w.status) {
		w.ended = false
		w.emitKept()
		return // run resets the stream
	}
	w.emitKept()
}

func (w *response) emitKept() {
	w.emit(w.kept)
	w.kept = w.kept[:0]
}

// emit writes a part of the body, after the head if that is not written, and waits until the part has been taken.
func (w *response) emit(p []byte) {
	if w.err != nil {
		return
	}
	c, s := w.s.c, w.s
	var block []byte
	if !w.begun {
		block = w.begin(p)
	}
	if w.r.Method == http.MethodHead || !h1.HasBody(w.status) {
		p = nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if w.err = s.failure; w.err != nil {
		return
	}
	if block != nil {
		end := w.ended && len(p) == 0
		c.control = appendHeaders(c.control, s.id, c.blockOf(block), end, c.frame)
		if s.headed = true; end {
			c.gone(s)
		}
	}
	if len(p) == 0 && w.ended && !s.finished {
		c.finish(s)
	}
	if len(p) == 0 {
		c.kick()
		return
	}
	s.rest, s.last, s.moved, s.step = p, w.ended, time.Now(), 0
	c.enqueue(s)
	c.kick()
	for len(s.rest) > 0 || s.last && !s.finished {
		if w.err = s.failure; w.err != nil {
			return
		}
		if !c.wait(s.wrote, w.limit) {
			// What has not been taken must not be looked at after this.
			w.err = os.ErrDeadlineExceeded
			c.reset(s.id, http2.ErrCodeCancel, w.err)
			c.kick()
			return
		}
	}
	w.taken += int64(len(p))
}

// begin makes the head. p is the beginning of the body: all of it if the Handler has returned.
func (w *response) begin(p []byte) []byte {
	w.begun = true
	h := w.decided
	isHead, body := w.r.Method == http.MethodHead, h1.HasBody(w.status)
	if w.ended && body && !h1.HasField(h, "Content-Length") && (!isHead || len(p) > 0) {
		h.Set("Content-Length", strconv.Itoa(len(p)))
	}
	if !body {
		h.Del("Content-Length")
		if w.status == http.StatusNotModified {
			h.Del("Content-Type")
		}
	} else if !h1.HasField(h, "Content-Type") && h.Get("Content-Encoding") == "" && len(p) > 0 {
		h.Set("Content-Type", http.DetectContentType(p))
	}
	c := w.s.c
	if w.r.TLS != nil {
		for pairs := c.server.secure().pairs; len(pairs) > 1; pairs = pairs[2:] {
			h.Set(pairs[0], pairs[1])
		}
	}
	block := appendHeader(appendStatus(make([]byte, 0, 512), w.status), h)
	if !h1.HasField(h, "Date") {
		block = append(block, c.server.date(time.Now())...)
	}
	return block
}

// panicked logs a panic; p is nil after runtime.Goexit.
func (s *Server) panicked(message, remote string, p any) {
	s.metrics.panics.Inc()
	s.log.Error(message, "remote", remote, "panic", fmt.Sprint(p), "stack", string(debug.Stack())) //nolint:sloglint // one of two
}
