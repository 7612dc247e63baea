package packager

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/weir-stream/weir/internal/media"
)

const (
	// rampSegments is how many segments of a publication end at the first keyframe, before segments
	// get their full duration. Players need a few to begin.
	rampSegments = 3
	// minRamp keeps those from being too short where every picture is a keyframe.
	minRamp = 450 * time.Millisecond
	// audioWait is how long a cut waits for the audio that belongs before it, as it arrives.
	audioWait = 500 * time.Millisecond
	// videoWait is how much audio is taken before a stream without any video unit counts as audio only;
	// it is four times as long if a video track was announced.
	videoWait = 500 * time.Millisecond
	// videoSilence is how far audio may run ahead of video before the video counts as gone.
	videoSilence = 10 * time.Second
	// maxComposition bounds how far a unit's presentation may be from its decoding.
	maxComposition = 10 * time.Second
	// maxTime bounds a unit's times: RTMP's clock cannot come near, and sums stay far from overflow.
	maxTime = 10 * 365 * 24 * time.Hour
	// maxLag and lagSegments say when an epoch's clock has become wrong: that many segments in a row
	// came that much later than the clock says.
	maxLag      = 2 * time.Second
	maxLead     = 500 * time.Millisecond
	lagSegments = 5
	// maxRate bounds the units that wait, per second of max_segment_duration. Time on the publisher's clock
	// does not: it may stand nearly still.
	maxRate = 1000
	// aacFrame is the number of samples of an AAC frame.
	aacFrame = 1024
)

// The errors for which a publication is given up.
var (
	errTooLong  = errors.New("no keyframe within max_segment_duration")
	errTooLarge = errors.New("no keyframe within max_segment_bytes")
	errTooMany  = errors.New("too many units without an end of a segment")
)

// cutter turns the units of one publication into segments. It is used by one goroutine.
type cutter struct {
	stream *stream
	config *Config
	log    *slog.Logger

	video, audio *lane // nil: no such track yet
	bytes        int   // that wait in the lanes
	received     time.Time
	first        time.Time // when the first unit was received

	epoch    *epoch // nil: the next segment begins one
	last     *epoch // the newest of this publication
	reason   string // why the next begins
	segments int    // cut so far
	late     int    // in a row
	pending  *cut
}

// lane holds a track's units that are not in a segment yet, in order of decoding. next is what follows
// them if the track was configured anew or its times jumped; it is reached at an epoch's end.
type lane struct {
	track media.Track
	units []media.Unit
	lead  bool // a unit has been taken
	last  int64
	next  *lane
}

// cut is where a segment ends.
type cut struct {
	end      time.Duration // media time; audio is cut at the sample nearest
	pictures int           // video units before it
	received time.Time
	seamless bool // the next segment begins where this one ends
}

func newCutter(s *stream) *cutter {
	c := &cutter{stream: s, config: &s.packager.config, log: s.log, reason: "publication"}
	return c
}

// newest returns the end of the chain.
func (l *lane) newest() *lane {
	for l.next != nil {
		l = l.next
	}
	return l
}

func (l *lane) pts(i int) time.Duration { return span(l.units[i].PTS, l.track.Timescale) }

// step is how long the last unit lasts if nothing says otherwise.
func (l *lane) step() int64 {
	switch {
	case l.track.Codec == media.AAC:
		return aacFrame
	case len(l.units) > 1:
		return max(1, l.units[len(l.units)-1].DTS-l.units[len(l.units)-2].DTS)
	case l.track.FrameRate > 0:
		return max(1, int64(float64(l.track.Timescale)/l.track.FrameRate))
	default:
		return max(1, int64(l.track.Timescale)/30)
	}
}

// stop is where the presentation of the lane's last unit ends.
func (l *lane) stop() time.Duration {
	last := l.units[0].PTS
	for i := range l.units {
		last = max(last, l.units[i].PTS)
	}
	return span(last+l.step(), l.track.Timescale)
}

// addTrack takes a new or changed track. The first track of each kind is packaged.
func (c *cutter) addTrack(t media.Track) {
	at := &c.video
	switch t.Kind() {
	case media.Video:
	case media.Audio:
		at = &c.audio
	default:
		return
	}
	if t.Timescale == 0 {
		return
	}
	l := *at
	switch {
	case l == nil:
		*at = &lane{track: t}
	case l.track.ID != t.ID:
		c.log.Warn("track is not packaged: the stream has another of its kind", "track", t.ID, "kind", t.Kind())
	case !sameConfiguration(l.newest().track, t):
		c.fork(at, t)
	}
}

// sameConfiguration says whether the units of b need no other header than those of a.
func sameConfiguration(a, b media.Track) bool {
	return a.Codec == b.Codec && a.Timescale == b.Timescale && a.Width == b.Width && a.Height == b.Height &&
		a.SampleRate == b.SampleRate && a.Channels == b.Channels &&
		slices.Equal(a.SPS, b.SPS) && slices.Equal(a.PPS, b.PPS) && slices.Equal(a.AudioSpecificConfig, b.AudioSpecificConfig)
}

