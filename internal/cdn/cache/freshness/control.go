package freshness

import (
	"net/http"
	"net/textproto"
	"strings"
	"time"
)

// maxSeconds is what a number of seconds counts as that is too large (RFC 9111 §1.2.2).
const (
	maxSeconds = 1 << 31
	maxDelta   = maxSeconds * time.Second
)

// delta is a number of seconds that may not be given.
type delta struct {
	d     time.Duration
	given bool
}

// set takes d unless there is one: of several the first counts (RFC 9111 §4.2.1).
func (v *delta) set(d time.Duration) {
	if !v.given {
		*v = delta{d, true}
	}
}

// control are the directives of a response that matter to a shared cache (RFC 9111 §5.2.2, RFC 5861).
type control struct {
	noStore, noCache, private, public bool
	mustRevalidate, proxyRevalidate   bool
	mustUnderstand                    bool

	maxAge, sharedMaxAge               delta
	staleIfError, staleWhileRevalidate delta

	// hidden are the fields that no-cache and private name: they are not stored (§3.1).
	hidden []string
}

// control returns the directives that count for this cache: those of the first targeted field that is
// valid, and otherwise those of Cache-Control (RFC 9213 §2.2).
func (c *Config) control(h http.Header) (ctl control, targeted bool) {
	for _, name := range c.Targets {
		if lines := h.Values(name); len(lines) > 0 {
			if ctl, ok := parseTargeted(lines); ok {
				return ctl, true
			}
		}
	}
	return parseControl(h[controlField]), false
}

// parseControl parses the values of Cache-Control fields.
func parseControl(lines []string) control {
	var c control
	for _, rest := range lines {
		for rest != "" {
			var d directive
			d, rest = nextDirective(rest)
			c.set(d)
		}
	}
	return c
}

func (c *control) set(d directive) {
	if d.open {
		// Nobody can tell what was meant to be inside of the quotes.
		c.noCache = true
	}
	var buf [nameBytes]byte
	switch string(fold(&buf, d.name)) {
	case "no-store":
		c.noStore = true
	case "no-cache":
		c.noCache = !c.hide(d) || c.noCache
	case "private":
		c.private = !c.hide(d) || c.private
	case "public":
		c.public = true
	case "must-revalidate":
		c.mustRevalidate = true
	case "proxy-revalidate":
		c.proxyRevalidate = true
	case "must-understand":
		c.mustUnderstand = true
	case "max-age":
		c.maxAge.set(d.seconds())
	case "s-maxage":
		c.sharedMaxAge.set(d.seconds())
	case "stale-if-error":
		c.staleIfError.set(d.seconds())
	case "stale-while-revalidate":
		c.staleWhileRevalidate.set(d.seconds())
	}
}

// hide takes the field names that a qualified no-cache or private lists (RFC 9111 §5.2.2.4, §5.2.2.7);
// false if it lists none, and so is meant for the whole response.
func (c *control) hide(d directive) bool {
	if d.malformed {
		return false
	}
	names, ok := fieldNames(d.value)
	if ok {
		c.hidden = append(c.hidden, names...)
	}
	return ok
}

// fieldNames splits a list of field names; false if it has none, or a member that is none.
func fieldNames(list string) ([]string, bool) {
	var names []string
	for member := range strings.SplitSeq(list, ",") {
		member = trimSpace(member)
		switch {
		case member == "":
		case !isToken(member):
			return nil, false
		default:
			names = append(names, textproto.CanonicalMIMEHeaderKey(member))
		}
	}
	return names, len(names) > 0
}

// directive is one member of Cache-Control.
type directive struct {
	name, value string
	// malformed says that the value does not have the form that RFC 9111 §5.2 gives it; open, that it
	// begins with a quote that does not end.
	malformed, open bool
}

// seconds is the value as delta-seconds, 0 if it is none.
func (d directive) seconds() time.Duration {
	if d.malformed {
		return 0
	}
	n, _ := parseDelta(d.value)
	return n
}

// nextDirective splits the first directive off s. A quoted value loses its quotes; the comma inside
// of one does not end the directive.
func nextDirective(s string) (d directive, rest string) {
	end := strings.IndexAny(s, ",=")
	if end < 0 {
		return directive{name: trimSpace(s)}, ""
	}
	d.name = trimSpace(s[:end])
	if s[end] == ',' {
		return d, s[end+1:]
	}
	// There is no white space around "=" (RFC 9111 §5.2).
	d.malformed = end > 0 && isSpace(s[end-1])
	s = s[end+1:]
	if !strings.HasPrefix(s, `"`) {
		d.value, rest, _ = strings.Cut(s, ",")
		d.value = strings.TrimRight(d.value, " \t")
		d.malformed = d.malformed || d.value == "" || isSpace(d.value[0])
		return d, rest
	}
	value, after, ok := quoted(s[1:])
	if !ok {
		// What follows is read as if the quote were not there: prohibitions in it count.
		d.malformed, d.open = true, true
		return d, s[1:]
	}
	d.value = value
	trailing, rest, _ := strings.Cut(after, ",")
	d.malformed = d.malformed || trimSpace(trailing) != ""
	return d, rest
}

// quoted reads a quoted-string whose opening quote has been read; false if it does not end.
func quoted(s string) (value, rest string, ok bool) {
	end := strings.IndexAny(s, `"\`)
	if end < 0 {
		return "", "", false
	}
	if s[end] == '"' {
		return s[:end], s[end+1:], true
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), s[i+1:], true
		case '\\':
			if i++; i < len(s) {
				b.WriteByte(s[i])
			}
		default:
			b.WriteByte(s[i])
		}
	}
	return "", "", false
}

// parseDelta parses delta-seconds (RFC 9111 §1.2.2).
func parseDelta(s string) (time.Duration, bool) {
	if s == "" {
		return 0, false
	}
	var n int64
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = min(n*10+int64(s[i]-'0'), maxSeconds)
	}
	return time.Duration(n) * time.Second, true
}

// nameBytes is the length of the longest name of a directive that is known here, and one more.
const nameBytes = len("stale-while-revalidate") + 1

// fold returns name in lower case, as much of it as is needed to tell it from those that are known.
func fold(buf *[nameBytes]byte, name string) []byte {
	n := min(len(name), nameBytes)
	for i := range n {
		buf[i] = lower(name[i])
	}
	return buf[:n]
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' }

func trimSpace(s string) string { return strings.Trim(s, " \t") }

// isToken reports whether s is a token (RFC 9110 §5.6.2).
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0:
		default:
			return false
		}
	}
	return s != ""
}
