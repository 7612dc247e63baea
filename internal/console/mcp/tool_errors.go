package mcp

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weir-stream/weir/internal/analytics"
)

type errorsIn struct {
	Session string    `json:"session,omitempty" jsonschema:"session ID (CMCD sid) or the beginning of one that no other session shares; without it the sessions that had HTTP errors are listed"`
	Stream  string    `json:"stream,omitempty" jsonschema:"only without a session: only this stream"`
	From    time.Time `json:"from,omitzero" jsonschema:"start of the range, RFC 3339; without a session the default is one hour before its end"`
	To      time.Time `json:"to,omitzero" jsonschema:"end of the range, RFC 3339; default: now"`
	Limit   int       `json:"limit,omitempty" jsonschema:"at most so many findings; default 100"`
}

// Finding is one thing that went wrong.
type Finding struct {
	Time   time.Time `json:"time"`
	Type   string    `json:"type" jsonschema:"http_error, manifest_error, manifest_stale, aborted, player_error or bitrate_drop"`
	Path   string    `json:"path,omitempty"`
	Status int       `json:"status,omitempty"`
	Cache  string    `json:"cache_status,omitempty"`
	Detail string    `json:"detail"`
}

// The types of finding.
const (
	httpError     = "http_error"
	manifestError = "manifest_error"
	manifestStale = "manifest_stale"
	abortedByUser = "aborted"
	playerError   = "player_error"
	bitrateDrop   = "bitrate_drop"
)

type errorsOut struct {
	SessionID string         `json:"session_id,omitempty"`
	Counts    map[string]int `json:"counts" jsonschema:"number of findings of each type, also of those that are not shown"`
	Findings  []Finding      `json:"findings" jsonschema:"in order of time"`
	// Sessions is the answer where no session was named.
	Sessions   []MetricRow `json:"sessions" jsonschema:"without a session: those that had HTTP errors, most errors first"`
	Truncated  bool        `json:"truncated"`
	Provenance Provenance  `json:"provenance"`
}

func (s *Server) playbackErrors(ctx context.Context, in errorsIn) (errorsOut, string, error) {
	if in.Limit == 0 {
		in.Limit = maxFindings
	}
	if in.Session == "" {
		return s.sessionsWithErrors(ctx, in)
	}
	details, err := s.session(ctx, in.Session)
	if err != nil {
		return errorsOut{}, "", err
	}
	out := errorsOut{
		SessionID: details.Session.ID, Counts: map[string]int{}, Findings: []Finding{}, Sessions: []MetricRow{},
		Truncated: details.Truncated, Provenance: provenanceOf(details),
	}
	for _, f := range findings(details) {
		if !in.From.IsZero() && f.Time.Before(in.From) || !in.To.IsZero() && !f.Time.Before(in.To) {
			continue
		}
		out.Counts[f.Type]++
		if len(out.Findings) == in.Limit {
			out.Truncated = true
			continue
		}
		out.Findings = append(out.Findings, f)
	}
	out.Provenance.Assumptions = append(out.Provenance.Assumptions,
		"an aborted request need not be a fault: players abort when they switch or seek",
		"a bitrate drop is a step to less than half within one object type of this session")
	var text sheet
	if len(out.Findings) == 0 {
		text.line("Session %s: nothing went wrong in %d requests and %d reports.", out.SessionID, len(details.Exchanges), len(details.Reports))
	} else {
		text.line("Session %s: %s.", out.SessionID, tally(out.Counts))
	}
	var rows [][]string
	for _, f := range out.Findings {
		status := ""
		if f.Status != 0 {
			status = strconv.Itoa(f.Status)
		}
		rows = append(rows, []string{clock(f.Time), f.Type, status, f.Cache, f.Path, f.Detail})
	}
	text.table("Findings", []string{"time", "type", "status", "cache", "path", "detail"}, rows)
	if out.Truncated {
		text.line("\ntruncated: %d findings are shown; narrow with from and to.", len(out.Findings))
	}
	text.origin(out.Provenance)
	return out, text.text(), nil
}

