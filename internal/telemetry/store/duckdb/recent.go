//go:build cgo && !noduckdb

package duckdb

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"

	duck "github.com/duckdb/duckdb-go/v2"
	"github.com/google/uuid"
)

// recentCount is how many reports a generation of recent has.
const recentCount = 250_000

// recent knows the IDs of the reports that were written last: at least recentCount of them, at most
// twice as many, which takes up to 13 MB. A player that gets no answer sends its report again,
// perhaps to another edge, or after a restart of this process; both have the same ID, but not the
// same time of receipt. To look through the rows of the last minutes for each batch would cost more
// than to write it, as the ID begins with the player's clock, which may be any.
type recent struct{ young, old map[uuid.UUID]struct{} }

// resendable is the version of those IDs that a resent record has again; see [telemetry.Report].
const resendable = 8

func (r *recent) has(id uuid.UUID) bool {
	if id.Version() != resendable {
		return false
	}
	if _, ok := r.young[id]; ok {
		return true
	}
	_, ok := r.old[id]
	return ok
}

// add takes note of an ID that was written.
func (r *recent) add(id uuid.UUID) {
	if id.Version() != resendable {
		return
	}
	if r.young == nil || len(r.young) >= recentCount {
		r.old, r.young = r.young, make(map[uuid.UUID]struct{})
	}
	r.young[id] = struct{}{}
}

// recentReports reads the IDs of the reports that were written last.
func (d *database) recentReports() (recent, error) {
	var r recent
	rows, err := d.writer.(driver.QueryerContext).QueryContext(context.Background(),
		"SELECT id FROM reports WHERE rowid > (SELECT max(rowid) FROM reports) - ?",
		[]driver.NamedValue{{Ordinal: 1, Value: int64(recentCount)}})
	if err != nil {
		return r, err
	}
	value := make([]driver.Value, 1)
	for err = rows.Next(value); err == nil; err = rows.Next(value) {
		var id duck.UUID
		if err = id.Scan(value[0]); err != nil {
			break
		}
		r.add(uuid.UUID(id))
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return r, errors.Join(err, rows.Close())
}
