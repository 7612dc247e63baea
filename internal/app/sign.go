package app

import (
	"cmp"
	"crypto"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-stream/weir/internal/cdn/access"
	"github.com/weir-stream/weir/internal/cdn/access/keyfile"
	"github.com/weir-stream/weir/internal/cdn/access/network"
	"github.com/weir-stream/weir/internal/cdn/access/token"
)

// newSign returns the command that makes addresses which the edge's access rules accept.
func newSign(_ *commandLine, stdout, _ io.Writer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sign",
		Short: "Make addresses that viewers may read for a while",
		Long: `Signs addresses for the edge's access rules (docs/access.md), and prints them and nothing else. With --verify it
looks at one that is signed, and says what it is refused for. Keys are read from files or variables.`,
		Example: `  weir sign token https://cdn.example/vod/film/main.m3u8 --prefix /vod/film/ --key-id k1 --key-file k1 --expires 6h
  weir sign cloudfront https://cdn.example/vod/a.mp4 --key-id K2JCJMDEHXQW5F --key-file private.pem
  weir sign cat https://cdn.example/live/a.m3u8 --prefix /live/ --key-id hs-1 --key-file hs-1 --country SE
  weir sign token --verify 'https://cdn.example/vod/a.mp4?token=…' --key-id k1 --key-file k1`,
		Args: knownCommand, RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		newSignKind(stdout, "token", "Sign with one of Weir's own tokens", "token", "weir-token", (*signing).token),
		newSignKind(stdout, "cloudfront", "Sign as CloudFront has it, with a canned or a custom policy", "", "", (*signing).cloudFront),
		newSignKind(stdout, "cat", "Sign with a Common Access Token (CTA-5007)", token.CATArgument, token.CATField, (*signing).cat),
		newSignKind(stdout, "jwt", "Sign with a JSON Web Token", "jwt", "jwt", (*signing).jwt),
	)
	return cmd
}

// signing is what the flags say, of all kinds.
type signing struct {
	keyID, keyFile, keyEnv, encoding       string
	expires, notBefore, ip                 string
	verify                                 bool
	client                                 string
	headers                                []string
	prefix, in, argument, cookie           string
	session, subject, tenant               string
	algorithm, issuer                      string
	audiences, countries                   []string
	once, custom, cookies, sha256, lenient bool
	resource                               string

	text, scheme, host, rawPath, query string // the address as it was typed: CloudFront signs the text
	path                               string // what the path means
	until, from                        time.Time
	network                            netip.Prefix
	rule                               access.RuleConfig // with verify: what it is held against
}

