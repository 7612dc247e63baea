package token

import (
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// OwnKeys are the secrets of Weir's own tokens by key identifier. Keys are changed by adding the new one
// everywhere, signing with it, and taking the old one away when its last token has expired.
type OwnKeys map[string]Secret

// OwnClaims is what one of Weir's own tokens claims.
type OwnClaims struct {
	// Prefix is the beginning of the paths that it is good for and ends with a slash; Path is one whole
	// path. There is one of the two. Neither is percent-encoded.
	Prefix, Path string
	// Expires is when it ceases to be good, NotBefore when it begins to be.
	Expires, NotBefore time.Time
	// Address is the network that it is good for, if there is one.
	Address netip.Prefix
	// Session, Subject and Tenant say who uses it.
	Session, Subject, Tenant string
}

// The letters of the claims in a token's payload.
const (
	ownPrefix    = "p"
	ownPath      = "x"
	ownExpires   = "e"
	ownNotBefore = "n"
	ownAddress   = "i"
	ownSession   = "s"
	ownSubject   = "u"
	ownTenant    = "t"
)

// ValidKeyID reports whether id can stand in one of Weir's own tokens: letters, digits, '-' and '_'.
func ValidKeyID(id string) bool {
	for i := range len(id) {
		c := id[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return id != "" && len(id) <= 64
}

// Sign returns the token that claims c: key identifier, payload and HMAC-SHA256 of both, with dots between.
// Payload and HMAC are base64url.
func (c OwnClaims) Sign(id string, key Secret) (string, error) {
	switch {
	case !ValidKeyID(id):
		return "", fmt.Errorf("the key's identifier is %q; letters, digits, - and _ are expected", id)
	case key.IsZero():
		return "", errors.New("there is no secret to sign with")
	case c.Expires.IsZero():
		return "", errors.New("there is no time at which the token expires")
	}
	var payload []string
	add := func(name, value string) {
		if value != "" {
			payload = append(payload, name+"="+url.QueryEscape(value))
		}
	}
	add(ownPrefix, c.Prefix)
	add(ownPath, c.Path)
	add(ownExpires, strconv.FormatInt(c.Expires.Unix(), 10))
	if !c.NotBefore.IsZero() {
		add(ownNotBefore, strconv.FormatInt(c.NotBefore.Unix(), 10))
	}
	if c.Address.IsValid() {
		add(ownAddress, c.Address.Masked().String())
	}
	add(ownSession, c.Session)
	add(ownSubject, c.Subject)
	add(ownTenant, c.Tenant)
	text := strings.Join(payload, "&")
	if _, err := parseOwn(text); err != nil {
		return "", err
	}
	signed := id + "." + strict.EncodeToString([]byte(text))
	signed += "." + strict.EncodeToString(ownMAC(key, signed))
	if len(signed) > MaxBytes {
		return "", fmt.Errorf("the token has %d bytes; at most %d are expected", len(signed), MaxBytes)
	}
	return signed, nil
}

func ownMAC(key Secret, signed string) []byte {
	mac := hmac.New(sha256.New, key.key)
	mac.Write([]byte(signed))
	return mac.Sum(nil)
}

// Verify reads one of Weir's own tokens.
func (k OwnKeys) Verify(text string) (*Verified, error) {
	if len(text) > MaxBytes {
		return nil, refuse(Malformed, "it has %d bytes, more than %d", len(text), MaxBytes)
	}
	id, rest, _ := strings.Cut(text, ".")
	payload, code, ok := strings.Cut(rest, ".")
	if !ok || id == "" || payload == "" {
		return nil, refuse(Malformed, "it is not key.payload.signature")
	}
	mac, err := decode(code)
	if err != nil || len(mac) != sha256.Size {
		return nil, refuse(Malformed, "its signature is not %d bytes in base64url", sha256.Size)
	}
	key, ok := k[id]
	if !ok {
		return nil, refuse(UnknownKey, "there is no key %q", id)
	}
	if !hmac.Equal(mac, ownMAC(key, text[:len(id)+1+len(payload)])) {
		return nil, refuse(Signature, "it is not signed by the key %q", id)
	}
	claims, err := decode(payload)
	if err != nil {
		return nil, refuse(Malformed, "its payload is not base64url")
	}
	v, err := parseOwn(string(claims))
	if err != nil {
		return nil, err
	}
	v.KeyID = id
	return v, nil
}

// parseOwn reads the payload of a token. Each claim may be there once; one that is not known is refused,
// because it may have been meant to narrow what the token is good for.
func parseOwn(payload string) (*Verified, error) {
	v := new(Verified)
	seen := make(map[string]bool, 8)
	for pair := range strings.SplitSeq(payload, "&") {
		name, escaped, _ := strings.Cut(pair, "=")
		value, err := url.QueryUnescape(escaped)
		if err != nil || value == "" {
			return nil, refuse(Malformed, "the claim %q has no value that can be read", name)
		}
		if seen[name] {
			return nil, refuse(Malformed, "the claim %q is there twice", name)
		}
		seen[name] = true
		switch name {
		case ownPrefix, ownPath:
			if clean, ok := cleanScope(value); !ok || clean != value {
				return nil, refuse(Malformed, "%q is not a clean path that begins with /", value)
			}
			if name == ownPrefix && !strings.HasSuffix(value, "/") {
				return nil, refuse(Malformed, "the prefix %q does not end with /", value)
			}
			if name == ownPath && strings.HasSuffix(value, "/") {
				return nil, refuse(Malformed, "the path %q ends with /; a prefix is needed for what is below it", value)
			}
			v.paths = append(v.paths, value)
			v.Prefix = value
		case ownExpires:
			v.Expires, err = seconds(value)
		case ownNotBefore:
			v.NotBefore, err = seconds(value)
		case ownAddress:
			var p netip.Prefix
			if p, err = netip.ParsePrefix(value); err == nil && p != p.Masked() {
				err = errors.New("bits are set after the prefix")
			}
			v.addresses, v.networks = append(v.addresses, p), true
		case ownSession:
			v.Session = value
		case ownSubject:
			v.Subject = value
		case ownTenant:
			v.Tenant = value
		default:
			return nil, refuse(Claim, "the claim %q is not known", name)
		}
		if err != nil {
			return nil, refuse(Malformed, "the claim %s=%s cannot be read: %v", name, value, err)
		}
	}
	switch {
	case len(v.paths) != 1:
		return nil, refuse(Claim, "it claims %d scopes; a prefix (p) or a path (x) is expected", len(v.paths))
	case v.Expires == 0:
		return nil, refuse(Claim, "it never expires; e is expected")
	case v.NotBefore >= v.Expires:
		return nil, refuse(Claim, "it begins to be good at %s, when it has expired", moment(v.NotBefore))
	}
	return v, nil
}

// cleanScope is CleanPath for what is not percent-encoded.
func cleanScope(p string) (string, bool) {
	return CleanPath((&url.URL{Path: p}).EscapedPath())
}

// maxSeconds is the end of the year 9999.
const maxSeconds = 253402300799

func seconds(text string) (int64, error) {
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil || n == 0 || n > maxSeconds || strconv.FormatUint(n, 10) != text {
		return 0, errors.New("seconds since 1970 are expected")
	}
	return int64(n), nil
}
