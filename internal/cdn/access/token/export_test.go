package token

import (
	"crypto"
	"crypto/rand"

	"github.com/fxamacker/cbor/v2"
)

// SignOwnPayload signs a payload as it is, right or wrong.
func SignOwnPayload(id string, key Secret, payload string) string {
	signed := id + "." + strict.EncodeToString([]byte(payload))
	return signed + "." + strict.EncodeToString(ownMAC(key, signed))
}

// SignCloudFrontPolicy signs a custom policy as it is, right or wrong.
func SignCloudFrontPolicy(id string, key crypto.Signer, policy string) CloudFront {
	signature, err := key.Sign(rand.Reader, digestOf(crypto.SHA1, []byte(policy)), crypto.SHA1)
	if err != nil {
		panic(err)
	}
	return CloudFront{Policy: encodeCloudFront([]byte(policy)), Signature: encodeCloudFront(signature), KeyPairID: id}
}

// SignCOSE makes a COSE message with a MAC, right or wrong in all else.
func SignCOSE(secret Secret, tag uint64, protected, unprotected map[int64]any, payload []byte) string {
	if unprotected == nil {
		unprotected = map[int64]any{}
	}
	if protected == nil {
		protected = map[int64]any{}
	}
	header, err := cbor.Marshal(protected)
	if err != nil {
		panic(err)
	}
	code, err := mac0(secret, header, payload)
	if err != nil {
		panic(err)
	}
	message, err := cbor.Marshal(cbor.Tag{Number: tag, Content: []any{header, unprotected, payload, code}})
	if err != nil {
		panic(err)
	}
	return strict.EncodeToString(message)
}
