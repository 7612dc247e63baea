package access

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/weir-stream/weir/internal/cdn/access/challenge"
	"github.com/weir-stream/weir/internal/cdn/access/keyfile"
	"github.com/weir-stream/weir/internal/cdn/access/network"
	"github.com/weir-stream/weir/internal/cdn/access/token"
)

// Config is what users write about access. Without rules everybody may read everything.
type Config struct {
	// Skew is how far the clocks of those who sign may be apart from ours.
	Skew time.Duration `yaml:"skew"`
	// VerdictBytes bounds the memory for tokens that are known to be signed well; RateEntries is how many
	// clients the limits of rate remember, at 16 bytes each.
	VerdictBytes int64 `yaml:"verdict_bytes"`
	RateEntries  int   `yaml:"rate_entries"`
	// ConnectionsPerAddress bounds the connections that one client has open; 0: no bound.
	ConnectionsPerAddress int `yaml:"connections_per_address"`
	// GeoDatabases are files in MaxMind's format, of countries, cities and autonomous systems. What one
	// does not know the next is asked for.
	GeoDatabases []string        `yaml:"geo_databases"`
	Challenge    ChallengeConfig `yaml:"challenge"`
	Rules        []RuleConfig    `yaml:"rules"`
}

// ChallengeConfig is the work that browsers are asked for when their network is abusive.
type ChallengeConfig struct {
	// Secret signs what is asked; the same for all edges. Without one each process has its own.
	Secret keyfile.SecretRef `yaml:"secret"`
	// Bits is the work, 2^Bits hashes on average; Lifetime how long it is remembered, in Cookie.
	Bits     int           `yaml:"bits"`
	Lifetime time.Duration `yaml:"lifetime"`
	Cookie   string        `yaml:"cookie"`
	// Hold is how long a network is challenged that went over a rule's rate.
	Hold time.Duration `yaml:"hold"`
}

// RuleConfig is what must hold for the paths below one. Of token, cloudfront, cat and jwt one is enough.
type RuleConfig struct {
	// Path is a prefix if it ends with a slash, else one path.
	Path string `yaml:"path"`
	// Tenant is whose paths they are, where a token does not say so.
	Tenant     string               `yaml:"tenant,omitempty"`
	Token      *TokenConfig         `yaml:"token,omitempty"`
	CloudFront *CloudFrontConfig    `yaml:"cloudfront,omitempty"`
	CAT        *CATConfig           `yaml:"cat,omitempty"`
	JWT        *JWTConfig           `yaml:"jwt,omitempty"`
	Geo        *GeoConfig           `yaml:"geo,omitempty"`
	Addresses  *network.Config      `yaml:"addresses,omitempty"`
	Referrer   *ReferrerConfig      `yaml:"referrer,omitempty"`
	Rate       *RateConfig          `yaml:"rate,omitempty"`
	Challenge  *RuleChallengeConfig `yaml:"challenge,omitempty"`
}

// KeyConfig is a key: a shared secret, or the file of a public key in PEM.
type KeyConfig struct {
	ID        string            `yaml:"id"`
	Secret    keyfile.SecretRef `yaml:"secret,omitempty"`
	PublicKey string            `yaml:"public_key,omitempty"`
	// Algorithm is what a key of Common Access Tokens is for: HS256, ES256 or PS256.
	Algorithm string `yaml:"algorithm,omitempty"`
}

// TokenConfig asks for one of Weir's own tokens.
type TokenConfig struct {
	Keys []KeyConfig `yaml:"keys"`
	// Argument and Cookie are where it is looked for; "": not there.
	Argument string `yaml:"argument"`
	Cookie   string `yaml:"cookie"`
	// InPath also takes it from a path segment that begins with ~, which is not part of the object's path.
	InPath bool `yaml:"in_path"`
}

