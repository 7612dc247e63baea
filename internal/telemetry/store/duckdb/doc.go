// Package duckdb is the embedded telemetry store: one DuckDB file in the data directory, written by
// one process.
//
// An acknowledged batch (Append has returned nil) is on disk and survives kill -9; a batch is
// there as a whole or not at all. Appending a record again changes nothing: records are known by
// their ID. A batch that is tried again has the same times, so a look at the rows of those times is
// enough to tell. A report that its player has sent again has another time, but its ID is among
// those that were written last, which the store remembers, also over a restart.
//
// Readers never make the writer wait, nor each other; a checkpoint makes the writer wait, which is
// why a bus stands in front of it.
//
// Units change here: columns are in seconds and bit/s, where CMCD has milliseconds and kbit/s. The
// columns are described in docs/telemetry.md and made in schema.go.
//
// DuckDB needs cgo. Built without it, or with the tag noduckdb, New returns an error.
//
// Locks: Store.writing, then Store.mu.
package duckdb
