package session

import (
	"math"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/weir-stream/weir/cmcd"
	"github.com/weir-stream/weir/cmcd/quirk"
	"github.com/weir-stream/weir/internal/telemetry"
)

// track is the media objects of one object type that a session asked for, in the order of time.
// The CMCD object type decides, not the kind told by the path: a player that says "v" has asked
// for video.
type track struct {
	objects []object
}

// object is one request for a media object.
type object struct {
	at, end   time.Time
	duration  float64 // seconds of media, 0 if the player did not say
	bitrate   float64 // bit/s, 0 if the player did not say
	measured  float64 // throughput measured by the player, bit/s, 0 if it did not say
	buffer    float64 // buffer length at the time of the request, seconds
	hasBuffer bool
	rate      float64 // playback rate
	state     string  // player state, version 2
	starved   bool    // bs
	delivered bool    // came whole, is to be rendered, and is the first of its kind
	jump      bool    // does not follow the object before it: the viewer has sought
	number    float64
	numbered  bool
}

// tracksOf sorts the media requests into tracks.
func tracksOf(requests []telemetry.Request, quirks quirk.Quirks) map[string]*track {
	tracks := map[string]*track{}
	seen := map[string]bool{}
	for i := range requests {
		r := &requests[i]
		kind := r.CMCD.Text(cmcd.KeyOT)
		if kind != "v" && kind != "av" && kind != "a" {
			continue
		}
		o := objectOf(r, kind, quirks)
		if o.delivered {
			key := r.Path + "\x00" + r.Query + "\x00" + r.Range
			o.delivered = !seen[key]
			seen[key] = true
		}
		t := tracks[kind]
		if t == nil {
			t = &track{}
			tracks[kind] = t
		}
		t.objects = append(t.objects, o)
	}
	for _, t := range tracks {
		t.findJumps()
	}
	return tracks
}

func objectOf(r *telemetry.Request, kind string, quirks quirk.Quirks) object {
	o := object{at: r.Time, end: r.Time.Add(r.Duration), rate: 1}
	if ms, ok := r.CMCD.Number(cmcd.KeyD); ok && ms > 0 {
		o.duration = ms / 1e3
	}
	if kbps, ok := r.CMCD.NumberFor(cmcd.KeyBR, kind); ok && kbps > 0 && !quirks.Ignores(cmcd.KeyBR, &r.CMCD) {
		o.bitrate = kbps * 1e3
	}
	if kbps, ok := r.CMCD.NumberFor(cmcd.KeyMTP, kind); ok && kbps > 0 {
		o.measured = kbps * 1e3
	}
	if ms, ok := r.CMCD.NumberFor(cmcd.KeyBL, kind); ok && ms >= 0 {
		o.buffer, o.hasBuffer = ms/1e3, true
	}
	if rate, ok := r.CMCD.Number(cmcd.KeyPR); ok && rate >= 0 && !quirks.Ignores(cmcd.KeyPR, &r.CMCD) {
		o.rate = rate
	}
	o.state = r.CMCD.Text(cmcd.KeySTA)
	o.starved = r.CMCD.Bool(cmcd.KeyBS)
	o.delivered = r.Delivered() && o.duration > 0
	o.number, o.numbered = segmentNumber(r)
	return o
}

// segmentNumber is the last number in the name of the object: a segment number or a time. Ranges
// of one file have none.
func segmentNumber(r *telemetry.Request) (float64, bool) {
	if r.Range != "" {
		return 0, false
	}
	name := strings.TrimSuffix(path.Base(r.Path), path.Ext(r.Path))
	last := strings.LastIndexAny(name, "0123456789")
	if last < 0 {
		return 0, false
	}
	first := last
	for first > 0 && name[first-1] >= '0' && name[first-1] <= '9' {
		first--
	}
	n := 0.0
	for _, digit := range name[first : last+1] {
		n = n*10 + float64(digit-'0')
	}
	return n, true
}

// findJumps marks the objects that do not follow the one before them. Segments are named by a
// number that goes up by one, however long they are, or by a time that goes up by their duration.
// The same number again (another rendition, a second try) is no jump.
func (t *track) findJumps() {
	var steps []float64
	ones := 0
	t.eachStep(func(_ *object, step, duration float64) {
		if step > 0 {
			steps = append(steps, step/duration)
		}
		if step == 1 {
			ones++
		}
	})
	if len(steps) == 0 {
		return
	}
	if 2*ones > len(steps) {
		t.eachStep(func(o *object, step, _ float64) { o.jump = step != 0 && step != 1 })
		return
	}
	slices.Sort(steps)
	usual := steps[(len(steps)-1)/2]
	t.eachStep(func(o *object, step, duration float64) {
		o.jump = step != 0 && math.Abs(step-usual*duration) > usual*duration/2
	})
}

