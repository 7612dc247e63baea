package rtmp

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// ErrTooLarge says that a message, or all that are being assembled, are above the reader's limit.
var ErrTooLarge = errors.New("message is too large")

const (
	defaultChunkSize = 128 // §5.4.1
	maxChunkStreams  = 64  // senders use fewer than ten
	// readStep is how much of a message is read, and allocated, at a time.
	readStep = 64 << 10
	// extended stands in a header's timestamp field when the timestamp follows in four bytes (§5.3.1.3).
	extended = 0xFFFFFF
)

// Reader assembles messages from a chunk stream (§5.3). The messages of the chunk stream itself (Set
// Chunk Size, Abort, Window Acknowledgement Size) are obeyed, and returned like all others.
type Reader struct {
	br         *bufio.Reader
	maxMessage int
	ack        func(received uint32) error

	chunkSize    uint32
	streams      map[uint32]*chunkStream
	pending      int // bytes of messages that are not complete
	received     uint64
	acknowledged uint64
	window       uint64
}

type chunkStream struct {
	timestamp uint32 // of the message that is being assembled, or of the last one
	delta     uint32 // what a header of type 3 adds for a new message
	field     uint32 // the last extended timestamp
	extended  bool
	known     bool // a header of type 0 has come
	typ       MessageType
	streamID  uint32
	length    int
	payload   []byte // what has come of the message
	partial   bool   // a message is being assembled
}

// ReaderSettings is what a Reader is made of.
type ReaderSettings struct {
	// MaxMessage bounds one message in bytes, and also all that are begun at a time.
	MaxMessage int
	// Ack is called within ReadMessage when an acknowledgement is due (§5.4.3): after each window of
	// bytes, once the peer has set one. Nil: never.
	//
	// Peers that set no window get none, because FFmpeg does not read them: it closes with them unread,
	// which resets the connection, and what it has sent last is lost with it.
	Ack func(received uint32) error
}

// NewReader returns a Reader of what follows the handshake.
func NewReader(r io.Reader, s ReaderSettings) *Reader {
	return &Reader{
		br: bufio.NewReaderSize(r, 16<<10), maxMessage: s.MaxMessage, ack: s.Ack,
		chunkSize: defaultChunkSize, streams: make(map[uint32]*chunkStream),
	}
}

// SetMaxMessage changes the bound of the messages that begin from now on.
func (r *Reader) SetMaxMessage(bytes int) { r.maxMessage = bytes }

// ReadMessage returns the next message.
func (r *Reader) ReadMessage() (Message, error) {
	for {
		cs, err := r.readChunk()
		if err != nil {
			return Message{}, err
		}
		if cs.partial {
			continue
		}
		m := Message{Type: cs.typ, Timestamp: cs.timestamp, StreamID: cs.streamID, Payload: cs.payload}
		cs.payload = nil
		r.pending -= len(m.Payload)
		if err := r.obey(m); err != nil {
			return Message{}, err
		}
		return m, nil
	}
}

func (r *Reader) obey(m Message) error {
	switch m.Type {
	case SetChunkSize:
		value, err := m.number()
		if err != nil {
			return err
		}
		if value == 0 || value > 0x7FFFFFFF {
			return fmt.Errorf("chunk size of %d, expected 1 to 2147483647", value)
		}
		r.chunkSize = value
	case Abort:
		value, err := m.number()
		if err != nil {
			return err
		}
		if cs := r.streams[value]; cs != nil && cs.partial {
			r.pending -= len(cs.payload)
			cs.payload, cs.partial = nil, false
		}
	case WindowAckSize:
		value, err := m.number()
		if err != nil {
			return err
		}
		r.window = uint64(value)
	default: // not of the chunk stream
	}
	return nil
}

// readChunk reads one chunk: its header, and its part of the message.
func (r *Reader) readChunk() (*chunkStream, error) {
	format, cs, err := r.readBasicHeader()
	if err != nil {
		return nil, err
	}
	if format == 3 {
		err = r.continueOrRepeat(cs)
	} else {
		err = r.readMessageHeader(format, cs)
	}
	if err != nil {
		return nil, noEOF(err)
	}
	if err := r.readPayload(cs); err != nil {
		return nil, noEOF(err)
	}
	cs.partial = len(cs.payload) < cs.length
	return cs, r.acknowledge()
}

