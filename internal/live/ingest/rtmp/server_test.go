package rtmp

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/weir-stream/weir/internal/live"
	"github.com/weir-stream/weir/internal/live/hub"
	"github.com/weir-stream/weir/internal/protocol/rtmp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start runs a server on a port of its own until the test ends.
func start(t *testing.T, change func(*Settings)) (*hub.Hub, *Server) {
	t.Helper()
	h, err := hub.New(hub.Settings{Config: hub.DefaultConfig()})
	if err != nil {
		t.Fatal(err)
	}
	settings := Settings{Config: DefaultConfig(), Hub: h, Log: slog.New(slog.NewTextHandler(t.Output(), nil))}
	settings.Config.Address = "127.0.0.1:0"
	if change != nil {
		change(&settings)
	}
	s, err := New(settings)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Run returned %v", err)
			}
		case <-time.After(5 * time.Second):
			t.Error("Run did not return within 5 s of its context's end")
		}
		if streams := h.Streams(); len(streams) != 0 {
			t.Errorf("streams left: %+v", streams)
		}
		_ = h.Close()
	})
	return h, s
}

func urlOf(s *Server, path string) string { return "rtmp://" + s.Addr().String() + "/" + path }

func count(t *testing.T, s *Server, why reason) int {
	t.Helper()
	return int(testutil.ToFloat64(s.metrics.closed.WithLabelValues(string(why))))
}

// waitFor polls for what other goroutines do after the peer has been answered.
func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	timeout := time.After(10 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatalf("waited 10 s for %s", what)
		}
	}
}

// peer is a client by hand.
type peer struct {
	t *testing.T
	net.Conn
	reader *rtmp.Reader
	writer *rtmp.Writer
}

func dial(t *testing.T, s *Server) *peer {
	t.Helper()
	c, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(15 * time.Second))
	return &peer{t: t, Conn: c}
}

func (p *peer) handshake() {
	p.t.Helper()
	if err := rtmp.ClientHandshake(p.Conn); err != nil {
		p.t.Fatal(err)
	}
	p.reader = rtmp.NewReader(p.Conn, rtmp.ReaderSettings{MaxMessage: 1 << 20})
	p.writer = rtmp.NewWriter(p.Conn)
}

func (p *peer) send(messages ...rtmp.Message) {
	p.t.Helper()
	for _, m := range messages {
		if err := p.writer.WriteMessage(m); err != nil {
			p.t.Fatal(err)
		}
	}
	if err := p.writer.Flush(); err != nil {
		p.t.Fatal(err)
	}
}

func command(values ...any) rtmp.Message {
	return rtmp.Message{Type: rtmp.CommandAMF0, Payload: rtmp.EncodeAMF0(values...)}
}

// answer returns the next command that the server sends, passing over what is not one.
func (p *peer) answer() []any {
	p.t.Helper()
	for {
		m, err := p.reader.ReadMessage()
		if err != nil {
			p.t.Fatalf("waiting for an answer: %v", err)
		}
		if m.Type == rtmp.CommandAMF0 {
			values, err := m.Values()
			if err != nil {
				p.t.Fatal(err)
			}
			return values
		}
	}
}

// code returns the code and description of the next command.
func (p *peer) code() (string, string) {
	p.t.Helper()
	values := p.answer()
	o, ok := values[len(values)-1].(rtmp.Object)
	if !ok {
		p.t.Fatalf("answer without a status: %v", values)
	}
	return o.String("code"), o.String("description")
}

// publish goes all the way to NetStream.Publish.Start.
func (p *peer) publish(name string) {
	p.t.Helper()
	p.handshake()
	p.send(command("connect", 1.0, rtmp.Object{{Name: "app", Value: "live"}}))
	if code, _ := p.code(); code != "NetConnection.Connect.Success" {
		p.t.Fatalf("connect: %s", code)
	}
	p.send(command("createStream", 2.0, nil))
	p.answer()
	p.send(command("publish", 3.0, nil, name, "live"))
	if code, description := p.code(); code != "NetStream.Publish.Start" {
		p.t.Fatalf("publish: %s %s", code, description)
	}
}

// closed reads until the server closes the connection.
func (p *peer) closed() {
	p.t.Helper()
	_, err := io.Copy(io.Discard, p.Conn)
	if nerr := net.Error(nil); errors.As(err, &nerr) && nerr.Timeout() {
		p.t.Error("the server did not close the connection")
	}
}

