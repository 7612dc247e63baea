package freshness

import (
	"net/http"
	"net/url"
	"time"

	"github.com/weir-stream/weir/internal/cdn"
)

// Exchange is a request to the origin and its answer.
type Exchange struct {
	Kind   cdn.ObjectKind
	Method string // "" is GET
	// URL is the target URI. Only an answer to POST needs it.
	URL    *url.URL
	Status int
	// Request is the header as the origin was given it: what was not forwarded cannot have mattered.
	Request  http.Header
	Response http.Header
	// Requested is when the request was sent, Received when the head of the answer came.
	Requested, Received time.Time
}

// Evaluate says what may be done with the answer.
func (c *Config) Evaluate(x Exchange) Freshness {
	ctl, targeted := c.control(x.Response)
	rule := c.Rules.Of(x.Kind)
	vary, anything := varyOf(x.Response)
	overridden := rule.Override && x.Status < 300
	f := Freshness{
		Received:   x.Received,
		InitialAge: initialAge(x),
		Vary:       vary,
		// s-maxage forbids to serve stale as proxy-revalidate does (§5.2.2.10).
		Revalidate: ctl.mustRevalidate || ctl.proxyRevalidate || ctl.sharedMaxAge.given || ctl.noCache,
		NoCache:    ctl.noCache && !overridden,
	}

	lifetime, explicit := explicitLifetime(ctl, targeted, x)
	// What may be one person's is given to others only if somebody says so in words.
	mine := personal(x) && !explicit && !ctl.public && !overridden
	heuristic := false
	switch {
	case overridden:
		lifetime = rule.TTL
	case explicit:
	case x.Status < 300 && rule.TTL > 0:
		lifetime = rule.TTL
	case !mine && (heuristicallyCacheable(x.Status) || ctl.public):
		lifetime = rule.heuristicLifetime(x)
		heuristic = lifetime > 0
	}
	if f.NoCache {
		lifetime = 0
	}

	allowed := !anything && !mine && allows(ctl, x)
	f.Share = shares(allowed, x)
	storable := allowed && c.storable(x, explicit)
	switch {
	case x.Status == http.StatusNotFound || x.Status == http.StatusGone:
		if !explicit && !heuristic && !f.NoCache {
			lifetime = c.NegativeTTL
		}
		if !rule.TrustErrors {
			lifetime = min(lifetime, c.NegativeTTL)
		}
		f.Store = storable && lifetime > 0
	case x.Status >= 400:
		if !rule.TrustErrors {
			lifetime = 0
		}
		f.Store = storable && lifetime > 0
	case x.Status == http.StatusOK, x.Status == http.StatusNonAuthoritativeInfo, x.Status == http.StatusPartialContent:
		// Without a lifetime it can still save the body, if the origin can be asked whether it changed.
		// Other statuses cannot: an origin evaluates conditions only for these (RFC 9110 §13.2.1).
		f.Store = storable && (lifetime > 0 || hasValidator(x.Response) || ctl.usefulStale())
	default:
		f.Store = storable && lifetime > 0
	}
	f.Lifetime = lifetime
	if f.Store {
		c.allowStale(&f, ctl, x.Status)
	}
	return f
}

// allowStale says how long after its lifetime the answer may be served (RFC 9111 §4.2.4, RFC 5861).
func (c *Config) allowStale(f *Freshness, ctl control, status int) {
	if f.Revalidate || status >= 500 {
		return
	}
	if status < 400 {
		f.StaleIfError, f.StaleWhileRevalidate = c.StaleIfError, c.StaleWhileRevalidate
	}
	if ctl.staleIfError.given {
		f.StaleIfError = ctl.staleIfError.d
	}
	if ctl.staleWhileRevalidate.given {
		f.StaleWhileRevalidate = ctl.staleWhileRevalidate.d
	}
}

// usefulStale reports whether the origin allows to serve it although it has no lifetime.
func (c *control) usefulStale() bool {
	return (c.staleIfError.d > 0 || c.staleWhileRevalidate.d > 0) &&
		!c.mustRevalidate && !c.proxyRevalidate && !c.sharedMaxAge.given && !c.noCache
}

// allows reports whether the directives let a shared cache keep the answer (RFC 9111 §3).
func allows(ctl control, x Exchange) bool {
	switch {
	case ctl.private, ParseRequest(x.Request).NoStore:
		return false
	case ctl.mustUnderstand:
		// §5.2.2.3: no-store beside it is for caches that do not know the status.
		if !understood(x.Status) {
			return false
		}
	case ctl.noStore:
		return false
	}
	// §3.5
	return len(x.Request["Authorization"]) == 0 || ctl.public || ctl.mustRevalidate || ctl.sharedMaxAge.given
}

