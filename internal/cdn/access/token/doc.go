// Package token reads and makes the credentials with which a viewer may be let to an object: Weir's own
// signed tokens, the signed URLs and cookies of CloudFront, Common Access Tokens (CTA-5007) and JSON Web
// Tokens (RFC 7519).
//
// Reading has two halves. Verify looks at the signature, which is dear and depends on the token alone, so
// what it returns can be kept. [Verified.Check] holds what the token claims against one request, which is
// cheap and done each time; so a verdict that is kept cannot outlive the token.
//
// Everything fails closed: what is not understood is refused, with a [RefusedError] whose [Reason] is a word
// for the log. Comparisons of secrets take the same time whatever they find.
package token
