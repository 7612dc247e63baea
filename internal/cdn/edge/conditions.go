package edge

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// span are the bytes from start up to, not including, end.
type span struct{ start, end int64 }

// notModified reports whether the client already has the object with these validators
// (RFC 9110 §13.2.2; If-Match and If-Unmodified-Since are not for caches, RFC 9111 §4.3.2).
func notModified(h http.Header, etag string, modified time.Time) bool {
	if lines := h["If-None-Match"]; len(lines) > 0 {
		for _, line := range lines {
			if anyETag(line, etag) {
				return true
			}
		}
		return false
	}
	since := h.Get("If-Modified-Since")
	if since == "" || modified.IsZero() {
		return false
	}
	t, err := http.ParseTime(since)
	return err == nil && !modified.After(t)
}

// anyETag reports whether one of the listed entity tags is etag, by weak comparison.
func anyETag(list, etag string) bool {
	for {
		list = strings.TrimLeft(list, " \t,")
		if list == "" {
			return false
		}
		if list[0] == '*' {
			return true
		}
		tag, rest, ok := cutETag(list)
		if !ok {
			return false
		}
		if etag != "" && strings.TrimPrefix(tag, "W/") == strings.TrimPrefix(etag, "W/") {
			return true
		}
		list = rest
	}
}

// cutETag splits an entity tag off s.
func cutETag(s string) (tag, rest string, ok bool) {
	start := 0
	if strings.HasPrefix(s, "W/") {
		start = 2
	}
	if len(s) <= start || s[start] != '"' {
		return "", "", false
	}
	end := strings.IndexByte(s[start+1:], '"')
	if end < 0 {
		return "", "", false
	}
	end += start + 2
	return s[:end], s[end:], true
}

// rangeApplies evaluates If-Range (RFC 9110 §13.1.5): the range is of use only if the client's part is of
// the very same object.
func rangeApplies(h http.Header, etag string, lastModified string) bool {
	condition := h.Get("If-Range")
	switch {
	case condition == "":
		return true
	case strings.HasPrefix(condition, `"`):
		return condition == etag
	default:
		// A date counts only if it is exactly that of the object. A weak tag never counts.
		return lastModified != "" && condition == lastModified
	}
}

// rangeResult says what a Range header asks for.
type rangeResult int

const (
	wholeObject   rangeResult = iota // no range, or one that may be ignored
	onePart                          // 206
	unsatisfiable                    // 416
)

// parseRange evaluates a Range header against an object of the given length (RFC 9110 §14.1.2). One part
// is served; several are not, they get the whole object (§14.2 allows it; §17.15 advises it).
func parseRange(header string, length int64) (span, rangeResult) {
	unit, spec, ok := strings.Cut(header, "=")
	if !ok || !strings.EqualFold(unit, "bytes") || strings.Contains(spec, ",") {
		return span{}, wholeObject
	}
	from, to, ok := strings.Cut(strings.Trim(spec, " \t"), "-")
	if !ok {
		return span{}, wholeObject
	}
	if from == "" {
		n, ok := parseOffset(to)
		switch {
		case !ok:
			return span{}, wholeObject
		case n == 0 || length == 0:
			return span{}, unsatisfiable
		}
		return span{max(0, length-n), length}, onePart
	}
	start, ok := parseOffset(from)
	if !ok {
		return span{}, wholeObject
	}
	end := length
	if to != "" {
		last, ok := parseOffset(to)
		if !ok || last < start {
			return span{}, wholeObject
		}
		if last < length-1 {
			end = last + 1
		}
	}
	if start >= length {
		return span{}, unsatisfiable
	}
	return span{start, end}, onePart
}

// parseOffset parses digits; what is too large for any object is still a number.
func parseOffset(s string) (int64, bool) {
	const largest = 1<<62 - 1
	if s == "" {
		return 0, false
	}
	var n int64
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		if n > (largest-9)/10 {
			n = largest
			continue
		}
		n = n*10 + int64(s[i]-'0')
	}
	return n, true
}

func contentRange(s span, length int64) string {
	b := make([]byte, 0, 64)
	b = append(b, "bytes "...)
	b = strconv.AppendInt(b, s.start, 10)
	b = append(b, '-')
	b = strconv.AppendInt(b, s.end-1, 10)
	b = append(b, '/')
	b = strconv.AppendInt(b, length, 10)
	return string(b)
}
