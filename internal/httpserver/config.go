package httpserver

import (
	"fmt"
	"net"
	"time"
)

// Config is what a listener can be told.
type Config struct {
	// Address is where to listen, as "host:port" or ":port".
	Address string `yaml:"address"`
	// MaxConnections is how many connections may be open at a time; others wait to be accepted.
	MaxConnections int `yaml:"max_connections"`
	// HeaderTimeout bounds the time from a connection's or request's beginning to the end of its
	// head; IdleTimeout the time between two requests.
	HeaderTimeout time.Duration `yaml:"header_timeout"`
	IdleTimeout   time.Duration `yaml:"idle_timeout"`
	// StallTimeout is how long a client may take none of its answer, or send none of its body.
	StallTimeout time.Duration `yaml:"stall_timeout"`
	// DrainTimeout bounds the time that requests in flight have to finish when the server stops.
	DrainTimeout time.Duration `yaml:"drain_timeout"`
	// MaxHeaderBytes bounds a request's head.
	MaxHeaderBytes int `yaml:"max_header_bytes"`
}

// DefaultConfig returns the defaults for a listener on address.
func DefaultConfig(address string) Config {
	return Config{
		Address:        address,
		MaxConnections: 10_000,
		HeaderTimeout:  10 * time.Second,
		IdleTimeout:    75 * time.Second,
		StallTimeout:   30 * time.Second,
		DrainTimeout:   5 * time.Second,
		MaxHeaderBytes: 32 << 10,
	}
}

// Validate reports the first setting that cannot be used.
func (c Config) Validate() error {
	if _, _, err := net.SplitHostPort(c.Address); err != nil {
		return fmt.Errorf("address: %q is not host:port or :port", c.Address)
	}
	for _, d := range []struct {
		key   string
		value time.Duration
	}{{"header_timeout", c.HeaderTimeout}, {"idle_timeout", c.IdleTimeout}, {"stall_timeout", c.StallTimeout}, {"drain_timeout", c.DrainTimeout}} {
		if d.value <= 0 {
			return fmt.Errorf("%s: %v is not a positive duration such as 10s", d.key, d.value)
		}
	}
	if c.MaxConnections < 1 {
		return fmt.Errorf("max_connections: %d is less than 1", c.MaxConnections)
	}
	if c.MaxHeaderBytes < 4096 {
		return fmt.Errorf("max_header_bytes: %d is less than 4096", c.MaxHeaderBytes)
	}
	return nil
}
