// Package sniff refuses HTTP/1.1 requests that two readers could take for different ones (request smuggling),
// before net/http sees their end.
//
// net/http takes Transfer-Encoding where Content-Length is there as well, keeps the connection, and takes a
// bare LF for the end of a line. Another proxy in front of it may think otherwise, and then what one takes for
// the body of a request is the next request for the other. So a [Conn] reads along, in the buffer that net/http
// has given and without a copy: it follows the heads and the framing of the bodies (RFC 9112), and where
// something is wrong it cuts what came there and puts bytes in its place that no parser takes. net/http then
// answers 400 in its turn, after the answers that it still owes, and closes; no handler has seen the request.
//
// It refuses: line ends other than CRLF, bare CR included; control characters; a request line other than
// "method SP target SP HTTP/1.0 or 1.1" (§3); a space before a colon or a line that goes on (§5.1, §5.2);
// a Content-Length that is not digits, or more than one (§6.3); a Transfer-Encoding other than "chunked", more
// than one, with a Content-Length, or in HTTP/1.0 (§6.1); no Host or more than one (§3.2); chunk sizes that are not
// hexadecimal digits, a chunk without its CRLF (§7.1); and framing in trailers (RFC 9110 §6.5.1).
//
// Of a body that is broken only after its head has been passed on, the reader gets an error, and the connection
// is closed after the answer.
package sniff
