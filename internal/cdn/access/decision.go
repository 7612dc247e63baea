package access

import (
	"net/http"
	"net/netip"
	"time"

	"github.com/weir-stream/weir/internal/cdn/access/token"
)

// Request is what is asked.
type Request struct {
	Method, Host string
	// Path and RawQuery are as they stand in the request line, escaped.
	Path, RawQuery string
	Header         http.Header
	// Client is who asks, behind whatever proxies are trusted.
	Client netip.Addr
	TLS    bool
	// Now is when; zero: now.
	Now time.Time
}

// Reason is a word for the log: why a request was refused.
type Reason = token.Reason

// Why a request is refused, beside what may be wrong with its token.
const (
	PathMalformed   Reason = "path-malformed"   // it cannot be decoded, so that nobody knows its rule
	AddressBlocked  Reason = "address-blocked"  // in a block list
	AddressUnlisted Reason = "address-unlisted" // in no list
	GeoDenied       Reason = "geo-denied"       // in a place where it may not be read
	GeoUnknown      Reason = "geo-unknown"      // in a place that is not known
	Referrer        Reason = "referrer"         // from a page that may not use it
	Challenged      Reason = "challenge"        // its network is challenged, and it has not answered
	RateAddress     Reason = "rate-address"     // too many requests of its address
	RateSubject     Reason = "rate-subject"     // too many requests of its token's subject
	RateTenant      Reason = "rate-tenant"      // too many requests of its tenant
	ReplayFull      Reason = "replay-full"      // its token is good once, and no more of those can be remembered
)

// Decision says what becomes of a request.
type Decision struct {
	Allow bool
	// Status, Reason and RetryAfter are those of a refusal. The viewer gets the status, the log the reason.
	Status     int
	Reason     string
	RetryAfter time.Duration
	// SetHeader are fields for the answer to a refusal; Body its body, nil: none. HEAD gets the fields.
	SetHeader http.Header
	Body      []byte
	// Grant is what an allowed request was granted.
	Grant Grant
	// Path is the path of the object, clean and not escaped, if a token was taken out of the path that was
	// asked for; else "".
	Path string
	// StripQuery are the names of arguments that are credentials. They belong neither into the key nor to the
	// origin. It is shared and not to be changed.
	StripQuery []string

	detail error // what is wrong with the credential, for [Chain.Explain]
}

// Grant is what somebody may read, and who it is.
type Grant struct {
	Tenant, Subject, Session string
	// Prefix begins the paths that may be read; it is a whole path where no more is known.
	Prefix string
	// Expires is until when; zero: for ever.
	Expires time.Time
}

// refusal returns the decision to refuse for a reason.
func refusal(reason Reason, strip []string) Decision {
	d := Decision{Status: http.StatusForbidden, Reason: string(reason), StripQuery: strip}
	switch reason {
	case PathMalformed:
		d.Status = http.StatusBadRequest
	case RateAddress, RateSubject, RateTenant, Challenged, ReplayFull:
		d.Status = http.StatusTooManyRequests
		d.RetryAfter = time.Second
	}
	return d
}
