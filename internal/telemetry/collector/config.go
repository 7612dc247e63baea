package collector

import (
	"fmt"
	"time"
)

// Config is what users may set of the collector.
type Config struct {
	// MaxBodyBytes is how large a body may be; a larger one is answered with 413.
	MaxBodyBytes int64 `yaml:"max_body_bytes"`
	// BodyTimeout is how long a body may take to come; a slower one is answered with 408.
	BodyTimeout time.Duration `yaml:"body_timeout"`
	// MaxRecordBytes is how long a record may be; a longer one is dropped.
	MaxRecordBytes int `yaml:"max_record_bytes"`
	// MaxRecords is how many records of a body are taken; the rest is dropped.
	MaxRecords int `yaml:"max_records"`
}

// DefaultConfig returns limits that no player comes near.
func DefaultConfig() Config {
	return Config{MaxBodyBytes: 1 << 20, BodyTimeout: 10 * time.Second, MaxRecordBytes: 16 << 10, MaxRecords: 1000}
}

// Validate reports the first value that makes no sense.
func (c Config) Validate() error {
	switch {
	case c.MaxBodyBytes < 1:
		return fmt.Errorf("max_body_bytes is %d: expected at least 1", c.MaxBodyBytes)
	case c.BodyTimeout <= 0:
		return fmt.Errorf("body_timeout is %v: expected a positive duration", c.BodyTimeout)
	case c.MaxRecordBytes < 1:
		return fmt.Errorf("max_record_bytes is %d: expected at least 1", c.MaxRecordBytes)
	case c.MaxRecords < 1:
		return fmt.Errorf("max_records is %d: expected at least 1", c.MaxRecords)
	}
	return nil
}
