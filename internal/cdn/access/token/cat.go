package token

import (
	"bytes"
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/fxamacker/cbor/v2"
	"github.com/veraison/go-cose"
)

// Where a Common Access Token is sent (CTA-5007).
const (
	CATField    = "CTA-Common-Access-Token" // header field and cookie
	CATArgument = "CAT"                     // argument of the query
)

// CATAlgorithm is how a Common Access Token is signed.
type CATAlgorithm string

// How a Common Access Token may be signed (CTA-5007; RFC 9053).
const (
	HS256 CATAlgorithm = "HS256"
	ES256 CATAlgorithm = "ES256"
	PS256 CATAlgorithm = "PS256"
)

// CATKey is a key and the one algorithm that it is for.
type CATKey struct {
	Key       Key
	Algorithm CATAlgorithm
}

// CATKeys check Common Access Tokens: keys by identifier. A token names its key.
type CATKeys struct {
	Keys map[string]CATKey
	// Issuers and Audiences are those that are accepted, one of each must be claimed; nil: any, or none.
	Issuers, Audiences []string
}

const (
	tagMac0  = 17 // COSE_Mac0
	tagSign1 = 18 // COSE_Sign1
	tagCWT   = 61 // RFC 8392 §6

	algorithmHS256 = 5 // HMAC 256/256, RFC 9053 §3.1
)

// cborReader reads CBOR with bounds, and refuses what can be said in two ways: keys that are there twice,
// and lengths that are not known.
func cborReader() (cbor.DecMode, error) {
	return cbor.DecOptions{
		DupMapKey:        cbor.DupMapKeyEnforcedAPF,
		IndefLength:      cbor.IndefLengthForbidden,
		IntDec:           cbor.IntDecConvertSignedOrFail,
		MaxNestedLevels:  8,
		MaxArrayElements: 256,
		MaxMapPairs:      64,
	}.DecMode()
}

type coseMessage struct {
	_           struct{} `cbor:",toarray"`
	Protected   []byte
	Unprotected map[any]any
	Payload     []byte
	Code        []byte // authentication tag or signature
}

// Verify reads a Common Access Token: base64url of a CWT in COSE_Mac0 or COSE_Sign1.
func (k CATKeys) Verify(text string) (*Verified, error) {
	if len(text) > MaxBytes {
		return nil, refuse(Malformed, "it has %d bytes, more than %d", len(text), MaxBytes)
	}
	raw, err := decode(text)
	if err != nil {
		return nil, refuse(Malformed, "it is not base64url without padding")
	}
	reader, err := cborReader()
	if err != nil {
		return nil, err
	}
	var tag cbor.RawTag
	if err := reader.Unmarshal(raw, &tag); err != nil {
		return nil, refuse(Malformed, "it is not one tagged CBOR item")
	}
	if tag.Number == tagCWT {
		raw = tag.Content
		if err := reader.Unmarshal(raw, &tag); err != nil {
			return nil, refuse(Malformed, "what is tagged as CWT has no tag of COSE")
		}
	}
	if tag.Number != tagMac0 && tag.Number != tagSign1 {
		return nil, refuse(Malformed, "its tag is %d; 17 (COSE_Mac0) or 18 (COSE_Sign1) is expected", tag.Number)
	}
	var message coseMessage
	var protected map[any]any
	if err := reader.Unmarshal(tag.Content, &message); err != nil {
		return nil, refuse(Malformed, "it is not the four parts of COSE")
	}
	if err := reader.Unmarshal(message.Protected, &protected); err != nil {
		return nil, refuse(Malformed, "its protected header cannot be read")
	}
	id, key, err := k.keyOf(protected, message.Unprotected)
	if err != nil {
		return nil, err
	}
	if _, critical := protected[cose.HeaderLabelCritical]; critical {
		return nil, refuse(Claim, "its header has critical parameters")
	}
	var ok bool
	switch {
	case key.Algorithm == HS256 && tag.Number == tagMac0:
		mac, err := mac0(key.Key.Secret, message.Protected, message.Payload)
		ok = err == nil && hmac.Equal(mac, message.Code)
	case key.Algorithm != HS256 && tag.Number == tagSign1:
		ok = verifySign1(key, raw)
	default:
		return nil, refuse(Algorithm, "the key %q is for %s, which goes with another tag than %d", id, key.Algorithm, tag.Number)
	}
	if !ok {
		return nil, refuse(Signature, "it is not signed by the key %q", id)
	}
	v := &Verified{KeyID: id}
	if err := v.readCAT(reader, message.Payload, k); err != nil {
		return nil, err
	}
	return v, nil
}

