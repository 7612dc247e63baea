package edge

import (
	"errors"
	"maps"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/weir-stream/weir/internal/cdn"
	"github.com/weir-stream/weir/internal/cdn/access"
	"github.com/weir-stream/weir/internal/cdn/cache"
	"github.com/weir-stream/weir/internal/cdn/cache/freshness"
	"github.com/weir-stream/weir/internal/cdn/edge/h1"
	"github.com/weir-stream/weir/internal/cdn/edge/message"
	"github.com/weir-stream/weir/internal/cdn/transform"
	"github.com/weir-stream/weir/internal/problem"
	"github.com/weir-stream/weir/internal/telemetry"
)

// exchange is one request on its way through the edge, and the row that is made of it.
type exchange struct {
	h      *Handler
	r      *http.Request
	w      output
	rule   *Rule
	target message.Target
	grant  access.Grant
	client netip.Addr
	port   uint16
	row    telemetry.Request
	status message.CacheStatus
	fetch  *cache.Fetch
	asked  transform.Asked // where the rule has compress
	// control are the request's own directives, where they count.
	control freshness.RequestControl
	// follower says that the bytes come from another request's fetch.
	follower bool
	// broken says that the answer has been begun and cannot be ended.
	broken bool
}

// answer writes the answer.
func (x *exchange) answer() {
	x.row.CacheStatus = string(cdn.Bypass)
	targetOf := message.TargetOf
	if x.rule.Forward == ForwardRequest {
		targetOf = message.ExactTargetOf
	}
	t, ok := targetOf(x.r.URL)
	if !ok {
		x.problem(http.StatusBadRequest, "The URL is too long or has characters that no object's name has.")
		return
	}
	x.target = t
	if !x.allowed() {
		return
	}
	if x.rule.Forward == ForwardRequest {
		introduce(x.r, x.client, x.rule.Host == HostViewer)
	}
	if x.rule.Host == HostViewer {
		host, ok := message.HostOf(x.r.Host, x.r.TLS != nil)
		if !ok {
			x.problem(http.StatusBadRequest, "The Host is none that an origin could have.")
			return
		}
		x.target.Under(host)
	}
	if x.rule.CMSD {
		x.w.before = x.dynamic
	}
	if x.h.looped(x.r.Header) {
		// Here, and not when the origin is asked: it might wait for its own fetch.
		x.problem(http.StatusLoopDetected, "The request has been through this edge before.")
		return
	}
	if x.rule.Compress {
		x.negotiate()
	}
	readCMCD(&x.row, x.r.URL.RawQuery, x.r.Header)
	if p, ok := x.w.ResponseWriter.(h1.Connection); ok {
		p.SetPace(pace(x.rule, &x.row))
	}
	switch {
	case x.r.Method == http.MethodGet || x.r.Method == http.MethodHead:
	case x.rule.Forward == ForwardRequest:
		x.unsafe()
		return
	default:
		x.w.Header().Set("Allow", allowedMethods)
		x.problem(http.StatusMethodNotAllowed, "Objects are read with GET or HEAD.")
		return
	}
	switch {
	case x.rule.Upgrade && x.r.Header.Get("Upgrade") != "":
		x.upgrade()
	case x.rule.Bypass, x.rule.Forward == ForwardRequest && hasContent(x.r):
		x.pass() // what a body asks for is in no key
	default:
		x.lookUp()
	}
}

// allowed asks the chain of access checks, and answers if the request is refused.
func (x *exchange) allowed() bool {
	chain := x.h.access
	if chain == nil {
		return true
	}
	// The loop has asked already, if the request came through it. It is asked once, as it counts. The chain wants
	// the path as it came: what has been decoded once must not be decoded again.
	d, asked := h1.Carried(x.r.Context()).(access.Decision)
	if !asked {
		if !chain.Needs(x.r.URL.EscapedPath()) {
			return true
		}
		d = chain.Check(&access.Request{
			Method: x.r.Method, Host: x.r.Host, Path: x.r.URL.EscapedPath(), RawQuery: x.r.URL.RawQuery, Header: x.r.Header,
			Client: x.client, TLS: x.r.TLS != nil, Now: x.row.Time,
		})
	}
	x.row.Tenant, x.grant = d.Grant.Tenant, d.Grant
	for name, values := range d.SetHeader {
		x.w.Header()[name] = values
	}
	if d.Allow {
		if d.Path != "" { // the token was in the path
			x.rule = x.h.table.Load().rules.of(d.Path)
			x.target.SetPath(d.Path)
		}
		x.target.Strip(d.StripQuery)
		return true
	}
	x.target.Strip(d.StripQuery) // the row has no credentials
	x.row.Refusal = d.Reason
	refuse(&x.w, x.r, d, x.rule.CORS)
	return false
}

