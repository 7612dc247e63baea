package session

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weir-stream/weir/cmcd"
	"github.com/weir-stream/weir/internal/analytics"
	"github.com/weir-stream/weir/internal/telemetry"
)

// Store is what an archive reads: SQL with ? for every parameter, and the records of sessions.
type Store interface {
	Select(ctx context.Context, statement string, args ...any) (*sql.Rows, error)
	Records(ctx context.Context, sessionIDs []string, limitPerSession int) (telemetry.Batch, error)
}

// The bounds of a list of sessions.
const (
	defaultSessions = 50
	maxSessions     = 501 // a page of 500, and one to see that there are more
	maxCandidates   = 10
)

// ArchiveSettings are what an [Archive] is made of.
type ArchiveSettings struct {
	Config Config
	Store  Store
	Now    func() time.Time
}

// Archive finds the sessions that a store holds.
type Archive struct {
	config Config
	store  Store
	now    func() time.Time
}

// NewArchive returns the archive over a store.
func NewArchive(set ArchiveSettings) (*Archive, error) {
	if set.Store == nil {
		return nil, errors.New("analytics: the session archive needs a store")
	}
	if err := set.Config.Validate(); err != nil {
		return nil, fmt.Errorf("analytics: %w", err)
	}
	if set.Now == nil {
		set.Now = time.Now
	}
	return &Archive{config: set.Config, store: set.Store, now: set.Now}, nil
}

// AmbiguousError says that the beginning of a session ID fits several sessions. It wraps
// [analytics.ErrAmbiguous].
type AmbiguousError struct {
	Prefix string
	// IDs are the first of the sessions that fit, newest first; More says that there are others.
	IDs  []string
	More bool
}

// Error lists the candidates.
func (e *AmbiguousError) Error() string {
	more := ""
	if e.More {
		more = " and more"
	}
	return fmt.Sprintf("%v: %q fits %s%s", analytics.ErrAmbiguous, e.Prefix, strings.Join(e.IDs, ", "), more)
}

// Unwrap returns the sentinel.
func (e *AmbiguousError) Unwrap() error { return analytics.ErrAmbiguous }

// Candidates returns the sessions that fit.
func (e *AmbiguousError) Candidates() []string { return e.IDs }

// Sessions returns the sessions that the filter chooses, newest first. A session lies in the
// filter's range if any of its time does.
func (a *Archive) Sessions(ctx context.Context, filter analytics.SessionFilter) ([]analytics.Session, error) {
	if filter.Limit <= 0 {
		filter.Limit = defaultSessions
	}
	filter.Limit = min(filter.Limit, maxSessions)
	ids, err := a.candidates(ctx, filter)
	if err != nil || len(ids) == 0 {
		return []analytics.Session{}, err
	}
	batch, err := a.store.Records(ctx, ids, a.config.MaxRecords)
	if err != nil {
		return nil, fmt.Errorf("read the records of %d sessions: %w", len(ids), err)
	}
	requests, reports := bySession(batch)
	out := make([]analytics.Session, 0, len(ids))
	for _, id := range ids {
		if s := Join(requests[id], reports[id], a.now()); s.ID != "" {
			out = append(out, s)
		}
	}
	return out, nil
}

func bySession(batch telemetry.Batch) (map[string][]telemetry.Request, map[string][]telemetry.Report) {
	requests, reports := map[string][]telemetry.Request{}, map[string][]telemetry.Report{}
	for _, r := range batch.Requests {
		id := r.CMCD.Text(cmcd.KeySID)
		requests[id] = append(requests[id], r)
	}
	for _, r := range batch.Reports {
		id := r.CMCD.Text(cmcd.KeySID)
		reports[id] = append(reports[id], r)
	}
	return requests, reports
}

// candidates returns the IDs of the sessions that the filter chooses, newest first.
func (a *Archive) candidates(ctx context.Context, f analytics.SessionFilter) ([]string, error) {
	statement, args := candidates(f)
	return a.ids(ctx, statement, args...)
}

func (a *Archive) ids(ctx context.Context, statement string, args ...any) (ids []string, err error) {
	rows, err := a.store.Select(ctx, statement, args...)
	if err != nil {
		return nil, fmt.Errorf("find sessions: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, fmt.Errorf("find sessions: %w", err)
		}
		ids = append(ids, id)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("find sessions: %w", err)
	}
	return ids, nil
}

// candidates is the statement that finds the sessions of a filter. A session is as old as its
// oldest record, so the time bounds are on the whole session, never on single records: a cursor
// that cut sessions in two would show them twice.
func candidates(f analytics.SessionFilter) (string, []any) {
	var args []any
	where := "session_id IS NOT NULL AND session_id <> ''"
	if f.Prefix != "" {
		where += " AND session_id LIKE ? ESCAPE '!'"
	}
	arg := func(n int) {
		for range n {
			if f.Prefix != "" {
				args = append(args, likePrefix(f.Prefix))
			}
		}
	}
	arg(2)
	var having []string
	if !f.From.IsZero() {
		having, args = append(having, "max(time) >= ?"), append(args, f.From.UTC())
	}
	if !f.To.IsZero() {
		having, args = append(having, "min(time) < ?"), append(args, f.To.UTC())
	}
	if !f.Before.IsZero() {
		having, args = append(having, "min(time) < ?"), append(args, f.Before.UTC())
	}
	if f.Stream != "" {
		having, args = append(having, "max(CASE WHEN stream = ? THEN 1 ELSE 0 END) = 1"), append(args, f.Stream)
	}
	statement := "SELECT session_id FROM (" +
		"SELECT session_id, time, stream FROM requests WHERE " + where +
		" UNION ALL SELECT session_id, time, NULL AS stream FROM reports WHERE " + where +
		") AS records GROUP BY session_id"
	if len(having) > 0 {
		statement += " HAVING " + strings.Join(having, " AND ")
	}
	statement += " ORDER BY min(time) DESC, session_id LIMIT ?"
	return statement, append(args, f.Limit)
}

