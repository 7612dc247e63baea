package cmcd

import (
	"fmt"
	"iter"
	"slices"
	"strings"
)

// Key is one of the keys of CTA-5004 (version 1) and CTA-5004-B (version 2), Table 1. The
// constants are in alphabetical order, which is the order in which records are written.
type Key uint8

// The keys.
const (
	KeyAB    Key = iota // aggregate encoded bitrate, kbit/s
	KeyBG               // backgrounded
	KeyBL               // buffer length, ms
	KeyBR               // encoded bitrate, kbit/s
	KeyBS               // buffer starved since the prior report
	KeyBSA              // buffer starvations since the session began
	KeyBSD              // durations of completed starvations, ms
	KeyBSDA             // total starvation time, ms
	KeyCDN              // CDN (reference library only)
	KeyCEN              // custom event name
	KeyCID              // content ID
	KeyCMSDD            // CMSD-Dynamic of the response, Base64
	KeyCMSDS            // CMSD-Static of the response, Base64
	KeyCS               // content signature
	KeyD                // object duration, ms
	KeyDFA              // dropped frames since the session began
	KeyDL               // deadline, ms
	KeyE                // event
	KeyEC               // player error codes
	KeyH                // hostname
	KeyLAB              // lowest aggregate bitrate, kbit/s
	KeyLB               // lowest bitrate, kbit/s
	KeyLTC              // live latency, ms
	KeyMSD              // media start delay, ms
	KeyMTP              // measured throughput, kbit/s
	KeyNOR              // next object requests
	KeyNR               // not rendered
	KeyNRR              // next range request (version 1)
	KeyOT               // object type
	KeyPB               // playhead bitrate, kbit/s
	KeyPR               // playback rate
	KeyPT               // playhead time, ms
	KeyRC               // final response code
	KeyRTP              // requested maximum throughput, kbit/s
	KeySF               // streaming format
	KeySID              // session ID
	KeySMRT             // request tracing header, Base64
	KeySN               // sequence number
	KeyST               // stream type
	KeySTA              // player state
	KeySU               // startup: the object is needed urgently
	KeyTAB              // top aggregate bitrate, kbit/s
	KeyTB               // top bitrate, kbit/s
	KeyTBL              // target buffer length, ms
	KeyTPB              // top playable bitrate, kbit/s
	KeyTS               // event time, Unix ms
	KeyTTFB             // time to first byte, ms
	KeyTTFBB            // time to first body byte, ms
	KeyTTLB             // time to last byte, ms
	KeyURL              // requested URL
	KeyV                // version
	keyCount
)

// LookupKey returns the key that is written as name.
func LookupKey(name string) (k Key, ok bool) {
	if len(name) > maxKeyLength || strings.HasPrefix(name, "\x00") {
		return 0, false
	}
	return lookupPacked(pack(name))
}

// AllKeys iterates over the keys in alphabetical order.
func AllKeys() iter.Seq[Key] {
	return func(yield func(Key) bool) {
		for k := range keyCount {
			if !yield(k) {
				return
			}
		}
	}
}

// String returns the key as it is written, such as "br".
func (k Key) String() string {
	if k >= keyCount {
		return fmt.Sprintf("Key(%d)", uint8(k))
	}
	return keyTable[k].name
}

// Type is the type of a key's value.
type Type uint8

// The types of value.
const (
	BoolType       Type = iota + 1
	NumberType          // integer, or decimal for pr
	TextType            // string, quoted on the wire
	TokenType           // token, bare on the wire
	NumberListType      // inner list of numbers, each may have an object type
	TextListType        // inner list of strings
)

// Type returns the type of the key's values in version 2; in version 1 the numeric lists are
// single numbers and nor is a single string.
func (k Key) Type() Type { return keyTable[k].typ }

// Mode is the way in which a record reaches the server (§2).
type Mode uint8

// The modes.
const (
	RequestMode Mode = iota // with the request for an object, in its query or headers
	EventMode               // in a body of its own, since version 2
)

// String returns "request" or "event".
func (m Mode) String() string {
	if m == EventMode {
		return "event"
	}
	return "request"
}

// Header is one of the four headers that CMCD is sharded over (§3.1).
type Header uint8

// The headers. A key of event mode has none.
const (
	NoHeader Header = iota
	ObjectHeader
	RequestHeader
	SessionHeader
	StatusHeader
)

// String returns the name of the header as it is written, such as "CMCD-Object"; "" for [NoHeader].
func (h Header) String() string {
	if h > StatusHeader {
		return fmt.Sprintf("Header(%d)", uint8(h))
	}
	return [...]string{"", "CMCD-Object", "CMCD-Request", "CMCD-Session", "CMCD-Status"}[h]
}

// Header returns the header that the key belongs to in a version; [NoHeader] if it has none there.
func (k Key) Header(version int) Header {
	switch {
	case version < 2 && k == KeyPR:
		return SessionHeader // version 2 made it a matter of the status
	case version < 2 && k == KeyNRR:
		return RequestHeader
	case !k.In(version, RequestMode):
		return NoHeader
	}
	return keyTable[k].header
}

// In reports whether the key may be sent in a version and a mode (Table 1, and cdn, which the reference
// library for players has beside it). Version 1 knows request mode only.
func (k Key) In(version int, m Mode) bool {
	switch {
	case version < 2:
		return m == RequestMode && keysOfV1&(1<<k) != 0
	case k == KeyNRR:
		return false
	default:
		return m == EventMode || keyTable[k].header != NoHeader
	}
}

// ResponseOnly reports whether the key speaks of a response, and so belongs to the event rr alone. Table 1
// does not forbid url elsewhere, but gives it no meaning there.
func (k Key) ResponseOnly() bool { return responseKeys&(1<<k) != 0 }

// RoundTo returns what the values of the key are to be rounded to: 100 or 1. It is 0 for pr, and for
// keys that are no number.
func (k Key) RoundTo() int {
	switch k {
	case KeyBL, KeyDL, KeyMTP, KeyRTP, KeyTBL:
		return 100
	case KeyPR:
		return 0
	default:
		if t := k.Type(); t == NumberType || t == NumberListType {
			return 1
		}
		return 0
	}
}

// MaxLength returns the number of characters that a version allows the string of key k, 0 if it
// sets no limit.
func (k Key) MaxLength(version int) int {
	switch k {
	case KeySID, KeyCEN:
		return 64
	case KeyCID:
		if version < 2 {
			return 64
		}
		return 128
	case KeyH, KeyCDN:
		return 128
	default:
		return 0
	}
}

// Tokens returns the tokens that the specification defines for the key, nil if its values are none.
func (k Key) Tokens() []string { return slices.Clone(k.tokens()) }

func (k Key) tokens() []string {
	switch k {
	case KeyE:
		return eventTokens[:]
	case KeyOT:
		return objectTokens[:]
	case KeySF:
		return formatTokens[:]
	case KeyST:
		return streamTokens[:]
	case KeySTA:
		return stateTokens[:]
	default:
		return nil
	}
}

func (k Key) slot() int8 { return keyTable[k].index }

// singleText is the slot of the only item of k, a list of strings.
func (k Key) singleText() int {
	if k == KeyEC {
		return textCount
	}
	return textCount + 1
}

func (k Key) must(a, b Type) {
	if t := k.Type(); t != a && t != b {
		panic(fmt.Sprintf("cmcd: key %v is of type %d, not %d", k, t, a))
	}
}
