// Package cache keeps what origins have answered, in memory, and says how long it may be used.
//
// A [Cache] holds an [Object] from the moment its head is known: its bytes are still arriving, and any
// number of [Reader]s follow them. For a key that is absent or no longer fresh, [Cache.Get] makes a
// [Fill], of which there is at most one per key: the first who asks leads it and everybody else waits
// for the same outcome. The package makes no requests itself; who leads a fill does.
//
// Guarantees:
//   - the bytes held, growing objects and those that readers still need included, do not exceed
//     Config.CapacityBytes (see [Body] for the one exception, which is bounded too);
//   - an object that ended early or with the wrong length is never served as complete;
//   - what is stored, and for how long, follows RFC 9111 for a shared cache, without heuristics.
//
// Lock order: Cache.mu, then Body.mu. The edge's DESIGN.md draws the whole.
package cache
