package mcp

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weir-stream/weir/internal/analytics"
)

type listSessionsIn struct {
	Stream string    `json:"stream,omitempty" jsonschema:"only sessions of this stream"`
	Prefix string    `json:"prefix,omitempty" jsonschema:"only sessions whose ID begins with this"`
	From   time.Time `json:"from,omitzero" jsonschema:"only sessions with a record at or after this time, RFC 3339"`
	To     time.Time `json:"to,omitzero" jsonschema:"only sessions with a record before this time, RFC 3339"`
	Limit  int       `json:"limit,omitempty" jsonschema:"at most so many sessions; default 20"`
	Cursor string    `json:"cursor,omitempty" jsonschema:"next_cursor of the page before"`
}

// SessionRow is a session in a list.
type SessionRow struct {
	ID             string    `json:"id"`
	Stream         string    `json:"stream"`
	ContentID      string    `json:"content_id,omitempty"`
	Player         string    `json:"player,omitempty"`
	Format         string    `json:"format,omitempty"`
	Active         bool      `json:"active"`
	Start          time.Time `json:"start"`
	End            time.Time `json:"end"`
	Requests       int       `json:"requests"`
	Errors         int       `json:"errors"`
	HitRatio       *float64  `json:"hit_ratio,omitempty" jsonschema:"absent if not known"`
	PlayedTime     float64   `json:"played_time_seconds"`
	AverageBitrate float64   `json:"average_bitrate" jsonschema:"bit/s; 0 if the player named none"`
	StartupTime    *float64  `json:"startup_time_seconds,omitempty" jsonschema:"absent if not known"`
	Rebuffers      int       `json:"rebuffers"`
	RebufferTime   float64   `json:"rebuffer_time_seconds"`
	RebufferRatio  float64   `json:"rebuffer_ratio"`
	Truncated      bool      `json:"truncated,omitempty" jsonschema:"the session has more records than were read: its numbers but requests are of the first ones"`
}

type listSessionsOut struct {
	Sessions   []SessionRow `json:"sessions"`
	Truncated  bool         `json:"truncated" jsonschema:"there are more sessions"`
	NextCursor string       `json:"next_cursor,omitempty" jsonschema:"asks for the next page"`
}

func (s *Server) listSessions(ctx context.Context, in listSessionsIn) (listSessionsOut, string, error) {
	if in.Limit == 0 {
		in.Limit = defaultSessions
	}
	filter := analytics.SessionFilter{Stream: in.Stream, Prefix: in.Prefix, From: in.From, To: in.To, Limit: in.Limit + 1}
	if in.Cursor != "" {
		text, err := base64.RawURLEncoding.DecodeString(in.Cursor)
		if err == nil {
			var start string
			start, filter.BeforeID, _ = strings.Cut(string(text), " ")
			filter.Before, err = time.Parse(time.RFC3339Nano, start)
		}
		if err != nil {
			return listSessionsOut{}, "", badInput("cursor is not one that this tool has returned: leave it out for the first page")
		}
	}
	sessions, err := s.set.Sessions.Sessions(ctx, filter)
	if err != nil {
		return listSessionsOut{}, "", err
	}
	out := listSessionsOut{Sessions: []SessionRow{}}
	if len(sessions) > in.Limit {
		sessions = sessions[:in.Limit]
		out.Truncated = true
		last := sessions[in.Limit-1]
		out.NextCursor = base64.RawURLEncoding.EncodeToString([]byte(last.Start.UTC().Format(time.RFC3339Nano) + " " + last.ID))
	}
	var text sheet
	var rows [][]string
	for _, session := range sessions {
		r := rowOf(session)
		out.Sessions = append(out.Sessions, r)
		rows = append(rows, []string{
			r.ID, r.Stream, r.Player, r.Format, strconv.FormatBool(r.Active), clock(r.Start), clock(r.End),
			strconv.Itoa(r.Requests), strconv.Itoa(r.Errors), optional(r.HitRatio), number(r.PlayedTime), number(r.AverageBitrate),
			optional(r.StartupTime), strconv.Itoa(r.Rebuffers), number(r.RebufferTime), number(r.RebufferRatio),
		})
	}
	if len(rows) == 0 {
		text.line("No session fits. Sessions exist only for players that send CMCD with a session ID (sid).")
	}
	text.table("Sessions, newest first", []string{
		"id", "stream", "player", "format", "active", "start", "end", "requests", "errors", "hit_ratio",
		"played_s", "average_bitrate_bps", "startup_s", "rebuffers", "rebuffer_s", "rebuffer_ratio",
	}, rows)
	if out.Truncated {
		text.line("\ntruncated: there are more sessions; call again with cursor=%s, or narrow by stream, from, to or prefix.", out.NextCursor)
	}
	return out, text.text(), nil
}

