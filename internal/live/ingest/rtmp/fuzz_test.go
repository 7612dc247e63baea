package rtmp

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/weir-stream/weir/internal/live/hub"
	"github.com/weir-stream/weir/internal/protocol/rtmp"
)

// script is a connection whose peer has said all in advance, and listens to nothing.
type script struct{ io.Reader }

type address struct{}

func (address) Network() string                 { return "tcp" }
func (address) String() string                  { return "192.0.2.1:5" }
func (script) Write(b []byte) (int, error)      { return len(b), nil }
func (script) Close() error                     { return nil }
func (script) LocalAddr() net.Addr              { return address{} }
func (script) RemoteAddr() net.Addr             { return address{} }
func (script) SetDeadline(time.Time) error      { return nil }
func (script) SetReadDeadline(time.Time) error  { return nil }
func (script) SetWriteDeadline(time.Time) error { return nil }

func chunks(messages ...rtmp.Message) []byte {
	var b bytes.Buffer
	w := rtmp.NewWriter(&b)
	for _, m := range messages {
		_ = w.WriteMessage(m)
	}
	_ = w.Flush()
	return b.Bytes()
}

// publishing is all that a publisher sends after the handshake.
func publishingChunks() []byte {
	return chunks(
		command("connect", 1.0, rtmp.Object{{Name: "app", Value: "live"}}),
		rtmp.Uint32(rtmp.SetChunkSize, 4096),
		command("releaseStream", 2.0, nil, "fuzz"),
		command("FCPublish", 3.0, nil, "fuzz"),
		command("createStream", 4.0, nil),
		command("publish", 5.0, nil, "fuzz", "live"),
		rtmp.Message{Type: rtmp.DataAMF0, StreamID: 1, Payload: rtmp.EncodeAMF0("@setDataFrame", "onMetaData", rtmp.Object{{Name: "framerate", Value: 30.0}})},
	)
}

func fuzzConnection(f *testing.F, before []byte) {
	f.Add([]byte(nil))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Add(publishingChunks())
	f.Add(append(append([]byte{3}, make([]byte, 2*1536)...), publishingChunks()...))
	f.Add(chunks(
		videoMessage(0, configTag, avcConfig(4, sps180, pps)),
		videoMessage(0, keyTag, []byte("\x00\x00\x00\x02\x65\x88")),
		audioMessage(0, "\xAF\x00", 0x11, 0x90),
		audioMessage(0, "\xAF\x01", 0x21),
		rtmp.Message{Type: rtmp.Aggregate, Payload: []byte{9, 0, 0, 5, 0, 0, 10, 0, 0, 0, 0, 0x57, 1, 0, 0, 0, 0, 0, 0, 16}},
		command("FCUnpublish", 6.0, nil, "fuzz"),
	))
	h, err := hub.New(hub.Settings{Config: hub.DefaultConfig()})
	if err != nil {
		f.Fatal(err)
	}
	config := DefaultConfig()
	config.MaxMessageBytes = 64 << 10
	s, err := New(Settings{Config: config, Hub: h, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c := newConn(s, script{io.MultiReader(bytes.NewReader(before), bytes.NewReader(data))})
		err := c.run(context.Background())
		if errors.Is(err, errPanic) {
			t.Fatal(err)
		}
		if err == nil {
			t.Fatal("the connection ended without a reason")
		}
		c.unpublish()
		_ = c.tell(err)
		s.wg.Wait()
		if streams := h.Streams(); len(streams) != 0 {
			t.Fatalf("streams left: %+v", streams)
		}
	})
}

func FuzzConnection(f *testing.F) { fuzzConnection(f, nil) }

func FuzzAfterHandshake(f *testing.F) { fuzzConnection(f, append([]byte{3}, make([]byte, 2*1536)...)) }

func FuzzAfterPublish(f *testing.F) {
	fuzzConnection(f, append(append([]byte{3}, make([]byte, 2*1536)...), publishingChunks()...))
}
