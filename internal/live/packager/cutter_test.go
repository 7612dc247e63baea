package packager

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/weir-stream/weir/internal/format/cmaf/cmaftest"
	"github.com/weir-stream/weir/internal/media"
)

// testStream is a stream whose clock is far ahead, so that nothing is held back.
func testStream(tb testing.TB) *stream {
	tb.Helper()
	p, err := New(Settings{Config: DefaultConfig(), Now: func() time.Time { return time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC) }})
	if err != nil {
		tb.Fatal(err)
	}
	s := newStream(p, "s")
	s.line = newTimeline(s)
	return s
}

var (
	fuzzVideo = media.Track{ID: 1, Codec: media.H264, Timescale: 90000, SPS: []byte{0x67, 66, 0, 30}, PPS: []byte{0x68}}
	fuzzAudio = media.Track{ID: 2, Codec: media.AAC, Timescale: 48000, SampleRate: 48000, Channels: 1, AudioSpecificConfig: []byte{0x11, 0x88}}
)

// Whatever a publisher sends, no unit is in two segments or out of order, and files and manifests agree.
func FuzzCutter(f *testing.F) {
	f.Add([]byte(strings.Repeat("\x00\x11\x11\x01\x81\x81", 80)))
	f.Add([]byte(strings.Repeat("\x00\x41\x81\x31\xf0\x02\x7f", 60)))
	f.Add(append([]byte(strings.Repeat("\x01\x81\x81\x81", 100)), strings.Repeat("\x00\x41", 100)...))
	f.Fuzz(func(t *testing.T, script []byte) {
		if len(script) > 700 {
			return
		}
		s := testStream(t)
		c := newCutter(s)
		feed(c, script, func() { verify(t, s) })
		if err := c.finish(); err != nil {
			t.Fatal(err)
		}
		if c.bytes != 0 {
			t.Errorf("%d bytes are still counted", c.bytes)
		}
		verify(t, s)
		s.line.end()
		verify(t, s)
	})
}

// feed plays a script of tracks and units; check is called now and then.
func feed(c *cutter, script []byte, check func()) {
	wall := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var clocks [2]int64 // in milliseconds
	var made [2]uint16
	for i, op := range script {
		k := int(op & 1)
		track := [...]media.Track{fuzzVideo, fuzzAudio}[k]
		switch op >> 5 {
		case 0:
			if op&16 != 0 {
				track.Channels, track.PPS = int(op&2), []byte{0x68, op & 2}
			}
			c.addTrack(track)
			continue
		case 7:
			clocks[k] += int64(op&0x1e) * 500
		default:
			clocks[k] += int64(op>>5) * 11
		}
		wall = wall.Add(time.Duration(op&0x1e) * 3 * time.Millisecond)
		dts := clocks[k] * int64(track.Timescale) / 1000
		u := media.Unit{Track: track.ID, DTS: dts, PTS: dts, Keyframe: k == 1 || op&2 != 0, Received: wall}
		u.Payload = []byte{byte(made[k]), byte(made[k] >> 8)}
		if k == 0 {
			u.PTS += int64(op&12) * 900
			u.Payload = append([]byte{0, 0, 0, 3, 0x41}, u.Payload...)
		}
		made[k]++
		if err := c.addUnit(u); err != nil {
			break
		}
		if i%97 == 96 {
			check()
		}
	}
}

// verify checks what always holds of a timeline.
func verify(t *testing.T, s *stream) {
	t.Helper()
	newest := map[string]int{"video": -1, "audio": -1}
	for i, seg := range s.line.segments {
		if i > 0 {
			before := s.line.segments[i-1]
			if seg.number != before.number+1 {
				t.Fatalf("segment %d comes after %d", seg.number, before.number)
			}
			if seg.epoch != before.epoch && seg.epoch.wall.Before(before.end) {
				t.Fatalf("epoch %d begins %v before the last ends", seg.epoch.ordinal, before.end.Sub(seg.epoch.wall))
			}
		}
		for k, p := range seg.pieces {
			r := seg.epoch.renditions[k]
			header, file := s.object(r.header), s.object(p.name)
			if header == nil || file == nil {
				t.Fatalf("%s or %s is missing", r.header, p.name)
			}
			samples, err := cmaftest.Read(header.data, file.data)
			if err != nil {
				t.Fatalf("%s: %v", p.name, err)
			}
			first := slices.MinFunc(samples, func(a, b cmaftest.Sample) int { return int(a.PTS - b.PTS) })
			if first.PTS != p.time || p.duration <= 0 || samples[0].DTS < 0 {
				t.Fatalf("%s says %d+%d, its first sample is at %d", p.name, p.time, p.duration, first.PTS)
			}
			if !samples[0].Sync {
				t.Fatalf("%s does not begin with a keyframe", p.name)
			}
			for _, sample := range samples {
				n := len(sample.Data)
				serial := int(sample.Data[n-2]) | int(sample.Data[n-1])<<8
				if serial <= newest[r.name] {
					t.Fatalf("unit %d of %s is there again, or late", serial, r.name)
				}
				newest[r.name] = serial
			}
		}
	}
	if m := s.manifests.Load(); m != nil {
		for name, o := range *m {
			if bytes.Contains(o.data, []byte("-0.")) || bytes.Contains(o.data, []byte(`d="-`)) {
				t.Fatalf("%s:\n%s", name, o.data)
			}
		}
	}
}

