// Package h2 is the edge's own HTTP/2 connection loop (RFC 9113). It asks the same Hitter as package h1 for an answer
// that is ready to be written, and has net/http's handler interface for everything else. Frames are read and fields
// decoded by golang.org/x/net; what is here is the state of connections and streams, and the writing.
//
// # Concurrency
//
// A connection has one goroutine that reads frames and asks the Hitter. Each request that the Hitter leaves has a
// goroutine with the Handler. Whoever has something to say puts it into the connection, under its lock: frames that
// steer into one buffer, bodies into the queue of streams that are ready to send. One at a time writes: it takes all of
// the first and, stream by stream, a frame of each of the second, up to a turn, and gives that to TLS in one piece. The
// goroutine that reads does so itself, before it waits, if it is little; else there is a goroutine for it, which
// lives as long as there is something to write.
//
// # Memory and time
//
// What a client can make the server hold is bounded: open streams and running Handlers by Settings.Streams, bodies of
// requests by the windows of flow control, fields by Config.HeaderBytes, frames to be written by controlBytes, beyond
// which nothing more is read from the client. Streams that a client opens and resets again and again, or fields that it
// sends for none, end the connection (RFC 9113 §10.5). A connection ends after Config.IdleTimeout without a stream, and
// a stream after Config.StallTimeout in which the client's window lets nothing of its answer through; that the
// connection takes nothing at all is for the connection below to see.
package h2