// fork begins another lane behind the one given, or in its place if it is empty. One that waits behind
// it already is given up: a chain has two lanes at most.
func (c *cutter) fork(at **lane, t media.Track) *lane {
	l := *at
	if l.next != nil {
		c.unused("superseded", l.next.units)
	}
	n := &lane{track: t}
	if len(l.units) > 0 {
		l.next = n
		return n
	}
	*at = n
	if l.lead {
		c.epoch, c.reason = nil, "track_changed"
	}
	return n
}

func (c *cutter) unused(reason string, units []media.Unit) {
	for i := range units {
		c.bytes -= len(units[i].Payload)
	}
	c.stream.packager.metrics.unusedUnits.WithLabelValues(reason).Add(float64(len(units)))
}

// addUnit takes a unit, and writes the segments that it completes. After an error the publication
// cannot go on.
func (c *cutter) addUnit(u media.Unit) error {
	at := &c.video
	if *at == nil || (*at).track.ID != u.Track {
		at = &c.audio
	}
	if *at == nil || (*at).track.ID != u.Track {
		return nil
	}
	end := (*at).newest()
	isVideo := at == &c.video
	scale := end.track.Timescale
	limit := int64(maxTime/time.Second) * int64(scale)
	if u.DTS < -limit || u.DTS > limit || u.PTS < -limit || u.PTS > limit || span(u.PTS-u.DTS, scale).Abs() > maxComposition {
		c.bytes += len(u.Payload)
		c.unused("bad_time", []media.Unit{u})
		return nil
	}
	if end.lead && (u.DTS < end.last || span(u.DTS-end.last, scale) > c.config.SegmentDuration) {
		end = c.fork(at, end.track)
	}
	if isVideo && !end.lead && !u.Keyframe {
		c.bytes += len(u.Payload)
		c.unused("no_keyframe", []media.Unit{u})
		return nil
	}
	if u.Received.IsZero() {
		u.Received = c.stream.packager.now()
	}
	if c.first.IsZero() {
		c.first = u.Received
	}
	c.received = u.Received
	end.units = append(end.units, u)
	end.lead, end.last = true, u.DTS
	c.bytes += len(u.Payload)
	return c.advance(isVideo && u.Keyframe)
}

// advance writes what is complete. keyframe says that a new place to cut may be there.
func (c *cutter) advance(keyframe bool) error {
	for {
		if c.pending == nil && (keyframe || c.video == nil || len(c.video.units) == 0 || c.videoGone() || c.video.next != nil) {
			c.pending = c.findCut()
		}
		if c.pending == nil || !c.ready() {
			return c.checkSize()
		}
		if err := c.write(*c.pending); err != nil {
			return err
		}
		c.pending, keyframe = nil, true
	}
}

// videoGone says whether audio has run so far ahead that the video cannot be waited for.
func (c *cutter) videoGone() bool {
	if c.audio == nil || c.video == nil || len(c.video.units) == 0 {
		return false
	}
	a := c.audio.newest()
	return a.lead && span(a.last, a.track.Timescale)-span(c.video.newest().last, c.video.newest().track.Timescale) > videoSilence
}

// findCut returns where the open segment ends, or nil if that is not known yet.
func (c *cutter) findCut() *cut {
	if v := c.video; v != nil && len(v.units) > 0 {
		return c.findVideoCut(v)
	}
	a := c.audio
	if a == nil || len(a.units) == 0 {
		return nil
	}
	last := len(a.units) - 1
	if c.epoch == nil && a.next == nil { // is it audio only?
		wait := videoWait
		if c.video != nil {
			wait *= 4
		}
		if a.pts(last)-a.pts(0) < wait {
			return nil
		}
	}
	for i := 1; i <= last; i++ {
		if c.longEnough(a.pts(i)-a.pts(0), 0) {
			return &cut{end: a.pts(i), received: a.units[i].Received, seamless: true}
		}
	}
	if a.next != nil && a.next.lead {
		return &cut{end: a.stop(), received: c.received}
	}
	return nil
}

func (c *cutter) findVideoCut(v *lane) *cut {
	start, previous := v.pts(0), 0
	if c.epoch != nil && !c.epoch.has(media.Video) && c.audio != nil && len(c.audio.units) > 0 && c.audio.pts(0) < start {
		// Video begins, or is back, within a segment of audio only.
		return &cut{end: start, received: v.units[0].Received}
	}
	for i := 1; i < len(v.units); i++ {
		if !v.units[i].Keyframe {
			continue
		}
		if c.longEnough(v.pts(i)-start, v.pts(i)-v.pts(previous)) {
			return &cut{end: v.pts(i), pictures: i, received: v.units[i].Received, seamless: true}
		}
		previous = i
	}
	if v.next != nil && v.next.lead {
		stop, begin := v.stop(), v.next.pts(0)
		if frame := span(v.step(), v.track.Timescale); begin > v.pts(len(v.units)-1) && begin < stop+frame {
			stop = begin // the configuration changed, the pictures go on
		}
		return &cut{end: stop, pictures: len(v.units), received: v.next.units[0].Received}
	}
	if c.videoGone() {
		v.next = &lane{track: v.newest().track}
		return &cut{end: v.stop(), pictures: len(v.units), received: c.received}
	}
	return nil
}

