package certs_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/weir-stream/weir/internal/httpserver/certs"
	"github.com/weir-stream/weir/internal/httpserver/certs/certstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newStore(t *testing.T, files ...certs.File) *certs.Store {
	t.Helper()
	store, err := certs.New(certs.Settings{Files: files, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// shown returns the leaf that a client gets who asks for name.
func shown(t *testing.T, store *certs.Store, change func(*tls.Config)) (*x509.Certificate, error) {
	t.Helper()
	server, client := net.Pipe()
	var wait sync.WaitGroup
	wait.Go(func() {
		_ = tls.Server(server, &tls.Config{GetCertificate: store.GetCertificate}).Handshake()
		_ = server.Close()
	})
	defer wait.Wait()
	defer client.Close()
	config := &tls.Config{InsecureSkipVerify: true}
	change(config)
	c := tls.Client(client, config)
	if err := c.Handshake(); err != nil {
		return nil, err
	}
	return c.ConnectionState().PeerCertificates[0], nil
}

func TestACertificateIsFoundByName(t *testing.T) {
	authority, dir := certstest.NewAuthority(t), t.TempDir()
	var files []certs.File
	for _, names := range [][]string{{"first.example"}, {"a.example", "b.example"}, {"*.wild.example"}, {"own.wild.example"}} {
		certificate, key := authority.Write(t, dir, strings.ReplaceAll(names[0], "*", "any"), names...)
		files = append(files, certs.File{Certificate: certificate, Key: key})
	}
	store := newStore(t, files...)
	for _, test := range []struct{ asked, want string }{
		{"first.example", "first.example"},
		{"a.example", "a.example"},
		{"B.Example", "a.example"},
		{"x.wild.example", "*.wild.example"},
		{"own.wild.example", "own.wild.example"},
		{"x.y.wild.example", "first.example"},
		{"wild.example", "first.example"},
		{"unknown.example", "first.example"},
		{"", "first.example"},
	} {
		leaf, err := shown(t, store, func(c *tls.Config) { c.ServerName = test.asked })
		if err != nil || leaf.Subject.CommonName != test.want {
			t.Errorf("%q: %v, %v, want %s", test.asked, leaf, err, test.want)
		}
	}
}

// A client that cannot use the newer key gets the older one.
func TestACertificateIsFoundByKey(t *testing.T) {
	authority, dir := certstest.NewAuthority(t), t.TempDir()
	ecdsa, ecdsaKey := authority.Write(t, dir, "ecdsa", "a.example")
	rsa, rsaKey := authority.WriteRSA(t, dir, "rsa", "a.example")
	store := newStore(t, certs.File{Certificate: ecdsa, Key: ecdsaKey}, certs.File{Certificate: rsa, Key: rsaKey})
	for _, test := range []struct {
		suites []uint16
		want   x509.PublicKeyAlgorithm
	}{
		{nil, x509.ECDSA},
		{[]uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}, x509.RSA},
	} {
		leaf, err := shown(t, store, func(c *tls.Config) {
			c.ServerName = "a.example"
			if test.suites != nil {
				c.CipherSuites, c.MaxVersion = test.suites, tls.VersionTLS12
			}
		})
		if err != nil || leaf.PublicKeyAlgorithm != test.want {
			t.Errorf("%v: %v, want %v", leaf, err, test.want)
		}
	}
}

func TestFilesThatCannotBeUsed(t *testing.T) {
	authority, dir := certstest.NewAuthority(t), t.TempDir()
	certificate, key := authority.Write(t, dir, "a", "a.example")
	_, otherKey := authority.Write(t, dir, "b", "b.example")
	for _, file := range []certs.File{{certificate, "missing.key"}, {"missing.pem", key}, {certificate, otherKey}, {key, certificate}} {
		_, err := certs.New(certs.Settings{Files: []certs.File{file}, Log: slog.New(slog.DiscardHandler)})
		if err == nil || !strings.Contains(err.Error(), file.Certificate) || !strings.Contains(err.Error(), file.Key) {
			t.Errorf("%v: %v, want an error that names both files", file, err)
		}
	}
}

func TestReloadReadsAgainOrKeeps(t *testing.T) {
	authority, dir := certstest.NewAuthority(t), t.TempDir()
	certificate, key := authority.Write(t, dir, "a", "old.example")
	store := newStore(t, certs.File{Certificate: certificate, Key: key})
	want := func(name string) {
		t.Helper()
		if leaf, err := shown(t, store, func(*tls.Config) {}); err != nil || leaf.Subject.CommonName != name {
			t.Errorf("shown: %v, %v, want %s", leaf, err, name)
		}
	}
	want("old.example")
	authority.Write(t, dir, "a", "new.example")
	want("old.example")
	if err := store.Reload(); err != nil {
		t.Fatal(err)
	}
	want("new.example")
	if err := os.WriteFile(key, []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := store.Reload(); err == nil {
		t.Error("a key that is none was taken")
	}
	want("new.example")
}

func TestFilesAreWatched(t *testing.T) {
	authority, dir := certstest.NewAuthority(t), t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		certificate, key := authority.Write(t, dir, "a", "old.example")
		var log bytes.Buffer
		registry := prometheus.NewRegistry()
		store, err := certs.New(certs.Settings{
			Files: []certs.File{{certificate, key}}, Log: slog.New(slog.NewTextHandler(&log, nil)), Registerer: registry,
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- store.Run(ctx, certs.Listeners{}) }()
		name := func() string {
			leaf, err := shown(t, store, func(*tls.Config) {})
			if err != nil {
				t.Fatal(err)
			}
			return leaf.Subject.CommonName
		}

		if err := os.WriteFile(key, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := strings.Count(log.String(), "cannot be used"); got != 1 {
			t.Errorf("the log says %d times that the files cannot be used, want 1: %s", got, &log)
		}
		if got := name(); got != "old.example" {
			t.Errorf("shown: %s", got)
		}
		authority.Write(t, dir, "a", "new.example")
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := name(); got != "new.example" {
			t.Errorf("shown: %s", got)
		}
		if got := testutil.CollectAndCount(registry, "weir_http_certificate_reloads_total"); got != 2 {
			t.Errorf("%d results of reloads are counted, want done and failed", got)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestWithoutACertificateThereIsNoHandshake(t *testing.T) {
	store := newStore(t)
	if _, err := store.GetCertificate(&tls.ClientHelloInfo{ServerName: "a.example"}); !errors.Is(err, certs.ErrNone) {
		t.Errorf("err = %v", err)
	}
	if store.Protocols() != nil {
		t.Errorf("protocols %v without ACME", store.Protocols())
	}
	w := httptest.NewRecorder()
	store.ServeChallenges(http.NotFoundHandler()).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/.well-known/acme-challenge/x", nil))
	if w.Code != http.StatusNotFound {
		t.Errorf("a challenge without ACME: %d", w.Code)
	}
}

func TestValidateACME(t *testing.T) {
	for _, test := range []struct {
		change func(*certs.ACMEConfig)
		want   string
	}{
		{func(*certs.ACMEConfig) {}, ""},
		{func(c *certs.ACMEConfig) { *c = certs.ACMEConfig{} }, ""},
		{func(c *certs.ACMEConfig) { c.Domains = []string{"*.example"} }, `domains: "*.example" is not a name such as edge.example.com (no wildcard: they need another challenge)`},
		{func(c *certs.ACMEConfig) { c.Directory = "http://x" }, `directory: "http://x" is not a URL that begins with https://`},
		{func(c *certs.ACMEConfig) { c.Challenges = nil }, "challenges: none is given, expected tls-alpn-01 or http-01"},
		{func(c *certs.ACMEConfig) { c.Challenges = []string{"dns-01"} }, `challenges: "dns-01" is not tls-alpn-01 or http-01`},
	} {
		c := certs.DefaultACMEConfig()
		c.Domains, c.Storage = []string{"a.example"}, "certs"
		test.change(&c)
		err := c.Validate()
		if got := errorText(err); got != test.want {
			t.Errorf("err = %q, want %q", got, test.want)
		}
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestACMEThatCannotWork(t *testing.T) {
	c := certs.DefaultACMEConfig()
	c.Domains, c.Storage = []string{"a.example"}, t.TempDir()
	for _, test := range []struct {
		change func(*certs.ACMEConfig)
		want   string
	}{
		{func(c *certs.ACMEConfig) { c.Challenges = []string{certs.HTTP01} }, "no listener without TLS"},
		{func(c *certs.ACMEConfig) { c.Storage = "" }, "storage: it is empty, expected a folder for the account and the certificates"},
		{func(c *certs.ACMEConfig) { c.CAFile = "missing.pem" }, "ca_file: "},
		{func(c *certs.ACMEConfig) { c.CAFile = os.DevNull }, "no certificate in PEM"},
	} {
		c := c
		test.change(&c)
		if _, err := certs.New(certs.Settings{ACME: c, Log: slog.New(slog.DiscardHandler)}); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("err = %v, want %q in it", err, test.want)
		}
	}
}