// CloudFrontConfig asks for a signed URL or signed cookies of CloudFront.
type CloudFrontConfig struct {
	Keys       []KeyConfig `yaml:"keys"`
	SHA256Only bool        `yaml:"sha256_only"`
	// IgnoreCMCD tries a canned policy once more without the CMCD argument, which a player adds after the
	// URL was signed. CloudFront does not.
	IgnoreCMCD bool `yaml:"ignore_cmcd"`
	// Scheme and Host are what was signed if that is not what this edge is asked for; "": what it is.
	Scheme string `yaml:"scheme"`
	Host   string `yaml:"host"`
}

// CATConfig asks for a Common Access Token.
type CATConfig struct {
	Keys      []KeyConfig `yaml:"keys"`
	Issuers   []string    `yaml:"issuers"`
	Audiences []string    `yaml:"audiences"`
	Argument  string      `yaml:"argument"`
	Cookie    string      `yaml:"cookie"`
	Field     string      `yaml:"field"`
}

// JWTConfig asks for a JSON Web Token.
type JWTConfig struct {
	Issuers []JWTIssuerConfig `yaml:"issuers"`
	// Bearer takes it from Authorization (RFC 6750); Argument and Cookie are where else it is looked for.
	Bearer   bool   `yaml:"bearer"`
	Argument string `yaml:"argument"`
	Cookie   string `yaml:"cookie"`
}

// JWTIssuerConfig is somebody whose JSON Web Tokens are accepted.
type JWTIssuerConfig struct {
	Issuer     string      `yaml:"issuer"`
	Audiences  []string    `yaml:"audiences"`
	Algorithms []string    `yaml:"algorithms"`
	Keys       []KeyConfig `yaml:"keys"`
	// KeySet is a file with a JSON Web Key Set. Nothing is fetched.
	KeySet string `yaml:"key_set"`
	// NeedPaths refuses tokens that do not say which paths they are for.
	NeedPaths bool `yaml:"need_paths"`
}

// GeoConfig says where viewers may be. Deny counts before allow; an empty allow is everywhere.
type GeoConfig struct {
	Allow PlacesConfig `yaml:"allow"`
	Deny  PlacesConfig `yaml:"deny"`
	// Unknown is allow or deny: what becomes of those of whom it is not known.
	Unknown string `yaml:"unknown"`
}

// PlacesConfig are countries (ISO 3166-1: SE), subdivisions (ISO 3166-2: SE-AB) and autonomous systems.
type PlacesConfig struct {
	Countries    []string `yaml:"countries,omitempty"`
	Subdivisions []string `yaml:"subdivisions,omitempty"`
	ASNs         []uint32 `yaml:"asns,omitempty"`
}

// ReferrerConfig says which pages may use the objects.
type ReferrerConfig struct {
	// Hosts are those of Origin or Referer: names, or *. and a name for all below it.
	Hosts []string `yaml:"hosts"`
	// AllowEmpty lets in what says nothing of a page, such as applications.
	AllowEmpty bool `yaml:"allow_empty"`
}

// RateConfig bounds requests per second; 0: no bound. An address of IPv6 stands for its /64.
type RateConfig struct {
	PerAddress float64 `yaml:"per_address"`
	PerSubject float64 `yaml:"per_subject"`
	PerTenant  float64 `yaml:"per_tenant"`
	// Burst is how long a client that was idle may save its requests up for.
	Burst time.Duration `yaml:"burst"`
}

// RuleChallengeConfig says whose browsers are asked for work.
type RuleChallengeConfig struct {
	// Mode is always, abuse (networks that are let to more than Above requests per second, and those that an
	// operator names), or never.
	Mode  string  `yaml:"mode"`
	Above float64 `yaml:"above"`
}

// How a rule challenges.
const (
	challengeAlways = "always"
	challengeAbuse  = "abuse"
	challengeNever  = "never"
)

const allow, deny = "allow", "deny"

