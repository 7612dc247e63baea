package session

import (
	"bytes"
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/weir-stream/weir/cmcd"
	"github.com/weir-stream/weir/cmcd/quirk"
	"github.com/weir-stream/weir/internal/analytics"
	"github.com/weir-stream/weir/internal/telemetry"
)

// Join derives a session from the records of one session ID. The records may come in any order and
// may hold duplicates; they are not changed. A session is active if its last record is younger
// than [DefaultViewerTimeout] at now. Of no records at all it makes the zero Session.
func Join(requests []telemetry.Request, reports []telemetry.Report, now time.Time) analytics.Session {
	return newJoin(requests, reports).session(now)
}

func (j *join) session(now time.Time) analytics.Session {
	s := j.facts(now)
	if j.records() == 0 {
		return s
	}
	s.LostReports, s.UnseenRequests = j.missing(now)
	s.Distrusted = j.distrusted()
	media := j.primary()
	s.AverageBitrate = media.averageBitrate()
	s.AverageThroughput = media.averageThroughput(j.quirks)
	start := j.playStart()
	if start.known {
		// Where the first record says that it plays, nobody saw the start.
		if seconds := start.at.Sub(j.beginning()).Seconds(); seconds > 0 {
			s.StartupTime, s.StartupEstimated = &seconds, start.estimated
		}
	}
	s.PlayedTime = j.playedTime(media)
	s.Rebuffers = j.rebuffers(start)
	for _, r := range s.Rebuffers {
		s.RebufferTime += r.Duration
	}
	if total := s.RebufferTime + s.PlayedTime; total > 0 {
		s.RebufferRatio = s.RebufferTime / total
	}
	return s
}

// join is one session being derived.
type join struct {
	requests []telemetry.Request // by time, each once
	reports  []telemetry.Report  // by time on the server's clock, each once
	times    []time.Time         // when each report's event happened, on the server's clock
	first    time.Time           // the earliest of them that a report tells, zero if none does
	offset   offset              // of the player's clock
	player   quirk.Player
	quirks   quirk.Quirks      // what not to believe of the player
	format   string            // the CMCD key sf
	tracks   map[string]*track // by CMCD object type: "v", "av", "a"
	start    time.Time         // of the first record, and of the last
	end      time.Time
}

func newJoin(requests []telemetry.Request, reports []telemetry.Report) *join {
	j := &join{requests: orderedRequests(requests)}
	j.orderReports(reports)
	j.recognise()
	j.tracks = tracksOf(j.requests, j.quirks)
	for i := range j.requests {
		j.span(j.requests[i].Time)
	}
	for i := range j.reports {
		j.span(j.reports[i].Time)
	}
	return j
}

// recognise finds out who played. Where nothing tells, what is known to go wrong with players of the
// streaming format is not believed either. A player of which only the habits are not known is none of these.
func (j *join) recognise() {
	var signature quirk.Signature
	userAgent := ""
	add := func(agent string, v *cmcd.Values) {
		signature.Add(v)
		userAgent = cmp.Or(userAgent, agent)
		j.format = cmp.Or(v.Text(cmcd.KeySF), j.format)
	}
	for i := range j.requests {
		add(j.requests[i].UserAgent, &j.requests[i].CMCD)
	}
	for i := range j.reports {
		add(j.reports[i].UserAgent, &j.reports[i].CMCD)
	}
	if j.player, _ = signature.Player(userAgent); j.player.Anonymous() {
		j.quirks = quirk.Suspects(j.format)
	} else {
		j.quirks = quirk.Of(j.player)
	}
}

func (j *join) span(t time.Time) {
	if j.start.IsZero() || t.Before(j.start) {
		j.start = t
	}
	j.end = later(j.end, t)
}

// beginning is when the session began, as far as the records tell: with the first request, or with the
// first event that a report tells the time of. A report is received after what it tells of, in a batch
// long after; so its receipt is the beginning only where no report tells a time.
func (j *join) beginning() time.Time {
	begin := j.first
	if len(j.requests) > 0 && (begin.IsZero() || j.requests[0].Time.Before(begin)) {
		begin = j.requests[0].Time
	}
	if begin.IsZero() {
		return j.start
	}
	return begin
}

func (j *join) records() int { return len(j.requests) + len(j.reports) }

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func orderedRequests(in []telemetry.Request) []telemetry.Request {
	out := make([]telemetry.Request, 0, len(in))
	seen := make(map[uuid.UUID]bool, len(in))
	for _, r := range in {
		if r.ID != uuid.Nil && seen[r.ID] {
			continue
		}
		seen[r.ID] = true
		out = append(out, r)
	}
	slices.SortStableFunc(out, func(a, b telemetry.Request) int {
		return cmp.Or(a.Time.Compare(b.Time), bytes.Compare(a.ID[:], b.ID[:]))
	})
	return out
}

// sent is what two receipts of one report have in common (CTA-5004-B §5).
type sent struct {
	path, event string
	sn, ts      float64
}

