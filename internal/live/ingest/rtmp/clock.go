package rtmp

import "github.com/weir-stream/weir/internal/media"

const (
	// disorder bounds, in milliseconds, how far a timestamp is from its track's last one by disorder.
	// One further behind shows that the publisher's clock has begun anew.
	disorder = 1000
	// gridTolerance is how far, in milliseconds, an audio timestamp may be off the grid of whole frames before the grid
	// moves to it. RTMP's milliseconds are off by up to one; some encoders' by a video frame.
	gridTolerance = 30
)

// repair says what was wrong with a timestamp.
type repair string

const (
	repairNone    repair = ""
	repairStep    repair = "step"
	repairRestart repair = "restart"
)

// clock makes one time line of the timestamps of a publication. It is shared by all its tracks, so that
// they stay in step when the 32 bits wrap and when the publisher's clock restarts.
type clock struct {
	started          bool
	raw              int64 // the last timestamp, with the wraps
	offset, previous int64 // what is added to raw; and what was before the last restart
}

// position is where a track is on the time line, in milliseconds.
type position struct {
	started bool
	last    int64
}

// at returns the time of a timestamp of the track that is at p, in milliseconds. It is never before p.
func (c *clock) at(p *position, timestamp uint32) (int64, repair) {
	if !c.started {
		c.started, c.raw = true, int64(timestamp)
	}
	// The difference as a signed number is right across a wrap in either direction.
	c.raw += int64(int32(timestamp - uint32(c.raw)))
	now := c.raw + c.offset
	if !p.started {
		p.started, p.last = true, now
		return now, repairNone
	}
	done := repairNone
	if ahead := now - p.last; ahead < -disorder || ahead > disorder {
		switch old := c.raw + c.previous; {
		case c.previous != c.offset && old-p.last >= -disorder && old-p.last <= disorder:
			now = old // of before the restart that another track has shown
		case ahead < 0:
			c.previous = c.offset
			c.offset -= ahead
			now, done = p.last, repairRestart
		}
	}
	if now < p.last {
		now = p.last
		if done == repairNone {
			done = repairStep
		}
	}
	p.last = now
	return now, done
}

// videoTime places video on the 90 kHz time line.
type videoTime struct {
	position position
	next     int64 // the least DTS that may come
}

// at returns the DTS of a timestamp. It is greater than all before it.
func (v *videoTime) at(c *clock, timestamp uint32) (int64, repair) {
	began := v.position.started
	ms, done := c.at(&v.position, timestamp)
	dts := ms * (media.VideoTimescale / 1000)
	if began && dts < v.next {
		dts = v.next
	}
	v.next = dts + 1
	return dts, done
}

// audioTime places audio frames on a grid of whole frames in ticks of the sample rate, so that durations
// are exact and rounding to milliseconds does not add up.
type audioTime struct {
	rate, frame int64 // samples per second, and per frame
	position    position
	onGrid      bool
	next        int64 // where the next frame is if none is lost
	last        int64
}

// at returns the DTS of a timestamp. It is greater than all before it.
func (a *audioTime) at(c *clock, timestamp uint32) (int64, repair) {
	ms, done := c.at(&a.position, timestamp)
	dts := roundDiv(ms*a.rate, 1000)
	switch off := dts - a.next; {
	case !a.onGrid:
		a.onGrid = true
	case off*1000 <= gridTolerance*a.rate && -off*1000 <= gridTolerance*a.rate:
		dts = a.next
	case dts <= a.last:
		dts = a.last + 1
	}
	a.last, a.next = dts, dts+a.frame
	return dts, done
}

// configure sets the rate and the frame size of what follows.
func (a *audioTime) configure(rate, frame int64) {
	if rate != a.rate || frame != a.frame {
		a.rate, a.frame, a.onGrid = rate, frame, false
	}
}

// roundDiv divides by a positive number to the nearest integer.
func roundDiv(n, by int64) int64 {
	if n < 0 {
		return -((-n + by/2) / by)
	}
	return (n + by/2) / by
}
