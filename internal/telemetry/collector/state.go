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
	// stray is the offset of the last report that was far from it.
	stray *time.Duration
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

// admission is what admit has found out beside what becomes of each record.
type admission struct {
	flooding      []string // sessions that it has silenced
	missing, late uint64   // by the sequence numbers
}

// admit decides which of the records that could be read are to be kept, and completes their reports.
func (s *state) admit(b *batch, load float64, now time.Time) (a admission) {
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
			known = s.session(r.session)
			// Whatever becomes of it, it has arrived.
			missing, late := known.number(targetKey(maphash.String(s.seed, report.Path)), report)
			a.missing += missing
			a.late += late
			if s.silences.has(r.session, now) {
				r.outcome = silenced
				b.toTell(r.session)
				continue
			}
			if known.flood(now, s.config.MaxSessionRecords) {
				s.silences.put(r.session, now.Add(s.config.SilenceTime), now)
				a.flooding = append(a.flooding, sid)
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
		target := targetKey(maphash.String(s.seed, b.path))
		for _, session := range b.silenced {
			if s.silences.has(session, now) && s.silences.tell(session, target) {
				b.tell = true
			}
		}
	}
	return a
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

// commit takes note of the records that the bus has accepted; one that it has not is not remembered, so that a
// resend of it is taken.
func (s *state) commit(b *batch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range b.records {
		r := &b.records[i]
		if r.outcome == taken && b.reports[r.report].ID.Version() == resendable {
			s.remembered.put(b.reports[r.report].ID, struct{}{})
		}
	}
}

// number takes note of the sequence number of a report, and returns how many records it shows to be missing, and
// how many that were missing are not any more.
func (s *session) number(target targetKey, r *telemetry.Report) (missing, late uint64) {
	sn, ok := r.CMCD.Number(cmcd.KeySN)
	if !ok || sn < 0 || sn > 1<<53 || sn != math.Trunc(sn) {
		return 0, 0
	}
	sequence, first := s.sequence(target, uint64(sn))
	if sequence == nil || first {
		return 0, 0
	}
	missing, wasMissing := sequence.add(uint64(sn))
	if wasMissing {
		late = 1
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

// agreement is how far the offsets of one clock may be apart. Reports may wait for hours before they are posted;
// what is further off is another clock, or none.
const agreement = 24 * time.Hour

// clockOffset takes note of a report, and returns the smallest offset so far. The ts of a response is
// when its request began, which may be long ago. A single time that is far from all others is not
// believed: a device that has just been switched on, a number that is no time. Where a second one agrees with it
// the clock was set.
func (s *session) clockOffset(r *telemetry.Report) *time.Duration {
	ts, ok := playerClock(&r.CMCD)
	if !ok || r.CMCD.Text(cmcd.KeyE) == "rr" {
		return s.offset
	}
	offset := r.Time.Sub(ts)
	switch {
	case s.offset == nil, s.stray != nil && (offset-*s.stray).Abs() <= agreement && (offset-*s.offset).Abs() > agreement:
		s.offset, s.stray = &offset, nil
	case (offset - *s.offset).Abs() > agreement:
		s.stray = &offset
		return nil
	case offset < *s.offset:
		s.offset = &offset
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