// keyOf returns the key that the headers name. The algorithm must be protected, and be the key's.
func (k CATKeys) keyOf(protected, unprotected map[any]any) (string, CATKey, error) {
	value, ok := protected[cose.HeaderLabelKeyID]
	if !ok {
		value = unprotected[cose.HeaderLabelKeyID]
	}
	id, ok := value.([]byte)
	if !ok {
		return "", CATKey{}, refuse(UnknownKey, "it names no key")
	}
	key, ok := k.Keys[string(id)]
	if !ok {
		return "", CATKey{}, refuse(UnknownKey, "there is no key %q", id)
	}
	want, err := key.Algorithm.number()
	if err != nil {
		return "", CATKey{}, err
	}
	if protected[cose.HeaderLabelAlgorithm] != want {
		return "", CATKey{}, refuse(Algorithm, "it is signed with %v; the key %q is for %s (%d)", protected[cose.HeaderLabelAlgorithm], id, key.Algorithm, want)
	}
	return string(id), key, nil
}

func (a CATAlgorithm) number() (int64, error) {
	switch a {
	case HS256:
		return algorithmHS256, nil
	case ES256:
		return int64(cose.AlgorithmES256), nil
	case PS256:
		return int64(cose.AlgorithmPS256), nil
	}
	return 0, fmt.Errorf("the algorithm is %q; HS256, ES256 or PS256 is expected", string(a))
}

// Validate reports a key that is not for its algorithm.
func (k CATKey) Validate() error {
	if _, err := k.Algorithm.number(); err != nil {
		return err
	}
	if k.Algorithm == HS256 {
		if k.Key.Secret.IsZero() {
			return errors.New("HS256 needs a secret")
		}
		return nil
	}
	if k.Key.Public == nil {
		return fmt.Errorf("%s needs a public key", k.Algorithm)
	}
	_, err := k.verifier()
	return err
}

func (k CATKey) verifier() (cose.Verifier, error) {
	algorithm := cose.AlgorithmES256
	if k.Algorithm == PS256 {
		algorithm = cose.AlgorithmPS256
	}
	return cose.NewVerifier(algorithm, k.Key.Public)
}

func verifySign1(key CATKey, raw []byte) bool {
	verifier, err := key.verifier()
	if err != nil {
		return false
	}
	var message cose.Sign1Message
	return message.UnmarshalCBOR(raw) == nil && message.Verify(nil, verifier) == nil
}

// mac0 returns the HMAC 256/256 of a COSE_Mac0 (RFC 9052 §6.3).
func mac0(secret Secret, protected, payload []byte) ([]byte, error) {
	if secret.IsZero() {
		return nil, errors.New("there is no secret")
	}
	text, err := cbor.Marshal([]any{"MAC0", protected, []byte{}, payload})
	if err != nil {
		return nil, err
	}
	mac := hmac.New(sha256.New, secret.key)
	mac.Write(text)
	return mac.Sum(nil), nil
}

// CATSigner signs Common Access Tokens: with a secret for HS256, with a private key for the others.
type CATSigner struct {
	ID        string
	Algorithm CATAlgorithm
	Secret    Secret
	Private   crypto.Signer
}

// Sign returns the token that has the claims, which are keyed by number.
func (s CATSigner) Sign(claims map[int64]any) (string, error) {
	encoder, err := cbor.EncOptions{Sort: cbor.SortCoreDeterministic}.EncMode()
	if err != nil {
		return "", err
	}
	payload, err := encoder.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("encode the claims: %w", err)
	}
	algorithm, err := s.Algorithm.number()
	if err != nil {
		return "", err
	}
	if s.ID == "" {
		return "", errors.New("the key has no identifier")
	}
	headers := cose.Headers{
		Protected:   cose.ProtectedHeader{cose.HeaderLabelAlgorithm: cose.Algorithm(algorithm)},
		Unprotected: cose.UnprotectedHeader{cose.HeaderLabelKeyID: []byte(s.ID)},
	}
	var message []byte
	if s.Algorithm == HS256 {
		protected, err := encoder.Marshal(map[int64]int64{cose.HeaderLabelAlgorithm: algorithm})
		if err != nil {
			return "", err
		}
		code, err := mac0(s.Secret, protected, payload)
		if err != nil {
			return "", err
		}
		message, err = encoder.Marshal(cbor.Tag{Number: tagMac0, Content: []any{
			protected, map[int64][]byte{cose.HeaderLabelKeyID: []byte(s.ID)}, payload, code,
		}})
		if err != nil {
			return "", err
		}
	} else {
		if s.Private == nil {
			return "", fmt.Errorf("%s needs a private key", s.Algorithm)
		}
		signer, err := cose.NewSigner(cose.Algorithm(algorithm), s.Private)
		if err != nil {
			return "", fmt.Errorf("%s: %w", s.Algorithm, err)
		}
		if message, err = cose.Sign1(rand.Reader, signer, headers, payload, nil); err != nil {
			return "", fmt.Errorf("sign with %s: %w", s.Algorithm, err)
		}
	}
	var out bytes.Buffer
	out.Write([]byte{0xd8, tagCWT}) // RFC 8392 §6
	out.Write(message)
	return strict.EncodeToString(out.Bytes()), nil
}
