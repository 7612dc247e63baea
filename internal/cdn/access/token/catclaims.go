package token

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/fxamacker/cbor/v2"
)

// The numbers of the claims (RFC 8392 §4, CTA-5007 §4).
const (
	ClaimIssuer    int64 = 1
	ClaimSubject   int64 = 2
	ClaimAudience  int64 = 3
	ClaimExpires   int64 = 4
	ClaimNotBefore int64 = 5
	claimIssuedAt  int64 = 6
	ClaimID        int64 = 7
	claimConfirm   int64 = 8 // proof of possession, RFC 8747
	claimGeohash   int64 = 282
	ClaimReplay    int64 = 308
	ClaimVersion   int64 = 310
	ClaimNetworks  int64 = 311
	ClaimURI       int64 = 312
	ClaimMethods   int64 = 313
	ClaimHeaders   int64 = 315
	ClaimPlaces    int64 = 316
	claimIfData    int64 = 320
	claimIf        int64 = 322
	claimRenewal   int64 = 323

	firstCATClaim, lastCATClaim int64 = 308, 330
)

// The values of catreplay.
const (
	replayPermitted  = 0
	replayProhibited = 1
	replayDetected   = 2
)

// readCAT takes over the claims. A claim of CTA-5007 that narrows what the token is good for, and that
// cannot be held to here, is critical: the token is refused. Others that are not known are ignored, as
// RFC 8392 §3 has it, and so are those that only say what else to do: catif, catifdata, catr.
func (v *Verified) readCAT(reader cbor.DecMode, payload []byte, k CATKeys) error {
	var claims map[any]any
	if err := reader.Unmarshal(payload, &claims); err != nil {
		return refuse(Malformed, "its claims are not a CBOR map")
	}
	var audiences []string
	for key, value := range claims {
		label, ok := key.(int64)
		if !ok {
			continue // a private claim
		}
		var err error
		switch label {
		case ClaimIssuer:
			v.Issuer, err = textOf(value)
		case ClaimSubject:
			v.Subject, err = textOf(value)
		case ClaimAudience:
			audiences, err = textsOf(value, true)
		case ClaimExpires:
			v.Expires, err = dateOf(value)
		case ClaimNotBefore:
			v.NotBefore, err = dateOf(value)
		case ClaimID:
			id, ok := value.([]byte)
			if v.ID = string(id); !ok {
				err = errors.New("a byte string is expected")
			}
		case ClaimReplay:
			v.Once, err = replayOf(value)
		case ClaimVersion:
			if value != int64(1) {
				err = fmt.Errorf("it is %v; 1 is expected", value)
			}
		case ClaimNetworks:
			err = v.readNetworks(value)
		case ClaimURI:
			err = v.readURI(value)
		case ClaimMethods:
			v.methods, err = textsOf(value, false)
		case ClaimHeaders:
			err = v.readHeaders(value)
		case ClaimPlaces:
			v.places, err = textsOf(value, false)
			for i := range v.places {
				v.places[i] = strings.ToUpper(v.places[i])
			}
		case claimIssuedAt, claimIfData, claimIf, claimRenewal:
		default:
			if label == claimConfirm || label == claimGeohash || firstCATClaim <= label && label <= lastCATClaim {
				err = errors.New("it cannot be held to here")
			}
		}
		if err != nil {
			return refuse(Claim, "claim %d: %v", label, err)
		}
	}
	return v.acceptable(k.Issuers, k.Audiences, audiences)
}

// acceptable holds who made a token, and for whom, against who may.
func (v *Verified) acceptable(issuers, audiences, claimed []string) error {
	if issuers != nil && !slices.Contains(issuers, v.Issuer) {
		return refuse(Issuer, "the issuer is %q; one of %q is expected", v.Issuer, issuers)
	}
	if audiences != nil && !slices.ContainsFunc(claimed, func(a string) bool { return slices.Contains(audiences, a) }) {
		return refuse(Audience, "it is for %q; one of %q is expected", claimed, audiences)
	}
	switch {
	case v.Expires == 0:
		return refuse(Claim, "it never expires; exp is expected")
	case v.Once && v.ID == "":
		return refuse(Claim, "it is good once but has no identifier to tell it by")
	}
	return nil
}

func textOf(value any) (string, error) {
	s, ok := value.(string)
	if !ok {
		return "", errors.New("a text is expected")
	}
	return s, nil
}

// textsOf returns the texts of an array that is not empty; one text alone if single.
func textsOf(value any, single bool) ([]string, error) {
	if s, ok := value.(string); ok && single {
		return []string{s}, nil
	}
	array, ok := value.([]any)
	if !ok || len(array) == 0 {
		return nil, errors.New("an array of texts is expected")
	}
	texts := make([]string, len(array))
	for i := range array {
		if texts[i], ok = array[i].(string); !ok {
			return nil, errors.New("an array of texts is expected")
		}
	}
	return texts, nil
}

