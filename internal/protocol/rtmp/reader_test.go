package rtmp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"reflect"
	"runtime"
	"strings"
	"testing"
)

const limit = 1 << 20

func read(t testing.TB, stream []byte) ([]Message, error) {
	t.Helper()
	r := NewReader(bytes.NewReader(stream), ReaderSettings{MaxMessage: limit})
	var messages []Message
	for {
		m, err := r.ReadMessage()
		if errors.Is(err, io.EOF) {
			return messages, nil
		}
		if err != nil {
			return messages, err
		}
		messages = append(messages, m)
	}
}

// chunk0 is a chunk of type 0 on chunk stream 5: video on message stream 1.
func chunk0(field uint32, length int, rest ...byte) []byte {
	b := []byte{5, byte(field >> 16), byte(field >> 8), byte(field), byte(length >> 16), byte(length >> 8), byte(length), 9, 1, 0, 0, 0}
	return append(b, rest...)
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func TestReadChunks(t *testing.T) {
	body := func(n int) []byte { return bytes.Repeat([]byte{0xAB}, n) }
	video := func(timestamp uint32, payload []byte) Message {
		return Message{Type: Video, Timestamp: timestamp, StreamID: 1, Payload: payload}
	}
	chunkSize := func(n uint32) []byte {
		return binary.BigEndian.AppendUint32([]byte{2, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0}, n)
	}
	bigTime := []byte{0x01, 0x02, 0x03, 0x04}
	for _, test := range []struct {
		name   string
		stream []byte
		want   []Message
	}{
		{"one chunk", chunk0(7, 3, 1, 2, 3), []Message{video(7, []byte{1, 2, 3})}},
		{"no payload", chunk0(7, 0), []Message{video(7, nil)}},
		{"two chunks", join(chunk0(7, 130, body(128)...), []byte{0xC5}, body(2)), []Message{video(7, body(130))}},
		{
			"delta, same length and type", join(chunk0(7, 1, 1), []byte{0x45, 0, 0, 10, 0, 0, 2, 9, 2, 2}, []byte{0x85, 0, 0, 5, 3, 3}),
			[]Message{video(7, []byte{1}), video(17, []byte{2, 2}), video(22, []byte{3, 3})},
		},
		{
			"delta repeated", join(chunk0(7, 1, 1), []byte{0x85, 0, 0, 5, 2}, []byte{0xC5, 3}),
			[]Message{video(7, []byte{1}), video(12, []byte{2}), video(17, []byte{3})},
		},
		{
			"timestamp as delta after type 0", join(chunk0(20, 1, 1), []byte{0xC5, 2}),
			[]Message{video(20, []byte{1}), video(40, []byte{2})},
		},
		{"extended timestamp", chunk0(extended, 1, join(bigTime, []byte{9})...), []Message{video(0x01020304, []byte{9})}},
		{
			"extended timestamp repeated", join(chunk0(extended, 130, join(bigTime, body(128))...), []byte{0xC5}, bigTime, body(2)),
			[]Message{video(0x01020304, body(130))},
		},
		{
			"extended timestamp left out", join(chunk0(extended, 130, join(bigTime, body(128))...), []byte{0xC5}, body(2)),
			[]Message{video(0x01020304, body(130))},
		},
		{
			"extended timestamp left out, payload like its beginning",
			join(chunk0(extended, 131, join(bigTime, body(128))...), []byte{0xC5, 1, 2, 0xFF}),
			[]Message{video(0x01020304, append(body(128), 1, 2, 0xFF))},
		},
		{
			"extended delta wraps", join(chunk0(10, 1, 1), []byte{0x85, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFB, 2}),
			[]Message{video(10, []byte{1}), video(5, []byte{2})},
		},
		{
			"two chunk streams interleaved",
			join(chunk0(7, 130, body(128)...), []byte{6, 0, 0, 8, 0, 0, 1, 8, 1, 0, 0, 0, 4}, []byte{0xC5}, body(2)),
			[]Message{{Type: Audio, Timestamp: 8, StreamID: 1, Payload: []byte{4}}, video(7, body(130))},
		},
		{"chunk stream of two bytes", join([]byte{0, 6}, chunk0(7, 1, 1)[1:], []byte{0xC0, 6, 2}), []Message{video(7, []byte{1}), video(14, []byte{2})}},
		{"chunk stream of three bytes", join([]byte{1, 6, 1}, chunk0(7, 1, 1)[1:]), []Message{video(7, []byte{1})}},
		{
			"larger chunks", join(chunkSize(200), chunk0(7, 150, body(150)...)),
			[]Message{{Type: SetChunkSize, Payload: []byte{0, 0, 0, 200}}, video(7, body(150))},
		},
		{
			"aborted", join(chunk0(7, 130, body(128)...), []byte{2, 0, 0, 0, 0, 0, 4, 2, 0, 0, 0, 0, 0, 0, 0, 5}, chunk0(9, 1, 1)),
			[]Message{{Type: Abort, Payload: []byte{0, 0, 0, 5}}, video(9, []byte{1})},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := read(t, test.stream)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %v\nwant %v", got, test.want)
			}
		})
	}
}