// lookUp asks the cache, and answers with what it says.
func (x *exchange) lookUp() {
	if x.rule.ObeyRequests {
		x.control = freshness.ParseRequest(x.r.Header)
		if x.control.NoStore {
			x.pass()
			return
		}
	}
	if x.slicesAsked() {
		x.slices()
		return
	}
	q := x.query(x.target.Key, x.row.Time)
	for again := 0; x.take(x.h.cache.Get(q)); again++ {
		// The fetch that was waited for has brought another variant: now it is known what they are told
		// apart by.
		x.status = message.CacheStatus{}
		x.follower = false
		if again == maxAgain {
			x.pass()
			return
		}
	}
}

// maxAgain bounds how often a request waits for a fetch and then gets nothing by it.
const maxAgain = 3

// take answers with what the cache says. It returns true if it should be asked again.
func (x *exchange) take(l cache.Lookup) bool {
	x.row.MissReason = string(l.Reason)
	switch {
	case l.Pass:
		x.pass()
	case l.Object != nil:
		if l.Leader { // stale-while-revalidate
			close(x.h.lead(l.Fill, x).gone)
		}
		x.cached(l)
	case l.Fill != nil:
		return x.wait(l)
	default:
		x.notHeld()
	}
	return false
}

// notHeld answers a request that is for the cache only (RFC 9111 §5.2.1.7).
func (x *exchange) notHeld() {
	x.status.Forward = message.NotForwarded
	x.status.Detail = "only-if-cached"
	x.problem(http.StatusGatewayTimeout, "The object is not in the cache, and nothing else was asked for.")
}

// cached answers with an object that the cache had.
func (x *exchange) cached(l cache.Lookup) {
	o := l.Object
	defer o.Release()
	x.status.HasTTL, x.status.TTL = true, o.TTL(x.row.Time)
	switch {
	case l.Stale:
		x.row.CacheStatus = string(cdn.Stale)
		if l.Fill == nil && !o.Fresh(x.row.Time) {
			x.status.Detail = "stale-if-error"
		} else {
			x.status.Detail = "stale-while-revalidate"
		}
	case !o.Complete():
		x.row.CacheStatus = string(cdn.Collapsed)
		x.follower = true
		x.fetch = o.Fetch
		x.row.MissReason = string(o.Fetch.Reason)
		x.status.Forward = message.ForwardOf(o.Fetch.Reason)
		x.status.ForwardStatus = o.Fetch.Status
		x.status.Collapsed = true
	default:
		x.row.CacheStatus = string(cdn.Hit)
	}
	x.send(o)
}

// wait waits for a fill, which it leads or not, and answers with its outcome. It returns true if that is of
// no use to this request.
func (x *exchange) wait(l cache.Lookup) bool {
	x.row.CacheStatus = string(cdn.Miss)
	x.status.Forward = message.ForwardOf(l.Reason)
	var f *flight
	if l.Leader {
		f = x.h.lead(l.Fill, x)
		defer close(f.gone)
	} else {
		x.row.CacheStatus = string(cdn.Collapsed)
		x.status.Collapsed = true
		x.follower = true
	}
	since := x.h.now()
	out, err := x.outcome(l.Fill, f)
	if x.follower {
		x.row.CollapsedWait += x.h.now().Sub(since)
	}
	if err != nil {
		x.row.Aborted = true
		return false
	}
	x.fetch = out.Fetch
	if out.Fetch != nil {
		x.status.ForwardStatus = out.Fetch.Status
	}
	switch {
	case out.Own && f == nil && !x.credentials():
		return true
	case out.Pass:
		x.notShared(f)
	case out.Object == nil && errors.Is(out.Err, cache.ErrLost):
		return true
	case out.Object == nil && errors.Is(out.Err, errSliced):
		x.slices()
	case out.Object == nil && errors.Is(out.Err, errWhole):
		x.lookUp()
	case out.Object == nil:
		x.fail(out.Err)
	case x.follower && x.rule.Forward == ForwardRequest && !out.Object.Matches(x.r.Header):
		out.Object.Release()
		return true
	default:
		defer out.Object.Release()
		if f != nil && !out.Stale {
			maps.Copy(x.w.Header(), f.personal)
		}
		x.filled(out)
	}
	return false
}