// newSignKind returns the command for one kind. do returns what is to be printed, or with --verify sets the rule.
func newSignKind(stdout io.Writer, kind, short, argument, cookie string, do func(*signing) (string, error)) *cobra.Command {
	s := new(signing)
	cmd := &cobra.Command{
		Use: kind + " URL", Short: short, Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := s.parse(args[0], time.Now()); err != nil {
				return usageError{err}
			}
			text, err := do(s)
			if err == nil && s.verify {
				text, err = s.check()
			}
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(stdout, text)
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&s.keyID, "key-id", "", "identifier of the key (needed)")
	f.StringVar(&s.keyFile, "key-file", "", "file of the key: a shared secret, or in PEM a private key to sign with, a public one to verify with")
	f.StringVar(&s.keyEnv, "key-env", "", "environment variable of a shared secret, in place of a file")
	f.StringVar(&s.encoding, "key-encoding", "text", "how a shared secret is written: text, hex or base64")
	f.StringVar(&s.expires, "expires", "1h", "how long it is good, or until when (2026-03-01T12:00:00Z)")
	f.StringVar(&s.notBefore, "not-before", "", "in how long it begins to be good, or when")
	f.StringVar(&s.ip, "ip", "", "address or network that it is good for")
	f.BoolVar(&s.verify, "verify", false, "verify the address in place of signing it")
	f.StringVar(&s.client, "client", "", "with --verify: address of the viewer")
	f.StringArrayVarP(&s.headers, "header", "H", nil, "with --verify: field of the request, as 'Name: value' (may be repeated)")
	if kind == "cloudfront" {
		f.StringVar(&s.resource, "resource", "", "addresses that it is good for, with * and ?: a custom policy (default: this one)")
		f.BoolVar(&s.custom, "custom", false, "a custom policy also where a canned one would do")
		f.BoolVar(&s.cookies, "cookies", false, "print cookies, one a line, in place of the address")
		f.BoolVar(&s.sha256, "sha256", false, "sign over SHA-256 (default: SHA-1, as the SDKs do)")
		f.BoolVar(&s.lenient, "ignore-cmcd", false, "with --verify: as an edge with ignore_cmcd")
		return cmd
	}
	f.StringVar(&s.prefix, "prefix", "", "paths that it is good for, with / at the end (default: this path)")
	f.StringVar(&s.subject, "subject", "", "who uses it")
	f.StringVar(&s.argument, "argument", argument, "name of the argument")
	f.StringVar(&s.cookie, "cookie", cookie, "name of the cookie")
	f.StringVar(&s.in, "in", "query", "where it is sent: query, cookie, "+map[bool]string{true: "path", false: "header"}[kind == "token"])
	if kind != "cat" {
		f.StringVar(&s.session, "session", "", "playback session")
		f.StringVar(&s.tenant, "tenant", "", "whose viewer that is")
	}
	if kind != "token" {
		f.StringVar(&s.algorithm, "algorithm", "HS256", "how it is signed: "+map[string]string{"cat": "HS256, ES256, PS256", "jwt": strings.Join(token.JWTAlgorithms(), ", ")}[kind])
		f.StringVar(&s.issuer, "issuer", "", "who signs it")
		f.StringArrayVar(&s.audiences, "audience", nil, "whom it is for (may be repeated)")
	}
	if kind == "cat" {
		f.StringArrayVar(&s.countries, "country", nil, "country or subdivision that it is good in, such as SE or SE-AB (may be repeated)")
		f.BoolVar(&s.once, "once", false, "good for one request")
	}
	return cmd
}

// parse reads the address and the flags that all kinds share.
func (s *signing) parse(text string, now time.Time) (err error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || strings.Contains(text, "#") {
		return fmt.Errorf("%q is not an address such as https://cdn.example/a.mp4, without a fragment", text)
	}
	rest := text[strings.Index(text, "://")+3:]
	slash := strings.IndexByte(rest, '/')
	if slash < 0 || strings.Contains(rest[:slash], "?") {
		return fmt.Errorf("%q has no path", text)
	}
	s.text, s.scheme, s.host = text, u.Scheme, rest[:slash]
	s.rawPath, s.query, _ = strings.Cut(rest[slash:], "?")
	s.path, _ = token.CleanPath(s.rawPath)
	switch {
	case s.keyID == "":
		return errors.New("--key-id is missing: what the edge calls the key")
	case (s.keyFile == "") == (s.keyEnv == ""):
		return errors.New("one of --key-file and --key-env is expected")
	case s.prefix != "" && (!strings.HasSuffix(s.prefix, "/") || !strings.HasPrefix(s.path, s.prefix)) && !s.verify:
		return fmt.Errorf("--prefix: %s is not within %q; a prefix ends with /", s.path, s.prefix)
	}
	if s.until, err = momentOf(s.expires, now); err != nil {
		return fmt.Errorf("--expires: %w", err)
	}
	if s.notBefore != "" {
		if s.from, err = momentOf(s.notBefore, now); err != nil {
			return fmt.Errorf("--not-before: %w", err)
		}
	}
	if s.network, err = network.Parse(s.ip); s.ip != "" && err != nil {
		return fmt.Errorf("--ip: %w", err)
	}
	if !s.verify && (!s.until.After(now) || !s.from.Before(s.until)) {
		return fmt.Errorf("--expires: %s is over before it begins", s.expires)
	}
	return nil
}

func momentOf(text string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(text); err == nil {
		return now.Add(d), nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, fmt.Errorf("%q is not a duration such as 6h or a moment such as 2026-03-01T12:00:00Z", text)
	}
	return t, nil
}

