package cache

import (
	"net/http"
	"strings"
	"time"

	"github.com/weir-stream/weir/internal/cdn"
)

// Freshness says what may be done with an answer, and for how long.
type Freshness struct {
	// Share: it may be given to others than the one whose request it answers.
	Share bool
	// Store: it may be kept for requests to come.
	Store bool
	// Lifetime is how long it is fresh, counted from its making at the origin (RFC 9111 §4.2.1).
	Lifetime time.Duration
	// InitialAge is how old it was when it came (§4.2.3: corrected_initial_age), at Received.
	InitialAge time.Duration
	Received   time.Time
	// StaleIfError is how long after Lifetime it may be served while the origin fails.
	StaleIfError time.Duration
}

// Age returns the age at now (RFC 9111 §4.2.3: current_age).
func (f Freshness) Age(now time.Time) time.Duration {
	return f.InitialAge + max(0, now.Sub(f.Received))
}

// TTL returns what is left of the lifetime at now; negative when it is over.
func (f Freshness) TTL(now time.Time) time.Duration { return f.Lifetime - f.Age(now) }

// Fresh reports whether it is fresh at now.
func (f Freshness) Fresh(now time.Time) bool { return f.TTL(now) > 0 }

// UsableOnError reports whether it may be served at now if the origin fails.
func (f Freshness) UsableOnError(now time.Time) bool { return f.TTL(now)+f.StaleIfError > 0 }

// Evaluate says what may be done with an answer of this status and header about an object of this
// kind, asked for at requested and received at received.
func (c *Config) Evaluate(kind cdn.ObjectKind, status int, h http.Header, requested, received time.Time) Freshness {
	cc := ParseControl(h["Cache-Control"])
	rule := c.Rules[kind]
	forbidden := cc.NoStore || cc.Private || variesOnAll(h)
	f := Freshness{
		Received:   received,
		InitialAge: initialAge(h, requested, received),
		// An error is shared whatever it says: the fetch carries nothing of a client, so each who
		// waits would be told the same, and asking a failing origin once per client makes it worse.
		Share: status >= 400 || !forbidden && status != http.StatusPartialContent,
	}
	lifetime, explicit := explicitLifetime(cc, h, received)
	switch {
	case status < 300 && rule.Override:
		lifetime, explicit = rule.TTL, true
	case status < 300 && !explicit:
		lifetime, explicit = rule.TTL, rule.TTL > 0
	}
	if cc.NoCache && !rule.Override {
		lifetime = 0
	}
	f.Lifetime = lifetime

	switch {
	case forbidden || !f.Share:
	case status == http.StatusNotFound || status == http.StatusGone:
		// Negative caching: never longer than the configuration says, whatever the origin says.
		if !explicit {
			lifetime = c.NegativeTTL
		}
		f.Lifetime = min(lifetime, c.NegativeTTL)
		f.Store = f.Lifetime > 0
	case status >= 400:
		f.Lifetime = 0
	case status == http.StatusOK:
		// Without a lifetime it can still save the body, if the origin can be asked whether it changed.
		f.Store = f.Lifetime > 0 || h.Get("Etag") != "" || h.Get("Last-Modified") != ""
		if !cc.MustRevalidate && !cc.NoCache && !cc.HasSharedMaxAge {
			// s-maxage forbids to serve stale as proxy-revalidate does (§5.2.2.10).
			f.StaleIfError = c.StaleIfError
			if cc.HasStaleIfError {
				f.StaleIfError = cc.StaleIfError
			}
		}
	default:
		f.Store = explicit && f.Lifetime > 0
	}
	return f
}

// explicitLifetime returns the freshness lifetime that the origin gives (RFC 9111 §4.2.1). There are no
// heuristics.
func explicitLifetime(cc Control, h http.Header, received time.Time) (time.Duration, bool) {
	switch {
	case cc.HasSharedMaxAge:
		return cc.SharedMaxAge, true
	case cc.HasMaxAge:
		return cc.MaxAge, true
	}
	expires := h["Expires"]
	if len(expires) == 0 {
		return 0, false
	}
	until, err := http.ParseTime(expires[0])
	if err != nil {
		return 0, true // "0" and other invalid dates are in the past (§5.3)
	}
	from, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		from = received
	}
	return max(0, until.Sub(from)), true
}

// initialAge is corrected_initial_age (RFC 9111 §4.2.3), with two choices that the section leaves.
// Date has whole seconds, so the time of receipt is cut to whole seconds too: else a lifetime of one
// second would be half over on arrival. And the delay of the response counts only if the answer came
// through another cache, which Age tells: an origin that was made to wait (blocking playlist reload)
// makes its answer at the end of the wait.
func initialAge(h http.Header, requested, received time.Time) time.Duration {
	var apparent time.Duration
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		apparent = max(0, received.Truncate(time.Second).Sub(date))
	}
	values := h["Age"]
	if len(values) == 0 {
		return apparent
	}
	// Of a list only the first member counts, and what is no number does not (§5.1).
	first, _, _ := strings.Cut(values[0], ",")
	age, ok := parseDelta(trimSpace(first))
	if !ok {
		return apparent
	}
	return max(apparent, age+received.Sub(requested))
}

// variesOnAll reports whether the answer is for one request only (RFC 9111 §4.1). Other values of Vary
// cannot matter: the edge asks the origin for an object always in the same words.
func variesOnAll(h http.Header) bool {
	for _, line := range h["Vary"] {
		for member := range strings.SplitSeq(line, ",") {
			if trimSpace(member) == "*" {
				return true
			}
		}
	}
	return false
}
