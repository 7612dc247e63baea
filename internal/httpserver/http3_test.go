package httpserver_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/weir-stream/weir/internal/httpserver"
)

// mute is a socket whose first packet goes out, and that hears nothing: as if the address in the packet were another's.
type mute struct {
	net.PacketConn
	sent atomic.Int32
	out  chan struct{} // closed when the first packet has gone out
}

func (m *mute) WriteTo(p []byte, to net.Addr) (int, error) {
	if m.sent.Add(1) > 1 {
		return len(p), nil
	}
	defer close(m.out)
	return m.PacketConn.WriteTo(p, to)
}

func (m *mute) ReadFrom(p []byte) (int, net.Addr, error) {
	for {
		if _, _, err := m.PacketConn.ReadFrom(p); err != nil {
			return 0, nil, err
		}
	}
}

// Handshakes that do not go on take no room from anybody, and honest clients of HTTP/3 get through as well.
func TestHandshakesThatDoNotGoOnTakeNoRoom(t *testing.T) {
	const connections = 32
	s := startSite(t, func(set *httpserver.Settings) {
		set.Config.MaxConnections = connections
		set.Config.HeaderTimeout = time.Minute
		set.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Proto) })
	})
	target, err := net.ResolveUDPAddr("udp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for range 2 * connections {
		packets, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		m := &mute{PacketConn: packets, out: make(chan struct{})}
		transport := &quic.Transport{Conn: m}
		dialling, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_, _ = transport.Dial(dialling, target, &tls.Config{RootCAs: s.authority.Pool, NextProtos: []string{"h3"}, ServerName: "127.0.0.1"}, nil)
		}()
		<-m.out
		cancel()
		<-ended
		_ = transport.Close()
		_ = packets.Close()
	}
	for _, protocol := range []struct{ speaks, answer string }{{"http/1.1", "HTTP/1.1"}, {"h2", "HTTP/2.0"}, {"h3", "HTTP/3.0"}} {
		client := s.client(t, protocol.speaks)
		client.Timeout = 5 * time.Second
		if _, body := get(t, client, s.url()); body != protocol.answer {
			t.Errorf("%s: answered by %q", protocol.speaks, body)
		}
	}
}
