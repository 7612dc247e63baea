//go:build !cgo || noduckdb

package duckdb

import (
	"context"
	"database/sql"
	"errors"

	"github.com/weir-stream/weir/internal/telemetry"
)

var errNoDuckDB = errors.New("telemetry store: this binary was built without DuckDB (it needs cgo, and no build tag noduckdb)")

// Store stands in for the store where DuckDB was not built in. There is none of it: New fails.
type Store struct{}

// New returns an error that says why there is no store.
func New(Settings) (*Store, error) { return nil, errNoDuckDB }

// Append fails.
func (s *Store) Append(context.Context, telemetry.Batch) error {
	return telemetry.Permanent(errNoDuckDB)
}

// Select fails.
func (s *Store) Select(context.Context, string, ...any) (*sql.Rows, error) { return nil, errNoDuckDB }

// Records fails.
func (s *Store) Records(context.Context, []string, int) (telemetry.Batch, error) {
	return telemetry.Batch{}, errNoDuckDB
}

// Close does nothing.
func (s *Store) Close() error { return nil }
