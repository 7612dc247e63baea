package message

import "github.com/weir-stream/weir/internal/cdn"

// AppendHost is [cdn.AppendHost].
func AppendHost(b []byte, host string, secure bool) ([]byte, bool) {
	return cdn.AppendHost(b, host, secure)
}

// HostOf is [cdn.HostOf].
func HostOf(host string, secure bool) (string, bool) { return cdn.HostOf(host, secure) }
