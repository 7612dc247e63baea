package cmaf

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// ErrTooLarge says that a chunk's payload does not fit an mdat of 31 bit.
var ErrTooLarge = errors.New("chunk is too large")

// Sample is one access unit in a chunk.
type Sample struct {
	// Duration is the time until the next sample's decoding time, in ticks.
	Duration uint32
	// CompositionOffset is the presentation time less the decoding time; it may be negative.
	CompositionOffset int32
	// Sync says that decoding can start here.
	Sync bool
	// Data is the coded data; for H.264 each NAL unit has a length of four bytes before it.
	Data []byte
}

// Reference ties a time of the track to the wall clock (prft, ISO/IEC 14496-12 §8.16.5).
type Reference struct {
	// Wall is the wall clock at MediaTime. The zero time means that no prft is written.
	Wall time.Time
	// MediaTime is a presentation time in ticks.
	MediaTime uint64
}

// Chunk is a CMAF chunk: a moof and its mdat.
type Chunk struct {
	// Sequence is the number of the fragment within the track, growing from chunk to chunk.
	Sequence uint32
	// DecodeTime is the decoding time of the first sample in ticks.
	DecodeTime uint64
	// Samples are the samples in decoding order, at least one.
	Samples []Sample
	// Reference, if set, is written before the moof.
	Reference Reference
}

// segmentType is the styp box. msdh is what DASH asks of a media segment (ISO/IEC 23009-1
// §6.3.4.2), cmfs is a CMAF segment (ISO/IEC 23000-19 §7.2).
const segmentType = "\x00\x00\x00\x1cstypmsdh\x00\x00\x00\x00msdhcmfscmfc"

// The flags of a sample, ISO/IEC 14496-12 §8.8.3.1.
const (
	flagsSync    = 0x02000000 // depends on no other
	flagsNonSync = 0x01010000 // depends on others, is not a sync sample
)

// layout is what a chunk's boxes need to hold: what all samples have alike moves into tfhd.
type layout struct {
	duration, flags, offset bool // written for each sample
	moof, payload           int
}

const (
	sizePrft = 8 + 4 + 4 + 8 + 8
	sizeMfhd = 16
	sizeTfdt = 20
)

func (c *Chunk) layout() layout {
	var l layout
	first := &c.Samples[0]
	for i := range c.Samples {
		s := &c.Samples[i]
		l.duration = l.duration || s.Duration != first.Duration
		l.flags = l.flags || s.Sync != first.Sync
		l.offset = l.offset || s.CompositionOffset != 0
		l.payload += len(s.Data)
	}
	tfhd := 16
	perSample := 4
	for _, each := range [...]bool{l.duration, l.flags} {
		if each {
			perSample += 4
		} else {
			tfhd += 4
		}
	}
	if l.offset {
		perSample += 4
	}
	l.moof = 8 + sizeMfhd + 8 + tfhd + sizeTfdt + 20 + perSample*len(c.Samples)
	return l
}

// Size returns the number of bytes that [Chunk.Append] writes.
func (c *Chunk) Size() int {
	if len(c.Samples) == 0 {
		return 0
	}
	l := c.layout()
	n := l.moof + 8 + l.payload
	if !c.Reference.Wall.IsZero() {
		n += sizePrft
	}
	return n
}

// Append appends the chunk to b. A chunk without samples is nothing. The error wraps [ErrTooLarge].
func (c *Chunk) Append(b []byte) ([]byte, error) {
	if len(c.Samples) == 0 {
		return b, nil
	}
	l := c.layout()
	if l.moof+8+l.payload > math.MaxInt32 {
		return nil, fmt.Errorf("%w: %d samples of %d bytes", ErrTooLarge, len(c.Samples), l.payload)
	}
	if !c.Reference.Wall.IsZero() {
		b = c.Reference.append(b)
	}
	first := &c.Samples[0]
	moofAt := len(b)
	b, moof := begin(b, "moof")
	b, mfhd := beginFull(b, "mfhd", 0, 0)
	b = end(be.AppendUint32(b, c.Sequence), mfhd)
	b, traf := begin(b, "traf")

	tfhdFlags, trunFlags := uint32(0x020000), uint32(0x000201) // default-base-is-moof; data offset, sizes
	if l.duration {
		trunFlags |= 0x100
	} else {
		tfhdFlags |= 0x08
	}
	if l.flags {
		trunFlags |= 0x400
	} else {
		tfhdFlags |= 0x20
	}
	if l.offset {
		trunFlags |= 0x800
	}
	b, tfhd := beginFull(b, "tfhd", 0, tfhdFlags)
	b = be.AppendUint32(b, TrackID)
	if !l.duration {
		b = be.AppendUint32(b, first.Duration)
	}
	if !l.flags {
		b = be.AppendUint32(b, first.flags())
	}
	b = end(b, tfhd)

	b, tfdt := beginFull(b, "tfdt", 1, 0)
	b = end(be.AppendUint64(b, c.DecodeTime), tfdt)

	b, trun := beginFull(b, "trun", 1, trunFlags) // version 1: offsets are signed
	b = be.AppendUint32(b, uint32(len(c.Samples)))
	b = be.AppendUint32(b, uint32(l.moof+8)) // the payload's place, from the start of the moof
	for i := range c.Samples {
		s := &c.Samples[i]
		if l.duration {
			b = be.AppendUint32(b, s.Duration)
		}
		b = be.AppendUint32(b, uint32(len(s.Data)))
		if l.flags {
			b = be.AppendUint32(b, s.flags())
		}
		if l.offset {
			b = be.AppendUint32(b, uint32(s.CompositionOffset))
		}
	}
	b = end(b, trun)
	b = end(b, traf)
	b = end(b, moof)
	if len(b)-moofAt != l.moof {
		panic(fmt.Sprintf("cmaf: moof has %d bytes, %d were reckoned", len(b)-moofAt, l.moof))
	}

	b = be.AppendUint32(b, uint32(8+l.payload))
	b = append(b, "mdat"...)
	for i := range c.Samples {
		b = append(b, c.Samples[i].Data...)
	}
	return b, nil
}

func (s *Sample) flags() uint32 {
	if s.Sync {
		return flagsSync
	}
	return flagsNonSync
}

// append writes the prft box. Its flags say that the offset from the time of the depicted event is
// small and stays the same.
func (r Reference) append(b []byte) []byte {
	b, start := beginFull(b, "prft", 1, 24)
	b = be.AppendUint32(b, TrackID)
	// NTP time: seconds since 1900 and a binary fraction, RFC 5905 §6.
	seconds := uint64(r.Wall.Unix()) + 2_208_988_800
	fraction := (uint64(r.Wall.Nanosecond()) << 32) / 1e9
	b = be.AppendUint64(b, seconds<<32|fraction)
	b = be.AppendUint64(b, r.MediaTime)
	return end(b, start)
}

// Segment returns a media segment of the chunks given, in one allocation of the exact size.
func Segment(chunks ...Chunk) ([]byte, error) {
	n := len(segmentType)
	for i := range chunks {
		n += chunks[i].Size()
	}
	b := append(make([]byte, 0, n), segmentType...)
	var err error
	for i := range chunks {
		if b, err = chunks[i].Append(b); err != nil {
			return nil, fmt.Errorf("write chunk %d: %w", chunks[i].Sequence, err)
		}
	}
	return b, nil
}
