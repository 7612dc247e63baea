package duckdb

import (
	"fmt"
	"log/slog"
	"regexp"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// FileName is the name of the database file in the data directory.
const FileName = "telemetry.duckdb"

// Config is what users may set of the store.
type Config struct {
	// MemoryLimit is how much memory DuckDB may use for its buffers, such as "1GB". The process
	// takes up to two thirds more.
	MemoryLimit string `yaml:"memory_limit"`
	// Threads is how many threads a query may use; 0 means one less than the machine has.
	Threads int `yaml:"threads"`
	// CheckpointThreshold is how large the write-ahead log grows before it is merged into the
	// file, which makes the writer wait.
	CheckpointThreshold string `yaml:"checkpoint_threshold"`
	// QueryTimeout ends a query that takes longer; Queries is how many may run at once.
	QueryTimeout time.Duration `yaml:"query_timeout"`
	Queries      int           `yaml:"queries"`
	// Retention is how long records are kept; 0s means for ever.
	Retention time.Duration `yaml:"retention"`
}

// DefaultConfig returns the values that hold for one busy machine.
func DefaultConfig() Config {
	return Config{
		MemoryLimit:         "1GB",
		CheckpointThreshold: "128MB",
		QueryTimeout:        30 * time.Second,
		Queries:             4,
		Retention:           30 * 24 * time.Hour,
	}
}

// Validate reports the first value that makes no sense.
func (c Config) Validate() error {
	size := regexp.MustCompile(`^[1-9][0-9]{0,5}(KB|MB|GB|TB|KiB|MiB|GiB|TiB)$`)
	for _, v := range [][2]string{{"memory_limit", c.MemoryLimit}, {"checkpoint_threshold", c.CheckpointThreshold}} {
		if !size.MatchString(v[1]) {
			return fmt.Errorf(`%s is %q: expected a size such as "512MB"`, v[0], v[1])
		}
	}
	switch {
	case c.Threads < 0:
		return fmt.Errorf("threads is %d: expected 0 or more", c.Threads)
	case c.QueryTimeout <= 0:
		return fmt.Errorf("query_timeout is %v: expected a positive duration", c.QueryTimeout)
	case c.Queries < 1:
		return fmt.Errorf("queries is %d: expected at least 1", c.Queries)
	case c.Retention < 0:
		return fmt.Errorf("retention is %v: expected 0 or more", c.Retention)
	}
	return nil
}

// Settings are what [New] needs.
type Settings struct {
	Config Config
	// Dir is the data directory; the file and DuckDB's temporary files lie in it.
	Dir        string
	Log        *slog.Logger
	Registerer prometheus.Registerer
	// Now is the clock of the retention, time.Now if nil.
	Now func() time.Time
}
