// Package packager cuts running streams into CMAF segments and describes them by HLS playlists and a
// DASH MPD, both over the same segments.
//
// It reads from the hub and keeps what it writes in memory, in a bounded window. Its [Packager.Object]
// serves the origin. DESIGN.md has the clock model, the rules of cutting, and what the memory is
// bounded by.
//
// Guarantees:
//   - The first segment ends at the first keyframe that allows it, and can be played from then on. It
//     waits for no track that has sent nothing.
//   - A manifest names only segments that are there, none before its time, and each stays fetchable
//     for as long as RFC 8216 §6.2.2 asks.
//   - The bytes of a key never change, in this process or after a restart; manifests are the exception.
//
// Each stream has one goroutine, which alone touches its timeline. Lock order: Packager.mu, stream.mu;
// requests take both for reading only, and one after the other.
package packager
