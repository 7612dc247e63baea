package rtmp

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/weir-stream/weir/internal/media"
	"github.com/weir-stream/weir/internal/protocol/rtmp"
)

// collector is a sink that keeps everything.
type collector struct {
	tracks []media.Track
	units  []media.Unit
}

func (c *collector) SetTrack(t media.Track) error { c.tracks = append(c.tracks, t); return nil }
func (c *collector) Write(u media.Unit) error     { c.units = append(c.units, u); return nil }

func newDemuxer(t testing.TB) (*demuxer, *collector) {
	t.Helper()
	m, err := newMetrics(nil)
	if err != nil {
		t.Fatal(err)
	}
	c := &collector{}
	return &demuxer{sink: c, metrics: m}, c
}

// Parameter sets of x264: 320x180 and 640x360 at 30 frames per second.
var (
	sps180 = []byte("\x67\x42\xc0\x0d\xd9\x01\x41\x9f\x9e\x10\x00\x00\x03\x00\x10\x00\x00\x03\x03\xc0\xf1\x42\xa4\x80")
	pps    = []byte("\x68\xcb\x83\xcb\x20")
)

func avcConfig(lengthSize byte, sps []byte, pps ...[]byte) []byte {
	b := []byte{1, sps[1], sps[2], sps[3], 0xFC | (lengthSize - 1), 0xE1, byte(len(sps) >> 8), byte(len(sps))}
	b = append(append(b, sps...), byte(len(pps)))
	for _, p := range pps {
		b = append(append(b, byte(len(p)>>8), byte(len(p))), p...)
	}
	return b
}

func videoMessage(timestamp uint32, header string, data []byte) rtmp.Message {
	return rtmp.Message{Type: rtmp.Video, Timestamp: timestamp, Payload: append([]byte(header), data...)}
}

func audioMessage(timestamp uint32, header string, data ...byte) rtmp.Message {
	return rtmp.Message{Type: rtmp.Audio, Timestamp: timestamp, Payload: append([]byte(header), data...)}
}

const (
	configTag = "\x17\x00\x00\x00\x00"
	keyTag    = "\x17\x01\x00\x00\x00"
	frameTag  = "\x27\x01\x00\x00\x00"
)

