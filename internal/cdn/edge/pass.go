package edge

import (
	"context"
	"io"
	"maps"
	"net/http"
	"strconv"

	"github.com/weir-stream/weir/internal/cdn"
)

// relayBytes is how much of a passed body is held.
const relayBytes = 64 << 10

// passedFields are the fields of a viewer's request that go to the origin when the answer is for that
// viewer alone. They speak of the object, not of the viewer.
var passedFields = []string{"Range", "If-Range", "If-None-Match", "If-Modified-Since"}

// pass asks the origin for this request alone.
func (x *exchange) pass() {
	x.row.CacheStatus, x.row.MissReason = string(cdn.Miss), string(cdn.Uncacheable)
	x.status = cacheStatus{forward: uriMiss}
	x.fetch = nil
	if err := x.h.passes.acquire(x.r.Context()); err != nil {
		x.refused(err)
		return
	}
	defer x.h.passes.release()
	ctx, cancel := context.WithCancelCause(x.r.Context())
	request := x.h.request(ctx, x.r.Method, x.target)
	for _, name := range passedFields {
		if values := x.r.Header[name]; len(values) > 0 {
			request.Header[name] = values
		}
	}
	response, fetch, err := x.h.ask(request, cancel, cdn.Uncacheable) //nolint:bodyclose // closed below, by every way that the answer can go
	x.fetch = fetch
	if err != nil {
		cancel(nil)
		if x.r.Context().Err() != nil {
			x.row.Aborted = true
			return
		}
		x.fail(err)
		return
	}
	x.relay(passed{response, fetch, cancel})
}

// relay answers with an origin's answer that is not kept.
func (x *exchange) relay(p passed) {
	defer p.close()
	// The viewer's end ends the fetch, also one that was made with the handler's context.
	viewer := x.r.Context()
	defer context.AfterFunc(viewer, func() { p.cancel(context.Cause(viewer)) })()
	response := p.response
	x.fetch = p.fetch
	x.status.forwardStatus = response.StatusCode
	header := x.w.Header()
	maps.Copy(header, forViewers(response.Header))
	if age := response.Header["Age"]; len(age) > 0 {
		header["Age"] = age
	}
	header["Cache-Status"] = append(header["Cache-Status"], x.status.encode(x.h.name))
	if modified, _ := http.ParseTime(header.Get("Last-Modified")); response.StatusCode == http.StatusOK &&
		notModified(x.r.Header, header.Get("Etag"), modified) {
		x.notModified()
		return
	}
	if response.ContentLength >= 0 && response.StatusCode != http.StatusNoContent &&
		response.StatusCode != http.StatusNotModified {
		header["Content-Length"] = []string{strconv.FormatInt(response.ContentLength, 10)}
	}
	x.w.WriteHeader(response.StatusCode)
	if x.r.Method == http.MethodHead {
		return
	}
	x.relayBody(p)
}

func (x *exchange) relayBody(p passed) {
	buffer := make([]byte, relayBytes)
	live := p.response.ContentLength < 0 // of unknown length: it may be coming as it is made
	for {
		n, err := p.response.Body.Read(buffer)
		if n > 0 {
			if _, err := x.w.Write(buffer[:n]); err != nil {
				x.row.Aborted = true
				return
			}
			if live {
				x.w.flush()
			}
		}
		switch {
		case err == io.EOF && p.response.ContentLength > x.w.bytes:
			x.broken = true
			return
		case err == io.EOF:
			p.fetch.End(x.h.now().Sub(p.fetch.Started))
			return
		case err != nil:
			if x.r.Context().Err() != nil {
				x.row.Aborted = true
			} else {
				x.broken = true
			}
			return
		}
	}
}
