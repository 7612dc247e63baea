package edge

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/weir-stream/weir/cmcd"
	"github.com/weir-stream/weir/internal/cdn"
	"github.com/weir-stream/weir/internal/cdn/cache"
	"github.com/weir-stream/weir/internal/problem"
	"github.com/weir-stream/weir/internal/telemetry"
)

// exchange is one request on its way through the edge, and the row that is made of it.
type exchange struct {
	h      *Handler
	r      *http.Request
	w      output
	target target
	row    telemetry.Request
	status cacheStatus
	fetch  *cache.Fetch
	// follower says that the bytes come from another request's fetch.
	follower bool
	// broken says that the answer has been begun and cannot be ended.
	broken bool
}

// answer writes the answer.
func (x *exchange) answer() {
	x.row.CacheStatus = string(cdn.Bypass)
	t, ok := targetOf(x.r.URL)
	if !ok {
		x.problem(http.StatusBadRequest, "The URL is too long or has characters that no object's name has.")
		return
	}
	x.target = t
	if x.r.Method != http.MethodGet && x.r.Method != http.MethodHead {
		x.w.Header().Set("Allow", allowedMethods)
		x.problem(http.StatusMethodNotAllowed, "Objects are read with GET or HEAD.")
		return
	}
	l := x.h.cache.Get(t.key, x.row.Time)
	x.row.MissReason = string(l.Reason)
	switch {
	case l.Pass:
		x.pass()
	case l.Fill != nil:
		x.wait(l)
	default:
		x.cached(l)
	}
}

// cached answers with an object that the cache had.
func (x *exchange) cached(l cache.Lookup) {
	o := l.Object
	defer o.Release()
	x.status.hasTTL, x.status.ttl = true, o.TTL(x.row.Time)
	switch {
	case l.Stale:
		x.row.CacheStatus = string(cdn.Stale)
		x.status.detail = "stale-if-error"
	case !o.Complete():
		x.row.CacheStatus = string(cdn.Collapsed)
		x.row.MissReason = string(o.Fetch.Reason)
		x.follower = true
		x.fetch = o.Fetch
		x.status.forward = forwardOf(o.Fetch.Reason)
		x.status.forwardStatus = o.Fetch.Status
		x.status.collapsed = true
	default:
		x.row.CacheStatus = string(cdn.Hit)
	}
	x.send(o)
}

// wait waits for a fill, which it leads or not, and answers with its outcome.
func (x *exchange) wait(l cache.Lookup) {
	x.row.CacheStatus = string(cdn.Miss)
	x.status.forward = forwardOf(l.Reason)
	var f *flight
	if l.Leader {
		f = x.h.lead(l.Fill, x.target)
		defer close(f.gone)
	} else {
		x.row.CacheStatus = string(cdn.Collapsed)
		x.status.collapsed = true
		x.follower = true
	}
	since := x.h.now()
	out, err := l.Fill.Wait(x.r.Context())
	if x.follower {
		x.row.CollapsedWait = x.h.now().Sub(since)
	}
	if err != nil {
		x.row.Aborted = true
		return
	}
	x.fetch = out.Fetch
	if out.Fetch != nil {
		x.status.forwardStatus = out.Fetch.Status
	}
	switch {
	case out.Pass:
		x.notShared(f)
	case out.Object == nil:
		x.fail(out.Err)
	default:
		defer out.Object.Release()
		x.filled(out)
	}
}

// filled answers with the object that a fill has ended with.
func (x *exchange) filled(out cache.Outcome) {
	o := out.Object
	switch {
	case out.Stale:
		x.row.CacheStatus = string(cdn.Stale)
		x.status.hasTTL = true
		x.status.detail = "stale-if-error"
	case out.Stored:
		x.status.hasTTL = true
		x.status.stored = !x.follower && out.Fetch.Status != http.StatusNotModified
	case o.Status < 400:
		x.row.MissReason = string(cdn.Uncacheable)
	}
	x.status.ttl = o.TTL(x.h.now())
	x.send(o)
}

// notShared answers after a fill has ended with something that is for one viewer only: f is that
// viewer's flight, nil for all others.
func (x *exchange) notShared(f *flight) {
	x.row.CacheStatus, x.row.MissReason = string(cdn.Miss), string(cdn.Uncacheable)
	x.status.collapsed = false
	x.follower = false
	if f == nil {
		x.pass()
		return
	}
	var p passed
	select {
	case p = <-f.handoff:
	case <-x.h.ctx.Done():
		x.fail(errClosing)
		return
	}
	if p.response.StatusCode == http.StatusOK && x.r.Header.Get("Range") != "" && x.r.Method == http.MethodGet {
		p.close() // the origin was asked for the whole; now that it will not be kept, a part is enough
		x.pass()
		return
	}
	if err := x.h.passes.acquire(x.r.Context()); err != nil {
		p.close()
		x.refused(err)
		return
	}
	defer x.h.passes.release()
	x.relay(p)
}

// fail answers with what err means.
func (x *exchange) fail(err error) {
	f := failureOf(err)
	if f.status == http.StatusServiceUnavailable {
		x.w.Header().Set("Retry-After", "1")
	}
	x.status.detail = f.token
	x.h.log.Debug("the origin failed", "key", x.target.key, "error", err)
	x.problem(f.status, f.detail)
}

// refused answers a request that did not get a slot: err is the viewer's end or the limit's.
func (x *exchange) refused(err error) {
	if x.r.Context().Err() != nil {
		x.row.Aborted = true
		return
	}
	x.h.metrics.refused.Inc()
	x.fail(err)
}

