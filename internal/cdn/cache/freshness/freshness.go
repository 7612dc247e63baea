package freshness

import "time"

// Freshness says what may be done with an answer, and for how long.
type Freshness struct {
	// Share: it may be given to others who are asking for the same at this moment.
	Share bool
	// Store: it may be kept for requests to come.
	Store bool
	// Lifetime is how long it is fresh, counted from its making at the origin (RFC 9111 §4.2.1).
	Lifetime time.Duration
	// InitialAge is how old it was when it came (§4.2.3: corrected_initial_age), at Received.
	InitialAge time.Duration
	Received   time.Time
	// StaleIfError is how long after Lifetime it may be served while the origin fails,
	// StaleWhileRevalidate how long while it is asked for again; 0 where the origin forbids it.
	StaleIfError, StaleWhileRevalidate time.Duration
	// Revalidate: it must never be served stale (must-revalidate, proxy-revalidate, s-maxage, no-cache).
	Revalidate bool
	// NoCache: it must be validated before every use. Lifetime is 0 then.
	NoCache bool
	// Vary are the request fields that selected it, canonical and sorted; nil if there are none.
	Vary []string
}

// Use says how a stored object may be used for a request.
type Use int

// What can be done with a stored object.
const (
	Validate           Use = iota // ask the origin before it is served
	Serve                         // serve it
	ServeAndRevalidate            // serve it, stale as it is, and ask the origin meanwhile
)

// Age returns the age at now (RFC 9111 §4.2.3: current_age).
func (f Freshness) Age(now time.Time) time.Duration {
	return f.InitialAge + max(0, now.Sub(f.Received))
}

// TTL returns what is left of the lifetime at now; negative when it is over.
func (f Freshness) TTL(now time.Time) time.Duration { return f.Lifetime - f.Age(now) }

// Fresh reports whether it is fresh at now.
func (f Freshness) Fresh(now time.Time) bool { return f.TTL(now) > 0 }

// Usable says how it may be used at now for a request with these directives (RFC 9111 §4, §4.2.4, §5.2.1,
// RFC 5861 §3). A request's no-store does not keep it from being served (§5.2.1.5).
func (f Freshness) Usable(now time.Time, rc RequestControl) Use {
	age := f.Age(now)
	ttl := f.Lifetime - age
	switch {
	case f.NoCache || rc.NoCache,
		rc.HasMaxAge && age > rc.MaxAge,
		rc.HasMinFresh && ttl < rc.MinFresh:
		return Validate
	case ttl > 0:
		return Serve
	case f.Revalidate:
		return Validate
	case rc.HasMaxStale && -ttl <= rc.MaxStale:
		return ServeAndRevalidate
	case rc.HasMaxAge || rc.HasMinFresh:
		return Validate // who names a limit does not want it stale (§5.2.1.1)
	case f.StaleWhileRevalidate > 0 && -ttl <= f.StaleWhileRevalidate:
		return ServeAndRevalidate
	}
	return Validate
}

// UsableOnError reports whether it may be served at now if the origin fails (RFC 5861 §4, RFC 9111
// §4.2.4): as long as the origin allowed, or the request does. What else the request asked for is advice
// that cannot be followed now.
func (f Freshness) UsableOnError(now time.Time, rc RequestControl) bool {
	ttl := f.TTL(now)
	switch {
	case f.NoCache:
		return false
	case ttl > 0:
		return true
	case f.Revalidate:
		return false
	case rc.HasMaxStale && -ttl <= rc.MaxStale:
		return true
	case rc.HasStaleIfError:
		return -ttl <= rc.StaleIfError
	}
	return f.StaleIfError > 0 && -ttl <= f.StaleIfError
}

// Expire returns it as it is after a soft purge: stale from now on, and usable as long as a stale one is.
func (f Freshness) Expire(now time.Time) Freshness {
	f.Lifetime = min(f.Lifetime, f.Age(now))
	return f
}

// OriginFailed reports whether an answer with this status is an error in the sense of stale-if-error
// (RFC 5861 §4): one that a stale answer may take the place of.
func OriginFailed(status int) bool {
	return status == 500 || status == 502 || status == 503 || status == 504
}
