// Package analytics is the vocabulary of answers: a [Session] is one playback by one player, a
// [Query] asks for named metrics, a [Result] answers it, and [Live] is what is going on right now.
// It has no behaviour; the engines are the packages below it. The definitions of the metrics are
// in package query, once for everybody who asks.
//
// Durations are seconds, sizes bytes, bitrates bit/s. The JSON names are the API.
package analytics
