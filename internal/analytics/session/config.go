package session

import (
	"fmt"
	"time"
)

// DefaultViewerTimeout is how long after its last record a session still counts as active where
// nothing else is said.
const DefaultViewerTimeout = 30 * time.Second

// Config is how sessions are read.
type Config struct {
	// MaxRecords is the number of requests, and of reports, that are read of one stored session.
	MaxRecords int `yaml:"max_records"`
}

// DefaultConfig returns the configuration of a server that has none.
func DefaultConfig() Config { return Config{MaxRecords: 5_000} }

// Validate says what is wrong with the configuration.
func (c Config) Validate() error {
	if c.MaxRecords < 100 || c.MaxRecords > 100_000 {
		return fmt.Errorf("max_records: %d: expected 100 to 100000", c.MaxRecords)
	}
	return nil
}
