// Package proxyproto reads the PROXY protocol, with which a load balancer says for whom it has opened a
// connection (haproxy.org/download/3.0/doc/proxy-protocol.txt, versions 1 and 2).
package proxyproto

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
)

// ErrHeader is what a header gives that is none.
var ErrHeader = errors.New("not a PROXY protocol header")

const (
	signature = "\r\n\r\n\x00\r\nQUIT\n"
	// firstBytes is what can be read without knowing the version: no header of version 1 is shorter than
	// "PROXY UNKNOWN\r\n".
	firstBytes = len("PROXY UNKNOWN")
	// maxLine is the longest header of version 1 (§2.1).
	maxLine = 107
	// maxBody bounds a header of version 2: the addresses, and fields that nobody reads here.
	maxBody = 4096
)

// Read reads the header at the beginning of a connection, and nothing after it. The address is that of the client;
// it is not valid if the proxy speaks for itself, as health checks do, or does not know.
func Read(r io.Reader) (netip.AddrPort, error) {
	first := make([]byte, firstBytes, maxLine)
	if _, err := io.ReadFull(r, first); err != nil {
		return netip.AddrPort{}, fmt.Errorf("%w: %w", ErrHeader, err)
	}
	switch {
	case strings.HasPrefix(string(first), signature):
		return readBinary(r, first[len(signature)])
	case bytes.HasPrefix(first, []byte("PROXY ")):
		return readLine(r, first)
	}
	return netip.AddrPort{}, ErrHeader
}

// readLine reads version 1: "PROXY TCP4 192.0.2.1 198.51.100.1 56324 443" and CRLF (§2.1).
func readLine(r io.Reader, line []byte) (netip.AddrPort, error) {
	for !bytes.HasSuffix(line, []byte("\r\n")) {
		if len(line) == maxLine {
			return netip.AddrPort{}, fmt.Errorf("%w: longer than %d bytes", ErrHeader, maxLine)
		}
		// One by one, as what follows belongs to somebody else.
		line = line[:len(line)+1]
		if _, err := io.ReadFull(r, line[len(line)-1:]); err != nil {
			return netip.AddrPort{}, fmt.Errorf("%w: %w", ErrHeader, err)
		}
	}
	text := string(line[:len(line)-2])
	words := strings.Split(text, " ")
	if words[1] == "UNKNOWN" {
		return netip.AddrPort{}, nil
	}
	if len(words) != 6 || words[1] != "TCP4" && words[1] != "TCP6" {
		return netip.AddrPort{}, fmt.Errorf("%w: %q", ErrHeader, text)
	}
	address, err := netip.ParseAddr(words[2])
	if err != nil || address.Zone() != "" || address.Is4() != (words[1] == "TCP4") {
		return netip.AddrPort{}, fmt.Errorf("%w: %q is no address of %s", ErrHeader, words[2], words[1])
	}
	port, err := strconv.ParseUint(words[4], 10, 16)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("%w: %q is no port", ErrHeader, words[4])
	}
	return netip.AddrPortFrom(address, uint16(port)), nil
}

// readBinary reads version 2 after its signature and the byte with version and command (§2.2).
func readBinary(r io.Reader, versionCommand byte) (netip.AddrPort, error) {
	const (
		local, proxy = 0x20, 0x21
		tcp4, tcp6   = 0x11, 0x21
	)
	head := make([]byte, 3)
	if _, err := io.ReadFull(r, head); err != nil {
		return netip.AddrPort{}, fmt.Errorf("%w: %w", ErrHeader, err)
	}
	length := int(binary.BigEndian.Uint16(head[1:]))
	if length > maxBody {
		return netip.AddrPort{}, fmt.Errorf("%w: %d bytes of addresses", ErrHeader, length)
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(r, body); err != nil {
		return netip.AddrPort{}, fmt.Errorf("%w: %w", ErrHeader, err)
	}
	switch versionCommand {
	case local:
		return netip.AddrPort{}, nil
	case proxy:
	default:
		return netip.AddrPort{}, fmt.Errorf("%w: version and command %#x", ErrHeader, versionCommand)
	}
	switch {
	case head[0] == tcp4 && length >= 12:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(body)), binary.BigEndian.Uint16(body[8:])), nil
	case head[0] == tcp6 && length >= 36:
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(body)).Unmap(), binary.BigEndian.Uint16(body[32:])), nil
	case head[0] == tcp4, head[0] == tcp6:
		return netip.AddrPort{}, fmt.Errorf("%w: %d bytes are too few for its addresses", ErrHeader, length)
	}
	return netip.AddrPort{}, nil // another protocol: the proxy's address is to be used (§2.2)
}
