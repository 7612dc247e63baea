package session

import (
	"math"
	"slices"
	"time"

	"github.com/weir-stream/weir/cmcd"
)

// settled is how long after a record the ones before it are waited for, before they are missing: a
// request has a row when it has been answered, and a report that was refused comes again.
const settled = 30 * time.Second

// maxGap is the greatest number of records that are believed to be missing in a row. A number beyond
// it is not one of a count.
const maxGap = 10_000

// numbered is a record that the player numbered.
type numbered struct {
	number int64
	at     time.Time
}

func numberOf(v *cmcd.Values, at time.Time) (numbered, bool) {
	n, ok := v.Number(cmcd.KeySN)
	return numbered{int64(n), at}, ok && n >= 0 && n == math.Trunc(n)
}

// missing counts the gaps in the numbers that the player gave its records, for each target of its
// reports and for its requests apart: the reports that are not here, and the requests of which there
// is no row; nil where nothing is numbered. Numbers begin with 0 in every new session (CTA-5004-B, sn). Where the first that is here
// is greater, the ones before may be older than these records, or have gone to another server
// together with all else; so they are missing only if the session's beginning is here: any record
// with the number 0. A player that counts from 1 shows none.
func (j *join) missing(now time.Time) (reports, requests *int) {
	began := false
	note := func(n numbered) { began = began || n.number == 0 }
	var asked []numbered
	for i := range j.requests {
		if n, ok := numberOf(&j.requests[i].CMCD, j.requests[i].Time); ok {
			asked = append(asked, n)
			note(n)
		}
	}
	targets := map[string][]numbered{}
	for i := range j.reports {
		r := &j.reports[i]
		if n, ok := numberOf(&r.CMCD, r.Time); ok && r.CMCD.Has(cmcd.KeyE) {
			targets[r.Path] = append(targets[r.Path], n)
			note(n)
		}
	}
	if len(targets) > 0 {
		lost := 0
		for _, list := range targets {
			lost += gaps(list, began, now)
		}
		reports = &lost
	}
	if len(asked) > 0 {
		unseen := gaps(asked, began, now)
		requests = &unseen
	}
	return reports, requests
}

// gaps counts the numbers that are missing before those of the list that are settled. A player that
// begins again with 0 in the same session hides gaps, it makes none.
func gaps(list []numbered, began bool, now time.Time) int {
	var top int64 = -1
	for _, n := range list {
		if now.Sub(n.at) >= settled {
			top = max(top, n.number)
		}
	}
	slices.SortFunc(list, func(a, b numbered) int { return int(min(1, max(-1, a.number-b.number))) })
	missing := 0
	before := int64(-1)
	if !began && len(list) > 0 {
		before = list[0].number
	}
	for _, n := range list {
		if n.number > top {
			break
		}
		if gap := n.number - before - 1; gap > 0 && gap <= maxGap {
			missing += int(gap)
		}
		before = n.number
	}
	return missing
}
