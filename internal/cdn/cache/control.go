package cache

import (
	"strings"
	"time"
)

// Control are the directives of a response's Cache-Control that matter to a shared cache.
type Control struct {
	NoStore, NoCache, Private bool
	MustRevalidate            bool // must-revalidate or proxy-revalidate

	MaxAge, SharedMaxAge, StaleIfError          time.Duration
	HasMaxAge, HasSharedMaxAge, HasStaleIfError bool
}

// maxDelta is the largest number of seconds that is told apart (RFC 9111 §1.2.2).
const maxDelta = 1<<31 - 1

// ParseControl parses the values of Cache-Control fields (RFC 9111 §5.2). It is on the safe side: a
// lifetime that is no number counts as 0 (§4.2.1), of one that is given twice the smaller one counts,
// and private and no-cache count as a whole even where they name fields.
func ParseControl(values []string) Control {
	var c Control
	for _, rest := range values {
		for rest != "" {
			var name, value string
			name, value, rest = nextDirective(rest)
			c.set(name, value)
		}
	}
	return c
}

func (c *Control) set(name, value string) {
	switch strings.ToLower(name) {
	case "no-store":
		c.NoStore = true
	case "no-cache":
		c.NoCache = true
	case "private":
		c.Private = true
	case "must-revalidate", "proxy-revalidate":
		c.MustRevalidate = true
	case "max-age":
		setDelta(&c.MaxAge, &c.HasMaxAge, value)
	case "s-maxage":
		setDelta(&c.SharedMaxAge, &c.HasSharedMaxAge, value)
	case "stale-if-error":
		setDelta(&c.StaleIfError, &c.HasStaleIfError, value)
	}
}

func setDelta(d *time.Duration, has *bool, value string) {
	n, _ := parseDelta(value)
	if !*has || n < *d {
		*d = n
	}
	*has = true
}

// parseDelta parses delta-seconds; what does not fit is as much as fits.
func parseDelta(s string) (time.Duration, bool) {
	if s == "" {
		return 0, false
	}
	var n int64
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = min(n*10+int64(s[i]-'0'), maxDelta)
	}
	return time.Duration(n) * time.Second, true
}

// nextDirective splits the first directive off s. A quoted value loses its quotes; the comma inside
// of one does not end the directive.
func nextDirective(s string) (name, value, rest string) {
	end := strings.IndexAny(s, ",=")
	if end < 0 {
		return trimSpace(s), "", ""
	}
	name = trimSpace(s[:end])
	if s[end] == ',' {
		return name, "", s[end+1:]
	}
	s = s[end+1:]
	if strings.HasPrefix(s, `"`) {
		value, rest = quoted(s[1:])
		// What stands between the closing quote and the comma is nothing that RFC 9111 knows.
		if _, after, found := strings.Cut(rest, ","); found {
			return name, value, after
		}
		return name, value, ""
	}
	value, rest, _ = strings.Cut(s, ",")
	return name, strings.TrimRight(value, " \t"), rest
}

// quoted reads a quoted-string whose opening quote has been read. One that does not end takes all.
func quoted(s string) (value, rest string) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), s[i+1:]
		case '\\':
			if i++; i < len(s) {
				b.WriteByte(s[i])
			}
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String(), ""
}

func trimSpace(s string) string { return strings.Trim(s, " \t") }
