package freshness

import (
	"crypto/sha256"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
)

const (
	// maxVary is the number of fields above which an answer is for one request only.
	maxVary = 32
	// maxVaryKey is the length above which a key is replaced by its digest.
	maxVaryKey = 256
	// maxWeighted is the number of members above which a list is not put in order.
	maxWeighted = 32
)

// varyOf returns the request fields that Vary names; anything says that the answer is for one request only
// (RFC 9111 §4.1): because of a "*", or of a member that is no field name.
func varyOf(h http.Header) (names []string, anything bool) {
	for _, line := range h["Vary"] {
		for member := range strings.SplitSeq(line, ",") {
			member = trimSpace(member)
			switch {
			case member == "":
			case member == "*", !isToken(member), len(names) == maxVary:
				return nil, true
			default:
				names = append(names, textproto.CanonicalMIMEHeaderKey(member))
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names), false
}

// VaryKey returns the key that tells the variants of an object apart: two requests with the same key may
// be given the same answer if it has this Vary. The header is the request's as the origin would be given
// it. It is "" if vary is empty.
func VaryKey(vary []string, h http.Header) string {
	if len(vary) == 0 {
		return ""
	}
	var buf [maxVaryKey]byte
	return string(AppendVaryKey(buf[:0], vary, h))
}

// AppendVaryKey appends what [VaryKey] returns to dst.
func AppendVaryKey(dst []byte, vary []string, h http.Header) []byte {
	start := len(dst)
	for _, name := range vary {
		dst = AppendVaryField(dst, name, h[name])
	}
	return CloseVaryKey(dst, start)
}

// AppendVaryField appends one field to a key that is made field by field, from requests whose fields are
// not in a header. The fields come in the order of Freshness.Vary; [CloseVaryKey] ends the key.
func AppendVaryField[S ~string | ~[]byte](dst []byte, name string, lines []S) []byte {
	dst = append(dst, name...)
	if len(lines) > 0 { // absent is not empty (RFC 9111 §4.1)
		dst = append(dst, ':')
		switch name {
		case "Accept-Encoding", "Accept-Language", "Accept-Charset":
			dst = appendWeighted(dst, lines)
		case "Cookie":
			dst = appendOpaque(dst, lines, "; ") // RFC 9113 §8.2.3
		case "Authorization", "Origin", "Referer", "User-Agent":
			dst = appendOpaque(dst, lines, ",")
		default:
			dst = appendList(dst, lines)
		}
	}
	return append(dst, '\n')
}

// CloseVaryKey ends the key that begins at dst[start]. A long one is replaced by its digest: a
// cryptographic one, because two requests that viewers have made up must not meet.
func CloseVaryKey(dst []byte, start int) []byte {
	if len(dst)-start <= maxVaryKey {
		return dst
	}
	sum := sha256.Sum256(dst[start:])
	return append(append(dst[:start], '#'), sum[:]...)
}

// appendOpaque joins the lines of a field in which white space may matter.
func appendOpaque[S ~string | ~[]byte](dst []byte, lines []S, separator string) []byte {
	for i, line := range lines {
		if i > 0 {
			dst = append(dst, separator...)
		}
		dst = append(dst, line...)
	}
	return dst
}

// appendList joins the lines of a field that may be a list, without the white space around its members
// (RFC 9110 §5.6.1). What is quoted stays as it is.
func appendList[S ~string | ~[]byte](dst []byte, lines []S) []byte {
	isQuoted := false
	for n, line := range lines {
		if n > 0 {
			dst = append(dst, ',')
		}
		atStart, spaces := true, 0
		for i := 0; i < len(line); i++ {
			c := line[i]
			if !isQuoted && isSpace(c) {
				if !atStart {
					spaces++ // written only if the member goes on
				}
				continue
			}
			if !isQuoted && c == ',' {
				dst = append(dst, ',')
				atStart, spaces = true, 0
				continue
			}
			for ; spaces > 0; spaces-- {
				dst = append(dst, line[i-spaces])
			}
			atStart = false
			dst = append(dst, c)
			switch {
			case c == '"':
				isQuoted = !isQuoted
			case isQuoted && c == '\\' && i+1 < len(line):
				i++
				dst = append(dst, line[i])
			}
		}
	}
	return dst
}

// weighted is a member of a list with qualities (RFC 9110 §12.4.2). Its name is line[start:end].
type weighted struct{ line, start, end, quality int }

// appendWeighted writes a list with qualities in an order of its own and in lower case: neither matters
// (RFC 9110 §12.5.3, §12.5.4). A list that is not as it should be is taken as any other.
func appendWeighted[S ~string | ~[]byte](dst []byte, lines []S) []byte {
	var members [maxWeighted]weighted
	n := 0
	for i, line := range lines {
		for start := 0; start <= len(line); {
			end := start
			for end < len(line) && line[end] != ',' {
				end++
			}
			member, empty, ok := parseWeighted(line, start, end)
			if !ok || !empty && n == maxWeighted {
				return appendList(dst, lines)
			}
			if !empty {
				member.line = i
				members[n] = member
				n++
			}
			start = end + 1
		}
	}
	list := members[:n]
	for i := 1; i < n; i++ { // few members: insertion needs no function that would allocate
		for j := i; j > 0 && compareWeighted(lines, list[j], list[j-1]) < 0; j-- {
			list[j], list[j-1] = list[j-1], list[j]
		}
	}
	for i, m := range list {
		if i > 0 {
			if compareWeighted(lines, list[i-1], m) == 0 {
				continue
			}
			dst = append(dst, ',')
		}
		for j := m.start; j < m.end; j++ {
			dst = append(dst, lower(lines[m.line][j]))
		}
		if q := m.quality; q != 1000 {
			dst = append(dst, ";q=0."...)
			dst = append(dst, byte('0'+q/100), byte('0'+q/10%10), byte('0'+q%10))
		}
	}
	return dst
}

// compareWeighted orders members by name, then by quality.
func compareWeighted[S ~string | ~[]byte](lines []S, a, b weighted) int {
	x, y := lines[a.line][a.start:a.end], lines[b.line][b.start:b.end]
	for i := range min(len(x), len(y)) {
		if p, q := lower(x[i]), lower(y[i]); p != q {
			return int(p) - int(q)
		}
	}
	if len(x) != len(y) {
		return len(x) - len(y)
	}
	return a.quality - b.quality
}

// parseWeighted parses line[start:end]: a name, and perhaps ";q=" and a number (RFC 9110 §12.4.2).
func parseWeighted[S ~string | ~[]byte](line S, start, end int) (m weighted, empty, ok bool) {
	start = min(skipSpace(line, start), end)
	for start < end && isSpace(line[end-1]) {
		end--
	}
	if start == end {
		return m, true, true
	}
	m = weighted{start: start, end: start, quality: 1000}
	for m.end < end && line[m.end] != ';' && !isSpace(line[m.end]) {
		m.end++
	}
	rest := line[m.end:end]
	if m.start == m.end {
		return m, false, false
	}
	if len(rest) == 0 {
		return m, false, true
	}
	i := skipSpace(rest, 0)
	if i == len(rest) || rest[i] != ';' {
		return m, false, false
	}
	i = skipSpace(rest, i+1)
	if len(rest)-i < 3 || lower(rest[i]) != 'q' || rest[i+1] != '=' {
		return m, false, false
	}
	m.quality, ok = parseQuality(rest[i+2:])
	return m, false, ok
}

// skipSpace returns the place of the first byte from i on that is no white space.
func skipSpace[S ~string | ~[]byte](s S, i int) int {
	for i < len(s) && isSpace(s[i]) {
		i++
	}
	return i
}

// parseQuality returns a qvalue in thousandths.
func parseQuality[S ~string | ~[]byte](s S) (int, bool) {
	if len(s) == 0 || len(s) > 5 || s[0] != '0' && s[0] != '1' || len(s) > 1 && s[1] != '.' {
		return 0, false
	}
	quality, unit := int(s[0]-'0')*1000, 100
	for i := 2; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		quality += int(s[i]-'0') * unit
		unit /= 10
	}
	return quality, quality <= 1000
}