func TestSpan(t *testing.T) {
	for _, c := range []struct {
		ticks int64
		scale uint32
		want  time.Duration
	}{
		{90_000, 90_000, time.Second},
		{-1, 90_000, -11_111},
		{1, 44_100, 22_675},
		{44_100 * 3600 * 24 * 365, 44_100, 365 * 24 * time.Hour},
		{1<<32*90 + 45, 90_000, 1<<32*time.Millisecond + 500*time.Microsecond},
	} {
		if got := span(c.ticks, c.scale); got != c.want {
			t.Errorf("span(%d, %d) = %d, want %d", c.ticks, c.scale, got, c.want)
		}
		if got := ticks(c.want, c.scale); got != c.ticks {
			t.Errorf("ticks(%d, %d) = %d, want %d", c.want, c.scale, got, c.ticks)
		}
	}
}

// A bitrate too high for the window makes it shorter, not the process larger.
func TestMemoryIsBounded(t *testing.T) {
	s := testStream(t)
	limit := 8 << 20
	s.packager.config.MaxStreamBytes = limit
	c := newCutter(s)
	c.addTrack(fuzzVideo)
	payload := make([]byte, 100_000) // 20 Mbit/s
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range int64(25 * 60) {
		u := media.Unit{Track: 1, DTS: i * 3600, PTS: i * 3600, Keyframe: i%25 == 0, Payload: payload, Received: start.Add(span(i*3600, 90000))}
		if err := c.addUnit(u); err != nil {
			t.Fatal(err)
		}
		if kept := minSegmentsBytes * 51 * len(payload); s.bytes > max(limit, kept) {
			t.Fatalf("%d bytes are kept, at most %d may be", s.bytes, max(limit, kept))
		}
	}
	n := 0
	for _, o := range s.objects {
		n += len(o.data)
	}
	if n != s.bytes || len(s.line.segments) < minSegmentsBytes {
		t.Errorf("%d bytes are counted, %d are there, in %d segments", s.bytes, n, len(s.line.segments))
	}
}

func TestRestlessPublisherHasABoundedWindow(t *testing.T) {
	s := testStream(t)
	c := newCutter(s)
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range int64(2000) { // a new configuration and a keyframe each millisecond
		track := fuzzVideo
		track.SPS = []byte{0x67, 66, byte(i % 2), 30}
		c.addTrack(track)
		u := media.Unit{Track: 1, DTS: i * 90, PTS: i * 90, Keyframe: true, Payload: []byte{0, 0, 0, 1, 0x65}, Received: start.Add(span(i*90, 90000))}
		if err := c.addUnit(u); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(s.line.segments); n != s.line.maxSegments() {
		t.Errorf("%d segments of %v are in the window, want %d", n, s.line.length(), s.line.maxSegments())
	}
}

func TestUnitsAreBoundedWhereTimeStandsStill(t *testing.T) {
	s := testStream(t)
	c := newCutter(s)
	c.addTrack(fuzzVideo)
	for i := range int64(100_000) {
		u := media.Unit{Track: 1, DTS: i, PTS: i, Keyframe: i == 0, Payload: []byte{0, 0, 0, 1, 0x41}}
		if err := c.addUnit(u); err != nil {
			if !errors.Is(err, errTooMany) || i != 30_000 {
				t.Errorf("after %d units: %v", i, err)
			}
			return
		}
	}
	t.Error("100000 units wait within 1.1 s of media")
}

func TestBadTimesAreCounted(t *testing.T) {
	s := testStream(t)
	c := newCutter(s)
	c.addTrack(fuzzVideo)
	if err := c.addUnit(media.Unit{Track: 1, PTS: 90000 * 3600, Keyframe: true, Payload: []byte{0, 0, 0, 1, 0x65}}); err != nil {
		t.Fatal(err)
	}
	if n := testutil.ToFloat64(s.packager.metrics.unusedUnits.WithLabelValues("bad_time")); n != 1 || c.bytes != 0 {
		t.Errorf("%v units are counted, and %d bytes wait", n, c.bytes)
	}
}

// BenchmarkPackaging packages a stream of 720p at 3 Mbit/s, 30 pictures a second, with AAC at 128 kbit/s.
// The metric is the share of a core that one such stream takes.
func BenchmarkPackaging(b *testing.B) {
	s := testStream(b)
	c := newCutter(s)
	video, audio := fuzzVideo, fuzzAudio
	c.addTrack(video)
	c.addTrack(audio)
	key, delta, sound := make([]byte, 90_000), make([]byte, 11_100), make([]byte, 341)
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	frames, pictures := int64(0), int64(0)
	b.ReportAllocs()
	for b.Loop() { // one second of media
		for range 30 {
			t := pictures * 3000
			u := media.Unit{Track: 1, DTS: t, PTS: t + 6000, Payload: delta, Received: start.Add(span(t, 90000))}
			if pictures%60 == 0 {
				u.Keyframe, u.Payload = true, key
			}
			if err := c.addUnit(u); err != nil {
				b.Fatal(err)
			}
			pictures++
			for frames*1024*30 < pictures*48000 {
				a := media.Unit{Track: 2, DTS: frames * 1024, PTS: frames * 1024, Keyframe: true, Payload: sound, Received: u.Received}
				if err := c.addUnit(a); err != nil {
					b.Fatal(err)
				}
				frames++
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1e9*100, "%core/stream")
}
