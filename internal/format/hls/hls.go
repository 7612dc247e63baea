package hls

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Version is the EXT-X-VERSION of every playlist. EXT-X-MAP without I-frame playlists needs 6
// (RFC 8216 §7); 7 is what Apple asks of fragmented MP4.
const Version = 7

// ErrText says that a text cannot be written into a playlist.
var ErrText = errors.New("text cannot stand in a playlist")

// Media is an HLS media playlist.
type Media struct {
	// TargetDuration is EXT-X-TARGETDURATION in seconds. It must not change, and no segment's
	// duration, rounded, may be more (RFC 8216 §4.3.3.1).
	TargetDuration int
	// Sequence is the number of the first segment.
	Sequence int64
	// DiscontinuitySequence is the number of discontinuities that were taken away from the front.
	DiscontinuitySequence int64
	// Ended says that no segment will be added.
	Ended    bool
	Segments []Segment
}

// Segment is an entry of a media playlist.
type Segment struct {
	URI      string
	Duration time.Duration
	// Map is the URI of the header that the segment needs. It is written where it changes.
	Map string
	// Time is the wall clock of the segment's first sample; the zero time is not written.
	Time time.Time
	// Discontinuity says that the segment does not continue the one before: another header, or
	// another clock.
	Discontinuity bool
}

// Append appends the playlist to b. The error wraps [ErrText].
func (p *Media) Append(b []byte) ([]byte, error) {
	b = append(b, "#EXTM3U\n#EXT-X-VERSION:"...)
	b = strconv.AppendInt(b, Version, 10)
	b = append(b, "\n#EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-TARGETDURATION:"...)
	b = strconv.AppendInt(b, int64(p.TargetDuration), 10)
	b = append(b, "\n#EXT-X-MEDIA-SEQUENCE:"...)
	b = strconv.AppendInt(b, p.Sequence, 10)
	b = append(b, '\n')
	if p.DiscontinuitySequence > 0 {
		b = append(b, "#EXT-X-DISCONTINUITY-SEQUENCE:"...)
		b = strconv.AppendInt(b, p.DiscontinuitySequence, 10)
		b = append(b, '\n')
	}
	header := ""
	for i := range p.Segments {
		s := &p.Segments[i]
		if err := checkURI(s.URI); err != nil {
			return nil, err
		}
		if s.Discontinuity {
			b = append(b, "#EXT-X-DISCONTINUITY\n"...)
			header = ""
		}
		if s.Map != header {
			if err := checkQuoted(s.Map); err != nil {
				return nil, err
			}
			b = append(b, "#EXT-X-MAP:URI=\""...)
			b = append(b, s.Map...)
			b = append(b, "\"\n"...)
			header = s.Map
		}
		if !s.Time.IsZero() {
			b = append(b, "#EXT-X-PROGRAM-DATE-TIME:"...)
			b = s.Time.UTC().AppendFormat(b, "2006-01-02T15:04:05.000Z")
			b = append(b, '\n')
		}
		b = append(b, "#EXTINF:"...)
		b = appendSeconds(b, s.Duration)
		b = append(b, ",\n"...)
		b = append(b, s.URI...)
		b = append(b, '\n')
	}
	if p.Ended {
		b = append(b, "#EXT-X-ENDLIST\n"...)
	}
	return b, nil
}

// appendSeconds appends d in seconds, to the microsecond.
func appendSeconds(b []byte, d time.Duration) []byte {
	us := max(d, 0).Round(time.Microsecond).Microseconds()
	b = strconv.AppendInt(b, us/1e6, 10)
	b = append(b, '.')
	for digit := int64(100_000); digit > 0; digit /= 10 {
		b = append(b, byte('0'+us/digit%10))
	}
	return b
}

// Multivariant is an HLS multivariant playlist.
type Multivariant struct {
	// Audio are the audio renditions, one of each group.
	Audio []Audio
	// Variants are the variants; a player starts with the first that it can play.
	Variants []Variant
}

// Audio is an audio rendition, EXT-X-MEDIA with TYPE=AUDIO.
type Audio struct {
	Group, Name, URI string
	// Channels is the number of channels, 0 if it is not known.
	Channels int
}