func (t *track) eachStep(f func(o *object, step, duration float64)) {
	var before *object
	for i := range t.objects {
		o := &t.objects[i]
		if !o.numbered || o.duration == 0 {
			continue
		}
		if before != nil {
			f(o, o.number-before.number, before.duration)
		}
		before = o
	}
}

// primary is the track that the session's averages are of: the video, muxed or not; the audio
// where there is no video. It is empty, not nil, where there is no media.
func (j *join) primary() *track {
	video := &track{}
	for _, kind := range []string{"v", "av"} {
		if t := j.tracks[kind]; t != nil {
			video.objects = append(video.objects, t.objects...)
		}
	}
	if video.delivers() {
		slices.SortStableFunc(video.objects, func(a, b object) int { return a.at.Compare(b.at) })
		return video
	}
	if audio := j.tracks["a"]; audio != nil && audio.delivers() {
		return audio
	}
	return video
}

func (t *track) delivers() bool {
	return slices.ContainsFunc(t.objects, func(o object) bool { return o.delivered })
}

// averageBitrate is Σ(br·d)/Σd over what was delivered, in bit/s; 0 if the player named no bitrate.
func (t *track) averageBitrate() float64 {
	bits, seconds := 0.0, 0.0
	for _, o := range t.objects {
		if o.delivered && o.bitrate > 0 {
			bits += o.bitrate * o.duration
			seconds += o.duration
		}
	}
	if seconds == 0 {
		return 0
	}
	return bits / seconds
}

// averageThroughput is the mean of what the player measured, in bit/s. Players that begin with an
// estimate have measured nothing until they say something else.
func (t *track) averageThroughput(quirks quirk.Quirks) float64 {
	sum, n := 0.0, 0
	first, guessing := quirks.Has(cmcd.KeyMTP, quirk.IgnoreFirst)
	guess := first.Value * 1e3
	for _, o := range t.objects {
		if o.measured == 0 {
			continue
		}
		if guessing {
			if guess == 0 {
				guess = o.measured
			}
			if o.measured == guess {
				continue
			}
		}
		guessing = false
		sum += o.measured
		n++
	}
	if n == 0 {
		return 0
	}
	return sum / float64(n)
}

// playedTime is the media delivered less what was still in the buffer when the player last told
// its length, in seconds. A seek throws the buffer away, so each stretch between seeks is counted
// for itself, and none can have played faster than the clock.
func (j *join) playedTime(media *track) float64 {
	if !media.delivers() {
		return j.timePlaying()
	}
	total := 0.0
	for first := 0; first < len(media.objects); {
		next := first + 1
		for next < len(media.objects) && !media.objects[next].jump {
			next++
		}
		total += j.stretchPlayed(media.objects[first:next], first == 0, next == len(media.objects))
		first = next
	}
	return total
}

// stretchPlayed is the time played in a stretch without seeks. Buffer lengths are of the time of
// the request, so only what had been delivered by then is set against the last of them.
func (j *join) stretchPlayed(objects []object, isFirst, isLast bool) float64 {
	var known []int
	rate := 1.0
	for i, o := range objects {
		rate = max(rate, o.rate)
		if o.hasBuffer {
			known = append(known, i)
		}
	}
	begin := objects[0].at
	if len(known) == 0 {
		played := 0.0
		until := objects[len(objects)-1].end
		for _, o := range objects {
			if o.delivered {
				played += o.duration
			}
		}
		if isLast {
			until = later(until, j.end)
		}
		return within(played, until.Sub(begin).Seconds()*rate)
	}
	last := objects[known[len(known)-1]]
	start := object{at: begin.Add(-time.Nanosecond)}
	if !isFirst {
		start = objects[known[0]]
	}
	played := start.buffer - last.buffer
	for _, o := range objects {
		if o.delivered && o.end.After(start.at) && !o.end.After(last.at) {
			played += o.duration
		}
	}
	return within(played, last.at.Sub(begin).Seconds()*rate)
}

func within(v, most float64) float64 { return max(0, min(v, most)) }

// timePlaying is the time that the player said it was playing, up to its last report: all there is
// when the media itself came from somewhere else.
func (j *join) timePlaying() float64 {
	total := 0.0
	var since time.Time
	for i := range j.reports {
		state := j.stateChange(i)
		if state == "" {
			continue
		}
		if !since.IsZero() {
			total += j.times[i].Sub(since).Seconds()
		}
		since = time.Time{}
		if state == "p" {
			since = j.times[i]
		}
	}
	if !since.IsZero() { // what came later told of no change
		total += j.times[len(j.times)-1].Sub(since).Seconds()
	}
	return total
}
