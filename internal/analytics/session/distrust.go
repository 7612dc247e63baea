package session

import (
	"github.com/weir-stream/weir/cmcd"
	"github.com/weir-stream/weir/cmcd/quirk"
	"github.com/weir-stream/weir/internal/analytics"
)

// distrusted lists the keys of the session that are not believed, each with the reason. A habit of the
// player that the session does not show is not listed.
func (j *join) distrusted() []analytics.Distrust {
	var out []analytics.Distrust
	for i := range j.quirks {
		if q := &j.quirks[i]; q.Verdict.Distrusts() && j.shows(q) {
			out = append(out, analytics.Distrust{Key: q.Key.String(), Verdict: q.Verdict.String(), Why: q.Why})
		}
	}
	return out
}

// shows reports whether the session shows a habit of its player.
func (j *join) shows(q *quirk.Quirk) bool {
	seen, possible := 0, false
	for v := range j.values {
		switch {
		case !q.In(v):
			continue
		case q.Verdict == quirk.Absent && v.Has(q.Key):
			return false
		case q.Verdict == quirk.IgnoreFirst && v.Has(q.Key):
			return q.Shows(v)
		}
		possible = true
		if q.Verdict == quirk.Absent || !q.Shows(v) {
			continue
		}
		seen++
		if q.Verdict != quirk.IgnoreRepeats || seen > 1 {
			return true
		}
	}
	return possible && q.Verdict == quirk.Absent
}

// values are what the player said: with its requests, and in its reports.
func (j *join) values(yield func(*cmcd.Values) bool) {
	for i := range j.requests {
		if !yield(&j.requests[i].CMCD) {
			return
		}
	}
	for i := range j.reports {
		if !yield(&j.reports[i].CMCD) {
			return
		}
	}
}
