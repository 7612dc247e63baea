// Package rtmp is the wire of RTMP: handshake, chunk stream, messages and AMF0. It knows nothing of
// streams; who may publish what, and what is in the audio and video messages, is its callers' matter.
//
// What it reads is not trusted. A message's memory is allocated as its bytes arrive, not as its header
// claims; the messages begun on all chunk streams together are bounded, as are the chunk streams and the
// depth and number of AMF values.
//
// The specification is "Adobe's Real Time Messaging Protocol" 1.0 of 2012; section numbers are its own.
// Where senders depart from it, the comments say who does.
package rtmp
