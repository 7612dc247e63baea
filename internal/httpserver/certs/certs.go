package certs

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// pollInterval is how often the files are looked at.
const pollInterval = 5 * time.Second

// ErrNone is what a handshake ends with for which there is no certificate.
var ErrNone = errors.New("no certificate for this name")

// Settings are what a Store needs.
type Settings struct {
	Files []File
	ACME  ACMEConfig
	// Plain says that there will be a listener without TLS, which HTTP-01 needs.
	Plain      bool
	Log        *slog.Logger
	Registerer prometheus.Registerer // nil: not measured
}

// Listeners are where challenges come: with TLS, and without (0: nowhere).
type Listeners struct {
	Host      string
	TLS, HTTP int // ports
}

// Store has the certificates of a server.
type Store struct {
	files   []File
	log     *slog.Logger
	metrics *metrics
	shelf   atomic.Pointer[shelf]
	acme    *authority // nil: not used

	mu   sync.Mutex // guards what follows, and one reading at a time
	seen []stamp    // of the files when they were last read, well or not
}

// New returns a store with what is in the files.
func New(s Settings) (*Store, error) {
	store := &Store{files: slices.Clone(s.Files), log: s.Log}
	m, err := newMetrics(s.Registerer, store)
	if err != nil {
		return nil, err
	}
	store.metrics = m
	if s.ACME.Enabled() {
		if store.acme, err = newAuthority(s, m); err != nil {
			return nil, fmt.Errorf("acme: %w", err)
		}
	}
	if err := store.Reload(); err != nil {
		return nil, err
	}
	return store, nil
}

// Reload reads the files again. If one cannot be used, the certificates stay as they are.
func (s *Store) Reload() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reload(stamps(s.files))
}

// reload is Reload; the caller holds mu.
func (s *Store) reload(now []stamp) error {
	s.seen = now
	shelf, err := read(s.files)
	if err != nil {
		s.metrics.reloads.WithLabelValues("failed").Inc()
		return err
	}
	s.metrics.reloads.WithLabelValues("done").Inc()
	s.shelf.Store(shelf)
	return nil
}

// poll reads the files if they have changed since they were last read.
func (s *Store) poll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := stamps(s.files)
	if slices.Equal(now, s.seen) {
		return
	}
	if err := s.reload(now); err != nil {
		// Once for each change: a certificate may be there before its key.
		s.log.Warn("certificates changed but cannot be used; those of before stay", "error", err)
		return
	}
	s.log.Info("certificates read again")
}

// Run watches the files, and gets certificates and renews them, until ctx ends. The listeners must be open.
func (s *Store) Run(ctx context.Context, at Listeners) error {
	if s.acme != nil {
		stop, err := s.acme.start(ctx, at)
		if err != nil {
			return fmt.Errorf("acme: %w", err)
		}
		defer stop()
	}
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			if len(s.files) > 0 {
				s.poll()
			}
		}
	}
}

// GetCertificate is for tls.Config.
func (s *Store) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if s.acme != nil && IsChallenge(hello.SupportedProtos) {
		return s.acme.certificate(hello)
	}
	shelf := s.shelf.Load()
	if pair := shelf.find(hello); pair != nil {
		return pair, nil
	}
	if s.acme != nil && s.acme.manages(hello.ServerName) {
		pair, err := s.acme.certificate(hello)
		if err == nil || shelf.first == nil {
			return pair, err
		}
	}
	if shelf.first == nil {
		if s.acme != nil {
			return s.acme.certificate(hello)
		}
		return nil, ErrNone
	}
	return shelf.first, nil
}

// ChallengeProtocol is the ALPN protocol of TLS-ALPN-01 (RFC 8737 §4).
const ChallengeProtocol = "acme-tls/1"

// IsChallenge reports whether a client that offers these protocols is an ACME server.
func IsChallenge(protocols []string) bool {
	return len(protocols) == 1 && protocols[0] == ChallengeProtocol
}

// Protocols returns the ALPN protocols that challenges need.
func (s *Store) Protocols() []string {
	if s.acme == nil || !s.acme.tlsALPN {
		return nil
	}
	return []string{ChallengeProtocol}
}

// ServeChallenges answers the challenges of HTTP-01 and leaves everything else to next.
func (s *Store) ServeChallenges(next http.Handler) http.Handler {
	if s.acme == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.acme.answer(w, r) {
			next.ServeHTTP(w, r)
		}
	})
}

// notAfter returns when the first certificate expires; zero if there is none.
func (s *Store) notAfter() time.Time {
	first := s.shelf.Load().notAfter
	if s.acme != nil {
		if other := s.acme.notAfter(); first.IsZero() || !other.IsZero() && other.Before(first) {
			first = other
		}
	}
	return first
}
