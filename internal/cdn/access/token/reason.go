package token

import "fmt"

// Reason is a word for the log that says why a request was refused.
type Reason string

// Why a token is refused.
const (
	Missing    Reason = "token-missing"   // none was sent
	Malformed  Reason = "token-malformed" // what was sent cannot be read
	UnknownKey Reason = "token-key"       // no key has the identifier that it names
	Algorithm  Reason = "token-algorithm" // signed in a way that its key is not for
	Signature  Reason = "token-signature" // not signed by the key that it names
	Expired    Reason = "token-expired"   // it was good until a moment that has passed
	Early      Reason = "token-early"     // it is good from a moment that has not come
	Scope      Reason = "token-scope"     // it is good for other addresses
	Address    Reason = "token-address"   // it is good for other clients
	Method     Reason = "token-method"    // it is good for other methods
	Header     Reason = "token-header"    // it wants header fields that the request has not
	Place      Reason = "token-place"     // it is good in other countries
	Issuer     Reason = "token-issuer"    // from somebody who is not known here
	Audience   Reason = "token-audience"  // for somebody else
	Claim      Reason = "token-claim"     // it claims what this edge cannot hold to, or lacks what it must claim
	Replayed   Reason = "token-replayed"  // it is good once, and has been used
)

// RefusedError is the refusal of a token. Detail is for whoever runs the edge, never for a viewer; it holds
// no secret.
type RefusedError struct {
	Reason Reason
	Detail string
}

func (e *RefusedError) Error() string { return string(e.Reason) + ": " + e.Detail }

func refuse(reason Reason, format string, args ...any) error {
	return &RefusedError{Reason: reason, Detail: fmt.Sprintf(format, args...)}
}
