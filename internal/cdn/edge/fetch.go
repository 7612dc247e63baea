package edge

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"time"

	"github.com/weir-stream/weir/internal/cdn"
	"github.com/weir-stream/weir/internal/cdn/cache"
	"github.com/weir-stream/weir/internal/cdn/cache/freshness"
	"github.com/weir-stream/weir/internal/cdn/edge/message"
)

// flight is a fetch for the cache, and the viewer who caused it.
type flight struct {
	fill   *cache.Fill
	rule   *Rule
	target message.Target
	// viewer is the header of that viewer's request, and what else the origin may be told of it, where the
	// rule forwards requests.
	viewer http.Header
	// slice is the number of the slice that is wanted, -1 for the whole object.
	slice int64
	// ahead says that nobody has asked yet.
	ahead bool
	// personal are fields of the answer that are for that viewer only; set before the fill ends.
	personal http.Header
	// interim takes what the origin says before its answer.
	interim chan interim
	// handoff takes the answer to that viewer if nobody else may have it; gone is closed when the
	// viewer no longer waits.
	handoff chan passed
	gone    chan struct{}
}

// interim is an informational answer (RFC 9110 §15.2).
type interim struct {
	status int
	header http.Header
}

// maxInterim bounds the informational answers of which a viewer is told.
const maxInterim = 8

// passed is an answer that is for one viewer. Whoever has it closes the body, then calls cancel.
type passed struct {
	response *http.Response
	fetch    *cache.Fetch
	cancel   context.CancelCauseFunc
}

func (p passed) close() {
	_ = p.response.Body.Close()
	p.cancel(nil)
}

const (
	// drainBytes is how much of a body that is of no use is read, so that the connection can be used again.
	drainBytes = 4 << 10
	// drainTime is how long that may take.
	drainTime = time.Second
)

// discard closes an answer whose body nobody wants.
func (p passed) discard() {
	enough := time.AfterFunc(drainTime, func() { p.cancel(nil) })
	defer enough.Stop()
	_, _ = io.CopyN(io.Discard, p.response.Body, drainBytes+1)
	p.close()
}

// lead sees to it that the fill ends: it starts its fetch.
func (h *Handler) lead(fill *cache.Fill, x *exchange) *flight {
	f := newFlight(fill, x.rule, x.target, -1)
	h.start(f, x)
	return f
}

func newFlight(fill *cache.Fill, rule *Rule, t message.Target, slice int64) *flight {
	return &flight{
		fill: fill, rule: rule, target: t, slice: slice,
		interim: make(chan interim, maxInterim), handoff: make(chan passed), gone: make(chan struct{}),
	}
}

// start starts the flight's fetch.
func (h *Handler) start(f *flight, x *exchange) {
	if f.rule.Forward == ForwardRequest {
		// A copy: the fetch goes on when the viewer's request is over.
		f.viewer = f.rule.forwarded(x.r)
	} else {
		f.viewer = way(x.r)
	}
	if !h.begin() {
		f.fill.Fail(errClosing, nil, h.now())
		return
	}
	go func() {
		defer h.running.Done()
		h.fetch(f)
	}()
}