// dateOf returns a NumericDate (RFC 8392 §2) in whole seconds.
func dateOf(value any) (int64, error) {
	switch n := value.(type) {
	case int64:
		if 0 < n && n <= maxSeconds {
			return n, nil
		}
	case float64:
		if 0 < n && n <= maxSeconds {
			return int64(math.Ceil(n)), nil
		}
	}
	return 0, errors.New("seconds since 1970 are expected")
}

func replayOf(value any) (once bool, err error) {
	switch value {
	case int64(replayPermitted), int64(replayDetected):
		return false, nil
	case int64(replayProhibited):
		return true, nil
	}
	return false, fmt.Errorf("it is %v; 0, 1 or 2 is expected", value)
}

// readNetworks takes over catnip: numbers of autonomous systems, addresses and prefixes (RFC 9164).
func (v *Verified) readNetworks(value any) error {
	array, ok := value.([]any)
	if !ok || len(array) == 0 {
		return errors.New("an array of networks is expected")
	}
	v.networks = true
	for _, entry := range array {
		switch entry := entry.(type) {
		case int64:
			if entry <= 0 || entry > math.MaxUint32 {
				return fmt.Errorf("%d is not the number of an autonomous system", entry)
			}
			v.asns = append(v.asns, uint32(entry))
		case cbor.Tag:
			p, err := networkOfTag(entry)
			if err != nil {
				return err
			}
			v.addresses = append(v.addresses, p)
		default:
			return fmt.Errorf("a %T is not a network", entry)
		}
	}
	return nil
}

// NetworkClaim returns a network as an entry of catnip.
func NetworkClaim(p netip.Prefix) any {
	tag := uint64(52)
	if p.Addr().Is6() {
		tag = 54
	}
	return cbor.Tag{Number: tag, Content: []any{p.Bits(), p.Masked().Addr().AsSlice()}}
}

func networkOfTag(tag cbor.Tag) (netip.Prefix, error) {
	size := map[uint64]int{52: 4, 54: 16}[tag.Number]
	if size == 0 {
		return netip.Prefix{}, fmt.Errorf("the tag %d is not one of a network", tag.Number)
	}
	bits, octets := int64(size*8), tag.Content
	if pair, ok := octets.([]any); ok {
		if len(pair) != 2 {
			return netip.Prefix{}, errors.New("a prefix of two parts is expected")
		}
		if bits, ok = pair[0].(int64); !ok {
			return netip.Prefix{}, errors.New("a prefix begins with its length")
		}
		octets = pair[1]
	}
	b, ok := octets.([]byte)
	if !ok || len(b) > size || bits < 0 || bits > int64(size*8) || len(b) < size && bits == int64(size*8) {
		return netip.Prefix{}, errors.New("a network has octets of its family's length")
	}
	full := make([]byte, size) // octets at the end that are 0 may be left out (RFC 9164 §3.1.2)
	copy(full, b)
	a, _ := netip.AddrFromSlice(full)
	return netip.PrefixFrom(a, int(bits)).Masked(), nil
}

// match is one condition of catu or cath on a text.
type match struct {
	kind    int64
	text    string
	pattern *regexp.Regexp
}

// The kinds of match.
const (
	matchExact     = 0
	matchPrefix    = 1
	matchSuffix    = 2
	matchContains  = 3
	matchRegexp    = 4
	matchSHA256    = -1
	matchSHA512256 = -2
)

// MatchPrefix is the match of texts that begin with text, as a component of catu or a header of cath.
func MatchPrefix(text string) map[int64]any { return map[int64]any{matchPrefix: text} }

// MatchExact is the match of text itself.
func MatchExact(text string) map[int64]any { return map[int64]any{matchExact: text} }

// readMatches returns the conditions of one component; all of them must hold.
func readMatches(value any) ([]match, error) {
	conditions, ok := value.(map[any]any)
	if !ok || len(conditions) == 0 {
		return nil, errors.New("a map of matches is expected")
	}
	var matches []match
	for key, value := range conditions {
		kind, ok := key.(int64)
		if !ok {
			return nil, fmt.Errorf("%v is no kind of match", key)
		}
		m := match{kind: kind}
		switch kind {
		case matchExact, matchPrefix, matchSuffix, matchContains:
			if m.text, ok = value.(string); !ok {
				return nil, fmt.Errorf("match %d wants a text", kind)
			}
		case matchRegexp:
			// RE2 takes time in proportion to the text; what it has not (look-around, back references) is refused.
			array, ok := value.([]any)
			if !ok || len(array) != 1 {
				return nil, errors.New("an array of one regular expression is expected")
			}
			text, ok := array[0].(string)
			if !ok || len(text) > 512 {
				return nil, errors.New("a regular expression of at most 512 bytes is expected")
			}
			var err error
			if m.pattern, err = regexp.Compile(text); err != nil {
				return nil, fmt.Errorf("the regular expression cannot be used: %w", err)
			}
		case matchSHA256, matchSHA512256:
			switch value := value.(type) {
			case []byte:
				m.text = string(value)
			case string: // hexadecimal, as one implementation has it
				sum, err := hex.DecodeString(value)
				if err != nil {
					return nil, errors.New("a hash in hexadecimal is expected")
				}
				m.text = string(sum)
			}
			if len(m.text) != sha256.Size {
				return nil, fmt.Errorf("match %d wants a hash of %d bytes", kind, sha256.Size)
			}
		default:
			return nil, fmt.Errorf("%d is no kind of match", kind)
		}
		matches = append(matches, m)
	}
	return matches, nil
}