// longEnough says whether a segment of this length should end here, if the next keyframe is a GOP
// later.
func (c *cutter) longEnough(length, gop time.Duration) bool {
	target := c.config.SegmentDuration
	if c.segments < rampSegments {
		return length >= min(minRamp, target*9/10)
	}
	// Publishers count in milliseconds, so a GOP may be a little shorter than it should be. And the
	// target duration in the playlist should not have to grow.
	most := time.Duration(c.stream.line.target)*time.Second + 490*time.Millisecond
	return length >= target*9/10 || length >= target/2 && length+gop > most
}

// ready says whether the pending cut has its audio, or has waited long enough for it.
func (c *cutter) ready() bool {
	a := c.audio
	if a == nil || a.next != nil {
		return true
	}
	if len(a.units) > 0 {
		if a.pts(len(a.units)-1) >= c.pending.end-span(a.step(), a.track.Timescale)/2 {
			return true
		}
	} else if c.epoch == nil || !c.epoch.has(media.Audio) {
		return true // audio has sent nothing, and is not waited for
	}
	return c.received.Sub(c.pending.received) > audioWait
}

func (e *epoch) has(k media.Kind) bool {
	return slices.ContainsFunc(e.renditions, func(r *rendition) bool { return r.track.Kind() == k })
}

// checkSize bounds what waits.
func (c *cutter) checkSize() error {
	if c.bytes > c.config.MaxSegmentBytes {
		return fmt.Errorf("%w (%d bytes)", errTooLarge, c.config.MaxSegmentBytes)
	}
	units, most := 0, int(maxRate*c.config.MaxSegmentDuration/time.Second)
	for _, l := range [...]*lane{c.video, c.audio} {
		for each := l; each != nil; each = each.next {
			units += len(each.units)
		}
		if units > most {
			return fmt.Errorf("%w (%d)", errTooMany, most)
		}
		if l == nil || len(l.units) == 0 {
			continue
		}
		if span(l.units[len(l.units)-1].DTS-l.units[0].DTS, l.track.Timescale) > c.config.MaxSegmentDuration {
			return fmt.Errorf("%w (%v)", errTooLong, c.config.MaxSegmentDuration)
		}
	}
	return nil
}

// finish writes what is left, at the end of the publication.
func (c *cutter) finish() error {
	if c.pending != nil {
		if err := c.write(*c.pending); err != nil {
			return err
		}
		c.pending = nil
	}
	for range 4 { // a lane and what follows it
		last := cut{end: -maxTime, received: c.received}
		if v := c.video; v != nil && len(v.units) > 0 {
			last.end, last.pictures = v.stop(), len(v.units)
		}
		if a := c.audio; a != nil && len(a.units) > 0 {
			last.end = max(last.end, a.stop())
		}
		if last.end == -maxTime && (c.video == nil || c.video.next == nil) && (c.audio == nil || c.audio.next == nil) {
			break
		}
		if err := c.write(last); err != nil {
			return err
		}
	}
	return nil
}

// turn moves the lanes that are at their end to what follows them, and starts an epoch if one was.
func (c *cutter) turn(at cut) {
	for _, l := range [...]**lane{&c.video, &c.audio} {
		if *l != nil && (*l).next != nil && len((*l).units) == 0 {
			*l = (*l).next
			c.epoch, c.reason = nil, "track_changed"
		}
	}
	if !at.seamless {
		c.epoch, c.reason = nil, "track_changed"
	}
	if c.epoch != nil {
		return
	}
	// The new epoch begins with its first picture.
	if v := c.video; v != nil && len(v.units) > 0 {
		c.trimAudio(v.pts(0))
	}
}

// trimAudio throws away the audio before the time.
func (c *cutter) trimAudio(t time.Duration) {
	if c.audio == nil {
		return
	}
	n := c.audio.before(t)
	c.unused("before_keyframe", c.audio.units[:n])
	c.audio.units = slices.Delete(c.audio.units, 0, n)
}

// before returns how many of the lane's units come before the time; the one nearest to it does not.
func (l *lane) before(t time.Duration) int {
	half := span(l.step(), l.track.Timescale) / 2
	n := 0
	for n < len(l.units) && l.pts(n) < t-half {
		n++
	}
	return n
}
