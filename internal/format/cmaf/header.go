package cmaf

import (
	"errors"
	"fmt"

	"github.com/weir-stream/weir/internal/media"
)

// TrackID is the number of the only track of every file that this package writes. CMAF has one
// track to a file; with the same number everywhere a player can join them as it likes.
const TrackID = 1

// ErrTrack says that a track cannot be described in a CMAF header.
var ErrTrack = errors.New("track cannot be written as CMAF")

// AppendHeader appends the CMAF header of t to b: ftyp and moov. The error wraps [ErrTrack].
func AppendHeader(b []byte, t media.Track) ([]byte, error) {
	if t.Timescale == 0 {
		return nil, fmt.Errorf("%w: its timescale is 0", ErrTrack)
	}
	switch t.Codec {
	case media.H264:
		if len(t.SPS) < 4 || len(t.PPS) == 0 || len(t.SPS) > 0xffff || len(t.PPS) > 0xffff {
			return nil, fmt.Errorf("%w: H.264 parameter sets of %d and %d bytes", ErrTrack, len(t.SPS), len(t.PPS))
		}
		if t.Width < 0 || t.Height < 0 || t.Width > 0xffff || t.Height > 0xffff {
			return nil, fmt.Errorf("%w: picture size %dx%d", ErrTrack, t.Width, t.Height)
		}
	case media.AAC:
		if len(t.AudioSpecificConfig) < 2 || len(t.AudioSpecificConfig) > 64 {
			return nil, fmt.Errorf("%w: AudioSpecificConfig of %d bytes", ErrTrack, len(t.AudioSpecificConfig))
		}
	default:
		return nil, fmt.Errorf("%w: codec %q", ErrTrack, t.Codec)
	}

	// ISO/IEC 23000-19 §7.2: brand cmfc; iso6 allows default-base-is-moof and signed offsets.
	b, ftyp := begin(b, "ftyp")
	b = append(b, "iso6\x00\x00\x00\x00iso6cmfcmp41dash"...)
	b = end(b, ftyp)

	b, moov := begin(b, "moov")
	b = movieHeader(b)
	b, trak := begin(b, "trak")
	b = trackHeader(b, t)
	b, mdia := begin(b, "mdia")
	b = mediaHeader(b, t.Timescale)
	b = handler(b, t.Kind())
	b, minf := begin(b, "minf")
	if t.Kind() == media.Video {
		var vmhd int
		b, vmhd = beginFull(b, "vmhd", 0, 1)
		b = end(zeros(b, 8), vmhd)
	} else {
		var smhd int
		b, smhd = beginFull(b, "smhd", 0, 0)
		b = end(zeros(b, 4), smhd)
	}
	b = dataInformation(b)
	b, stbl := begin(b, "stbl")
	b = sampleDescription(b, t)
	for _, table := range [...]string{"stts", "stsc", "stco"} { // all samples are in fragments
		var start int
		b, start = beginFull(b, table, 0, 0)
		b = end(be.AppendUint32(b, 0), start)
	}
	b, stsz := beginFull(b, "stsz", 0, 0)
	b = end(zeros(b, 8), stsz)
	b = end(b, stbl)
	b = end(b, minf)
	b = end(b, mdia)
	b = end(b, trak)

	b, mvex := begin(b, "mvex")
	b, trex := beginFull(b, "trex", 0, 0)
	b = be.AppendUint32(b, TrackID)
	b = be.AppendUint32(b, 1) // default sample description
	b = zeros(b, 12)          // duration, size, flags: given in each fragment
	b = end(b, trex)
	b = end(b, mvex)
	return end(b, moov), nil
}

func movieHeader(b []byte) []byte {
	b, start := beginFull(b, "mvhd", 0, 0)
	b = zeros(b, 8)                 // creation, modification: the same bytes for the same track
	b = be.AppendUint32(b, 1000)    // timescale of the (empty) movie
	b = be.AppendUint32(b, 0)       // duration: CMAF §7.5.1
	b = be.AppendUint32(b, 0x10000) // rate
	b = be.AppendUint16(b, 0x100)   // volume
	b = zeros(b, 10)
	b = matrix(b)
	b = zeros(b, 24)
	b = be.AppendUint32(b, TrackID+1) // next track
	return end(b, start)
}

func trackHeader(b []byte, t media.Track) []byte {
	b, start := beginFull(b, "tkhd", 0, 7) // enabled, in movie, in preview
	b = zeros(b, 8)
	b = be.AppendUint32(b, TrackID)
	b = zeros(b, 4+4+8+2) // reserved, duration, reserved, layer
	volume, group := uint16(0), uint16(0)
	if t.Kind() == media.Audio {
		volume, group = 0x100, 1
	}
	b = be.AppendUint16(b, group)
	b = be.AppendUint16(b, volume)
	b = zeros(b, 2)
	b = matrix(b)
	b = be.AppendUint32(b, uint32(t.Width)<<16)
	b = be.AppendUint32(b, uint32(t.Height)<<16)
	return end(b, start)
}

