package handover

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/quic-go/quic-go"
)

const (
	idBytes  = 12
	tagBytes = 3
)

// share is how processes that follow each other tell whose a QUIC connection is: its connection ID begins with the
// generation of the process and a tag that all of them have in common, by which it is told from what a client has
// made up for its first packet.
type share struct {
	generation byte
	tag        [tagBytes]byte
}

func newShare() share {
	var s share
	_, _ = rand.Read(s.tag[:]) // never fails
	return s
}

func (s share) next() share {
	s.generation++
	return s
}

func (s share) String() string { return hex.EncodeToString(append([]byte{s.generation}, s.tag[:]...)) }

func parseShare(text string) (share, error) {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != 1+tagBytes {
		return share{}, fmt.Errorf("share: %q is not %d bytes in hexadecimal", text, 1+tagBytes)
	}
	return share{generation: b[0], tag: [tagBytes]byte(b[1:])}, nil
}

func relayName(own share, generation byte, socket string) string {
	return relayPrefix + own.String() + " " + strconv.Itoa(int(generation)) + " " + socket
}

func parseRelayName(name string) (own share, generation byte, socket string, err error) {
	words := strings.SplitN(strings.TrimPrefix(name, relayPrefix), " ", 3)
	if len(words) != 3 {
		return share{}, 0, "", fmt.Errorf("relay: %q is not a share, a generation and a socket", name)
	}
	if own, err = parseShare(words[0]); err != nil {
		return share{}, 0, "", err
	}
	n, err := strconv.ParseUint(words[1], 10, 8)
	if err != nil {
		return share{}, 0, "", fmt.Errorf("relay: %q is not a generation", words[1])
	}
	return own, byte(n), words[2], nil
}

// GenerateConnectionID returns an ID for a connection of this process.
func (s share) GenerateConnectionID() (quic.ConnectionID, error) {
	id := make([]byte, idBytes)
	_, _ = rand.Read(id) // never fails
	id[0] = s.generation
	copy(id[1:], s.tag[:])
	return quic.ConnectionIDFromBytes(id), nil
}

// ConnectionIDLen is the length of all IDs.
func (s share) ConnectionIDLen() int { return idBytes }

// owner returns the generation of the process that a packet belongs to (RFC 8999 §5). Packets that begin a connection
// belong to who reads them.
func (s share) owner(packet []byte) byte {
	const long = 0x80
	if len(packet) == 0 {
		return s.generation
	}
	id := packet[1:]
	if packet[0]&long != 0 {
		if len(packet) < 6 || packet[5] != idBytes {
			return s.generation
		}
		id = packet[6:]
	}
	if len(id) < idBytes || [tagBytes]byte(id[1:]) != s.tag {
		return s.generation
	}
	return id[0]
}
