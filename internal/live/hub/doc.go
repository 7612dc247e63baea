// Package hub joins the publishers of running streams with their readers: one writer, many readers,
// bounded memory.
//
// Ingests write to it, and the packager, recorder, transcoder and restreamers read from it. It starts
// no goroutine: work is done in the callers of Write and Next. DESIGN.md has the flow of data.
//
// Guarantees:
//   - Write never waits for a reader.
//   - A reader gets each Track before the track's first Unit, and its first video unit after a Track is
//     a keyframe.
//   - A reader that is too slow loses whole GOPs, with the audio beside them, and the losses are counted.
//   - The name of a stream is free as soon as Close has been called.
//
// Lock order: Hub.mu, Publisher.mu, Reader.mu. No lock is held while a function of another package runs, but
// for the log and the metrics.
package hub
