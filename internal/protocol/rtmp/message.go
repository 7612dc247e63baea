package rtmp

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// MessageType is the type ID of a message.
type MessageType uint8

// The types of messages (§5.4, §6.2, §7.1).
const (
	SetChunkSize     MessageType = 1
	Abort            MessageType = 2
	Acknowledgement  MessageType = 3
	UserControl      MessageType = 4
	WindowAckSize    MessageType = 5
	SetPeerBandwidth MessageType = 6
	Audio            MessageType = 8
	Video            MessageType = 9
	DataAMF3         MessageType = 15
	CommandAMF3      MessageType = 17
	DataAMF0         MessageType = 18
	CommandAMF0      MessageType = 20
	Aggregate        MessageType = 22
)

// The user control events that are acted upon (§7.1.7).
const (
	PingRequest  = 6
	PingResponse = 7
)

// Message is one message of the chunk stream. Its payload belongs to whoever has read it.
type Message struct {
	Type MessageType
	// Timestamp is in milliseconds, and wraps.
	Timestamp uint32
	// StreamID is the message stream: 0 for the connection.
	StreamID uint32
	Payload  []byte
}

// Uint32 returns a message of one number, such as [WindowAckSize].
func Uint32(t MessageType, value uint32) Message {
	return Message{Type: t, Payload: binary.BigEndian.AppendUint32(nil, value)}
}

// number returns the number of a message that [Uint32] makes.
func (m Message) number() (uint32, error) {
	if len(m.Payload) < 4 {
		return 0, fmt.Errorf("control message of type %d has %d bytes, expected 4", m.Type, len(m.Payload))
	}
	return binary.BigEndian.Uint32(m.Payload), nil
}

// PeerBandwidth returns a [SetPeerBandwidth] message of the dynamic kind.
func PeerBandwidth(bytes uint32) Message {
	return Message{Type: SetPeerBandwidth, Payload: append(binary.BigEndian.AppendUint32(nil, bytes), 2)}
}

// Values decodes the values of a command or data message. Those of AMF3 begin with a byte for the format
// selector, and are AMF0 after it from all that publish (FMLE, Wirecast).
func (m Message) Values() ([]any, error) {
	payload := m.Payload
	if m.Type == CommandAMF3 || m.Type == DataAMF3 {
		if len(payload) > 0 && payload[0] == 0 {
			payload = payload[1:]
		}
	}
	return DecodeAMF0(payload)
}

// aggregateHeader is that of an FLV tag, and aggregateTrailer its back pointer (§7.1.6).
const (
	aggregateHeader  = 11
	aggregateTrailer = 4
)

// Split returns the messages within an [Aggregate]. Their payloads are copies: one frame that is kept must
// not keep megabytes beside it. Their timestamps count from the first one, which stands for that of the
// aggregate.
func (m Message) Split() ([]Message, error) {
	var messages []Message
	rest := m.Payload
	var first uint32
	for len(rest) > 0 {
		if len(rest) < aggregateHeader {
			return nil, fmt.Errorf("aggregate message: %d bytes left, a header has %d", len(rest), aggregateHeader)
		}
		size := int(uint24(rest[1:]))
		timestamp := uint24(rest[4:]) | uint32(rest[7])<<24
		if len(rest) < aggregateHeader+size {
			return nil, fmt.Errorf("aggregate message: %d bytes left, a message claims %d", len(rest)-aggregateHeader, size)
		}
		if messages == nil {
			first = timestamp
		}
		payload := bytes.Clone(rest[aggregateHeader : aggregateHeader+size])
		messages = append(messages, Message{
			Type: MessageType(rest[0]), Timestamp: m.Timestamp + (timestamp - first), StreamID: m.StreamID, Payload: payload,
		})
		rest = rest[aggregateHeader+size:]
		rest = rest[min(aggregateTrailer, len(rest)):] // some leave the last back pointer out
	}
	return messages, nil
}

func uint24(b []byte) uint32 { return uint32(b[0])<<16 | uint32(b[1])<<8 | uint32(b[2]) }
