//go:build cgo && !noduckdb

package duckdb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"math"
	"net/netip"
	"strings"
	"time"

	duck "github.com/duckdb/duckdb-go/v2"
	"github.com/google/uuid"

	"github.com/weir-stream/weir/cmcd"
	"github.com/weir-stream/weir/internal/telemetry"
)

// Select runs one SELECT with placeholders (?) and returns its rows, which the caller must close.
// It ends with an error after the time that the configuration allows. Anything but a single
// SELECT is refused with [ErrNotSelect]; functions that read files or the network fail.
func (s *Store) Select(ctx context.Context, statement string, args ...any) (*sql.Rows, error) {
	db, err := s.readable()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.config.QueryTimeout)
	// The rows outlive this call, and nobody tells when they are closed: the timeout cleans up.
	context.AfterFunc(ctx, cancel)
	start := time.Now()
	rows, err := selectRows(ctx, db, statement, args)
	result := "ok"
	if err != nil {
		result = "error"
		cancel()
	}
	s.metrics.queries.WithLabelValues(result).Observe(time.Since(start).Seconds())
	return rows, err
}

func (s *Store) readable() (*sql.DB, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	switch {
	case s.closed:
		return nil, ErrClosed
	case s.db == nil:
		return nil, fmt.Errorf("telemetry store is not open after an error")
	}
	return s.db.readers, nil
}

func selectRows(ctx context.Context, db *sql.DB, statement string, args []any) (*sql.Rows, error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, fmt.Errorf("query telemetry store: %w", err)
	}
	err = conn.Raw(func(c any) error { return checkSelect(c.(driver.Conn), statement) })
	if closeErr := conn.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return nil, fmt.Errorf("query telemetry store: %w", err)
	}
	rows, err := db.QueryContext(ctx, statement, args...)
	if err != nil {
		return nil, fmt.Errorf("query telemetry store: %w", err)
	}
	return rows, nil
}

// checkSelect asks DuckDB what the statement is; Prepare, unlike PrepareContext, refuses several.
func checkSelect(conn driver.Conn, statement string) error {
	prepared, err := conn.Prepare(statement)
	if err != nil {
		if strings.Contains(err.Error(), "multi-statement") {
			return ErrNotSelect
		}
		return err
	}
	defer prepared.Close()
	kind, err := prepared.(*duck.Stmt).StatementType()
	if err != nil {
		return err
	}
	if kind != duck.STATEMENT_TYPE_SELECT {
		return ErrNotSelect
	}
	return nil
}

const requestColumns = `id, time, edge, client, client_port, user_agent, referer, method, host, path, query, proto,
	stream, kind, range, status, bytes, content_type, ttfb, duration, aborted, cache_status, miss_reason, collapsed_wait,
	origin_status, origin_ttfb, origin_duration, has_cmcd, cmcd, cmcd_warnings,
	origin, origin_address, queued, tenant, refusal, tcp_rtt, tcp_min_rtt, tcp_sent, tcp_retransmitted, tcp_unsent,
	tcp_delivery_rate, tcp_app_limited, tcp_busy, tcp_rwnd_limited, tcp_sndbuf_limited`

const reportColumns = `id, time, edge, client, user_agent, path, cmcd, cmcd_warnings, clock_offset,
	event_id, event_type, customer_id, device_type, device_os, quality, country, state, city, watched, completion`

// Records returns the records of the sessions in order of time, of each session up to
// limitPerSession requests and as many reports, the oldest first.
func (s *Store) Records(ctx context.Context, sessionIDs []string, limitPerSession int) (telemetry.Batch, error) {
	var batch telemetry.Batch
	if len(sessionIDs) == 0 || limitPerSession < 1 {
		return batch, nil
	}
	err := s.records(ctx, "requests", requestColumns, sessionIDs, limitPerSession, func(rows *sql.Rows) error {
		r, err := scanRequest(rows)
		batch.Requests = append(batch.Requests, r)
		return err
	})
	if err != nil {
		return telemetry.Batch{}, fmt.Errorf("read requests of %d sessions: %w", len(sessionIDs), err)
	}
	err = s.records(ctx, "reports", reportColumns, sessionIDs, limitPerSession, func(rows *sql.Rows) error {
		r, err := scanReport(rows)
		batch.Reports = append(batch.Reports, r)
		return err
	})
	if err != nil {
		return telemetry.Batch{}, fmt.Errorf("read reports of %d sessions: %w", len(sessionIDs), err)
	}
	return batch, nil
}

