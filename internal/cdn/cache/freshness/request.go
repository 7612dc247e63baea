package freshness

import (
	"net/http"
	"strings"
	"time"
)

// RequestControl are the directives of a request that matter to a cache (RFC 9111 §5.2.1, RFC 5861 §4).
// They are advice: a cache that takes none is given the zero value.
type RequestControl struct {
	NoStore, NoCache, OnlyIfCached bool

	MaxAge, MinFresh, MaxStale, StaleIfError             time.Duration
	HasMaxAge, HasMinFresh, HasMaxStale, HasStaleIfError bool
}

// ParseRequest returns the directives of a request. A Pragma counts only where there is no Cache-Control
// (RFC 9111 §5.4).
func ParseRequest(h http.Header) RequestControl {
	var c RequestControl
	lines := h[controlField]
	if len(lines) == 0 {
		for _, line := range h["Pragma"] {
			c.pragma(line)
		}
		return c
	}
	for _, line := range lines {
		c.parse(line)
	}
	return c
}

// ParseRequestFields is [ParseRequest] for a request whose fields are not in a header. An empty
// Cache-Control counts as none.
func ParseRequestFields(cacheControl, pragma []byte) RequestControl {
	var c RequestControl
	switch {
	case len(cacheControl) > 0:
		c.parse(string(cacheControl))
	case len(pragma) > 0:
		c.pragma(string(pragma))
	}
	return c
}

func (c *RequestControl) parse(rest string) {
	for rest != "" {
		var d directive
		d, rest = nextDirective(rest)
		c.set(d)
	}
}

func (c *RequestControl) pragma(rest string) {
	for rest != "" {
		var d directive
		d, rest = nextDirective(rest)
		c.NoCache = c.NoCache || strings.EqualFold(d.name, "no-cache")
	}
}

func (c *RequestControl) set(d directive) {
	var buf [nameBytes]byte
	switch string(fold(&buf, d.name)) {
	case "no-store":
		c.NoStore = true
	case "no-cache":
		c.NoCache = true
	case "only-if-cached":
		c.OnlyIfCached = true
	case "max-age":
		d.limit(&c.MaxAge, &c.HasMaxAge)
	case "min-fresh":
		d.limit(&c.MinFresh, &c.HasMinFresh)
	case "stale-if-error":
		d.limit(&c.StaleIfError, &c.HasStaleIfError)
	case "max-stale":
		if d.value == "" && !d.malformed && !c.HasMaxStale {
			c.MaxStale, c.HasMaxStale = maxDelta, true // however stale (§5.2.1.2)
			return
		}
		d.limit(&c.MaxStale, &c.HasMaxStale)
	}
}

// limit takes the value of a directive unless there is one. What is no number asks for nothing.
func (d directive) limit(limit *time.Duration, has *bool) {
	if d.malformed || *has {
		return
	}
	*limit, *has = parseDelta(d.value)
}