// problem answers with an error of the edge's own.
func (x *exchange) problem(status int, detail string) {
	header := x.w.Header()
	addCORS(header)
	if x.row.CacheStatus != string(cdn.Bypass) {
		header["Cache-Status"] = []string{x.status.encode(x.h.name)}
	}
	problem.Write(&x.w, x.r, status, detail)
}

// send answers with an object of the cache.
func (x *exchange) send(o *cache.Object) {
	header := x.w.Header()
	for name, values := range o.Header {
		header[name] = values
	}
	header["Age"] = []string{strconv.FormatInt(int64(o.Age(x.h.now())/time.Second), 10)}
	// Members nearer to the origin come first (RFC 9211 §2).
	header["Cache-Status"] = append(header["Cache-Status"], x.status.encode(x.h.name))

	length := o.Length()
	part := span{0, length}
	status := o.Status
	if status == http.StatusOK {
		header["Accept-Ranges"] = acceptRanges
		if notModified(x.r.Header, o.ETag, o.LastModified) {
			x.notModified()
			return
		}
		asked := x.r.Header.Get("Range")
		if asked != "" && x.r.Method == http.MethodGet && rangeApplies(x.r.Header, o.ETag, header.Get("Last-Modified")) {
			if length < 0 {
				// Content-Range needs the length, which the end tells.
				if !x.waitForLength(o) {
					return
				}
				length = o.Length()
				part.end = length
			}
			if length < 0 {
				asked = "" // outgrew the cache; the whole then
			}
			switch requested, result := parseRange(asked, length); result {
			case onePart:
				part = requested
				status = http.StatusPartialContent
				header["Content-Range"] = []string{contentRange(part, length)}
			case unsatisfiable:
				x.unsatisfiable(length)
				return
			case wholeObject:
			}
		}
	}
	if length >= 0 && status != http.StatusNoContent {
		header["Content-Length"] = []string{strconv.FormatInt(part.end-part.start, 10)}
	}
	if x.r.Method == http.MethodHead || part.start == part.end {
		x.w.WriteHeader(status)
		return
	}
	x.copy(o, part, status)
}

var acceptRanges = []string{"bytes"}

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

// copy writes the head and the part of the object, as its bytes come.
func (x *exchange) copy(o *cache.Object, part span, status int) {
	reader := o.Open(part.start, part.end)
	defer reader.Close()
	ctx := x.r.Context()
	for {
		p, err := x.next(ctx, reader)
		if errors.Is(err, io.EOF) {
			if x.w.status == 0 {
				x.w.WriteHeader(status)
			}
			return
		}
		if err != nil {
			x.brokenOff(o, err)
			return
		}
		if x.w.status == 0 {
			x.w.WriteHeader(status)
		}
		if _, err := x.w.Write(p); err != nil {
			x.row.Aborted = true
			return
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
		header := x.w.Header()
		for name := range o.Header {
			delete(header, name)
		}
		for _, name := range []string{"Age", "Cache-Status", "Content-Length", "Content-Range", "Accept-Ranges"} {
			delete(header, name)
		}
		x.status.stored, x.status.hasTTL = false, false
		x.fail(err)
	default:
		x.broken = true
	}
}

// finish completes the row and hands it on.
func (x *exchange) finish() {
	h, r, row := x.h, x.r, &x.row
	end := h.now()
	row.Duration = end.Sub(row.Time)
	if first := x.w.first; !first.IsZero() {
		row.TTFB = first.Sub(row.Time)
	} else if x.w.status != 0 {
		row.TTFB = row.Duration
	}
	id, err := uuid.NewV7()
	if err != nil {
		id = uuid.New() // no random source at all would have panicked
	}
	row.ID, row.Edge = id, h.id
	row.Client, row.ClientPort = h.client(r)
	row.UserAgent, row.Referer = telemetry.Clip(r.UserAgent()), telemetry.Clip(r.Referer())
	row.Method, row.Host, row.Proto = telemetry.Clip(r.Method), telemetry.Clip(r.Host), r.Proto
	row.Path, row.Query = x.target.path, x.target.query
	if x.target.key == "" {
		row.Path = r.URL.Path
		row.Query = cmcd.StripQuery(r.URL.RawQuery)
	}
	row.Path, row.Query = telemetry.Clip(row.Path), telemetry.Clip(row.Query)
	row.Stream = streamOf(row.Path)
	row.Kind = string(cdn.KindOf(row.Path))
	row.Range = telemetry.Clip(r.Header.Get("Range"))
	row.Status, row.Bytes = x.w.status, x.w.bytes
	row.ContentType = x.w.Header().Get("Content-Type")
	if r.Context().Err() != nil && x.w.err != nil {
		row.Aborted = true
	}
	if f := x.fetch; f != nil {
		row.OriginStatus, row.OriginTTFB, row.OriginDuration = f.Status, f.TTFB, f.Duration()
	}
	row.CMCD, row.HasCMCD = cmcd.FromRequest(r.URL.RawQuery, r.Header)
	h.metrics.answered(row)
	h.observe(*row)
}

// output is the way to the viewer. It knows what was written on it.
type output struct {
	http.ResponseWriter
	now    func() time.Time
	status int
	bytes  int64
	first  time.Time // when the first byte was handed on
	err    error
}

func (w *output) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *output) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *output) Write(p []byte) (int, error) {
	if w.first.IsZero() {
		w.first = w.now()
	}
	if w.status == 0 {
		w.status = http.StatusOK
	}
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
