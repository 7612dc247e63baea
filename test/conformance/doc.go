// Package conformance tests the built program as an edge against what HTTP says of caches: the suite
// http-cache-tests with its own origin and client, scored by its own rules and compared with a committed
// table, and rules of our own, each of which names its section. The folder's README says how to run the
// newer edition of the suite, and how the harness itself was checked.
package conformance
