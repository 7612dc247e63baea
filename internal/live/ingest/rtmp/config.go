package rtmp

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-stream/weir/internal/live"
	"github.com/weir-stream/weir/internal/live/hub"
)

// Config is what users can set about the RTMP server.
type Config struct {
	// Address is where to listen, as host:port.
	Address string `yaml:"address"`
	// MaxConnections is how many connections may be open at a time.
	MaxConnections int `yaml:"max_connections"`
	// MaxMessageBytes bounds one message, which is one coded frame.
	MaxMessageBytes int `yaml:"max_message_bytes"`
	// HandshakeTimeout is how long a connection may take until it publishes.
	HandshakeTimeout time.Duration `yaml:"handshake_timeout"`
	// IdleTimeout is how long a publisher may take for one message.
	IdleTimeout time.Duration `yaml:"idle_timeout"`
	// WriteTimeout is how long the peer may take to accept what is sent to it.
	WriteTimeout time.Duration `yaml:"write_timeout"`
}

// DefaultConfig returns the configuration of a server that was told nothing.
func DefaultConfig() Config {
	return Config{
		Address:          ":1935",
		MaxConnections:   500,
		MaxMessageBytes:  8 << 20,
		HandshakeTimeout: 10 * time.Second,
		IdleTimeout:      20 * time.Second,
		WriteTimeout:     5 * time.Second,
	}
}

// Validate says which key has a value that cannot be used.
func (c Config) Validate() error {
	if _, _, err := net.SplitHostPort(c.Address); err != nil {
		return fmt.Errorf("address: %q, expected host:port, such as \":1935\"", c.Address)
	}
	if c.MaxConnections < 1 {
		return fmt.Errorf("max_connections: %d, expected at least 1", c.MaxConnections)
	}
	if c.MaxMessageBytes < 64<<10 || c.MaxMessageBytes > 16<<20 {
		return fmt.Errorf("max_message_bytes: %d, expected 65536 to 16777216", c.MaxMessageBytes)
	}
	for _, timeout := range []struct {
		key   string
		value time.Duration
	}{
		{"handshake_timeout", c.HandshakeTimeout},
		{"idle_timeout", c.IdleTimeout},
		{"write_timeout", c.WriteTimeout},
	} {
		if timeout.value < 100*time.Millisecond {
			return fmt.Errorf("%s: %s, expected at least 100ms", timeout.key, timeout.value)
		}
	}
	return nil
}

// Settings is what a Server is made of.
type Settings struct {
	Config     Config
	Hub        *hub.Hub
	Log        *slog.Logger          // nil: no log
	Registerer prometheus.Registerer // nil: no metrics
	// Authorize says whether a stream may be published from an address. The query is that of the
	// stream key. Its error is shown to the publisher if it wraps [live.ErrDenied]. Nil: everybody may.
	Authorize func(ctx context.Context, name live.StreamName, remote string, query url.Values) error
}
