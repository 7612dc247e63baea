package packager

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Config is what users can set about packaging.
type Config struct {
	// SegmentDuration is how long segments should be. They end at keyframes, so the publisher's
	// keyframe interval decides with it.
	SegmentDuration time.Duration `yaml:"segment_duration"`
	// Window is how much of a stream manifests hold. It is at least six segments.
	Window time.Duration `yaml:"window"`
	// ResumeWindow is how long an interrupted stream waits for its publisher to return.
	ResumeWindow time.Duration `yaml:"resume_window"`
	// Linger is how long a stream that has ended can still be fetched.
	Linger time.Duration `yaml:"linger"`
	// MaxSegmentDuration and MaxSegmentBytes bound a segment. A publication whose keyframes are
	// further apart is no longer packaged.
	MaxSegmentDuration time.Duration `yaml:"max_segment_duration"`
	MaxSegmentBytes    int           `yaml:"max_segment_bytes"`
	// MaxStreamBytes bounds the segments of a stream that are kept. A stream of a high bitrate gets a
	// shorter window.
	MaxStreamBytes int `yaml:"max_stream_bytes"`
	// TimeURL is where DASH players get the server's time, absolute or relative to the MPD.
	TimeURL string `yaml:"time_url"`
}

// DefaultConfig returns the configuration of a server that was told nothing.
func DefaultConfig() Config {
	return Config{
		SegmentDuration:    2 * time.Second,
		Window:             30 * time.Second,
		ResumeWindow:       20 * time.Second,
		Linger:             time.Minute,
		MaxSegmentDuration: 30 * time.Second,
		MaxSegmentBytes:    64 << 20,
		MaxStreamBytes:     256 << 20,
		TimeURL:            "/time",
	}
}

// Validate says which key has a value that cannot be used.
func (c Config) Validate() error {
	for _, d := range []struct {
		key                string
		value, least, most time.Duration
	}{
		{"segment_duration", c.SegmentDuration, 500 * time.Millisecond, 30 * time.Second},
		{"window", c.Window, 6 * c.SegmentDuration, time.Hour},
		{"resume_window", c.ResumeWindow, 0, time.Hour},
		{"linger", c.Linger, 0, 24 * time.Hour},
		{"max_segment_duration", c.MaxSegmentDuration, 2 * c.SegmentDuration, 10 * time.Minute},
	} {
		if d.value < d.least || d.value > d.most {
			return fmt.Errorf("%s: %v, expected %v to %v", d.key, d.value, d.least, d.most)
		}
	}
	if c.MaxSegmentBytes < 64<<10 || c.MaxSegmentBytes > 1<<30 {
		return fmt.Errorf("max_segment_bytes: %d, expected %d to %d", c.MaxSegmentBytes, 64<<10, 1<<30)
	}
	if c.MaxStreamBytes < 4*c.MaxSegmentBytes {
		return fmt.Errorf("max_stream_bytes: %d, expected at least four times max_segment_bytes (%d)", c.MaxStreamBytes, 4*c.MaxSegmentBytes)
	}
	return nil
}

// Settings is what a Packager is made of.
type Settings struct {
	Config     Config
	Log        *slog.Logger          // nil: no log
	Registerer prometheus.Registerer // nil: no metrics
	Now        func() time.Time      // nil: time.Now
}