// DefaultConfig returns the configuration of an edge that nobody has configured.
func DefaultConfig() Config {
	return Config{
		Skew:         time.Minute,
		VerdictBytes: 32 << 20,
		RateEntries:  128 << 10,
		GeoDatabases: []string{},
		Challenge:    ChallengeConfig{Bits: 16, Lifetime: time.Hour, Cookie: "weir-work", Hold: 10 * time.Minute},
		Rules:        []RuleConfig{},
	}
}

func defaultToken() TokenConfig { return TokenConfig{Argument: "token", Cookie: "weir-token"} }
func defaultCAT() CATConfig {
	return CATConfig{Argument: token.CATArgument, Cookie: token.CATField, Field: token.CATField}
}
func defaultJWT() JWTConfig { return JWTConfig{Bearer: true} }
func defaultGeo() GeoConfig { return GeoConfig{Unknown: deny} }
func defaultRate() RateConfig {
	// None for a tenant: one that a single client can use up shuts all its viewers out.
	return RateConfig{PerAddress: 10_000, PerSubject: 10_000, Burst: time.Second}
}

func defaultRuleChallenge() RuleChallengeConfig {
	// More than one address may ask for, or one alone would have all its neighbours challenged.
	return RuleChallengeConfig{Mode: challengeAbuse, Above: 20_000}
}

// Validate reports the first value that cannot be. Files are not opened.
func (c Config) Validate() error {
	switch {
	case c.Skew < 0 || c.Skew > 24*time.Hour:
		return fmt.Errorf("skew: %v is not from 0s to 24h", c.Skew)
	case c.VerdictBytes < 1<<20:
		return fmt.Errorf("verdict_bytes: %d is less than 1048576", c.VerdictBytes)
	case c.RateEntries < 1024 || c.RateEntries > 1<<26:
		return fmt.Errorf("rate_entries: %d is not from 1024 to 67108864", c.RateEntries)
	case c.ConnectionsPerAddress < 0:
		return fmt.Errorf("connections_per_address: %d is less than 0", c.ConnectionsPerAddress)
	}
	seen := make(map[string]bool, len(c.Rules))
	for i, r := range c.Rules {
		if err := r.Validate(); err != nil {
			return fmt.Errorf("rules[%d]%s: %w", i, nameOf(r.Path), err)
		}
		if seen[r.Path] {
			return fmt.Errorf("rules[%d]%s: another rule has the same path", i, nameOf(r.Path))
		}
		seen[r.Path] = true
		if len(c.GeoDatabases) == 0 && r.Geo != nil {
			return fmt.Errorf("rules[%d]%s: geo: there is no file in geo_databases to look addresses up in", i, nameOf(r.Path))
		}
	}
	return nil
}

func nameOf(p string) string {
	if p == "" {
		return ""
	}
	return " (" + p + ")"
}

// Validate reports the first value that cannot be.
func (c ChallengeConfig) Validate() error {
	switch {
	case c.Bits < challenge.MinBits || c.Bits > challenge.MaxBits:
		return fmt.Errorf("bits: %d is not from %d to %d", c.Bits, challenge.MinBits, challenge.MaxBits)
	case c.Lifetime < time.Second:
		return fmt.Errorf("lifetime: %v is less than 1s", c.Lifetime)
	case c.Hold < time.Second:
		return fmt.Errorf("hold: %v is less than 1s", c.Hold)
	case !isToken(c.Cookie):
		return fmt.Errorf("cookie: %q is not a name that a cookie can have", c.Cookie)
	}
	return nil
}

