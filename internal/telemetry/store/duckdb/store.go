//go:build cgo && !noduckdb

package duckdb

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	duck "github.com/duckdb/duckdb-go/v2"
	"github.com/google/uuid"

	"github.com/weir-stream/weir/internal/telemetry"
)

// Store is the store. Its methods may be called from many goroutines.
type Store struct {
	config  Config
	dir     string
	log     *slog.Logger
	now     func() time.Time
	metrics *metrics

	stop    context.CancelFunc
	expirer sync.WaitGroup

	writing sync.Mutex // held while something is written; guards row and recent
	row     []driver.Value
	recent  recent

	mu     sync.RWMutex // guards the fields below
	db     *database
	broken bool // db must be opened again
	closed bool
}

// New opens the store in the directory s.Dir, which is made if need be. The error is [ErrInUse] if
// another process has it open.
func New(s Settings) (*Store, error) {
	if err := s.Config.Validate(); err != nil {
		return nil, fmt.Errorf("telemetry store: %w", err)
	}
	dir, err := filepath.Abs(s.Dir)
	if err != nil {
		return nil, fmt.Errorf("telemetry store: %w", err)
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("telemetry store: %w", err)
	}
	if s.Log == nil {
		s.Log = slog.New(slog.DiscardHandler)
	}
	if s.Now == nil {
		s.Now = time.Now
	}
	file := filepath.Join(dir, FileName)
	db, err := openDatabase(context.Background(), s.Config, dir)
	if err != nil {
		return nil, fmt.Errorf("open telemetry store %s: %w", file, err)
	}
	m, err := newMetrics(s.Registerer, file)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("telemetry store: register metrics: %w", err), db.close())
	}
	ids, err := db.recentReports()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open telemetry store %s: read the newest reports: %w", file, err), db.close())
	}
	ctx, cancel := context.WithCancel(context.Background())
	store := &Store{config: s.Config, dir: dir, log: s.Log, now: s.Now, metrics: m, recent: ids, db: db, stop: cancel}
	if s.Config.Retention > 0 {
		store.expirer.Go(func() { store.expireHourly(ctx) })
	}
	return store, nil
}

// Close waits for what is being written, and closes the file. Rows that a caller has still open keep
// the file until they are closed.
func (s *Store) Close() error {
	s.stop()
	s.expirer.Wait()
	s.writing.Lock()
	defer s.writing.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	if s.db == nil {
		return nil
	}
	if err := s.db.close(); err != nil {
		return fmt.Errorf("close telemetry store: %w", err)
	}
	return nil
}

// Append writes the batch, as a whole or not at all. When it returns nil, the batch is on disk.
// Records that are there already are left out. An error is worth another try unless it was marked
// by [telemetry.Permanent].
func (s *Store) Append(ctx context.Context, batch telemetry.Batch) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	db, err := s.writable(ctx)
	if err != nil {
		return fmt.Errorf("append to telemetry store: %w", err)
	}
	written, err := s.write(db, batch)
	if err != nil {
		if invalidated(err) {
			s.mu.Lock()
			s.broken = true
			s.mu.Unlock()
		}
		err = fmt.Errorf("append %d records to telemetry store: %w", batch.Len(), err)
		if !retryable(err) {
			err = telemetry.Permanent(err)
		}
		return err
	}
	for i := range batch.Reports {
		s.recent.add(batch.Reports[i].ID)
	}
	s.metrics.rows.WithLabelValues("requests").Add(float64(written.requests))
	s.metrics.rows.WithLabelValues("reports").Add(float64(written.reports))
	s.metrics.duplicates.Add(float64(batch.Len() - written.requests - written.reports))
	return nil
}

// writable returns the database, opened again if the last one broke.
func (s *Store) writable(ctx context.Context) (*database, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, telemetry.Permanent(ErrClosed)
	}
	if !s.broken {
		return s.db, nil
	}
	if s.db != nil {
		if err := s.db.close(); err != nil {
			s.log.Warn("broken telemetry store did not close", "error", err)
		}
		s.db = nil
	}
	db, err := openDatabase(ctx, s.config, s.dir)
	if err != nil {
		return nil, fmt.Errorf("open it again: %w", err)
	}
	s.db, s.broken = db, false
	s.metrics.reopened.Inc()
	s.log.Info("telemetry store opened again")
	return db, nil
}

