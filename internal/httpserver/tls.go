package httpserver

import (
	"crypto/tls"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/weir-stream/weir/internal/httpserver/certs"
	"github.com/weir-stream/weir/internal/httpserver/joinconn"
)

// TLSConfig is how a listener speaks TLS; it does so if there are certificates or domains to get some for.
type TLSConfig struct {
	// Certificates are in files, and are read again when they change. The first is for names that no other is for.
	Certificates []certs.File `yaml:"certificates"`
	// ACME gets certificates by itself.
	ACME certs.ACMEConfig `yaml:"acme"`
	// MinVersion is the lowest version to be spoken: 1.2 or 1.3.
	MinVersion string `yaml:"min_version"`
	// HTTP3 is whether HTTP/3 is served on the UDP port of the same number.
	HTTP3 bool `yaml:"http3"`
	// HSTS is for how long browsers are told to use TLS only (RFC 6797); 0: they are not told.
	HSTS time.Duration `yaml:"hsts"`
	// Redirect is the address of a listener without TLS that sends everybody to this one, and answers challenges
	// of ACME; empty: there is none.
	Redirect string `yaml:"redirect"`
}

// DefaultTLSConfig returns the defaults, with which TLS is off.
func DefaultTLSConfig() TLSConfig {
	return TLSConfig{ACME: certs.DefaultACMEConfig(), MinVersion: "1.2", HTTP3: true}
}

// Enabled reports whether TLS is spoken.
func (c TLSConfig) Enabled() bool { return len(c.Certificates) > 0 || c.ACME.Enabled() }

// Validate reports the first setting that cannot be used. The settings of ACME validate themselves.
func (c TLSConfig) Validate() error {
	for i, file := range c.Certificates {
		if file.Certificate == "" || file.Key == "" {
			return fmt.Errorf("certificates: number %d names no certificate or no key, expected two files", i+1)
		}
	}
	if c.MinVersion != "1.2" && c.MinVersion != "1.3" {
		return fmt.Errorf("min_version: %q is not 1.2 or 1.3", c.MinVersion)
	}
	if c.HSTS < 0 {
		return fmt.Errorf("hsts: %v is less than 0", c.HSTS)
	}
	if c.Redirect != "" {
		if _, _, err := net.SplitHostPort(c.Redirect); err != nil {
			return fmt.Errorf("redirect: %q is not host:port or :port", c.Redirect)
		}
		if !c.Enabled() {
			return fmt.Errorf("redirect: there is nothing to redirect to without certificates or acme.domains")
		}
	}
	return nil
}

func (c TLSConfig) hstsValue() string {
	return "max-age=" + strconv.FormatInt(int64(c.HSTS/time.Second), 10)
}

// serverConfig returns the configuration of crypto/tls.
func (c TLSConfig) serverConfig(store *certs.Store) *tls.Config {
	config := &tls.Config{
		GetCertificate: store.GetCertificate,
		NextProtos:     append([]string{"h2", "http/1.1"}, store.Protocols()...),
		MinVersion:     tls.VersionTLS12,
		// For TLS 1.2, only what has forward secrecy and authenticates what it encrypts (RFC 9325 §4.2).
		CipherSuites: []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		},
		// Small records let a page's first bytes be read earlier; segments are large.
		DynamicRecordSizingDisabled: true,
	}
	if c.MinVersion == "1.3" {
		config.MinVersion = tls.VersionTLS13
	}
	return config
}

// recordBytes is how much one record holds.
const recordBytes = 16 << 10

// secureConn is a TLS connection whose records are joined into large writes.
type secureConn struct {
	*tls.Conn
	join *joinconn.Conn
}

func (c secureConn) Write(p []byte) (int, error) {
	if len(p) <= recordBytes {
		return c.Conn.Write(p)
	}
	c.join.Hold()
	n, err := c.Conn.Write(p)
	if flushed := c.join.Flush(); err == nil {
		err = flushed
	}
	return n, err
}
