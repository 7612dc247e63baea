package collector

import "time"

// maxSilenced is how many sessions can be silenced at a time.
const maxSilenced = 10_000

// What made a session silent, for the metric.
const (
	byFlood = "flood" // it posted more than max_session_records in a minute
	byHand  = "hand"
)

// silences are the sessions that are to send nothing, each until when.
type silences map[sessionKey]time.Time

func (s silences) has(k sessionKey, now time.Time) bool {
	until, ok := s[k]
	if ok && !now.Before(until) {
		delete(s, k)
		return false
	}
	return ok
}

// put silences a session. If there are too many, the one goes whose time is up first.
func (s silences) put(k sessionKey, until, now time.Time) {
	if _, ok := s[k]; !ok && len(s) >= maxSilenced {
		s.expire(now)
	}
	if _, ok := s[k]; !ok && len(s) >= maxSilenced {
		var first sessionKey
		earliest := time.Time{}
		for k, end := range s {
			if earliest.IsZero() || end.Before(earliest) {
				first, earliest = k, end
			}
		}
		delete(s, first)
	}
	s[k] = until
}

func (s silences) expire(now time.Time) {
	for k, until := range s {
		if !now.Before(until) {
			delete(s, k)
		}
	}
}

// Silence makes the collector refuse the session: what it posts is dropped, and answered with 410,
// which tells a player to post nothing more to that address for the rest of the session (CTA-5004-B
// §5). It ends after the given time, or after silence_time if that is not positive; the end is returned.
func (h *Handler) Silence(session string, length time.Duration) (until time.Time) {
	if length <= 0 {
		length = h.config.SilenceTime
	}
	now := h.now()
	until = now.Add(length)
	h.state.silence(session, until, now)
	h.metrics.silences.WithLabelValues(byHand).Inc()
	h.log.Info("session silenced", "session", session, "until", until)
	return until
}

// Unsilence ends the silence of a session, and reports whether there was one. A player that was
// answered 410 stays silent all the same.
func (h *Handler) Unsilence(session string) bool {
	ended := h.state.unsilence(session, h.now())
	if ended {
		h.log.Info("session may post again", "session", session)
	}
	return ended
}
