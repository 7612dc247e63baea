// Package policy decides what a video cache keeps: which objects to give up for a new one, and which new
// one is not worth an old one. It holds no bytes and knows no keys; the cache embeds a [Node] in each of
// its entries, says when one is asked for, and is told which to give up.
//
// Three areas share the capacity, all counted in bytes:
//
//   - live: objects of running streams, in an area with a budget of its own. Everybody wants them for
//     half a minute and nobody later, which no measure of popularity can tell from a success. The oldest
//     goes first, unless it was asked for a moment ago (an initialisation segment). What live objects do
//     not use of their budget, the others do.
//   - probation: new objects wait in a small queue, first in, first out, until they are asked for again.
//     What is not asked for leaves soon, and leaves its hash in a table; if it comes back, it goes to
//     the main area at once.
//   - main: a queue too. At its end an object that was asked for goes back to its beginning, up to three
//     times.
//
// That is S3-FIFO (Yang et al., SOSP '23). What is ours is how a video edge knows that an object is
// wanted before it was asked for twice: requests are counted for a group as well, the 16 segments that
// lie side by side in one rendition of one title. An object leaves probation for the main area, and is
// spared at the end of that, if its group is asked for more often than those of the objects that the main
// area is about to give up. BenchmarkByteHitRatio shows what that is worth.
//
// Guarantees:
//   - the bytes of all nodes never exceed Settings.CapacityBytes, those of live nodes never
//     Settings.LiveBytes;
//   - a node is given up only after the function that was passed has agreed, and exactly once;
//   - [Policy.Touch] takes no lock and allocates nothing; everything else takes one lock for a bounded
//     number of steps. Memory beside the nodes is fixed by Settings.Objects.
//
// The function that gives nodes up is called without the lock, so that it may take any lock of the
// cache's, also one under which others call Remove.
package policy
