// Package httpserver runs an HTTP handler on a listener: HTTP/1.1, with TLS HTTP/2 and HTTP/3 as well; limits against
// slow and greedy clients; and a stop that lets the requests in flight finish.
//
//	accept ─▶ PROXY header? ─▶ TLS handshake? ─┬─ h2 ───────▶ net/http, over writes joined in the background
//	(slots)                                    └─ http/1.1 ─▶ ConnHandler ─▶ sniff ─▶ net/http
//	UDP ─▶ quic-go ─▶ HTTP/3
//
// Every TCP connection has a slot from its arrival to its end, and every step of writing to it a bound, whoever
// serves it. What takes the records of TLS together is in joinconn, what refuses requests that two readers could take
// for different ones in sniff, certificates are in certs, and what gives the listening sockets to another process is
// in handover.
//
// # Stopping
//
// The listener is closed, and who has just connected is let in: connections in their handshake are served, and those
// that have not asked for anything yet get their first answer. Idle connections are closed at once, clients of HTTP/2
// and 3 are told to leave (GOAWAY), and answers that run have the drain time to finish. Halfway into it the contexts of
// requests end, for those that would not end by themselves.
package httpserver
