package freshness

import (
	"fmt"
	"strings"
	"time"

	"github.com/weir-stream/weir/internal/cdn"
)

// Config is what users write about how long answers may be used.
type Config struct {
	// NegativeTTL is how long "there is no such object" (404, 410) is believed, unless the origin says
	// how long and the kind's rule trusts it.
	NegativeTTL time.Duration `yaml:"negative_ttl"`
	// StaleIfError is how long after its expiry an object may still be served while the origin fails,
	// unless the origin says otherwise (RFC 5861 §4).
	StaleIfError time.Duration `yaml:"stale_if_error"`
	// StaleWhileRevalidate is how long after its expiry an object may still be served while it is asked
	// for again, unless the origin says otherwise (RFC 5861 §3).
	StaleWhileRevalidate time.Duration `yaml:"stale_while_revalidate"`
	// StoreSetCookie keeps Set-Cookie with the object, so that everybody is given the same cookie.
	// Without it only the viewer whose request was forwarded can be given one.
	StoreSetCookie bool `yaml:"store_set_cookie"`
	// Targets are the names of the fields that are asked before Cache-Control, in order of precedence
	// (RFC 9213 §2.2).
	Targets []string `yaml:"targets"`
	// Rules are by kind of object.
	Rules Rules `yaml:"rules"`
}

// Rules are the rules by kind of object. They are fields and not a map so that a file that sets one key
// of one kind leaves the other defaults.
type Rules struct {
	Manifest Rule `yaml:"manifest"`
	Init     Rule `yaml:"init"`
	Segment  Rule `yaml:"segment"`
	Other    Rule `yaml:"other"`
}

// Of returns the rule for objects of this kind.
func (r *Rules) Of(kind cdn.ObjectKind) *Rule {
	switch kind {
	case cdn.Manifest:
		return &r.Manifest
	case cdn.Init:
		return &r.Init
	case cdn.Segment:
		return &r.Segment
	case cdn.Other:
		return &r.Other
	default:
		return &r.Other
	}
}

// Rule is the freshness of one kind of object.
type Rule struct {
	// TTL is the freshness lifetime of a successful answer for which the origin gives none.
	TTL time.Duration `yaml:"ttl"`
	// Override makes TTL count even against the origin's own lifetime. What the origin forbids to
	// store is not stored all the same.
	Override bool `yaml:"override"`
	// Heuristic is the part of the time since Last-Modified for which an answer without a lifetime is
	// taken for fresh (RFC 9111 §4.2.2), 0 for none; HeuristicMax bounds it.
	Heuristic    float64       `yaml:"heuristic"`
	HeuristicMax time.Duration `yaml:"heuristic_max"`
	// TrustErrors keeps an error as long as the origin says. Without it a 404 or 410 is never kept longer
	// than NegativeTTL and no other error at all: a live object can appear, and an origin recover, at any
	// moment.
	TrustErrors bool `yaml:"trust_errors"`
}

const (
	// maxNegativeTTL bounds Config.NegativeTTL: a live object can appear at any moment.
	maxNegativeTTL = time.Second
	maxTargets     = 8
	// controlField is the field that everybody's directives are in.
	controlField = "Cache-Control"
)

// DefaultConfig returns the rules of a cache that nobody has configured: what the origin says, and for
// ordinary objects the usual tenth of the time since they were modified, for a day at most.
func DefaultConfig() Config {
	return Config{
		NegativeTTL:  time.Second,
		StaleIfError: 30 * time.Second,
		Targets:      []string{"CDN-Cache-Control"},
		Rules:        Rules{Other: Rule{Heuristic: 0.1, HeuristicMax: 24 * time.Hour, TrustErrors: true}},
	}
}

// Validate reports the first value that cannot be.
func (c Config) Validate() error {
	switch {
	case c.NegativeTTL < 0 || c.NegativeTTL > maxNegativeTTL:
		return fmt.Errorf("negative_ttl is %v; a duration from 0s to %v is expected", c.NegativeTTL, maxNegativeTTL)
	case c.StaleIfError < 0:
		return fmt.Errorf("stale_if_error is %v; a duration of 0s or more is expected", c.StaleIfError)
	case c.StaleWhileRevalidate < 0:
		return fmt.Errorf("stale_while_revalidate is %v; a duration of 0s or more is expected", c.StaleWhileRevalidate)
	case len(c.Targets) > maxTargets:
		return fmt.Errorf("targets has %d names; at most %d are expected", len(c.Targets), maxTargets)
	}
	for _, name := range c.Targets {
		if !isToken(name) || strings.EqualFold(name, controlField) || strings.EqualFold(name, "Expires") {
			return fmt.Errorf("targets has %q; the name of a field other than Cache-Control and Expires is expected", name)
		}
	}
	for _, kind := range []cdn.ObjectKind{cdn.Manifest, cdn.Init, cdn.Segment, cdn.Other} {
		if err := c.Rules.Of(kind).validate(); err != nil {
			return fmt.Errorf("rules.%s.%w", kind, err)
		}
	}
	return nil
}

func (r *Rule) validate() error {
	switch {
	case r.TTL < 0:
		return fmt.Errorf("ttl is %v; a duration of 0s or more is expected", r.TTL)
	case !(r.Heuristic >= 0 && r.Heuristic <= 1): // NaN is neither
		return fmt.Errorf("heuristic is %v; a number from 0 to 1 is expected", r.Heuristic)
	case r.HeuristicMax < 0:
		return fmt.Errorf("heuristic_max is %v; a duration of 0s or more is expected", r.HeuristicMax)
	case r.Heuristic > 0 && r.HeuristicMax == 0:
		return fmt.Errorf("heuristic_max is 0s; a duration is expected, because heuristic is %v", r.Heuristic)
	}
	return nil
}
