package token

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/golang-jwt/jwt/v5"
)

// The claims of a JSON Web Token that are Weir's own. Each is optional.
const (
	JWTPaths   = "paths"  // array of paths; those that end with / are prefixes
	JWTAddress = "ip"     // a network that it is good for
	JWTSession = "sid"    // the playback session
	JWTTenant  = "tenant" // whose viewer it is
)

// JWTAlgorithms are the algorithms of JSON Web Tokens that may be allowed, in no order of preference.
func JWTAlgorithms() []string {
	return []string{"HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
}

// JWTIssuer is somebody whose JSON Web Tokens are accepted.
type JWTIssuer struct {
	// Name is what iss must be.
	Name string
	// Audiences are those of which aud must have one; nil: aud is not looked at.
	Audiences []string
	// Algorithms are those that a token may be signed with.
	Algorithms []string
	// Keys are the issuer's keys; the token's kid is one of the names.
	Keys map[string]Key
	// NeedPaths refuses a token that says nothing of paths.
	NeedPaths bool
}

// Validate reports an algorithm that cannot be, and a key that none of the algorithms is for.
func (i JWTIssuer) Validate() error {
	if len(i.Algorithms) == 0 {
		return fmt.Errorf("there are no algorithms; some of %q are expected", JWTAlgorithms())
	}
	for _, a := range i.Algorithms {
		if !slices.Contains(JWTAlgorithms(), a) {
			return fmt.Errorf("the algorithm is %q; one of %q is expected", a, JWTAlgorithms())
		}
	}
	if len(i.Keys) == 0 {
		return errors.New("there are no keys")
	}
	for id, key := range i.Keys {
		if !slices.ContainsFunc(i.Algorithms, key.fits) {
			return fmt.Errorf("the key %q is for none of %q", id, i.Algorithms)
		}
	}
	return nil
}

// fits reports whether the key is for the algorithm. A public key is never taken for a shared secret.
func (k Key) fits(algorithm string) bool {
	switch public := k.Public.(type) {
	case nil:
		return strings.HasPrefix(algorithm, "HS") && !k.Secret.IsZero()
	case *rsa.PublicKey:
		return strings.HasPrefix(algorithm, "RS") || strings.HasPrefix(algorithm, "PS")
	case *ecdsa.PublicKey:
		return algorithm == map[elliptic.Curve]string{elliptic.P256(): "ES256", elliptic.P384(): "ES384", elliptic.P521(): "ES512"}[public.Curve]
	case ed25519.PublicKey:
		return algorithm == "EdDSA"
	}
	return false
}

// JWTIssuers are those whose JSON Web Tokens are accepted, by name.
type JWTIssuers map[string]JWTIssuer

// Verify reads a JSON Web Token in its compact form.
func (issuers JWTIssuers) Verify(text string) (*Verified, error) {
	if len(text) > MaxBytes {
		return nil, refuse(Malformed, "it has %d bytes, more than %d", len(text), MaxBytes)
	}
	if strings.ContainsAny(text, "\r\n") {
		return nil, refuse(Malformed, "it has line feeds")
	}
	// Who issued it decides which keys are tried; that it says the truth is seen by the signature.
	var claims jwt.MapClaims
	unverified, _, err := jwt.NewParser(jwt.WithStrictDecoding()).ParseUnverified(text, &claims)
	if err != nil {
		return nil, refuse(Malformed, "it is not the compact form of a JSON Web Token with an algorithm that is known")
	}
	name, _ := claims["iss"].(string)
	issuer, ok := issuers[name]
	if !ok {
		return nil, refuse(Issuer, "the issuer is %q, which is not one of those that are accepted", name)
	}
	algorithm := unverified.Method.Alg()
	if !slices.Contains(issuer.Algorithms, algorithm) {
		return nil, refuse(Algorithm, "it is signed with %s; one of %q is expected", algorithm, issuer.Algorithms)
	}
	if _, critical := unverified.Header["crit"]; critical {
		return nil, refuse(Claim, "its header has critical parameters") // RFC 7515 §4.1.11
	}
	id, ok := unverified.Header["kid"].(string)
	if !ok {
		return nil, refuse(UnknownKey, "it names no key (kid)")
	}
	key, ok := issuer.Keys[id]
	if !ok {
		return nil, refuse(UnknownKey, "there is no key %q of %q", id, name)
	}
	if !key.fits(algorithm) {
		return nil, refuse(Algorithm, "the key %q is not for %s", id, algorithm)
	}
	parser := jwt.NewParser(jwt.WithValidMethods([]string{algorithm}), jwt.WithStrictDecoding(), jwt.WithoutClaimsValidation())
	claims = nil
	if _, err := parser.ParseWithClaims(text, &claims, func(*jwt.Token) (any, error) {
		if key.Public != nil {
			return key.Public, nil
		}
		return key.Secret.key, nil
	}); err != nil {
		return nil, refuse(Signature, "it is not signed by the key %q of %q", id, name)
	}
	v := &Verified{KeyID: id}
	if err := v.readJWT(claims, issuer); err != nil {
		return nil, err
	}
	return v, nil
}

func (v *Verified) readJWT(claims jwt.MapClaims, issuer JWTIssuer) error {
	var audiences []string
	for name, value := range claims {
		var err error
		switch name {
		case "iss":
			v.Issuer, err = textOf(value)
		case "sub":
			v.Subject, err = textOf(value)
		case "aud":
			audiences, err = textsOf(value, true)
		case "exp":
			v.Expires, err = dateOf(value)
		case "nbf":
			v.NotBefore, err = dateOf(value)
		case "jti":
			v.ID, err = textOf(value)
		case JWTSession:
			v.Session, err = textOf(value)
		case JWTTenant:
			v.Tenant, err = textOf(value)
		case JWTAddress:
			var text string
			if text, err = textOf(value); err == nil {
				var p netip.Prefix
				p, err = networkOf(text)
				v.addresses, v.networks = []netip.Prefix{p}, true
			}
		case JWTPaths:
			if v.paths, err = textsOf(value, true); err == nil {
				err = cleanPaths(v.paths)
			}
			if err == nil && len(v.paths) == 1 {
				v.Prefix = v.paths[0]
			}
		}
		if err != nil {
			return refuse(Claim, "%s: %v", name, err)
		}
	}
	if issuer.NeedPaths && v.paths == nil {
		return refuse(Claim, "it says nothing of %s", JWTPaths)
	}
	return v.acceptable([]string{issuer.Name}, issuer.Audiences, audiences)
}

func cleanPaths(paths []string) error {
	for _, p := range paths {
		if clean, ok := cleanScope(p); !ok || clean != p {
			return fmt.Errorf("%q is not a clean path that begins with /", p)
		}
	}
	return nil
}

// JWTSigner signs JSON Web Tokens: with a secret for HS…, with a private key for the others.
type JWTSigner struct {
	ID        string
	Algorithm string
	Secret    Secret
	Private   crypto.Signer
}

// Sign returns the token that has the claims.
func (s JWTSigner) Sign(claims map[string]any) (string, error) {
	if !slices.Contains(JWTAlgorithms(), s.Algorithm) {
		return "", fmt.Errorf("the algorithm is %q; one of %q is expected", s.Algorithm, JWTAlgorithms())
	}
	key := Key{Secret: s.Secret}
	var with any = s.Secret.key
	if s.Private != nil {
		key, with = Key{Public: s.Private.Public()}, s.Private
	}
	if !key.fits(s.Algorithm) {
		return "", fmt.Errorf("the key is not for %s", s.Algorithm)
	}
	if s.ID == "" {
		return "", errors.New("the key has no identifier")
	}
	t := jwt.NewWithClaims(jwt.GetSigningMethod(s.Algorithm), jwt.MapClaims(claims))
	t.Header["kid"] = s.ID
	return t.SignedString(with)
}
