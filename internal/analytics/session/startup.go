package session

import (
	"slices"
	"time"

	"github.com/weir-stream/weir/cmcd"
	"github.com/weir-stream/weir/cmcd/quirk"
)

// playStart is when the first frame was shown.
type playStart struct {
	at        time.Time
	known     bool
	estimated bool
}

// playStart finds out when playing began: from the player's state reports if it sends any, else
// from its media start delay, else by going back from the buffer lengths.
func (j *join) playStart() playStart {
	for i := range j.reports {
		if j.reports[i].StateChange() == "p" {
			return playStart{at: j.times[i], known: true}
		}
	}
	if at, ok := j.startDelay(); ok {
		return playStart{at: at, known: true}
	}
	if at, ok := j.estimateStart(); ok {
		return playStart{at: at, known: true, estimated: true}
	}
	return playStart{}
}

// startDelay takes the key msd, where it says what it is to say: dash.js, and so a DASH player that
// could be it, sends in it the time to its next report.
func (j *join) startDelay() (time.Time, bool) {
	believed := func(v *cmcd.Values) (time.Time, bool) {
		ms, ok := v.Number(cmcd.KeyMSD)
		if !ok || ms <= 0 || quirk.Implausible(cmcd.KeyMSD, v) || j.quirks.Ignores(cmcd.KeyMSD, v) {
			return time.Time{}, false
		}
		return j.beginning().Add(time.Duration(ms * float64(time.Millisecond))), true
	}
	for i := range j.requests {
		if at, ok := believed(&j.requests[i].CMCD); ok {
			return at, true
		}
	}
	for i := range j.reports {
		if at, ok := believed(&j.reports[i].CMCD); ok {
			return at, true
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
	var came []object // what was delivered, in the order in which it came
	for _, o := range media.objects {
		if o.delivered {
			came = append(came, o)
		}
	}
	if len(came) == 0 {
		return time.Time{}, false
	}
	slices.SortStableFunc(came, func(a, b object) int { return a.end.Compare(b.end) })
	earliest := came[0].end // nothing is shown before the first object has come
	delivered := 0.0
	for _, o := range media.objects {
		if o.jump || o.starved && len(starts) > 0 || len(starts) == looks {
			break
		}
		for len(came) > 0 && !came[0].end.After(o.at) {
			delivered += came[0].duration
			came = came[1:]
		}
		if !o.hasBuffer || o.rate == 0 {
			continue
		}
		if consumed := delivered - o.buffer; consumed > tolerance {
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
