// Package rtmp takes streams in over RTMP: rtmp://host/live/<stream>, H.264 and AAC, from encoders such as
// OBS and FFmpeg.
//
// A publisher is in the hub as soon as it has asked to publish. Each track is announced when its
// configuration arrives, and units go through at once: no track is waited for, and nothing else is.
//
// Who cannot be served is told why in an RTMP status that encoders show, and the connection is closed
// once the status is sent. Who does not speak RTMP is disconnected. Each connection is bounded in time,
// memory and message size, and has one goroutine that reads and writes.
//
// ADR 0002 says why the wire is our own.
package rtmp
