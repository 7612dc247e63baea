package message

import (
	"strconv"
	"strings"
	"time"

	"github.com/weir-stream/weir/internal/cdn"
)

// Forward says why a request went to the origin (RFC 9211 §2.2).
type Forward string

// The reasons of RFC 9211 §2.2 that this edge has.
const (
	NotForwarded Forward = ""
	URIMiss      Forward = "uri-miss"
	VaryMiss     Forward = "vary-miss"
	StaleMiss    Forward = "stale"
	Partial      Forward = "partial"
	Bypass       Forward = "bypass"
	Method       Forward = "method"
	RequestMiss  Forward = "request"
)

// CacheStatus is what a Cache-Status member of this edge says (RFC 9211 §2).
type CacheStatus struct {
	Forward       Forward
	ForwardStatus int
	Collapsed     bool
	Stored        bool
	HasTTL        bool
	TTL           time.Duration
	Detail        string // a token
}

// Encode returns the member; edge is already in wire form.
func (s CacheStatus) Encode(edge string) string {
	return string(s.Append(make([]byte, 0, 96), edge))
}

// Append appends the member to b; edge is already in wire form.
func (s CacheStatus) Append(b []byte, edge string) []byte {
	b = append(b, edge...)
	if s.Forward == NotForwarded {
		b = append(b, "; hit"...)
	} else {
		b = append(b, "; fwd="...)
		b = append(b, s.Forward...)
		if s.ForwardStatus != 0 {
			b = append(b, "; fwd-status="...)
			b = strconv.AppendInt(b, int64(s.ForwardStatus), 10)
		}
		if s.Collapsed {
			b = append(b, "; collapsed"...)
		}
		if s.Stored {
			b = append(b, "; stored"...)
		}
	}
	if s.HasTTL {
		b = append(b, "; ttl="...)
		// Whole seconds, downwards: what has been over for half a second is -1, not 0.
		seconds := int64(s.TTL / time.Second)
		if s.TTL < 0 && s.TTL%time.Second != 0 {
			seconds--
		}
		b = strconv.AppendInt(b, seconds, 10)
	}
	if s.Detail != "" {
		b = append(b, "; detail="...)
		b = append(b, s.Detail...)
	}
	return b
}

// ForwardOf returns why a request for which the cache gave this reason went forward.
func ForwardOf(reason cdn.MissReason) Forward {
	switch reason {
	case cdn.Expired:
		return StaleMiss
	case cdn.Ranged:
		return Partial
	default:
		return URIMiss
	}
}

// WireName returns name as an sf-token where it is one, else as an sf-string (RFC 8941 §3.3).
func WireName(name string) string {
	if IsToken(name) {
		return name
	}
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(name) {
		switch c := name[i]; {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < ' ' || c > '~':
			b.WriteByte('_')
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// IsToken reports whether s is an sf-token (RFC 8941 §3.3.4).
func IsToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		switch {
		case letter || c == '*':
		case i > 0 && ('0' <= c && c <= '9' || strings.IndexByte(":/!#$%&'+-.^_`|~", c) >= 0):
		default:
			return false
		}
	}
	return s != ""
}
