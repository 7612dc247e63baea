package edge

import (
	"net/http"
	"net/textproto"
	"slices"
	"strings"
)

// hopByHop are the fields that are for one connection only (RFC 9110 §7.6.1).
var hopByHop = []string{
	"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authentication-Info", "Proxy-Authorization",
	"Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
}

// ours are fields that the edge writes itself, or that must not reach a viewer who shares an answer.
var ours = []string{
	"Age", "Content-Length", "Set-Cookie", "Set-Cookie2",
	"Access-Control-Allow-Origin", "Access-Control-Allow-Credentials", "Access-Control-Allow-Headers",
	"Access-Control-Allow-Methods", "Access-Control-Expose-Headers", "Access-Control-Max-Age",
	"Timing-Allow-Origin",
}

// The CORS answer: any page may play, and may read what a player measures with. No credentials are
// ever involved, so "*" is safe.
var (
	anyOrigin = []string{"*"}
	exposed   = []string{strings.Join([]string{
		"Age", "Cache-Status", "CMSD-Dynamic", "CMSD-Static", "Content-Length", "Content-Range", "Date", "ETag",
	}, ", ")}
	allowedHeaders = strings.Join([]string{
		"CMCD-Object", "CMCD-Request", "CMCD-Session", "CMCD-Status", "Range",
		"If-Modified-Since", "If-None-Match", "If-Range", "Cache-Control",
	}, ", ")
)

const (
	allowedMethods = "GET, HEAD, OPTIONS"
	preflightAge   = "7200" // as long as browsers believe one
)

func addCORS(h http.Header) {
	h["Access-Control-Allow-Origin"] = anyOrigin
	h["Access-Control-Expose-Headers"] = exposed
	h["Timing-Allow-Origin"] = anyOrigin
}

// forViewers returns the header with which an answer of the origin is given to viewers: without the
// fields that are not for them, with CORS.
func forViewers(h http.Header) http.Header {
	out := make(http.Header, len(h)+3)
	for name, values := range h {
		if !dropped(name) {
			out[name] = slices.Clip(slices.Clone(values))
		}
	}
	for name := range connectionFields(h) {
		delete(out, name)
	}
	addCORS(out)
	return out
}

// updated returns the stored header with the fields of a 304 in their place (RFC 9111 §3.2).
func updated(stored, fresh http.Header) http.Header {
	out := make(http.Header, len(stored))
	for name, values := range stored {
		out[name] = values
	}
	for name, values := range forViewers(fresh) {
		switch name {
		case "Content-Encoding", "Content-Range", "Content-Type":
			// They speak of the body, which stays.
		default:
			out[name] = values
		}
	}
	return out
}

func dropped(name string) bool { return slices.Contains(hopByHop, name) || slices.Contains(ours, name) }

// connectionFields are the fields that Connection names.
func connectionFields(h http.Header) map[string]bool {
	names := map[string]bool{}
	for _, line := range h["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			if name = textproto.CanonicalMIMEHeaderKey(textproto.TrimString(name)); name != "" {
				names[name] = true
			}
		}
	}
	return names
}
