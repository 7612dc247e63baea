// Package telemetry is the vocabulary of measurement: a [Request] is what a server saw of one HTTP
// request, a [Report] is what a player said of itself, a record is either, and a [Batch] is how
// they travel from the bus to a store.
//
// A record is a value and is never changed once it has been handed to the bus. Durations are
// time.Duration, sizes bytes; the units of CMCD (kbit/s, ms) live only inside the cmcd values.
package telemetry
