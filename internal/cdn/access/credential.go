package access

import (
	"cmp"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/weir-stream/weir/cmcd"
	"github.com/weir-stream/weir/internal/cdn/access/token"
)

// credential returns the first credential of a request that is good for it. If none is, the error is that of
// the last one that was sent.
func (c *Chain) credential(s *state, rule *rule, t *token.Request, inPath string) (*token.Verified, error) {
	refused := missing
	try := func(t *token.Request, v *token.Verified, found bool, err error) bool {
		if !found {
			return false
		}
		if err == nil {
			err = v.Check(t, s.Skew)
		}
		if err == nil && v.Once {
			err = c.useOnce(s, v, t)
		}
		if err == nil {
			return true
		}
		refused = err
		return false
	}
	if rule.Token != nil {
		if v, found, err := s.ownToken(rule, t, inPath); try(t, v, found, err) {
			return v, nil
		}
	}
	if rule.CloudFront != nil {
		signed := *t // as it was signed, which need not be as it is asked for
		signed.Scheme, signed.Host = cmp.Or(rule.CloudFront.Scheme, t.Scheme), cmp.Or(rule.CloudFront.Host, t.Host)
		if v, found, err := s.signedURL(rule, &signed); try(&signed, v, found, err) {
			return v, nil
		}
	}
	if rule.CAT != nil {
		text, found, err := rule.CAT.text(rule, t)
		var v *token.Verified
		if found && err == nil {
			v, err = s.verify(catKind, rule, text, t, rule.cat.Verify)
		}
		if try(t, v, found, err) {
			return v, nil
		}
	}
	if rule.JWT != nil {
		text, found, err := rule.JWT.text(t)
		var v *token.Verified
		if found && err == nil {
			v, err = s.verify(jwtKind, rule, text, t, rule.jwt.Verify)
		}
		if try(t, v, found, err) {
			return v, nil
		}
	}
	return nil, refused
}

func reasonOf(err error) Reason {
	var refused *token.RefusedError
	if errors.As(err, &refused) {
		return refused.Reason
	}
	return token.Malformed
}

func (c *Chain) useOnce(s *state, v *token.Verified, t *token.Request) error {
	switch first, full := c.replays.use(v, t.Now, s.Skew); {
	case full:
		return &token.RefusedError{Reason: ReplayFull, Detail: "too many tokens that are good once are remembered"}
	case !first:
		return &token.RefusedError{Reason: token.Replayed, Detail: "it is good once, and has been used"}
	}
	return nil
}

// verify returns the token if it is signed well, from memory if that is known.
func (s *state) verify(k kind, rule *rule, text string, t *token.Request, verify func(string) (*token.Verified, error)) (*token.Verified, error) {
	key := verdictKey{rule: rule, kind: k, text: text}
	if v := s.verdicts.get(key); v != nil {
		return v, nil
	}
	key.text = strings.Clone(text) // what is kept must not hold on to the request
	v, err := verify(key.text)
	if err == nil && !v.Once {
		s.verdicts.put(key, v, t.Now)
	}
	return v, err
}

// ownToken looks for one of Weir's own tokens in the path, the query and the cookies, in this order.
func (s *state) ownToken(rule *rule, t *token.Request, inPath string) (v *token.Verified, found bool, err error) {
	text := inPath
	if text == "" {
		if text, found, err = sent(t, rule.Token.Argument, rule.Token.Cookie); !found || err != nil {
			return nil, found, err
		}
	}
	v, err = s.verify(ownKind, rule, text, t, rule.own.Verify)
	return v, true, err
}

// sent returns the token of an argument or a cookie.
func sent(t *token.Request, argument, cookieName string) (text string, found bool, err error) {
	if argument != "" {
		value, n := token.Argument(t.RawQuery, argument)
		if n > 0 {
			if n > 1 {
				return "", true, twice
			}
			if strings.IndexByte(value, '%') >= 0 {
				if value, err = url.QueryUnescape(value); err != nil {
					return "", true, twice
				}
			}
			return value, true, nil
		}
	}
	if cookieName != "" {
		value, n := cookie(t.Header, cookieName)
		if n > 1 {
			return "", true, twice
		}
		return value, n == 1, nil
	}
	return "", false, nil
}