func TestReadRefuses(t *testing.T) {
	streams := func(n int) (b []byte) {
		for i := range n {
			b = append(b, 0, byte(i))
			b = append(b, chunk0(0, 0)[1:]...)
		}
		return b
	}
	// Two messages of which 600,000 bytes each come in the first chunk.
	begun := join([]byte{2, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0, 0, 0x09, 0x27, 0xC0},
		chunk0(0, 1_000_000, make([]byte, 600_000)...), []byte{6}, chunk0(0, 1_000_000, make([]byte, 600_000)...)[1:])
	for _, test := range []struct {
		name, want string
		stream     []byte
	}{
		{"a message above the limit", "too large", chunk0(0, limit+1)},
		{"messages above the limit together", "too large", begun},
		{"type 1 first", "expected type 0", []byte{0x45, 0, 0, 0, 0, 0, 0, 9}},
		{"type 3 first", "expected type 0", []byte{0xC5}},
		{"type 0 within a message", "expected type 3", join(chunk0(0, 130, make([]byte, 128)...), chunk0(0, 1, 1))},
		{"chunk size of zero", "chunk size of 0", []byte{2, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0, 0, 0, 0, 0}},
		{"short control message", "expected 4", []byte{2, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0}},
		{"many chunk streams", "more than 64", streams(65)},
		{"end within a header", "unexpected EOF", []byte{5, 0, 0}},
		{"end within a message", "unexpected EOF", chunk0(0, 2, 1)},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := read(t, test.stream)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want an error with %q", err, test.want)
			}
		})
	}
}

