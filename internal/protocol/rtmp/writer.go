package rtmp

import (
	"bufio"
	"encoding/binary"
	"io"
)

// The chunk streams that are written to. The specification asks for the first one only.
const (
	chunkStreamControl = 2
	chunkStreamCommand = 3
	chunkStreamAudio   = 4
	chunkStreamVideo   = 6
)

// Writer cuts messages into chunks. Each message has a header of type 0, so that nothing depends on
// what was sent before. It is for one goroutine.
type Writer struct {
	bw        *bufio.Writer
	chunkSize int
}

// NewWriter returns a Writer of what follows the handshake.
func NewWriter(w io.Writer) *Writer {
	return &Writer{bw: bufio.NewWriterSize(w, 4<<10), chunkSize: defaultChunkSize}
}

// WriteMessage writes a message. It is sent when the buffer is full, or by Flush. A [SetChunkSize]
// message holds for the messages after it.
func (w *Writer) WriteMessage(m Message) error {
	var id byte
	switch m.Type {
	case SetChunkSize, Abort, Acknowledgement, UserControl, WindowAckSize, SetPeerBandwidth:
		id = chunkStreamControl
	case Audio:
		id = chunkStreamAudio
	case Video:
		id = chunkStreamVideo
	default:
		id = chunkStreamCommand
	}
	header := make([]byte, 0, 16)
	field := min(m.Timestamp, extended)
	header = append(header, id, byte(field>>16), byte(field>>8), byte(field),
		byte(len(m.Payload)>>16), byte(len(m.Payload)>>8), byte(len(m.Payload)), byte(m.Type))
	header = binary.LittleEndian.AppendUint32(header, m.StreamID)
	if field == extended {
		header = binary.BigEndian.AppendUint32(header, m.Timestamp)
	}
	_, _ = w.bw.Write(header) // an error stays, and Flush returns it
	for rest := m.Payload; len(rest) > 0; {
		n := min(len(rest), w.chunkSize)
		_, _ = w.bw.Write(rest[:n])
		rest = rest[n:]
		if len(rest) > 0 {
			_ = w.bw.WriteByte(3<<6 | id)
			if field == extended {
				_, _ = w.bw.Write(header[12:16])
			}
		}
	}
	if m.Type == SetChunkSize && len(m.Payload) == 4 {
		w.chunkSize = int(binary.BigEndian.Uint32(m.Payload))
	}
	_, err := w.bw.Write(nil)
	return err
}

// Flush sends what is buffered.
func (w *Writer) Flush() error { return w.bw.Flush() }