// fetch asks the origin and fills the cache. It has the handler's context: a viewer who goes away does
// not end what others wait for, and an object that one viewer wanted is wanted again soon.
func (h *Handler) fetch(f *flight) {
	since := h.now()
	if err := h.fetches.acquire(h.ctx); err != nil {
		h.metrics.refused.Inc()
		f.fill.Fail(err, nil, h.now())
		return
	}
	place := h.fetches
	defer func() { place.release() }()
	ctx, cancel := context.WithCancelCause(h.ctx)
	timeout := h.table.Load().cfg.FillTimeout
	fillTimer := time.AfterFunc(timeout, func() { cancel(errFillTimeout) })
	defer fillTimer.Stop()

	queued := h.now().Sub(since)
	request := h.request(ctx, http.MethodGet, f.rule, f.target, f.viewer)
	stale := f.fill.Stale()
	if stale != nil {
		addValidators(request.Header, stale)
	}
	if h.once != nil && f.fill.CanServeStale(h.now()) {
		request = request.WithContext(h.once(request.Context()))
	}
	if f.slice >= 0 {
		first := f.slice * h.sliceBytes
		request.Header.Set("Range", "bytes="+formatInt(first)+"-"+formatInt(first+h.sliceBytes-1))
	}
	request = request.WithContext(h.tellInterim(request.Context(), f))
	response, fetch, err := h.ask(request, cancel, f.fill.Reason)
	if err != nil {
		cancel(nil)
		f.fill.Fail(err, fetch, h.now())
		return
	}
	if stale != nil && response.StatusCode == http.StatusNotModified && !freshness.MatchesStored(stale.Header, response.Header) {
		// It speaks of another state of the object (RFC 9111 §4.3.4): ask for that.
		_ = response.Body.Close()
		for _, name := range []string{"If-None-Match", "If-Modified-Since"} {
			request.Header.Del(name)
		}
		if response, fetch, err = h.ask(request, cancel, f.fill.Reason); err != nil { //nolint:bodyclose // closed below, as the first
			cancel(nil)
			f.fill.Fail(err, fetch, h.now())
			return
		}
		stale = nil
	}
	fetch.Queued = queued
	p := passed{response, fetch, cancel}
	switch {
	case response.StatusCode == http.StatusNotModified && stale != nil:
		fetch.End(h.now().Sub(fetch.Started))
		f.fill.Revalidated(h.revalidated(f, stale, response, fetch))
		p.discard()
		return
	case response.StatusCode == http.StatusNotModified:
		f.fill.Fail(fmt.Errorf("%w: 304 to a request without conditions", errOrigin), fetch, h.now())
		p.discard()
		return
	case freshness.OriginFailed(response.StatusCode) && f.fill.CanServeStale(h.now()):
		f.fill.Fail(fmt.Errorf("%w: status %d", errOrigin, response.StatusCode), fetch, h.now())
		p.discard()
		return
	}
	head, err := h.head(f, response, fetch)
	if err != nil { // the object is got in another way
		p.close()
		f.fill.Abandon(err, fetch)
		return
	}
	if head.Share && !endless(f.rule, &head) {
		body := &steady{r: response.Body, timer: fillTimer}
		head.Windowed = func() {
			fillTimer.Stop()
			body.pause = timeout
			// It goes on for as long as its viewers like, so it is none of those that others wait for. Where there is no
			// place among those that are passed, which it is like now, it keeps its own.
			if h.passes.tryAcquire() {
				place.release()
				place = h.passes
			}
		}
		object, err := f.fill.Store(head)
		if err == nil {
			h.metrics.filling.Inc()
			err = object.FillFrom(ctx, body)
			h.metrics.filling.Dec()
			if err != nil {
				h.metrics.broken.Inc()
				h.log.Debug("a fill broke off", "key", f.target.Key, "error", err, "cause", context.Cause(ctx))
			} else {
				fetch.End(h.now().Sub(fetch.Started))
				h.prefetch.playlist(f, object)
			}
			p.close()
			return
		}
	}
	fillTimer.Stop()
	if head.Own {
		f.fill.PassOwn(fetch, h.now(), credentialed(f.viewer))
	} else {
		f.fill.Pass(fetch, h.now())
	}
	select {
	case f.handoff <- p:
	case <-f.gone:
		p.close()
	case <-h.ctx.Done():
		p.close()
	}
}

// steady is a body of which no read may take longer than pause; 0: something else bounds it.
type steady struct {
	r     io.Reader
	timer *time.Timer // ends the fetch
	pause time.Duration
}

func (s *steady) Read(p []byte) (int, error) {
	if s.pause > 0 {
		s.timer.Reset(s.pause)
		defer s.timer.Stop()
	}
	return s.r.Read(p)
}