// shares reports whether others who wait for the same may be given the answer.
func shares(allowed bool, x Exchange) bool {
	switch {
	case x.Method != "" && x.Method != http.MethodGet, x.Status == http.StatusPartialContent:
		return false
	case x.Status >= 500:
		// Each who waits would be told the same, and asking a failing origin once per viewer makes it
		// worse; unless somebody's credentials brought it about.
		return allowed || !has(x.Request, "Authorization", "Cookie")
	case x.Status >= 400:
		return allowed || !has(x.Request, "Authorization", "Cookie", "Forwarded", "X-Forwarded-For", "X-Real-Ip")
	}
	return allowed
}

// storable reports whether the method and the status are such that the answer can answer a later GET.
func (c *Config) storable(x Exchange, explicit bool) bool {
	switch x.Status {
	case http.StatusNotModified, http.StatusPreconditionFailed, http.StatusRequestedRangeNotSatisfiable:
		return false // they answer the conditions of one request
	case http.StatusPartialContent:
		if _, ok := ParseContentRange(x.Response); !ok || !has(x.Request, "Range") {
			return false
		}
	}
	switch x.Method {
	case "", http.MethodGet:
		return x.Status >= 200
	case http.MethodPost:
		// RFC 9110 §9.3.3: with a lifetime, and if it says that it is what a GET of the same URI answers.
		return x.Status == http.StatusOK && explicit && locates(x.URL, x.Response)
	}
	return false
}

// personal reports whether the answer may be meant for one person.
func personal(x Exchange) bool {
	return has(x.Request, "Cookie") || has(x.Response, "Set-Cookie", "Set-Cookie2")
}

func hasValidator(h http.Header) bool { return has(h, "Etag", "Last-Modified") }

// has reports whether h has one of the fields.
func has(h http.Header, names ...string) bool {
	for _, name := range names {
		if len(h[name]) > 0 {
			return true
		}
	}
	return false
}

// heuristicallyCacheable reports whether answers with this status may be kept although nobody says how
// long (RFC 9110 §15.1).
func heuristicallyCacheable(status int) bool {
	switch status {
	case 200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501:
		return true
	}
	return false
}

// understood reports whether the caching rules of the status are known here: those of all that RFC 9110
// §15 defines.
func understood(status int) bool {
	switch {
	case 200 <= status && status <= 206, 300 <= status && status <= 308 && status != 306,
		400 <= status && status <= 417 && status != 402, 500 <= status && status <= 505:
		return true
	}
	return status == 421 || status == 422 || status == 426
}

// explicitLifetime returns the freshness lifetime that the origin gives (RFC 9111 §4.2.1). Where a
// targeted field counts, Expires does not (RFC 9213 §2.2).
func explicitLifetime(ctl control, targeted bool, x Exchange) (time.Duration, bool) {
	switch {
	case ctl.sharedMaxAge.given:
		return ctl.sharedMaxAge.d, true
	case ctl.maxAge.given:
		return ctl.maxAge.d, true
	}
	expires := x.Response["Expires"]
	if targeted || len(expires) == 0 {
		return 0, false
	}
	until, ok := ParseDate(expires[0], x.Received)
	if !ok {
		return 0, true // "0" and other invalid dates are in the past (§5.3)
	}
	return min(max(0, until.Sub(dateOf(x))), maxDelta), true
}

// heuristicLifetime is the lifetime of an answer for which the origin gives none (RFC 9111 §4.2.2).
func (r *Rule) heuristicLifetime(x Exchange) time.Duration {
	lines := x.Response["Last-Modified"]
	if r.Heuristic <= 0 || len(lines) == 0 {
		return 0
	}
	modified, ok := ParseDate(lines[0], x.Received)
	if !ok {
		return 0
	}
	since := max(0, dateOf(x).Sub(modified))
	return min(time.Duration(float64(since)*r.Heuristic), r.HeuristicMax, maxDelta)
}

// dateOf returns when the answer was made, as far as the origin says so.
func dateOf(x Exchange) time.Time {
	if lines := x.Response["Date"]; len(lines) > 0 {
		if date, ok := ParseDate(lines[0], x.Received); ok {
			return date
		}
	}
	return x.Received.Truncate(time.Second)
}

// initialAge is corrected_initial_age (RFC 9111 §4.2.3); the package comment has the choices.
func initialAge(x Exchange) time.Duration {
	apparent := min(max(0, x.Received.Truncate(time.Second).Sub(dateOf(x))), maxDelta)
	delay := max(0, x.Received.Sub(x.Requested))
	lines := x.Response["Age"]
	var age time.Duration
	ok := false
	if len(lines) > 0 {
		// Of several members only the first counts, and what is no number does not (§5.1).
		age, ok = parseDelta(firstMember(lines[0]))
	}
	if !ok && x.Kind != cdn.Other && x.Kind != "" {
		return apparent
	}
	return max(apparent, age+delay)
}
