// Package loop finds requests that have been through this node before, by CDN-Loop (RFC 8586) and by Via
// (RFC 9110 §7.6.3), for what strips the other field.
package loop

import (
	"net/http"
	"slices"
	"strings"
)

// Field is the field's name, as net/http spells it.
const Field = "Cdn-Loop"

// Has reports whether a request with the header h has been through the node id.
func Has(h http.Header, id string) bool { return hasLoopID(h[Field], id) || hasVia(h["Via"], id) }

// HasBefore is Has for a request on its way out, to which the node may have added its Via already, as the
// last member.
func HasBefore(h http.Header, id string) bool {
	return hasLoopID(h[Field], id) || len(h["Via"]) > 0 && hasVia(withoutLast(h["Via"]), id)
}

// Add adds the node to the fields of h, whose values may be shared. via is "1.1 " and the ID.
func Add(h http.Header, id, via string) {
	h[Field] = append(slices.Clip(h[Field]), id) // never in what the caller holds
	if lines := h["Via"]; !viaIs(last(lines), id) {
		h["Via"] = append(slices.Clip(lines), via)
	}
}

// hasLoopID reports whether CDN-Loop names id:
//
//	cdn-info = cdn-id *( OWS ";" OWS parameter )
//
// Each comma ends a member, also in a quoted parameter: else a quote that a client leaves open would hide
// every member behind it, and the loop would have no end.
func hasLoopID(lines []string, id string) bool {
	for _, line := range lines {
		for member := range strings.SplitSeq(line, ",") {
			name, _, _ := strings.Cut(member, ";")
			if strings.EqualFold(strings.Trim(name, " \t"), id) {
				return true
			}
		}
	}
	return false
}

// hasVia reports whether Via names id as the recipient. Commas in comments end members for the same reason.
func hasVia(lines []string, id string) bool {
	for _, line := range lines {
		for member := range strings.SplitSeq(line, ",") {
			if viaIs(member, id) {
				return true
			}
		}
	}
	return false
}

// viaIs reports whether a member of Via ("1.1 edge-1 (comment)") has id as received-by.
func viaIs(member, id string) bool {
	const blank = " \t"
	member = strings.Trim(member, blank)
	protocol := strings.IndexAny(member, blank)
	if protocol < 0 {
		return false
	}
	by := strings.TrimLeft(member[protocol:], blank)
	if end := strings.IndexAny(by, blank); end >= 0 {
		by = by[:end]
	}
	return strings.EqualFold(by, id)
}

// withoutLast returns the lines of a list without its last member.
func withoutLast(lines []string) []string {
	line := lines[len(lines)-1]
	out := slices.Clone(lines[:len(lines)-1])
	if i := strings.LastIndexByte(line, ','); i >= 0 {
		out = append(out, line[:i])
	}
	return out
}

// last returns the last member of a list, "" if there is none.
func last(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	line := lines[len(lines)-1]
	return line[strings.LastIndexByte(line, ',')+1:]
}
