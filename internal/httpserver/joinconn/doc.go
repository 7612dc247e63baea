// Package joinconn joins the small writes of a TLS connection into large ones.
//
// crypto/tls hands every record of at most 16 KB to the connection below by itself, and each is a system
// call of its own. A [Conn] stands between the two and gathers records:
//
//   - between [Conn.Hold] and [Conn.Flush], for who writes an answer in large pieces (HTTP/1.1);
//   - after [Conn.Background], for who writes frame by frame (HTTP/2): a write only adds to what is
//     pending; the writer that makes it a full turn sends it, and what is less is sent by a goroutine that
//     lives as long as something is pending, as soon as nothing more comes and after [Wait] at the latest.
//
// In the background, a write that has returned is like one into the kernel's buffer: it can still fail, and
// then every later Write and Close say so; a write deadline bounds how long Write may wait and takes nothing
// back; Close sends what is pending.
package joinconn
