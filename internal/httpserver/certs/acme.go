package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
)

// authority gets certificates from an ACME server.
type authority struct {
	settings Settings
	log      *slog.Logger
	zap      *zap.Logger
	metrics  *metrics
	roots    *x509.CertPool // nil: those of the system
	domains  []string
	tlsALPN  bool
	running  atomic.Pointer[running]
}

// running is what there is while Run runs.
type running struct {
	cache  *certmagic.Cache
	config *certmagic.Config
	issuer *certmagic.ACMEIssuer
}

func newAuthority(s Settings, m *metrics) (*authority, error) {
	a := &authority{settings: s, log: s.Log, metrics: m, tlsALPN: s.ACME.uses(TLSALPN01)}
	if err := s.ACME.Validate(); err != nil {
		return nil, err
	}
	if s.ACME.Storage == "" {
		return nil, errors.New("storage: it is empty, expected a folder for the account and the certificates")
	}
	if !a.tlsALPN && !s.Plain {
		return nil, fmt.Errorf("the only challenge is %s, for which there is no listener without TLS", HTTP01)
	}
	a.zap = zap.New(logCore{handler: s.Log.Handler()})
	for _, domain := range s.ACME.Domains {
		a.domains = append(a.domains, normal(domain))
	}
	if s.ACME.CAFile != "" {
		content, err := os.ReadFile(s.ACME.CAFile)
		if err != nil {
			return nil, fmt.Errorf("ca_file: %w", err)
		}
		a.roots = x509.NewCertPool()
		if !a.roots.AppendCertsFromPEM(content) {
			return nil, fmt.Errorf("ca_file: %s has no certificate in PEM", s.ACME.CAFile)
		}
	}
	return a, nil
}

// start loads what is in the storage, so that the first handshake finds it, and begins to get and renew the rest.
func (a *authority) start(ctx context.Context, at Listeners) (stop func(), err error) {
	r := new(running)
	r.cache = certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) { return r.config, nil },
		Logger:           a.zap,
	})
	r.config = certmagic.New(r.cache, certmagic.Config{
		Storage: &certmagic.FileStorage{Path: a.settings.ACME.Storage},
		Logger:  a.zap,
		OnEvent: a.count,
		// Asking for a staple takes a request to the authority within a start, and hardly any has one to give.
		OCSP: certmagic.OCSPConfig{DisableStapling: true},
	})
	r.issuer = certmagic.NewACMEIssuer(r.config, certmagic.ACMEIssuer{
		CA: a.settings.ACME.Directory, Email: a.settings.ACME.Email, Agreed: true, TrustedRoots: a.roots,
		DisableHTTPChallenge:    at.HTTP == 0 || !a.settings.ACME.uses(HTTP01),
		DisableTLSALPNChallenge: !a.tlsALPN,
		// Where it finds that somebody listens, which is this server, it does not listen itself.
		ListenHost: at.Host, AltHTTPPort: at.HTTP, AltTLSALPNPort: at.TLS,
		Logger: a.zap,
	})
	r.config.Issuers = []certmagic.Issuer{r.issuer}

	ctx, cancel := context.WithCancel(ctx)
	var renewals sync.WaitGroup
	var missing []string
	for _, domain := range a.domains {
		cert, err := r.config.CacheManagedCertificate(ctx, domain)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			missing = append(missing, domain)
		case err != nil:
			a.log.Warn("a stored certificate cannot be used", "domain", domain, "error", err)
			missing = append(missing, domain)
		case cert.NeedsRenewal(r.config):
			renewals.Go(func() { a.renew(ctx, r.config, domain) })
		}
	}
	if err := r.config.ManageAsync(ctx, missing); err != nil {
		cancel()
		r.cache.Stop()
		return nil, err
	}
	a.running.Store(r)
	return func() {
		cancel()
		renewals.Wait()
		r.cache.Stop()
	}, nil
}

// renew gets a new certificate for one that was already old at the start.
func (a *authority) renew(ctx context.Context, config *certmagic.Config, domain string) {
	err := config.RenewCertAsync(ctx, domain, false)
	if err == nil {
		_, err = config.CacheManagedCertificate(ctx, domain)
	}
	if err != nil && ctx.Err() == nil {
		a.log.Error("renewing a certificate failed", "domain", domain, "error", err)
	}
}

func (a *authority) count(_ context.Context, event string, _ map[string]any) error {
	switch event {
	case "cert_obtained":
		a.metrics.orders.WithLabelValues("obtained").Inc()
	case "cert_failed":
		a.metrics.orders.WithLabelValues("failed").Inc()
	}
	return nil
}

func (a *authority) manages(name string) bool { return slices.Contains(a.domains, normal(name)) }

func (a *authority) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	r := a.running.Load()
	if r == nil {
		return nil, ErrNone
	}
	return r.config.GetCertificate(hello)
}

func (a *authority) answer(w http.ResponseWriter, r *http.Request) bool {
	running := a.running.Load()
	return running != nil && running.issuer.HandleHTTPChallenge(w, r)
}

func (a *authority) notAfter() time.Time {
	var first time.Time
	r := a.running.Load()
	if r == nil {
		return first
	}
	for _, domain := range a.domains {
		var last time.Time // of several for a name, the newest is used
		for _, cert := range r.cache.AllMatchingCertificates(domain) {
			if cert.Leaf != nil && cert.Leaf.NotAfter.After(last) {
				last = cert.Leaf.NotAfter
			}
		}
		if !last.IsZero() && (first.IsZero() || last.Before(first)) {
			first = last
		}
	}
	return first
}