// Validate reports the first value that cannot be.
func (r RuleConfig) Validate() error {
	clean := path.Clean(r.Path)
	if strings.HasSuffix(r.Path, "/") && clean != "/" {
		clean += "/"
	}
	if !strings.HasPrefix(r.Path, "/") || clean != r.Path || strings.ContainsAny(r.Path, "%?#*") {
		return fmt.Errorf("path: %q is not a clean path that begins with /, without escapes", r.Path)
	}
	for _, part := range []struct {
		name    string
		present bool
		check   func() error
	}{
		{"token", r.Token != nil, func() error { return r.Token.validate() }},
		{"cloudfront", r.CloudFront != nil, func() error { return r.CloudFront.validate() }},
		{"cat", r.CAT != nil, func() error { return r.CAT.validate() }},
		{"jwt", r.JWT != nil, func() error { return r.JWT.validate() }},
		{"geo", r.Geo != nil, func() error { return r.Geo.validate() }},
		{"addresses", r.Addresses != nil, func() error { return r.Addresses.Check() }},
		{"referrer", r.Referrer != nil, func() error { return r.Referrer.validate() }},
		{"rate", r.Rate != nil, func() error { return r.Rate.validate() }},
		{"challenge", r.Challenge != nil, func() error { return r.Challenge.validate() }},
	} {
		if part.present {
			if err := part.check(); err != nil {
				return fmt.Errorf("%s.%w", part.name, err)
			}
		}
	}
	return nil
}

func (g GeoConfig) validate() error {
	for name, places := range map[string]PlacesConfig{"allow": g.Allow, "deny": g.Deny} {
		for _, c := range places.Countries {
			if len(c) != 2 || strings.ToUpper(c) != c {
				return fmt.Errorf("%s.countries: %q is not a code of ISO 3166-1 such as SE", name, c)
			}
		}
		for _, s := range places.Subdivisions {
			if country, rest, ok := strings.Cut(s, "-"); !ok || len(country) != 2 || rest == "" || len(rest) > 3 || strings.ToUpper(s) != s {
				return fmt.Errorf("%s.subdivisions: %q is not a code of ISO 3166-2 such as SE-AB", name, s)
			}
		}
		if slices.Contains(places.ASNs, 0) {
			return fmt.Errorf("%s.asns: 0 is not the number of an autonomous system", name)
		}
	}
	if g.Allow.empty() && g.Deny.empty() {
		return fmt.Errorf("allow: it is empty, and so is deny")
	}
	if g.Unknown != allow && g.Unknown != deny {
		return fmt.Errorf("unknown: %q is not allow or deny", g.Unknown)
	}
	return nil
}

func (p PlacesConfig) empty() bool {
	return len(p.Countries) == 0 && len(p.Subdivisions) == 0 && len(p.ASNs) == 0
}

func (r ReferrerConfig) validate() error {
	if len(r.Hosts) == 0 {
		return fmt.Errorf("hosts: it is empty")
	}
	for _, h := range r.Hosts {
		name := strings.TrimPrefix(h, "*.")
		if name == "" || name != strings.ToLower(name) || strings.ContainsAny(name, "*/:@ ") {
			return fmt.Errorf("hosts: %q is not a name in lower case such as example.com or *.example.com", h)
		}
	}
	return nil
}

func (r RateConfig) validate() error {
	for _, rate := range []struct {
		name  string
		value float64
	}{{"per_address", r.PerAddress}, {"per_subject", r.PerSubject}, {"per_tenant", r.PerTenant}} {
		// 1e8: the steps between requests are nanoseconds.
		if !(rate.value == 0 || rate.value >= 0.001 && rate.value <= 1e8) {
			return fmt.Errorf("%s: %v is not 0 or from 0.001 to 100000000 requests per second", rate.name, rate.value)
		}
	}
	if r.Burst < 0 || r.Burst > time.Hour {
		return fmt.Errorf("burst: %v is not from 0s to 1h", r.Burst)
	}
	return nil
}

func (c RuleChallengeConfig) validate() error {
	switch c.Mode {
	case challengeAlways, challengeAbuse, challengeNever:
	default:
		return fmt.Errorf("mode: %q is not always, abuse or never", c.Mode)
	}
	if !(c.Above >= 0 && c.Above <= 1e8) {
		return fmt.Errorf("above: %v is not from 0 to 100000000 requests per second", c.Above)
	}
	return nil
}

// isToken reports whether s is a token of HTTP (RFC 9110 §5.6.2), as names of cookies and fields are.
func isToken(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return s != ""
}
