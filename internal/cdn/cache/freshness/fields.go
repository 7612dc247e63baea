package freshness

import (
	"net/http"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"time"
)

// hopByHop reports whether a field is for one connection only (RFC 9110 §7.6.1), or for one proxy and its
// client (RFC 9111 §3.1).
func hopByHop(name string) bool {
	switch name {
	case "Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authentication-Info", "Proxy-Authorization",
		"Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade":
		return true
	}
	return false
}

// EndToEnd returns the fields of a header that go further than the connection they came on, in a header
// of its own whose values are shared with h.
func EndToEnd(h http.Header) http.Header {
	out := make(http.Header, len(h))
	for name, values := range h {
		if !hopByHop(name) {
			out[name] = slices.Clip(values)
		}
	}
	for _, line := range h["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			delete(out, textproto.CanonicalMIMEHeaderKey(trimSpace(name)))
		}
	}
	return out
}

// Stored returns what is kept of an answer's header (RFC 9111 §3.1): not what is for the connection only,
// not what no-cache="..." and private="..." name, not Age, which the cache counts itself, and not cookies
// unless they are to be stored.
func (c *Config) Stored(response http.Header) http.Header {
	return c.strip(EndToEnd(response))
}

func (c *Config) strip(h http.Header) http.Header {
	delete(h, "Age")
	if !c.StoreSetCookie {
		delete(h, "Set-Cookie")
		delete(h, "Set-Cookie2")
	}
	ctl, _ := c.control(h)
	for _, name := range ctl.hidden {
		delete(h, name)
	}
	return h
}

// Update returns the stored header with the fields of a 304, of a 206 of the same object, or of an answer
// to HEAD in the place of those it had (RFC 9111 §3.2).
func (c *Config) Update(stored, fresh http.Header) http.Header {
	out := make(http.Header, len(stored)+2)
	for name, values := range stored {
		out[name] = values
	}
	for name, values := range c.Stored(fresh) {
		switch name {
		case "Content-Length", "Content-Encoding", "Content-Range", "Content-Md5", "Content-Digest":
			// They speak of the bytes, which stay.
		default:
			out[name] = values
		}
	}
	return c.strip(out)
}

// Revalidate returns the header and the freshness of a stored answer after the origin has said by a 304,
// or by an answer to HEAD, that it is still good. It is as old as that answer, which x is; status is that
// of the stored one. If the freshness does not say Store, the answer is for this request only.
func (c *Config) Revalidate(stored http.Header, status int, x Exchange) (http.Header, Freshness) {
	out := c.Update(stored, x.Response)
	if len(x.Response["Date"]) == 0 {
		out["Date"] = []string{x.Received.UTC().Format(http.TimeFormat)} // RFC 9110 §6.6.1
	}
	if age := x.Response["Age"]; len(age) > 0 {
		out["Age"] = age
	}
	x.Method, x.Status, x.Response = http.MethodGet, status, out
	f := c.Evaluate(x)
	delete(out, "Age")
	return out, f
}

// MatchesStored reports whether a 304 is about the stored answer (RFC 9111 §4.3.4). If it is not, the
// origin has to be asked again without conditions. Two choices: a 304 without any validator is taken for
// an answer to the condition that was sent, and tags are compared weakly, because servers that compress
// send W/"x" with the object and "x" with the 304.
func MatchesStored(stored, notModified http.Header) bool {
	if a, b := first(stored, "Etag"), first(notModified, "Etag"); b != "" {
		return sameTag(a, b)
	}
	a, b := first(stored, "Last-Modified"), first(notModified, "Last-Modified")
	return a == "" || b == "" || sameDate(a, b)
}

// MatchesHead reports whether an answer to HEAD is about the stored answer, which has length bytes, or -1
// if that is not known (RFC 9111 §4.3.5). If it is not, the stored one is stale.
func MatchesHead(stored http.Header, length int64, head http.Header) bool {
	if b := first(head, "Etag"); b != "" && !sameTag(first(stored, "Etag"), b) {
		return false
	}
	if b := first(head, "Last-Modified"); b != "" && !sameDate(first(stored, "Last-Modified"), b) {
		return false
	}
	if b := first(head, "Content-Length"); b != "" && length >= 0 {
		n, err := strconv.ParseInt(b, 10, 64)
		return err == nil && n == length
	}
	return true
}

// sameTag compares entity tags weakly (RFC 9110 §8.8.3.2).
func sameTag(a, b string) bool {
	return a != "" && strings.TrimPrefix(a, "W/") == strings.TrimPrefix(b, "W/")
}

// sameDate reports whether two dates are the same, in whatever format.
func sameDate(a, b string) bool {
	if a == b {
		return a != ""
	}
	// A year of two digits is near the other date.
	s, _ := ParseDate(a, time.Time{})
	t, ok := ParseDate(b, s)
	if !ok {
		return false
	}
	s, ok = ParseDate(a, t)
	return ok && s.Equal(t)
}

func first(h http.Header, name string) string {
	if values := h[name]; len(values) > 0 {
		return values[0]
	}
	return ""
}

// firstMember returns the first member of a list.
func firstMember(list string) string {
	member, _, _ := strings.Cut(list, ",")
	return trimSpace(member)
}
