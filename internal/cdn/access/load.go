package access

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/weir-stream/weir/internal/cdn/access/keyfile"
	"github.com/weir-stream/weir/internal/cdn/access/token"
)

// What keys there may be in a part.
const (
	secrets = 1 << iota
	publics
	algorithms
)

func validateKeys(keys []KeyConfig, kinds int) error {
	if len(keys) == 0 {
		return fmt.Errorf("keys: it is empty")
	}
	seen := make(map[string]bool, len(keys))
	for i, k := range keys {
		fail := func(format string, args ...any) error {
			return fmt.Errorf("keys[%d]%s: %w", i, nameOf(k.ID), fmt.Errorf(format, args...))
		}
		switch {
		case k.ID == "":
			return fail("id: it is empty")
		case seen[k.ID]:
			return fail("id: another key has the same")
		case kinds&publics == 0 && k.PublicKey != "":
			return fail("public_key: a shared secret is expected here")
		case kinds&secrets == 0 && !k.Secret.IsZero():
			return fail("secret: a public key is expected here")
		case k.Secret.IsZero() == (k.PublicKey == ""):
			return fail("%s is expected", map[int]string{secrets: "secret", publics: "public_key"}[kinds&(secrets|publics)]+
				map[bool]string{true: "one of secret and public_key"}[kinds&(secrets|publics) == secrets|publics])
		case kinds&algorithms == 0 && k.Algorithm != "":
			return fail("algorithm: %q is not said of a key here", k.Algorithm)
		}
		if err := k.Secret.Validate(); err != nil {
			return fail("secret.%w", err)
		}
		seen[k.ID] = true
	}
	return nil
}

// environment looks a variable up, as os.LookupEnv does.
type environment = func(name string) (value string, ok bool)

// loadKeys reads the keys by their identifiers.
func loadKeys(keys []KeyConfig, env environment) (map[string]token.Key, error) {
	loaded := make(map[string]token.Key, len(keys))
	for i, k := range keys {
		key, err := k.load(env)
		if err != nil {
			return nil, fmt.Errorf("keys[%d] (%s): %w", i, k.ID, err)
		}
		loaded[k.ID] = key
	}
	return loaded, nil
}

func (k KeyConfig) load(env environment) (token.Key, error) {
	if k.PublicKey == "" {
		b, err := k.Secret.Read(env)
		if err != nil {
			return token.Key{}, err
		}
		secret, err := token.NewSecret(b)
		return token.Key{Secret: secret}, err
	}
	text, err := os.ReadFile(k.PublicKey)
	if err != nil {
		return token.Key{}, err
	}
	public, err := keyfile.ParsePublicKey(text)
	if err != nil {
		return token.Key{}, fmt.Errorf("%s: %w", k.PublicKey, err)
	}
	key, err := token.NewPublicKey(public)
	if err != nil {
		return token.Key{}, fmt.Errorf("%s: %w", k.PublicKey, err)
	}
	return key, nil
}

func validatePlaces(argument, cookie string, other bool) error {
	switch {
	case argument == "" && cookie == "" && !other:
		return fmt.Errorf("argument: it is empty, and there is no other place to look for a token")
	case argument != "" && strings.ContainsAny(argument, "&=%+#; \"<>") || argument == "CMCD":
		return fmt.Errorf("argument: %q is not a name that needs no escapes, other than CMCD", argument)
	case cookie != "" && !isToken(cookie):
		return fmt.Errorf("cookie: %q is not a name that a cookie can have", cookie)
	}
	return nil
}

func (c TokenConfig) validate() error {
	if err := validateKeys(c.Keys, secrets); err != nil {
		return err
	}
	for i, k := range c.Keys {
		if !token.ValidKeyID(k.ID) {
			return fmt.Errorf("keys[%d].id: %q is not of letters, digits, - and _", i, k.ID)
		}
	}
	return validatePlaces(c.Argument, c.Cookie, c.InPath)
}

func (c TokenConfig) load(env environment) (token.OwnKeys, error) {
	keys, err := loadKeys(c.Keys, env)
	if err != nil {
		return nil, err
	}
	own := make(token.OwnKeys, len(keys))
	for id, key := range keys {
		own[id] = key.Secret
	}
	return own, nil
}

func (c CloudFrontConfig) validate() error {
	if err := validateKeys(c.Keys, publics); err != nil {
		return err
	}
	switch c.Scheme {
	case "", "http", "https":
	default:
		return fmt.Errorf("scheme: %q is not http or https", c.Scheme)
	}
	if strings.ContainsAny(c.Host, "/?# ") {
		return fmt.Errorf("host: %q is not a name, with a port or not", c.Host)
	}
	return nil
}

func (c CloudFrontConfig) load(env environment) (token.CloudFrontKeys, error) {
	keys, err := loadKeys(c.Keys, env)
	if err != nil {
		return token.CloudFrontKeys{}, err
	}
	for id, key := range keys {
		if !token.CloudFrontTakes(key) {
			return token.CloudFrontKeys{}, fmt.Errorf("the key %q is neither RSA nor ECDSA on P-256", id)
		}
	}
	return token.CloudFrontKeys{Keys: keys, SHA256Only: c.SHA256Only}, nil
}

