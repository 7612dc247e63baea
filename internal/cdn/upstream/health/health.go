// Package health is what an edge knows of an origin: whether it may be asked, by what requests to it have
// taught (passive) and by what checks have said (active). It decides; who asks and who checks is package
// upstream.
package health

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// ProbeGap is the least time between two tries of an origin that is out.
const ProbeGap = time.Second

const (
	// windowSeconds is what the ratio of failures is taken over.
	windowSeconds = 10
	// probeLimit is the time after which a try that has not ended no longer holds up the next.
	probeLimit = 10 * time.Second
	// calmFactor times its last back-off is how long an origin must have been in use for its next back-off
	// to be a short one again.
	calmFactor = 2
)

// Standing is what may be asked of an origin.
type Standing int32

// Where an origin can stand.
const (
	Up   Standing = iota
	Down          // by active checks: behind all others
	Out           // by requests: only to be tried
)

// State is what is known of an origin. It is safe for concurrent use; the zero value is that of an origin
// that nobody has asked.
type State struct {
	current atomic.Int32 // standing, for those who only look

	mu sync.Mutex
	// passive
	failures int // in a row
	window   [windowSeconds]struct {
		second     int64
		total, bad int
	}
	out       bool
	until     time.Time     // out: when it is tried next
	backoff   time.Duration // the last one
	probing   bool
	probed    time.Time // the last try's start
	revived   time.Time
	lastError string
	// active
	down    bool
	good    int // checks in a row
	bad     int
	checked time.Time

	since  time.Time // of the last change
	reason string    // of the last change
}

// Standing returns what may be asked of the origin.
func (s *State) Standing() Standing { return Standing(s.current.Load()) }

// settle is called with mu held after every change of out and down.
func (s *State) settle(now time.Time, reason string) {
	standing := Up
	switch {
	case s.out:
		standing = Out
	case s.down:
		standing = Down
	}
	s.since, s.reason = now, reason
	s.current.Store(int32(standing))
}

// Probe claims the next try of an origin that is out. When all are out, desperate, its back-off does not
// count, but two tries are still a second apart.
func (s *State) Probe(now time.Time, desperate bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	since := now.Sub(s.probed)
	if !s.out || since < ProbeGap || s.probing && since < probeLimit || !desperate && now.Before(s.until) {
		return false
	}
	s.probing, s.probed = true, now
	return true
}

// Unclaim gives a try back that was not made, or that says nothing.
func (s *State) Unclaim() {
	s.mu.Lock()
	s.probing = false
	s.mu.Unlock()
}

// RetryIn is how long it is until the origin may be tried.
func (s *State) RetryIn(now time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return max(0, s.probed.Add(ProbeGap).Sub(now))
}

// Answered notes an answer that is no failure; true: it has brought the origin back.
func (s *State) Answered(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count(now, false)
	s.failures, s.probing = 0, false
	if !s.out {
		return false
	}
	s.revive(now)
	return true
}

// revive is called with mu held.
func (s *State) revive(now time.Time) {
	s.out, s.probing, s.failures, s.revived = false, false, 0, now
	clear(s.window[:]) // what was bad before does not count against it
	s.settle(now, "")
}

// Failed notes a failure; true: it has put the origin out. why is for people.
func (s *State) Failed(now time.Time, c *Passive, why string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count(now, true)
	s.failures++
	s.lastError = why
	if s.out {
		// Also one that began before the origin was out counts: it tells no less.
		if s.probing {
			s.eject(now, c, why)
		}
		return false
	}
	if s.failures < c.Failures {
		return false
	}
	s.eject(now, c, why)
	return true
}

// Erred notes an answer with a 5xx status. It counts in the ratio only, and puts the origin out only if
// another can take its place: an error for one object is no reason to refuse all others.
func (s *State) Erred(now time.Time, c *Passive, replaceable func() bool, why string) (ejected, revived bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count(now, true)
	s.failures = 0 // it answers
	s.lastError = why
	if s.out {
		if !s.probing {
			return false, false
		}
		if replaceable() {
			s.eject(now, c, why)
			return false, false
		}
		s.revive(now)
		return false, true
	}
	if !s.mostlyBad(now, c) || !replaceable() {
		return false, false
	}
	s.eject(now, c, why)
	return true, false
}

// BrokeOff notes an answer whose body has ended too early. Its head has counted as an answer.
func (s *State) BrokeOff(now time.Time, c *Passive, replaceable func() bool, why string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count(now, true)
	s.lastError = why
	if s.out || !s.mostlyBad(now, c) || !replaceable() {
		return false
	}
	s.eject(now, c, why)
	return true
}

// eject puts the origin out, or leaves it out for longer. It is called with mu held.
func (s *State) eject(now time.Time, c *Passive, why string) {
	switch {
	case s.backoff == 0, !s.out && now.Sub(s.revived) > calmFactor*s.backoff:
		s.backoff = c.Backoff
	default:
		s.backoff = min(2*s.backoff, c.MaxBackoff)
	}
	s.out, s.probing = true, false
	s.until = now.Add(Jittered(s.backoff))
	s.settle(now, why)
}

// count is called with mu held.
func (s *State) count(now time.Time, bad bool) {
	second := now.Unix()
	slot := &s.window[second%windowSeconds]
	if slot.second != second {
		slot.second, slot.total, slot.bad = second, 0, 0
	}
	slot.total++
	if bad {
		slot.bad++
	}
}

// mostlyBad is called with mu held.
func (s *State) mostlyBad(now time.Time, c *Passive) bool {
	var total, bad int
	for i := range s.window {
		if slot := &s.window[i]; now.Unix()-slot.second < windowSeconds {
			total, bad = total+slot.total, bad+slot.bad
		}
	}
	return total >= c.MinRequests && float64(bad) >= c.Ratio*float64(total)
}

// CheckedWith notes the result of an active check, "" is a good one; true: it has changed something.
func (s *State) CheckedWith(now time.Time, c *Active, why string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.checked = now
	if why == "" {
		s.good, s.bad = s.good+1, 0
		if !s.down || s.good < c.Rise {
			return false
		}
		s.down = false
		s.settle(now, "")
		return true
	}
	s.good, s.bad, s.lastError = 0, s.bad+1, why
	if s.down || s.bad < c.Fall {
		return false
	}
	s.down = true
	s.settle(now, why)
	return true
}

// Unchecked forgets what checks have said: there are none any more.
func (s *State) Unchecked(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.good, s.bad, s.checked = 0, 0, time.Time{}
	if s.down {
		s.down = false
		s.settle(now, "")
	}
}

// Jittered returns d, or about as much: it keeps edges that have seen the same outage from coming back together: ±10 %.
func Jittered(d time.Duration) time.Duration {
	return d + time.Duration((rand.Float64()*0.2-0.1)*float64(d))
}

// Snapshot is a state at one moment, for people who look at it.
type Snapshot struct {
	Down, Out bool
	Reason    string    // of the last change
	Since     time.Time // the time of the last change; zero: there was none
	Until     time.Time // when it is tried next, if it is out
	Checked   time.Time // the last check
	LastError string
}

// Snapshot returns the state as it is now.
func (s *State) Snapshot() Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := Snapshot{Down: s.down, Out: s.out, Reason: s.reason, Since: s.since, Checked: s.checked, LastError: s.lastError}
	if s.out {
		now.Until = s.until
	}
	return now
}