func (m *match) holds(text string) bool {
	switch m.kind {
	case matchExact:
		return text == m.text
	case matchPrefix:
		return strings.HasPrefix(text, m.text)
	case matchSuffix:
		return strings.HasSuffix(text, m.text)
	case matchContains:
		return strings.Contains(text, m.text)
	case matchRegexp:
		return m.pattern.MatchString(text)
	case matchSHA256:
		sum := sha256.Sum256([]byte(text))
		return bytes.Equal(sum[:], []byte(m.text))
	default:
		sum := sha512.Sum512_256([]byte(text))
		return bytes.Equal(sum[:], []byte(m.text))
	}
}

func holdAll(matches []match, text string) bool {
	for i := range matches {
		if !matches[i].holds(text) {
			return false
		}
	}
	return true
}

// component is what catu wants of one part of the address.
type component struct {
	part    int64
	matches []match
}

// The parts of an address in catu.
const (
	partScheme = iota
	partHost
	partPort
	partPath
	partQuery
	partParentPath
	partFilename
	partStem
	partExtension
)

// URIPath is the component of catu that is the path.
const URIPath int64 = partPath

func (v *Verified) readURI(value any) error {
	parts, ok := value.(map[any]any)
	if !ok || len(parts) == 0 {
		return errors.New("a map of components is expected")
	}
	for key, value := range parts {
		part, ok := key.(int64)
		if !ok || part < partScheme || part > partExtension {
			return fmt.Errorf("%v is no component of an address", key)
		}
		matches, err := readMatches(value)
		if err != nil {
			return err
		}
		v.components = append(v.components, component{part, matches})
		for _, m := range matches {
			if part == partPath && m.kind == matchPrefix && strings.HasSuffix(m.text, "/") && !strings.Contains(m.text, "%") {
				v.Prefix = m.text
			}
		}
	}
	return nil
}

func (c *component) check(r *Request) error {
	value, ok := c.value(r)
	if !ok || !holdAll(c.matches, value) {
		return refuse(Scope, "catu: component %d of the address is %q, which does not match", c.part, value)
	}
	return nil
}

// value returns the part of the address. The path is as a browser would write it: without dot segments,
// escaped. The query is without the token and without CMCD, which a player adds to any address.
func (c *component) value(r *Request) (string, bool) {
	host, port := hostPort(r.Host)
	p := (&url.URL{Path: r.Path}).EscapedPath()
	directory, name := path.Split(p)
	extension := path.Ext(name)
	switch c.part {
	case partScheme:
		return r.Scheme, true
	case partHost:
		return strings.ToLower(host), true
	case partPort:
		if port == "" {
			port = map[string]string{"http": "80", "https": "443"}[r.Scheme]
		}
		return port, true
	case partPath:
		return p, true
	case partQuery:
		return restQuery(r.RawQuery, CATArgument), true
	case partParentPath:
		return strings.TrimSuffix(directory, "/"), true
	case partFilename:
		return name, true
	case partStem:
		return strings.TrimSuffix(name, extension), true
	case partExtension:
		return extension, true
	}
	return "", false
}

func hostPort(host string) (name, port string) {
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		return host[:i], host[i+1:]
	}
	return host, ""
}

// headerMatch is what cath wants of one header field.
type headerMatch struct {
	name    string
	matches []match
}

func (v *Verified) readHeaders(value any) error {
	fields, ok := value.(map[any]any)
	if !ok || len(fields) == 0 {
		return errors.New("a map of header fields is expected")
	}
	for key, value := range fields {
		name, ok := key.(string)
		if !ok || name == "" {
			return fmt.Errorf("%v is no name of a header field", key)
		}
		matches, err := readMatches(value)
		if err != nil {
			return err
		}
		v.headers = append(v.headers, headerMatch{name, matches})
	}
	return nil
}

func (h *headerMatch) check(r *Request) error {
	values := r.Header.Values(h.name)
	if strings.EqualFold(h.name, "Host") && len(values) == 0 {
		values = []string{r.Host}
	}
	if len(values) == 0 || !holdAll(h.matches, strings.Join(values, ", ")) {
		return refuse(Header, "cath: the field %s does not match", h.name)
	}
	return nil
}
