package cache

import (
	"fmt"
	"time"

	"github.com/weir-stream/weir/internal/cdn"
)

// Config is what users write about a cache.
type Config struct {
	// CapacityBytes bounds the memory for objects.
	CapacityBytes int64 `yaml:"capacity_bytes"`
	// MaxObjectBytes is the size above which an object is passed through and not kept.
	MaxObjectBytes int64 `yaml:"max_object_bytes"`
	// GhostKeys is the number of keys that the cache remembers after it has given up their objects.
	GhostKeys int `yaml:"ghost_keys"`
	// NegativeTTL bounds how long "there is no such object" is believed.
	NegativeTTL time.Duration `yaml:"negative_ttl"`
	// StaleIfError is how long after its expiry an object may still be served while the origin
	// fails, unless the origin says otherwise.
	StaleIfError time.Duration `yaml:"stale_if_error"`
	// Rules are freshness rules by kind of object ("manifest", "init", "segment", "other").
	Rules map[cdn.ObjectKind]Rule `yaml:"rules"`
}

// Rule is the freshness of one kind of object.
type Rule struct {
	// TTL is the freshness lifetime of an answer for which the origin gives none.
	TTL time.Duration `yaml:"ttl"`
	// Override makes TTL count even against the origin's own lifetime. What the origin forbids to
	// store is not stored all the same.
	Override bool `yaml:"override"`
}

// maxNegativeTTL bounds Config.NegativeTTL: a live object can appear at any moment.
const maxNegativeTTL = time.Second

// overheadBytes is charged for each object beside its body and its key: header, index, ring.
const overheadBytes = 1 << 10

// overhead is what an object costs beside its body. The key is held twice at most: by the index and by
// the fetch that it came with.
func overhead(key string) int64 { return overheadBytes + 2*int64(len(key)) }

// DefaultConfig returns the configuration of a cache that nobody has configured. It has no rules: what
// the origin gives no lifetime is asked for again each time.
func DefaultConfig() Config {
	return Config{
		CapacityBytes:  256 << 20,
		MaxObjectBytes: 32 << 20,
		GhostKeys:      1 << 16,
		NegativeTTL:    time.Second,
		StaleIfError:   30 * time.Second,
	}
}

// Validate reports the first value that cannot be.
func (c Config) Validate() error {
	switch {
	case c.CapacityBytes < 1<<20:
		return fmt.Errorf("capacity_bytes is %d; at least 1048576 is expected", c.CapacityBytes)
	case c.MaxObjectBytes < 1 || c.MaxObjectBytes > c.CapacityBytes-overheadBytes:
		return fmt.Errorf("max_object_bytes is %d; a number from 1 to capacity_bytes less %d is expected",
			c.MaxObjectBytes, overheadBytes)
	case c.GhostKeys < 0 || c.GhostKeys > 1<<24:
		return fmt.Errorf("ghost_keys is %d; a number from 0 to 16777216 is expected", c.GhostKeys)
	case c.NegativeTTL < 0 || c.NegativeTTL > maxNegativeTTL:
		return fmt.Errorf("negative_ttl is %v; a duration from 0s to %v is expected", c.NegativeTTL, maxNegativeTTL)
	case c.StaleIfError < 0:
		return fmt.Errorf("stale_if_error is %v; a duration of 0s or more is expected", c.StaleIfError)
	}
	for kind, rule := range c.Rules {
		switch kind {
		case cdn.Manifest, cdn.Init, cdn.Segment, cdn.Other:
		default:
			return fmt.Errorf("rules has a kind %q; manifest, init, segment or other is expected", kind)
		}
		if rule.TTL < 0 {
			return fmt.Errorf("rules.%s.ttl is %v; a duration of 0s or more is expected", kind, rule.TTL)
		}
	}
	return nil
}
