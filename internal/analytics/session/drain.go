package session

import (
	"slices"
	"time"
)

// tolerance is the buffer length, in seconds, below which a buffer counts as dry: CMCD rounds
// buffer lengths to 0.1 s, and players stop a little before the end.
const tolerance = 0.3

// seekSilence is how long after a jump a low buffer belongs to the seek.
const seekSilence = 1500 * time.Millisecond

// flush is how much more than its newest object a buffer must lose at once, in seconds, to have been
// thrown away.
const flush = 1.0

// dry is a time in which a track's buffer is predicted to have been empty.
type dry struct {
	low, zero time.Time // when the buffer fell below the tolerance, and when it reached nothing
	end       time.Time // when media came again
	open      bool      // none has come
	afterJump bool
	waiting   bool // a request was on its way during all of it
	agreed    bool // the buffer length that the player told next fits
}

func (d dry) length() float64 { return max(0, d.end.Sub(d.zero).Seconds()) }

// bufferEvent is something that changes what is known of a buffer.
type bufferEvent struct {
	at        time.Time
	object    *object
	delivered bool // the object has come; else it is asked for
}

// drain predicts a track's buffer by the clock of the server that delivered it: it begins with the
// buffer length that the player told, goes up by each object that has come, and down with time. It
// returns the times in which it was dry, in order. This is what tells a rebuffer from a seek: a
// player that seeks says that it was starved while its buffer was full.
func (t *track) drain(playStart, end time.Time) []dry {
	var events []bufferEvent
	for i := range t.objects {
		o := &t.objects[i]
		events = append(events, bufferEvent{at: o.at, object: o})
		if o.delivered {
			events = append(events, bufferEvent{at: o.end, object: o, delivered: true})
		}
	}
	slices.SortStableFunc(events, func(a, b bufferEvent) int { return a.at.Compare(b.at) })

	m := level{at: playStart, rate: 1, playStart: playStart}
	for _, e := range events {
		m.advance(e.at)
		if e.delivered {
			m.refill(e)
		} else {
			m.ask(e)
		}
	}
	m.advance(end)
	if m.current != nil && end.After(m.current.low) {
		m.current.end, m.current.open = end, true
		m.closeDry()
	}
	for i := range m.found {
		m.found[i].waiting = t.waits(m.found[i])
	}
	return m.found
}

// level is the state of the prediction.
type level struct {
	at        time.Time
	playStart time.Time
	seconds   float64
	known     bool
	newest    float64 // duration of the object that came last
	rate      float64
	jumped    time.Time
	current   *dry
	found     []dry
	unchecked int     // the index of a found dry time whose next buffer length is awaited, plus 1
	since     float64 // media that has come since that dry time ended
}

// advance lets the buffer play down until t.
func (m *level) advance(t time.Time) {
	from := later(m.at, m.playStart)
	m.at = later(m.at, t)
	elapsed := t.Sub(from).Seconds()
	if !m.known || elapsed <= 0 || m.rate == 0 {
		return
	}
	before := m.seconds
	m.seconds -= elapsed * m.rate
	if m.seconds <= tolerance && m.current == nil {
		m.current = &dry{low: from.Add(seconds(max(0, before-tolerance) / m.rate))}
		m.current.afterJump = !m.jumped.IsZero() && m.current.low.Sub(m.jumped) < seekSilence
	}
	if m.seconds <= 0 {
		if m.current.zero.IsZero() {
			m.current.zero = from.Add(seconds(max(0, before) / m.rate))
		}
		m.seconds = 0
	}
}

func (m *level) refill(e bufferEvent) {
	m.seconds += e.object.duration
	m.newest = e.object.duration
	m.since += e.object.duration
	if m.current != nil && m.seconds > tolerance {
		m.current.end = e.at
		m.closeDry()
		m.unchecked, m.since = len(m.found), e.object.duration
	}
}

func (m *level) ask(e bufferEvent) {
	o := e.object
	m.rate = o.rate
	if o.jump {
		// The seek ends what went on before; a buffer length told with it is of the new place.
		if m.current != nil {
			m.current.end = e.at
			m.closeDry()
		}
		m.jumped, m.unchecked = e.at, 0
		m.known = o.hasBuffer
		m.seconds = o.buffer
		return
	}
	if !o.hasBuffer {
		return
	}
	if m.unchecked > 0 {
		m.found[m.unchecked-1].agreed = o.buffer <= m.since+tolerance
		m.unchecked = 0
	}
	if m.current != nil && o.buffer > tolerance {
		m.current = nil // the player knows better: it was paused, or records are missing
	}
	if m.known && o.buffer <= tolerance && m.seconds > m.newest+flush {
		m.jumped = e.at // no time passed in which it could have been played: it was thrown away
	}
	m.seconds, m.known = o.buffer, true
}

func (m *level) closeDry() {
	if m.current.zero.IsZero() {
		m.current.zero = m.current.low
	}
	m.found = append(m.found, *m.current)
	m.current = nil
}

// waits says that the player was waiting for an object all through d: it had asked for it before
// the buffer was empty, and it came at the end.
func (t *track) waits(d dry) bool {
	return slices.ContainsFunc(t.objects, func(o object) bool {
		return o.delivered && !o.at.After(d.zero) && !o.end.Before(d.end)
	})
}
