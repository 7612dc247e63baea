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
	maxPortion      = 50_000 // records that are read at once, if no single session has more
)

// ArchiveSettings are what an [Archive] is made of.
type ArchiveSettings struct {
	Config Config
	Store  Store
	// ViewerTimeout is how long after its last record a session is active; zero means
	// [DefaultViewerTimeout].
	ViewerTimeout time.Duration
	Now           func() time.Time
}

// Archive finds the sessions that a store holds.
type Archive struct {
	config        Config
	store         Store
	viewerTimeout time.Duration
	now           func() time.Time
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
	if set.ViewerTimeout == 0 {
		set.ViewerTimeout = DefaultViewerTimeout
	}
	return &Archive{config: set.Config, store: set.Store, viewerTimeout: set.ViewerTimeout, now: set.Now}, nil
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

// Sessions returns the sessions that the filter chooses, newest first. A session lies in the
// filter's range if any of its time does.
func (a *Archive) Sessions(ctx context.Context, filter analytics.SessionFilter) ([]analytics.Session, error) {
	if filter.Limit <= 0 {
		filter.Limit = defaultSessions
	}
	filter.Limit = min(filter.Limit, maxSessions)
	found, err := a.find(ctx, filter)
	if err != nil {
		return nil, err
	}
	out := make([]analytics.Session, 0, len(found))
	for len(found) > 0 {
		some := found[:a.portion(found)]
		found = found[len(some):]
		batch, err := a.store.Records(ctx, ids(some), a.config.MaxRecords)
		if err != nil {
			return nil, fmt.Errorf("read the records of %d sessions: %w", len(some), err)
		}
		requests, reports := bySession(batch)
		for _, e := range some {
			if s := Join(requests[e.id], reports[e.id], a.now()); s.ID != "" {
				out = append(out, a.complete(s, e))
			}
		}
	}
	return out, nil
}

// portion is how many of the sessions are read at once, so that a page of long sessions takes no
// more memory than one of short ones.
func (a *Archive) portion(found []extent) int {
	records := 0
	for n, e := range found {
		records += min(e.requests, a.config.MaxRecords) + min(e.reports, a.config.MaxRecords)
		if n > 0 && records > maxPortion {
			return n
		}
	}
	return len(found)
}

// complete corrects what a session that has too many records to be read cannot tell of itself.
func (a *Archive) complete(s analytics.Session, e extent) analytics.Session {
	if e.requests > a.config.MaxRecords || e.reports > a.config.MaxRecords {
		s.Truncated = true
		s.Requests, s.Reports = e.requests, e.reports
		s.End = later(s.End, e.end)
	}
	s.Active = a.now().Sub(s.End) < a.viewerTimeout
	return s
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

// extent is what a session's records are, before they are read.
type extent struct {
	id                string
	end               time.Time
	requests, reports int
}

func ids(list []extent) []string {
	out := make([]string, len(list))
	for i, e := range list {
		out[i] = e.id
	}
	return out
}

// find returns the sessions that the filter chooses, in its order.
func (a *Archive) find(ctx context.Context, f analytics.SessionFilter) ([]extent, error) {
	if f.Prefix == "" {
		return a.extents(ctx, "session_id <> ''", nil, f)
	}
	return a.extents(ctx, "session_id LIKE ? ESCAPE '!'", []any{likePrefix(f.Prefix)}, f)
}

func (a *Archive) extents(ctx context.Context, condition string, args []any, f analytics.SessionFilter) (out []extent, err error) {
	statement, args := selection(condition, args, f)
	rows, err := a.store.Select(ctx, statement, args...)
	if err != nil {
		return nil, fmt.Errorf("find sessions: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var e extent
		if err := rows.Scan(&e.id, &e.end, &e.requests, &e.reports); err != nil {
			return nil, fmt.Errorf("find sessions: %w", err)
		}
		out = append(out, e)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("find sessions: %w", err)
	}
	return out, nil
}

// selection is the statement that finds sessions: those whose ID meets the condition, with its
// arguments, and that the filter chooses. A session is as old as its oldest record, so the time
// bounds are on the whole session, never on single records: a cursor that cut sessions in two
// would show them twice.
func selection(condition string, arguments []any, f analytics.SessionFilter) (string, []any) {
	args := slices.Concat(arguments, arguments)
	var having []string
	if !f.From.IsZero() {
		having, args = append(having, "max(time) >= ?"), append(args, f.From.UTC())
	}
	if !f.To.IsZero() {
		having, args = append(having, "min(time) < ?"), append(args, f.To.UTC())
	}
	switch {
	case f.Before.IsZero():
	case f.BeforeID == "":
		having, args = append(having, "min(time) < ?"), append(args, f.Before.UTC())
	default:
		having = append(having, "(min(time) < ? OR min(time) = ? AND session_id > ?)")
		args = append(args, f.Before.UTC(), f.Before.UTC(), f.BeforeID)
	}
	if f.Stream != "" {
		having, args = append(having, "max(CASE WHEN stream = ? THEN 1 ELSE 0 END) = 1"), append(args, f.Stream)
	}
	statement := "SELECT session_id, max(time), count(request), count(report) FROM (" +
		"SELECT session_id, time, stream, 1 AS request, NULL AS report FROM requests WHERE " + condition +
		" UNION ALL SELECT session_id, time, NULL, NULL, 1 FROM reports WHERE " + condition +
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

// resolve finds the one session whose ID is, or begins with, s.
func (a *Archive) resolve(ctx context.Context, s string) (extent, error) {
	if s == "" {
		return extent{}, fmt.Errorf("%w: the ID is empty", analytics.ErrNoSession)
	}
	found, err := a.extents(ctx, "session_id = ?", []any{s}, analytics.SessionFilter{Limit: 1})
	if err != nil {
		return extent{}, err
	}
	if len(found) == 1 {
		return found[0], nil
	}
	found, err = a.find(ctx, analytics.SessionFilter{Prefix: s, Limit: maxCandidates + 1})
	switch {
	case err != nil:
		return extent{}, err
	case len(found) == 0:
		return extent{}, fmt.Errorf("%w: none has the ID %q or an ID that begins with it", analytics.ErrNoSession, s)
	case len(found) > 1:
		return extent{}, &AmbiguousError{Prefix: s, IDs: ids(found[:min(len(found), maxCandidates)]), More: len(found) > maxCandidates}
	}
	return found[0], nil
}

// Session returns the session whose ID is, or alone begins with, idOrUniquePrefix, with its
// records. The error wraps [analytics.ErrNoSession] or is an [AmbiguousError].
func (a *Archive) Session(ctx context.Context, idOrUniquePrefix string) (analytics.SessionDetails, error) {
	e, err := a.resolve(ctx, idOrUniquePrefix)
	if err != nil {
		return analytics.SessionDetails{}, err
	}
	batch, err := a.store.Records(ctx, []string{e.id}, a.config.MaxRecords)
	if err != nil {
		return analytics.SessionDetails{}, fmt.Errorf("read the records of session %q: %w", e.id, err)
	}
	if batch.Len() == 0 {
		return analytics.SessionDetails{}, fmt.Errorf("%w: %q has no records any more", analytics.ErrNoSession, e.id)
	}
	j := newJoin(batch.Requests, batch.Reports)
	details := analytics.SessionDetails{Session: a.complete(j.session(a.now()), e)}
	details.Truncated = details.Session.Truncated
	details.Exchanges, details.Reports = j.details()
	return details, nil
}