// endless reports whether an answer may have no end, so that its viewer gets it without a bound in time: events, frames,
// and what a proxy's origin makes as it goes and nobody may keep.
func endless(rule *Rule, head *cache.Head) bool {
	if head.Length >= 0 || head.Status >= http.StatusMultipleChoices {
		return false
	}
	kind, _, _ := strings.Cut(head.Header.Get("Content-Type"), ";")
	switch strings.ToLower(strings.TrimSpace(kind)) {
	case "text/event-stream", "multipart/x-mixed-replace":
		return true
	}
	return rule.Forward == ForwardRequest && !head.Store
}

// looped reports whether an answer says that the request went in a circle, or had fields that cannot be, after its
// viewer had named nodes that it had been through (CDN-Loop is any viewer's to write).
func looped(x freshness.Exchange) bool {
	switch x.Status {
	case http.StatusLoopDetected, http.StatusBadRequest, http.StatusRequestHeaderFieldsTooLarge:
		return len(x.Request["Cdn-Loop"]) > 0
	}
	return false
}

// own reports whether an answer that is not shared would be, had somebody without credentials asked.
func (h *Handler) own(x freshness.Exchange) bool {
	if !credentialed(x.Request) {
		return false
	}
	x.Request = x.Request.Clone()
	delete(x.Request, "Authorization")
	delete(x.Request, "Cookie")
	return h.cache.Freshness().Evaluate(x).Share
}

// head returns what the cache is told of an answer. The error ends the fill without an object.
func (h *Handler) head(f *flight, response *http.Response, fetch *cache.Fetch) (cache.Head, error) {
	tags, dropped := freshness.Tags(response.Header)
	h.metrics.droppedTags.Add(float64(dropped))
	head := cache.Head{
		Status: response.StatusCode, Length: response.ContentLength, Request: f.viewer,
		Live: f.rule.Live, Tags: tags, Fetch: fetch,
	}
	x := h.exchangeOf(f, response, fetch)
	if f.slice >= 0 {
		part, err := h.slice(f, response)
		if err != nil {
			return cache.Head{}, err
		}
		if part {
			x.Status = http.StatusOK // it is kept as the whole would be
		}
	}
	head.Freshness = h.cache.Freshness().Evaluate(x)
	if head.Own = looped(x) || !head.Share && h.own(x); head.Own {
		head.Share, head.Store = false, false
	}
	if f.ahead && response.StatusCode >= http.StatusBadRequest {
		head.Store = false // what is not there yet may be when somebody asks
	}
	if f.rule.Forward == ForwardObject {
		head.Vary = nil // the origin is always asked in the same words
	}
	head.Header = h.forViewers(f.rule, response.Header)
	if f.rule.Forward == ForwardRequest {
		f.personal = withheld(response.Header, head.Header)
	}
	if f.rule.Compress {
		h.compressible(&head)
	}
	if f.slice < 0 && head.Share && head.Store && h.tooLarge(f, response) {
		return cache.Head{}, errSliced
	}
	return head, nil
}

// revalidated returns the head of an object that the origin has said is unchanged.
func (h *Handler) revalidated(f *flight, stale *cache.Object, response *http.Response, fetch *cache.Fetch) cache.Head {
	status := stale.Status
	if f.slice >= 0 && status == http.StatusPartialContent {
		status = http.StatusOK
	}
	x := h.exchangeOf(f, response, fetch)
	header, fresh := h.cache.Freshness().Revalidate(stale.Header, status, x)
	if f.rule.Forward == ForwardObject {
		fresh.Vary = nil
	}
	if f.rule.CORS {
		replaceCORS(header)
	}
	tags, _ := freshness.Tags(header)
	head := cache.Head{
		Status: stale.Status, Header: header, Length: stale.Length(), Request: f.viewer, Tags: tags, Fetch: fetch, Freshness: fresh,
	}
	if !fresh.Share {
		x.Status, x.Response = status, header
		head.Own = h.own(x)
	}
	if f.rule.Compress {
		h.compressible(&head)
	}
	return head
}

