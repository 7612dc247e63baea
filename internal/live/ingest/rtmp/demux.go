package rtmp

import (
	"bytes"
	"fmt"
	"math"
	"time"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"

	"github.com/weir-stream/weir/internal/format/flv"
	"github.com/weir-stream/weir/internal/media"
	"github.com/weir-stream/weir/internal/protocol/rtmp"
)

// The IDs of the tracks of every RTMP stream.
const (
	videoTrack = 1
	audioTrack = 2
)

// maxAudioConfig bounds an AAC configuration in bytes. Most have two to five; one that describes its channels
// itself has fewer than sixty.
const maxAudioConfig = 64

// sink is where tracks and units go: a *hub.Publisher.
type sink interface {
	SetTrack(media.Track) error
	Write(media.Unit) error
}

// unsupportedError says that a track has a coding that is not taken in.
type unsupportedError struct{ sent, expected string }

func (e *unsupportedError) Error() string {
	return fmt.Sprintf("%s is not supported, send %s", e.sent, e.expected)
}

// demuxer makes tracks and units of the messages of one publication.
type demuxer struct {
	sink    sink
	metrics *metrics
	clock   clock
	meta    metadata

	video struct {
		config     []byte // the AVC configuration record, nil: none yet
		lengthSize int
		sps, pps   []byte
		extra      []byte // parameter sets beyond the first ones, in front of every keyframe
		time       videoTime
	}
	audio struct {
		config []byte
		time   audioTime
	}
}

// metadata is what the publisher declares of itself (onMetaData).
type metadata struct {
	width, height, frameRate   float64
	videoBitrate, audioBitrate float64 // bit/s
}

// setMetadata takes in the values of a data message: "@setDataFrame", "onMetaData", object; some leave
// the first one out.
func (d *demuxer) setMetadata(values []any) {
	if len(values) > 0 && values[0] == "@setDataFrame" {
		values = values[1:]
	}
	if len(values) < 2 || values[0] != "onMetaData" {
		return
	}
	o, ok := values[1].(rtmp.Object)
	if !ok {
		return
	}
	number := func(name string, most float64) float64 {
		if n := o.Number(name); n > 0 && n <= most { // also false for NaN
			return n
		}
		return 0
	}
	d.meta = metadata{
		width: number("width", 1<<15), height: number("height", 1<<15), frameRate: number("framerate", 1000),
		videoBitrate: 1000 * number("videodatarate", 1e6), audioBitrate: 1000 * number("audiodatarate", 1e6),
	}
}

// onVideo handles a video message. An error other than skipError ends the publication.
func (d *demuxer) onVideo(m rtmp.Message, received time.Time) error {
	d.metrics.received.Add(float64(len(m.Payload)))
	tag, err := flv.ParseVideo(m.Payload)
	if err != nil {
		return &skipError{"malformed", err}
	}
	if tag.Type == flv.Other {
		return nil
	}
	if tag.Codec != flv.AVC {
		return &unsupportedError{"video as " + describe(tag.Codec), "H.264"}
	}
	if tag.Type == flv.Config {
		return d.setVideoConfig(tag.Data)
	}
	if d.video.config == nil {
		return &skipError{reason: "no_configuration"}
	}
	picture, err := flv.ParseAVC(tag.Data, d.video.lengthSize)
	if err != nil {
		return &skipError{"malformed", err}
	}
	if !picture.Coded {
		return &skipError{reason: "no_picture"}
	}
	dts, done := d.video.time.at(&d.clock, m.Timestamp)
	d.count(done)
	if picture.Keyframe && len(d.video.extra) > 0 {
		picture.Data = append(d.video.extra[:len(d.video.extra):len(d.video.extra)], picture.Data...)
	}
	return d.sink.Write(media.Unit{
		Track: videoTrack, DTS: dts, PTS: dts + int64(tag.CompositionOffset)*(media.VideoTimescale/1000),
		Keyframe: picture.Keyframe, Payload: picture.Data, Received: received,
	})
}

// setVideoConfig announces the track, unless it is what was announced before.
func (d *demuxer) setVideoConfig(record []byte) error {
	if d.video.config != nil && bytes.Equal(record, d.video.config) {
		return nil
	}
	if len(record) == 0 { // some send it before their encoder has begun
		return &skipError{reason: "malformed"}
	}
	config, err := flv.ParseAVCConfig(record)
	if err != nil {
		return &formatError{err}
	}
	v := &d.video
	same := v.config != nil && bytes.Equal(v.sps, config.SPS[0]) && bytes.Equal(v.pps, config.PPS[0])
	v.config, v.lengthSize, v.extra = record, config.LengthSize, nil
	for _, sets := range [][][]byte{config.SPS[1:], config.PPS[1:]} {
		for _, set := range sets {
			v.extra = append(v.extra, byte(len(set)>>24), byte(len(set)>>16), byte(len(set)>>8), byte(len(set)))
			v.extra = append(v.extra, set...)
		}
	}
	if same {
		return nil
	}
	// Copies: tracks outlive the record, which may be of any size.
	v.sps, v.pps = bytes.Clone(config.SPS[0]), bytes.Clone(config.PPS[0])
	track := media.Track{
		ID: videoTrack, Codec: media.H264, Timescale: media.VideoTimescale, SPS: v.sps, PPS: v.pps,
		Width: int(d.meta.width), Height: int(d.meta.height), FrameRate: d.meta.frameRate,
		Bitrate: int(d.meta.videoBitrate),
	}
	var sps h264.SPS
	if err := sps.Unmarshal(v.sps); err == nil {
		track.Width, track.Height = sps.Width(), sps.Height()
		// The publisher's own word is taken first: the SPS of many encoders has none, or a field rate.
		if fps := sps.FPS(); track.FrameRate == 0 && fps > 0 && fps <= 1000 && !math.IsNaN(fps) {
			track.FrameRate = fps
		}
	}
	return d.sink.SetTrack(track)
}