type counts struct{ requests, reports int }

func (s *Store) write(db *database, batch telemetry.Batch) (written counts, err error) {
	if _, err := db.exec("BEGIN"); err != nil {
		return written, err
	}
	defer func() {
		if err != nil {
			if _, rollback := db.exec("ROLLBACK"); rollback != nil {
				err = errors.Join(err, rollback)
			}
		}
	}()
	written.requests, err = appendRows(s, db, "requests", batch.Requests, appendRequest,
		func(r *telemetry.Request) (uuid.UUID, time.Time) { return r.ID, r.Time },
		func(uuid.UUID) bool { return false })
	if err != nil {
		return written, err
	}
	written.reports, err = appendRows(s, db, "reports", batch.Reports, appendReport,
		func(r *telemetry.Report) (uuid.UUID, time.Time) { return r.ID, r.Time }, s.recent.has)
	if err != nil {
		return written, err
	}
	_, err = db.exec("COMMIT")
	return written, err
}

// appendRows writes those records to the table that are not there yet: neither with the same time,
// nor resent.
func appendRows[R any](s *Store, db *database, table string, records []R,
	columns func([]driver.Value, *R) []driver.Value, key func(*R) (uuid.UUID, time.Time), resent func(uuid.UUID) bool,
) (int, error) {
	if len(records) == 0 {
		return 0, nil
	}
	known, err := present(db, table, records, key)
	if err != nil {
		return 0, err
	}
	appender, err := duck.NewAppender(db.writer, "", "", table)
	if err != nil {
		return 0, err
	}
	n := 0
	for i := range records {
		id, _ := key(&records[i])
		if _, ok := known[id]; ok || resent(id) {
			continue
		}
		known[id] = struct{}{} // a batch may have it twice
		s.row = columns(s.row[:0], &records[i])
		if err := appender.AppendRow(s.row...); err != nil {
			return 0, errors.Join(fmt.Errorf("table %s: %w", table, err), appender.Clear(), appender.Close())
		}
		n++
	}
	clear(s.row)
	if err := appender.Close(); err != nil {
		return 0, fmt.Errorf("table %s: %w", table, err)
	}
	return n, nil
}

// present returns which of the records the table has already with the same time, which is what an
// Append finds that is tried again. So only rows of that time need to be looked at; DuckDB skips the
// rest of the table.
func present[R any](db *database, table string, records []R, key func(*R) (uuid.UUID, time.Time)) (map[uuid.UUID]struct{}, error) {
	incoming, err := duck.NewAppender(db.writer, "temp", "main", "incoming")
	if err != nil {
		return nil, err
	}
	_, first := key(&records[0])
	last := first
	for i := range records {
		id, at := key(&records[i])
		if err := incoming.AppendRow(duck.UUID(id)); err != nil {
			return nil, errors.Join(err, incoming.Clear(), incoming.Close())
		}
		if at.Before(first) {
			first = at
		}
		if at.After(last) {
			last = at
		}
	}
	if err := incoming.Close(); err != nil {
		return nil, err
	}
	rows, err := db.writer.(driver.QueryerContext).QueryContext(context.Background(),
		"SELECT id FROM temp.incoming WHERE id IN (SELECT id FROM main."+table+" WHERE time BETWEEN ? AND ?)",
		[]driver.NamedValue{ // stored times have whole microseconds
			{Ordinal: 1, Value: first.UTC().Add(-time.Microsecond)},
			{Ordinal: 2, Value: last.UTC().Add(time.Microsecond)},
		})
	if err != nil {
		return nil, err
	}
	known := make(map[uuid.UUID]struct{}, len(records))
	value := make([]driver.Value, 1)
	for err = rows.Next(value); err == nil; err = rows.Next(value) {
		var id duck.UUID
		if err = id.Scan(value[0]); err != nil {
			break
		}
		known[uuid.UUID(id)] = struct{}{}
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	if err = errors.Join(err, rows.Close()); err != nil {
		return nil, err
	}
	_, err = db.exec("DELETE FROM temp.incoming")
	return known, err
}
