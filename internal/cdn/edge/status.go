package edge

import (
	"strconv"
	"strings"
	"time"

	"github.com/weir-stream/weir/internal/cdn"
)

// forward says why a request went to the origin (RFC 9211 §2.2).
type forward string

const (
	notForwarded forward = ""
	uriMiss      forward = "uri-miss"
	staleMiss    forward = "stale"
)

// cacheStatus is what a Cache-Status member of this edge says (RFC 9211 §2).
type cacheStatus struct {
	forward       forward
	forwardStatus int
	collapsed     bool
	stored        bool
	hasTTL        bool
	ttl           time.Duration
	detail        string // a token
}

// encode writes the member; edge is already in wire form.
func (s cacheStatus) encode(edge string) string {
	b := make([]byte, 0, 96)
	b = append(b, edge...)
	if s.forward == notForwarded {
		b = append(b, "; hit"...)
	} else {
		b = append(b, "; fwd="...)
		b = append(b, s.forward...)
		if s.forwardStatus != 0 {
			b = append(b, "; fwd-status="...)
			b = strconv.AppendInt(b, int64(s.forwardStatus), 10)
		}
		if s.collapsed {
			b = append(b, "; collapsed"...)
		}
		if s.stored {
			b = append(b, "; stored"...)
		}
	}
	if s.hasTTL {
		b = append(b, "; ttl="...)
		// Whole seconds, downwards: what has been over for half a second is -1, not 0.
		seconds := int64(s.ttl / time.Second)
		if s.ttl < 0 && s.ttl%time.Second != 0 {
			seconds--
		}
		b = strconv.AppendInt(b, seconds, 10)
	}
	if s.detail != "" {
		b = append(b, "; detail="...)
		b = append(b, s.detail...)
	}
	return string(b)
}

// forwardOf returns why a request for which the cache gave this reason went forward.
func forwardOf(reason cdn.MissReason) forward {
	if reason == cdn.Expired {
		return staleMiss
	}
	return uriMiss
}

// wireName returns name as an sf-token where it is one, else as an sf-string (RFC 8941 §3.3).
func wireName(name string) string {
	if isToken(name) {
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

func isToken(s string) bool {
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
