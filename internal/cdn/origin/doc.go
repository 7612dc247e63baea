// Package origin serves objects to edges. The objects come from a [Source] for each mounted prefix:
// the packager's live window, the library's assets. The source says what an object's headers are;
// this package adds HTTP: methods, ranges, conditions, errors.
//
// A [Handler] is an http.Handler for edges on other machines and an http.RoundTripper for the edge in
// the same process. Both go the same way; in process the object's bytes are handed over as a reader,
// so nothing is copied and no goroutine is started.
//
// CORS and Cache-Status are the edge's.
package origin