// onAudio handles an audio message. An error other than skipError ends the publication.
func (d *demuxer) onAudio(m rtmp.Message, received time.Time) error {
	d.metrics.received.Add(float64(len(m.Payload)))
	tag, err := flv.ParseAudio(m.Payload)
	if err != nil {
		return &skipError{"malformed", err}
	}
	if tag.Type == flv.Other {
		return nil
	}
	if tag.Codec != flv.AAC {
		return &unsupportedError{"audio as " + describe(tag.Codec), "AAC"}
	}
	if tag.Type == flv.Config {
		return d.setAudioConfig(tag)
	}
	if d.audio.config == nil {
		return &skipError{reason: "no_configuration"}
	}
	if len(tag.Data) == 0 {
		return &skipError{reason: "malformed"}
	}
	dts, done := d.audio.time.at(&d.clock, m.Timestamp)
	d.count(done)
	return d.sink.Write(media.Unit{
		Track: audioTrack, DTS: dts, PTS: dts, Keyframe: true, Payload: tag.Data, Received: received,
	})
}

func (d *demuxer) setAudioConfig(tag flv.Tag) error {
	if d.audio.config != nil && bytes.Equal(tag.Data, d.audio.config) {
		return nil
	}
	if len(tag.Data) == 0 {
		return &skipError{reason: "malformed"}
	}
	if len(tag.Data) > maxAudioConfig {
		return &formatError{fmt.Errorf("AAC configuration has %d bytes, expected at most %d", len(tag.Data), maxAudioConfig)}
	}
	var config mpeg4audio.AudioSpecificConfig
	if err := config.Unmarshal(tag.Data); err != nil {
		return &unsupportedError{fmt.Sprintf("AAC with configuration %x (%s)", tag.Data[:min(16, len(tag.Data))], err), "AAC-LC or HE-AAC"}
	}
	frame := 1024
	if config.FrameLengthFlag {
		frame = 960
	}
	rate, channels := config.SampleRate, int(config.ChannelConfig)
	// With explicit spectral band replication a frame has as many samples of the core's rate, and the
	// decoder makes more of them.
	if config.ExtensionSampleRate > 0 && rate > 0 && config.ExtensionSampleRate%rate == 0 {
		frame *= config.ExtensionSampleRate / rate
		rate = config.ExtensionSampleRate
	}
	if rate < 1000 || rate > 384_000 {
		return &formatError{fmt.Errorf("AAC configuration has a sample rate of %d Hz", rate)}
	}
	switch {
	case config.ExtensionType == mpeg4audio.ObjectTypePS:
		channels = 2 // parametric stereo, coded as mono
	case channels == 7:
		channels = 8 // ISO/IEC 14496-3 table 1.19
	case channels == 0 && tag.Stereo: // the layout is within the frames
		channels = 2
	case channels == 0:
		channels = 1
	}
	d.audio.config = tag.Data
	d.audio.time.configure(int64(rate), int64(frame))
	return d.sink.SetTrack(media.Track{
		ID: audioTrack, Codec: media.AAC, Timescale: uint32(rate), AudioSpecificConfig: tag.Data,
		SampleRate: rate, Channels: channels, Bitrate: int(d.meta.audioBitrate),
	})
}

func (d *demuxer) count(done repair) {
	if done != repairNone {
		d.metrics.repaired.WithLabelValues(string(done)).Inc()
	}
}

// skipError says that a message makes no unit, and that the publication goes on.
type skipError struct {
	reason string // the value of a label
	err    error
}

func (e *skipError) Error() string { return fmt.Sprintf("message skipped (%s): %v", e.reason, e.err) }
func (e *skipError) Unwrap() error { return e.err }

// formatError says that what is within the messages cannot be read.
type formatError struct{ err error }

func (e *formatError) Error() string { return e.err.Error() }
func (e *formatError) Unwrap() error { return e.err }

// describe adds the usual name to a fourCC that has one.
func describe(c flv.Codec) string {
	switch c {
	case "hvc1":
		return "HEVC (hvc1)"
	case "av01":
		return "AV1 (av01)"
	case "vp09":
		return "VP9 (vp09)"
	case "vp08":
		return "VP8 (vp08)"
	case "vvc1":
		return "VVC (vvc1)"
	case "Opus":
		return "Opus"
	case "fLaC":
		return "FLAC"
	case "ac-3":
		return "AC-3"
	case "ec-3":
		return "E-AC-3"
	case ".mp3":
		return "MP3"
	default:
		return string(c)
	}
}
