package edge

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/weir-stream/weir/internal/cdn/cache"
	"github.com/weir-stream/weir/internal/cdn/cache/segment"
	"github.com/weir-stream/weir/internal/cdn/edge/message"
	"github.com/weir-stream/weir/internal/problem"
)

// send answers with an object of the cache.
func (x *exchange) send(o *cache.Object) {
	if x.rule.Compress {
		if e := x.encoded(o); e != nil {
			defer e.Release()
			defer o.SetAside()()
			o = e
		}
	}
	header := x.w.Header()
	for name, values := range o.Header {
		header[name] = values
	}
	header["Age"] = []string{strconv.FormatInt(int64(o.Age(x.h.now())/time.Second), 10)}
	// Members nearer to the origin come first (RFC 9211 §2).
	header["Cache-Status"] = append(header["Cache-Status"], x.status.Encode(x.h.name))

	length := o.Length()
	part := message.Span{Start: 0, End: length}
	status := o.Status
	if status == http.StatusOK {
		header["Accept-Ranges"] = acceptsRanges(o)
		if x.unchanged(o.ETag, o.LastModified) {
			x.notModified()
			return
		}
		asked := x.r.Header.Get("Range")
		if asked != "" && x.r.Method == http.MethodGet &&
			message.RangeApplies(x.r.Header.Get("If-Range"), o.ETag, header.Get("Last-Modified")) {
			if length < 0 {
				// Content-Range needs the length, which the end tells.
				if !x.waitForLength(o) {
					return
				}
				length = o.Length()
				part.End = length
			}
			if length < 0 {
				asked = "" // outgrew the cache; the whole then
			}
			switch requested, result := message.ParseRange(asked, length); result {
			case message.OnePart:
				part = requested
				status = http.StatusPartialContent
				header["Content-Range"] = []string{message.ContentRange(part, length)}
			case message.Unsatisfiable:
				x.unsatisfiable(length)
				return
			case message.WholeObject:
			}
		}
	}
	if length >= 0 && status != http.StatusNoContent {
		header["Content-Length"] = []string{strconv.FormatInt(part.End-part.Start, 10)}
	}
	if x.r.Method == http.MethodHead || part.Start == part.End {
		x.w.WriteHeader(status)
		return
	}
	x.copy(o, part, status)
}

var acceptRanges = []string{"bytes"}

// unchanged reports whether the viewer already has the object with these validators.
func (x *exchange) unchanged(etag string, modified time.Time) bool {
	return message.NotModified(x.r.Header["If-None-Match"], x.r.Header.Get("If-Modified-Since"), etag, modified)
}

func (x *exchange) notModified() {
	header := x.w.Header()
	delete(header, "Content-Type")
	delete(header, "Content-Encoding")
	delete(header, "Accept-Ranges")
	if len(header["Etag"]) > 0 {
		delete(header, "Last-Modified") // the ETag says more (RFC 9110 §15.4.5)
	}
	x.w.WriteHeader(http.StatusNotModified)
}

func (x *exchange) unsatisfiable(length int64) {
	header := x.w.Header()
	delete(header, "Etag")
	delete(header, "Last-Modified")
	delete(header, "Content-Encoding")
	header["Content-Type"] = []string{problem.ContentType}
	header["Content-Range"] = []string{"bytes */" + strconv.FormatInt(length, 10)}
	header["Cache-Control"] = []string{"no-store"}
	body := problem.Encode(http.StatusRequestedRangeNotSatisfiable, "The object has no such bytes.")
	header["Content-Length"] = []string{strconv.Itoa(len(body))}
	x.w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
	_, _ = x.w.Write(body)
}

// waitForLength waits until the object's length is known; false if the request has been answered
// meanwhile.
func (x *exchange) waitForLength(o *cache.Object) bool {
	since := x.h.now()
	err := o.WaitLength(x.r.Context())
	if x.follower {
		x.row.CollapsedWait += x.h.now().Sub(since)
	}
	if err != nil {
		x.brokenOff(o, err)
		return false
	}
	return true
}

// copy writes the head and the part of the object, as its bytes come. It returns false if that did not succeed.
func (x *exchange) copy(o *cache.Object, part message.Span, status int) (ok bool) {
	if _, _, onDisk := o.File(); onDisk {
		// What is mapped from a disk that fails must not end the program.
		err := segment.Guard(func() { ok = x.copyBody(o, part, status) })
		if err != nil {
			x.h.log.Warn("an object on disk could not be read", "key", x.target.Key, "error", err)
			x.h.invalidate(x.target.Key)
			x.brokenOff(o, err)
		}
		return ok
	}
	return x.copyBody(o, part, status)
}

func (x *exchange) copyBody(o *cache.Object, part message.Span, status int) bool {
	reader := o.Open(part.Start, part.End)
	defer reader.Close()
	ctx := x.r.Context()
	for {
		p, err := x.next(ctx, reader)
		if errors.Is(err, io.EOF) {
			if x.w.status == 0 {
				x.w.WriteHeader(status)
			}
			return true
		}
		if err != nil {
			x.brokenOff(o, err)
			return false
		}
		if x.w.status == 0 {
			x.w.WriteHeader(status)
		}
		if _, err := x.w.Write(p); err != nil {
			x.row.Aborted = true
			return false
		}
	}
}

// next returns the reader's next bytes. Before it waits for any, what has been written is sent on its
// way.
func (x *exchange) next(ctx context.Context, reader *cache.Reader) ([]byte, error) {
	if !reader.Waits() {
		return reader.Next(ctx)
	}
	if x.w.status != 0 {
		x.w.flush()
	}
	since := x.h.now()
	p, err := reader.Next(ctx)
	if x.follower {
		x.row.CollapsedWait += x.h.now().Sub(since)
	}
	return p, err
}

// brokenOff ends an answer whose body will not come: because the viewer has gone, or the fill has ended
// early. Before the head has been written there is still an honest answer.
func (x *exchange) brokenOff(o *cache.Object, err error) {
	switch {
	case x.r.Context().Err() != nil:
		x.row.Aborted = true
	case x.w.status == 0:
		x.withdraw(o)
		x.fail(err)
	default:
		x.broken = true
	}
}

// withdraw takes back the head of an answer that was to be o and has not been written.
func (x *exchange) withdraw(o *cache.Object) {
	header := x.w.Header()
	for name := range o.Header {
		delete(header, name)
	}
	for _, name := range []string{"Age", "Cache-Status", "Content-Length", "Content-Range", "Accept-Ranges"} {
		delete(header, name)
	}
	x.status.Stored, x.status.HasTTL = false, false
}

// output is the way to the viewer. It knows what was written on it.
type output struct {
	http.ResponseWriter
	now    func() time.Time
	before func(http.Header) // is called before the head is written; it may be nil
	status int
	bytes  int64
	first  time.Time // when the first byte was handed on
	err    error
}

func (w *output) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *output) WriteHeader(status int) {
	w.decide(status)
	w.ResponseWriter.WriteHeader(status)
}

func (w *output) decide(status int) {
	if w.status != 0 {
		return
	}
	w.status = status
	if w.before != nil {
		w.before(w.Header())
	}
}

func (w *output) Write(p []byte) (int, error) {
	if w.first.IsZero() {
		w.first = w.now()
	}
	w.decide(http.StatusOK)
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	if err != nil {
		w.err = err
	}
	return n, err
}

// flush sends what has been written. A writer that cannot is one that does not hold anything back.
func (w *output) flush() {
	if w.first.IsZero() {
		w.first = w.now()
	}
	if err := http.NewResponseController(w.ResponseWriter).Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		w.err = err
	}
}