// readBasicHeader is §5.3.1.1. Only here is the end of the input a clean one.
func (r *Reader) readBasicHeader() (format byte, cs *chunkStream, err error) {
	first, err := r.br.ReadByte()
	if err != nil {
		return 0, nil, err
	}
	r.received++
	id := uint32(first & 0x3F)
	if id < 2 {
		var more [2]byte
		if err := r.readFull(more[:1+id]); err != nil {
			return 0, nil, noEOF(err)
		}
		id = 64 + uint32(more[0]) + uint32(more[1])<<8
	}
	cs = r.streams[id]
	if cs == nil {
		if len(r.streams) >= maxChunkStreams {
			return 0, nil, fmt.Errorf("more than %d chunk streams", maxChunkStreams)
		}
		cs = &chunkStream{}
		r.streams[id] = cs
	}
	return first >> 6, cs, nil
}

// readMessageHeader reads a header of type 0, 1 or 2 (§5.3.1.2).
func (r *Reader) readMessageHeader(format byte, cs *chunkStream) error {
	if cs.partial {
		return fmt.Errorf("chunk of type %d within a message, expected type 3", format)
	}
	if format != 0 && !cs.known {
		return fmt.Errorf("chunk of type %d first on its chunk stream, expected type 0", format)
	}
	var header [11]byte
	h := header[:[3]int{11, 7, 3}[format]]
	if err := r.readFull(h); err != nil {
		return err
	}
	if format <= 1 {
		cs.length, cs.typ = int(uint24(h[3:])), MessageType(h[6])
	}
	if format == 0 {
		cs.streamID = binary.LittleEndian.Uint32(h[7:])
	}
	field := uint24(h)
	cs.extended = field == extended
	if cs.extended {
		var full [4]byte
		if err := r.readFull(full[:]); err != nil {
			return err
		}
		field = binary.BigEndian.Uint32(full[:])
		cs.field = field
	}
	if format == 0 {
		cs.timestamp, cs.known = field, true
	} else {
		cs.timestamp += field
	}
	// After type 0 the delta is the timestamp itself (§5.3.1.2.4), as FFmpeg sends and reads it.
	cs.delta = field
	return r.begin(cs)
}

// continueOrRepeat handles a header of type 3: the next part of a message, or a new message like the
// one before it.
func (r *Reader) continueOrRepeat(cs *chunkStream) error {
	if !cs.known {
		return errors.New("chunk of type 3 first on its chunk stream, expected type 0")
	}
	if cs.extended {
		if err := r.skipExtended(cs.field); err != nil {
			return err
		}
	}
	if cs.partial {
		return nil
	}
	cs.timestamp += cs.delta
	return r.begin(cs)
}

// skipExtended skips the extended timestamp that a chunk of type 3 repeats (§5.3.1.3), or not: OBS of
// before 2024 (obs-studio#10097), and others, leave it out. It is there if the bytes are equal. They are
// compared one by one, so that a short last chunk without it is not held until more arrives.
func (r *Reader) skipExtended(field uint32) error {
	var want [4]byte
	binary.BigEndian.PutUint32(want[:], field)
	for i := range want {
		got, err := r.br.Peek(i + 1)
		if err != nil {
			return err
		}
		if got[i] != want[i] {
			return nil
		}
	}
	r.received += 4
	_, err := r.br.Discard(4)
	return err
}

func (r *Reader) begin(cs *chunkStream) error {
	if cs.length > r.maxMessage {
		return fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrTooLarge, cs.length, r.maxMessage)
	}
	cs.payload = nil
	return nil
}

// readPayload reads the chunk's part of the message.
func (r *Reader) readPayload(cs *chunkStream) error {
	left := min(cs.length-len(cs.payload), int(r.chunkSize))
	if r.pending+left > r.maxMessage {
		return fmt.Errorf("%w: the messages begun have %d bytes, at most %d are allowed", ErrTooLarge, r.pending+left, r.maxMessage)
	}
	for left > 0 {
		step := min(left, readStep)
		have := len(cs.payload)
		if cap(cs.payload)-have < step {
			// Most messages fit in the first allocation; others grow as their bytes arrive.
			grown := make([]byte, have, min(cs.length, max(readStep, 2*(have+step))))
			copy(grown, cs.payload)
			cs.payload = grown
		}
		cs.payload = cs.payload[:have+step]
		if err := r.readFull(cs.payload[have:]); err != nil {
			return err
		}
		r.pending += step
		left -= step
		if err := r.acknowledge(); err != nil {
			return err
		}
	}
	return nil
}

func (r *Reader) readFull(b []byte) error {
	n, err := io.ReadFull(r.br, b)
	r.received += uint64(n)
	return err
}

func (r *Reader) acknowledge() error {
	if r.ack == nil || r.window == 0 || r.received-r.acknowledged < r.window {
		return nil
	}
	r.acknowledged = r.received
	return r.ack(uint32(r.received)) // wraps, by the specification's silence
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
