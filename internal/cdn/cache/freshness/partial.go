package freshness

import (
	"net/http"
	"strings"
)

// ContentRange are the bytes of an object that a 206 brings: from First to Last, of Length, which is -1
// if the origin does not say (RFC 9110 §14.4).
type ContentRange struct{ First, Last, Length int64 }

// ParseContentRange reads the Content-Range of a 206 with one part; false if it has none, or one that
// contradicts itself.
func ParseContentRange(h http.Header) (ContentRange, bool) {
	lines := h["Content-Range"]
	if len(lines) != 1 {
		return ContentRange{}, false
	}
	unit, rest, ok := strings.Cut(trimSpace(lines[0]), " ")
	if !ok || !strings.EqualFold(unit, "bytes") {
		return ContentRange{}, false
	}
	positions, length, ok := strings.Cut(trimSpace(rest), "/")
	from, to, dash := strings.Cut(positions, "-")
	if !ok || !dash {
		return ContentRange{}, false
	}
	r := ContentRange{Length: -1}
	var fromOK, toOK bool
	r.First, fromOK = parseOffset(from)
	r.Last, toOK = parseOffset(to)
	if length != "*" {
		if r.Length, ok = parseOffset(length); !ok || r.Last >= r.Length {
			return ContentRange{}, false
		}
	}
	return r, fromOK && toOK && r.First <= r.Last
}

// parseOffset parses digits; false if they are none, or more than any object has bytes.
func parseOffset(s string) (int64, bool) {
	if s == "" || len(s) > 18 {
		return 0, false
	}
	var n int64
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + int64(s[i]-'0')
	}
	return n, true
}

// Combines reports whether the bytes of two answers may be put together (RFC 9111 §3.4): if both have the
// same strong validator.
func Combines(stored, partial http.Header) bool {
	a, b := first(stored, "Etag"), first(partial, "Etag")
	return strings.HasPrefix(a, `"`) && a == b
}