// signedURL looks for a signed URL of CloudFront, then for signed cookies.
func (s *state) signedURL(rule *rule, t *token.Request) (v *token.Verified, found bool, err error) {
	c, found, err := token.CloudFrontOfQuery(t.RawQuery)
	if !found {
		c, found, err = token.CloudFrontOfCookies(func(name string) (string, int) { return cookie(t.Header, name) })
	}
	if !found || err != nil {
		return nil, found, err
	}
	v, err = s.verifyCloudFront(rule, c, t.RawQuery, t)
	if err != nil && c.Policy == "" && rule.CloudFront.IgnoreCMCD && reasonOf(err) == token.Signature {
		if query := cmcd.StripQuery(t.RawQuery); query != t.RawQuery {
			v, err = s.verifyCloudFront(rule, c, query, t)
		}
	}
	return v, true, err
}

func (s *state) verifyCloudFront(rule *rule, c token.CloudFront, query string, t *token.Request) (*token.Verified, error) {
	resource := token.Resource(t.Scheme, t.Host, t.RawPath, query)
	// The order of the parts is fixed and none has a space, so that no two credentials have one text.
	key := verdictKey{rule: rule, kind: cloudFrontKind, text: strings.Join([]string{c.Signature, c.KeyPairID, c.Hash, c.Expires, c.Policy}, " ")}
	if strings.Count(key.text, " ") != 4 {
		return nil, &token.RefusedError{Reason: token.Malformed, Detail: "a part has a space"}
	}
	if c.Policy == "" {
		key.resource = resource // a canned policy is bound to it
	}
	if v := s.verdicts.get(key); v != nil {
		return v, nil
	}
	c.KeyPairID = strings.Clone(c.KeyPairID)
	v, err := rule.cloudFront.Verify(c, resource)
	if err == nil {
		s.verdicts.put(key, v, t.Now)
	}
	return v, err
}

// text returns the Common Access Token of the header field, the cookie or the argument, in this order.
func (c *CATConfig) text(rule *rule, t *token.Request) (string, bool, error) {
	if rule.catField != "" {
		if values := t.Header[rule.catField]; len(values) > 0 {
			if len(values) > 1 {
				return "", true, twice
			}
			return strings.TrimRight(values[0], "="), true, nil
		}
	}
	if text, found, err := sent(t, "", c.Cookie); found {
		return strings.TrimRight(text, "="), true, err
	}
	text, found, err := sent(t, c.Argument, "")
	return strings.TrimRight(text, "="), found, err
}

// text returns the JSON Web Token of Authorization, the argument or the cookie, in this order.
func (c *JWTConfig) text(t *token.Request) (string, bool, error) {
	if c.Bearer {
		if values := t.Header["Authorization"]; len(values) > 0 {
			scheme, text, _ := strings.Cut(values[0], " ")
			if strings.EqualFold(scheme, "Bearer") {
				if len(values) > 1 {
					return "", true, twice
				}
				return strings.TrimSpace(text), true, nil
			}
		}
	}
	return sent(t, c.Argument, c.Cookie)
}

// missing refuses a request without a credential.
var missing error = &token.RefusedError{Reason: token.Missing, Detail: "no credential was sent in a place where it is looked for"}

// twice refuses what is sent more than once, or cannot be decoded: which of them is meant is not guessed.
var twice error = &token.RefusedError{Reason: token.Malformed, Detail: "it is sent more than once, or cannot be decoded"}

// cookie returns the value of the cookie with a name, and how many have it.
func cookie(h http.Header, name string) (value string, count int) {
	for _, line := range h["Cookie"] {
		for rest := line; rest != ""; {
			var pair string
			pair, rest, _ = strings.Cut(rest, ";")
			pair = strings.TrimLeft(pair, " \t")
			if len(pair) > len(name) && pair[len(name)] == '=' && pair[:len(name)] == name {
				if count++; count == 1 {
					value = strings.Trim(strings.TrimRight(pair[len(name)+1:], " \t"), `"`)
				}
			}
		}
	}
	return value, count
}
