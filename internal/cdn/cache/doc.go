// Package cache keeps what origins have answered, in memory and on disk, and says how long it may be used.
//
// A [Cache] holds an [Object] from the moment its head is known: its bytes are still arriving, and any
// number of [Reader]s follow them. For a key that is absent or no longer fresh, [Cache.Get] makes a
// [Fill], of which there is at most one per key and variant: the first who asks leads it and everybody else
// waits for the same outcome. The package makes no requests itself; who leads a fill does. What is complete and
// has long to live is written to disk, and is there again after a restart.
//
// Guarantees:
//   - the bytes held, growing objects and those that readers still need included, do not exceed
//     Config.CapacityBytes (see [Body] for the one exception, which is bounded too), nor those on disk
//     Config.DiskBytes;
//   - an object that ended early or with the wrong length is never served as complete, nor one whose bytes
//     on disk are not those that were written;
//   - when [Cache.Purge] has returned, nobody who asks gets what was purged, also after a restart;
//   - what is stored, and for how long, follows RFC 9111 for a shared cache (package freshness).
//
// Lock order: Body.mu, then a shard's, then that of copies. The edge's DESIGN.md draws the whole.
package cache
