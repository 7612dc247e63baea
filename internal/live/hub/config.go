package hub

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Config is what users can set about the hub.
type Config struct {
	// MaxStreams is how many streams may run at a time.
	MaxStreams int `yaml:"max_streams"`
	// ReaderUnits and ReaderBytes bound what waits for one reader. Payloads are shared between readers.
	ReaderUnits int `yaml:"reader_units"`
	ReaderBytes int `yaml:"reader_bytes"`
	// GOPUnits and GOPBytes bound what is kept since the last keyframe for readers that come later. A
	// longer GOP is not kept; such readers then begin at the next keyframe.
	GOPUnits int `yaml:"gop_units"`
	GOPBytes int `yaml:"gop_bytes"`
}

// DefaultConfig returns the configuration of a server that was told nothing.
func DefaultConfig() Config {
	return Config{
		MaxStreams:  200,
		ReaderUnits: 4096,
		ReaderBytes: 32 << 20,
		GOPUnits:    2048,
		GOPBytes:    16 << 20,
	}
}

// Validate says which key has a value that cannot be used.
func (c Config) Validate() error {
	for _, bound := range []struct {
		key          string
		value, least int
	}{
		{"max_streams", c.MaxStreams, 1},
		{"reader_units", c.ReaderUnits, 16},
		{"reader_bytes", c.ReaderBytes, 64 << 10},
		{"gop_units", c.GOPUnits, 0},
		{"gop_bytes", c.GOPBytes, 0},
	} {
		if bound.value < bound.least {
			return fmt.Errorf("%s: %d, expected at least %d", bound.key, bound.value, bound.least)
		}
	}
	// A late reader is given the tracks and the kept GOP at once, so both must fit.
	if c.GOPUnits > c.ReaderUnits-MaxTracks {
		return fmt.Errorf("gop_units: %d, expected at most reader_units less %d (%d)", c.GOPUnits, MaxTracks, c.ReaderUnits-MaxTracks)
	}
	if c.GOPBytes > c.ReaderBytes {
		return fmt.Errorf("gop_bytes: %d, expected at most reader_bytes (%d)", c.GOPBytes, c.ReaderBytes)
	}
	return nil
}

// Settings is what a Hub is made of.
type Settings struct {
	Config     Config
	Log        *slog.Logger          // nil: no log
	Registerer prometheus.Registerer // nil: no metrics
	Now        func() time.Time      // nil: time.Now
}
