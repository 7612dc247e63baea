// Package purge carries invalidations to every edge of the fleet, and says who has carried them out.
//
// A purge is stored in a log that all nodes read in the same order; its place there is its sequence
// number. Each node applies the log from where it has stopped, so one that was away applies what it
// missed before it serves again; one that was away for longer than the log reaches back purges
// everything. Nodes join and leave in the same log, so that whoever asks for a purge knows exactly
// whose confirmation it takes: of those that were there before it. Confirmations do not go through
// the log.
//
// Without a bus a node is its own fleet: what is asked for is applied and answered at once.
//
// DESIGN.md says why there can be no stale answer after a confirmation, and what is given up where.
package purge