func TestGarbage(t *testing.T) {
	h, s := start(t, nil)
	publisher := dial(t, s)
	publisher.publish("undisturbed")
	handshake := append([]byte{3}, make([]byte, 2*1536)...)
	for _, test := range []struct {
		name string
		data []byte
		why  reason
	}{
		{"HTTP", []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), reasonNotRTMP},
		{"TLS", []byte{0x16, 3, 1, 0, 0xFF}, reasonNotRTMP},
		{"encrypted RTMP", append([]byte{6}, make([]byte, 1536)...), reasonNotRTMP},
		{"noise after the handshake", append(handshake[:len(handshake):len(handshake)], bytes.Repeat([]byte{0xC5}, 100)...), reasonProtocol},
		// Type 0, chunk stream 3, a length of 16 MiB less one.
		{"memory bomb", append(handshake[:len(handshake):len(handshake)], 3, 0, 0, 0, 0xFF, 0xFF, 0xFF, 20, 0, 0, 0, 0), reasonTooLarge},
		// A frame's size, but nothing is published.
		{"large command", append(handshake[:len(handshake):len(handshake)], 3, 0, 0, 0, 0x01, 0x86, 0xA0, 20, 0, 0, 0, 0), reasonTooLarge},
		{"zero chunk size", append(handshake[:len(handshake):len(handshake)], 2, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0, 0, 0, 0, 0), reasonProtocol},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := count(t, s, test.why)
			p := dial(t, s)
			if _, err := p.Write(test.data); err != nil {
				t.Fatal(err)
			}
			p.closed()
			waitFor(t, "the counter", func() bool { return count(t, s, test.why) == before+1 })
		})
	}
	if streams := h.Streams(); len(streams) != 1 || streams[0].Name != "undisturbed" {
		t.Errorf("the publisher was disturbed: %+v", streams)
	}
}

func TestLogIsNotFilledByAPeer(t *testing.T) {
	var log bytes.Buffer // written to before the counter below is
	_, s := start(t, func(settings *Settings) { settings.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	p := dial(t, s)
	p.handshake()
	p.send(command(strings.Repeat("x", 60_000), 1.0))
	p.closed()
	waitFor(t, "the connection's end", func() bool { return testutil.ToFloat64(s.metrics.open) == 0 })
	if text := log.String(); !strings.Contains(text, "before connect") || len(text) > 2000 {
		t.Errorf("%d bytes are in the log: %.300s", len(text), text)
	}
}

func TestSlowPeersAreDisconnected(t *testing.T) {
	_, s := start(t, func(settings *Settings) {
		settings.Config.HandshakeTimeout = time.Second
		settings.Config.IdleTimeout = time.Second
	})
	peers := map[string]func(*peer){
		"says nothing":          func(*peer) {},
		"half a handshake":      func(p *peer) { _, _ = p.Write([]byte{3, 0, 0}) },
		"handshake and no more": (*peer).handshake,
		"publishes and no more": func(p *peer) { p.publish("idle") },
		"half a message":        func(p *peer) { p.publish("half"); _, _ = p.Write([]byte{6, 0, 0, 0, 0, 1, 0, 9, 1, 0, 0, 0, 0x17}) },
	}
	t.Run("peers", func(t *testing.T) {
		for name, do := range peers {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				p := dial(t, s)
				do(p)
				p.closed()
			})
		}
	})
	waitFor(t, "the counter", func() bool { return count(t, s, reasonTimeout) == len(peers) })
}

func TestTooManyConnections(t *testing.T) {
	_, s := start(t, func(settings *Settings) { settings.Config.MaxConnections = 1 })
	dial(t, s).publish("first")
	dial(t, s).closed()
	if got := count(t, s, reasonFull); got != 1 {
		t.Errorf("%d connections counted as too many, want 1", got)
	}
}

func TestCommandsOfOtherEncoders(t *testing.T) {
	h, s := start(t, nil)
	p := dial(t, s)
	p.handshake()
	p.send(command("connect", 1.0, rtmp.Object{{Name: "app", Value: "/live/sport/?user=me"}}))
	if code, _ := p.code(); code != "NetConnection.Connect.Success" {
		t.Fatal(code)
	}
	// AMF3 commands begin with a zero, as FMLE's do.
	amf3 := func(values ...any) rtmp.Message {
		return rtmp.Message{Type: rtmp.CommandAMF3, Payload: append([]byte{0}, rtmp.EncodeAMF0(values...)...)}
	}
	p.send(amf3("releaseStream", 2.0, nil, "final"))
	if got := p.answer(); got[0] != "_result" || got[1] != 2.0 {
		t.Errorf("releaseStream was answered with %v", got)
	}
	p.send(amf3("FCPublish", 3.0, nil, "final"))
	p.answer()
	p.send(command("somethingElse", 4.0, nil), amf3("createStream", 5.0, nil))
	if got := p.answer(); got[0] != "_result" || got[1] != 5.0 || got[3] != 1.0 {
		t.Errorf("createStream was answered with %v", got)
	}
	p.send(amf3("publish", 0.0, nil, "final", "live"))
	if code, _ := p.code(); code != "NetStream.Publish.Start" {
		t.Error(code)
	}
	if streams := h.Streams(); len(streams) != 1 || streams[0].Name != "sport/final" {
		t.Fatalf("streams: %+v", streams)
	}
	p.send(rtmp.Message{Type: rtmp.UserControl, Payload: []byte{0, rtmp.PingRequest, 1, 2, 3, 4}})
	if m, err := p.reader.ReadMessage(); err != nil || m.Type != rtmp.UserControl || !bytes.Equal(m.Payload, []byte{0, rtmp.PingResponse, 1, 2, 3, 4}) {
		t.Errorf("ping was answered with %v, %v", m, err)
	}
	// FCUnpublish frees the name while the connection stays.
	p.send(command("FCUnpublish", 6.0, nil, "final"), command("createStream", 7.0, nil))
	p.answer()
	if streams := h.Streams(); len(streams) != 0 {
		t.Errorf("streams after FCUnpublish: %+v", streams)
	}
	p.send(command("publish", 8.0, nil, "again", "live"))
	if code, _ := p.code(); code != "NetStream.Publish.Start" {
		t.Error(code)
	}
}

