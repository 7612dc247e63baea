package message

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Span are the bytes from start up to, not including, end.
type Span struct{ Start, End int64 }

// NotModified reports whether the client already has the object with these validators, by what its
// If-None-Match fields and its If-Modified-Since say (RFC 9110 §13.2.2; If-Match and If-Unmodified-Since are
// not for caches, RFC 9111 §4.3.2).
func NotModified(noneMatch []string, since, etag string, modified time.Time) bool {
	if len(noneMatch) > 0 {
		for _, line := range noneMatch {
			if anyETag(line, etag) {
				return true
			}
		}
		return false
	}
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

// RangeApplies evaluates If-Range (RFC 9110 §13.1.5): the range is of use only if the client's part is of
// the very same object.
func RangeApplies(condition, etag, lastModified string) bool {
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

// RangeResult says what a Range header asks for.
type RangeResult int

// What a Range header can ask for.
const (
	WholeObject   RangeResult = iota // no range, or one that may be ignored
	OnePart                          // 206
	Unsatisfiable                    // 416
)

// ParseRange evaluates a Range header against an object of the given length (RFC 9110 §14.1.2). One part
// is served; several are not, they get the whole object (§14.2 allows it; §17.15 advises it).
func ParseRange(header string, length int64) (Span, RangeResult) {
	unit, spec, ok := strings.Cut(header, "=")
	if !ok || !strings.EqualFold(unit, "bytes") || strings.Contains(spec, ",") {
		return Span{}, WholeObject
	}
	from, to, ok := strings.Cut(strings.Trim(spec, " \t"), "-")
	if !ok {
		return Span{}, WholeObject
	}
	if from == "" {
		n, ok := parseOffset(to)
		switch {
		case !ok:
			return Span{}, WholeObject
		case n == 0 || length == 0:
			return Span{}, Unsatisfiable
		}
		return Span{max(0, length-n), length}, OnePart
	}
	start, ok := parseOffset(from)
	if !ok {
		return Span{}, WholeObject
	}
	end := length
	if to != "" {
		last, ok := parseOffset(to)
		if !ok || last < start {
			return Span{}, WholeObject
		}
		if last < length-1 {
			end = last + 1
		}
	}
	if start >= length {
		return Span{}, Unsatisfiable
	}
	return Span{start, end}, OnePart
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

// ContentRange returns the Content-Range of a part of an object of this length (RFC 9110 §14.4).
func ContentRange(s Span, length int64) string {
	b := make([]byte, 0, 64)
	b = append(b, "bytes "...)
	b = strconv.AppendInt(b, s.Start, 10)
	b = append(b, '-')
	b = strconv.AppendInt(b, s.End-1, 10)
	b = append(b, '/')
	b = strconv.AppendInt(b, length, 10)
	return string(b)
}
