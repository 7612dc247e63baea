package session

import (
	"slices"
	"time"

	"github.com/weir-stream/weir/cmcd"
)

// playStart is when the first frame was shown.
type playStart struct {
	at        time.Time
	known     bool
	estimated bool
}

// maxStartDelay is the longest media start delay that is believed, in milliseconds.
const maxStartDelay = 10 * 60 * 1000

// playStart finds out when playing began: from the player's state reports if it sends any, else
// from its media start delay, else by going back from the buffer lengths.
func (j *join) playStart(player, format string) playStart {
	for i := range j.reports {
		if j.reports[i].StateChange() == "p" {
			return playStart{at: j.times[i], known: true}
		}
	}
	if at, ok := j.startDelay(player, format); ok {
		return playStart{at: at, known: true}
	}
	if at, ok := j.estimateStart(); ok {
		return playStart{at: at, known: true, estimated: true}
	}
	return playStart{}
}

// startDelay takes the key msd. dash.js sends in it the time to its next report, a few
// milliseconds, so it is not believed of dash.js, nor of a DASH player that could be it.
func (j *join) startDelay(player, format string) (time.Time, bool) {
	if is(player, dashJS) || !is(player, shaka) && format == "dash" {
		return time.Time{}, false
	}
	for i := range j.requests {
		if ms, ok := j.requests[i].CMCD.Number(cmcd.KeyMSD); ok && ms > 0 && ms < maxStartDelay {
			return j.start.Add(time.Duration(ms * float64(time.Millisecond))), true
		}
	}
	for i := range j.reports {
		if ms, ok := j.reports[i].CMCD.Number(cmcd.KeyMSD); ok && ms > 0 && ms < maxStartDelay {
			return j.start.Add(time.Duration(ms * float64(time.Millisecond))), true
		}
	}
	return time.Time{}, false
}

// looks is how many buffer lengths the estimate of the start is taken from.
const looks = 8

// agreement is how close two looks must come, in time, to bear each other out.
const agreement = 500 * time.Millisecond

// estimateStart goes back from each of the first buffer lengths by the media that had been played
// at that time: delivered less buffered. A rebuffer among them makes all later ones too late, and a
// buffer length that was told before the newest segment had been appended makes one too early; so
// the earliest that another bears out is taken.
func (j *join) estimateStart() (time.Time, bool) {
	media := j.primary()
	var starts []time.Time
	var earliest time.Time // nothing is shown before the first object has come
	for _, o := range media.objects {
		if o.delivered && (earliest.IsZero() || o.end.Before(earliest)) {
			earliest = o.end
		}
	}
	if earliest.IsZero() {
		return time.Time{}, false
	}
	for _, o := range media.objects {
		if o.jump || o.starved && len(starts) > 0 || len(starts) == looks {
			break
		}
		if !o.hasBuffer || o.rate == 0 {
			continue
		}
		consumed := -o.buffer
		for _, d := range media.objects {
			if d.delivered && !d.end.After(o.at) {
				consumed += d.duration
			}
		}
		if consumed > tolerance {
			starts = append(starts, o.at.Add(-seconds(consumed/o.rate)))
		}
	}
	if len(starts) == 0 {
		return time.Time{}, false
	}
	slices.SortFunc(starts, time.Time.Compare)
	for i := range starts[1:] {
		if starts[i+1].Sub(starts[i]) <= agreement {
			return later(earliest, starts[i]), true
		}
	}
	return later(earliest, starts[0]), true
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
