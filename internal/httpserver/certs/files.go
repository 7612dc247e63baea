package certs

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// stamp tells a file that has changed.
type stamp struct {
	modified time.Time
	size     int64
}

// stamps returns the stamps of all files; those that are not there have none.
func stamps(files []File) []stamp {
	all := make([]stamp, 0, 2*len(files))
	for _, file := range files {
		for _, name := range []string{file.Certificate, file.Key} {
			var s stamp
			if info, err := os.Stat(name); err == nil {
				s = stamp{info.ModTime(), info.Size()}
			}
			all = append(all, s)
		}
	}
	return all
}

// shelf holds certificates by the names that they are for.
type shelf struct {
	first    *tls.Certificate // nil: there are none
	byName   map[string][]*tls.Certificate
	notAfter time.Time // of the one that expires first
}

// read reads the files.
func read(files []File) (*shelf, error) {
	s := &shelf{byName: make(map[string][]*tls.Certificate)}
	for _, file := range files {
		pair, err := tls.LoadX509KeyPair(file.Certificate, file.Key)
		if err != nil {
			return nil, fmt.Errorf("certificate %s with key %s: %w", file.Certificate, file.Key, err)
		}
		s.add(&pair)
	}
	return s, nil
}

func (s *shelf) add(pair *tls.Certificate) {
	if s.first == nil {
		s.first = pair
	}
	if s.notAfter.IsZero() || pair.Leaf.NotAfter.Before(s.notAfter) {
		s.notAfter = pair.Leaf.NotAfter
	}
	for _, name := range names(pair.Leaf) {
		s.byName[name] = append(s.byName[name], pair)
	}
}

// names returns what a certificate is for.
func names(leaf *x509.Certificate) []string {
	var all []string
	for _, name := range leaf.DNSNames {
		all = append(all, normal(name))
	}
	if len(all) == 0 && leaf.Subject.CommonName != "" {
		all = append(all, normal(leaf.Subject.CommonName))
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func normal(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

// find returns a certificate for the name that the client asks for and that it can use, nil if there is none.
func (s *shelf) find(hello *tls.ClientHelloInfo) *tls.Certificate {
	name := normal(hello.ServerName)
	if name == "" {
		return nil
	}
	if pair := usable(hello, s.byName[name]); pair != nil {
		return pair
	}
	// A wildcard stands for one label (RFC 6125 §6.4.3).
	if _, domain, ok := strings.Cut(name, "."); ok {
		return usable(hello, s.byName["*."+domain])
	}
	return nil
}

// usable returns the first of pairs whose key the client supports, or else the first.
func usable(hello *tls.ClientHelloInfo, pairs []*tls.Certificate) *tls.Certificate {
	if len(pairs) == 0 {
		return nil
	}
	if len(pairs) > 1 {
		for _, pair := range pairs {
			if hello.SupportsCertificate(pair) == nil {
				return pair
			}
		}
	}
	return pairs[0]
}
