package edge

import (
	"context"
	"io"
	"maps"
	"net/http"
	"strconv"

	"github.com/weir-stream/weir/internal/cdn"
	"github.com/weir-stream/weir/internal/cdn/cache/freshness"
	"github.com/weir-stream/weir/internal/cdn/edge/message"
	"github.com/weir-stream/weir/internal/cdn/transform"
)

// relayBytes is how much of a passed body is held.
const relayBytes = 64 << 10

// passedFields are the fields of a viewer's request that go to the origin when the answer is for that
// viewer alone. They speak of the object, not of the viewer.
var passedFields = []string{"Range", "If-Range", "If-None-Match", "If-Modified-Since", "If-Match", "If-Unmodified-Since"}

// pass asks the origin for this request alone.
func (x *exchange) pass() {
	x.row.CacheStatus, x.row.MissReason = string(cdn.Miss), string(cdn.Uncacheable)
	x.status = message.CacheStatus{Forward: message.URIMiss}
	if x.rule.Bypass {
		x.row.CacheStatus, x.row.MissReason = string(cdn.Bypass), ""
		x.status.Forward = message.Bypass
	}
	x.direct(nil)
}

// unsafe hands on a request that may change something at the origin. What it has changed is taken out of the
// cache (RFC 9111 §4.4).
func (x *exchange) unsafe() {
	x.row.CacheStatus = string(cdn.Bypass)
	x.status = message.CacheStatus{Forward: message.Method}
	x.direct(func(response *http.Response) {
		if !freshness.Invalidates(x.r.Method, response.StatusCode) {
			return
		}
		x.h.invalidate(x.target.Key) // which is not the URL's where that has credentials
		target := *x.r.URL
		target.Scheme, target.Host = "http", x.r.Host
		host, _ := message.HostOf(x.r.Host, x.r.TLS != nil)
		for _, u := range freshness.Invalidated(&target, response.Header) {
			if t, ok := message.ExactTargetOf(u); ok {
				if x.h.table.Load().rules.of(t.Path).Host == HostViewer {
					t.Under(host)
				}
				x.h.invalidate(t.Key)
			}
		}
		if groups, _ := freshness.InvalidatedGroups(response.Header); len(groups) > 0 {
			x.h.cache.InvalidateTags(groups)
		}
	})
}

// direct asks the origin for this viewer and hands on what it says; seen is told of the answer's head.
func (x *exchange) direct(seen func(*http.Response)) {
	x.fetch = nil
	if err := x.h.passes.acquire(x.r.Context()); err != nil {
		x.refused(err)
		return
	}
	defer x.h.passes.release()
	ctx, cancel := context.WithCancelCause(x.r.Context())
	request := x.h.request(ctx, x.r.Method, x.rule, x.target, x.viewer())
	for _, name := range passedFields {
		if values := x.r.Header[name]; len(values) > 0 {
			request.Header[name] = values
		}
	}
	if lines := request.Header["If-None-Match"]; x.rule.Compress && len(lines) > 0 {
		request.Header["If-None-Match"] = originTags(lines)
	}
	if x.rule.Forward == ForwardRequest && x.r.Body != nil && x.r.Body != http.NoBody {
		request.Body, request.ContentLength = x.r.Body, x.r.ContentLength
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
	if seen != nil {
		seen(response)
	}
	x.relay(passed{response, fetch, cancel})
}

// viewer returns what the origin is told of the viewer's request.
func (x *exchange) viewer() http.Header {
	if x.rule.Forward == ForwardObject {
		return way(x.r)
	}
	return x.rule.forwarded(x.r)
}

// relay answers with an origin's answer that is not kept.
func (x *exchange) relay(p passed) {
	defer p.close()
	// The viewer's end ends the fetch, also one that was made with the handler's context.
	viewer := x.r.Context()
	defer context.AfterFunc(viewer, func() { p.cancel(context.Cause(viewer)) })()
	response := p.response
	x.fetch = p.fetch
	x.status.ForwardStatus = response.StatusCode
	header := x.w.Header()
	if x.rule.Forward == ForwardObject {
		maps.Copy(header, x.h.forViewers(x.rule, response.Header))
	} else {
		own := freshness.EndToEnd(response.Header)
		delete(own, "Content-Length")
		if x.rule.CORS {
			replaceCORS(own)
		}
		maps.Copy(header, own)
	}
	if age := response.Header["Age"]; len(age) > 0 {
		header["Age"] = age
	}
	header["Cache-Status"] = append(header["Cache-Status"], x.status.Encode(x.h.name))
	plan := x.plan(response, header)
	modified, _ := http.ParseTime(header.Get("Last-Modified"))
	if response.StatusCode == http.StatusOK && (x.r.Method == http.MethodGet || x.r.Method == http.MethodHead) &&
		x.unchanged(header.Get("Etag"), modified) {
		x.notModified()
		return
	}
	if response.ContentLength >= 0 && !plan.Changes() && response.StatusCode != http.StatusNoContent &&
		response.StatusCode != http.StatusNotModified {
		header["Content-Length"] = []string{strconv.FormatInt(response.ContentLength, 10)}
	}
	x.w.WriteHeader(response.StatusCode)
	if x.r.Method == http.MethodHead {
		return
	}
	x.relayBody(p, plan)
}

func (x *exchange) relayBody(p passed, plan transform.Plan) {
	buffer := make([]byte, relayBytes)
	live := p.response.ContentLength < 0 // of unknown length: it may be coming as it is made
	var body io.Reader = &exact{p.response.Body, p.response.ContentLength}
	if plan.Changes() {
		e, err := x.h.encoding(body, plan, func() bool { return live })
		if err != nil {
			x.broken = true
			return
		}
		defer e.close()
		body = e
	}
	for {
		n, err := body.Read(buffer)
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

// exact is a body of a known length, or of none (-1). One that ends before is not taken for whole.
type exact struct {
	io.Reader
	left int64
}

func (b *exact) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	b.left -= int64(n)
	if err == io.EOF && b.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}
