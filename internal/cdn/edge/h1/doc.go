// Package h1 is the edge's own HTTP/1.1 connection loop. It reads requests strictly (RFC 9112), asks a Hitter for an
// answer that is ready to be written, and has net/http's handler interface for everything that is not. On the way of
// a hit nothing is allocated and no header map is made, and the bytes of the body are not copied where the kernel can
// do without.
//
// # What a request can become
//
//   - hit: the Hitter answers. Its head is written as it is, with Date and what the connection needs.
//   - handled: a GET or HEAD without a body goes to the Handler, on the same connection.
//   - handed over: whatever else is well-formed (other methods, bodies, Upgrade, Expect, absolute-form, obs-fold) is
//     given back to the caller of ServeConn together with all bytes that were read, for net/http to serve the
//     connection for the rest of its life.
//   - refused: what is malformed is answered with 400, 408, 431, 501 or 505, and the connection is closed. Nobody else
//     ever sees it, so no two parties can understand it in two ways (RFC 9112 §11.2).
//
// # Concurrency
//
// A connection has one goroutine, the only one that reads, parses and asks the Hitter. While a Handler runs, that has
// a goroutine of its own which writes the answer, and the connection's goroutine waits for the client to vanish or to
// send its next request. A connection's lock guards the deadlines, which both set; the server's, which is taken
// before, the connections that a context ends.
//
// # Memory and time
//
// A connection that waits for a request holds no buffer: it waits for bytes with nothing but its goroutine, and takes
// a buffer from a pool when they are there. Deadlines are not set for each request but at most once in a while (see
// Server.grain), and those for writing only once the client takes less than there is to send. What ends a connection:
// no head within HeaderTimeout, no request within IdleTimeout, nothing taken within StallTimeout, and the end of the
// context given to ServeConn, which lets the answer that runs be finished.
package h1
