package edge

import (
	"net/url"
	"path"
	"strings"
	"unicode/utf8"

	"github.com/weir-stream/weir/cmcd"
)

// maxKeyBytes bounds a key, and so what the cache's index can be made to hold.
const maxKeyBytes = 4 << 10

// target is what a request asks for, in the form in which it is both looked up and asked of the origin.
// That the two are the same is what makes the cache safe: no spelling of a URL can put an object where
// another spelling finds something else.
type target struct {
	// key is the path, escaped, and the query without CMCD, if that leaves any.
	key string
	// path is the clean path, not escaped; query the query without CMCD.
	path, query string
}

// targetOf returns the target of u; false if there can be none.
func targetOf(u *url.URL) (target, bool) {
	t := target{path: u.Path}
	if !strings.HasPrefix(t.path, "/") || len(u.RawPath) > maxKeyBytes || len(u.Path) > maxKeyBytes {
		return target{}, false
	}
	if u.RawQuery != "" {
		t.query = cmcd.StripQuery(u.RawQuery)
		if !plainQuery(t.query) {
			return target{}, false
		}
	}
	if plainPath(t.path) {
		t.key = t.path
	} else {
		if strings.ContainsFunc(t.path, unwanted) || !utf8.ValidString(t.path) {
			return target{}, false
		}
		t.path = path.Clean(t.path)
		if strings.HasSuffix(u.Path, "/") && t.path != "/" {
			t.path += "/"
		}
		t.key = (&url.URL{Path: t.path}).EscapedPath()
	}
	if t.query != "" {
		t.key += "?" + t.query
	}
	return t, len(t.key) <= maxKeyBytes
}

// plainPath reports whether p is clean and needs no escape, as nearly all paths do.
func plainPath(p string) bool {
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

// plainQuery reports whether q can stand in a request line.
func plainQuery(q string) bool {
	for i := range len(q) {
		if q[i] <= ' ' || q[i] == 0x7f {
			return false
		}
	}
	return true
}

// originURL returns the URL at which the origin is asked for t.
func originURL(base *url.URL, t target) *url.URL {
	u := *base
	u.Path = strings.TrimSuffix(base.Path, "/") + t.path
	u.RawPath, u.RawQuery, u.Fragment = "", t.query, ""
	return &u
}

// streamOf returns the stream or asset that a path belongs to: what stands between its first segment
// and its last.
func streamOf(p string) string {
	_, rest, _ := strings.Cut(strings.TrimPrefix(p, "/"), "/")
	if end := strings.LastIndexByte(rest, '/'); end > 0 {
		return rest[:end]
	}
	return ""
}
