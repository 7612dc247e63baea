package collector

// sequence follows the sequence numbers (sn) of one session on one path. Bodies overtake each other,
// so a number that was passed over is missing only until it comes.
type sequence struct {
	target  targetKey
	highest uint64
	// seen has the numbers below highest: bit 0 is highest-1.
	seen [window / 64]uint64
	// first is the number that came first. Whether those below it were lost cannot be known: another
	// edge may have them, or this process before a restart.
	first uint64
}

// window is how far back a number is known to have come or not.
const window = 256

// maxJump is the greatest gap that is believed to be lost records.
const maxJump = 1 << 16

// add takes note of a number, and returns how many it shows to be missing, and whether it is one
// that was missing so far.
func (s *sequence) add(n uint64) (missing uint64, late bool) {
	switch {
	case n > s.highest:
		step := n - s.highest
		if step > maxJump {
			*s = sequence{target: s.target, highest: n, first: n}
			return 0, false
		}
		s.shift(step)
		s.highest = n
		return step - 1, false
	case n == s.highest, s.highest-n > window, n < s.first:
		return 0, false
	}
	i := s.highest - n - 1
	if s.seen[i/64]&(1<<(i%64)) != 0 {
		return 0, false
	}
	s.seen[i/64] |= 1 << (i % 64)
	return 0, true
}

// shift moves the window up by step, and notes the number that was the highest.
func (s *sequence) shift(step uint64) {
	words, rest := int(min(step/64, uint64(len(s.seen)))), step%64
	for i := len(s.seen) - 1; i >= 0; i-- {
		var w uint64
		if from := i - words; from >= 0 {
			w = s.seen[from] << rest
			if rest > 0 && from > 0 {
				w |= s.seen[from-1] >> (64 - rest)
			}
		}
		s.seen[i] = w
	}
	if step <= window {
		s.seen[(step-1)/64] |= 1 << ((step - 1) % 64)
	}
}
