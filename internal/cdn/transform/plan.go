package transform

import (
	"net/http"
	"strings"
)

// Plan is what is to be done with an answer.
type Plan struct {
	// Decode is what its body is to be freed of, Encode what it is to be encoded with then; "" is nothing.
	Decode, Encode Encoding
	// Vary says that another Accept-Encoding might have had another answer.
	Vary bool
}

// Changes reports whether the body is touched.
func (p Plan) Changes() bool { return p.Decode != "" || p.Encode != "" }

// Asked is what counts of a request.
type Asked struct {
	// AcceptEncoding is the field, as one line.
	AcceptEncoding string
	// Part says that the client has named a range, NoTransform that it wants what is stored.
	Part, NoTransform bool
}

// AskedBy returns what counts of a request with the header h.
func AskedBy(h http.Header) Asked {
	return Asked{acceptEncoding(h), len(h["Range"]) > 0, noTransform(h["Cache-Control"])}
}

// Plan says what is to be done with an answer to r of the given status, header and body length (-1: not
// known). For a 304, or an answer to HEAD, the status, header and length are those that the whole object has.
func (c *Compressor) Plan(r *http.Request, status int, h http.Header, length int64) Plan {
	return c.PlanFor(AskedBy(r.Header), status, h, length)
}

// PlanFor is Plan for who has no header.
func (c *Compressor) PlanFor(a Asked, status int, h http.Header, length int64) Plan {
	stored, known := codingOf(h["Content-Encoding"])
	if !known || !hasBody(status) || length == 0 || a.NoTransform || noTransform(h["Cache-Control"]) {
		return Plan{}
	}
	part := status == http.StatusPartialContent || len(h["Content-Range"]) > 0
	worthIt := c.config.Enabled && c.types.has(h.Get("Content-Type"))
	if stored == Identity {
		if !worthIt || length >= 0 && length < c.config.MinBytes && !part {
			return Plan{}
		}
		// A part of what is encoded is of no use to who has the rest of what is not: RFC 9110 §14.2
		// leaves it to the server whether ranges are looked at, and they are served as they are stored.
		p := Plan{Vary: true}
		if !part && !a.Part {
			p.Encode = changing(Negotiate(a.AcceptEncoding, c.config.Encodings))
		}
		return p
	}
	p := Plan{Vary: true}
	if part || Negotiate(a.AcceptEncoding, []Encoding{stored}) == stored {
		return p
	}
	p.Decode = stored
	if worthIt {
		p.Encode = changing(Negotiate(a.AcceptEncoding, c.config.Encodings))
	}
	return p
}

// Negotiate returns the coding in which r gets what is stored as it is: the part of a cache's key that
// Accept-Encoding stands for.
func (c *Compressor) Negotiate(r *http.Request) Encoding {
	return Negotiate(acceptEncoding(r.Header), c.config.Encodings)
}

func changing(e Encoding) Encoding {
	if e == Identity {
		return ""
	}
	return e
}

// acceptEncoding returns the field as one line.
func acceptEncoding(h http.Header) string {
	switch lines := h["Accept-Encoding"]; len(lines) {
	case 0:
		return ""
	case 1:
		return lines[0]
	default:
		return strings.Join(lines, ",")
	}
}

func hasBody(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusResetContent && status != http.StatusNotModified
}

// noTransform reports whether Cache-Control forbids it (RFC 9111 §5.2.1.6, §5.2.2.6).
func noTransform(lines []string) bool {
	for _, line := range lines {
		for member := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.Trim(member, " \t"), "no-transform") {
				return true
			}
		}
	}
	return false
}

// ofOtherBytes are fields that speak of the bytes that were stored (RFC 9110 §8.6, §14.3; RFC 9530).
var ofOtherBytes = []string{"Content-Length", "Accept-Ranges", "Content-Md5", "Digest", "Content-Digest", "Repr-Digest"}

// Apply changes the header of the answer to fit. Who knows the new length sets Content-Length afterwards.
func (p Plan) Apply(h http.Header) {
	if p.Vary {
		addVary(h)
	}
	if !p.Changes() {
		return
	}
	for _, name := range ofOtherBytes {
		delete(h, name)
	}
	now := Identity
	if p.Encode != "" {
		now = p.Encode
		h["Content-Encoding"] = []string{string(now)}
	} else {
		delete(h, "Content-Encoding")
	}
	if etag := h["Etag"]; len(etag) > 0 {
		if tag := Tag(etag[0], now); tag != "" {
			h["Etag"] = []string{tag}
		} else {
			delete(h, "Etag") // it cannot be said to be another's
		}
	}
}

// addVary adds Accept-Encoding to Vary, if it is not there.
func addVary(h http.Header) {
	const name = "Accept-Encoding"
	for _, line := range h["Vary"] {
		for member := range strings.SplitSeq(line, ",") {
			if member = strings.Trim(member, " \t"); member == "*" || strings.EqualFold(member, name) {
				return
			}
		}
	}
	lines := h["Vary"]
	h["Vary"] = append(lines[:len(lines):len(lines)], name)
}
