package tracker

import (
	"fmt"
	"time"
)

// Config is how what is going on now is counted.
type Config struct {
	// Window is the length of time that live rates are taken over.
	Window time.Duration `yaml:"window"`
	// ViewerTimeout is how long after its last record a session still counts as a viewer.
	ViewerTimeout time.Duration `yaml:"viewer_timeout"`
	// MaxSessions is the number of sessions that are tracked at once; beyond it the one that has
	// been silent longest is forgotten, and counted.
	MaxSessions int `yaml:"max_sessions"`
}

// DefaultConfig returns the configuration of a server that has none.
func DefaultConfig() Config {
	return Config{Window: 10 * time.Second, ViewerTimeout: 30 * time.Second, MaxSessions: 20_000}
}

// Validate says what is wrong with the configuration.
func (c Config) Validate() error {
	switch {
	case c.Window < time.Second || c.Window > 10*time.Minute || c.Window%time.Second != 0:
		return fmt.Errorf("window: %v: expected whole seconds from 1s to 10m", c.Window)
	case c.ViewerTimeout < time.Second || c.ViewerTimeout > time.Hour:
		return fmt.Errorf("viewer_timeout: %v: expected 1s to 1h", c.ViewerTimeout)
	case c.MaxSessions < 1 || c.MaxSessions > 1_000_000:
		return fmt.Errorf("max_sessions: %d: expected 1 to 1000000", c.MaxSessions)
	}
	return nil
}