func must(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestVideoTrack(t *testing.T) {
	now := time.Now()
	d, c := newDemuxer(t)
	d.setMetadata([]any{"@setDataFrame", "onMetaData", rtmp.Object{
		{Name: "videodatarate", Value: 2500.0}, {Name: "audiodatarate", Value: 160.0}, {Name: "framerate", Value: 29.97},
	}})
	config := videoMessage(0, configTag, avcConfig(4, sps180, pps))
	idr := []byte("\x00\x00\x00\x02\x09\xF0\x00\x00\x00\x02\x65\x88")
	skipped := func(reason string, m rtmp.Message) {
		t.Helper()
		var skip *skipError
		if err := d.onVideo(m, now); !errors.As(err, &skip) || skip.reason != reason {
			t.Errorf("got %v, want to skip it as %s", err, reason)
		}
	}
	skipped("no_configuration", videoMessage(0, keyTag, idr))
	must(
		t,
		d.onVideo(config, now),
		d.onVideo(videoMessage(40, keyTag, idr), now),
		// The frame type says keyframe; the picture is none.
		d.onVideo(videoMessage(80, "\x17\x01\xFF\xFF\xD8", []byte("\x00\x00\x00\x02\x41\x9A")), now),
		d.onVideo(config, now), // the same again
		d.onVideo(videoMessage(120, frameTag, idr), now),
		d.onVideo(videoMessage(160, "", nil), now),
		d.onVideo(videoMessage(160, "\x57\x00", nil), now),
	)
	skipped("malformed", videoMessage(160, frameTag, []byte("\x00\x00\x00\x09\x41")))
	skipped("malformed", videoMessage(160, "\x17", nil))
	skipped("malformed", videoMessage(160, configTag, nil))
	skipped("no_picture", videoMessage(160, frameTag, []byte("\x00\x00\x00\x02\x06\x05")))
	want := []media.Unit{
		{Track: 1, DTS: 3600, PTS: 3600, Keyframe: true, Payload: idr, Received: now},
		{Track: 1, DTS: 7200, PTS: 3600, Payload: []byte("\x00\x00\x00\x02\x41\x9A"), Received: now},
		{Track: 1, DTS: 10800, PTS: 10800, Keyframe: true, Payload: idr, Received: now},
	}
	if !reflect.DeepEqual(c.units, want) {
		t.Errorf("got  %+v\nwant %+v", c.units, want)
	}
	wantTrack := media.Track{
		ID: 1, Codec: media.H264, Timescale: 90000, SPS: sps180, PPS: pps, Width: 320, Height: 180, FrameRate: 29.97, Bitrate: 2_500_000,
	}
	if len(c.tracks) != 1 || !reflect.DeepEqual(c.tracks[0], wantTrack) {
		t.Errorf("got %+v\nwant %+v", c.tracks, wantTrack)
	}

	// Another PPS is another track.
	other := append([]byte{}, pps...)
	other[4] ^= 1
	must(t, d.onVideo(videoMessage(200, configTag, avcConfig(4, sps180, other)), now))
	if len(c.tracks) != 2 || !reflect.DeepEqual(c.tracks[1].PPS, other) {
		t.Errorf("tracks after another PPS: %+v", c.tracks)
	}

	// A track does not keep the record that it was read from.
	record := videoMessage(240, configTag, avcConfig(4, sps180, pps))
	must(t, d.onVideo(record, now))
	clear(record.Payload)
	if track := c.tracks[2]; !reflect.DeepEqual(track.SPS, sps180) || !reflect.DeepEqual(track.PPS, pps) {
		t.Errorf("the track shares the memory of its record: %+v", track)
	}
}

func TestVideoIsRewrittenWhereItMustBe(t *testing.T) {
	d, c := newDemuxer(t)
	second := []byte{0x68, 0xEE}
	must(
		t,
		d.onVideo(videoMessage(0, configTag, avcConfig(2, sps180, pps, second)), time.Time{}),
		d.onVideo(videoMessage(0, keyTag, []byte("\x00\x02\x65\x88")), time.Time{}),
		d.onVideo(videoMessage(33, frameTag, []byte("\x00\x02\x41\x9A")), time.Time{}),
		// The same parameter sets with lengths of four bytes: no new track.
		d.onVideo(videoMessage(66, configTag, avcConfig(4, sps180, pps)), time.Time{}),
		d.onVideo(videoMessage(66, frameTag, []byte("\x00\x00\x00\x02\x41\x9A")), time.Time{}),
	)
	want := []string{"\x00\x00\x00\x02\x68\xEE\x00\x00\x00\x02\x65\x88", "\x00\x00\x00\x02\x41\x9A", "\x00\x00\x00\x02\x41\x9A"}
	for i, unit := range c.units {
		if string(unit.Payload) != want[i] {
			t.Errorf("unit %d is %x, want %x", i, unit.Payload, want[i])
		}
	}
	if len(c.units) != 3 || len(c.tracks) != 1 {
		t.Errorf("%d units and %d tracks", len(c.units), len(c.tracks))
	}
}

func TestEnhancedRTMP(t *testing.T) {
	d, c := newDemuxer(t)
	must(
		t,
		d.onVideo(videoMessage(0, "\x90avc1", avcConfig(4, sps180, pps)), time.Time{}),
		d.onVideo(videoMessage(0, "\x91avc1\x00\x00\x28", []byte("\x00\x00\x00\x02\x65\x88")), time.Time{}),
		d.onVideo(videoMessage(33, "\xA3avc1", []byte("\x00\x00\x00\x02\x41\x9A")), time.Time{}),
		d.onAudio(audioMessage(0, "\x90mp4a", 0x11, 0x90), time.Time{}),
		d.onAudio(audioMessage(0, "\x91mp4a", 0x21), time.Time{}),
	)
	if len(c.tracks) != 2 || len(c.units) != 3 || c.units[0].PTS != 3600 || !c.units[0].Keyframe || c.units[1].PTS != 2970 {
		t.Errorf("got %+v, %+v", c.tracks, c.units)
	}
}

func TestAudioTracks(t *testing.T) {
	for _, test := range []struct {
		name     string
		config   []byte
		rate     int
		channels int
		frame    int64
	}{
		{"AAC-LC 48 kHz stereo", []byte{0x11, 0x90}, 48000, 2, 1024},
		{"AAC-LC 44.1 kHz mono", []byte{0x12, 0x08}, 44100, 1, 1024},
		{"AAC-LC of 960 samples", []byte{0x11, 0x94}, 48000, 2, 960},
		{"7.1 channels", []byte{0x11, 0xB8}, 48000, 8, 1024},
		{"5.1 channels", []byte{0x11, 0xB0}, 48000, 6, 1024},
		{"HE-AAC 24 to 48 kHz", []byte{0x2B, 0x11, 0x88, 0x00}, 48000, 2, 2048},
		{"HE-AAC v2 24 to 48 kHz", []byte{0xEB, 0x09, 0x88, 0x00}, 48000, 2, 2048},
	} {
		t.Run(test.name, func(t *testing.T) {
			d, c := newDemuxer(t)
			must(
				t,
				d.onAudio(audioMessage(0, "\xAF\x00", test.config...), time.Time{}),
				d.onAudio(audioMessage(1000, "\xAF\x01", 1), time.Time{}),
				d.onAudio(audioMessage(1000+uint32(test.frame*1000/int64(test.rate)), "\xAF\x01", 2), time.Time{}),
				d.onAudio(audioMessage(2000, "\xAF\x00", test.config...), time.Time{}), // the same again
			)
			if len(c.tracks) != 1 {
				t.Fatalf("tracks: %+v", c.tracks)
			}
			track := c.tracks[0]
			if track.SampleRate != test.rate || track.Timescale != uint32(test.rate) || track.Channels != test.channels {
				t.Errorf("track is %+v", track)
			}
			if c.units[0].DTS != int64(test.rate) || c.units[1].DTS-c.units[0].DTS != test.frame {
				t.Errorf("DTS are %d and %d", c.units[0].DTS, c.units[1].DTS)
			}
		})
	}
}

func TestUnsupported(t *testing.T) {
	for _, test := range []struct {
		name    string
		message rtmp.Message
		want    string
	}{
		{"HEVC", videoMessage(0, "\x1C\x00\x00\x00\x00", nil), "video as HEVC (hvc1) is not supported, send H.264"},
		{"enhanced HEVC", videoMessage(0, "\x90hvc1", nil), "video as HEVC (hvc1) is not supported, send H.264"},
		{"enhanced AV1", videoMessage(0, "\x90av01", nil), "video as AV1 (av01) is not supported, send H.264"},
		{"Opus", audioMessage(0, "\x90Opus"), "audio as Opus is not supported, send AAC"},
		{"MP3", audioMessage(0, "\x2F", 0xFF), "audio as MP3 is not supported, send AAC"},
		{"AAC Main", audioMessage(0, "\xAF\x00", 0x09, 0x90), "AAC with configuration 0990 (unsupported object type: 1) is not supported, send AAC-LC or HE-AAC"},
	} {
		t.Run(test.name, func(t *testing.T) {
			d, _ := newDemuxer(t)
			handle := d.onVideo
			if test.message.Type == rtmp.Audio {
				handle = d.onAudio
			}
			err := handle(test.message, time.Time{})
			var unsupported *unsupportedError
			if !errors.As(err, &unsupported) || err.Error() != test.want {
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
	d, _ := newDemuxer(t)
	err := d.onVideo(videoMessage(0, configTag, []byte{9, 9, 9, 9, 9, 9, 9}), time.Time{})
	if format := (*formatError)(nil); !errors.As(err, &format) || !strings.Contains(err.Error(), "version 9") {
		t.Errorf("got %v", err)
	}
	err = d.onAudio(audioMessage(0, "\xAF\x00", append([]byte{0x11, 0x90}, make([]byte, 63)...)...), time.Time{})
	if format := (*formatError)(nil); !errors.As(err, &format) || !strings.Contains(err.Error(), "65 bytes") {
		t.Errorf("got %v", err)
	}
}

func TestMetadataIsNotTrusted(t *testing.T) {
	for _, values := range [][]any{
		nil,
		{"onMetaData"},
		{"onMetaData", "text"},
		{"@setDataFrame"},
		{1.0, rtmp.Object{}},
		{"onMetaData", rtmp.Object{{Name: "framerate", Value: -1.0}, {Name: "videodatarate", Value: 1e300}, {Name: "width", Value: "wide"}}},
	} {
		d, _ := newDemuxer(t)
		d.setMetadata(values)
		if d.meta != (metadata{}) {
			t.Errorf("%v was taken as %+v", values, d.meta)
		}
	}
	d, _ := newDemuxer(t)
	d.setMetadata([]any{"onMetaData", rtmp.Object{{Name: "framerate", Value: 25.0}}})
	if d.meta.frameRate != 25 {
		t.Errorf("onMetaData without @setDataFrame was taken as %+v", d.meta)
	}
}
