package dial

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"hash"
	"os"
)

// sessions is how many TLS sessions are kept for resumption.
const sessions = 64

// TLS is how an https origin is verified, and how this edge identifies itself.
type TLS struct {
	CAFile     string `yaml:"ca_file"`     // instead of the system's
	ServerName string `yaml:"server_name"` // by default the host of the URL
	CertFile   string `yaml:"cert_file"`
	KeyFile    string `yaml:"key_file"`
	// Insecure accepts any certificate. It gives every object away to whoever stands in between.
	Insecure bool `yaml:"insecure"`
}

// load reads the files; the digest is of what they hold.
func (c TLS) load() (*tls.Config, hash.Hash, error) {
	config := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		ServerName:         c.ServerName,
		InsecureSkipVerify: c.Insecure, //nolint:gosec // the operator's word
		ClientSessionCache: tls.NewLRUClientSessionCache(sessions),
	}
	digest := sha256.New()
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, nil, fmt.Errorf("tls: ca_file: %w", err)
		}
		digest.Write(pem)
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, nil, fmt.Errorf("tls: ca_file %q holds no certificate; PEM is expected", c.CAFile)
		}
	}
	if c.CertFile != "" {
		cert, err1 := os.ReadFile(c.CertFile)
		key, err2 := os.ReadFile(c.KeyFile)
		if err := errors.Join(err1, err2); err != nil {
			return nil, nil, fmt.Errorf("tls: %w", err)
		}
		digest.Write(cert)
		digest.Write(key)
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			return nil, nil, fmt.Errorf("tls: cert_file %q: %w", c.CertFile, err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, digest, nil
}
