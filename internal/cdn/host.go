package cdn

import "strings"

// maxHostBytes bounds a host: a name has 253 at most, and a port six.
const maxHostBytes = 260

// AppendHost appends the Host of a request in its one clean spelling: in small letters, without the root's dot and
// without the port that goes without saying. It is false for what no key may begin with.
func AppendHost(b []byte, host string, secure bool) ([]byte, bool) {
	name, port := host, ""
	if colon := strings.LastIndexByte(host, ':'); colon > strings.LastIndexByte(host, ']') {
		name, port = host[:colon], host[colon+1:]
	}
	name = strings.TrimSuffix(name, ".")
	if name == "" || strings.HasSuffix(name, ".") || len(host) > maxHostBytes {
		return b, false
	}
	bracketed := name[0] == '['
	if bracketed != (name[len(name)-1] == ']') || bracketed && len(name) == 2 {
		return b, false
	}
	for i := range len(name) {
		c := name[i]
		switch {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_':
		case c == '.' && i > 0 && name[i-1] != '.':
		case 'A' <= c && c <= 'Z':
			c += 'a' - 'A'
		case bracketed && (c == ':' || i == 0 || i == len(name)-1):
		default:
			return b, false
		}
		b = append(b, c)
	}
	for i := range len(port) {
		if port[i] < '0' || port[i] > '9' {
			return b, false
		}
	}
	if port == "" || !secure && port == "80" || secure && port == "443" {
		return b, true
	}
	return append(append(b, ':'), port...), true
}

// HostOf is AppendHost for who has nothing to append to.
func HostOf(host string, secure bool) (string, bool) {
	b, ok := AppendHost(nil, host, secure)
	return string(b), ok
}
