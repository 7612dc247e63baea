package media

import (
	"fmt"
	"time"
)

// Codec names an elementary stream's coding. The values are the words used in JSON, metrics and
// the user interface.
type Codec string

// The codecs a track can have.
const (
	H264 Codec = "h264" // ITU-T H.264 | ISO/IEC 14496-10
	AAC  Codec = "aac"  // MPEG-4 AAC, ISO/IEC 14496-3
)

// Kind says what a track is rendered as.
type Kind string

// The kinds of track.
const (
	Video Kind = "video"
	Audio Kind = "audio"
)

// Kind returns the kind of track that c codes, or "" for an unknown codec.
func (c Codec) Kind() Kind {
	switch c {
	case H264:
		return Video
	case AAC:
		return Audio
	default:
		return ""
	}
}

// VideoTimescale is the timescale that ingests give video tracks: 90 kHz, the MPEG system clock's
// usual division, into which every common frame rate and RTMP's milliseconds divide.
const VideoTimescale = 90_000

// Track describes one elementary stream. A Track is a value: whoever receives one may keep it, and
// nobody changes its byte slices.
type Track struct {
	// ID is the track's number within its stream, from 1.
	ID int
	// Codec is the coding of the track's units.
	Codec Codec
	// Timescale is the number of ticks per second of the track's units: [VideoTimescale] for
	// video, the sample rate for audio.
	Timescale uint32

	// SPS and PPS are an H.264 track's parameter sets as NAL units without start code or length
	// (ISO/IEC 14496-10 §7.3.2). A new SPS or PPS makes a new Track.
	SPS, PPS []byte
	// Width and Height are the displayed size of a video track in pixels, after cropping.
	Width, Height int
	// FrameRate is a video track's declared frames per second, 0 if it declares none.
	FrameRate float64

	// AudioSpecificConfig is an AAC track's decoder configuration (ISO/IEC 14496-3 §1.6.2.1).
	AudioSpecificConfig []byte
	// SampleRate (Hz) and Channels describe an audio track.
	SampleRate, Channels int

	// Bitrate is the declared bitrate in bit/s, 0 if the publisher declares none.
	Bitrate int
}

// Kind returns whether the track is video or audio.
func (t Track) Kind() Kind { return t.Codec.Kind() }

// CodecString returns the track's RFC 6381 codecs parameter, such as "avc1.64001f" or "mp4a.40.2",
// or "" if the configuration is too short to tell.
func (t Track) CodecString() string {
	switch t.Codec {
	case H264:
		if len(t.SPS) < 4 {
			return ""
		}
		return fmt.Sprintf("avc1.%02x%02x%02x", t.SPS[1], t.SPS[2], t.SPS[3])
	case AAC:
		if len(t.AudioSpecificConfig) == 0 {
			return ""
		}
		objectType := int(t.AudioSpecificConfig[0] >> 3)
		if objectType == 31 && len(t.AudioSpecificConfig) > 1 { // escape, ISO/IEC 14496-3 §1.6.2.1
			objectType = 32 + int(t.AudioSpecificConfig[0]&7)<<3 + int(t.AudioSpecificConfig[1]>>5)
		}
		return fmt.Sprintf("mp4a.40.%d", objectType)
	default:
		return ""
	}
}

// Unit is one access unit of a track: a coded picture, or a coded audio frame.
//
// The payload is shared by every reader of the stream and is never written to after the unit has
// been published.
type Unit struct {
	// Track is the ID of the track that the unit belongs to.
	Track int
	// DTS and PTS are the decoding and presentation times in ticks of the track's timescale, on a
	// clock that all tracks of one publication share. DTS never decreases within a track.
	DTS, PTS int64
	// Keyframe says that decoding can start at this unit (an IDR picture; every audio frame).
	Keyframe bool
	// Payload is the coded data: for H.264 the NAL units each with a four-byte big-endian length
	// (ISO/IEC 14496-15 §5.3.3), for AAC a raw_data_block without ADTS header.
	Payload []byte
	// Received is the wall clock at which the last byte of the unit arrived.
	Received time.Time
}
