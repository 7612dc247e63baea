package packager

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/weir-stream/weir/internal/format/cmaf"
	"github.com/weir-stream/weir/internal/media"
)

// minSegments is how many segments manifests keep, however long or large: players begin three target
// durations behind the live edge and need some room behind that.
const (
	minSegments      = 6
	minSegmentsBytes = 3 // when memory is short
)

// timeline is what manifests describe: epochs and segments on one wall clock. It ends when the stream
// ends; a stream that comes back after that gets another, with greater numbers.
type timeline struct {
	stream *stream
	// start is the wall clock of the first epoch; DASH counts from it.
	start    time.Time
	epochs   int64 // begun so far
	current  *epoch
	segments []*segment // the window, at least one once there was one
	retired  []retired  // out of the window, still fetchable
	target   int        // EXT-X-TARGETDURATION; never decreases
	ended    bool
}

// epoch is a run of segments with the same headers on the same media clock: one publication, or less
// if its tracks or its clock changed.
type epoch struct {
	id      int64
	ordinal int64 // number of the epoch in its timeline, from 0
	// wall is the wall clock at media time start.
	wall  time.Time
	start time.Duration
	// shift is added to the publisher's times, in whole seconds so that it is exact in every
	// timescale: files cannot hold a negative decoding time.
	shift      int64
	renditions []*rendition
	segments   int // that are kept
}

// rendition is one encoding of a track. Its name begins the names of its files; a ladder will have
// several for video.
type rendition struct {
	name   string
	track  media.Track
	header string // name of the object
	rate   float64
}

// segment is a stretch of time in all renditions of its epoch.
type segment struct {
	epoch    *epoch
	number   int64
	duration time.Duration
	end      time.Time
	pieces   []piece // in the order of the epoch's renditions
}

// piece is a segment in one rendition.
type piece struct {
	name string
	// time is the earliest presentation time and duration the length, in ticks.
	time, duration int64
	size           int
}

type retired struct {
	segment *segment
	until   time.Time
}

func newTimeline(s *stream) *timeline {
	return &timeline{stream: s, target: max(1, int(s.packager.config.SegmentDuration.Round(time.Second).Seconds()))}
}

// successor returns the timeline of the stream's next life. What the old one has stays fetchable for
// a while.
func (t *timeline) successor() *timeline {
	n := newTimeline(t.stream)
	n.retired = t.retired
	until := t.stream.packager.now().Add(t.stream.packager.config.Window)
	for _, s := range t.segments {
		n.retired = append(n.retired, retired{s, until})
	}
	return n
}

// wallEnd is where the newest segment ends on the wall clock.
func (t *timeline) wallEnd() time.Time {
	if len(t.segments) == 0 {
		return time.Time{}
	}
	return t.segments[len(t.segments)-1].end
}

// begin starts an epoch.
func (t *timeline) begin(e *epoch) error {
	s := t.stream
	s.epoch = max(s.epoch+1, s.packager.now().UnixMilli())
	e.id, e.ordinal = s.epoch, t.epochs
	headers := make(map[string]*object, len(e.renditions))
	for _, r := range e.renditions {
		r.header = r.name + "-" + strconv.FormatInt(e.id, 10) + "-init.mp4"
		data, err := cmaf.AppendHeader(nil, r.track)
		if err != nil {
			return fmt.Errorf("write the header of %s: %w", r.name, err)
		}
		headers[r.header] = mediaObject(data, r.contentType(), r.header)
	}
	s.put(headers)
	t.epochs++
	t.current = e
	return nil
}

func (r *rendition) contentType() string { return string(r.track.Kind()) + "/mp4" }

// pieceName returns the name of a rendition's segment.
func (e *epoch) pieceName(r *rendition, number int64) string {
	return r.name + "-" + strconv.FormatInt(e.id, 10) + "-" + strconv.FormatInt(number, 10) + ".m4s"
}

// at returns the wall clock at a media time.
func (e *epoch) at(t time.Duration) time.Time { return e.wall.Add(t - e.start) }

