package dash

import (
	"math"
	"strconv"
	"time"
	"unicode/utf8"
)

// MPD is a media presentation description.
type MPD struct {
	// AvailabilityStart is the zero of the presentation's time on the wall clock. It never changes.
	AvailabilityStart time.Time
	// Published is when this MPD was made.
	Published time.Time
	// UpdatePeriod is how long a client may use this MPD before it asks for the next.
	UpdatePeriod time.Duration
	// WindowDepth is how far back segments are available.
	WindowDepth time.Duration
	// PresentationDelay is how far behind the live edge clients should play.
	PresentationDelay time.Duration
	// MinBuffer is what a client should have buffered before it plays, given the bandwidths.
	MinBuffer time.Duration
	// MaxSegment is the longest duration of a segment.
	MaxSegment time.Duration
	// Ended, if not 0, makes the presentation static: it is complete, and this is its duration, from
	// AvailabilityStart.
	Ended time.Duration
	// TimeURL is where clients get the server's time in ISO 8601, absolute or relative; "" for none.
	// It is fetched apart from the MPD, which caches hold.
	TimeURL string
	Periods []Period
}

// Period is a part of the presentation within which nothing but the segments changes.
type Period struct {
	ID string
	// Start is the Period's start in the presentation's time.
	Start time.Duration
	// Duration is the Period's length; 0 if it is not known yet.
	Duration time.Duration
	Sets     []AdaptationSet
}

// AdaptationSet holds the interchangeable representations of one content.
type AdaptationSet struct {
	ID int
	// ContentType is "video" or "audio".
	ContentType string
	// Timescale is the ticks per second of the segments' times.
	Timescale uint32
	// PresentationTimeOffset is the media time at the Period's start, in ticks.
	PresentationTimeOffset int64
	// Media and Initialization name segments and header: DASH templates, such as "v-$Number$.m4s".
	Media, Initialization string
	// StartNumber is the number of the first segment of the timeline.
	StartNumber     int64
	Timeline        []Segment
	Representations []Representation
}

// Segment is a segment's place on the media timeline in ticks.
type Segment struct {
	Time, Duration int64
}

// Representation is one encoding.
type Representation struct {
	ID string
	// Bandwidth is the bitrate in bit/s.
	Bandwidth     int
	Codecs        string
	Width, Height int
	FrameRate     float64
	SampleRate    int
	Channels      int
}

// Append appends the MPD to b.
func (m *MPD) Append(b []byte) []byte {
	b = append(b, `<?xml version="1.0" encoding="UTF-8"?>`+"\n"...)
	b = append(b, `<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" profiles="urn:mpeg:dash:profile:isoff-live:2011,urn:mpeg:dash:profile:cmaf:2019"`...)
	if m.Ended > 0 {
		b = text(b, "type", "static")
		b = duration(b, "mediaPresentationDuration", m.Ended)
	} else {
		b = text(b, "type", "dynamic")
		b = duration(b, "minimumUpdatePeriod", m.UpdatePeriod)
		b = duration(b, "timeShiftBufferDepth", m.WindowDepth)
		b = duration(b, "suggestedPresentationDelay", m.PresentationDelay)
	}
	b = instant(b, "availabilityStartTime", m.AvailabilityStart)
	b = instant(b, "publishTime", m.Published)
	b = duration(b, "minBufferTime", m.MinBuffer)
	if m.MaxSegment > 0 {
		b = duration(b, "maxSegmentDuration", m.MaxSegment)
	}
	b = append(b, ">\n"...)
	for i := range m.Periods {
		b = m.Periods[i].append(b)
	}
	if m.TimeURL != "" && m.Ended == 0 {
		b = append(b, `  <UTCTiming schemeIdUri="urn:mpeg:dash:utc:http-iso:2014"`...)
		b = text(b, "value", m.TimeURL)
		b = append(b, "/>\n"...)
	}
	return append(b, "</MPD>\n"...)
}

func (p *Period) append(b []byte) []byte {
	b = append(b, "  <Period"...)
	b = text(b, "id", p.ID)
	b = duration(b, "start", p.Start)
	if p.Duration > 0 {
		b = duration(b, "duration", p.Duration)
	}
	b = append(b, ">\n"...)
	for i := range p.Sets {
		b = p.Sets[i].append(b)
	}
	return append(b, "  </Period>\n"...)
}

func (s *AdaptationSet) append(b []byte) []byte {
	b = append(b, "    <AdaptationSet"...)
	b = number(b, "id", int64(s.ID))
	b = text(b, "contentType", s.ContentType)
	b = text(b, "mimeType", s.ContentType+"/mp4")
	b = append(b, ` segmentAlignment="true" startWithSAP="1">`+"\n"...)
	b = append(b, "      <SegmentTemplate"...)
	b = number(b, "timescale", int64(s.Timescale))
	if s.PresentationTimeOffset != 0 {
		b = number(b, "presentationTimeOffset", s.PresentationTimeOffset)
	}
	b = text(b, "initialization", s.Initialization)
	b = text(b, "media", s.Media)
	b = number(b, "startNumber", s.StartNumber)
	b = append(b, ">\n        <SegmentTimeline>\n"...)
	b = timeline(b, s.Timeline)
	b = append(b, "        </SegmentTimeline>\n      </SegmentTemplate>\n"...)
	for i := range s.Representations {
		b = s.Representations[i].append(b)
	}
	return append(b, "    </AdaptationSet>\n"...)
}

