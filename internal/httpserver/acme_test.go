package httpserver_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/weir-stream/weir/internal/httpserver"
	"github.com/weir-stream/weir/internal/httpserver/certs"
	"github.com/weir-stream/weir/internal/httpserver/certs/certstest"
)

// acmeServer is Pebble, the test server of Let's Encrypt, which proves control of names as the real one does.
type acmeServer struct {
	directory string
	caFile    string         // for talking to it
	roots     *x509.CertPool // of what it issues
	mu        sync.Mutex
	issued    int
}

func startACME(t *testing.T, httpPort, tlsPort int) *acmeServer {
	t.Helper()
	t.Setenv("PEBBLE_VA_NOSLEEP", "1")
	t.Setenv("PEBBLE_WFE_NONCEREJECT", "0") // so that orders can be counted
	quiet := log.New(io.Discard, "", 0)
	store := db.NewMemoryStore()
	// It advises to renew (RFC 9773) from a day before two thirds of the validity, which must not be now.
	const validity = 90 * 24 * 60 * 60 // seconds
	authority := ca.New(quiet, store, "", "ecdsa", 0, 1, map[string]ca.Profile{"default": {ValidityPeriod: validity}})
	validator := va.New(quiet, httpPort, tlsPort, false, startDNS(t), store)
	front := wfe.New(quiet, store, validator, authority, []string{"pebble.example"}, false, false, 1, 1)

	a := &acmeServer{roots: x509.NewCertPool()}
	a.roots.AppendCertsFromPEM(authority.GetRootCert(0).PEM())
	own, dir := certstest.NewAuthority(t), t.TempDir()
	certificate, key := own.Write(t, dir, "acme", "127.0.0.1")
	pair, err := tls.LoadX509KeyPair(certificate, key)
	if err != nil {
		t.Fatal(err)
	}
	a.caFile = filepath.Join(dir, "roots.pem")
	if err := os.WriteFile(a.caFile, own.PEM, 0o600); err != nil {
		t.Fatal(err)
	}
	handler := front.Handler()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && len(r.URL.Path) > len("/finalize-order/") && r.URL.Path[:len("/finalize-order/")] == "/finalize-order/" {
			a.mu.Lock()
			a.issued++
			a.mu.Unlock()
		}
		handler.ServeHTTP(w, r)
	}))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	server.StartTLS()
	t.Cleanup(server.Close)
	a.directory = server.URL + wfe.DirectoryPath
	return a
}

func (a *acmeServer) orders() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.issued
}

// startDNS starts a name server for which every name is this machine.
func startDNS(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	t.Cleanup(func() {
		_ = l.Close()
		serving.Wait()
	})
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer c.Close()
				for answerDNS(c) == nil {
				}
			})
		}
	})
	return l.Addr().String()
}

func answerDNS(c net.Conn) error {
	var length [2]byte
	if _, err := io.ReadFull(c, length[:]); err != nil {
		return err
	}
	query := make([]byte, binary.BigEndian.Uint16(length[:]))
	if _, err := io.ReadFull(c, query); err != nil {
		return err
	}
	var m dnsmessage.Message
	if err := m.Unpack(query); err != nil {
		return err
	}
	m.Response = true
	for _, q := range m.Questions {
		if q.Type == dnsmessage.TypeA {
			m.Answers = append(m.Answers, dnsmessage.Resource{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 1},
				Body:   &dnsmessage.AResource{A: netip.MustParseAddr("127.0.0.1").As4()},
			})
		}
	}
	m.Additionals = nil
	answer, err := m.Pack()
	if err != nil {
		return err
	}
	_, err = c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...))
	return err
}

// freePort returns a port that nobody listens on.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

func TestCertificatesByACME(t *testing.T) {
	for _, challenge := range []string{certs.HTTP01, certs.TLSALPN01} {
		t.Run(challenge, func(t *testing.T) {
			httpPort, tlsPort := freePort(t), freePort(t)
			acme := startACME(t, httpPort, tlsPort)
			storage := t.TempDir()
			start := func() *site {
				return startSite(t, func(settings *httpserver.Settings) {
					c := &settings.Config
					c.Address = address(tlsPort)
					c.TLS.Certificates = nil
					if challenge == certs.HTTP01 {
						c.TLS.Redirect = address(httpPort)
					}
					c.TLS.ACME.Domains = []string{"one.example.com", "two.example.com"}
					c.TLS.ACME.Email = "ops@example.com"
					c.TLS.ACME.Directory, c.TLS.ACME.CAFile = acme.directory, acme.caFile
					c.TLS.ACME.Challenges = []string{challenge}
					settings.Data = storage
					if os.Getenv("ACME_LOG") != "" {
						settings.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
					}
				})
			}
			s := start()
			stored := make(map[string]*x509.Certificate)
			for _, name := range []string{"one.example.com", "two.example.com"} {
				var err error
				if stored[name], err = awaitCertificate(s, acme.roots, name); err != nil {
					t.Fatal(err)
				}
			}
			if acme.orders() != 2 {
				t.Errorf("%d certificates were ordered, want 2", acme.orders())
			}
			if problems, err := testutil.GatherAndCount(s.registry, "weir_http_certificate_orders_total"); err != nil || problems != 1 {
				t.Errorf("%d results of orders are counted (%v), want only obtained", problems, err)
			}
			if err := s.stop(); err != nil {
				t.Fatal(err)
			}
			// After a restart the first handshake finds what was stored.
			s = start()
			for name, want := range stored {
				if got, err := awaitCertificate(s, acme.roots, name); err != nil {
					t.Error(err)
				} else if !got.Equal(want) {
					t.Errorf("%s has got another certificate after a restart", name)
				}
			}
			if acme.orders() != 2 {
				t.Errorf("%d certificates were ordered, want no more than 2", acme.orders())
			}
		})
	}
}

// awaitCertificate shakes hands until there is a certificate that roots trust.
func awaitCertificate(s *site, roots *x509.CertPool, name string) (*x509.Certificate, error) {
	var err error
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		var c *tls.Conn
		if c, err = tls.Dial("tcp", s.Addr().String(), &tls.Config{RootCAs: roots, ServerName: name}); err == nil {
			return c.ConnectionState().PeerCertificates[0], c.Close()
		}
		var wrong *tls.CertificateVerificationError
		if errors.As(err, &wrong) {
			return nil, err
		}
	}
	return nil, err
}
