package query

import (
	"fmt"
	"time"
)

// Config bounds what a query may ask for.
type Config struct {
	// DefaultRange is how far a query looks back that does not say from when.
	DefaultRange time.Duration `yaml:"default_range"`
	// DefaultRows is the number of rows returned where a query names no limit; MaxRows the
	// greatest limit.
	DefaultRows int `yaml:"default_rows"`
	MaxRows     int `yaml:"max_rows"`
}

// DefaultConfig returns the configuration of a server that has none.
func DefaultConfig() Config {
	return Config{DefaultRange: time.Hour, DefaultRows: 1_000, MaxRows: 10_000}
}

// Validate says what is wrong with the configuration.
func (c Config) Validate() error {
	switch {
	case c.DefaultRange < time.Minute:
		return fmt.Errorf("default_range: %v: expected 1m or more", c.DefaultRange)
	case c.MaxRows < 1 || c.MaxRows > 100_000:
		return fmt.Errorf("max_rows: %d: expected 1 to 100000", c.MaxRows)
	case c.DefaultRows < 1 || c.DefaultRows > c.MaxRows:
		return fmt.Errorf("default_rows: %d: expected 1 to max_rows (%d)", c.DefaultRows, c.MaxRows)
	}
	return nil
}
