package transform

import (
	"slices"
	"strings"
)

// Encoding is a content coding (RFC 9110 §8.4.1).
type Encoding string

// The codings that are known here.
const (
	Zstd     Encoding = "zstd" // RFC 8878
	Brotli   Encoding = "br"   // RFC 7932
	Gzip     Encoding = "gzip" // RFC 1952
	Identity Encoding = "identity"
)

// codings are those that change something.
var codings = [...]Encoding{Zstd, Brotli, Gzip}

// codingOf returns the coding that Content-Encoding names; ok is false for one that is not known and for
// several one after the other.
func codingOf(contentEncoding []string) (e Encoding, ok bool) {
	if len(contentEncoding) == 0 {
		return Identity, true
	}
	name := strings.ToLower(strings.Trim(contentEncoding[0], " \t"))
	switch {
	case len(contentEncoding) > 1:
		return "", false
	case name == "" || name == string(Identity):
		return Identity, true
	case name == "x-gzip":
		return Gzip, true
	}
	e = Encoding(name)
	return e, slices.Contains(codings[:], e)
}

// Negotiate returns the best of the offered codings that a client accepts, the first of them among equals, or
// [Identity] (RFC 9110 §12.5.3). It returns Identity also to a client that refuses it and everything that is
// offered: an answer that it may not want is better than none. Its value is the part of a cache's key that
// Accept-Encoding stands for.
//
// A member that is malformed counts as not there.
func Negotiate(acceptEncoding string, offered []Encoding) Encoding {
	if acceptEncoding == "" {
		return Identity
	}
	const unsaid = -1
	weights := [len(codings)]int{unsaid, unsaid, unsaid}
	identity, others := unsaid, unsaid
	for rest, more := acceptEncoding, true; more; {
		var member string
		member, rest, more = strings.Cut(rest, ",")
		name, weight, ok := parseMember(member)
		if !ok {
			continue
		}
		target := (*int)(nil)
		switch {
		case name == "*":
			target = &others
		case strings.EqualFold(name, string(Identity)):
			target = &identity
		case strings.EqualFold(name, "x-gzip"):
			name = string(Gzip)
		}
		for i, e := range codings {
			if strings.EqualFold(name, string(e)) {
				target = &weights[i]
			}
		}
		if target != nil && *target == unsaid {
			*target = weight
		}
	}
	best, most := Identity, max(0, identity)
	for _, e := range offered {
		i := slices.Index(codings[:], e)
		if i < 0 {
			continue
		}
		weight := weights[i]
		if weight == unsaid {
			weight = others
		}
		if weight > 0 && (weight > most || weight == most && best == Identity) {
			best, most = e, weight
		}
	}
	return best
}

// parseMember returns a coding and its weight in thousandths:
//
//	codings [ OWS ";" OWS "q=" qvalue ]
func parseMember(member string) (name string, weight int, ok bool) {
	const blank = " \t"
	name, parameters, _ := strings.Cut(member, ";")
	name = strings.Trim(name, blank)
	weight = 1000
	for parameters != "" {
		var p string
		p, parameters, _ = strings.Cut(parameters, ";")
		p = strings.Trim(p, blank)
		if len(p) < 2 || p[0]|0x20 != 'q' || p[1] != '=' {
			continue // whatever it says, it is no weight
		}
		if weight, ok = parseWeight(p[2:]); !ok {
			return "", 0, false
		}
	}
	return name, weight, name != "" && !strings.ContainsAny(name, blank)
}

// parseWeight parses a qvalue (RFC 9110 §12.4.2): 0 to 1 with up to three decimals.
func parseWeight(s string) (thousandths int, ok bool) {
	if s == "" || s[0] != '0' && s[0] != '1' || len(s) > len("0.000") || len(s) > 1 && s[1] != '.' {
		return 0, false
	}
	thousandths = int(s[0]-'0') * 1000
	for i, unit := 2, 100; i < len(s); i, unit = i+1, unit/10 {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		thousandths += int(s[i]-'0') * unit
	}
	return thousandths, thousandths <= 1000
}
