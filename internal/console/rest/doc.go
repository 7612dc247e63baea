// Package rest is the HTTP API of the console: sessions, metrics, streams and the live snapshot
// under /api/v1, for the dashboard, for scripts and for other people's programs.
//
// The API is described by OpenAPI, and the description is made from the code: api/openapi.yaml is
// written by the package's test with -update, and the test fails when the file is out of date.
// Errors are RFC 9457 problem documents. The package knows the engines only by the interfaces that
// it declares.
package rest
