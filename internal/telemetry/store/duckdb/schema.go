//go:build cgo && !noduckdb

package duckdb

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
)

// migrations make the schema: the i-th brings a database from version i to i+1. What was released
// is never changed, only added to. There is no index, as it would slow down appends and forbid
// checkpoints beside them; time orders the rows well enough for DuckDB to skip what a query does
// not ask for.
var migrations = []string{
	`CREATE TABLE requests (
		id UUID NOT NULL, time TIMESTAMP NOT NULL, edge VARCHAR,
		client VARCHAR, client_port INTEGER, user_agent VARCHAR, referer VARCHAR,
		method VARCHAR, host VARCHAR, path VARCHAR, query VARCHAR, proto VARCHAR,
		stream VARCHAR, kind VARCHAR, range VARCHAR,
		status INTEGER, bytes BIGINT NOT NULL, content_type VARCHAR,
		ttfb DOUBLE, duration DOUBLE, aborted BOOLEAN NOT NULL,
		cache_status VARCHAR, miss_reason VARCHAR, collapsed_wait DOUBLE,
		origin_status INTEGER, origin_ttfb DOUBLE, origin_duration DOUBLE,
		has_cmcd BOOLEAN NOT NULL, cmcd VARCHAR,
		` + unpackedColumns + `);
	CREATE TABLE reports (
		id UUID NOT NULL, time TIMESTAMP NOT NULL, edge VARCHAR,
		client VARCHAR, user_agent VARCHAR, path VARCHAR,
		event VARCHAR NOT NULL, event_time TIMESTAMP, cmcd VARCHAR,
		` + unpackedColumns + `,
		starvations BIGINT, starvation_time DOUBLE);`,
	`ALTER TABLE requests ADD COLUMN cmcd_warnings BIGINT;
	ALTER TABLE reports ADD COLUMN cmcd_warnings BIGINT;
	ALTER TABLE reports ADD COLUMN clock_offset DOUBLE;
	ALTER TABLE reports ADD COLUMN event_id VARCHAR;
	ALTER TABLE reports ADD COLUMN event_type VARCHAR;
	ALTER TABLE reports ADD COLUMN customer_id VARCHAR;
	ALTER TABLE reports ADD COLUMN device_type VARCHAR;
	ALTER TABLE reports ADD COLUMN device_os VARCHAR;
	ALTER TABLE reports ADD COLUMN quality VARCHAR;
	ALTER TABLE reports ADD COLUMN country VARCHAR;
	ALTER TABLE reports ADD COLUMN state VARCHAR;
	ALTER TABLE reports ADD COLUMN city VARCHAR;
	ALTER TABLE reports ADD COLUMN watched DOUBLE;
	ALTER TABLE reports ADD COLUMN completion DOUBLE;`,
	`ALTER TABLE requests ADD COLUMN origin VARCHAR;
	ALTER TABLE requests ADD COLUMN origin_address VARCHAR;
	ALTER TABLE requests ADD COLUMN queued DOUBLE;
	ALTER TABLE requests ADD COLUMN tenant VARCHAR;
	ALTER TABLE requests ADD COLUMN refusal VARCHAR;
	ALTER TABLE requests ADD COLUMN tcp_rtt DOUBLE;
	ALTER TABLE requests ADD COLUMN tcp_min_rtt DOUBLE;
	ALTER TABLE requests ADD COLUMN tcp_sent BIGINT;
	ALTER TABLE requests ADD COLUMN tcp_retransmitted BIGINT;
	ALTER TABLE requests ADD COLUMN tcp_unsent BIGINT;
	ALTER TABLE requests ADD COLUMN tcp_delivery_rate DOUBLE;
	ALTER TABLE requests ADD COLUMN tcp_app_limited BOOLEAN;
	ALTER TABLE requests ADD COLUMN tcp_busy DOUBLE;
	ALTER TABLE requests ADD COLUMN tcp_rwnd_limited DOUBLE;
	ALTER TABLE requests ADD COLUMN tcp_sndbuf_limited DOUBLE;`,
}

// unpackedColumns are the keys of the CMCD record that queries ask for, in units of their own; see
// appendUnpacked.
const unpackedColumns = `cmcd_version INTEGER, session_id VARCHAR, content_id VARCHAR,
		object_type VARCHAR, streaming_format VARCHAR, stream_type VARCHAR, player_state VARCHAR,
		bitrate DOUBLE, top_bitrate DOUBLE, throughput DOUBLE,
		buffer_length DOUBLE, object_duration DOUBLE, deadline DOUBLE,
		buffer_starved BOOLEAN, startup BOOLEAN, playback_rate DOUBLE, requested_throughput DOUBLE,
		live_latency DOUBLE, start_delay DOUBLE, playhead_time DOUBLE, sequence_number BIGINT`

// migrate brings the database to the newest version.
func migrate(ctx context.Context, db *sql.DB) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // has no effect after Commit
	if _, err := tx.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL, applied TIMESTAMP NOT NULL)`); err != nil {
		return err
	}
	var version int
	if err := tx.QueryRowContext(ctx, `SELECT coalesce(max(version), 0) FROM schema_version`).Scan(&version); err != nil {
		return err
	}
	if version > len(migrations) {
		return fmt.Errorf("its schema has version %d, this Weir knows up to %d: it was written by a newer Weir", version, len(migrations))
	}
	for ; version < len(migrations); version++ {
		for _, statement := range strings.Split(migrations[version], ";") {
			if strings.TrimSpace(statement) == "" {
				continue
			}
			if _, err := tx.ExecContext(ctx, statement); err != nil {
				return fmt.Errorf("migrate schema to version %d: %w", version+1, err)
			}
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO schema_version VALUES (?, now()::TIMESTAMP)`, version+1); err != nil {
			return err
		}
	}
	return tx.Commit()
}