func tally(counts map[string]int) string {
	var parts []string
	for kind, n := range counts {
		parts = append(parts, fmt.Sprintf("%d %s", n, kind))
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}

// sessionsWithErrors lists the sessions that had HTTP errors.
func (s *Server) sessionsWithErrors(ctx context.Context, in errorsIn) (errorsOut, string, error) {
	q := analytics.Query{
		Metrics: []string{"requests"}, From: in.From, To: in.To,
		Filters: []analytics.Filter{{Dimension: "status_class", Values: []string{"4xx", "5xx"}}},
	}
	if in.Stream != "" {
		q.Filters = append(q.Filters, analytics.Filter{Dimension: "stream", Values: []string{in.Stream}})
	}
	overall, err := s.set.Querier.Query(ctx, q)
	if err != nil {
		return errorsOut{}, "", err
	}
	// The rows are of the same range, also where "now" was meant.
	q.From, q.To = overall.Provenance.From, overall.Provenance.To
	q.Dimensions = []string{"session", "stream", "status"}
	q.OrderBy, q.Descending, q.Limit = "requests", true, in.Limit
	result, err := s.set.Querier.Query(ctx, q)
	if err != nil {
		return errorsOut{}, "", err
	}
	out := errorsOut{
		Counts: map[string]int{}, Findings: []Finding{}, Sessions: metricRows(result.Rows),
		Truncated: result.Truncated, Provenance: provenance(overall, result),
	}
	for _, r := range metricRows(overall.Rows) {
		out.Counts[httpError] += int(r.Metrics["requests"])
	}
	out.Provenance.Assumptions = append(out.Provenance.Assumptions,
		"only HTTP errors are looked for where no session is named; a row without a session is of viewers without CMCD")
	var text sheet
	if len(out.Sessions) == 0 {
		text.line("No request was answered with an error. Name a session to look for aborted requests, errors of the player, bitrate drops and stale manifests.")
	} else {
		text.line("%d requests were answered with an error. Call again with a session for what else went wrong in it.", out.Counts[httpError])
	}
	text.metrics(q, out.Sessions)
	text.cut(out.Truncated)
	text.origin(out.Provenance)
	return out, text.text(), nil
}

// findings are all that went wrong in a session, in order of time.
func findings(d analytics.SessionDetails) []Finding {
	var out []Finding
	codes := map[string]bool{}
	last := map[string]analytics.Exchange{}
	for _, e := range d.Exchanges {
		if f, ok := failed(e); ok {
			out = append(out, f)
		}
		if e.Aborted {
			out = append(out, Finding{
				Time: e.Time, Type: abortedByUser, Path: e.Path, Status: e.Status, Cache: e.CacheStatus,
				Detail: fmt.Sprintf("the viewer went away after %s s and %d bytes", number(e.Duration), e.Bytes),
			})
		}
		if f, ok := reported(e.CMCD, e.Time, e.Path, codes); ok {
			out = append(out, f)
		}
		if f, ok := dropped(d.Session, last, e); ok {
			out = append(out, f)
		}
	}
	for _, r := range d.Reports {
		if f, ok := reported(r.CMCD, r.Time, "", codes); ok {
			out = append(out, f)
		} else if r.Event == "e" && r.CMCD["ec"] == "" {
			out = append(out, Finding{Time: r.Time, Type: playerError, Detail: "the player reported an error without a code"})
		}
	}
	slices.SortStableFunc(out, func(a, b Finding) int { return a.Time.Compare(b.Time) })
	return out
}

func failed(e analytics.Exchange) (Finding, bool) {
	f := Finding{Time: e.Time, Path: e.Path, Status: e.Status, Cache: e.CacheStatus}
	manifest := e.Kind == "manifest" || e.ObjectType == "m"
	switch {
	case e.Status >= 400:
		f.Type = httpError
		if manifest {
			f.Type = manifestError
		}
		f.Detail = fmt.Sprintf("the edge answered %d", e.Status)
		switch {
		case e.Refusal != "":
			f.Detail += ": it refused the request (" + e.Refusal + ")"
		case e.OriginStatus >= 400:
			f.Detail += fmt.Sprintf(", as the origin did (%d)", e.OriginStatus)
		case e.OriginStatus > 0:
			f.Detail += fmt.Sprintf(", the origin %d", e.OriginStatus)
		default:
			f.Detail += "; the origin was not asked or gave no answer"
		}
	case manifest && e.CacheStatus == "stale":
		f.Type = manifestStale
		f.Detail = "the edge served a manifest that was no longer fresh"
	default:
		return Finding{}, false
	}
	return f, true
}

// reported is an error code that the player told. Some players repeat it with all they say later,
// so each code counts once.
func reported(record map[string]string, at time.Time, path string, seen map[string]bool) (Finding, bool) {
	code := record["ec"]
	if code == "" || seen[code] {
		return Finding{}, false
	}
	seen[code] = true
	return Finding{Time: at, Type: playerError, Path: path, Detail: "the player reported error code " + code}, true
}

// dropped is a step of the bitrate to less than half, from one object to the next of its type.
// HLS players name a variant's bitrate with audio, which says nothing of the audio.
func dropped(session analytics.Session, last map[string]analytics.Exchange, e analytics.Exchange) (Finding, bool) {
	video := e.ObjectType == "v" || e.ObjectType == "av"
	if e.Bitrate == 0 || !video && (e.ObjectType != "a" || session.Format == "hls") {
		return Finding{}, false
	}
	before, ok := last[e.ObjectType]
	last[e.ObjectType] = e
	if !ok || e.Bitrate*2 >= before.Bitrate {
		return Finding{}, false
	}
	return Finding{
		Time: e.Time, Type: bitrateDrop, Path: e.Path, Status: e.Status, Cache: e.CacheStatus,
		Detail: fmt.Sprintf("%s: from %s to %s bit/s; the object before (%s) took %s s, %s s to its first byte, cache %s",
			e.ObjectType, number(before.Bitrate), number(e.Bitrate), before.Path, number(before.Duration), number(before.TTFB), cmp.Or(before.CacheStatus, "not known")),
	}, true
}
