// Package keyfile reads keys from where operators keep them: PEM, JSON Web Key Sets, and files or environment
// variables with shared secrets. Its errors name the place and what was expected, and never show a secret.
package keyfile

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"strings"
)

// Key is a key of a set: a shared secret, or a public key.
type Key struct {
	Secret []byte
	Public crypto.PublicKey
}

// ParsePublicKey reads a public key, or the one of a certificate, from PEM. A private key is refused: an
// edge has no use for one.
func ParsePublicKey(text []byte) (crypto.PublicKey, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("there is no PEM block; a public key such as -----BEGIN PUBLIC KEY----- is expected")
	}
	switch block.Type {
	case "PUBLIC KEY":
		public, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("the public key cannot be read: %w", err)
		}
		return public, nil
	case "RSA PUBLIC KEY":
		public, err := x509.ParsePKCS1PublicKey(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("the RSA public key cannot be read: %w", err)
		}
		return public, nil
	case "CERTIFICATE":
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("the certificate cannot be read: %w", err)
		}
		return certificate.PublicKey, nil
	}
	return nil, fmt.Errorf("the PEM block is a %q; a PUBLIC KEY or CERTIFICATE is expected", block.Type)
}

// ParsePrivateKey reads a private key from PEM: PKCS #8, PKCS #1 or SEC 1, not encrypted.
func ParsePrivateKey(text []byte) (crypto.Signer, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("there is no PEM block; a private key such as -----BEGIN PRIVATE KEY----- is expected")
	}
	var key any
	var err error
	switch block.Type {
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	default:
		return nil, fmt.Errorf("the PEM block is a %q; an unencrypted PRIVATE KEY is expected", block.Type)
	}
	if err != nil {
		return nil, fmt.Errorf("the private key cannot be read: %w", err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("the key is a %T; RSA, ECDSA or Ed25519 is expected", key)
	}
	return signer, nil
}

// ParseJWKS reads a JSON Web Key Set (RFC 7517 §5), every key of which must have an identifier of its own
// and be of a kind that is known. Private members are ignored.
func ParseJWKS(text []byte) (map[string]Key, error) {
	var set struct {
		Keys []struct {
			Type  string `json:"kty"`
			ID    string `json:"kid"`
			Use   string `json:"use"`
			Curve string `json:"crv"`
			N     string `json:"n"`
			E     string `json:"e"`
			X     string `json:"x"`
			Y     string `json:"y"`
			K     string `json:"k"`
		} `json:"keys"`
	}
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, fmt.Errorf("the key set is not JSON of the expected form: %w", err)
	}
	keys := make(map[string]Key, len(set.Keys))
	for i, k := range set.Keys {
		if k.Use != "" && k.Use != "sig" {
			continue // for encryption; no business of ours
		}
		if k.ID == "" {
			return nil, fmt.Errorf("key %d of the set has no kid", i+1)
		}
		if _, twice := keys[k.ID]; twice {
			return nil, fmt.Errorf("two keys of the set have the kid %q", k.ID)
		}
		var key Key
		var err error
		switch k.Type {
		case "RSA":
			key.Public, err = rsaKey(k.N, k.E)
		case "EC":
			key.Public, err = ecKey(k.Curve, k.X, k.Y)
		case "OKP":
			key.Public, err = okpKey(k.Curve, k.X)
		case "oct":
			if key.Secret, err = decodeURL(k.K); err != nil || len(key.Secret) == 0 {
				err = errors.New("k is not base64url") // without what it is
			}
		default:
			err = fmt.Errorf("its kty is %q; RSA, EC, OKP or oct is expected", k.Type)
		}
		if err != nil {
			return nil, fmt.Errorf("the key %q of the set cannot be used: %w", k.ID, err)
		}
		keys[k.ID] = key
	}
	if len(keys) == 0 {
		return nil, errors.New("the set has no key for signatures")
	}
	return keys, nil
}

func integer(name, text string) (*big.Int, error) {
	b, err := decodeURL(text)
	if err != nil || len(b) == 0 || len(b) > 2048 {
		return nil, fmt.Errorf("%s is not a base64url number", name)
	}
	return new(big.Int).SetBytes(b), nil
}

func rsaKey(n, e string) (crypto.PublicKey, error) {
	modulus, err := integer("n", n)
	if err != nil {
		return nil, err
	}
	exponent, err := integer("e", e)
	if err != nil {
		return nil, err
	}
	if !exponent.IsInt64() || exponent.Int64() < 3 || exponent.Int64() > 1<<31-1 || exponent.Bit(0) == 0 {
		return nil, errors.New("e is not an odd number from 3 to 2³¹-1")
	}
	return &rsa.PublicKey{N: modulus, E: int(exponent.Int64())}, nil
}

func ecKey(curve, x, y string) (crypto.PublicKey, error) {
	curves := map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}
	c, ok := curves[curve]
	if !ok {
		return nil, fmt.Errorf("its crv is %q; P-256, P-384 or P-521 is expected", curve)
	}
	size := (c.Params().BitSize + 7) / 8
	point := []byte{4}
	for _, coordinate := range []string{x, y} {
		b, err := decodeURL(coordinate)
		if err != nil || len(b) != size {
			return nil, fmt.Errorf("x and y are not %d bytes in base64url each", size)
		}
		point = append(point, b...)
	}
	public, err := ecdsa.ParseUncompressedPublicKey(c, point)
	if err != nil {
		return nil, errors.New("x and y are no point of the curve")
	}
	return public, nil
}

func okpKey(curve, x string) (crypto.PublicKey, error) {
	if curve != "Ed25519" {
		return nil, fmt.Errorf("its crv is %q; Ed25519 is expected", curve)
	}
	b, err := decodeURL(x)
	if err != nil || len(b) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("x is not %d bytes in base64url", ed25519.PublicKeySize)
	}
	return ed25519.PublicKey(b), nil
}

func decodeURL(text string) ([]byte, error) {
	return base64.RawURLEncoding.Strict().DecodeString(strings.TrimRight(text, "="))
}
