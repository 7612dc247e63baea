package packager

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/weir-stream/weir/internal/format/dash"
	"github.com/weir-stream/weir/internal/format/hls"
	"github.com/weir-stream/weir/internal/media"
)

const (
	playlistType = "application/vnd.apple.mpegurl"
	mpdType      = "application/dash+xml"
	audioGroup   = "audio"
)

// render makes all manifests anew. It is called once per segment, never by a request.
func (t *timeline) render() error {
	manifests := make(map[string]*object, 4)
	put := func(name, contentType string, data []byte) {
		manifests[name] = manifestObject(data, contentType, t.stream.packager.config.SegmentDuration)
	}
	newest := t.segments[len(t.segments)-1].epoch
	for i, r := range newest.renditions {
		playlist := t.mediaPlaylist(i)
		data, err := playlist.Append(make([]byte, 0, 512+192*len(playlist.Segments)))
		if err != nil {
			return fmt.Errorf("write the playlist of %s: %w", r.name, err)
		}
		put(r.name+".m3u8", playlistType, data)
	}
	multivariant := t.multivariant()
	data, err := multivariant.Append(nil)
	if err != nil {
		return fmt.Errorf("write the multivariant playlist: %w", err)
	}
	put(multivariantName, playlistType, data)
	mpd := t.mpd()
	put(mpdName, mpdType, mpd.Append(make([]byte, 0, 4096)))
	t.stream.manifests.Store(&manifests)
	return nil
}

// listed returns the segments of the media playlists: the newest of the window that have the same
// renditions. HLS renditions must have the same discontinuities, so a playlist cannot leave out an
// epoch in the middle.
func (t *timeline) listed() []*segment {
	newest := t.segments[len(t.segments)-1].epoch
	for i := len(t.segments) - 1; i >= 0; i-- {
		if !newest.sameRenditions(t.segments[i].epoch) {
			return t.segments[i+1:]
		}
	}
	return t.segments
}

func (e *epoch) sameRenditions(o *epoch) bool {
	return slices.EqualFunc(e.renditions, o.renditions, func(a, b *rendition) bool { return a.name == b.name })
}

// mediaPlaylist makes the playlist of the i-th rendition.
func (t *timeline) mediaPlaylist(i int) hls.Media {
	segments := t.listed()
	p := hls.Media{
		TargetDuration: t.target, Sequence: segments[0].number, DiscontinuitySequence: segments[0].epoch.ordinal, Ended: t.ended,
		Segments: make([]hls.Segment, len(segments)),
	}
	for k, s := range segments {
		r, piece := s.epoch.renditions[i], &s.pieces[i]
		p.Segments[k] = hls.Segment{
			URI: piece.name, Map: r.header,
			Duration:      span(piece.duration, r.track.Timescale),
			Time:          s.epoch.at(span(piece.time, r.track.Timescale)),
			Discontinuity: k > 0 && s.epoch != segments[k-1].epoch,
		}
	}
	return p
}

// bandwidth returns the peak and average bitrate of the i-th rendition of an epoch, as measured over
// the window. The peak leaves out segments too short to say anything.
func (t *timeline) bandwidth(e *epoch, i int) (peak, average int) {
	var bits, seconds, most float64
	for _, s := range t.segments {
		if s.epoch != e {
			continue
		}
		d := span(s.pieces[i].duration, e.renditions[i].track.Timescale).Seconds()
		size := float64(8 * s.pieces[i].size)
		if d >= t.stream.packager.config.SegmentDuration.Seconds()/2 {
			most = max(most, size/d)
		}
		bits, seconds = bits+size, seconds+d
	}
	average = int(math.Ceil(bits / max(seconds, 0.001)))
	return max(int(math.Ceil(most)), average), average
}

func (t *timeline) multivariant() hls.Multivariant {
	e := t.segments[len(t.segments)-1].epoch
	var p hls.Multivariant
	var audio hls.Variant // as if it were a variant
	for i, r := range e.renditions {
		if r.track.Kind() == media.Audio {
			p.Audio = append(p.Audio, hls.Audio{Group: audioGroup, Name: "Audio", URI: r.name + ".m3u8", Channels: r.track.Channels})
			peak, average := t.bandwidth(e, i)
			audio = hls.Variant{URI: r.name + ".m3u8", Bandwidth: peak, AverageBandwidth: average, Codecs: []string{r.track.CodecString()}}
		}
	}
	for i, r := range e.renditions {
		if r.track.Kind() != media.Video {
			continue
		}
		peak, average := t.bandwidth(e, i)
		v := hls.Variant{
			URI: r.name + ".m3u8", Bandwidth: peak + audio.Bandwidth, AverageBandwidth: average + audio.AverageBandwidth,
			Codecs: append([]string{r.track.CodecString()}, audio.Codecs...),
			Width:  r.track.Width, Height: r.track.Height, FrameRate: r.rate,
		}
		if len(p.Audio) > 0 {
			v.AudioGroup = audioGroup
		}
		p.Variants = append(p.Variants, v)
	}
	if len(p.Variants) == 0 {
		p = hls.Multivariant{Variants: []hls.Variant{audio}}
	}
	return p
}

func (t *timeline) mpd() dash.MPD {
	config := &t.stream.packager.config
	target := time.Duration(t.target) * time.Second
	m := dash.MPD{
		AvailabilityStart: t.start,
		Published:         t.stream.packager.now(),
		UpdatePeriod:      max(time.Second, config.SegmentDuration/2),
		WindowDepth:       max(config.Window, minSegments*target),
		PresentationDelay: 3 * target,
		MinBuffer:         config.SegmentDuration,
		MaxSegment:        target,
		TimeURL:           config.TimeURL,
	}
	if t.ended {
		m.Ended = t.wallEnd().Sub(t.start)
	}
	for first := 0; first < len(t.segments); {
		e := t.segments[first].epoch
		last := first
		for last+1 < len(t.segments) && t.segments[last+1].epoch == e {
			last++
		}
		p := dash.Period{ID: strconv.FormatInt(e.id, 10), Start: e.wall.Sub(t.start)}
		if last+1 < len(t.segments) || t.ended {
			p.Duration = t.segments[last].end.Sub(e.wall)
		}
		for i, r := range e.renditions {
			p.Sets = append(p.Sets, t.adaptationSet(e, i, r, t.segments[first:last+1]))
		}
		m.Periods = append(m.Periods, p)
		first = last + 1
	}
	return m
}

func (t *timeline) adaptationSet(e *epoch, i int, r *rendition, segments []*segment) dash.AdaptationSet {
	peak, _ := t.bandwidth(e, i)
	id := strconv.FormatInt(e.id, 10)
	set := dash.AdaptationSet{
		ID: 1, ContentType: string(r.track.Kind()), Timescale: r.track.Timescale,
		PresentationTimeOffset: ticks(e.start, r.track.Timescale),
		Media:                  r.name + "-" + id + "-$Number$.m4s", Initialization: r.header,
		StartNumber: segments[0].number,
		Timeline:    make([]dash.Segment, len(segments)),
		Representations: []dash.Representation{{
			ID: r.name, Bandwidth: peak, Codecs: r.track.CodecString(),
			Width: r.track.Width, Height: r.track.Height, FrameRate: r.rate,
			SampleRate: r.track.SampleRate, Channels: r.track.Channels,
		}},
	}
	if r.track.Kind() == media.Audio {
		set.ID = 2
	}
	for k, s := range segments {
		set.Timeline[k] = dash.Segment{Time: s.pieces[i].time, Duration: s.pieces[i].duration}
	}
	return set
}
