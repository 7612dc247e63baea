package h2

import (
	"bytes"
	"encoding/binary"
	"net/http"
	"strconv"

	"golang.org/x/net/http2"
)

// names are the indices of field names in HPACK's static table (RFC 7541 appendix A) that answers have.
var names = map[string]byte{
	"accept-ranges": 18, "access-control-allow-origin": 20, "age": 21, "allow": 22, "cache-control": 24,
	"content-disposition": 25, "content-encoding": 26, "content-language": 27, "content-length": 28, "content-location": 29,
	"content-range": 30, "content-type": 31, "date": 33, "etag": 34, "expires": 36, "last-modified": 44, "link": 45,
	"location": 46, "proxy-authenticate": 48, "refresh": 52, "retry-after": 53, "server": 54, "set-cookie": 55,
	"strict-transport-security": 56, "transfer-encoding": 57, "vary": 59, "via": 60, "www-authenticate": 61,
}

// statuses are the indices of whole :status fields; that of the first has the name too.
var statuses = map[int]byte{200: 8, 204: 9, 206: 10, 304: 11, 400: 12, 404: 13, 500: 14}

// Fields are written as literals that no table keeps (RFC 7541 §6.2.2), so that blocks can be made in any order and
// no encoder has a state. What could be saved is little beside what an answer carries.

func appendStatus(b []byte, status int) []byte {
	if index, ok := statuses[status]; ok {
		return append(b, 0x80|index) // RFC 7541 §6.1
	}
	var digits [3]byte
	return appendValue(append(b, 8), strconv.AppendInt(digits[:0], int64(status), 10))
}

// appendField appends a field whose name may be in any case.
func appendField[V string | []byte](b []byte, name string, value V) []byte {
	start := len(b)
	b = append(b, 0)
	b = appendLength(b, len(name))
	at := len(b)
	for i := range len(name) {
		c := name[i]
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		b = append(b, c)
	}
	if index, ok := names[string(b[at:])]; ok {
		if b = b[:start]; index < 15 {
			b = append(b, index)
		} else {
			b = append(b, 15, index-15)
		}
	}
	return appendValue(b, value)
}

func appendValue[V string | []byte](b []byte, value V) []byte {
	return append(appendLength(b, len(value)), value...)
}

// appendLength appends the length of a string that is not Huffman-coded (RFC 7541 §5.2).
func appendLength(b []byte, n int) []byte {
	if n < 127 {
		return append(b, byte(n))
	}
	b = append(b, 127)
	for n -= 127; n >= 128; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return append(b, byte(n))
}

// appendLines appends the fields of lines that end with CRLF each.
func appendLines(b, lines []byte) []byte {
	for len(lines) > 0 {
		end := bytes.IndexByte(lines, '\n')
		colon := bytes.IndexByte(lines, ':')
		b = appendField(b, text(lines[:colon]), bytes.TrimSpace(lines[colon+1:end]))
		lines = lines[end+1:]
	}
	return b
}

// hopByHop are fields that HTTP/2 has no place for (RFC 9113 §8.2.2).
func hopByHop(name string) bool {
	switch name {
	case "Connection", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding", "Upgrade":
		return true
	}
	return false
}

func appendHeader(b []byte, h http.Header) []byte {
	for name, values := range h {
		if hopByHop(name) || !validName(name) {
			continue
		}
		for _, value := range values {
			if validValue(value) {
				b = appendField(b, name, value)
			}
		}
	}
	return b
}

// appendFrame appends the head of a frame (RFC 9113 §4.1).
func appendFrame(b []byte, length int, kind http2.FrameType, flags http2.Flags, stream uint32) []byte {
	b = append(b, byte(length>>16), byte(length>>8), byte(length), byte(kind), byte(flags))
	return binary.BigEndian.AppendUint32(b, stream)
}

// appendHeaders appends a block of fields in frames of at most most bytes.
func appendHeaders(b []byte, stream uint32, block []byte, end bool, most int) []byte {
	kind, flags := http2.FrameHeaders, http2.Flags(0)
	if end {
		flags = http2.FlagHeadersEndStream
	}
	for {
		n := min(len(block), most)
		if n == len(block) {
			flags |= http2.FlagHeadersEndHeaders
		}
		b = append(appendFrame(b, n, kind, flags, stream), block[:n]...)
		if block = block[n:]; len(block) == 0 {
			return b
		}
		kind, flags = http2.FrameContinuation, 0
	}
}

func appendReset(b []byte, stream uint32, code http2.ErrCode) []byte {
	return binary.BigEndian.AppendUint32(appendFrame(b, 4, http2.FrameRSTStream, 0, stream), uint32(code))
}

func appendWindowUpdate(b []byte, stream uint32, n int) []byte {
	return binary.BigEndian.AppendUint32(appendFrame(b, 4, http2.FrameWindowUpdate, 0, stream), uint32(n))
}

func appendGoAway(b []byte, last uint32, code http2.ErrCode) []byte {
	b = binary.BigEndian.AppendUint32(appendFrame(b, 8, http2.FrameGoAway, 0, 0), last)
	return binary.BigEndian.AppendUint32(b, uint32(code))
}

func appendSettings(b []byte, settings ...http2.Setting) []byte {
	b = appendFrame(b, 6*len(settings), http2.FrameSettings, 0, 0)
	for _, s := range settings {
		b = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(b, uint16(s.ID)), s.Val)
	}
	return b
}
