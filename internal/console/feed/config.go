package feed

import (
	"fmt"
	"time"
)

// Config is how the feed is served.
type Config struct {
	// Interval is the time between two snapshots.
	Interval time.Duration `yaml:"interval"`
	// MaxClients is the number of clients that are served at once.
	MaxClients int `yaml:"max_clients"`
	// PingInterval is how often a client is asked whether it is still there, PingTimeout how long
	// it has to answer.
	PingInterval time.Duration `yaml:"ping_interval"`
	PingTimeout  time.Duration `yaml:"ping_timeout"`
	// WriteTimeout is how long a message may take before the client is given up.
	WriteTimeout time.Duration `yaml:"write_timeout"`
	// Origins are the hosts, as patterns with *, whose pages may connect beside those of the
	// listener itself.
	Origins []string `yaml:"origins"`
}

// DefaultConfig returns the configuration of a server that has none.
func DefaultConfig() Config {
	return Config{
		Interval: time.Second, MaxClients: 1_000,
		PingInterval: 20 * time.Second, PingTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second,
	}
}

// Validate says what is wrong with the configuration.
func (c Config) Validate() error {
	if c.MaxClients < 1 || c.MaxClients > 100_000 {
		return fmt.Errorf("max_clients: %d: expected 1 to 100000", c.MaxClients)
	}
	for _, d := range []struct {
		key   string
		value time.Duration
	}{{"interval", c.Interval}, {"ping_interval", c.PingInterval}, {"ping_timeout", c.PingTimeout}, {"write_timeout", c.WriteTimeout}} {
		if d.value < 100*time.Millisecond || d.value > time.Minute {
			return fmt.Errorf("%s: %v: expected 100ms to 1m", d.key, d.value)
		}
	}
	return nil
}
