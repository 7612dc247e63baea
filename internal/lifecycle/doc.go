// Package lifecycle starts the parts of a program in order and stops them in the opposite order.
//
// Parts are added sinks first: the store before the bus that fills it, the bus before the edge that
// feeds it, the ingest last. A part is started only when the one before it is ready, so nobody ever
// sends to something that does not run yet; and it is stopped only when every part after it has
// ended, so whatever is in flight still finds its destination.
package lifecycle
