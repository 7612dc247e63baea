package session

import (
	"maps"
	"slices"
	"time"

	"github.com/weir-stream/weir/cmcd"
	"github.com/weir-stream/weir/cmcd/quirk"
	"github.com/weir-stream/weir/internal/analytics"
	"github.com/weir-stream/weir/internal/telemetry"
)

// The rules that find rebuffers, the strongest first.
const (
	byState  = "sta"   // the player said that it was rebuffering
	byLength = "bsd"   // the player told how long it was starved
	byFlag   = "bs"    // the player said it was starved, and the predicted buffer was dry
	byDrain  = "drain" // the predicted buffer was dry, the player waited, and says nothing itself
)

// stall is a rebuffer in the making.
type stall struct {
	begin, end time.Time
	length     float64 // seconds; less than from begin to end where two have been merged
	rule       string
}

// minDrain is the shortest rebuffer that is found by the predicted buffer alone, in seconds.
const minDrain = 0.5

// rebuffers finds the times at which the picture stood still, without start and seeks. State
// events tell all of it, and where a player sends them nothing else is asked; else the weaker
// signs are put together.
func (j *join) rebuffers(start playStart) []analytics.Rebuffer {
	var stalls []stall
	if j.reportsStates() {
		stalls = j.stallsByState()
	} else if start.known {
		// dash.js counts the wait for its first picture as starvation, and tells it with the first
		// requests after; until a player has told of media in its buffer, it is starting.
		began := later(start.at, j.firstFilled())
		dries := j.dryTimes(began)
		stalls = append(stalls, j.stallsByLength(began)...)
		stalls = append(stalls, j.stallsBySamples(began, dries)...)
		flagged := j.stallsByFlag(began, dries)
		stalls = append(stalls, flagged...)
		if _, silent := j.quirks.Has(cmcd.KeyBS, quirk.Absent); silent && len(stalls) == 0 && !j.flags() {
			stalls = stallsByDrain(dries)
		}
	}
	out := []analytics.Rebuffer{}
	for _, s := range merge(stalls, j.segmentDuration()) {
		out = append(out, analytics.Rebuffer{Time: s.begin.UTC(), Duration: s.length, Evidence: s.rule})
	}
	return out
}

// firstFilled is the time of the first request with which the player told of media in its buffer,
// zero if it never did.
func (j *join) firstFilled() time.Time {
	for _, o := range j.primary().objects {
		if o.hasBuffer && o.buffer > 0 {
			return o.at
		}
	}
	return time.Time{}
}

// reportsStates says that the player reports each change of its state.
func (j *join) reportsStates() bool {
	return slices.ContainsFunc(j.reports, func(r telemetry.Report) bool { return r.StateChange() == "p" })
}

// stateChange is the state that report i tells that the player has taken on, "" if it tells none that
// means anything.
func (j *join) stateChange(i int) string {
	state := j.reports[i].StateChange()
	if state != "" && j.quirks.Ignores(cmcd.KeySTA, &j.reports[i].CMCD) {
		return ""
	}
	return state
}

// flags says that the player ever said it was starved.
func (j *join) flags() bool {
	return slices.ContainsFunc(j.requests, func(r telemetry.Request) bool { return r.CMCD.Bool(cmcd.KeyBS) })
}

// stallsByState follows the player's states. Rebuffering before the first play is the start, and
// after a seek belongs to the seek until the player plays again.
func (j *join) stallsByState() []stall {
	var out []stall
	var since time.Time
	started, seeking := false, false
	end := func(at time.Time) {
		if !since.IsZero() {
			out = append(out, stall{since, at, at.Sub(since).Seconds(), byState})
			since = time.Time{}
		}
	}
	for i := range j.reports {
		at := j.times[i]
		switch j.stateChange(i) {
		case "p":
			end(at)
			started, seeking = true, false
		case "r":
			if started && !seeking && since.IsZero() {
				since = at
			}
		case "k":
			end(at)
			seeking = true
		case "s", "d":
			end(at)
			started = false
		case "a", "e", "f", "q":
			end(at)
		}
	}
	end(later(j.end, since))
	return out
}

// stallsByLength takes the lengths of completed starvations (bsd). Players send each once with a
// request and once to every target of their reports, so one of these tells all: the requests if
// they tell any, as they follow a starvation soonest, else the target that was told of most.
func (j *join) stallsByLength(playStart time.Time) []stall {
	add := func(to []stall, at time.Time, v *cmcd.Values) []stall {
		for _, item := range v.List(cmcd.KeyBSD) {
			s := stall{begin: at.Add(-seconds(item.Number / 1e3)), end: at, length: item.Number / 1e3, rule: byLength}
			if item.Number > 0 && s.begin.After(playStart) && !j.jumpedIn(s.begin, at) {
				to = append(to, s)
			}
		}
		return to
	}
	var out []stall
	told := false
	for i := range j.requests {
		told = told || j.requests[i].CMCD.Has(cmcd.KeyBSD)
		out = add(out, j.requests[i].Time, &j.requests[i].CMCD)
	}
	if told {
		return out
	}
	targets := map[string][]stall{}
	for i := range j.reports {
		r := &j.reports[i]
		targets[r.Path] = add(targets[r.Path], j.times[i], &r.CMCD)
	}
	for _, path := range slices.Sorted(maps.Keys(targets)) {
		if len(targets[path]) > len(out) {
			out = targets[path]
		}
	}
	return out
}

// jumpedIn says that the viewer sought between from (or a little earlier) and to.
func (j *join) jumpedIn(from, to time.Time) bool {
	for _, t := range j.tracks {
		for _, o := range t.objects {
			if o.jump && !o.at.After(to) && o.at.After(from.Add(-seekSilence)) {
				return true
			}
		}
	}
	return false
}