// timeline appends S elements, ISO/IEC 23009-1 §5.3.9.6. Equal segments in a row are one element.
func timeline(b []byte, segments []Segment) []byte {
	for i := 0; i < len(segments); {
		s := segments[i]
		run := 1
		for i+run < len(segments) && segments[i+run] == (Segment{s.Time + int64(run)*s.Duration, s.Duration}) {
			run++
		}
		b = append(b, "          <S"...)
		if i == 0 || segments[i-1].Time+segments[i-1].Duration != s.Time {
			b = number(b, "t", s.Time)
		}
		b = number(b, "d", s.Duration)
		if run > 1 {
			b = number(b, "r", int64(run-1))
		}
		b = append(b, "/>\n"...)
		i += run
	}
	return b
}

func (r *Representation) append(b []byte) []byte {
	b = append(b, "      <Representation"...)
	b = text(b, "id", r.ID)
	b = number(b, "bandwidth", int64(r.Bandwidth))
	b = text(b, "codecs", r.Codecs)
	if r.Width > 0 && r.Height > 0 {
		b = number(b, "width", int64(r.Width))
		b = number(b, "height", int64(r.Height))
	}
	if r.FrameRate > 0 {
		n, d := fraction(r.FrameRate)
		b = append(b, ` frameRate="`...)
		b = strconv.AppendInt(b, n, 10)
		if d > 1 {
			b = append(b, '/')
			b = strconv.AppendInt(b, d, 10)
		}
		b = append(b, '"')
	}
	if r.SampleRate > 0 {
		b = number(b, "audioSamplingRate", int64(r.SampleRate))
	}
	if r.Channels == 0 {
		return append(b, "/>\n"...)
	}
	b = append(b, ">\n        <AudioChannelConfiguration schemeIdUri=\"urn:mpeg:dash:23003:3:audio_channel_configuration:2011\""...)
	b = number(b, "value", int64(channelConfiguration(r.Channels)))
	return append(b, "/>\n      </Representation>\n"...)
}

// channelConfiguration returns what the scheme wants, channelConfigurationIndex of ISO/IEC 23003-3: above six it
// is not the number of channels.
func channelConfiguration(channels int) int {
	switch channels {
	case 7:
		return 11 // 6.1
	case 8:
		return 7 // 7.1 as AAC has it; 8 would be two languages in mono
	default:
		return channels
	}
}

// fraction writes a frame rate as DASH wants it: a whole number, a multiple of 1000/1001, or
// thousandths.
func fraction(rate float64) (numerator, denominator int64) {
	if whole := math.Round(rate); whole >= 1 && math.Abs(rate-whole) < 0.005 {
		return int64(whole), 1
	}
	if ntsc := math.Round(rate * 1.001); ntsc >= 1 && math.Abs(rate*1.001-ntsc) < 0.005 {
		return int64(ntsc) * 1000, 1001
	}
	return int64(math.Round(rate * 1000)), 1000
}

func number(b []byte, name string, v int64) []byte {
	b = append(append(append(b, ' '), name...), `="`...)
	return append(strconv.AppendInt(b, v, 10), '"')
}

func instant(b []byte, name string, t time.Time) []byte {
	b = append(append(append(b, ' '), name...), `="`...)
	return append(t.UTC().AppendFormat(b, "2006-01-02T15:04:05.000Z"), '"')
}

// duration appends an xs:duration in seconds, to the microsecond.
func duration(b []byte, name string, d time.Duration) []byte {
	b = append(append(append(b, ' '), name...), `="PT`...)
	us := max(d, 0).Round(time.Microsecond).Microseconds()
	b = strconv.AppendInt(b, us/1e6, 10)
	if us %= 1e6; us > 0 {
		b = append(b, '.')
		for digit := int64(100_000); us > 0; digit /= 10 {
			b = append(b, byte('0'+us/digit))
			us %= digit
		}
	}
	return append(b, `S"`...)
}

// text appends an attribute, escaped: XML 1.0 §2.2, §2.4 and §3.3.3.
func text(b []byte, name, v string) []byte {
	b = append(append(append(b, ' '), name...), `="`...)
	for _, r := range v {
		switch {
		case r == '&':
			b = append(b, "&amp;"...)
		case r == '<':
			b = append(b, "&lt;"...)
		case r == '>':
			b = append(b, "&gt;"...)
		case r == '"':
			b = append(b, "&#34;"...)
		case r == '\t' || r == '\n' || r == '\r':
			b = append(b, "&#"...)
			b = strconv.AppendInt(b, int64(r), 10)
			b = append(b, ';')
		case r < ' ' || r == 0xfffe || r == 0xffff: // not a character of XML
			b = utf8.AppendRune(b, utf8.RuneError)
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return append(b, '"')
}
