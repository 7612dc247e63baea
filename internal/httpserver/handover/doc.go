// Package handover lets a new process go on with the listening sockets of an old one, so that a restart refuses
// nobody.
//
// [Sockets] opens the sockets of a process, or takes those that it was started with: by systemd (LISTEN_FDS, LISTEN_PID,
// LISTEN_FDNAMES, sd_listen_fds(3)), or by the process before it. [Sockets.Start] starts the new process:
//
//	old process                           new process
//	Start: sockets and a control socket ─▶ Inherit, Listen …
//	serves on                              starts everything
//	      ◀───────────────────────── Ready
//	reads no more UDP ───────────────────▶ reads UDP
//	drains, ends                           serves
//
// Both accept TCP connections from the same queue while both listen. If the new process ends before it is ready,
// or is not ready in time, the old one goes on as if nothing had happened.
//
// Packets of QUIC connections all come to the one UDP socket, whoever has the connection. So connection IDs carry
// the generation of the process that issued them; the newest process passes what belongs to an older one on to it, over
// a socket between the two ([PacketConn]).
//
// The environment of the process is changed: what was for it is not for its children.
package handover
