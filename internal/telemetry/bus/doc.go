// Package bus carries telemetry records from those who make them to the sinks: in this process, in
// bounded memory, and without ever making the producer wait. An edge that answers a viewer must
// not feel that a disk is slow, so a request that finds no room is dropped and counted. A player is
// told that its report was taken, so reports are accepted, all of a body or none of it: what was
// accepted has its room with every sink, and is never dropped because others fill the queues.
//
// What has been accepted is appended to every sink in batches, in order, again and again until the
// sink takes it, says that it never will ([telemetry.Permanent]), or the batch has become too old.
// Records live in memory only: those of a killed process are lost.
//
// Locks: Bus.mu, then sinkQueue.mu.
package bus
