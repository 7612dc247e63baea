package collector

import (
	"slices"
	"time"
)

// maxSilenced is how many sessions can be silenced at a time.
const maxSilenced = 10_000

// What made a session silent, for the metric.
const (
	byFlood = "flood" // it posted more than max_session_records in a minute
	byHand  = "hand"
)

// maxRefusals is how often a silenced session is answered 410 on each of its paths. hls.js and Shaka Player need to be told once for
// each address; dash.js 5.2 takes any refusal for a failure, and sends everything again with every event until
// it is told that it was taken.
const maxRefusals = 5

// silence says until when a session is to send nothing, and how often it has been told so.
type silence struct {
	until time.Time
	told  []telling
}

type telling struct {
	target targetKey
	times  int
}

// silences are the sessions that are to send nothing.
type silences map[sessionKey]*silence

func (s silences) has(k sessionKey, now time.Time) bool {
	silence, ok := s[k]
	if ok && !now.Before(silence.until) {
		delete(s, k)
		return false
	}
	return ok
}

// tell reports whether a silenced session is to be told so once more on that path.
func (s silences) tell(k sessionKey, target targetKey) bool {
	told := &s[k].told
	i := slices.IndexFunc(*told, func(t telling) bool { return t.target == target })
	if i < 0 {
		if len(*told) == maxTargets {
			return false
		}
		i = len(*told)
		*told = append(*told, telling{target: target})
	}
	(*told)[i].times++
	return (*told)[i].times <= maxRefusals
}

// put silences a session. If there are too many, the one goes whose time is up first.
func (s silences) put(k sessionKey, until, now time.Time) {
	if _, ok := s[k]; !ok && len(s) >= maxSilenced {
		s.expire(now)
	}
	if _, ok := s[k]; !ok && len(s) >= maxSilenced {
		var first sessionKey
		earliest := time.Time{}
		for k, silence := range s {
			if earliest.IsZero() || silence.until.Before(earliest) {
				first, earliest = k, silence.until
			}
		}
		delete(s, first)
	}
	s[k] = &silence{until: until}
}

func (s silences) expire(now time.Time) {
	for k, silence := range s {
		if !now.Before(silence.until) {
			delete(s, k)
		}
	}
}

// Silence makes the collector refuse the session: what it posts is dropped, and answered with 410,
// which tells a player to post nothing more to that address for the rest of the session (CTA-5004-B
// §5). A player that does not listen is answered 204 after a few times. It ends after the given time, or after silence_time if that is not positive; the end is returned.
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
