package access

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/weir-stream/weir/internal/cdn/access/challenge"
	"github.com/weir-stream/weir/internal/cdn/access/limit"
	"github.com/weir-stream/weir/internal/cdn/access/network"
	"github.com/weir-stream/weir/internal/cdn/access/token"
)

// rule is a RuleConfig that has been read, with its keys and lists. It does not change.
type rule struct {
	RuleConfig
	prefix    bool
	open      bool // nothing is asked for
	secured   bool // a credential is asked for
	strip     []string
	addresses *network.List

	own        token.OwnKeys
	cloudFront token.CloudFrontKeys
	cat        token.CATKeys
	catField   string // in canonical form
	jwt        token.JWTIssuers
}

// covers reports whether a clean path is the rule's. A prefix also covers the folder without its slash.
func (r *rule) covers(path string) bool {
	if !r.prefix {
		return path == r.Path
	}
	return strings.HasPrefix(path, r.Path) || len(path) == len(r.Path)-1 && path == r.Path[:len(path)]
}

// state is all that a Reload replaces.
type state struct {
	Config
	rules    []*rule // longest path first
	inPath   bool    // a rule takes tokens from paths
	atlas    *atlas
	verdicts *verdicts
	rates    *limit.Rate
	work     *challenge.Challenge
}

// find returns the rule of a clean path, nil if it has none.
func (s *state) find(path string) *rule {
	for _, r := range s.rules {
		if r.covers(path) {
			return r
		}
	}
	return nil
}

// pathMark begins a path segment that is a token.
const pathMark = "/~"

// cutToken takes the first segment that has the form of a token out of a clean path:
// ~key.payload.signature.
func cutToken(path string) (text, rest string, ok bool) {
	for from := 0; ; {
		start := strings.Index(path[from:], pathMark)
		if start < 0 {
			return "", "", false
		}
		start += from
		from = start + len(pathMark)
		text, _, ok = strings.Cut(path[from:], "/")
		if ok && strings.Count(text, ".") == 2 {
			return text, path[:start] + path[from+len(text):], true
		}
	}
}

// target is what a request asks for: the rule, the clean path of the object, and the token in the path.
func (s *state) target(clean string) (r *rule, path, inPath string) {
	// The rule is that of the object which would be served, so that no token in a path leads past a rule.
	if s.inPath && strings.Contains(clean, pathMark) {
		if text, rest, ok := cutToken(clean); ok {
			if r := s.find(rest); r != nil && r.Token != nil && r.Token.InPath {
				return r, rest, text
			}
		}
	}
	return s.find(clean), clean, ""
}

// newState reads the configuration's files. rates is taken over if it is of the right size.
func newState(c Config, env environment, secret []byte, rates *limit.Rate, old *state) (*state, error) {
	if err := errors.Join(c.Validate(), wrap("challenge.", c.Challenge.Validate()), wrap("challenge.secret.", c.Challenge.Secret.Validate())); err != nil {
		return nil, err
	}
	s := &state{Config: c, rates: rates, verdicts: newVerdicts(c.VerdictBytes)}
	if rates == nil || old.RateEntries != c.RateEntries {
		s.rates = limit.NewRate(c.RateEntries)
	}
	if !c.Challenge.Secret.IsZero() {
		var err error
		if secret, err = c.Challenge.Secret.Read(env); err == nil && len(secret) < token.MinSecretBytes {
			err = fmt.Errorf("it has %d bytes; at least %d are expected", len(secret), token.MinSecretBytes)
		}
		if err != nil {
			return nil, fmt.Errorf("challenge.secret: %w", err)
		}
	}
	var err error
	if s.work, err = challenge.New(challenge.Settings{
		Secret: secret, Bits: c.Challenge.Bits, Lifetime: c.Challenge.Lifetime, Cookie: c.Challenge.Cookie,
	}); err != nil {
		return nil, fmt.Errorf("challenge: %w", err)
	}
	if s.atlas, err = openAtlas(c.GeoDatabases); err != nil {
		return nil, err
	}
	for i, rc := range c.Rules {
		r, err := newRule(rc, env)
		if err != nil {
			return nil, fmt.Errorf("rules[%d]%s: %w", i, nameOf(rc.Path), err)
		}
		s.rules = append(s.rules, r)
		s.inPath = s.inPath || rc.Token != nil && rc.Token.InPath
	}
	slices.SortFunc(s.rules, func(a, b *rule) int { return cmp.Compare(len(b.Path), len(a.Path)) })
	return s, nil
}

func wrap(where string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s%w", where, err)
}

func newRule(c RuleConfig, env environment) (*rule, error) {
	r := &rule{RuleConfig: c, prefix: strings.HasSuffix(c.Path, "/")}
	r.secured = c.Token != nil || c.CloudFront != nil || c.CAT != nil || c.JWT != nil
	r.open = !r.secured && c.Geo == nil && c.Addresses == nil && c.Referrer == nil && c.Rate == nil && c.Challenge == nil
	var err error
	strip := func(name string) {
		if name != "" {
			r.strip = append(r.strip, name)
		}
	}
	if c.Token != nil {
		if r.own, err = c.Token.load(env); err != nil {
			return nil, fmt.Errorf("token: %w", err)
		}
		strip(c.Token.Argument)
	}
	if c.CloudFront != nil {
		if r.cloudFront, err = c.CloudFront.load(env); err != nil {
			return nil, fmt.Errorf("cloudfront: %w", err)
		}
		r.strip = append(r.strip, token.CloudFrontArguments()...)
	}
	if c.CAT != nil {
		if r.cat, err = c.CAT.load(env); err != nil {
			return nil, fmt.Errorf("cat: %w", err)
		}
		r.catField = http.CanonicalHeaderKey(c.CAT.Field)
		strip(c.CAT.Argument)
	}
	if c.JWT != nil {
		if r.jwt, err = c.JWT.load(env); err != nil {
			return nil, fmt.Errorf("jwt: %w", err)
		}
		strip(c.JWT.Argument)
	}
	if c.Addresses != nil {
		if r.addresses, err = c.Addresses.Load(); err != nil {
			return nil, fmt.Errorf("addresses: %w", err)
		}
	}
	return r, nil
}

// grantOf returns what a token, or no token if v is nil, grants below the rule.
func (r *rule) grantOf(v *token.Verified, path string) Grant {
	if v == nil {
		return Grant{Tenant: r.Tenant, Prefix: r.Path}
	}
	g := Grant{Tenant: cmp.Or(v.Tenant, r.Tenant), Subject: v.Subject, Session: v.Session, Prefix: cmp.Or(v.Prefix, path)}
	if v.Expires != 0 {
		g.Expires = time.Unix(v.Expires, 0)
	}
	return g
}