// Variant is a variant stream, EXT-X-STREAM-INF.
type Variant struct {
	URI string
	// Bandwidth and AverageBandwidth are the peak and the average bitrate in bit/s of the variant with
	// the audio that is played with it (RFC 8216 §4.3.4.2).
	Bandwidth, AverageBandwidth int
	Codecs                      []string
	Width, Height               int
	FrameRate                   float64
	// AudioGroup is the group of audio renditions that the variant is played with, or "".
	AudioGroup string
}

// Append appends the playlist to b. The error wraps [ErrText].
func (p *Multivariant) Append(b []byte) ([]byte, error) {
	b = append(b, "#EXTM3U\n#EXT-X-VERSION:"...)
	b = strconv.AppendInt(b, Version, 10)
	b = append(b, "\n#EXT-X-INDEPENDENT-SEGMENTS\n"...)
	for i := range p.Audio {
		a := &p.Audio[i]
		for _, text := range [...]string{a.Group, a.Name, a.URI} {
			if err := checkQuoted(text); err != nil {
				return nil, err
			}
		}
		b = append(b, "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\""...)
		b = append(b, a.Group...)
		b = append(b, "\",NAME=\""...)
		b = append(b, a.Name...)
		b = append(b, "\",DEFAULT=YES,AUTOSELECT=YES"...)
		if a.Channels > 0 {
			b = append(b, ",CHANNELS=\""...)
			b = strconv.AppendInt(b, int64(a.Channels), 10)
			b = append(b, '"')
		}
		b = append(b, ",URI=\""...)
		b = append(b, a.URI...)
		b = append(b, "\"\n"...)
	}
	for i := range p.Variants {
		var err error
		if b, err = p.Variants[i].append(b); err != nil {
			return nil, err
		}
	}
	return b, nil
}

func (v *Variant) append(b []byte) ([]byte, error) {
	codecs := strings.Join(v.Codecs, ",")
	for _, text := range [...]string{codecs, v.AudioGroup} {
		if err := checkQuoted(text); err != nil {
			return nil, err
		}
	}
	if err := checkURI(v.URI); err != nil {
		return nil, err
	}
	b = append(b, "#EXT-X-STREAM-INF:BANDWIDTH="...)
	b = strconv.AppendInt(b, int64(v.Bandwidth), 10)
	if v.AverageBandwidth > 0 {
		b = append(b, ",AVERAGE-BANDWIDTH="...)
		b = strconv.AppendInt(b, int64(v.AverageBandwidth), 10)
	}
	if codecs != "" {
		b = append(b, ",CODECS=\""...)
		b = append(b, codecs...)
		b = append(b, '"')
	}
	if v.Width > 0 && v.Height > 0 {
		b = append(b, ",RESOLUTION="...)
		b = strconv.AppendInt(b, int64(v.Width), 10)
		b = append(b, 'x')
		b = strconv.AppendInt(b, int64(v.Height), 10)
	}
	if v.FrameRate > 0 {
		b = append(b, ",FRAME-RATE="...)
		b = strconv.AppendFloat(b, v.FrameRate, 'f', 3, 64)
	}
	if v.AudioGroup != "" {
		b = append(b, ",AUDIO=\""...)
		b = append(b, v.AudioGroup...)
		b = append(b, '"')
	}
	b = append(b, '\n')
	b = append(b, v.URI...)
	return append(b, '\n'), nil
}

// checkQuoted checks what stands between quotes: RFC 8216 §4.2, quoted-string.
func checkQuoted(s string) error {
	for i := range len(s) {
		if s[i] == '"' || s[i] < ' ' || s[i] == 0x7f {
			return fmt.Errorf("%w: %q has a quote or a control character", ErrText, s)
		}
	}
	return nil
}

// checkURI checks what stands on a line of its own; a line that begins with # would be a tag.
func checkURI(s string) error {
	if s == "" || s[0] == '#' || strings.TrimSpace(s) != s {
		return fmt.Errorf("%w: URI %q", ErrText, s)
	}
	return checkQuoted(s)
}
