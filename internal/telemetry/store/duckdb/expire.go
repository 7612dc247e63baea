//go:build cgo && !noduckdb

package duckdb

import (
	"context"
	"database/sql/driver"
	"fmt"
	"time"
)

// expireHourly deletes what is too old, now and every hour, until ctx ends.
func (s *Store) expireHourly(ctx context.Context) {
	ticker := time.NewTicker(time.Hour)
	defer ticker.Stop()
	for {
		if err := s.expire(s.now().Add(-s.config.Retention)); err != nil {
			s.log.Error("old telemetry could not be deleted", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// expire deletes the records from before the given time. DuckDB gives the room to new rows after
// the next checkpoint.
func (s *Store) expire(before time.Time) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	db, err := s.writable(context.Background())
	if err != nil {
		return err
	}
	for _, table := range []string{"requests", "reports"} {
		n, err := db.exec("DELETE FROM "+table+" WHERE time < ?", driver.NamedValue{Ordinal: 1, Value: before.UTC()})
		if err != nil {
			return fmt.Errorf("delete from %s: %w", table, err)
		}
		s.metrics.expired.Add(float64(n))
	}
	return nil
}
