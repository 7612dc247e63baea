package edge

import (
	"fmt"
	"net/netip"
	"time"
)

// Config is what users write about an edge.
type Config struct {
	// HeadTimeout is how long the origin may take to the head of its answer, FillTimeout to its
	// last byte.
	HeadTimeout time.Duration `yaml:"head_timeout"`
	FillTimeout time.Duration `yaml:"fill_timeout"`
	// MaxFetches bounds the fetches for the cache that run at the same time; MaxQueue those that
	// wait for one to end, for QueueTimeout at most. What is beyond is refused with 503.
	MaxFetches   int           `yaml:"max_fetches"`
	MaxQueue     int           `yaml:"max_queue"`
	QueueTimeout time.Duration `yaml:"queue_timeout"`
	// MaxPasses bounds the answers that are passed through without being kept.
	MaxPasses int `yaml:"max_passes"`
	// TrustedProxies are the prefixes from which X-Forwarded-For is believed.
	TrustedProxies []netip.Prefix `yaml:"trusted_proxies"`
}

// DefaultConfig returns the configuration of an edge that nobody has configured.
func DefaultConfig() Config {
	return Config{
		HeadTimeout:  10 * time.Second,
		FillTimeout:  time.Minute,
		MaxFetches:   256,
		MaxQueue:     1024,
		QueueTimeout: 2 * time.Second,
		MaxPasses:    256,
	}
}

// Validate reports the first value that cannot be.
func (c Config) Validate() error {
	for _, d := range []struct {
		key   string
		value time.Duration
	}{
		{"head_timeout", c.HeadTimeout}, {"fill_timeout", c.FillTimeout}, {"queue_timeout", c.QueueTimeout},
	} {
		if d.value <= 0 {
			return fmt.Errorf("%s is %v; a duration of more than 0s is expected", d.key, d.value)
		}
	}
	switch {
	case c.FillTimeout < c.HeadTimeout:
		return fmt.Errorf("fill_timeout is %v; at least head_timeout (%v) is expected", c.FillTimeout, c.HeadTimeout)
	case c.MaxFetches < 1:
		return fmt.Errorf("max_fetches is %d; a number from 1 is expected", c.MaxFetches)
	case c.MaxQueue < 0:
		return fmt.Errorf("max_queue is %d; a number from 0 is expected", c.MaxQueue)
	case c.MaxPasses < 1:
		return fmt.Errorf("max_passes is %d; a number from 1 is expected", c.MaxPasses)
	}
	for _, p := range c.TrustedProxies {
		if !p.IsValid() {
			return fmt.Errorf("trusted_proxies has %q; a prefix such as 10.0.0.0/8 is expected", p)
		}
	}
	return nil
}
