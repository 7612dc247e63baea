// Package sf reads structured field values (RFC 8941) strictly: dictionaries, lists and items, as
// CMCD and CMSD are written. Where a parser of a header throws the whole field away at the first
// mistake, this one notes what was found and what was expected, and goes on with the next member,
// so that one run finds all that is wrong. Who wants the behaviour of RFC 8941 §4.2 refuses the
// field if there is any error.
//
// Every value keeps its place and its raw text. The cost is linear in the length of the input, and
// the memory is bounded: see [MaxValues] and [MaxErrors].
package sf
