// Package freshness says what a shared cache may do with an answer: whether to keep it, for whom, how
// long, and what to do with it then. It follows RFC 9111 (caching), RFC 5861 (stale), RFC 9213 (targeted
// control) and RFC 9875 (groups). All of it are functions of headers and times: the package keeps no
// state, reads no clock, starts nothing.
//
// # Where it stands
//
// The edge asks it twice per object: [Config.Evaluate] when an answer comes, [Freshness.Usable] when a
// request finds the object. A 304 goes through [Config.Revalidate], an answer to HEAD through
// [MatchesHead] and the same. What is kept of a header is [Config.Stored]; under which variant,
// [VaryKey]; which tags purge it, [Tags]; what an unsafe request takes away, [Invalidates] and
// [Invalidated].
//
// # Design
//
// Two kinds of traffic meet here. Objects of a presentation (manifest, init, segment) appear at any
// moment, are asked for without anything of a viewer, and are wrong when they are old: for them the rules
// are narrow, errors are never kept longer than Config.NegativeTTL, and nothing is guessed. Everything
// else ([cdn.Other]) is ordinary HTTP, and is treated as RFC 9111 says, heuristics and errors with an
// explicit lifetime included. [Rule] is where the two differ, and where an operator can change it.
//
// Where the RFCs leave a choice:
//
//   - Of a directive or field that is given twice, the first counts (§4.2.1, §5.1, §5.3).
//   - A lifetime that is no number, or that has white space around its "=", is 0 (§4.2.1). A
//     Cache-Control with a quote that does not end allows nothing: as no-cache.
//   - An Age that is no number does not count (§5.1). Dates are read strictly, letters of any case, in
//     all three formats (RFC 9110 §5.6.7); http.ParseTime takes "2:01:18" and double spaces.
//   - Date has whole seconds, so the time of receipt is cut to whole seconds where the two are compared:
//     else a lifetime of one second would be half over on arrival.
//   - The time that the origin took counts as age (§4.2.3), but for objects of a presentation only if
//     the answer came through another cache: an origin that was made to wait (blocking playlist reload)
//     makes its answer at the end of the wait.
//   - s-maxage forbids to serve stale, as proxy-revalidate does (§5.2.2.10): stale-while-revalidate and
//     stale-if-error beside it have no effect.
//   - Directives of a request limit what is served while the origin answers. When it fails they are what
//     §5.2.1 calls them, advice, except that stale-if-error in a request is obeyed (RFC 5861 §4).
//   - An answer that may be one person's (a cookie was sent or is set) is kept or shared only if the
//     origin says so in words; never by heuristics or by a rule's TTL.
//   - Accept-Encoding and Accept-Language select regardless of the order of their members: RFC 9110
//     §12.5.3 and §12.5.4 give order no meaning that could be relied upon.
//   - A targeted field (RFC 9213) with a directive whose value has the wrong type is ignored as a whole,
//     like one that does not parse.
//
// Evaluate runs once per fetch and may allocate; Age, TTL, Fresh, Usable, UsableOnError, ParseRequest and
// VaryKey without variants run once per hit and do not.
package freshness
