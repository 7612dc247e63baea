// Package media is the vocabulary of elementary streams: codecs, tracks, and the access units that
// flow from a publisher to whatever reads it.
//
// It has no I/O and imports nothing of this module. A time in a [Unit] is a tick count in its
// track's own timescale; nothing here is a float.
package media
