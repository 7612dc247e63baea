package cache

import (
	"fmt"
	"time"

	"github.com/weir-stream/weir/internal/cdn/cache/freshness"
)

// Config is what users write about a cache.
type Config struct {
	// CapacityBytes bounds the memory for objects: those that are arriving, those that are live, small
	// ones, copies of what is asked for often, and all if nothing is kept on disk. LiveBytes is the part
	// of it that live objects may take; 0 is three quarters.
	CapacityBytes int64 `yaml:"capacity_bytes"`
	LiveBytes     int64 `yaml:"live_bytes"`
	// DiskBytes bounds what is kept on disk, in files of SegmentBytes; 0 keeps everything in memory.
	DiskBytes    int64 `yaml:"disk_bytes"`
	SegmentBytes int64 `yaml:"segment_bytes"`
	// MinDiskTTL is how long an object must have to live to be worth writing.
	MinDiskTTL time.Duration `yaml:"min_disk_ttl"`
	// SmallBytes is the size up to which an object stays in memory although it is on disk too.
	SmallBytes int64 `yaml:"small_bytes"`
	// MaxObjectBytes is the size above which an object is kept in slices, or not at all.
	MaxObjectBytes int64 `yaml:"max_object_bytes"`
	// GhostKeys is the number of keys that the cache remembers after it has given up their objects.
	GhostKeys int `yaml:"ghost_keys"`
	// Freshness says how long what may be used.
	Freshness freshness.Config `yaml:",inline"`
}

// overheadBytes is charged for each object beside its body and its key: header, index, queues.
const overheadBytes = 1 << 10

// overhead is what an object costs beside its body. The key is held twice at most: by the index and by
// the fetch that it came with.
func overhead(key string) int64 { return overheadBytes + 2*int64(len(key)) }

// DefaultConfig returns the configuration of a cache that nobody has configured.
func DefaultConfig() Config {
	return Config{
		CapacityBytes:  256 << 20,
		DiskBytes:      10 << 30,
		SegmentBytes:   256 << 20,
		MinDiskTTL:     time.Minute,
		SmallBytes:     64 << 10,
		MaxObjectBytes: 32 << 20,
		GhostKeys:      1 << 16,
		Freshness:      freshness.DefaultConfig(),
	}
}

func (c Config) liveBytes() int64 {
	if c.LiveBytes > 0 {
		return c.LiveBytes
	}
	return c.CapacityBytes / 4 * 3
}

// Validate reports the first value that cannot be.
func (c Config) Validate() error {
	const maxRecord = 64 << 20 // what a record on disk may have
	switch {
	case c.CapacityBytes < 1<<20:
		return fmt.Errorf("capacity_bytes is %d; at least 1048576 is expected", c.CapacityBytes)
	case c.LiveBytes < 0 || c.LiveBytes > c.CapacityBytes:
		return fmt.Errorf("live_bytes is %d; a number from 0 to capacity_bytes (%d) is expected", c.LiveBytes, c.CapacityBytes)
	case c.DiskBytes < 0:
		return fmt.Errorf("disk_bytes is %d; a number from 0 is expected", c.DiskBytes)
	case c.DiskBytes > 0 && (c.SegmentBytes < 1<<20 || c.SegmentBytes > c.DiskBytes):
		return fmt.Errorf("segment_bytes is %d; a number from 1048576 to disk_bytes (%d) is expected", c.SegmentBytes, c.DiskBytes)
	case c.MinDiskTTL < 0:
		return fmt.Errorf("min_disk_ttl is %v; a duration of 0s or more is expected", c.MinDiskTTL)
	case c.SmallBytes < 0 || c.SmallBytes > 16<<20:
		return fmt.Errorf("small_bytes is %d; a number from 0 to 16777216 is expected", c.SmallBytes)
	case c.MaxObjectBytes < 1 || c.MaxObjectBytes > min(c.CapacityBytes-overheadBytes, maxRecord):
		return fmt.Errorf("max_object_bytes is %d; a number from 1 to %d is expected",
			c.MaxObjectBytes, min(c.CapacityBytes-overheadBytes, maxRecord))
	case c.GhostKeys < 0 || c.GhostKeys > 1<<24:
		return fmt.Errorf("ghost_keys is %d; a number from 0 to 16777216 is expected", c.GhostKeys)
	}
	return c.Freshness.Validate()
}
