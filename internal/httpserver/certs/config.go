package certs

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// File is a certificate in files.
type File struct {
	// Certificate is the PEM file with the certificate and those between it and the root; Key the one with its key.
	Certificate string `yaml:"certificate"`
	Key         string `yaml:"key"`
}

// The challenges of ACME that prove control of a name.
const (
	HTTP01    = "http-01"
	TLSALPN01 = "tls-alpn-01"
)

// ACMEConfig is how to get certificates by ACME. That Domains are given is consent to the terms of the server.
type ACMEConfig struct {
	// Domains are the names to get certificates for; none: ACME is not used.
	Domains []string `yaml:"domains"`
	// Email is where the server may write to about them.
	Email string `yaml:"email"`
	// Directory is the URL of the server.
	Directory string `yaml:"directory"`
	// Storage is the folder for the account, the certificates and their keys; empty: one that the program has.
	// Servers that share it share them.
	Storage string `yaml:"storage"`
	// CAFile is a PEM file with the roots to trust for talking to the server; by default those of the system.
	CAFile string `yaml:"ca_file"`
	// Challenges are the ways to prove control that may be used.
	Challenges []string `yaml:"challenges"`
}

// LetsEncrypt is the directory of Let's Encrypt.
const LetsEncrypt = "https://acme-v02.api.letsencrypt.org/directory"

// DefaultACMEConfig returns the defaults, which get no certificates.
func DefaultACMEConfig() ACMEConfig {
	return ACMEConfig{Directory: LetsEncrypt, Challenges: []string{TLSALPN01, HTTP01}}
}

// Enabled reports whether ACME is to be used.
func (c ACMEConfig) Enabled() bool { return len(c.Domains) > 0 }

// Validate reports the first setting that cannot be used.
func (c ACMEConfig) Validate() error {
	if !c.Enabled() {
		return nil
	}
	for _, domain := range c.Domains {
		if domain == "" || strings.ContainsAny(domain, "*/: ") {
			return fmt.Errorf("domains: %q is not a name such as edge.example.com (no wildcard: they need another challenge)", domain)
		}
	}
	if u, err := url.Parse(c.Directory); err != nil || u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("directory: %q is not a URL that begins with https://", c.Directory)
	}
	if len(c.Challenges) == 0 {
		return fmt.Errorf("challenges: none is given, expected %s or %s", TLSALPN01, HTTP01)
	}
	for _, challenge := range c.Challenges {
		if challenge != HTTP01 && challenge != TLSALPN01 {
			return fmt.Errorf("challenges: %q is not %s or %s", challenge, TLSALPN01, HTTP01)
		}
	}
	return nil
}

func (c ACMEConfig) uses(challenge string) bool { return slices.Contains(c.Challenges, challenge) }
