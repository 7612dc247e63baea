package collector

import (
	"crypto/sha256"
	"encoding/binary"
	"time"
)

// place is where a session stands on the scale from 0 to 1 of those to be kept: with a fraction f of
// the sessions, those below f are. It is a function of the name alone, the first 53 bits of its SHA-256,
// so that all edges of a fleet keep the same sessions, and fewer of the same when they keep fewer.
func place(session string) float64 {
	sum := sha256.Sum256([]byte(session))
	return float64(binary.BigEndian.Uint64(sum[:8])>>11) / (1 << 53)
}

// recovery is how long it takes to go from keeping nothing to keeping all. Without it, sessions at
// the edge of the fraction would come and go with every batch that the bus hands on, and would be whole
// as little as those that are left out.
const recovery = 2 * time.Minute

// shedding follows the load of the bus: up at once, and down slowly.
type shedding struct {
	threshold float64 // up to this load all sessions are kept
	level     float64
	at        time.Time
}

// kept returns the fraction of the sessions to keep: 1 up to the threshold, and 0 when the bus is full.
func (s *shedding) kept(load float64, now time.Time) float64 {
	passed := now.Sub(s.at).Seconds() / recovery.Seconds() * (1 - s.threshold)
	if s.at.IsZero() || passed < 0 {
		passed = 0
	}
	s.level, s.at = max(load, s.level-passed), now
	if s.level <= s.threshold {
		return 1
	}
	return max(0, (1-s.level)/(1-s.threshold))
}