// orderReports drops the duplicates, also those that a player made by sending a report again
// (same target, sequence number, event and time), of which the first receipt stays, and orders the
// rest by the time of the event. Players stamp events by their own clock; the smallest difference to
// the time of receipt is how far that clock is off, as the fastest report took almost no time on its
// way. A report whose time is not believed stands where it was received.
func (j *join) orderReports(in []telemetry.Report) {
	type stamped struct {
		report telemetry.Report
		at     time.Time
		late   time.Duration // from the player's time to the receipt
		told   bool
	}
	byReceipt := slices.Clone(in)
	slices.SortStableFunc(byReceipt, func(a, b telemetry.Report) int {
		return cmp.Or(a.Time.Compare(b.Time), bytes.Compare(a.ID[:], b.ID[:]))
	})
	ids, resent := make(map[uuid.UUID]bool, len(in)), make(map[sent]bool, len(in))
	var differences []time.Duration
	list := make([]stamped, 0, len(in))
	for _, r := range byReceipt {
		if r.ID != uuid.Nil && ids[r.ID] {
			continue
		}
		ids[r.ID] = true
		ts, hasTS := r.CMCD.Number(cmcd.KeyTS)
		event := r.CMCD.Text(cmcd.KeyE)
		if sn, ok := r.CMCD.Number(cmcd.KeySN); ok && hasTS {
			key := sent{r.Path, event, sn, ts}
			if resent[key] {
				continue
			}
			resent[key] = true
		}
		s := stamped{report: r, at: r.Time}
		if at, ok := playerClock(&r.CMCD, r.Time); ok && event != responseEvent { // of a response, ts is when it was asked for
			s.late, s.told = r.Time.Sub(at), true
			differences = append(differences, s.late)
		}
		list = append(list, s)
	}
	j.offset = offsetOf(differences)
	for _, s := range list {
		if s.told && s.report.ClockOffset != nil { // from reports that are not here any more
			j.offset.atMost(*s.report.ClockOffset)
		}
	}
	for i := range list {
		s := &list[i]
		if !s.told || !j.offset.believes(s.late) {
			continue
		}
		s.at = s.report.Time.Add(j.offset.by - s.late).UTC()
		if j.first.IsZero() || s.at.Before(j.first) {
			j.first = s.at
		}
	}
	slices.SortStableFunc(list, func(a, b stamped) int {
		return cmp.Or(a.at.Compare(b.at), a.report.Time.Compare(b.report.Time))
	})
	j.reports, j.times = make([]telemetry.Report, len(list)), make([]time.Time, len(list))
	for i, s := range list {
		j.reports[i], j.times[i] = s.report, s.at
	}
}

// facts fills in what is told by the records as they are.
func (j *join) facts(now time.Time) analytics.Session {
	s := analytics.Session{
		Rebuffers: []analytics.Rebuffer{}, Requests: len(j.requests), Reports: len(j.reports), Start: j.start, End: j.end,
	}
	if j.records() == 0 {
		return s
	}
	var hits, looked float64
	streams := map[string]int{}
	for i := range j.requests {
		r := &j.requests[i]
		s.Bytes += r.Bytes
		if r.Status >= 400 {
			s.Errors++
		}
		if asked, hit := r.Looked(); asked {
			looked++
			if hit {
				hits++
			}
		}
		if r.Stream != "" {
			if streams[r.Stream]++; streams[r.Stream] > streams[s.Stream] || s.Stream == "" {
				s.Stream = r.Stream
			}
		}
		tell(&s, r.Edge, r.Client, r.UserAgent, &r.CMCD)
		s.CMCDVersion = max(s.CMCDVersion, r.CMCD.Version())
	}
	for i := range j.reports {
		r := &j.reports[i]
		tell(&s, r.Edge, r.Client, r.UserAgent, &r.CMCD)
		if r.Playback == nil { // what comes through the events API is only said in the words of CMCD
			s.CMCDVersion = max(s.CMCDVersion, r.CMCD.Version())
		}
	}
	if looked > 0 {
		ratio := hits / looked
		s.HitRatio = &ratio
	}
	s.Active = now.Sub(s.End) < DefaultViewerTimeout
	s.Player, s.PlayerEvidence = j.player.String(), string(j.player.Evidence)
	s.Format = formatName(j.format)
	if j.offset.known {
		seconds := j.offset.by.Seconds()
		s.ClockOffset = &seconds
	}
	return s
}

// tell adds to s what one record says of the whole session.
func tell(s *analytics.Session, edge string, client netip.Addr, userAgent string, v *cmcd.Values) {
	s.ID = cmp.Or(s.ID, v.Text(cmcd.KeySID))
	s.ContentID = cmp.Or(v.Text(cmcd.KeyCID), s.ContentID)
	s.Edge = cmp.Or(edge, s.Edge)
	s.UserAgent = cmp.Or(s.UserAgent, userAgent)
	if s.Client == "" && client.IsValid() {
		s.Client = client.String()
	}
	if streamType := v.Text(cmcd.KeyST); streamType != "" {
		s.Live = streamType == "l" || streamType == "ll"
	}
}

// formatName is the word for a value of the CMCD key sf.
func formatName(sf string) string {
	switch sf {
	case "h":
		return "hls"
	case "d":
		return "dash"
	case "s":
		return "smooth"
	case "e":
		return "hesp"
	case "o":
		return "other"
	default:
		return sf
	}
}
