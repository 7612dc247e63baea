package packager

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/weir-stream/weir/internal/format/cmaf"
	"github.com/weir-stream/weir/internal/media"
)

// run is the part of a lane that goes into a segment.
type run struct {
	lane  *lane
	units []media.Unit
	// following is the decoding time of the unit that comes after, if that continues the run.
	following    int64
	hasFollowing bool
	// time and duration are the presentation of the run in ticks of the publisher's clock.
	time, duration int64
}

// write makes a segment of what comes before the cut, in the open epoch or in a new one.
func (c *cutter) write(at cut) error {
	var runs []run
	if v := c.video; v != nil && at.pictures > 0 {
		if c.epoch == nil || !c.epoch.has(media.Audio) { // audio begins with a picture
			c.trimAudio(v.pts(0))
		}
		r := v.run(at.pictures)
		switch {
		case at.seamless:
			r.duration = v.units[at.pictures].PTS - r.time
		case r.hasFollowing:
			r.duration = v.next.units[0].PTS - r.time
		default:
			r.duration = ticks(v.stop(), v.track.Timescale) - r.time
		}
		r.duration = max(1, r.duration)
		runs = append(runs, r)
	}
	if a := c.audio; a != nil {
		if n := a.before(at.end); n > 0 {
			r := a.run(n)
			last := r.units[n-1].DTS + r.step()
			if r.hasFollowing {
				last = r.following
			}
			r.duration = max(1, last-r.units[0].DTS)
			runs = append(runs, r)
		}
	}
	if len(runs) == 0 {
		c.turn(at)
		return nil
	}

	line := c.stream.line
	e := c.epoch
	if e == nil || !e.covers(runs) {
		if e != nil {
			c.reason = "tracks"
		}
		e = c.newEpoch(runs, at)
		if err := line.begin(e); err != nil {
			return err
		}
		c.epoch, c.last = e, e
		c.stream.packager.metrics.epochs.WithLabelValues(c.reason).Inc()
	}
	seg := &segment{epoch: e, number: c.stream.number + 1, pieces: make([]piece, len(runs))}
	files := make([][]byte, len(runs))
	for i := range runs {
		r := &runs[i]
		rendition := e.renditions[i]
		shift := e.shift * int64(r.lane.track.Timescale)
		data, err := cmaf.Segment(r.chunk(seg.number, shift, e))
		if err != nil {
			return fmt.Errorf("write segment %d of %s: %w", seg.number, rendition.name, err)
		}
		files[i] = data
		seg.pieces[i] = piece{name: e.pieceName(rendition, seg.number), time: r.time + shift, duration: r.duration, size: len(data)}
		if end := e.at(span(r.time+shift+r.duration, r.lane.track.Timescale)); end.After(seg.end) {
			seg.end = end
		}
	}
	seg.duration = span(runs[0].duration, runs[0].lane.track.Timescale)

	c.stream.hold(seg.end)
	if err := line.add(seg, files); err != nil {
		return err
	}
	if c.segments == 0 {
		c.firstSegment(e)
	}
	c.segments++
	for i := range runs {
		c.remove(&runs[i])
	}
	c.checkClock(at, seg)
	c.turn(at)
	return nil
}

// firstSegment says that the stream can be played from now on.
func (c *cutter) firstSegment(e *epoch) {
	wait := c.stream.packager.now().Sub(c.first)
	c.stream.packager.metrics.firstSegment.Observe(wait.Seconds())
	codecs := make([]string, len(e.renditions))
	for i, r := range e.renditions {
		codecs[i] = r.track.CodecString()
	}
	c.log.Info("stream can be played", "epoch", e.id, "codecs", codecs, "after", wait)
}

// checkClock ends an epoch whose segments come ever later than its clock says: the publisher's clock
// is slow, or it left something out. Players would wait for what does not exist yet.
func (c *cutter) checkClock(at cut, seg *segment) {
	if at.received.Sub(seg.end) <= maxLag {
		c.late = 0
		return
	}
	if c.late++; c.late >= lagSegments {
		c.epoch, c.reason, c.late = nil, "clock", 0
	}
}

