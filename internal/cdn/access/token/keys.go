package token

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"fmt"
	"strings"
)

// Key is what checks a signature: a shared secret, or a public key.
type Key struct {
	Secret Secret
	Public crypto.PublicKey
}

// minRSABits is the least length of an RSA key (RFC 7518 §3.3).
const minRSABits = 2048

// NewPublicKey returns the key that checks what the private half of public has signed. RSA from 2,048
// bits, ECDSA on P-256, P-384 and P-521, and Ed25519 can be used.
func NewPublicKey(public crypto.PublicKey) (Key, error) {
	switch k := public.(type) {
	case *rsa.PublicKey:
		if bits := k.N.BitLen(); bits < minRSABits {
			return Key{}, fmt.Errorf("the RSA key has %d bits; at least %d are expected", bits, minRSABits)
		}
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256(), elliptic.P384(), elliptic.P521():
		default:
			return Key{}, fmt.Errorf("the ECDSA key is on %s; P-256, P-384 or P-521 is expected", k.Params().Name)
		}
	case ed25519.PublicKey:
	default:
		return Key{}, fmt.Errorf("the key is a %T; RSA, ECDSA or Ed25519 is expected", public)
	}
	return Key{Public: public}, nil
}

// strict is base64url as tokens have it. It refuses bits that say nothing, so that a token has one spelling.
var strict = base64.RawURLEncoding.Strict()

// decode decodes base64url without padding, and without the line feeds that package base64 passes over.
func decode(text string) ([]byte, error) {
	if strings.ContainsAny(text, "\r\n") {
		return nil, base64.CorruptInputError(strings.IndexAny(text, "\r\n"))
	}
	return strict.DecodeString(text)
}
