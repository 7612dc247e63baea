package freshness

import (
	"net/http"
	"net/url"
	"strings"
)

// Safe reports whether a method is defined to change nothing at the origin (RFC 9110 §9.2.1 and its
// registry).
func Safe(method string) bool {
	switch method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace,
		"PRI", "PROPFIND", "QUERY", "REPORT", "SEARCH":
		return true
	}
	return false
}

// Invalidates reports whether a request with this method and an answer with this status mean that stored
// answers are no longer good (RFC 9111 §4.4): those for the URIs that [Invalidated] returns, and those with
// the tags that [InvalidatedGroups] returns.
func Invalidates(method string, status int) bool {
	return !Safe(method) && 200 <= status && status < 400
}

// Invalidated returns the URIs whose stored answers an unsafe request to target invalidates: target, and
// those that Location and Content-Location name, if they have the same origin (RFC 9111 §4.4). target is
// absolute, as the viewer sees it.
func Invalidated(target *url.URL, response http.Header) []*url.URL {
	out := []*url.URL{target}
	for _, name := range [...]string{"Location", "Content-Location"} {
		if u := resolve(target, first(response, name)); u != nil && sameOrigin(u, target) && !sameURL(u, target) {
			out = append(out, u)
		}
	}
	return out
}

// locates reports whether an answer says that it is what target stands for (RFC 9110 §8.7).
func locates(target *url.URL, response http.Header) bool {
	if target == nil {
		return false
	}
	u := resolve(target, first(response, "Content-Location"))
	return u != nil && sameOrigin(u, target) && sameURL(u, target)
}

// resolve returns the URL that a reference in an answer to target means, nil if there is none.
func resolve(target *url.URL, reference string) *url.URL {
	if reference == "" {
		return nil
	}
	u, err := target.Parse(reference)
	if err != nil {
		return nil
	}
	return u
}

// sameOrigin compares scheme, host and port (RFC 9110 §4.3.1).
func sameOrigin(a, b *url.URL) bool {
	return strings.EqualFold(a.Scheme, b.Scheme) && strings.EqualFold(a.Hostname(), b.Hostname()) && port(a) == port(b)
}

func port(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	if strings.EqualFold(u.Scheme, "https") {
		return "443"
	}
	return "80"
}

// sameURL compares what follows the origin.
func sameURL(a, b *url.URL) bool {
	return a.EscapedPath() == b.EscapedPath() && a.RawQuery == b.RawQuery
}
