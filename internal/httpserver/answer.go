package httpserver

import (
	"net/http"
	"time"
)

// answer wraps the handler with what all answers of this server have in common.
func (s *Server) answer(handler http.Handler) http.Handler {
	handler = boundBodies(handler, s.config.StallTimeout)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS != nil {
			header := w.Header()
			for _, field := range s.TLSFields() {
				// Beside HTTP/3 there is nothing to say of it.
				if r.ProtoMajor < 3 || field.Name != altSvc {
					header[field.Name] = field.values
				}
			}
		}
		if r.ProtoMajor < 2 {
			handler.ServeHTTP(w, r)
			return
		}
		// HTTP/1.1 connections bound their own writes. Here a client can take nothing of one answer while its
		// connection is alive, by its flow control.
		bound := &stallWriter{ResponseWriter: w, control: http.NewResponseController(w), timeout: s.config.StallTimeout}
		if r.ProtoMajor == 3 {
			s.http3Requests.add(1)
			defer s.http3Requests.add(-1)
		}
		handler.ServeHTTP(bound, r)
		// What is still buffered is written after the handler has returned.
		_ = bound.control.SetWriteDeadline(time.Now().Add(s.config.StallTimeout))
	})
}

// Field is a field of every answer over TLS.
type Field struct {
	Name, Value string
	values      []string
}

const altSvc = "Alt-Svc"

// TLSFields returns the fields that every answer over TLS has; for handlers of connections, which write their own
// answers. They are known after Listen and do not change.
func (s *Server) TLSFields() []Field { return s.fields }

// stallWriter bounds each step of writing an answer by a timer of its own: the stream's deadline would end an
// answer that waits for something to write as well.
type stallWriter struct {
	http.ResponseWriter
	control *http.ResponseController
	timeout time.Duration
	timer   *time.Timer
}

// Unwrap is for http.ResponseController.
func (w *stallWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// begin bounds a step of n bytes: who takes stepBytes within the timeout goes on.
func (w *stallWriter) begin(n int) {
	limit := w.timeout * time.Duration(max(1, n/stepBytes))
	if w.timer == nil {
		w.timer = time.AfterFunc(limit, func() { _ = w.control.SetWriteDeadline(time.Now()) })
		return
	}
	w.timer.Reset(limit)
}

func (w *stallWriter) Write(p []byte) (int, error) {
	written := 0
	for {
		piece := p[written:min(len(p), written+turnBytes)]
		w.begin(len(piece))
		n, err := w.ResponseWriter.Write(piece)
		w.timer.Stop()
		written += n
		if err != nil || written == len(p) {
			return written, err
		}
	}
}

// Flush sends what is buffered.
func (w *stallWriter) Flush() { _ = w.FlushError() }

// FlushError sends what is buffered.
func (w *stallWriter) FlushError() error {
	w.begin(0)
	defer w.timer.Stop()
	return w.control.Flush()
}