// key is what an edge verifies with.
func (s *signing) key(shared bool, algorithm string) []access.KeyConfig {
	k := access.KeyConfig{ID: s.keyID, PublicKey: s.keyFile, Algorithm: algorithm}
	if shared {
		k.PublicKey, k.Secret = "", keyfile.SecretRef{File: s.keyFile, Env: s.keyEnv, Encoding: s.encoding}
	}
	return []access.KeyConfig{k}
}

// keys reads the key to sign with.
func (s *signing) keys(shared bool) (secret token.Secret, private crypto.Signer, err error) {
	var text []byte
	if shared {
		if text, err = s.key(true, "")[0].Secret.Read(os.LookupEnv); err == nil {
			secret, err = token.NewSecret(text)
		}
	} else if text, err = os.ReadFile(s.keyFile); err == nil {
		private, err = keyfile.ParsePrivateKey(text)
	}
	if err != nil {
		return token.Secret{}, nil, fmt.Errorf("the key %s: %w", s.keyID, err)
	}
	return secret, private, nil
}

// check asks a chain of the rule alone about the address.
func (s *signing) check() (string, error) {
	config := access.DefaultConfig()
	s.rule.Path = "/"
	config.Rules = []access.RuleConfig{s.rule}
	chain, err := access.New(access.Settings{Config: config})
	if err != nil {
		return "", err
	}
	r := &access.Request{Method: http.MethodGet, Host: s.host, Path: s.rawPath, RawQuery: s.query, TLS: s.scheme == "https", Header: http.Header{}}
	if s.client != "" {
		if r.Client, err = netip.ParseAddr(s.client); err != nil {
			return "", usageError{fmt.Errorf("--client: %q is not an address", s.client)}
		}
	}
	for _, h := range s.headers {
		name, value, ok := strings.Cut(h, ":")
		if !ok {
			return "", usageError{fmt.Errorf("--header: %q is not 'Name: value'", h)}
		}
		r.Header.Add(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	if err := chain.Explain(r); err != nil {
		return "", err
	}
	return "good", nil
}

// place returns the token in the place where it is sent.
func (s *signing) place(text, header string) (string, error) {
	switch {
	case s.in == "query":
		return s.with(s.argument + "=" + text), nil
	case s.in == "cookie":
		return s.cookie + "=" + text, nil
	case s.in == "header" && header != "":
		return header + text, nil
	}
	return "", usageError{fmt.Errorf("--in: %q is no place for it", s.in)}
}

// with returns the address with more arguments behind its own.
func (s *signing) with(more string) string {
	between := map[bool]string{false: "?", true: "&"}[strings.Contains(s.text, "?")]
	return s.text + between + more
}

func (s *signing) token() (string, error) {
	if s.verify {
		s.rule.Token = &access.TokenConfig{Keys: s.key(true, ""), Argument: s.argument, Cookie: s.cookie, InPath: true}
		return "", nil
	}
	claims := token.OwnClaims{
		Prefix: s.prefix, Expires: s.until, NotBefore: s.from, Address: s.network, Session: s.session, Subject: s.subject, Tenant: s.tenant,
	}
	if strings.HasSuffix(s.path, "/") {
		claims.Prefix = cmp.Or(s.prefix, s.path)
	} else if s.prefix == "" {
		claims.Path = s.path
	}
	secret, _, err := s.keys(true)
	if err != nil {
		return "", err
	}
	text, err := claims.Sign(s.keyID, secret)
	if err != nil {
		return "", err
	}
	if s.in == "path" {
		// Behind the prefix, so that relative addresses keep it.
		at := "/"
		if strings.HasPrefix(s.rawPath, claims.Prefix) {
			at = cmp.Or(claims.Prefix, at)
		}
		return strings.Replace(s.text, s.host+at, s.host+at+"~"+text+"/", 1), nil
	}
	return s.place(text, "")
}

func (s *signing) cloudFront() (string, error) {
	if s.verify {
		s.rule.CloudFront = &access.CloudFrontConfig{Keys: s.key(false, ""), IgnoreCMCD: s.lenient}
		return "", nil
	}
	if s.resource != "" && !token.Wildcard(s.resource, s.text) {
		return "", usageError{fmt.Errorf("--resource: %s does not match %s", s.text, s.resource)}
	}
	_, key, err := s.keys(false)
	if err != nil {
		return "", err
	}
	signed, err := token.CloudFrontClaims{
		Resource: cmp.Or(s.resource, s.text), Expires: s.until, NotBefore: s.from, Address: s.network, Custom: s.custom || s.resource != "", SHA256: s.sha256,
	}.Sign(s.keyID, key)
	if err != nil || !s.cookies {
		return s.with(signed.Query()), err
	}
	var lines []string
	for _, cookie := range signed.Cookies() {
		lines = append(lines, cookie[0]+"="+cookie[1])
	}
	return strings.Join(lines, "\n"), nil
}

func (s *signing) cat() (string, error) {
	shared := s.algorithm == string(token.HS256)
	if s.verify {
		s.rule.CAT = &access.CATConfig{Keys: s.key(shared, s.algorithm), Audiences: s.audiences, Issuers: strings.Fields(s.issuer), Argument: s.argument, Cookie: s.cookie, Field: token.CATField}
		return "", nil
	}
	scope := token.MatchExact((&url.URL{Path: s.path}).EscapedPath())
	if s.prefix != "" {
		scope = token.MatchPrefix((&url.URL{Path: s.prefix}).EscapedPath())
	}
	claims := map[int64]any{token.ClaimExpires: s.until.Unix(), token.ClaimVersion: 1, token.ClaimURI: map[int64]any{token.URIPath: scope}}
	for _, c := range []struct {
		claim   int64
		present bool
		value   any
	}{
		{token.ClaimNotBefore, !s.from.IsZero(), s.from.Unix()},
		{token.ClaimIssuer, s.issuer != "", s.issuer},
		{token.ClaimSubject, s.subject != "", s.subject},
		{token.ClaimAudience, len(s.audiences) > 0, s.audiences},
		{token.ClaimPlaces, len(s.countries) > 0, s.countries},
		{token.ClaimID, s.once, []byte(rand.Text())},
		{token.ClaimReplay, s.once, 1},
		{token.ClaimNetworks, s.network.IsValid(), []any{token.NetworkClaim(s.network)}},
	} {
		if c.present {
			claims[c.claim] = c.value
		}
	}
	secret, private, err := s.keys(shared)
	if err != nil {
		return "", err
	}
	text, err := token.CATSigner{ID: s.keyID, Algorithm: token.CATAlgorithm(s.algorithm), Secret: secret, Private: private}.Sign(claims)
	if err != nil {
		return "", err
	}
	return s.place(text, token.CATField+": ")
}

func (s *signing) jwt() (string, error) {
	if s.issuer == "" {
		return "", usageError{errors.New("--issuer is missing: who has the key")}
	}
	shared := strings.HasPrefix(s.algorithm, "HS")
	if s.verify {
		s.rule.JWT = &access.JWTConfig{Bearer: true, Argument: s.argument, Cookie: s.cookie, Issuers: []access.JWTIssuerConfig{{
			Issuer: s.issuer, Audiences: s.audiences, Algorithms: []string{s.algorithm}, Keys: s.key(shared, ""),
		}}}
		return "", nil
	}
	claims := map[string]any{"iss": s.issuer, "exp": s.until.Unix(), token.JWTPaths: []string{cmp.Or(s.prefix, s.path)}}
	for name, value := range map[string]string{"sub": s.subject, token.JWTSession: s.session, token.JWTTenant: s.tenant, token.JWTAddress: s.ip} {
		if value != "" {
			claims[name] = value
		}
	}
	if !s.from.IsZero() {
		claims["nbf"] = s.from.Unix()
	}
	if len(s.audiences) > 0 {
		claims["aud"] = s.audiences
	}
	secret, private, err := s.keys(shared)
	if err != nil {
		return "", err
	}
	text, err := token.JWTSigner{ID: s.keyID, Algorithm: s.algorithm, Secret: secret, Private: private}.Sign(claims)
	if err != nil {
		return "", err
	}
	return s.place(text, "Authorization: Bearer ")
}
