package edge

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/weir-stream/weir/internal/cdn"
	"github.com/weir-stream/weir/internal/cdn/cache"
)

// flight is a fetch for the cache, and the viewer who caused it.
type flight struct {
	fill   *cache.Fill
	target target
	// handoff takes the answer to that viewer if nobody else may have it; gone is closed when the
	// viewer no longer waits.
	handoff chan passed
	gone    chan struct{}
}

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

// lead sees to it that the fill ends: it starts its fetch.
func (h *Handler) lead(fill *cache.Fill, t target) *flight {
	f := &flight{fill: fill, target: t, handoff: make(chan passed), gone: make(chan struct{})}
	if !h.begin() {
		fill.Fail(errClosing, nil, h.now())
		return f
	}
	go func() {
		defer h.running.Done()
		h.fetch(f)
	}()
	return f
}

// fetch asks the origin and fills the cache. It has the handler's context: a viewer who goes away does
// not end what others wait for, and an object that one viewer wanted is wanted again soon.
func (h *Handler) fetch(f *flight) {
	if err := h.fetches.acquire(h.ctx); err != nil {
		h.metrics.refused.Inc()
		f.fill.Fail(err, nil, h.now())
		return
	}
	defer h.fetches.release()
	ctx, cancel := context.WithCancelCause(h.ctx)
	fillTimer := time.AfterFunc(h.cfg.FillTimeout, func() { cancel(errFillTimeout) })
	defer fillTimer.Stop()

	stale := f.fill.Stale()
	request := h.request(ctx, http.MethodGet, f.target)
	if stale != nil {
		addValidators(request.Header, stale)
	}
	response, fetch, err := h.ask(request, cancel, f.fill.Reason) //nolint:bodyclose // closed below, by every way that the answer can go
	if err != nil {
		cancel(nil)
		f.fill.Fail(err, fetch, h.now())
		return
	}
	received := fetch.Started.Add(fetch.TTFB)
	kind := cdn.KindOf(f.target.path)
	switch {
	case response.StatusCode == http.StatusNotModified && stale != nil:
		passed{response, fetch, cancel}.close()
		fetch.End(h.now().Sub(fetch.Started))
		header := updated(stale.Header, response.Header)
		// Age is not stored, but counts for how old the answer is.
		forAge := header.Clone()
		forAge["Age"] = response.Header["Age"]
		if len(forAge["Age"]) == 0 {
			delete(forAge, "Age")
		}
		fresh := h.cache.Evaluate(kind, stale.Status, forAge, fetch.Started, received)
		f.fill.Revalidated(header, fresh, fetch)
		return
	case response.StatusCode == http.StatusNotModified:
		passed{response, fetch, cancel}.close()
		f.fill.Fail(fmt.Errorf("%w: 304 to a request without conditions", errOrigin), fetch, h.now())
		return
	case response.StatusCode >= 500 && f.fill.CanServeStale(h.now()):
		passed{response, fetch, cancel}.close()
		f.fill.Fail(fmt.Errorf("%w: status %d", errOrigin, response.StatusCode), fetch, h.now())
		return
	}

	fresh := h.cache.Evaluate(kind, response.StatusCode, response.Header, fetch.Started, received)
	if fresh.Share {
		object, err := f.fill.Store(cache.Head{
			Status: response.StatusCode, Header: forViewers(response.Header),
			Length: response.ContentLength, Freshness: fresh, Fetch: fetch,
		})
		if err == nil {
			h.metrics.filling.Inc()
			err = object.FillFrom(ctx, response.Body)
			h.metrics.filling.Dec()
			if err != nil {
				h.metrics.broken.Inc()
				h.log.Debug("a fill broke off", "key", f.target.key, "error", err, "cause", context.Cause(ctx))
			} else {
				fetch.End(h.now().Sub(fetch.Started))
			}
			passed{response, fetch, cancel}.close()
			return
		}
	}
	fillTimer.Stop()
	f.fill.Pass(fetch, h.now())
	p := passed{response, fetch, cancel}
	select {
	case f.handoff <- p:
	case <-f.gone:
		p.close()
	case <-h.ctx.Done():
		p.close()
	}
}

// request makes the origin's request for t. It carries nothing of a viewer.
func (h *Handler) request(ctx context.Context, method string, t target) *http.Request {
	r := &http.Request{
		Method: method, URL: originURL(h.originURL, t), Host: h.originURL.Host,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{
			"User-Agent":      {"weir-edge"},
			"Accept-Encoding": {"identity"},
			"Via":             h.via,
		},
	}
	return r.WithContext(ctx)
}

func addValidators(h http.Header, o *cache.Object) {
	if o.ETag != "" {
		h.Set("If-None-Match", o.ETag)
	}
	if modified := o.Header.Get("Last-Modified"); modified != "" {
		h.Set("If-Modified-Since", modified)
	}
}

// ask sends the request, and cancels it if the head takes too long.
func (h *Handler) ask(r *http.Request, cancel context.CancelCauseFunc, reason cdn.MissReason) (*http.Response, *cache.Fetch, error) {
	timer := time.AfterFunc(h.cfg.HeadTimeout, func() { cancel(errHeadTimeout) })
	fetch := &cache.Fetch{Started: h.now(), Reason: reason}
	response, err := h.origin.RoundTrip(r)
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