func mediaHeader(b []byte, timescale uint32) []byte {
	b, start := beginFull(b, "mdhd", 0, 0)
	b = zeros(b, 8)
	b = be.AppendUint32(b, timescale)
	b = be.AppendUint32(b, 0)
	b = be.AppendUint16(b, 0x55c4) // "und"
	b = be.AppendUint16(b, 0)
	return end(b, start)
}

func handler(b []byte, k media.Kind) []byte {
	b, start := beginFull(b, "hdlr", 0, 0)
	b = zeros(b, 4)
	if k == media.Video {
		b = append(b, "vide"...)
	} else {
		b = append(b, "soun"...)
	}
	b = zeros(b, 12)
	b = append(b, string(k)...)
	return end(append(b, 0), start)
}

func dataInformation(b []byte) []byte {
	b, dinf := begin(b, "dinf")
	b, dref := beginFull(b, "dref", 0, 0)
	b = be.AppendUint32(b, 1)
	b, url := beginFull(b, "url ", 0, 1) // the data is in this file
	b = end(b, url)
	b = end(b, dref)
	return end(b, dinf)
}

func sampleDescription(b []byte, t media.Track) []byte {
	b, stsd := beginFull(b, "stsd", 0, 0)
	b = be.AppendUint32(b, 1)
	if t.Codec == media.H264 {
		b = visualEntry(b, t)
	} else {
		b = audioEntry(b, t)
	}
	return end(b, stsd)
}

// visualEntry appends an avc1 sample entry, ISO/IEC 14496-15 §5.4.2.
func visualEntry(b []byte, t media.Track) []byte {
	b, entry := begin(b, "avc1")
	b = zeros(b, 6)
	b = be.AppendUint16(b, 1) // data reference
	b = zeros(b, 16)
	b = be.AppendUint16(b, uint16(t.Width))
	b = be.AppendUint16(b, uint16(t.Height))
	b = be.AppendUint32(b, 72<<16) // resolution, dpi
	b = be.AppendUint32(b, 72<<16)
	b = zeros(b, 4)
	b = be.AppendUint16(b, 1) // frames per sample
	b = zeros(b, 32)          // compressor name
	b = be.AppendUint16(b, 24)
	b = be.AppendUint16(b, 0xffff)

	b, avcc := begin(b, "avcC") // AVCDecoderConfigurationRecord, ISO/IEC 14496-15 §5.3.3.1
	b = append(b, 1, t.SPS[1], t.SPS[2], t.SPS[3], 0xfc|3, 0xe0|1)
	b = be.AppendUint16(b, uint16(len(t.SPS)))
	b = append(b, t.SPS...)
	b = append(b, 1)
	b = be.AppendUint16(b, uint16(len(t.PPS)))
	b = append(b, t.PPS...)
	if f, ok := parseSampleFormat(t.SPS); ok {
		b = append(b, 0xfc|f.chroma, 0xf8|f.depthLuma, 0xf8|f.depthChroma, 0)
	}
	b = end(b, avcc)
	if t.Bitrate > 0 {
		b = bitrate(b, t.Bitrate)
	}
	return end(b, entry)
}

// audioEntry appends an mp4a sample entry, ISO/IEC 14496-14 §5.6.
func audioEntry(b []byte, t media.Track) []byte {
	b, entry := begin(b, "mp4a")
	b = zeros(b, 6)
	b = be.AppendUint16(b, 1)
	b = zeros(b, 8)
	b = be.AppendUint16(b, uint16(t.Channels))
	b = be.AppendUint16(b, 16) // bits per sample
	b = zeros(b, 4)
	rate := uint32(t.SampleRate)
	if rate > 0xffff { // a 16.16 number cannot hold it; the AudioSpecificConfig decides anyway
		rate = 0
	}
	b = be.AppendUint32(b, rate<<16)

	// ISO/IEC 14496-1 §7.2.6: the sizes fit one byte because the configuration is short.
	asc := len(t.AudioSpecificConfig)
	b, esds := beginFull(b, "esds", 0, 0)
	b = append(b, 0x03, byte(3+2+13+2+asc+3), 0, 0, 0)       // ES_Descriptor: ES_ID 0 in a file
	b = append(b, 0x04, byte(13+2+asc), 0x40, 5<<2|1)        // DecoderConfigDescriptor: AAC, audio
	b = append(b, 0, 0, 0)                                   // bufferSizeDB
	b = be.AppendUint32(b, uint32(max(t.Bitrate, 0)))        // maxBitrate
	b = be.AppendUint32(b, uint32(max(t.Bitrate, 0)))        // avgBitrate
	b = append(b, 0x05, byte(asc))                           // DecoderSpecificInfo
	b = append(append(b, t.AudioSpecificConfig...), 6, 1, 2) // SLConfigDescriptor: MP4
	b = end(b, esds)
	if t.Bitrate > 0 {
		b = bitrate(b, t.Bitrate)
	}
	return end(b, entry)
}

// bitrate appends a btrt box, ISO/IEC 14496-12 §8.5.2.2.
func bitrate(b []byte, bitsPerSecond int) []byte {
	b, start := begin(b, "btrt")
	b = be.AppendUint32(b, 0)
	b = be.AppendUint32(b, uint32(bitsPerSecond))
	b = be.AppendUint32(b, uint32(bitsPerSecond))
	return end(b, start)
}
