package health

import (
	"fmt"
	"net/url"
	"strings"
	"time"
)

// Active is about active checks.
type Active struct {
	// Path is asked for; "" makes no checks.
	Path     string        `yaml:"path"`
	Interval time.Duration `yaml:"interval"`
	Timeout  time.Duration `yaml:"timeout"`
	// Statuses are the answers of a healthy origin; none given means 200 to 299.
	Statuses []int `yaml:"statuses"`
	// Rise is how many good checks in a row bring an origin back, Fall how many bad ones put it down.
	Rise int `yaml:"rise"`
	Fall int `yaml:"fall"`
}

// Passive is about what requests teach about an origin.
type Passive struct {
	// Failures in a row, without an answer, put an origin out.
	Failures int `yaml:"failures"`
	// Ratio of failures and 5xx among at least MinRequests requests of ten seconds puts it out, too, if
	// another can take its place.
	Ratio       float64 `yaml:"ratio"`
	MinRequests int     `yaml:"min_requests"`
	// Backoff is how long it is out the first time; each further time is twice as long, up to MaxBackoff.
	Backoff    time.Duration `yaml:"backoff"`
	MaxBackoff time.Duration `yaml:"max_backoff"`
}

// DefaultActive returns checks of no path.
func DefaultActive() Active {
	return Active{Interval: 5 * time.Second, Timeout: 2 * time.Second, Rise: 2, Fall: 3}
}

// DefaultPassive returns what suits most origins.
func DefaultPassive() Passive {
	return Passive{Failures: 3, Ratio: 0.5, MinRequests: 20, Backoff: time.Second, MaxBackoff: 30 * time.Second}
}

// Validate reports the first value that cannot be.
func (c Active) Validate() error {
	switch {
	case c.Path != "" && !ValidPath(c.Path):
		return fmt.Errorf("path is %q; a path that begins with / is expected", c.Path)
	case c.Interval < 100*time.Millisecond:
		return fmt.Errorf("interval is %v; 100ms or more is expected", c.Interval)
	case c.Timeout <= 0:
		return fmt.Errorf("timeout is %v; a duration of more than 0s is expected", c.Timeout)
	case c.Rise < 1:
		return fmt.Errorf("rise is %d; a number from 1 is expected", c.Rise)
	case c.Fall < 1:
		return fmt.Errorf("fall is %d; a number from 1 is expected", c.Fall)
	}
	for _, s := range c.Statuses {
		if s < 200 || s > 599 {
			return fmt.Errorf("statuses has %d; numbers from 200 to 599 are expected", s)
		}
	}
	return nil
}

// Validate reports the first value that cannot be.
func (c Passive) Validate() error {
	switch {
	case c.Failures < 1:
		return fmt.Errorf("failures is %d; a number from 1 is expected", c.Failures)
	case !(c.Ratio > 0 && c.Ratio <= 1):
		return fmt.Errorf("ratio is %v; a number above 0, up to 1, is expected", c.Ratio)
	case c.MinRequests < 1:
		return fmt.Errorf("min_requests is %d; a number from 1 is expected", c.MinRequests)
	case c.Backoff <= 0:
		return fmt.Errorf("backoff is %v; a duration of more than 0s is expected", c.Backoff)
	case c.MaxBackoff < c.Backoff:
		return fmt.Errorf("max_backoff is %v; at least backoff (%v) is expected", c.MaxBackoff, c.Backoff)
	}
	return nil
}

// ValidPath reports whether p can be asked for.
func ValidPath(p string) bool {
	u, err := url.ParseRequestURI(p)
	return err == nil && strings.HasPrefix(p, "/") && u.Host == ""
}
