//go:build cgo && !noduckdb

package duckdb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"

	duck "github.com/duckdb/duckdb-go/v2"
)

// database is an open DuckDB file: one connection that writes, and a pool of those that read.
type database struct {
	readers *sql.DB
	writer  driver.Conn
}

func openDatabase(ctx context.Context, c Config, dir string) (_ *database, err error) {
	threads := c.Threads
	if threads == 0 {
		threads = max(1, runtime.NumCPU()-1)
	}
	temporary := filepath.Join(dir, "telemetry.tmp")
	if err := os.MkdirAll(temporary, 0o750); err != nil {
		return nil, err
	}
	options := url.Values{}
	for k, v := range map[string]string{
		"memory_limit":         c.MemoryLimit,
		"checkpoint_threshold": c.CheckpointThreshold,
		"threads":              strconv.Itoa(threads),
		"temp_directory":       temporary,
		// DuckDB would fetch extensions from the network.
		"autoinstall_known_extensions": "false",
		"autoload_known_extensions":    "false",
		"allow_community_extensions":   "false",
	} {
		options.Set(k, v)
	}
	connector, err := duck.NewConnector(filepath.Join(dir, FileName)+"?"+options.Encode(), nil)
	if err != nil {
		return nil, explainOpen(err)
	}
	readers := sql.OpenDB(connector)
	readers.SetMaxOpenConns(c.Queries)
	readers.SetMaxIdleConns(c.Queries)
	defer func() {
		if err != nil {
			err = errors.Join(err, readers.Close())
		}
	}()
	if err := migrate(ctx, readers); err != nil {
		return nil, err
	}
	// From here on no query can read other files, reach the network or change a setting.
	for _, statement := range []string{"SET GLOBAL enable_external_access = false", "SET GLOBAL lock_configuration = true"} {
		if _, err := readers.ExecContext(ctx, statement); err != nil {
			return nil, fmt.Errorf("%s: %w", statement, err)
		}
	}
	writer, err := connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	d := &database{readers: readers, writer: writer}
	if _, err := d.exec("CREATE TEMP TABLE incoming (id UUID)"); err != nil {
		return nil, errors.Join(err, writer.Close())
	}
	return d, nil
}

func (d *database) close() error {
	return errors.Join(d.writer.Close(), d.readers.Close())
}

// exec runs a statement of the writer. It is not given a context that ends, because a commit that
// was broken off would leave open whether it took place.
func (d *database) exec(statement string, args ...driver.NamedValue) (int64, error) {
	result, err := d.writer.(driver.ExecerContext).ExecContext(context.Background(), statement, args)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

var lockHolder = regexp.MustCompile(`Conflicting lock is held in (.*?) ?\(PID (\d+)\)`)

// explainOpen says who holds the file, if somebody does.
func explainOpen(err error) error {
	if m := lockHolder.FindStringSubmatch(err.Error()); m != nil {
		return fmt.Errorf("%w: process %s (%s)", ErrInUse, m[2], m[1])
	}
	if strings.Contains(err.Error(), "Could not set lock") {
		return fmt.Errorf("%w: %w", ErrInUse, err)
	}
	return err
}

// retryable reports whether a write that failed may succeed later: the disk was full, or memory short.
func retryable(err error) bool {
	var e *duck.Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.Type {
	case duck.ErrorTypeIO, duck.ErrorTypeOutOfMemory, duck.ErrorTypeTransaction, duck.ErrorTypeFatal,
		duck.ErrorTypeInterrupt, duck.ErrorTypeConnection, duck.ErrorTypeInternal:
		return true
	default:
		// A commit that fails on a full disk is wrapped in an error of another type.
		return strings.Contains(e.Msg, "IO Error") || invalidated(err)
	}
}

// invalidated reports whether DuckDB refuses to go on with this instance: it must be opened again.
func invalidated(err error) bool {
	var e *duck.Error
	return errors.As(err, &e) &&
		(e.Type == duck.ErrorTypeFatal || e.Type == duck.ErrorTypeInternal || strings.Contains(e.Msg, "invalidated"))
}
