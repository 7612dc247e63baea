package transform

import (
	"net/http"
	"strconv"
)

// ResponseWriter encodes what a handler answers, where the policy says so. It waits with the head of an
// answer of unknown length until it is clear that it is long enough. Who has made it ends it with Close, or
// with Abort if the answer is not whole.
//
// It does not decode: what is stored encoded and not accepted so is read by [Compressor.Reader].
type ResponseWriter struct {
	http.ResponseWriter
	c       *Compressor
	request *http.Request

	status  int // that the handler has given; 0: none yet
	decided bool
	held    []byte // of the body, as long as it is not decided
	stream  *Writer
}

// ResponseWriter returns a writer of the answer to r.
func (c *Compressor) ResponseWriter(w http.ResponseWriter, r *http.Request) *ResponseWriter {
	return &ResponseWriter{ResponseWriter: w, c: c, request: r}
}

// Unwrap is for http.ResponseController.
func (w *ResponseWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader notes the status. 1xx pass at once.
func (w *ResponseWriter) WriteHeader(status int) {
	if status < 200 && status != http.StatusSwitchingProtocols {
		w.ResponseWriter.WriteHeader(status)
		return
	}
	if w.status != 0 {
		return
	}
	w.status = status
	length := int64(-1)
	if n, err := strconv.ParseInt(w.Header().Get("Content-Length"), 10, 64); err == nil && n >= 0 {
		length = n
	}
	if length >= 0 || w.request.Method == http.MethodHead || !w.plan(-1).Changes() {
		// Nothing that comes later can change what is done.
		w.decide(length)
	}
}

// plan never decodes.
func (w *ResponseWriter) plan(length int64) Plan {
	p := w.c.Plan(w.request, w.status, w.Header(), length)
	if p.Decode != "" {
		return Plan{}
	}
	return p
}

func (w *ResponseWriter) decide(length int64) {
	w.decided = true
	p := w.plan(length)
	p.Apply(w.Header())
	w.ResponseWriter.WriteHeader(w.status)
	if p.Encode != "" && w.request.Method != http.MethodHead {
		// The coding is one of those that are offered, which are known.
		w.stream, _ = w.c.Writer(w.ResponseWriter, p.Encode, Dynamic)
	}
}

// Write writes p, or holds it while the answer is shorter than what is worth it.
func (w *ResponseWriter) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if w.decided {
		return w.write(p)
	}
	if int64(len(w.held)+len(p)) < w.c.config.MinBytes {
		w.held = append(w.held, p...)
		return len(p), nil
	}
	if err := w.unhold(-1); err != nil {
		return 0, err
	}
	return w.write(p)
}

func (w *ResponseWriter) write(p []byte) (int, error) {
	if w.stream != nil {
		return w.stream.Write(p)
	}
	return w.ResponseWriter.Write(p)
}

// unhold decides, and writes what was held.
func (w *ResponseWriter) unhold(length int64) error {
	w.decide(length)
	held := w.held
	w.held = nil
	if len(held) == 0 {
		return nil
	}
	_, err := w.write(held)
	return err
}

// FlushError writes out what is there, as a handler of live answers wants it.
func (w *ResponseWriter) FlushError() error {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if !w.decided {
		if err := w.unhold(-1); err != nil {
			return err
		}
	}
	if w.stream != nil {
		if err := w.stream.Flush(); err != nil {
			return err
		}
	}
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Flush is FlushError for who does not look at the error.
func (w *ResponseWriter) Flush() { _ = w.FlushError() }

// Close ends the answer.
func (w *ResponseWriter) Close() error {
	if w.status != 0 && !w.decided {
		// That is all: its length is known now.
		if err := w.unhold(int64(len(w.held))); err != nil {
			return err
		}
	}
	if w.stream == nil {
		return nil
	}
	return w.stream.Close()
}

// Abort ends an answer that is not whole. What was held is not sent.
func (w *ResponseWriter) Abort() {
	if w.stream != nil {
		w.stream.Abort()
	}
}
