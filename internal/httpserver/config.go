package httpserver

import (
	"fmt"
	"net"
	"net/netip"
	"time"
)

// Config is what a listener can be told.
type Config struct {
	// Address is where to listen, as "host:port" or ":port".
	Address string `yaml:"address"`
	// MaxConnections is how many connections may be open at a time; others wait to be accepted.
	MaxConnections int `yaml:"max_connections"`
	// HeaderTimeout bounds the time from a connection's or request's beginning to the end of its
	// head, and that of a TLS handshake; IdleTimeout the time between two requests.
	HeaderTimeout time.Duration `yaml:"header_timeout"`
	IdleTimeout   time.Duration `yaml:"idle_timeout"`
	// StallTimeout is how long a client may take none of its answer, or send none of its body.
	StallTimeout time.Duration `yaml:"stall_timeout"`
	// DrainTimeout bounds the time that requests in flight have to finish when the server stops. The longest
	// segment should be done in it, for a client that takes it as fast as it plays.
	DrainTimeout time.Duration `yaml:"drain_timeout"`
	// MaxHeaderBytes bounds a request's head.
	MaxHeaderBytes int `yaml:"max_header_bytes"`
	// ProxyProtocol are the prefixes from which every connection begins with a PROXY protocol header.
	ProxyProtocol []string `yaml:"proxy_protocol"`
	// TLS is off without certificates.
	TLS TLSConfig `yaml:"tls"`
}

// DefaultConfig returns the defaults for a listener on address.
func DefaultConfig(address string) Config {
	return Config{
		Address:        address,
		MaxConnections: 10_000,
		HeaderTimeout:  10 * time.Second,
		IdleTimeout:    75 * time.Second,
		StallTimeout:   30 * time.Second,
		DrainTimeout:   30 * time.Second,
		MaxHeaderBytes: 32 << 10,
		TLS:            DefaultTLSConfig(),
	}
}

// Validate reports the first setting that cannot be used. The settings of TLS validate themselves.
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
	for _, text := range c.ProxyProtocol {
		if _, err := netip.ParsePrefix(text); err != nil {
			return fmt.Errorf("proxy_protocol: %q is not a prefix such as 192.0.2.0/24", text)
		}
	}
	return nil
}

// validate reports the first setting that cannot be used, those of TLS included.
func (c Config) validate() error {
	if err := c.Validate(); err != nil {
		return err
	}
	if err := c.TLS.Validate(); err != nil {
		return fmt.Errorf("tls.%w", err)
	}
	if err := c.TLS.ACME.Validate(); err != nil {
		return fmt.Errorf("tls.acme.%w", err)
	}
	return nil
}

// proxies returns the prefixes of ProxyProtocol, which is valid.
func (c Config) proxies() []netip.Prefix {
	var all []netip.Prefix
	for _, text := range c.ProxyProtocol {
		all = append(all, netip.MustParsePrefix(text).Masked())
	}
	return all
}