// likePrefix is the LIKE pattern of all texts that begin with s; its escape is "!".
func likePrefix(s string) string {
	return strings.NewReplacer("!", "!!", "%", "!%", "_", "!_").Replace(s) + "%"
}

const sessionByID = "SELECT session_id FROM requests WHERE session_id = ? " +
	"UNION SELECT session_id FROM reports WHERE session_id = ? LIMIT 1"

// resolve returns the ID of the one session whose ID is, or begins with, s.
func (a *Archive) resolve(ctx context.Context, s string) (string, error) {
	if s == "" {
		return "", fmt.Errorf("%w: the ID is empty", analytics.ErrNoSession)
	}
	ids, err := a.ids(ctx, sessionByID, s, s)
	if err != nil {
		return "", err
	}
	if len(ids) == 1 {
		return ids[0], nil
	}
	ids, err = a.candidates(ctx, analytics.SessionFilter{Prefix: s, Limit: maxCandidates + 1})
	switch {
	case err != nil:
		return "", err
	case len(ids) == 0:
		return "", fmt.Errorf("%w: none has the ID %q or an ID that begins with it", analytics.ErrNoSession, s)
	case len(ids) > 1:
		return "", &AmbiguousError{Prefix: s, IDs: ids[:min(len(ids), maxCandidates)], More: len(ids) > maxCandidates}
	}
	return ids[0], nil
}

// Session returns the session whose ID is, or alone begins with, idOrUniquePrefix, with its
// records. The error wraps [analytics.ErrNoSession] or is an [AmbiguousError].
func (a *Archive) Session(ctx context.Context, idOrUniquePrefix string) (analytics.SessionDetails, error) {
	id, err := a.resolve(ctx, idOrUniquePrefix)
	if err != nil {
		return analytics.SessionDetails{}, err
	}
	limit := a.config.MaxRecords
	batch, err := a.store.Records(ctx, []string{id}, limit+1)
	if err != nil {
		return analytics.SessionDetails{}, fmt.Errorf("read the records of session %q: %w", id, err)
	}
	if batch.Len() == 0 {
		return analytics.SessionDetails{}, fmt.Errorf("%w: %q has no records any more", analytics.ErrNoSession, id)
	}
	details := analytics.SessionDetails{Truncated: len(batch.Requests) > limit || len(batch.Reports) > limit}
	requests := orderedRequests(batch.Requests[:min(len(batch.Requests), limit)])
	reports, times := orderedReports(batch.Reports[:min(len(batch.Reports), limit)])
	details.Session = Join(requests, reports, a.now())
	details.Exchanges = make([]analytics.Exchange, 0, len(requests))
	for i := range requests {
		details.Exchanges = append(details.Exchanges, exchange(&requests[i]))
	}
	details.Reports = make([]analytics.Event, 0, len(reports))
	for i := range reports {
		details.Reports = append(details.Reports, event(&reports[i], times[i]))
	}
	return details, nil
}

func exchange(r *telemetry.Request) analytics.Exchange {
	e := analytics.Exchange{
		ID: r.ID.String(), Time: r.Time.UTC(), Path: r.Path, Kind: r.Kind, Status: r.Status, Bytes: r.Bytes,
		CacheStatus: r.CacheStatus, MissReason: r.MissReason,
		TTFB: r.TTFB.Seconds(), Duration: r.Duration.Seconds(),
		OriginTTFB: r.OriginTTFB.Seconds(), OriginStatus: r.OriginStatus, Aborted: r.Aborted,
	}
	if !r.HasCMCD {
		return e
	}
	e.CMCD = r.CMCD.Map()
	e.ObjectType = r.CMCD.Text(cmcd.KeyOT)
	e.BufferStarved = r.CMCD.Bool(cmcd.KeyBS)
	if kbps, ok := r.CMCD.Number(cmcd.KeyBR); ok && slices.Contains([]string{"v", "av", "a"}, e.ObjectType) {
		e.Bitrate = kbps * 1e3 // on other objects players name the bitrate of whatever came before
	}
	if ms, ok := r.CMCD.Number(cmcd.KeyBL); ok {
		length := ms / 1e3
		e.BufferLength = &length
	}
	return e
}

func event(r *telemetry.Report, at time.Time) analytics.Event {
	return analytics.Event{
		Time: at.UTC(), Event: r.CMCD.Text(cmcd.KeyE), State: r.CMCD.Text(cmcd.KeySTA), CMCD: r.CMCD.Map(),
	}
}