// TestClaimedLengthIsNotAllocated sends headers that claim much, and no payload.
func TestClaimedLengthIsNotAllocated(t *testing.T) {
	const size = 8 << 20
	stream := join([]byte{2, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0, 0x7F, 0xFF, 0xFF, 0xFF}, chunk0(0, size, 1))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r := NewReader(bytes.NewReader(stream), ReaderSettings{MaxMessage: size})
	for {
		if _, err := r.ReadMessage(); err != nil {
			break
		}
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > size/16 {
		t.Errorf("allocated %d bytes for a message of which one byte came", got)
	}
}

func TestWriteThenRead(t *testing.T) {
	payload := make([]byte, 1000)
	for i := range payload {
		payload[i] = byte(i)
	}
	messages := []Message{
		{Type: Video, Timestamp: 1, StreamID: 1, Payload: payload},
		{Type: Audio, Timestamp: extended, StreamID: 1, Payload: payload},
		{Type: Video, Timestamp: 0xFFFFFFFF, StreamID: 1, Payload: payload[:1]},
		Uint32(SetChunkSize, 300),
		{Type: Video, Timestamp: 0xFFFFFFFE, StreamID: 2, Payload: payload},
		PeerBandwidth(5),
	}
	var stream bytes.Buffer
	w := NewWriter(&stream)
	for _, m := range messages {
		if err := w.WriteMessage(m); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	got, err := read(t, stream.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, messages) {
		t.Error("what was read is not what was written")
	}
}

func TestAcknowledgementIsDueAfterEachWindow(t *testing.T) {
	var stream bytes.Buffer
	w := NewWriter(&stream)
	_ = w.WriteMessage(Uint32(SetChunkSize, 1<<20))
	_ = w.WriteMessage(Message{Type: Video, Payload: make([]byte, 200_000)}) // before a window is set
	_ = w.WriteMessage(Uint32(WindowAckSize, 100_000))
	_ = w.WriteMessage(Message{Type: Video, Payload: make([]byte, 350_000)})
	_ = w.Flush()
	var acks []uint32
	r := NewReader(&stream, ReaderSettings{MaxMessage: limit, Ack: func(n uint32) error {
		acks = append(acks, n)
		return nil
	}})
	for {
		if _, err := r.ReadMessage(); err != nil {
			break
		}
	}
	// One as the window is set, then three within the one message.
	if len(acks) < 3 || len(acks) > 4 {
		t.Errorf("acknowledged at %v", acks)
	}
	for i := 1; i < len(acks); i++ {
		if acks[i]-acks[i-1] < 100_000 {
			t.Errorf("acknowledged at %v, more often than each window", acks)
		}
	}
}

func TestAggregate(t *testing.T) {
	tag := func(typ byte, timestamp uint32, payload ...byte) []byte {
		b := []byte{typ, 0, 0, byte(len(payload)), byte(timestamp >> 16), byte(timestamp >> 8), byte(timestamp), byte(timestamp >> 24), 0, 0, 0}
		return append(append(b, payload...), 0, 0, 0, byte(11+len(payload)))
	}
	m := Message{Type: Aggregate, Timestamp: 1000, StreamID: 1, Payload: join(tag(8, 50, 1), tag(9, 70, 2, 3), tag(9, 0x01000032))}
	got, err := m.Split()
	if err != nil {
		t.Fatal(err)
	}
	want := []Message{
		{Type: Audio, Timestamp: 1000, StreamID: 1, Payload: []byte{1}},
		{Type: Video, Timestamp: 1020, StreamID: 1, Payload: []byte{2, 3}},
		{Type: Video, Timestamp: 1000 + 0x01000000, StreamID: 1, Payload: []byte{}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
	clear(m.Payload[11:12])
	if got[0].Payload[0] != 1 {
		t.Error("a message shares the memory of the aggregate")
	}
	m.Payload = m.Payload[:13]
	if got, err := m.Split(); err != nil || len(got) != 1 {
		t.Errorf("with the back pointer cut off: %v, %v", got, err)
	}
	m.Payload = m.Payload[:11]
	if _, err := m.Split(); err == nil {
		t.Error("a message that ends within its payload was split")
	}
}

// pipe joins two ends in memory, one after the other.
type pipe struct {
	io.Reader
	io.Writer
}

func TestHandshake(t *testing.T) {
	clientReads, serverWrites := io.Pipe()
	serverReads, clientWrites := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- ServerHandshake(pipe{serverReads, serverWrites}) }()
	if err := ClientHandshake(pipe{clientReads, clientWrites}); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	// One byte is enough to know that it is something else.
	if err := ServerHandshake(pipe{strings.NewReader("G"), io.Discard}); !errors.Is(err, ErrNotRTMP) {
		t.Errorf("got %v, want ErrNotRTMP", err)
	}
}

func FuzzReader(f *testing.F) {
	f.Add(chunk0(7, 3, 1, 2, 3))
	f.Add(join(chunk0(extended, 130, make([]byte, 132)...), []byte{0xC5, 0, 0, 0, 0, 1, 2}))
	f.Add(join([]byte{2, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0, 0, 1, 0, 0}, chunk0(1, 300, make([]byte, 300)...)))
	f.Fuzz(func(t *testing.T, stream []byte) {
		messages, _ := read(t, stream)
		total := 0
		for _, m := range messages {
			total += len(m.Payload)
			_, _ = m.Values()
			if m.Type == Aggregate {
				if parts, err := m.Split(); err == nil {
					for _, p := range parts {
						if len(p.Payload) > len(m.Payload) {
							t.Errorf("a part of %d bytes of an aggregate of %d", len(p.Payload), len(m.Payload))
						}
					}
				}
			}
		}
		if total > len(stream) {
			t.Errorf("%d bytes of messages in %d bytes", total, len(stream))
		}
	})
}