// outcome waits for the end of a fill, whose flight f is if the request leads it. If the origin takes its time and
// there is a stale object that would be served if it failed, that is the outcome.
func (x *exchange) outcome(fill *cache.Fill, f *flight) (cache.Outcome, error) {
	now := x.h.now()
	var patience <-chan time.Time // nil: there is nothing else
	// Who asks for something newer than what is held waits for it.
	if fill.CanServeStale(now) && !x.control.NoCache && !x.control.HasMaxAge && !x.control.HasMinFresh {
		wait := time.NewTimer(fill.Since.Add(x.h.table.Load().cfg.StaleWait).Sub(now))
		defer wait.Stop()
		patience = wait.C
	}
	var said chan interim // nil: nothing is to be handed on
	if f != nil {
		said = f.interim
	}
	for {
		select {
		case i := <-said:
			x.tell(i)
			continue
		case <-patience:
			if o := fill.TakeStale(x.h.now(), x.control); o != nil {
				return cache.Outcome{Object: o, Stale: true}, nil
			}
			patience = nil
			continue
		case <-fill.Done():
			if f != nil {
				x.tellRest(f)
			}
		case <-x.r.Context().Done():
		}
		return fill.Wait(x.r.Context())
	}
}

// tellRest hands on what the origin has said before its answer (RFC 9110 §15.2) and nobody has been told of yet.
func (x *exchange) tellRest(f *flight) {
	for {
		select {
		case i := <-f.interim:
			x.tell(i)
		default:
			return
		}
	}
}

// credentials reports whether the origin is told who sends the request.
func (x *exchange) credentials() bool {
	return x.rule.Forward == ForwardRequest && credentialed(x.r.Header)
}

// credentialed reports whether a request with this header tells who sends it.
func credentialed(header http.Header) bool {
	return len(header["Authorization"]) > 0 || len(header["Cookie"]) > 0
}

// tell sends an informational answer, whose fields are not those of the answer.
func (x *exchange) tell(i interim) {
	header := x.w.Header()
	before := make([]string, 0, len(i.header))
	for name, values := range i.header {
		if _, ok := header[name]; !ok {
			before = append(before, name)
			header[name] = values
		}
	}
	x.w.ResponseWriter.WriteHeader(i.status)
	for _, name := range before {
		delete(header, name)
	}
}

// filled answers with the object that a fill has ended with.
func (x *exchange) filled(out cache.Outcome) {
	o := out.Object
	switch {
	case out.Stale:
		x.row.CacheStatus = string(cdn.Stale)
		x.status.HasTTL = true
		x.status.Detail = "stale-if-error"
	case out.Stored:
		x.status.HasTTL = true
		x.status.Stored = !x.follower && out.Fetch.Status != http.StatusNotModified
	case o.Status < 400:
		x.row.MissReason = string(cdn.Uncacheable)
	}
	x.status.TTL = o.TTL(x.h.now())
	x.send(o)
}

// notShared answers after a fill has ended with something that is for one viewer only: f is that
// viewer's flight, nil for all others.
func (x *exchange) notShared(f *flight) {
	x.row.CacheStatus, x.row.MissReason = string(cdn.Miss), string(cdn.Uncacheable)
	x.status.Collapsed = false
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
	x.status.Detail = f.token
	x.h.log.Debug("the origin failed", "key", x.target.Key, "error", err)
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
	if x.rule.CORS {
		addCORS(header)
	}
	if x.row.CacheStatus != string(cdn.Bypass) {
		header["Cache-Status"] = []string{x.status.Encode(x.h.name)}
	}
	problem.Write(&x.w, x.r, status, detail)
}

// refuse answers what the access chain does not let through. The client is told the status and nothing more.
func refuse(w http.ResponseWriter, r *http.Request, d access.Decision, cors bool) {
	header := w.Header()
	if cors {
		addCORS(header)
	}
	if d.RetryAfter > 0 {
		header.Set("Retry-After", retryAfter(d.RetryAfter))
	}
	header.Set("Cache-Control", "no-store")
	if len(d.Body) > 0 { // a challenge for browsers
		header.Set("Content-Type", "text/html; charset=utf-8")
		w.WriteHeader(d.Status)
		_, _ = w.Write(d.Body)
		return
	}
	problem.Write(w, r, d.Status, strings.ToLower(http.StatusText(d.Status)))
}

func retryAfter(d time.Duration) string {
	return formatInt(int64((d + time.Second - 1) / time.Second))
}
