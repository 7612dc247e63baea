package message

import (
	"net/url"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/weir-stream/weir/cmcd"
)

// maxKeyBytes bounds a key, and so what the cache's index can be made to hold.
const maxKeyBytes = 4 << 10

// Target is what a request asks for, in the form in which it is both looked up and asked of the origin.
// That the two are the same is what makes the cache safe: no spelling of a URL can put an object where
// another spelling finds something else.
type Target struct {
	// Key is the path, escaped, and the query without CMCD, if that leaves any. It begins with Host.
	Key string
	// Host is the name under which it is asked for, where that makes a difference; "" where it makes none.
	Host string
	// Path is the path, not escaped; Query the query without CMCD.
	Path, Query string

	raw string // the path as the origin is asked, if not in the usual way of writing Path
}

// TargetOf returns the target of u in its one clean spelling; false if there can be none.
func TargetOf(u *url.URL) (Target, bool) {
	t := Target{Path: u.Path}
	if !strings.HasPrefix(t.Path, "/") || len(u.RawPath) > maxKeyBytes || len(u.Path) > maxKeyBytes {
		return Target{}, false
	}
	if u.RawQuery != "" {
		t.Query = cmcd.StripQuery(u.RawQuery)
		if !PlainQuery(t.Query) {
			return Target{}, false
		}
	}
	if Plain(t.Path) {
		t.Key = t.Path
	} else {
		if strings.ContainsFunc(t.Path, unwanted) || !utf8.ValidString(t.Path) {
			return Target{}, false
		}
		t.Path = CleanPath(t.Path)
		t.Key = (&url.URL{Path: t.Path}).EscapedPath()
	}
	if t.Query != "" {
		t.Key += "?" + t.Query
	}
	return t, len(t.Key) <= maxKeyBytes
}

// CleanPath returns a path without dot segments and double slashes; a slash at its end stays.
func CleanPath(p string) string {
	if Plain(p) {
		return p
	}
	clean := path.Clean("/" + p)
	if strings.HasSuffix(p, "/") && clean != "/" {
		clean += "/"
	}
	return clean
}

// ExactTargetOf returns the target of u in the spelling of the request, which the origin is asked in; false if
// there can be none. It is for origins that are not ours, to which a//b, a/%2e and a/. may mean what they like.
func ExactTargetOf(u *url.URL) (Target, bool) {
	t := Target{Path: u.Path, raw: u.EscapedPath()}
	if !strings.HasPrefix(t.raw, "/") || !PlainQuery(t.raw) {
		return Target{}, false
	}
	if u.RawQuery != "" {
		t.Query = cmcd.StripQuery(u.RawQuery)
		if !PlainQuery(t.Query) {
			return Target{}, false
		}
	}
	t.Key = t.raw
	if t.Query != "" {
		t.Key += "?" + t.Query
	}
	return t, len(t.Key) <= maxKeyBytes
}

// SetPath replaces the path by a clean one.
func (t *Target) SetPath(clean string) {
	t.Path, t.raw = clean, ""
	t.Key = t.Host + clean
	if !Plain(clean) {
		t.Key = t.Host + (&url.URL{Path: clean}).EscapedPath()
	}
	if t.Query != "" {
		t.Key += "?" + t.Query
	}
}

// Under says under which name the target is asked for; host is what [HostOf] returns, or "".
func (t *Target) Under(host string) {
	t.Key = host + t.Key[len(t.Host):]
	t.Host = host
}

// Strip takes arguments out of the query that are for the edge, and so neither part of the key nor for the
// origin.
func (t *Target) Strip(names []string) {
	if len(names) == 0 || t.Query == "" {
		return
	}
	path, _, _ := strings.Cut(t.Key, "?")
	t.Query, t.Key = StripArguments(t.Query, names), path
	if t.Query != "" {
		t.Key += "?" + t.Query
	}
}

// StripArguments returns a query without the arguments of these names.
func StripArguments(query string, names []string) string {
	kept := make([]string, 0, 8)
	for argument := range strings.SplitSeq(query, "&") {
		name, _, _ := strings.Cut(argument, "=")
		if !slices.Contains(names, name) {
			kept = append(kept, argument)
		}
	}
	return strings.Join(kept, "&")
}

// Plain reports whether p is clean and needs no escape, as nearly all paths do.
func Plain(p string) bool {
	if p == "" || p[0] != '/' {
		return false
	}
	for i := range len(p) {
		c := p[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		case c == '.' && p[i-1] != '/' && p[i-1] != '.': // p[0] is a slash
		case c == '/' && (i == 0 || p[i-1] != '/'):
		default:
			return false
		}
	}
	return true
}

// unwanted are runes that no key of ours has and that servers and logs have been fooled with.
func unwanted(r rune) bool { return r < ' ' || r == 0x7f || r == '\\' }

// PlainQuery reports whether q can stand in a request line.
func PlainQuery(q string) bool {
	for i := range len(q) {
		if q[i] <= ' ' || q[i] == 0x7f {
			return false
		}
	}
	return true
}

// OriginURL returns the URL at which the origin is asked for t.
func OriginURL(base *url.URL, t Target) *url.URL {
	u := *base
	u.Path = strings.TrimSuffix(base.Path, "/") + t.Path
	u.RawPath, u.RawQuery, u.Fragment = "", t.Query, ""
	if t.raw != "" {
		u.RawPath = strings.TrimSuffix(base.EscapedPath(), "/") + t.raw
	}
	return &u
}

// StreamOf returns the stream or asset that a path belongs to: what stands between its first segment
// and its last.
func StreamOf(p string) string {
	_, rest, _ := strings.Cut(strings.TrimPrefix(p, "/"), "/")
	if end := strings.LastIndexByte(rest, '/'); end > 0 {
		return rest[:end]
	}
	return ""
}
