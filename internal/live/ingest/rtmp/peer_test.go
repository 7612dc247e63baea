package rtmp

import (
	"errors"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bluenviron/gortmplib"
	"github.com/bluenviron/gortmplib/pkg/codecs"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"

	"github.com/weir-stream/weir/internal/live"
	"github.com/weir-stream/weir/internal/live/hub"
)

// TestAnotherClient publishes with gortmplib, which is neither FFmpeg's nor our own understanding of RTMP.
func TestAnotherClient(t *testing.T) {
	h, s := start(t, nil)
	done := record(t, h)
	target, err := url.Parse(urlOf(s, "live/sport/final"))
	must(t, err)
	client := &gortmplib.Client{URL: target, Publish: true}
	must(t, client.Initialize(t.Context()))
	// It has asked for acknowledgements, and must read them: to close with bytes unread resets the
	// connection, and what was sent last is lost.
	var reading sync.WaitGroup
	reading.Go(func() {
		for {
			if _, err := client.Read(); err != nil {
				return
			}
		}
	})
	video := &gortmplib.Track{Codec: &codecs.H264{SPS: sps180, PPS: pps}}
	audio := &gortmplib.Track{Codec: &codecs.MPEG4Audio{Config: &mpeg4audio.AudioSpecificConfig{
		Type: mpeg4audio.ObjectTypeAACLC, SampleRate: 48000, ChannelConfig: 2,
	}}}
	w := &gortmplib.Writer{Conn: client, Tracks: []*gortmplib.Track{video, audio}}
	must(t, w.Initialize())
	// Across the limit of 24 bits, where timestamps are extended.
	const base = 0xFFFFFF*time.Millisecond - 400*time.Millisecond
	large := make([]byte, 300_000) // several chunks
	large[0] = 0x65
	for i := range 20 {
		at := base + time.Duration(i)*40*time.Millisecond
		must(t, w.WriteH264(video, at+40*time.Millisecond, at, [][]byte{large}))
		must(t, w.WriteMPEG4Audio(audio, at, []byte{0x21, byte(i)}))
	}
	_ = client.NetConn().(*net.TCPConn).CloseWrite()
	got := await(t, done, "end of stream")
	if !errors.Is(got.err, io.EOF) || len(got.units[videoTrack]) != 20 || len(got.units[audioTrack]) != 20 {
		t.Fatalf("%d video and %d audio units, then %v", len(got.units[videoTrack]), len(got.units[audioTrack]), got.err)
	}
	client.Close()
	reading.Wait()
	for i, u := range got.units[videoTrack] {
		if want := int64(base/time.Millisecond+time.Duration(i)*40) * 90; u.DTS != want || u.PTS != want+3600 || !u.Keyframe || len(u.Payload) != len(large)+4 {
			t.Errorf("unit %d: DTS %d PTS %d keyframe %v, %d bytes; want DTS %d", i, u.DTS, u.PTS, u.Keyframe, len(u.Payload), want)
		}
	}
}

// TestFirstUnitIsNotHeldBack answers for the time from connecting to the first unit in the hub: the
// configuration of one track and one frame are enough, and nothing but the peer is waited for.
func TestFirstUnitIsNotHeldBack(t *testing.T) {
	h, s := start(t, nil)
	first := firstUnits(t, h)
	began := time.Now()
	p := dial(t, s)
	p.publish("test")
	p.send(videoMessage(0, configTag, avcConfig(4, sps180, pps)), videoMessage(0, keyTag, []byte("\x00\x00\x00\x02\x65\x88")))
	await(t, first, "unit in the hub")
	// What servers wait for tracks is longer, and this takes a few milliseconds.
	if took := time.Since(began); took > time.Second {
		t.Errorf("the first unit came %s after connecting", took)
	}
	if info := h.Streams()[0]; info.State != live.Running || len(info.Tracks) != 1 || info.Protocol != "rtmp" || info.Publisher != p.LocalAddr().String() {
		t.Errorf("stream is %+v", info)
	}
}

// TestUnsupportedTrackEndsThePublication also shows that its units before it were delivered.
func TestUnsupportedTrackEndsThePublication(t *testing.T) {
	h, s := start(t, nil)
	done := record(t, h)
	p := dial(t, s)
	p.publish("test")
	p.send(audioMessage(0, "\xAF\x00", 0x11, 0x90), audioMessage(0, "\xAF\x01", 0x21), videoMessage(0, "\x90hvc1", nil))
	code, text := p.code()
	if code != "NetStream.Publish.Failed" || !strings.Contains(text, "video as HEVC (hvc1) is not supported, send H.264") {
		t.Errorf("status is %s %q", code, text)
	}
	p.closed()
	if got := await(t, done, "end of stream"); len(got.units[audioTrack]) != 1 || !errors.Is(got.err, io.EOF) {
		t.Errorf("got %+v", got)
	}
}

func TestPortThatIsTaken(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer taken.Close()
	h, err := hub.New(hub.Settings{Config: hub.DefaultConfig()})
	must(t, err)
	config := DefaultConfig()
	config.Address = taken.Addr().String()
	s, err := New(Settings{Config: config, Hub: h})
	must(t, err)
	if err := s.Listen(); err == nil || !strings.Contains(err.Error(), "listen for RTMP") {
		t.Errorf("got %v", err)
	}
}

func TestConfig(t *testing.T) {
	for want, change := range map[string]func(*Config){
		`address: "1935"`:       func(c *Config) { c.Address = "1935" },
		"max_connections: 0":    func(c *Config) { c.MaxConnections = 0 },
		"max_message_bytes: 1":  func(c *Config) { c.MaxMessageBytes = 1 },
		"handshake_timeout: 0s": func(c *Config) { c.HandshakeTimeout = 0 },
		"idle_timeout: 1ms":     func(c *Config) { c.IdleTimeout = time.Millisecond },
		"write_timeout: -1s":    func(c *Config) { c.WriteTimeout = -time.Second },
	} {
		c := DefaultConfig()
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
	must(t, DefaultConfig().Validate())
}
