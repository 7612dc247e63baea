package client

import (
	"net/url"
	"strings"

	"github.com/weir-stream/weir/cmcd"
	"github.com/weir-stream/weir/cmcd/internal/rules"
)

// setNext gives the result the next objects: nor, and in version 1 nrr.
func (p *preparation) setNext() {
	var items []cmcd.Item
	for i, item := range p.in.List(cmcd.KeyNOR) {
		if item.Text == "" {
			continue
		}
		path, ok := p.relative(p.plain(item.Text))
		r := item.Range
		if r == "" && i == 0 {
			r = p.in.Text(cmcd.KeyNRR)
		}
		if !ok || r != "" && !rules.IsRange(r) {
			p.warn(cmcd.WarnBadValue) // without its range, the whole object would be fetched in advance
			continue
		}
		items = append(items, cmcd.Item{Text: path, Range: r})
	}
	if p.version == 1 && len(items) > 0 {
		if r := items[0].Range; r != "" {
			if !p.sendable(cmcd.KeyNRR) {
				return
			}
			p.out.SetText(cmcd.KeyNRR, r)
		}
		items = []cmcd.Item{{Text: escapeComponent(items[0].Text)}}
	}
	p.setList(cmcd.KeyNOR, items)
}

// plain returns an item of nor without the percent-encoding that version 1 puts around it (CTA-5004 Table 1). What
// has a character in it that this would have encoded is as plain as it can be.
func (p *preparation) plain(text string) string {
	if p.in.Version() != 1 || !strings.Contains(text, "%") || escapeComponent(strings.ReplaceAll(text, "%", "")) != strings.ReplaceAll(text, "%", "") {
		return text
	}
	decoded, err := url.PathUnescape(text)
	if err != nil {
		return text
	}
	return decoded
}

// relative returns the reference to an object as a path that is relative to the request (RFC 3986
// §4.2), without a fragment; not ok if it is none, or the object has another origin.
func (p *preparation) relative(reference string) (string, bool) {
	reference, _, _ = strings.Cut(escapeURI(reference), "#")
	u, err := url.Parse(reference)
	if err != nil || reference == "" {
		return "", false
	}
	switch {
	case !u.IsAbs() && u.Host == "" && (p.base == nil || !strings.HasPrefix(reference, "/")):
		return reference, !strings.HasPrefix(reference, "//")
	case p.base == nil:
		return "", false
	}
	u = p.base.ResolveReference(u)
	if !strings.EqualFold(u.Scheme, p.base.Scheme) || origin(u) != origin(p.base) {
		return "", false
	}
	return relativePath(p.base, u), true
}

// origin returns the host and port of u.
func origin(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[strings.ToLower(u.Scheme)]
	}
	return strings.ToLower(u.Hostname()) + ":" + port
}

// relativePath returns the shortest path that leads from base to target, an URL of the same origin
// without dots in its path.
func relativePath(base, target *url.URL) string {
	from, to := base.EscapedPath(), target.EscapedPath()
	from = "/" + strings.TrimPrefix(from[:strings.LastIndexByte(from, '/')+1], "/")
	to = "/" + strings.TrimPrefix(to, "/")
	shared := 0 // up to the last slash that both have
	for i := 0; i < len(from) && i < len(to) && from[i] == to[i]; i++ {
		if from[i] == '/' {
			shared = i + 1
		}
	}
	path := strings.Repeat("../", strings.Count(from[shared:], "/")) + to[shared:]
	// What begins with a slash, or has a colon in its first segment, would be no relative path
	// (RFC 3986 §4.2), and nothing at all would be the request itself.
	if first, _, _ := strings.Cut(path, "/"); first == "" || strings.Contains(first, ":") {
		path = "./" + path
	}
	if target.RawQuery != "" {
		path += "?" + target.RawQuery
	}
	return path
}

const hexDigits = "0123456789ABCDEF"

// escapeURI percent-encodes what cannot stand in a URI (RFC 3986 §2), and leaves all else alone, be
// it encoded already or not.
func escapeURI(s string) string {
	return escape(s, func(c byte) bool { return c > ' ' && c < 0x7f && strings.IndexByte("\"<>\\^`{|}", c) < 0 })
}

// escapeComponent percent-encodes all but letters, digits and -_.!~*'(), as encodeURIComponent of
// JavaScript does.
func escapeComponent(s string) string {
	return escape(s, func(c byte) bool {
		return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z' || strings.IndexByte("-_.!~*'()", c) >= 0
	})
}

func escape(s string, keep func(byte) bool) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; keep(c) {
			b.WriteByte(c)
		} else {
			b.WriteByte('%')
			b.WriteByte(hexDigits[c>>4])
			b.WriteByte(hexDigits[c&15])
		}
	}
	return b.String()
}
