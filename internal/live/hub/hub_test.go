package hub

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/weir-stream/weir/internal/live"
	"github.com/weir-stream/weir/internal/media"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	video = media.Track{ID: 1, Codec: media.H264, Timescale: media.VideoTimescale, SPS: []byte{0x67, 0x64, 0, 0x1F}, Width: 320, Height: 180}
	audio = media.Track{ID: 2, Codec: media.AAC, Timescale: 48000, SampleRate: 48000, AudioSpecificConfig: []byte{0x11, 0x90}}
)

func newHub(t testing.TB, change func(*Config)) *Hub {
	t.Helper()
	config := DefaultConfig()
	if change != nil {
		change(&config)
	}
	h, err := New(Settings{Config: config, Registerer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func publish(t testing.TB, h *Hub, tracks ...media.Track) *script {
	t.Helper()
	p, err := h.Publish("test", PublisherInfo{Protocol: "rtmp", Address: "192.0.2.1:5"})
	if err != nil {
		t.Fatal(err)
	}
	s := &script{t: t, Publisher: p}
	for _, track := range tracks {
		if err := p.SetTrack(track); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// script writes units as a text: K is a keyframe, p another picture, a an audio frame, and V and A set the
// video and audio track again. Each payload has 10 bytes.
type script struct {
	t testing.TB
	*Publisher
	written int
}

func (s *script) play(units string) {
	s.t.Helper()
	for _, c := range units {
		var err error
		switch c {
		case 'V':
			err = s.SetTrack(video)
		case 'A':
			err = s.SetTrack(audio)
		default:
			s.written++
			track := 1
			if c == 'a' {
				track = 2
			}
			payload := make([]byte, 10)
			payload[0] = byte(c)
			err = s.Write(media.Unit{Track: track, DTS: int64(s.written), PTS: int64(s.written), Keyframe: c != 'p', Payload: payload})
		}
		if err != nil {
			s.t.Fatalf("%c: %v", c, err)
		}
	}
}

// drain returns what waits for a reader, as the text of a script.
func drain(t testing.TB, r *Reader) string {
	t.Helper()
	var got strings.Builder
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // Next returns what is there, and does not wait
	for {
		item, err := r.Next(ctx)
		switch {
		case err != nil:
			return got.String()
		case (item.Track == nil) == (item.Unit == nil):
			t.Fatalf("item is %+v", item)
		case item.Unit != nil:
			got.WriteByte(item.Unit.Payload[0])
		case item.Track.Kind() == media.Video:
			got.WriteByte('V')
		default:
			got.WriteByte('A')
		}
	}
}

func reader(t testing.TB, h *Hub) *Reader {
	t.Helper()
	r, err := h.Read("test", "reader")
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestReaderGetsWhatIsWritten(t *testing.T) {
	h := newHub(t, nil)
	var early *Reader
	h.OnPublishAs("packager", func(name live.StreamName, r *Reader) {
		if name != "test" || r.Stream() != "test" || r.Name() != "packager" {
			t.Errorf("reader %q of stream %q", r.Name(), r.Stream())
		}
		early = r
	})
	p := publish(t, h, video, audio)
	p.play("ppaKapVpaKapA a"[:12])
	if got, want := drain(t, early), "VAaKapVaKap"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := testutil.ToFloat64(h.metrics.noKeyframe); got != 3 {
		t.Errorf("%v units without a keyframe, want 3", got)
	}
	if early.Dropped() != 0 {
		t.Errorf("%d units dropped for being slow", early.Dropped())
	}
}

func TestLateReaderBeginsAtTheLastKeyframe(t *testing.T) {
	for _, test := range []struct{ name, before, want string }{
		{"in a GOP", "KapaKapa", "VAKapa"},
		{"at a keyframe", "KapK", "VAK"},
		{"before a keyframe", "aaa", "VA"},
		{"after a new video track", "KapVpa", "VA"},
		{"after a new audio track", "KapaAap", "VAKpap"}, // old audio is not of the new track
		{"after a GOP that is too long", "K" + strings.Repeat("p", 30), "VA"},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := newHub(t, func(c *Config) { c.GOPUnits = 20 })
			p := publish(t, h, video, audio)
			p.play(test.before)
			r := reader(t, h)
			if got := drain(t, r); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
			p.play("apKap")
			if got := drain(t, r); !strings.HasSuffix(got, "Kap") || strings.Contains(test.want, "K") != strings.HasPrefix(got, "apK") {
				t.Errorf("then got %s", got)
			}
			if r.Dropped() != 0 {
				t.Errorf("%d units dropped for being slow", r.Dropped())
			}
		})
	}
	t.Run("audio only", func(t *testing.T) {
		h := newHub(t, nil)
		p := publish(t, h, audio)
		p.play("aaaa")
		if got := drain(t, reader(t, h)); got != "Aa" {
			t.Errorf("got %s, want Aa", got)
		}
	})
}

// TestSlowReader writes to a reader whose ring has room for 16 units.
func TestSlowReader(t *testing.T) {
	const gop = "Kpapp" // five units
	for _, test := range []struct {
		name          string
		reads         int // how many units are read before the rest is written
		first, second string
		want          string
		dropped       int64
	}{
		{"fast enough", 0, gop + gop + gop, "", "VA" + gop + gop + gop, 0},
		// The oldest GOPs go, with the audio beside them.
		{"nothing read", 0, gop + gop + gop + gop, "", "VA" + gop + gop + gop, 5},
		{"nothing read for long", 0, strings.Repeat(gop, 100) + "Kp", "", "VA" + gop + gop + "Kp", 98 * 5},
		// What has been begun is not lost.
		{"in a GOP", 2, gop + gop + gop, gop + gop, "app" + gop + gop, 10},
		{"between GOPs", 5, gop + gop + gop, gop + gop, gop + gop + gop, 5},
		// A GOP that does not fit beside what was begun is lost whole; audio goes on.
		{"open GOP", 1, gop, "K" + strings.Repeat("pa", 8) + "Kp", "papp" + "aaa" + "Kp", 14},
		// The exception: a GOP longer than the ring, begun. Its beginning decodes.
		{"begun GOP longer than the ring", 1, "Kp", strings.Repeat("p", 20) + "Kp", strings.Repeat("p", 16), 7},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := newHub(t, func(c *Config) { c.ReaderUnits, c.GOPUnits = 16, 0 })
			p := publish(t, h, video, audio)
			r := reader(t, h)
			p.play(test.first)
			if test.reads > 0 {
				for range 2 + test.reads { // the tracks, too
					if _, err := r.Next(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
			}
			p.play(test.second)
			if got := drain(t, r); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
			if r.Dropped() != test.dropped || testutil.ToFloat64(h.metrics.slow) != float64(test.dropped) {
				t.Errorf("%d dropped (metric %v), want %d", r.Dropped(), testutil.ToFloat64(h.metrics.slow), test.dropped)
			}
			p.play("ppKap")
			if got := drain(t, r); !strings.HasSuffix(got, "Kap") {
				t.Errorf("then got %s", got)
			}
		})
	}
}

func TestSlowReaderOfAudio(t *testing.T) {
	h := newHub(t, func(c *Config) { c.ReaderUnits, c.GOPUnits = 16, 0 })
	p := publish(t, h, audio)
	r := reader(t, h)
	p.play(strings.Repeat("a", 50))
	if got := drain(t, r); got != "A"+strings.Repeat("a", 16) || r.Dropped() != 34 {
		t.Errorf("got %s, %d dropped", got, r.Dropped())
	}
}

func TestSlowReaderIsBoundedInBytes(t *testing.T) {
	const bound = 64 << 10
	h := newHub(t, func(c *Config) { c.ReaderBytes, c.GOPBytes = bound, 0 })
	p := publish(t, h, video)
	r := reader(t, h)
	write := func(dts int64, key bool, size int) {
		if err := p.Write(media.Unit{Track: 1, DTS: dts, Keyframe: key, Payload: make([]byte, size)}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range int64(100) {
		write(i, i%2 == 0, 10_000)
	}
	write(100, true, bound+1) // never fits, and costs nobody else their place
	if r.ring.bytes > bound || r.ring.bytes < bound-20_000 {
		t.Errorf("%d bytes wait, the bound is %d", r.ring.bytes, bound)
	}
	write(101, false, 1)
	if r.skip != untilNext {
		t.Error("a picture is delivered after its keyframe was lost")
	}
}

// TestManyTrackChanges sets tracks without end for a reader that does not read.
func TestManyTrackChanges(t *testing.T) {
	h := newHub(t, nil)
	p := publish(t, h, video, audio)
	r := reader(t, h)
	p.play(strings.Repeat("VKp", 1000))
	got := drain(t, r)
	if len(got) > 3*maxTrackItems+3 {
		t.Errorf("%d items wait", len(got))
	}
	if !strings.HasSuffix(got, "VKp") || !strings.Contains(got, "A") || int(r.Dropped())+strings.Count(got, "K")+strings.Count(got, "p") != 2000 {
		t.Errorf("got %s, %d dropped", got, r.Dropped())
	}
}

func TestTracksOutliveLostUnits(t *testing.T) {
	h := newHub(t, func(c *Config) { c.ReaderUnits, c.GOPUnits = 16, 0 })
	p := publish(t, h, video, audio)
	r := reader(t, h)
	p.play("KpapAaapVKpppppppppppKp")
	if got, want := drain(t, r), "VAAVKpppppppppppKp"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestEndOfStream(t *testing.T) {
	h := newHub(t, nil)
	p := publish(t, h, video)
	r, closed := reader(t, h), reader(t, h)
	p.play("Kpp")
	closed.Close()
	closed.Close()
	if got := h.Streams()[0].Readers; len(got) != 1 {
		t.Errorf("readers: %+v", got)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	_ = p.Close()
	for range 4 {
		if _, err := r.Next(t.Context()); err != nil {
			t.Fatalf("what was written before the end is lost: %v", err)
		}
	}
	for range 2 {
		if _, err := r.Next(t.Context()); !errors.Is(err, io.EOF) {
			t.Errorf("got %v, want EOF", err)
		}
	}
	if _, err := closed.Next(t.Context()); !errors.Is(err, live.ErrClosed) {
		t.Errorf("got %v from a reader that is closed", err)
	}
	if err := p.Write(media.Unit{Track: 1, DTS: 9}); !errors.Is(err, live.ErrClosed) {
		t.Errorf("Write after Close: %v", err)
	}
	if err := p.SetTrack(video); !errors.Is(err, live.ErrClosed) {
		t.Errorf("SetTrack after Close: %v", err)
	}
	if _, err := h.Read("test", "late"); !errors.Is(err, live.ErrNotFound) {
		t.Errorf("Read after Close: %v", err)
	}
	for name, gauge := range map[string]prometheus.Gauge{"streams": h.metrics.streams, "readers": h.metrics.readers} {
		if got := testutil.ToFloat64(gauge); got != 0 {
			t.Errorf("%v %s left", got, name)
		}
	}
}

func TestNextWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, nil)
		p := publish(t, h, video)
		r := reader(t, h)
		_ = drain(t, r)
		got := make(chan error)
		next := func(ctx context.Context) {
			go func() { _, err := r.Next(ctx); got <- err }()
			synctest.Wait()
			select {
			case err := <-got:
				t.Fatalf("Next did not wait: %v", err)
			default:
			}
		}
		next(t.Context())
		p.play("K")
		if err := <-got; err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		next(ctx)
		if err := <-got; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the context's error", err)
		}
		next(t.Context())
		r.Close()
		if err := <-got; !errors.Is(err, live.ErrClosed) {
			t.Errorf("got %v, want ErrClosed", err)
		}
		r = reader(t, h)
		_ = drain(t, r)
		next(t.Context())
		_ = p.Close()
		if err := <-got; !errors.Is(err, io.EOF) {
			t.Errorf("got %v, want EOF", err)
		}
	})
}

func TestNames(t *testing.T) {
	h := newHub(t, func(c *Config) { c.MaxStreams = 2 })
	p := publish(t, h)
	for _, test := range []struct {
		name string
		want error
	}{{"test", live.ErrTaken}, {"other", nil}, {"third", live.ErrFull}} {
		_, err := h.Publish(live.StreamName(test.name), PublisherInfo{})
		if !errors.Is(err, test.want) || err != nil && !strings.Contains(err.Error(), test.name) {
			t.Errorf("publish %s: %v, want %v", test.name, err, test.want)
		}
	}
	_ = p.Close()
	again := publish(t, h)
	_ = p.Close() // of the one before, and does not touch the new one
	if err := h.Kick("test"); err != nil {
		t.Error(err)
	}
	<-again.Done()
	if err := h.Kick("test"); !errors.Is(err, live.ErrNotFound) {
		t.Errorf("kick: %v", err)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	if _, err := h.Publish("test", PublisherInfo{}); !errors.Is(err, live.ErrClosed) {
		t.Errorf("publish after Close: %v", err)
	}
	if got := h.Streams(); len(got) != 0 {
		t.Errorf("streams left: %+v", got)
	}
}

func TestStreams(t *testing.T) {
	h := newHub(t, nil)
	for _, name := range []live.StreamName{"b", "a/b", "a"} {
		if _, err := h.Publish(name, PublisherInfo{}); err != nil {
			t.Fatal(err)
		}
	}
	var names []live.StreamName
	for _, info := range h.Streams() {
		names = append(names, info.Name)
	}
	if !slices.Equal(names, []live.StreamName{"a", "a/b", "b"}) {
		t.Errorf("got %v", names)
	}
	_ = h.Close()

	h = newHub(t, nil)
	p := publish(t, h, audio, video)
	state := func() live.State { return h.Streams()[0].State }
	p.play("aap")
	if got := state(); got != live.Starting {
		t.Errorf("before a keyframe the stream is %s", got)
	}
	p.play("K")
	if got := state(); got != live.Running {
		t.Errorf("after a keyframe the stream is %s", got)
	}
	reader(t, h)
	info := h.Streams()[0]
	if info.Units != 4 || info.Bytes != 40 || info.Publisher != "192.0.2.1:5" || info.Protocol != "rtmp" || len(info.Readers) != 1 ||
		len(info.Tracks) != 2 || info.Tracks[0].Parameters != "avc1.64001f" || info.Since.IsZero() {
		t.Errorf("got %+v", info)
	}
}

func TestWhatAPublisherMayNotDo(t *testing.T) {
	h := newHub(t, nil)
	p := publish(t, h, video)
	second, tooMany := video, audio
	second.ID = 3
	for name, track := range map[string]media.Track{
		"no ID":               {Codec: media.AAC, Timescale: 1},
		"unknown codec":       {ID: 4, Codec: "vhs", Timescale: 1},
		"no timescale":        {ID: 4, Codec: media.AAC},
		"second video track":  second,
		"audio that is video": {ID: 1, Codec: media.AAC, Timescale: 1},
	} {
		if err := p.SetTrack(track); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for i := range MaxTracks - 1 {
		tooMany.ID = 10 + i
		if err := p.SetTrack(tooMany); err != nil {
			t.Fatal(err)
		}
	}
	tooMany.ID = 2
	if err := p.SetTrack(tooMany); err == nil {
		t.Errorf("more than %d tracks accepted", MaxTracks)
	}
	if err := p.Write(media.Unit{Track: 7}); err == nil {
		t.Error("unit of an unknown track accepted")
	}
	if err := p.Write(media.Unit{Track: 1, DTS: 100, Keyframe: true}); err != nil {
		t.Fatal(err)
	}
	if err := p.Write(media.Unit{Track: 1, DTS: 99}); err == nil {
		t.Error("unit that goes back in time accepted")
	}
}

func TestConfig(t *testing.T) {
	for want, change := range map[string]func(*Config){
		"max_streams: 0":  func(c *Config) { c.MaxStreams = 0 },
		"reader_units: 1": func(c *Config) { c.ReaderUnits = 1 },
		"reader_bytes: 1": func(c *Config) { c.ReaderBytes = 1 },
		"gop_units: 9":    func(c *Config) { c.GOPUnits, c.ReaderUnits = 9999, 9999 },
		"gop_bytes: ":     func(c *Config) { c.GOPBytes = c.ReaderBytes + 1 },
	} {
		c := DefaultConfig()
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
}
