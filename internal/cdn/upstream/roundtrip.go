package upstream

import (
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/weir-stream/weir/internal/cdn/upstream/health"
	"github.com/weir-stream/weir/internal/cdn/upstream/loop"
)

// RoundTrip asks an origin. The scheme and host of the request's URL are placeholders; its path is appended
// to that of the origin's URL, its Host counts where the origin is configured with preserve_host. The error
// is [ErrLoop], an [*UnavailableError] or an [*OriginError]; each has a method StatusCode.
func (p *Pool) RoundTrip(r *http.Request) (*http.Response, error) {
	trace, _ := r.Context().Value(traceKey{}).(*Trace)
	once := r.Context().Value(onceKey{}) != nil
	if trace != nil {
		*trace = Trace{}
	}
	if loop.HasBefore(r.Header, p.id) {
		closeBody(r)
		p.metrics.loops.Add(1)
		return nil, fmt.Errorf("upstream: %s: %w", r.URL.Path, ErrLoop)
	}
	p.budget.earn()
	t := p.table.Load()
	body := newGuard(r.Body)
	defer body.finish()
	c := choice{
		// What has come through another edge, goes on to the origin if this is a shield: so the
		// shields can ask each other without end to it.
		direct: t.self && len(r.Header[loop.Field]) > 0,
		safe:   body == nil && idempotent(r.Method),
	}
	now := p.now()
	e, probe := t.pick(&c, r, now)
	if e == nil {
		p.metrics.unavailable.Add(1)
		return nil, fmt.Errorf("upstream: %s: %w", r.URL.Path, t.unavailable(now))
	}
	for attempt := 1; ; attempt++ {
		c.try(e)
		a := &attempted{pool: p, table: t, endpoint: e, probe: probe, once: once, number: attempt}
		response, err := a.do(r, body)
		attempt = a.number
		if trace != nil {
			a.fill(trace)
		}
		if err == nil && (e.tier != shieldTier || !shieldFailed(response.StatusCode)) {
			return response, nil
		}
		next, nextProbe := p.next(t, &c, r, a, body)
		if next == nil {
			if err != nil {
				return nil, fmt.Errorf("upstream: %s: %w", r.URL.Path, err)
			}
			return response, nil
		}
		if response != nil {
			_ = response.Body.Close()
		}
		e, probe = next, nextProbe
		e.retries.Add(1)
	}
}

// next returns who is to be asked after the attempt a has failed, nil if nobody is.
func (p *Pool) next(t *table, c *choice, r *http.Request, a *attempted, body *guard) (*endpoint, bool) {
	if r.Context().Err() != nil || a.class == FailureCaller || a.number >= t.config.Retry.Attempts ||
		a.head.Load() && a.failed || !a.repeatable(r, body) {
		return nil, false
	}
	now := p.now()
	e, probe := t.pick(c, r, now)
	if e == nil && !c.again && !a.once && !a.resent && a.failed && a.class == FailureReset && a.endpoint.Standing() != health.Out {
		// There is no other, but the connection may have been to a process that was just replaced.
		c.again = true
		e, probe = a.endpoint, false
	}
	if e == nil {
		return nil, false
	}
	// A try that was made with this request is repaid: there is at most one each second.
	if !a.probe && !p.budget.spend(now) {
		p.metrics.exhausted.Add(1)
		if probe {
			e.Unclaim()
		}
		return nil, false
	}
	return e, probe
}

// idempotent are the methods that may be sent twice (RFC 9110 §9.2.2; QUERY: RFC 10008).
func idempotent(method string) bool {
	switch method {
	case http.MethodGet, "", http.MethodHead, http.MethodOptions, http.MethodPut, http.MethodDelete, http.MethodTrace, "QUERY":
		return true
	}
	return false
}

// shieldFailed reports whether a shield's answer is a reason to go past it: its own trouble, or a loop.
func shieldFailed(status int) bool {
	switch status {
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout, http.StatusLoopDetected:
		return true
	}
	return false
}

// request makes r, a copy of its own, what the endpoint is sent; u becomes its URL.
func (p *Pool) request(e *endpoint, r *http.Request, u *url.URL) *http.Request {
	e.join(u, r.URL)
	r.URL = u
	if !e.preserveHost || r.Host == "" {
		r.Host = e.host
	}
	header := make(http.Header, len(r.Header)+2+len(e.fields))
	for name, values := range r.Header {
		header[name] = values
	}
	loop.Add(header, p.id, p.via)
	for _, f := range e.fields {
		header[f.name] = f.values
	}
	r.Header = header
	return r
}

// join makes out the endpoint's URL with the path and query of u after it. Nothing is cleaned: what a path
// means is the origin's to say.
func (e *endpoint) join(out, u *url.URL) {
	*out = *e.base
	out.RawQuery, out.ForceQuery = u.RawQuery, u.ForceQuery
	if out.Path == "" && out.RawPath == "" {
		out.Path, out.RawPath = u.Path, u.RawPath
		return
	}
	if out.RawPath != "" || u.RawPath != "" {
		out.RawPath = e.base.EscapedPath() + u.EscapedPath()
	}
	out.Path = e.base.Path + u.Path
}

func closeBody(r *http.Request) {
	if r.Body != nil {
		_ = r.Body.Close()
	}
}

// unavailable says why nobody can be asked.
func (t *table) unavailable(at time.Time) *UnavailableError {
	err := &UnavailableError{RetryAfter: health.ProbeGap}
	for _, e := range t.all {
		if e.self {
			continue
		}
		u := Unavailable{Origin: e.name, Reason: fmt.Sprintf("has %d requests running", e.running.Load())}
		if now := e.Snapshot(); now.Out {
			u.Reason = "is out: " + now.Reason
			err.RetryAfter = min(err.RetryAfter, e.RetryIn(at))
		}
		err.Origins = append(err.Origins, u)
	}
	return err
}