func TestRefusalsByHand(t *testing.T) {
	h, s := start(t, nil)
	taken, err := h.Publish("taken", hub.PublisherInfo{})
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, test := range []struct {
		name, key  string
		code, text string
	}{
		{"taken", "taken", "NetStream.Publish.BadName", "taken by another publisher"},
		{"no name", "", "NetStream.Publish.BadName", "it is empty"},
		{"a name that is none", "a//b", "NetStream.Publish.BadName", "an empty segment"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := dial(t, s)
			p.handshake()
			p.send(command("connect", 1.0, rtmp.Object{{Name: "app", Value: "live"}}))
			p.code()
			p.send(command("createStream", 2.0, nil))
			p.answer()
			// What an encoder has sent ahead must not cost it the status.
			p.send(command("publish", 3.0, nil, test.key, "live"), rtmp.Message{Type: rtmp.Video, Payload: make([]byte, 100_000)})
			code, text := p.code()
			if code != test.code || !strings.Contains(text, test.text) {
				t.Errorf("status is %s %q, want %s %q", code, text, test.code, test.text)
			}
			p.closed()
		})
	}
}

// TestKickTellsWhy kicks a publisher that knows nothing of it.
func TestKickTellsWhy(t *testing.T) {
	h, s := start(t, nil)
	p := dial(t, s)
	p.publish("test")
	if err := h.Kick("test"); err != nil {
		t.Fatal(err)
	}
	if code, text := p.code(); code != "NetStream.Publish.Failed" || text != errKicked.Error() {
		t.Errorf("status is %s %q", code, text)
	}
	p.closed()
}

func TestSkippedMessagesAreCounted(t *testing.T) {
	_, s := start(t, nil)
	p := dial(t, s)
	p.publish("test")
	p.send(videoMessage(0, keyTag, nil), videoMessage(0, "\x17", nil))
	for _, reason := range []string{"no_configuration", "malformed"} {
		waitFor(t, reason, func() bool { return testutil.ToFloat64(s.metrics.skipped.WithLabelValues(reason)) == 1 })
	}
}

// TestAcknowledgements sends more than a window and expects to be told so.
func TestAcknowledgements(t *testing.T) {
	_, s := start(t, nil)
	p := dial(t, s)
	p.publish("test")
	p.send(rtmp.Uint32(rtmp.WindowAckSize, 10_000))
	for range 3 {
		p.send(rtmp.Message{Type: rtmp.DataAMF0, Payload: rtmp.EncodeAMF0(string(make([]byte, 12_000)))})
		m, err := p.reader.ReadMessage()
		if err != nil || m.Type != rtmp.Acknowledgement {
			t.Fatalf("got %v, %v, want an acknowledgement", m.Type, err)
		}
	}
}

// TestStopTellsAndWaits stops a server that has publishers.
func TestStopTellsAndWaits(t *testing.T) {
	h, err := hub.New(hub.Settings{Config: hub.DefaultConfig()})
	if err != nil {
		t.Fatal(err)
	}
	config := DefaultConfig()
	config.Address = "127.0.0.1:0"
	s, err := New(Settings{Config: config, Hub: h})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	p := dial(t, s)
	p.publish("test")
	cancel()
	if code, _ := p.code(); code != "NetConnection.Connect.AppShutdown" {
		t.Errorf("status is %s", code)
	}
	wg.Wait()
	if streams := h.Streams(); len(streams) != 0 {
		t.Errorf("streams left: %+v", streams)
	}
	if _, err := net.Dial("tcp", s.Addr().String()); err == nil {
		t.Error("the port is still open")
	}
}

func TestFullHub(t *testing.T) {
	config := hub.DefaultConfig()
	config.MaxStreams = 1
	h, err := hub.New(hub.Settings{Config: config})
	if err != nil {
		t.Fatal(err)
	}
	_, s := start(t, func(settings *Settings) { settings.Hub = h })
	dial(t, s).publish("first")
	p := dial(t, s)
	p.handshake()
	p.send(command("connect", 1.0, rtmp.Object{{Name: "app", Value: "live"}}))
	p.code()
	p.send(command("publish", 3.0, nil, "second", "live"))
	if code, text := p.code(); code != "NetStream.Publish.Failed" || !strings.Contains(text, live.ErrFull.Error()) {
		t.Errorf("status is %s %q", code, text)
	}
}