// stallsBySamples takes the states that come with requests. They are looks at the player from time
// to time, so the predicted buffer says how long it was; where it knows nothing, the next look.
func (j *join) stallsBySamples(playStart time.Time, dries []dry) []stall {
	var out []stall
	started, seeking := false, false
	for i := range j.requests {
		at := j.requests[i].Time
		switch j.requests[i].CMCD.Text(cmcd.KeySTA) {
		case "p":
			started, seeking = true, false
		case "k", "w":
			seeking = true
		case "s", "d":
			started = false
		case "r":
			if !started || seeking || !at.After(playStart) || j.jumpedIn(at.Add(-seekSilence), at) {
				continue
			}
			if d, ok := dryAt(dries, at.Add(-j.segmentDuration()), at); ok {
				out = append(out, stall{d.zero, d.end, d.length(), byState})
				continue
			}
			next := j.nextState(i)
			out = append(out, stall{at, next, next.Sub(at).Seconds(), byState})
		}
	}
	return out
}

// nextState is the time of the first look after request i at which the player was not rebuffering.
func (j *join) nextState(i int) time.Time {
	for _, r := range j.requests[i+1:] {
		if state := r.CMCD.Text(cmcd.KeySTA); state != "" && state != "r" {
			return r.Time
		}
	}
	return j.end
}

// stallsByFlag takes the requests that say the buffer was starved, and keeps those for which the
// predicted buffer of a track was dry since the player's request before. The flag speaks of the
// time before the request that carries it. Audio has a flag of its own with some players; init
// segments carry that of the video.
func (j *join) stallsByFlag(playStart time.Time, dries []dry) []stall {
	var out []stall
	before, filled := map[bool]time.Time{}, map[bool]bool{}
	for i := range j.requests {
		r := &j.requests[i]
		kind := r.CMCD.Text(cmcd.KeyOT)
		since, starting := before[kind == "a"], !filled[kind == "a"]
		if kind != "m" {
			before[kind == "a"] = r.Time
		}
		// The first request that tells of media in the buffer still speaks of the wait for it.
		if length, ok := r.CMCD.Number(cmcd.KeyBL); !ok || length > 0 {
			filled[kind == "a"] = filled[kind == "a"] || kind != "m"
		}
		if !r.CMCD.Bool(cmcd.KeyBS) || starting || !r.Time.After(playStart) {
			continue
		}
		d, ok := dryAt(dries, since, r.Time)
		// While the first segments come in, the prediction is off by as much as CMCD rounds.
		if ok && (d.length() >= rounding || d.zero.After(playStart.Add(j.segmentDuration()))) {
			out = append(out, stall{d.zero, d.end, d.length(), byFlag})
		}
	}
	return out
}

// rounding is what CMCD rounds buffer lengths to, in seconds.
const rounding = 0.1

// dryAt finds the first dry time that lies in part between from and to and is not of a seek.
func dryAt(dries []dry, from, to time.Time) (dry, bool) {
	for _, d := range dries {
		if !d.afterJump && !d.low.After(to) && !d.end.Before(from) {
			return d, true
		}
	}
	return dry{}, false
}

// stallsByDrain takes the dry times that are solid by themselves: long enough, with a request on
// its way all the time, and borne out by the buffer length that the player told next.
func stallsByDrain(dries []dry) []stall {
	var out []stall
	for _, d := range dries {
		if !d.afterJump && !d.open && d.waiting && d.agreed && d.length() >= minDrain {
			out = append(out, stall{d.zero, d.end, d.length(), byDrain})
		}
	}
	return out
}

// dryTimes are those of all tracks, in order.
func (j *join) dryTimes(playStart time.Time) []dry {
	var out []dry
	for _, kind := range []string{"v", "av", "a"} {
		if t := j.tracks[kind]; t != nil {
			out = append(out, t.drain(playStart, j.end)...)
		}
	}
	for i := range out {
		d := &out[i]
		d.afterJump = d.afterJump || j.jumpedIn(d.low, d.low.Add(burst))
	}
	slices.SortStableFunc(out, func(a, b dry) int { return a.low.Compare(b.low) })
	return out
}

// burst is the time within which a player that seeks asks for the objects of all its tracks.
const burst = 250 * time.Millisecond

// segmentDuration is the longest duration of the session's objects: within it, starvation of audio
// and video is one rebuffer.
func (j *join) segmentDuration() time.Duration {
	longest := 0.0
	for _, t := range j.tracks {
		for _, o := range t.objects {
			longest = max(longest, o.duration)
		}
	}
	return seconds(longest)
}

func strength(rule string) int {
	return slices.Index([]string{byDrain, byFlag, byState, byLength}, rule)
}

// merge makes one rebuffer of those that lie within gap of each other: players tell one for audio
// and one for video. Where they were found by different rules, the stronger one's times stand.
func merge(stalls []stall, gap time.Duration) []stall {
	slices.SortStableFunc(stalls, func(a, b stall) int { return a.begin.Compare(b.begin) })
	var out []stall
	for _, s := range stalls {
		if len(out) == 0 || s.begin.Sub(out[len(out)-1].end) > gap || s.rule == byState && out[len(out)-1].rule == byState && s.begin.After(out[len(out)-1].end) {
			out = append(out, s)
			continue
		}
		last := &out[len(out)-1]
		switch a, b := strength(last.rule), strength(s.rule); {
		case a < b:
			*last = s
		case a == b && s.end.After(last.end):
			if s.begin.After(last.end) {
				last.length += s.length
			} else {
				last.length += s.end.Sub(last.end).Seconds()
			}
			last.end = s.end
		}
	}
	return out
}