// newEpoch makes the epoch that begins with the runs.
func (c *cutter) newEpoch(runs []run, at cut) *epoch {
	e := &epoch{start: math.MaxInt64}
	earliest := time.Duration(0)
	for i := range runs {
		r := &runs[i]
		scale := r.lane.track.Timescale
		earliest = min(earliest, span(r.units[0].DTS, scale), span(r.time, scale))
		e.start = min(e.start, span(r.time, scale))
		e.renditions = append(e.renditions, newRendition(r))
	}
	if earliest < 0 {
		e.shift = int64((-earliest + time.Second - 1) / time.Second)
	}
	// The clock: as late as the first unit came, but so early that no unit of this segment, nor the
	// keyframe after it, is ahead of it.
	wall := at.received.Add(e.start - at.end)
	for i := range runs {
		r := &runs[i]
		for k := range r.units {
			u := &r.units[k]
			if t := u.Received.Add(e.start - span(u.PTS, r.lane.track.Timescale)); t.Before(wall) {
				wall = t
			}
		}
	}
	if c.last != nil {
		// If the publisher's clock simply goes on, so does ours, and there is no gap.
		same := c.last.at(e.start + time.Duration(c.last.shift)*time.Second)
		if d := same.Sub(wall); c.reason != "clock" && d > -maxLag && d < maxLead {
			wall = same
		}
	}
	if end := c.stream.line.wallEnd(); wall.Before(end) {
		wall = end // what was published stays where it is
	}
	e.wall = wall.Truncate(time.Millisecond) // what manifests can say
	if end := c.stream.line.wallEnd(); e.wall.Before(end) {
		e.wall = e.wall.Add(time.Millisecond)
	}
	e.start += time.Duration(e.shift) * time.Second
	return e
}

func newRendition(r *run) *rendition {
	n := &rendition{name: string(r.lane.track.Kind()), track: r.lane.track}
	if n.track.Kind() == media.Video {
		n.rate = n.track.FrameRate
		if n.rate == 0 && len(r.units) > 1 {
			n.rate = float64(len(r.units)) / span(r.duration, r.lane.track.Timescale).Seconds()
		}
	}
	return n
}

// covers says whether the epoch has exactly the tracks of the runs.
func (e *epoch) covers(runs []run) bool {
	return slices.EqualFunc(e.renditions, runs, func(r *rendition, u run) bool { return r.track.Kind() == u.lane.track.Kind() })
}

// run returns the first n units of the lane.
func (l *lane) run(n int) run {
	r := run{lane: l, units: l.units[:n], time: l.units[0].PTS}
	for i := range r.units {
		r.time = min(r.time, r.units[i].PTS)
	}
	switch {
	case n < len(l.units):
		r.following, r.hasFollowing = l.units[n].DTS, true
	case l.next != nil && l.next.lead && l.next.track.Timescale == l.track.Timescale:
		if t := l.next.units[0].DTS; t > l.last && t-l.last <= 2*l.step() {
			r.following, r.hasFollowing = t, true
		}
	}
	return r
}

// step is the duration of the run's last unit if nothing follows.
func (r *run) step() int64 {
	if n := len(r.units); n > 1 && r.lane.track.Codec != media.AAC {
		return r.units[n-1].DTS - r.units[n-2].DTS
	}
	return r.lane.step()
}

// chunk makes a CMAF chunk of the run.
func (r *run) chunk(number, shift int64, e *epoch) cmaf.Chunk {
	scale := r.lane.track.Timescale
	c := cmaf.Chunk{
		Sequence: uint32(number), DecodeTime: uint64(r.units[0].DTS + shift), Samples: make([]cmaf.Sample, len(r.units)),
		Reference: cmaf.Reference{Wall: e.at(span(r.time+shift, scale)), MediaTime: uint64(r.time + shift)},
	}
	for i := range r.units {
		u := &r.units[i]
		d := r.step()
		switch {
		case i+1 < len(r.units):
			d = r.units[i+1].DTS - u.DTS
		case r.hasFollowing:
			d = r.following - u.DTS
		}
		c.Samples[i] = cmaf.Sample{Duration: uint32(d), CompositionOffset: int32(u.PTS - u.DTS), Sync: u.Keyframe, Data: u.Payload}
	}
	return c
}

// remove takes a run out of its lane.
func (c *cutter) remove(r *run) {
	for i := range r.units {
		c.bytes -= len(r.units[i].Payload)
	}
	r.lane.units = slices.Delete(r.lane.units, 0, len(r.units))
}
