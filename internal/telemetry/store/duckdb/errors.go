package duckdb

import "errors"

var (
	// ErrInUse says that another process has the database open. Only one can.
	ErrInUse = errors.New("the database is in use by another process")
	// ErrNotSelect says that a statement is not a single SELECT.
	ErrNotSelect = errors.New("only a single SELECT statement is allowed")
	// ErrClosed says that the store has been closed.
	ErrClosed = errors.New("telemetry store is closed")
)
