package collector

import (
	"hash/maphash"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/weir-stream/weir/cmcd"
	"github.com/weir-stream/weir/internal/telemetry"
)

// sessionKey and targetKey stand for a session's ID and for the path of a target, which players may
// make as long as they like. They are hashes that nobody outside of this process can foresee.
type (
	sessionKey uint64
	targetKey  uint64
)

// state is what the collector knows of the past. All of it is bounded.
type state struct {
	config Config
	seed   maphash.Seed

	mu         sync.Mutex // guards the fields below
	sessions   generations[sessionKey, *session]
	remembered generations[uuid.UUID, struct{}]
	silences   silences
	shedding   shedding
}

// session is what is known of one session.
type session struct {
	// offset is the smallest difference so far between the receipt of a report and its ts.
	offset *time.Duration
	// minute is the Unix time of the minute in which posted records came.
	minute int64
	posted int
	// sequences are those of the first maxTargets paths that the session posts to.
	sequences []sequence
}

const maxTargets = 8

func newState(c Config) *state {
	return &state{
		config: c, seed: maphash.MakeSeed(),
		sessions:   generations[sessionKey, *session]{limit: max(1, c.Sessions/2)},
		remembered: generations[uuid.UUID, struct{}]{limit: c.RememberRecords},
		silences:   silences{},
		shedding:   shedding{threshold: c.ShedLoad},
	}
}

func (s *state) session(k sessionKey) *session {
	known, ok := s.sessions.get(k)
	if !ok {
		known = &session{}
		s.sessions.put(k, known)
	}
	return known
}

func (s *state) key(id string) sessionKey { return sessionKey(maphash.String(s.seed, id)) }

// admit decides which of the records that could be read are to be kept, and completes their reports.
// It returns the sessions that it has silenced.
func (s *state) admit(b *batch, load float64, now time.Time) (flooding []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := s.shedding.kept(load, now)
	for i := range b.records {
		r := &b.records[i]
		if r.outcome != taken {
			continue
		}
		report := &b.reports[r.report]
		sid := report.CMCD.Text(cmcd.KeySID)
		var known *session
		if sid != "" {
			r.session = s.key(sid)
			if s.silences.has(r.session, now) {
				r.outcome = silenced
				b.toTell(r.session)
				continue
			}
			known = s.session(r.session)
			if known.flood(now, s.config.MaxSessionRecords) {
				s.silences.put(r.session, now.Add(s.config.SilenceTime), now)
				flooding = append(flooding, sid)
				r.outcome = silenced
				b.toTell(r.session)
				continue
			}
		}
		if r.outcome = s.keep(sid, report, kept); r.outcome != taken {
			continue
		}
		if report.ID.Version() == resendable && (b.has(report.ID) || s.has(report.ID)) {
			r.outcome = duplicate
			continue
		}
		b.note(report.ID)
		if known != nil {
			report.ClockOffset = known.clockOffset(report)
		}
	}
	if b.onlySilenced() {
		for _, session := range b.silenced {
			if s.silences.has(session, now) && s.silences.tell(session) {
				b.tell = true
			}
		}
	}
	return flooding
}

// keep says whether the session of the report is among those to be kept.
func (s *state) keep(sid string, report *telemetry.Report, kept float64) outcome {
	if s.config.Sample == 1 && kept == 1 {
		return taken
	}
	if sid == "" {
		sid = report.Client.String()
	}
	switch at := place(sid); {
	case at >= s.config.Sample:
		return sampled
	case at >= s.config.Sample*kept:
		return shed
	}
	return taken
}

func (s *state) has(id uuid.UUID) bool {
	_, ok := s.remembered.get(id)
	return ok
}

// commit takes note of the records that the bus has accepted; a record that it has not is as if it
// had never come, so that a resend of it is taken.
func (s *state) commit(b *batch) (missing, late uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range b.records {
		r := &b.records[i]
		if r.outcome != taken {
			continue
		}
		report := &b.reports[r.report]
		if report.ID.Version() == resendable {
			s.remembered.put(report.ID, struct{}{})
		}
		sn, ok := report.CMCD.Number(cmcd.KeySN)
		if !ok || r.session == 0 || sn < 0 || sn > 1<<53 || sn != math.Trunc(sn) {
			continue
		}
		sequence, first := s.session(r.session).sequence(targetKey(maphash.String(s.seed, report.Path)), uint64(sn))
		if sequence == nil || first {
			continue
		}
		gap, wasMissing := sequence.add(uint64(sn))
		missing += gap
		if wasMissing {
			late++
		}
	}
	return missing, late
}

// flood counts a record, and reports whether it is beyond what a session may post in a minute.
func (s *session) flood(now time.Time, limit int) bool {
	if limit == 0 {
		return false
	}
	if minute := now.Unix() / 60; minute != s.minute {
		s.minute, s.posted = minute, 0
	}
	s.posted++
	return s.posted > limit
}

// clockOffset takes note of a report, and returns the smallest offset so far. The ts of a response is
// when its request began, which may be long ago.
func (s *session) clockOffset(r *telemetry.Report) *time.Duration {
	if ts, ok := playerClock(&r.CMCD); ok && r.CMCD.Text(cmcd.KeyE) != "rr" {
		if offset := r.Time.Sub(ts); s.offset == nil || offset < *s.offset {
			s.offset = &offset
		}
	}
	return s.offset
}

// playerClock is the time of the event, if it can be that of a clock: year 1970 to 9999.
func playerClock(v *cmcd.Values) (time.Time, bool) {
	ms, ok := v.Number(cmcd.KeyTS)
	if !ok || ms <= 0 || ms > 253402300799999 {
		return time.Time{}, false
	}
	return time.UnixMilli(int64(ms)), true
}

// sequence returns the sequence of a target. It is nil if there are too many, and first is true if n
// has begun it.
func (s *session) sequence(target targetKey, n uint64) (_ *sequence, first bool) {
	i := slices.IndexFunc(s.sequences, func(q sequence) bool { return q.target == target })
	switch {
	case i >= 0:
		return &s.sequences[i], false
	case len(s.sequences) == maxTargets:
		return nil, false
	}
	s.sequences = append(s.sequences, sequence{target: target, highest: n, first: n})
	return &s.sequences[len(s.sequences)-1], true
}

func (s *state) silence(id string, until, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.silences.put(s.key(id), until, now)
}

func (s *state) unsilence(id string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.key(id)
	ended := s.silences.has(k, now)
	delete(s.silences, k)
	if known, ok := s.sessions.get(k); ok {
		known.posted = 0 // or the next record would silence it again
	}
	return ended
}

func (s *state) silencedSessions(now time.Time) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.silences.expire(now)
	return len(s.silences)
}

func (s *state) kept(load float64, now time.Time) float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.shedding.kept(load, now)
}
