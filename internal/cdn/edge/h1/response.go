package h1

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// undecidedBytes is how much of a body is kept back before its head is written, as net/http does: an answer that ends
// within it has a Content-Length.
const undecidedBytes = 2 << 10

// response is the ResponseWriter of a Handler. It does what net/http's does (see the differential test), but for
// Hijack, trailers and full duplex, which nothing here needs; and once the head is written it keeps 16 KB back where
// that keeps 4. As there, it is for one goroutine at a time.
type response struct {
	c      *conn
	r      *http.Request
	cancel context.CancelFunc
	// The deadlines that the Handler has set, guarded by the connection's lock.
	readLimit, writeLimit time.Time

	header  http.Header
	decided http.Header // as it was when the head was decided
	status  int         // 0: it is not
	length  int64       // of Content-Length; -1: none
	written int64
	kept    *output      // the part of the body that is kept back is in its buffer
	framing bytes.Buffer // to be written before more of the body
	begun   bool         // the head is in framing, or written
	chunked bool
	closing bool
	ended   bool // the Handler has returned
	whole   bool // everything that there is has been written
	err     error
}

// Header returns the fields of the head, which may be changed until it is decided.
func (w *response) Header() http.Header { return w.header }

// WriteHeader decides the head; a status of 1xx but 101 is an interim answer of its own.
func (w *response) WriteHeader(status int) {
	switch {
	case w.status != 0:
		return // superfluous
	case status < 100 || status > 999:
		panic(fmt.Sprintf("invalid WriteHeader code %d", status))
	case status < 200 && status != http.StatusSwitchingProtocols:
		if w.r.ProtoAtLeast(1, 1) { // RFC 9110 §15.2
			w.head(status, w.header, map[string]bool{"Content-Length": true, "Transfer-Encoding": true})
			w.write(nil, nil)
		}
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

// Write writes more of the body.
func (w *response) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if len(p) == 0 {
		return 0, nil
	}
	if !HasBody(w.status) {
		return 0, http.ErrBodyNotAllowed
	}
	if w.written += int64(len(p)); w.length >= 0 && w.written > w.length {
		return 0, http.ErrContentLength
	}
	size := len(p)
	if w.kept == nil {
		w.kept = w.c.server.takeOutput()
	}
	for {
		room := inlineBytes - len(w.kept.buffer)
		if !w.begun {
			room = undecidedBytes - len(w.kept.buffer)
		}
		switch {
		case len(p) <= room:
			w.kept.buffer = append(w.kept.buffer, p...)
			return size, w.err
		case len(w.kept.buffer) == 0:
			w.emit(p, false)
			return size, w.err
		}
		w.kept.buffer = append(w.kept.buffer, p[:room]...)
		p = p[room:]
		w.emitKept(false)
	}
}

// ReadFrom writes what the source has, with a buffer that others use as well.
func (w *response) ReadFrom(source io.Reader) (int64, error) {
	b, _ := w.c.server.copies.Get().(*[copyBytes]byte)
	defer w.c.server.copies.Put(b)
	return io.CopyBuffer(struct{ io.Writer }{w}, source, b[:])
}

// Flush writes what is kept back.
func (w *response) Flush() { _ = w.FlushError() }

// FlushError writes what is kept back.
func (w *response) FlushError() error {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	w.emitKept(true)
	return w.err
}

// SetReadDeadline bounds the time that the client may give no sign of life; then it counts as gone.
func (w *response) SetReadDeadline(t time.Time) error {
	w.c.mu.Lock()
	defer w.c.mu.Unlock()
	w.readLimit = t
	return w.c.nc.SetReadDeadline(t)
}

// SetWriteDeadline bounds the time that writing the answer may take.
func (w *response) SetWriteDeadline(t time.Time) error {
	w.c.mu.Lock()
	defer w.c.mu.Unlock()
	w.writeLimit = t
	return w.c.nc.SetWriteDeadline(t)
}

// SetPace implements [Connection].
func (w *response) SetPace(rate int64) { w.c.setPace(rate) }

// TCP implements [Connection].
func (w *response) TCP() *TCPInfo {
	if w.c.socket == nil || w.written < w.c.server.config.TCPInfoBytes {
		return nil
	}
	if t := w.c.sample(); t != nil {
		return new(*t)
	}
	return nil
}

// LastTCP implements [Connection].
func (w *response) LastTCP() *TCPInfo { return w.c.probe.Last() }

// finish ends the answer after the Handler has returned.
func (w *response) finish() {
	w.ended = true
	_ = w.FlushError()
	short := w.length >= 0 && w.written != w.length && w.r.Method != http.MethodHead && HasBody(w.status)
	w.whole = w.err == nil && !short
}

func (w *response) emitKept(flush bool) {
	if w.kept == nil {
		w.emit(nil, flush)
		return
	}
	w.emit(w.kept.buffer, flush)
	w.kept.buffer = w.kept.buffer[:0]
}

// emit writes a part of the body, after the head if that is not written.
func (w *response) emit(p []byte, flush bool) {
	if !w.begun {
		w.begin(p)
	}
	if w.r.Method == http.MethodHead {
		p = nil
	}
	tail := ""
	if w.chunked && len(p) > 0 {
		fmt.Fprintf(&w.framing, "%x\r\n", len(p))
		tail = "\r\n"
	}
	if w.chunked && w.ended {
		tail += "0\r\n\r\n"
	}
	if flush || len(p) > 0 {
		w.write(p, []byte(tail))
	}
}

// write gives everything to the connection.
func (w *response) write(p, tail []byte) {
	if w.err != nil || w.framing.Len()+len(p)+len(tail) == 0 {
		return
	}
	o := w.c.server.takeOutput()
	o.buffer = append(o.buffer, w.framing.Bytes()...)
	w.framing.Reset()
	if o.pieces = [3][]byte{nil, p, tail}; len(p) <= inlineBytes {
		o.buffer = append(append(o.buffer, p...), tail...)
		o.pieces = [3][]byte{}
	}
	o.pieces[0] = o.buffer
	if w.err = w.c.write(o); w.err != nil {
		w.cancel()
	}
	w.c.server.releaseOutput(o)
}

// begin decides how the end of the body is told (RFC 9112 §6.3) and renders the head. p is the beginning of the body:
// all of it if the Handler has returned.
func (w *response) begin(p []byte) {
	w.begun = true
	h := w.decided
	modern := w.r.ProtoAtLeast(1, 1)
	isHead, body := w.r.Method == http.MethodHead, HasBody(w.status)
	coding := h.Get("Transfer-Encoding")
	if w.ended && coding == "" && body && !HasField(h, "Content-Length") && (!isHead || len(p) > 0) {
		w.length = int64(len(p))
		h.Set("Content-Length", strconv.Itoa(len(p)))
	}
	w.closing = w.closing || !modern || h.Get("Connection") == "close" || w.c.draining.Load()
	if !body {
		h.Del("Content-Length")
		if w.status == http.StatusNotModified {
			h.Del("Content-Type")
		}
	} else if !HasField(h, "Content-Type") && h.Get("Content-Encoding") == "" && coding == "" && len(p) > 0 {
		h.Set("Content-Type", http.DetectContentType(p))
	}
	if !HasField(h, "Date") {
		line := w.c.server.date(time.Now())
		h.Set("Date", string(line[len("Date: "):len(line)-len("\r\n")]))
	}
	if w.c.secure != nil {
		for pairs := w.c.server.secure().pairs; len(pairs) > 1; pairs = pairs[2:] {
			h.Set(pairs[0], pairs[1])
		}
	}
	if w.length >= 0 && coding != "" && coding != "identity" {
		h.Del("Content-Length")
		w.length = -1
	}
	h.Del("Transfer-Encoding")
	switch {
	case isHead || !body || w.length >= 0:
	case !modern || coding == "identity":
		w.closing = true // the end of the connection is the end of the body
	default:
		w.chunked = true
		h.Set("Transfer-Encoding", "chunked")
		h.Del("Content-Length")
	}
	if w.closing && h.Get("Connection") != "close" {
		h.Del("Connection")
		if modern {
			h.Set("Connection", "close")
		}
	}
	w.head(w.status, h, nil)
}

// head renders a head.
func (w *response) head(status int, h http.Header, without map[string]bool) {
	version, reason := "HTTP/1.1", http.StatusText(status)
	if !w.r.ProtoAtLeast(1, 1) {
		version = "HTTP/1.0"
	}
	if reason == "" {
		reason = "status code " + strconv.Itoa(status)
	}
	w.framing.Grow(1 << 10)
	fmt.Fprintf(&w.framing, "%s %d %s\r\n", version, status, reason)
	_ = h.WriteSubset(&w.framing, without)
	w.framing.WriteString("\r\n")
}

// HasField reports whether the header has the field, even if that is nil: so a Handler says that there is to be none.
func HasField(h http.Header, name string) bool {
	_, ok := h[name]
	return ok
}

// HasBody reports whether answers with this status have one (RFC 9112 §6.3).
func HasBody(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}
