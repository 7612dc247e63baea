package purge

import (
	"fmt"
	"time"
)

// Config is what users write about purges.
type Config struct {
	// MaxAge and MaxPurges are how far back the log reaches. A node that was away for longer purges everything.
	MaxAge    time.Duration `yaml:"max_age"`
	MaxPurges int           `yaml:"max_purges"`
	// Wait is how long an answer waits for confirmations, if the question does not say.
	Wait time.Duration `yaml:"wait"`
	// FenceAfter is how long a node answers from its cache without hearing of purges. Then it asks the origin for
	// everything until it hears of them again.
	FenceAfter time.Duration `yaml:"fence_after"`
	// ForgetAfter is how long a node may be silent until nobody waits for it any more; at least three minutes
	// more than that node's FenceAfter.
	ForgetAfter time.Duration `yaml:"forget_after"`
}

// DefaultConfig returns the configuration that nobody has changed.
func DefaultConfig() Config {
	return Config{MaxAge: 7 * 24 * time.Hour, MaxPurges: 100_000, Wait: 5 * time.Second, FenceAfter: 5 * time.Minute, ForgetAfter: time.Hour}
}

// Validate reports the first value that cannot be.
func (c Config) Validate() error {
	switch {
	case c.MaxAge < time.Hour:
		return fmt.Errorf("max_age is %v; at least 1h is expected", c.MaxAge)
	case c.MaxPurges < 1000:
		return fmt.Errorf("max_purges is %d; at least 1000 is expected", c.MaxPurges)
	case c.Wait <= 0 || c.Wait > MaxWait:
		return fmt.Errorf("wait is %v; more than 0s and at most %v is expected", c.Wait, MaxWait)
	case c.FenceAfter < 10*time.Second || c.FenceAfter > 24*time.Hour:
		return fmt.Errorf("fence_after is %v; 10s to 24h is expected", c.FenceAfter)
	case c.ForgetAfter < time.Minute:
		return fmt.Errorf("forget_after is %v; at least 1m is expected", c.ForgetAfter)
	}
	return nil
}
