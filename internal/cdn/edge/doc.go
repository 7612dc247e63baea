// Package edge is the caching reverse proxy that viewers talk to: it looks an object up in its cache,
// asks the origin once for all who want what is not there, and tells of each request in a
// telemetry.Request.
//
// What a viewer sends never reaches the origin, except for the path and the query without its CMCD
// argument, which together are the cache key. So the origin is asked for an object always in the same
// words, whoever wants it, and its answer can be given to everybody. Cookies and Authorization are not
// forwarded, and Set-Cookie is not passed on.
//
// DESIGN.md draws the way of a request and says where each thing belongs.
package edge
