// Package hls writes HTTP Live Streaming playlists (RFC 8216 and draft-pantos-hls-rfc8216bis):
// multivariant playlists, and media playlists of CMAF segments.
//
// A playlist is a value that is appended to a byte slice. Text that would break a playlist's lines or
// quotes is an error, so nothing that a publisher chose can add a tag.
package hls
