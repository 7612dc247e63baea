package config

import (
	"fmt"
	"regexp"

	"github.com/weir-stream/weir/internal/analytics/query"
	"github.com/weir-stream/weir/internal/analytics/session"
	"github.com/weir-stream/weir/internal/analytics/tracker"
	"github.com/weir-stream/weir/internal/cdn/access"
	"github.com/weir-stream/weir/internal/cdn/cache"
	"github.com/weir-stream/weir/internal/cdn/edge"
	"github.com/weir-stream/weir/internal/cdn/purge"
	"github.com/weir-stream/weir/internal/cdn/upstream"
	"github.com/weir-stream/weir/internal/console/feed"
	"github.com/weir-stream/weir/internal/httpserver"
	"github.com/weir-stream/weir/internal/live/hub"
	"github.com/weir-stream/weir/internal/live/ingest/rtmp"
	"github.com/weir-stream/weir/internal/live/packager"
	"github.com/weir-stream/weir/internal/natsserver"
	"github.com/weir-stream/weir/internal/telemetry/bus"
	"github.com/weir-stream/weir/internal/telemetry/collector"
	"github.com/weir-stream/weir/internal/telemetry/store/duckdb"
)

// Config is every setting, by area.
type Config struct {
	// Role is what this process is: all of it, or an edge in front of origins that are elsewhere.
	Role   Role       `yaml:"role"`
	Node   NodeConfig `yaml:"node"`
	Data   string     `yaml:"data"`
	Log    LogConfig  `yaml:"log"`
	FFmpeg string     `yaml:"ffmpeg"`

	Public  httpserver.Config `yaml:"public"`
	Private httpserver.Config `yaml:"private"`

	// Bus joins this node with others.
	Bus natsserver.Config `yaml:"bus"`

	Live      LiveConfig      `yaml:"live"`
	CDN       CDNConfig       `yaml:"cdn"`
	Telemetry TelemetryConfig `yaml:"telemetry"`
	Analytics AnalyticsConfig `yaml:"analytics"`
	Console   ConsoleConfig   `yaml:"console"`
}

// Role is what a process is.
type Role string

// The roles.
const (
	RoleAll  Role = "all"
	RoleEdge Role = "edge"
)

// NodeConfig is what the process is called.
type NodeConfig struct {
	// ID names this node in records and Cache-Status; by default it is the host's name, with node- before it if that
	// begins with a digit. "" is one that the data folder keeps, see [NodeName].
	ID string `yaml:"id"`
}

// LogConfig is what is logged and how.
type LogConfig struct {
	// Level is debug, info, warn or error; Format text or json.
	Level  string `yaml:"level"`
	Format string `yaml:"format"`
}

// LiveConfig holds the settings of live streaming.
type LiveConfig struct {
	RTMP     rtmp.Config     `yaml:"rtmp"`
	Hub      hub.Config      `yaml:"hub"`
	Packager packager.Config `yaml:"packager"`
}

// CDNConfig holds the settings of delivery.
type CDNConfig struct {
	Edge     edge.Config     `yaml:"edge"`
	Cache    cache.Config    `yaml:"cache"`
	Upstream upstream.Config `yaml:"upstream"`
	Access   access.Config   `yaml:"access"`
	Purge    purge.Config    `yaml:"purge"`
}

// TelemetryConfig holds the settings of measurement.
type TelemetryConfig struct {
	Collector collector.Config `yaml:"collector"`
	Bus       bus.Config       `yaml:"bus"`
	Store     duckdb.Config    `yaml:"store"`
}

// AnalyticsConfig holds the settings of what is made of records.
type AnalyticsConfig struct {
	Tracker tracker.Config `yaml:"tracker"`
	Session session.Config `yaml:"session"`
	Query   query.Config   `yaml:"query"`
}

// ConsoleConfig holds the settings of what people and agents talk to.
type ConsoleConfig struct {
	Feed feed.Config `yaml:"feed"`
}

// Default returns the configuration of a program that was told nothing.
func Default() Config {
	return Config{
		Role:    RoleAll,
		Node:    NodeConfig{ID: hostName()},
		Data:    "./weir-data",
		Log:     LogConfig{Level: "info", Format: "text"},
		FFmpeg:  "ffmpeg",
		Public:  httpserver.DefaultConfig(":8080"),
		Private: httpserver.DefaultConfig("127.0.0.1:8090"),
		Bus:     natsserver.DefaultConfig(),
		Live: LiveConfig{
			RTMP:     rtmp.DefaultConfig(),
			Hub:      hub.DefaultConfig(),
			Packager: packager.DefaultConfig(),
		},
		CDN: CDNConfig{
			Edge: edge.DefaultConfig(), Cache: cache.DefaultConfig(), Upstream: upstream.DefaultConfig(), Access: access.DefaultConfig(),
			Purge: purge.DefaultConfig(),
		},
		Telemetry: TelemetryConfig{Collector: collector.DefaultConfig(), Bus: bus.DefaultConfig(), Store: duckdb.DefaultConfig()},
		Analytics: AnalyticsConfig{Tracker: tracker.DefaultConfig(), Session: session.DefaultConfig(), Query: query.DefaultConfig()},
		Console:   ConsoleConfig{Feed: feed.DefaultConfig()},
	}
}

// nodeID is an RFC 9651 token, as Cache-Status names caches; that also makes it a safe label.
var nodeID = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9._-]{0,62}$`)

// Validate reports the first setting that cannot be used.
func (c Config) Validate() error {
	switch {
	case c.Role != RoleAll && c.Role != RoleEdge:
		return fmt.Errorf("role: %q is not all or edge", c.Role)
	case c.Role == RoleEdge && len(c.CDN.Upstream.Origins) == 0:
		return fmt.Errorf("cdn.upstream.origins: it is empty, expected at least one origin for an edge (or --origin URL)")
	case c.Role == RoleAll && len(c.CDN.Upstream.Origins) > 0:
		return fmt.Errorf("cdn.upstream.origins: there are some, expected none where the origin is in the same process (role: edge has them)")
	case c.Data == "":
		return fmt.Errorf("data: it is empty, expected a folder")
	case c.FFmpeg == "":
		return fmt.Errorf("ffmpeg: it is empty, expected a program's name or path")
	}
	return nil
}

// Validate reports the first setting that cannot be used.
func (c NodeConfig) Validate() error {
	if c.ID != "" && !nodeID.MatchString(c.ID) {
		return fmt.Errorf("id: %q is not a letter followed by at most 62 letters, digits, '.', '_' or '-'", c.ID)
	}
	return nil
}

// Validate reports the first setting that cannot be used.
func (c LogConfig) Validate() error {
	switch c.Level {
	case "debug", "info", "warn", "error":
	default:
		return fmt.Errorf("level: %q is not debug, info, warn or error", c.Level)
	}
	switch c.Format {
	case "text", "json":
		return nil
	}
	return fmt.Errorf("format: %q is not text or json", c.Format)
}