func rowOf(s analytics.Session) SessionRow {
	return SessionRow{
		ID: s.ID, Stream: s.Stream, ContentID: s.ContentID, Player: s.Player, Format: s.Format, Active: s.Active,
		Start: s.Start, End: s.End, Requests: s.Requests, Errors: s.Errors, HitRatio: s.HitRatio,
		PlayedTime: s.PlayedTime, AverageBitrate: s.AverageBitrate, StartupTime: s.StartupTime,
		Rebuffers: len(s.Rebuffers), RebufferTime: s.RebufferTime, RebufferRatio: s.RebufferRatio,
		Truncated: s.Truncated,
	}
}

type sessionDetailsIn struct {
	Session     string    `json:"session" jsonschema:"session ID (CMCD sid) or the beginning of one that no other session shares"`
	From        time.Time `json:"from,omitzero" jsonschema:"only requests and reports at or after this time, RFC 3339"`
	To          time.Time `json:"to,omitzero" jsonschema:"only requests and reports before this time, RFC 3339"`
	Limit       int       `json:"limit,omitempty" jsonschema:"at most so many requests and as many reports; default 50"`
	IncludeCMCD bool      `json:"include_cmcd,omitempty" jsonschema:"add to each request all that the player said with it"`
}

type sessionDetailsOut struct {
	Session    analytics.Session    `json:"session"`
	Requests   []analytics.Exchange `json:"requests" jsonschema:"in order of time"`
	Reports    []analytics.Event    `json:"reports" jsonschema:"what the player reported by itself (CMCD version 2), in order of time"`
	Truncated  bool                 `json:"truncated"`
	Provenance Provenance           `json:"provenance"`
}

func (s *Server) sessionDetails(ctx context.Context, in sessionDetailsIn) (sessionDetailsOut, string, error) {
	details, err := s.session(ctx, in.Session)
	if err != nil {
		return sessionDetailsOut{}, "", err
	}
	if in.Limit == 0 {
		in.Limit = defaultRequests
	}
	out := sessionDetailsOut{
		Session: details.Session, Requests: []analytics.Exchange{}, Reports: []analytics.Event{},
		Truncated: details.Truncated, Provenance: provenanceOf(details),
	}
	inRange := func(t time.Time) bool {
		return (in.From.IsZero() || !t.Before(in.From)) && (in.To.IsZero() || t.Before(in.To))
	}
	for _, e := range details.Exchanges {
		if !inRange(e.Time) {
			continue
		}
		if len(out.Requests) == in.Limit {
			out.Truncated = true
			break
		}
		if !in.IncludeCMCD {
			e.CMCD = nil
		}
		out.Requests = append(out.Requests, e)
	}
	for _, e := range details.Reports {
		if !inRange(e.Time) {
			continue
		}
		if len(out.Reports) == in.Limit {
			out.Truncated = true
			break
		}
		if !in.IncludeCMCD {
			e.CMCD = map[string]string{}
		}
		out.Reports = append(out.Reports, e)
	}
	var text sheet
	text.session(out.Session)
	text.table("Rebuffers", []string{"time", "duration_s", "evidence"}, rebufferRows(out.Session.Rebuffers))
	text.exchanges("Requests", out.Requests)
	var rows [][]string
	for _, e := range out.Reports {
		sequence := ""
		if e.SequenceNumber != nil {
			sequence = strconv.FormatInt(*e.SequenceNumber, 10)
		}
		rows = append(rows, []string{clock(e.Time), e.Event, e.State, sequence})
	}
	text.table("Reports of the player", []string{"time", "event", "state", "sequence_number"}, rows)
	if slices.ContainsFunc(out.Requests, func(e analytics.Exchange) bool { return e.Response != nil }) {
		text.line("\nplayer_ttfb_s and player_ttlb_s are the player's view of the same request; what they are longer than ttfb_s and duration_s, the edge's, was taken by the network and by waiting in the player.")
	}
	if slices.ContainsFunc(out.Requests, func(e analytics.Exchange) bool { return e.TCP != nil }) {
		text.line("\nrtt_s to rwnd_limited_s are what the edge's kernel said of the connection after large answers, since it was asked before: an rtt_s far above min_rtt_s is a queue in the network, retransmitted_bytes are loss, rwnd_limited_s is the viewer who did not take more; with app_limited the rate is a lower bound.")
	}
	if out.Truncated {
		text.line("\ntruncated: %d of %d requests and %d of %d reports are shown; narrow with from and to, or raise limit (at most %d).",
			len(out.Requests), out.Session.Requests, len(out.Reports), out.Session.Reports, maxRequests)
	}
	text.origin(out.Provenance)
	return out, text.text(), nil
}

