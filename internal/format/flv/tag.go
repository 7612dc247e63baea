package flv

import (
	"errors"
	"fmt"
)

// Type says what a tag carries.
type Type int

// The types of tags.
const (
	// Config is a codec's configuration, FLV's "sequence header".
	Config Type = iota + 1
	// Frame is a coded frame.
	Frame
	// Other is anything that is not media: the end of a sequence, a command to the player, colour
	// metadata, or nothing at all.
	Other
)

// Codec is a coding as four characters. Those of Enhanced RTMP are its own; the legacy numbers have
// been given some that resemble them.
type Codec string

// The codecs that have a meaning outside this package.
const (
	AVC Codec = "avc1"
	AAC Codec = "mp4a"
)

// Tag is the content of an audio or video tag.
type Tag struct {
	Type  Type
	Codec Codec
	// CompositionOffset is PTS less DTS in milliseconds, of video frames.
	CompositionOffset int32
	// Stereo is what a legacy audio tag claims; AAC's own configuration knows better.
	Stereo bool
	Data   []byte
}

var errShort = errors.New("tag ends within its header")

// legacyVideo names FLV's CodecID, with 12 to 14 as Chinese CDNs and their forks of FFmpeg use it.
var legacyVideo = [16]Codec{
	2: "Sorenson H.263", 3: "Screen Video", 4: "VP6", 5: "VP6 with alpha", 6: "Screen Video 2", 7: AVC,
	12: "hvc1", 13: "av01", 14: "vvc1",
}

// legacyAudio names FLV's SoundFormat.
var legacyAudio = [16]Codec{
	0: "PCM", 1: "ADPCM", 2: ".mp3", 3: "PCM", 4: "Nellymoser", 5: "Nellymoser", 6: "Nellymoser", 7: "G.711 A-law",
	8: "G.711 mu-law", 10: AAC, 11: "Speex", 13: "Opus", 14: ".mp3",
}

// The video frame type that is not a frame: a command to the player.
const commandFrame = 5

// ParseVideo reads the body of a video tag. An empty one is Other: some encoders send it.
func ParseVideo(body []byte) (Tag, error) {
	if len(body) == 0 {
		return Tag{Type: Other}, nil
	}
	if body[0]&0x80 != 0 {
		return parseEnhanced(body, true)
	}
	codec := legacyVideo[body[0]&0x0F]
	if codec == "" {
		codec = Codec(fmt.Sprintf("codec ID %d", body[0]&0x0F))
	}
	switch {
	case body[0]>>4 == commandFrame:
		return Tag{Type: Other, Codec: codec}, nil
	case codec != AVC && codec != "hvc1" && codec != "av01" && codec != "vvc1":
		return Tag{Type: Frame, Codec: codec, Data: body[1:]}, nil
	case len(body) < 5:
		return Tag{}, fmt.Errorf("video: %w", errShort)
	}
	t := Tag{Codec: codec, CompositionOffset: int24(body[2:]), Data: body[5:]}
	switch body[1] {
	case 0:
		t.Type = Config
	case 1:
		t.Type = Frame
	case 2:
		t.Type = Other
	default:
		return Tag{}, fmt.Errorf("video packet type %d, expected 0 to 2", body[1])
	}
	return t, nil
}

// ParseAudio reads the body of an audio tag. An empty one is Other: some encoders send it for silence.
func ParseAudio(body []byte) (Tag, error) {
	if len(body) == 0 {
		return Tag{Type: Other}, nil
	}
	format := body[0] >> 4
	if format == 9 {
		return parseEnhanced(body, false)
	}
	codec := legacyAudio[format]
	if codec == "" {
		codec = Codec(fmt.Sprintf("sound format %d", format))
	}
	t := Tag{Type: Frame, Codec: codec, Stereo: body[0]&1 != 0, Data: body[1:]}
	if codec != AAC {
		return t, nil
	}
	if len(body) < 2 {
		return Tag{}, fmt.Errorf("audio: %w", errShort)
	}
	t.Data = body[2:]
	switch body[1] {
	case 0:
		t.Type = Config
	case 1:
	default:
		return Tag{}, fmt.Errorf("AAC packet type %d, expected 0 or 1", body[1])
	}
	return t, nil
}

// The packet types of Enhanced RTMP v2. Those that audio and video share have one name.
const (
	packetSequenceStart = 0
	packetCodedFrames   = 1
	packetCodedFramesX  = 3 // video: without composition offset
	packetMultitrack    = 6 // video
	packetMultitrackA   = 5 // audio
	packetModEx         = 7
)

// parseEnhanced reads the extended header of Enhanced RTMP v2. Of several tracks, only the first one is
// looked at: a message of another track is Other.
func parseEnhanced(body []byte, video bool) (Tag, error) {
	packetType, rest := body[0]&0x0F, body[1:]
	if video && body[0]>>4&7 == commandFrame {
		return Tag{Type: Other}, nil
	}
	for packetType == packetModEx { // a modifier, then the true packet type; its precision is not used
		if len(rest) < 1 {
			return Tag{}, fmt.Errorf("modifier: %w", errShort)
		}
		size, header := int(rest[0])+1, 1
		if size == 256 {
			if len(rest) < 3 {
				return Tag{}, fmt.Errorf("modifier: %w", errShort)
			}
			size, header = int(rest[1])<<8+int(rest[2])+1, 3
		}
		if len(rest) < header+size+1 {
			return Tag{}, fmt.Errorf("modifier: %w", errShort)
		}
		packetType = rest[header+size] & 0x0F
		rest = rest[header+size+1:]
	}
	oneTrack := false
	if video && packetType == packetMultitrack || !video && packetType == packetMultitrackA {
		if len(rest) < 1 {
			return Tag{}, fmt.Errorf("multitrack: %w", errShort)
		}
		packetType = rest[0] & 0x0F
		if rest[0]>>4 != 0 {
			return Tag{Type: Other}, nil // several tracks in one message
		}
		rest, oneTrack = rest[1:], true
	}
	if len(rest) < 4 {
		return Tag{}, fmt.Errorf("fourCC: %w", errShort)
	}
	t := Tag{Type: Other, Codec: fourCC(rest)}
	rest = rest[4:]
	if oneTrack {
		if len(rest) < 1 {
			return Tag{}, fmt.Errorf("multitrack: %w", errShort)
		}
		if rest[0] != 0 {
			return Tag{Type: Other}, nil
		}
		rest = rest[1:]
	}
	switch {
	case packetType == packetSequenceStart:
		t.Type = Config
	case packetType == packetCodedFrames:
		t.Type = Frame
		if t.Codec == AVC || t.Codec == "hvc1" || t.Codec == "vvc1" {
			if len(rest) < 3 {
				return Tag{}, fmt.Errorf("composition offset: %w", errShort)
			}
			t.CompositionOffset, rest = int24(rest), rest[3:]
		}
	case video && packetType == packetCodedFramesX:
		t.Type = Frame
	}
	t.Data = rest
	return t, nil
}

// fourCC keeps what is printable: it is shown to people.
func fourCC(b []byte) Codec {
	for _, c := range b[:4] {
		if c < ' ' || c > '~' {
			return Codec(fmt.Sprintf("fourCC %x", b[:4]))
		}
	}
	return Codec(b[:4])
}

func int24(b []byte) int32 { return int32(uint32(b[0])<<24|uint32(b[1])<<16|uint32(b[2])<<8) >> 8 }