// exchangeOf returns what decides about an answer's freshness.
func (h *Handler) exchangeOf(f *flight, response *http.Response, fetch *cache.Fetch) freshness.Exchange {
	return freshness.Exchange{
		Kind: cdn.KindOf(f.target.Path), Method: http.MethodGet, Status: response.StatusCode,
		Request: f.viewer, Response: response.Header, Requested: fetch.Started, Received: fetch.Started.Add(fetch.TTFB),
	}
}

// tellInterim makes the origin's informational answers known to the viewer who waits.
func (h *Handler) tellInterim(ctx context.Context, f *flight) context.Context {
	if f.rule.Forward != ForwardRequest {
		return ctx
	}
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
			if code == http.StatusSwitchingProtocols || code == http.StatusContinue {
				return nil
			}
			select {
			case f.interim <- interim{code, h.forViewers(f.rule, http.Header(header))}:
			default: // more than a viewer is told of
			}
			return nil
		},
	})
}

// request makes the origin's request for t. It carries nothing of a viewer but what the rule lets through.
func (h *Handler) request(ctx context.Context, method string, rule *Rule, t message.Target, viewer http.Header) *http.Request {
	r := &http.Request{
		Method: method, URL: message.OriginURL(h.originURL, t), Host: h.originURL.Host,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
	if t.Host != "" {
		r.Host = t.Host
	}
	if rule.Forward == ForwardRequest {
		if r.Header = viewer.Clone(); r.Header == nil { // of a fetch that no viewer has asked for
			r.Header = http.Header{"User-Agent": {"weir-edge"}}
		}
		r.Header["Via"] = append(r.Header["Via"], h.via...)
	} else {
		r.Header = http.Header{
			"User-Agent":      {"weir-edge"},
			"Accept-Encoding": {"identity"},
			"Via":             h.via,
		}
		maps.Copy(r.Header, viewer)
	}
	return r.WithContext(ctx)
}

func addValidators(h http.Header, o *cache.Object) {
	switch o.Status {
	case http.StatusOK, http.StatusNonAuthoritativeInfo, http.StatusPartialContent:
	default:
		return // a 304 would revive an error that is over
	}
	if o.ETag != "" {
		h.Set("If-None-Match", o.ETag)
	}
	if modified := o.Header.Get("Last-Modified"); modified != "" {
		h.Set("If-Modified-Since", modified)
	}
}

// ask sends the request, and cancels it if the head takes too long.
func (h *Handler) ask(r *http.Request, cancel context.CancelCauseFunc, reason cdn.MissReason) (*http.Response, *cache.Fetch, error) {
	timer := time.AfterFunc(h.table.Load().cfg.HeadTimeout, func() { cancel(errHeadTimeout) })
	fetch := &cache.Fetch{Started: h.now(), Reason: reason}
	ctx, whence := h.trace(r.Context())
	response, err := h.origin.RoundTrip(r.WithContext(ctx))
	fetch.Origin, fetch.Address = whence()
	inTime := timer.Stop()
	d := h.now().Sub(fetch.Started)
	if err == nil && !inTime {
		_ = response.Body.Close()
		err = errHeadTimeout
	}
	if err != nil {
		if cause := context.Cause(r.Context()); cause != nil {
			err = cause
		}
		h.metrics.fetched(0, d)
		return nil, fetch, fmt.Errorf("ask the origin for %q: %w", r.URL.Path, err)
	}
	fetch.Status, fetch.TTFB = response.StatusCode, d
	h.metrics.fetched(response.StatusCode, d)
	if response.Header.Get("Date") == "" {
		// RFC 9110 §6.6.1: who receives an answer without Date and keeps it, adds the time of receipt.
		response.Header.Set("Date", fetch.Started.Add(d).UTC().Format(http.TimeFormat))
	}
	return response, fetch, nil
}
