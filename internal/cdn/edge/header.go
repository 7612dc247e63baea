package edge

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/weir-stream/weir/internal/cdn/cache/freshness"
)

// corsFields are those that the edge writes itself where it answers for the origin.
var corsFields = []string{
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
		"If-Modified-Since", "If-None-Match", "If-Range", "Cache-Control", "Authorization", "CTA-Common-Access-Token",
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

// forViewers returns the header with which an answer of the origin is kept and given to viewers: without the
// fields that are for one connection or for one viewer, and where the rule says so with CORS.
func (h *Handler) forViewers(rule *Rule, header http.Header) http.Header {
	out := h.cache.Freshness().Stored(header)
	delete(out, "Content-Length")
	delete(out, dynamicField)
	if rule.Forward == ForwardObject {
		delete(out, "Set-Cookie")
		delete(out, "Set-Cookie2")
	}
	if rule.CORS {
		replaceCORS(out)
	}
	return out
}

// withheld returns the fields of an answer that are not kept, but are for whoever asked: cookies, and what
// no-cache="..." and private="..." name (RFC 9111 §5.2.2.4, §5.2.2.7).
func withheld(answer, kept http.Header) http.Header {
	var out http.Header
	for name, values := range freshness.EndToEnd(answer) {
		if _, ok := kept[name]; ok || name == "Age" || name == "Content-Length" {
			continue
		}
		if out == nil {
			out = make(http.Header)
		}
		out[name] = values
	}
	return out
}

// replaceCORS puts the edge's CORS in the place of the origin's.
func replaceCORS(h http.Header) {
	for _, name := range corsFields {
		delete(h, name)
	}
	addCORS(h)
}

// notForwarded are the fields of a viewer's request that are for the edge: what is for one connection, what
// asks the cache for something, and CMCD.
var notForwarded = []string{
	"Range", "If-Range", "If-None-Match", "If-Modified-Since", "If-Match", "If-Unmodified-Since",
	"Cmcd-Object", "Cmcd-Request", "Cmcd-Session", "Cmcd-Status",
}

// forwarded returns what the origin is told of a viewer's request.
func (rule *Rule) forwarded(r *http.Request) http.Header {
	out := freshness.EndToEnd(r.Header).Clone()
	for _, name := range notForwarded {
		delete(out, name)
	}
	if !rule.ObeyRequests {
		// A no-store that does not count here must not keep the answer from being shared either.
		delete(out, "Cache-Control")
		delete(out, "Pragma")
	}
	if out["User-Agent"] == nil {
		out["User-Agent"] = []string{""} // or net/http would add its own
	}
	return out
}

// way returns what the origin is told of the way of a request, also where it is told nothing else: through which
// nodes it has come (RFC 8586 §2). Without that a loop has no end. It is nil for what comes from a viewer.
func way(r *http.Request) http.Header {
	if lines := r.Header["Cdn-Loop"]; len(lines) > 0 {
		return http.Header{"Cdn-Loop": lines}
	}
	return nil
}

// introduce writes into a viewer's request what the origin is told of the viewer beside it. It is done before
// the cache is asked, as answers may vary on it. What the viewer itself has written there is not believed.
func introduce(r *http.Request, client netip.Addr, viewerHost bool) {
	for name := range r.Header {
		if slices.Contains(notBelieved, name) || strings.HasPrefix(name, "X-Forwarded-") || strings.HasPrefix(name, "X-Original-") ||
			strings.HasPrefix(name, "X-Rewrite-") {
			delete(r.Header, name)
		}
	}
	if client.IsValid() {
		r.Header["X-Forwarded-For"] = []string{client.String()}
	}
	if viewerHost { // else it is not in the key, and whoever asks first would choose it for everybody
		r.Header["X-Forwarded-Host"] = []string{r.Host}
	}
}

// notBelieved are fields in which proxies tell servers what they know of a viewer, or what is to be asked instead of
// what the request line says. From a viewer they are an attempt.
var notBelieved = []string{
	"Forwarded", "X-Real-Ip", "X-Host", "X-Client-Ip", "X-Cluster-Client-Ip", "True-Client-Ip", "Cf-Connecting-Ip", "Fastly-Client-Ip",
	"X-Http-Method", "X-Http-Method-Override", "X-Method-Override", "X-Url-Scheme", "X-Scheme", "Front-End-Https",
}
