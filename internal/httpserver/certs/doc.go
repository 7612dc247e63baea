// Package certs finds the certificate for a TLS handshake: in files, which are read again when they change, and
// from an ACME server (RFC 8555), with the challenges HTTP-01 and TLS-ALPN-01.
//
// A name is looked for in the files first, by its whole and then as a wildcard, then among those of ACME; a name
// that nobody has, or none, gets the first file.
package certs
