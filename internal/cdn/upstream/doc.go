// Package upstream is where an edge gets objects from: a [Pool] of origins behind one
// http.RoundTripper. It chooses who is asked, keeps away from who fails, asks another one where that is
// safe, and says who has answered.
//
// Origins stand in tiers: shields (edges in front of the origins, chosen by consistent hash over the
// object), origins, and backups. A tier is used only when those before it have nobody to ask. Within a
// tier the origin with the fewest running requests for its weight is asked, or the one that the object's
// key hashes to.
//
// An origin is out after several failures in a row or when most of its answers are errors, for a time
// that grows; then one request at a time tries it. Active checks, if configured, put an origin behind
// all others, but never out of use on their word alone: a wrong health path must not end delivery. When
// all are out, requests fail at once, and each origin is tried once a second.
//
// A request is sent again only if the first byte of an answer has not come, the method is idempotent or
// nothing was sent, no byte of its body was read, and the retry budget allows it. To the same origin it is
// sent twice at most, and with [Once] not even that.
//
// What an origin answers is passed on as it is: redirects are not followed, Age, Date and Cache-Status
// of a shield stay, 1xx answers go to the caller's httptrace.ClientTrace.
//
// Loops of edges end by CDN-Loop (RFC 8586): the pool adds the node's ID, and refuses a request that has
// it. A request that waits for another one's fetch never gets here, so whoever collapses requests asks
// [Pool.Looped] before.
//
// Locks: each origin and the budget have one, and none is taken while another is held.
package upstream