func (s *Store) records(ctx context.Context, table, columns string, sessionIDs []string, limit int, scan func(*sql.Rows) error) error {
	args := make([]any, 0, len(sessionIDs)+1)
	for _, id := range sessionIDs {
		args = append(args, id)
	}
	args = append(args, limit)
	rows, err := s.Select(ctx, "SELECT "+columns+" FROM "+table+
		" WHERE session_id IN (?"+strings.Repeat(", ?", len(sessionIDs)-1)+
		") QUALIFY row_number() OVER (PARTITION BY session_id ORDER BY time, id) <= ? ORDER BY time, id", args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// The scanners turn NULL into the zero value, which is what it was.
func scanRequest(rows *sql.Rows) (telemetry.Request, error) {
	var r telemetry.Request
	var client, wire string
	var warnings sql.Null[int64]
	err := rows.Scan(id(&r.ID), utc(&r.Time), null(&r.Edge), null(&client), null(&r.ClientPort), null(&r.UserAgent), null(&r.Referer),
		null(&r.Method), null(&r.Host), null(&r.Path), null(&r.Query), null(&r.Proto),
		null(&r.Stream), null(&r.Kind), null(&r.Range), null(&r.Status), null(&r.Bytes), null(&r.ContentType),
		duration(&r.TTFB), duration(&r.Duration), null(&r.Aborted), null(&r.CacheStatus), null(&r.MissReason), duration(&r.CollapsedWait),
		null(&r.OriginStatus), duration(&r.OriginTTFB), duration(&r.OriginDuration), null(&r.HasCMCD), null(&wire), &warnings,
		null(&r.Origin), null(&r.OriginAddress), duration(&r.Queued), null(&r.Tenant), null(&r.Refusal),
		duration(&r.TCP.RTT), duration(&r.TCP.MinRTT), null(&r.TCP.Sent), null(&r.TCP.Retransmitted), null(&r.TCP.Unsent),
		rounded(&r.TCP.DeliveryRate), null(&r.TCP.AppLimited),
		duration(&r.TCP.Busy), duration(&r.TCP.RwndLimited), duration(&r.TCP.SndbufLimited))
	if err != nil {
		return r, err
	}
	r.Client = address(client)
	r.CMCD, err = values(wire, warnings)
	return r, err
}

func scanReport(rows *sql.Rows) (telemetry.Report, error) {
	var r telemetry.Report
	var p telemetry.Playback
	var client, wire string
	var warnings sql.Null[int64]
	err := rows.Scan(id(&r.ID), utc(&r.Time), null(&r.Edge), null(&client), null(&r.UserAgent), null(&r.Path), null(&wire), &warnings,
		optional(&r.ClockOffset, toDuration),
		null(&p.EventID), null(&p.EventType), null(&p.Customer), null(&p.DeviceType), null(&p.DeviceOS), null(&p.Quality),
		null(&p.Country), null(&p.State), null(&p.City), duration(&p.Watched), optional(&p.Completion, func(f float64) float64 { return f }))
	if err != nil {
		return r, err
	}
	r.Client = address(client)
	if p != (telemetry.Playback{}) {
		r.Playback = &p
	}
	r.CMCD, err = values(wire, warnings)
	return r, err
}

// values reads what was stored of a record's CMCD. It was written without fault, so the faults that
// it came with are in a column of their own, which rows have that were written by version 2 or later.
func values(wire string, warnings sql.Null[int64]) (cmcd.Values, error) {
	if wire == "" {
		return cmcd.Values{}, nil
	}
	v, err := cmcd.Parse(wire)
	if warnings.Valid {
		v.Warnings = cmcd.Warning(warnings.V)
	}
	return v, err
}

func address(s string) netip.Addr {
	a, _ := netip.ParseAddr(s) // what is not one is not known
	return a
}

// scanner makes a sql.Scanner of a function.
type scanner func(any) error

func (f scanner) Scan(v any) error { return f(v) }

func null[T any](to *T) sql.Scanner {
	return scanner(func(v any) error {
		var n sql.Null[T]
		err := n.Scan(v)
		*to = n.V
		return err
	})
}

func id(to *uuid.UUID) sql.Scanner {
	return scanner(func(v any) error {
		var u duck.UUID
		err := u.Scan(v)
		*to = uuid.UUID(u)
		return err
	})
}

func utc(to *time.Time) sql.Scanner {
	return scanner(func(v any) error {
		t, ok := v.(time.Time)
		if !ok {
			return fmt.Errorf("%T is no time", v)
		}
		*to = t.UTC()
		return nil
	})
}

func duration(to *time.Duration) sql.Scanner {
	return scanner(func(v any) error {
		var n sql.NullFloat64
		err := n.Scan(v)
		*to = toDuration(n.Float64)
		return err
	})
}

func rounded(to *int64) sql.Scanner {
	return scanner(func(v any) error {
		var n sql.NullFloat64
		err := n.Scan(v)
		*to = int64(math.Round(n.Float64))
		return err
	})
}

func toDuration(seconds float64) time.Duration {
	return time.Duration(math.Round(seconds * float64(time.Second)))
}

// optional leaves to as it is where the column is NULL.
func optional[T any](to **T, convert func(float64) T) sql.Scanner {
	return scanner(func(v any) error {
		var n sql.NullFloat64
		if err := n.Scan(v); err != nil || !n.Valid {
			return err
		}
		value := convert(n.Float64)
		*to = &value
		return nil
	})
}
