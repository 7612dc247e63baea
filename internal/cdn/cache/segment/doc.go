// Package segment keeps bytes on disk for a cache: records in large files, which it appends, checks,
// gives out as memory and as file offsets, and forgets. What a record means is the caller's business.
//
// A [Store] owns a folder of segment files. [Store.Append] writes a record, which is some meta bytes
// and a body, and returns its [Ref]; [Store.Acquire] pins the record and returns a [Region] of it, to be
// read as memory (a shared mapping of the page cache, which is the store's RAM tier) or handed to
// sendfile; [Store.Drop] gives its room back. Records begin on pages of 4 KiB, so the room of one is
// given back by punching a hole where it was: nothing is ever moved. A segment in which nothing lives
// is unlinked. When there are twice as many files as the capacity needs, holes are written to again
// before another file is made, so the number of files stays bounded however long a few records live.
//
// Guarantees:
//   - the records that are not dropped never take more than Settings.CapacityBytes. Up to 64 MiB on top
//     may wait to be given back; then Append gives them back before it writes;
//   - a record exists from the moment its head is written, which is last. After kill -9 every record
//     whose Append had returned is found again. After a power cut some may be missing or torn, because
//     Append does not sync;
//   - bytes that another process has written (this program before it was restarted) are given out only
//     once their CRC32C agrees. What does not agree is quarantined: counted, never given out, its room
//     given back. So is every record of a segment that could not be synced;
//   - a disk that is full or broken costs an Append one error, [ErrDisk]; those that follow get theirs
//     without touching the disk until a back-off is over, and the first that succeeds ends the trouble.
//     A disk that is fuller than the capacity supposes lowers the capacity for a while;
//   - Drop and Release never do I/O. Acquire takes no lock and allocates nothing once a record is verified.
//
// A record that was dropped just before the process was killed may be found again: its hole is punched
// in the background. Whoever must not see it again (a purge) has to remember that by itself.
//
// A read of a mapping fails with SIGBUS if the disk fails or somebody shortens the file; [Guard] and
// [Region.Guard] make an error of that instead of the end of the process. Reads by the kernel (sendfile,
// write) report EIO and EFAULT as errors of their own and need no guard.
//
// Lock order: Store.growing, then Store.mu. A segment's mapping lock and a record's check lock stand
// alone: nothing else is locked while they are held.
package segment
