package token

import (
	"fmt"
	"io"
)

// MinSecretBytes is the least length of a shared secret: that of the hash that it keys (RFC 7518 §3.2,
// RFC 9053 §3.1).
const MinSecretBytes = 32

// Secret is a shared secret. However it is printed, encoded or logged, it shows nothing.
type Secret struct{ key []byte }

// NewSecret returns the secret that has the bytes of key.
func NewSecret(key []byte) (Secret, error) {
	if len(key) < MinSecretBytes {
		return Secret{}, fmt.Errorf("the secret has %d bytes; at least %d are expected", len(key), MinSecretBytes)
	}
	return Secret{key: append([]byte(nil), key...)}, nil
}

// IsZero reports whether there is no secret.
func (s Secret) IsZero() bool { return len(s.key) == 0 }

const redacted = "[redacted]"

// String returns nothing of the secret.
func (s Secret) String() string { return redacted }

// GoString returns nothing of the secret.
func (s Secret) GoString() string { return redacted }

// Format writes nothing of the secret, whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalText returns nothing of the secret; encoders of JSON and logs use it.
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalYAML returns nothing of the secret.
func (s Secret) MarshalYAML() (any, error) { return redacted, nil }
