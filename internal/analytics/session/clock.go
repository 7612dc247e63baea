package session

import (
	"slices"
	"time"

	"github.com/weir-stream/weir/cmcd"
)

// apart is by how much the offset of a report may differ from the usual one of its session: what took
// longer on its way is not of this clock. century is by how much a clock may be wrong at all; one that
// was never set begins with 1970.
const (
	apart   = 24 * time.Hour
	century = 100 * 365 * 24 * time.Hour
)

// playerClock is the time that a report tells, by the player's clock; false if it tells none, or one
// that no clock shows.
func playerClock(v *cmcd.Values, received time.Time) (time.Time, bool) {
	ms, ok := v.Number(cmcd.KeyTS)
	if !ok || ms <= 0 || ms > float64(received.Add(century).UnixMilli()) {
		return time.Time{}, false
	}
	at := time.UnixMilli(int64(ms))
	return at, received.Sub(at) <= century
}

// offset is what to add to the player's clock to have the server's, if that is known.
type offset struct {
	by    time.Duration // the smallest that is believed
	usual time.Duration // the median
	known bool
}

// offsetOf is the offset that the differences between receipt and player's clock tell. A player may tell
// a wild time now and then, as before it has set its clock, so those that are far from the median are of
// no clock. Of two, the one that is nearer to the server's time is right.
func offsetOf(differences []time.Duration) offset {
	if len(differences) == 0 {
		return offset{}
	}
	sorted := slices.Sorted(slices.Values(differences))
	a, b := sorted[(len(sorted)-1)/2], sorted[len(sorted)/2]
	if b.Abs() < a.Abs() {
		a = b
	}
	o := offset{by: a, usual: a, known: true}
	for _, d := range sorted {
		o.atMost(d)
	}
	return o
}

// believes reports whether a difference between receipt and player's clock can be of this clock.
func (o *offset) believes(d time.Duration) bool {
	return o.known && d.Abs() <= century && (d-o.usual).Abs() <= apart
}

// atMost notes that the offset is not more than d: nothing is received before it is sent.
func (o *offset) atMost(d time.Duration) {
	if o.believes(d) {
		o.by = min(o.by, d)
	}
}