// add publishes a segment of the current epoch, which has one file for each piece.
func (t *timeline) add(seg *segment, files [][]byte) error {
	s := t.stream
	if t.start.IsZero() {
		t.start = seg.epoch.wall
	}
	objects := make(map[string]*object, len(files))
	for i, data := range files {
		r := seg.epoch.renditions[i]
		objects[seg.pieces[i].name] = mediaObject(data, r.contentType(), seg.pieces[i].name)
		kind := string(r.track.Kind())
		s.packager.metrics.segments.WithLabelValues(kind).Inc()
		s.packager.metrics.segmentBytes.WithLabelValues(kind).Add(float64(len(data)))
		// RFC 8216 §4.3.3.1: no segment, rounded, is longer than the target duration.
		length := span(seg.pieces[i].duration, r.track.Timescale)
		t.target = max(t.target, int(length.Round(time.Second).Seconds()))
	}
	s.put(objects)
	s.number = seg.number
	seg.epoch.segments++
	t.segments = append(t.segments, seg)
	t.slide()
	return t.render()
}

// slide takes segments out of the window, and forgets those that left it long enough ago.
func (t *timeline) slide() {
	config := &t.stream.packager.config
	now := t.stream.packager.now()
	length := t.length()
	// RFC 8216 §6.2.2: a segment stays for its own duration and that of the longest playlist with it.
	for len(t.segments) > minSegments && (length-t.segments[0].duration >= config.Window || len(t.segments) > t.maxSegments()) {
		t.retired = append(t.retired, retired{t.segments[0], now.Add(length + t.segments[0].duration)})
		length -= t.segments[0].duration
		t.segments = t.segments[1:]
	}
	keep := t.retired[:0]
	for _, r := range t.retired {
		if r.until.After(now) && t.stream.bytes <= config.MaxStreamBytes {
			keep = append(keep, r)
		} else {
			t.forget(r.segment)
		}
	}
	clear(t.retired[len(keep):])
	t.retired = keep
	for t.stream.bytes > config.MaxStreamBytes && len(t.segments) > minSegmentsBytes {
		t.forget(t.segments[0])
		t.segments = t.segments[1:]
	}
	t.segments = slices.Clip(t.segments)
}

// maxSegments bounds the window where a publisher that changes its configuration all the time makes very
// short segments: every manifest names all of them and is made anew for each.
func (t *timeline) maxSegments() int {
	config := &t.stream.packager.config
	return minSegments + 4*int(config.Window/config.SegmentDuration)
}

// forget drops a segment's files, and the headers of its epoch with the last of them.
func (t *timeline) forget(seg *segment) {
	for _, p := range seg.pieces {
		t.stream.drop(p.name)
	}
	seg.epoch.segments--
	if seg.epoch.segments == 0 && seg.epoch != t.current {
		for _, r := range seg.epoch.renditions {
			t.stream.drop(r.header)
		}
	}
}

// length is the duration of the segments in the window.
func (t *timeline) length() time.Duration {
	var d time.Duration
	for _, s := range t.segments {
		d += s.duration
	}
	return d
}

// end says in the manifests that nothing follows. It is false if there are no manifests.
func (t *timeline) end() bool {
	if len(t.segments) == 0 {
		return false
	}
	t.ended, t.current = true, nil
	if err := t.render(); err != nil {
		t.stream.log.Error("manifests of the ended stream", "error", err)
	}
	return true
}

// span returns the time that ticks take. It is exact to the nanosecond for times of up to 292 years.
func span(ticks int64, timescale uint32) time.Duration {
	scale := int64(timescale)
	return time.Duration(ticks/scale)*time.Second + time.Duration(ticks%scale*int64(time.Second)/scale)
}

// ticks is the inverse of span, rounded.
func ticks(d time.Duration, timescale uint32) int64 {
	scale := int64(timescale)
	whole, rest := int64(d/time.Second), int64(d%time.Second)
	half := int64(time.Second) / 2
	if rest < 0 {
		half = -half
	}
	return whole*scale + (rest*scale+half)/int64(time.Second)
}