// session reads one session. A name that is empty would fit every session.
func (s *Server) session(ctx context.Context, id string) (analytics.SessionDetails, error) {
	if id == "" {
		return analytics.SessionDetails{}, badInput("session is empty: name a session by its ID or the beginning of it; list_sessions tells which there are")
	}
	details, err := s.set.Sessions.Session(ctx, id)
	if details.Session.Rebuffers == nil {
		details.Session.Rebuffers = []analytics.Rebuffer{}
	}
	return details, err
}

func provenanceOf(d analytics.SessionDetails) Provenance {
	p := Provenance{
		From: d.Session.Start, To: d.Session.End, Records: int64(len(d.Exchanges) + len(d.Reports)), Sessions: 1,
		Assumptions: []string{"every record of a session carries its session ID: requests that the player sent without CMCD are not part of it"},
	}
	with := 0
	for _, e := range d.Exchanges {
		if e.CMCD != nil {
			with++
		}
	}
	if n := len(d.Exchanges); n > 0 {
		p.Coverage = float64(with) / float64(n)
	}
	if d.Session.StartupEstimated {
		p.Assumptions = append(p.Assumptions, "the startup time is an estimate from buffer lengths: the player did not report it")
	}
	if n := d.Session.UnseenRequests; n != nil && *n > 0 {
		p.Assumptions = append(p.Assumptions, fmt.Sprintf("the player numbered %d more requests than there are rows: another server answered them, or the player's cache, or their rows were lost", *n))
	}
	if n := d.Session.LostReports; n != nil && *n > 0 {
		p.Assumptions = append(p.Assumptions, fmt.Sprintf("%d reports that the player numbered are not here, as they did not arrive or were not kept: what it said in them is not known", *n))
	}
	if d.Truncated {
		p.Assumptions = append(p.Assumptions, fmt.Sprintf("the session has more records than were read: its figures are of the first %d", p.Records))
	}
	return p
}

// session writes what there is to tell of a session.
func (s *sheet) session(v analytics.Session) {
	kind := "on demand"
	if v.Live {
		kind = "live"
	}
	speaks := "events of the events API alone, no CMCD"
	if v.CMCDVersion > 0 {
		speaks = fmt.Sprintf("CMCD version %d", v.CMCDVersion)
	}
	s.line("Session %s of stream %q (%s, %s), player %q, %s, active %t.", v.ID, v.Stream, v.Format, kind, v.Player, speaks, v.Active)
	hits := "not known"
	if v.HitRatio != nil {
		hits = number(*v.HitRatio)
	}
	s.line("%s to %s: %d requests, %d reports, %d bytes, %d errors, hit ratio %s.", clock(v.Start), clock(v.End), v.Requests, v.Reports, v.Bytes, v.Errors, hits)
	startup := "not known"
	if v.StartupTime != nil {
		startup = number(*v.StartupTime) + " s"
		if v.StartupEstimated {
			startup += " (estimated)"
		}
	}
	s.line("Startup %s; played %s s; average bitrate %s bit/s; measured throughput %s bit/s.", startup, number(v.PlayedTime), number(v.AverageBitrate), number(v.AverageThroughput))
	s.line("%d rebuffers, %s s in all; rebuffer ratio %s (rebuffer time over itself and played time).", len(v.Rebuffers), number(v.RebufferTime), number(v.RebufferRatio))
	if v.ClockOffset != nil {
		s.line("Clock offset (server less player) %s s; the times of reports are corrected by it.", number(*v.ClockOffset))
	}
	if n := v.LostReports; n != nil {
		s.line("By the player's own count %d reports are not here: they did not arrive, or were not kept.", *n)
	}
	if n := v.UnseenRequests; n != nil {
		s.line("By the player's own count %d requests have no row here.", *n)
	}
	for _, d := range v.Distrusted {
		s.line("Not believed: CMCD key %s (%s). %s", d.Key, d.Verdict, d.Why)
	}
}

func rebufferRows(list []analytics.Rebuffer) [][]string {
	var rows [][]string
	for _, r := range list {
		rows = append(rows, []string{clock(r.Time), number(r.Duration), r.Evidence})
	}
	return rows
}