func (c CATConfig) validate() error {
	if err := validateKeys(c.Keys, secrets|publics|algorithms); err != nil {
		return err
	}
	for i, k := range c.Keys {
		switch a := token.CATAlgorithm(k.Algorithm); {
		case a != token.HS256 && a != token.ES256 && a != token.PS256:
			return fmt.Errorf("keys[%d] (%s): algorithm: %q is not HS256, ES256 or PS256", i, k.ID, k.Algorithm)
		case (a == token.HS256) == k.Secret.IsZero():
			return fmt.Errorf("keys[%d] (%s): algorithm: %s is not what such a key is for", i, k.ID, k.Algorithm)
		}
	}
	if c.Field != "" && !isToken(c.Field) {
		return fmt.Errorf("field: %q is not a name that a header field can have", c.Field)
	}
	return validatePlaces(c.Argument, c.Cookie, c.Field != "")
}

func (c CATConfig) load(env environment) (token.CATKeys, error) {
	keys, err := loadKeys(c.Keys, env)
	if err != nil {
		return token.CATKeys{}, err
	}
	cat := token.CATKeys{Keys: make(map[string]token.CATKey, len(keys))}
	if len(c.Issuers) > 0 {
		cat.Issuers = c.Issuers
	}
	if len(c.Audiences) > 0 {
		cat.Audiences = c.Audiences
	}
	for i, k := range c.Keys {
		key := token.CATKey{Key: keys[k.ID], Algorithm: token.CATAlgorithm(k.Algorithm)}
		if err := key.Validate(); err != nil {
			return token.CATKeys{}, fmt.Errorf("keys[%d] (%s): %w", i, k.ID, err)
		}
		cat.Keys[k.ID] = key
	}
	return cat, nil
}

func (c JWTConfig) validate() error {
	if len(c.Issuers) == 0 {
		return fmt.Errorf("issuers: it is empty")
	}
	seen := make(map[string]bool, len(c.Issuers))
	for i, issuer := range c.Issuers {
		fail := func(err error) error { return fmt.Errorf("issuers[%d]%s: %w", i, nameOf(issuer.Issuer), err) }
		switch {
		case issuer.Issuer == "":
			return fail(errors.New("issuer: it is empty"))
		case seen[issuer.Issuer]:
			return fail(errors.New("issuer: it is there twice"))
		case len(issuer.Algorithms) == 0:
			return fail(fmt.Errorf("algorithms: it is empty; some of %s are expected", strings.Join(token.JWTAlgorithms(), ", ")))
		}
		for _, a := range issuer.Algorithms {
			if !slices.Contains(token.JWTAlgorithms(), a) {
				return fail(fmt.Errorf("algorithms: %q is not one of %s", a, strings.Join(token.JWTAlgorithms(), ", ")))
			}
		}
		if len(issuer.Keys) > 0 || issuer.KeySet == "" {
			if err := validateKeys(issuer.Keys, secrets|publics); err != nil {
				return fail(err)
			}
		}
		seen[issuer.Issuer] = true
	}
	return validatePlaces(c.Argument, c.Cookie, c.Bearer)
}

func (c JWTConfig) load(env environment) (token.JWTIssuers, error) {
	issuers := make(token.JWTIssuers, len(c.Issuers))
	for i, ic := range c.Issuers {
		fail := func(err error) error { return fmt.Errorf("issuers[%d] (%s): %w", i, ic.Issuer, err) }
		keys, err := loadKeys(ic.Keys, env)
		if err != nil {
			return nil, fail(err)
		}
		if ic.KeySet != "" {
			text, err := os.ReadFile(ic.KeySet)
			if err != nil {
				return nil, fail(fmt.Errorf("key_set: %w", err))
			}
			set, err := keyfile.ParseJWKS(text)
			if err != nil {
				return nil, fail(fmt.Errorf("key_set: %s: %w", ic.KeySet, err))
			}
			for id, k := range set {
				if _, twice := keys[id]; twice {
					return nil, fail(fmt.Errorf("key_set: the key %q is also in keys", id))
				}
				var key token.Key
				if k.Public != nil {
					key, err = token.NewPublicKey(k.Public)
				} else {
					key.Secret, err = token.NewSecret(k.Secret)
				}
				if err != nil {
					return nil, fail(fmt.Errorf("key_set: %s: the key %q: %w", ic.KeySet, id, err))
				}
				keys[id] = key
			}
		}
		issuer := token.JWTIssuer{Name: ic.Issuer, Algorithms: ic.Algorithms, Keys: keys, NeedPaths: ic.NeedPaths}
		if len(ic.Audiences) > 0 {
			issuer.Audiences = ic.Audiences
		}
		if err := issuer.Validate(); err != nil {
			return nil, fail(err)
		}
		issuers[ic.Issuer] = issuer
	}
	return issuers, nil
}
