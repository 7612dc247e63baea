package rtmp

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
)

const (
	version       = 3
	handshakeSize = 1536 // C1, S1, C2, S2 (§5.2.3)
)

// ErrNotRTMP says that the first bytes of the peer are not those of RTMP.
var ErrNotRTMP = errors.New("not RTMP")

// ServerHandshake answers a client's handshake (§5.2). It is the plain one: the digests of Flash Player
// are asked for by nothing that publishes, and clients that can check them do not when the version in S1
// is zero.
func ServerHandshake(rw io.ReadWriter) error {
	var in [1 + handshakeSize]byte
	// The version is looked at first, so that whoever speaks something else is not waited for.
	if _, err := io.ReadFull(rw, in[:1]); err != nil {
		return fmt.Errorf("read C0: %w", err)
	}
	if in[0] != version {
		return fmt.Errorf("%w: the first byte is 0x%02x, expected 0x%02x", ErrNotRTMP, in[0], version)
	}
	if _, err := io.ReadFull(rw, in[1:]); err != nil {
		return fmt.Errorf("read C1: %w", err)
	}
	var out [1 + 2*handshakeSize]byte
	out[0] = version
	_, _ = rand.Read(out[1+8 : 1+handshakeSize]) // never fails
	copy(out[1+handshakeSize:], in[1:])          // S2 echoes C1
	if _, err := rw.Write(out[:]); err != nil {
		return fmt.Errorf("write S0, S1 and S2: %w", err)
	}
	if _, err := io.ReadFull(rw, in[1:]); err != nil {
		return fmt.Errorf("read C2: %w", err)
	}
	return nil
}

// ClientHandshake is the client's side of [ServerHandshake].
func ClientHandshake(rw io.ReadWriter) error {
	var out [1 + handshakeSize]byte
	out[0] = version
	_, _ = rand.Read(out[1+8:]) // never fails
	if _, err := rw.Write(out[:]); err != nil {
		return fmt.Errorf("write C0 and C1: %w", err)
	}
	var in [1 + 2*handshakeSize]byte
	if _, err := io.ReadFull(rw, in[:]); err != nil {
		return fmt.Errorf("read S0, S1 and S2: %w", err)
	}
	if in[0] != version {
		return fmt.Errorf("%w: the first byte is 0x%02x, expected 0x%02x", ErrNotRTMP, in[0], version)
	}
	if _, err := rw.Write(in[1 : 1+handshakeSize]); err != nil {
		return fmt.Errorf("write C2: %w", err)
	}
	return nil
}
