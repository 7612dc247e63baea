package natsserver

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 20 * time.Second

func start(t *testing.T, name, dir string, change func(*Config)) *Server {
	t.Helper()
	c := DefaultConfig()
	if change != nil {
		change(&c)
	}
	s, err := New(Settings{Config: c, Name: name, Dir: dir, Registerer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func connect(t *testing.T, s *Server) *nats.Conn {
	t.Helper()
	c, err := s.Connect("test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// echo sends a message through the bus, from one connection to another.
func echo(t *testing.T, from, to *nats.Conn) {
	t.Helper()
	sub, err := to.Subscribe("echo", func(m *nats.Msg) { _ = m.Respond(m.Data) })
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	var got *nats.Msg
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		// A connection may still be on its way, and interest may not be known to the other server yet.
		if got, err = from.Request("echo", []byte("hello"), 100*time.Millisecond); err == nil {
			if string(got.Data) != "hello" {
				t.Fatalf("got %q", got.Data)
			}
			return
		}
	}
	t.Fatalf("no answer within %v: %v", patience, err)
}

func freeAddresses(t *testing.T, n int) []string {
	t.Helper()
	var all []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		all = append(all, l.Addr().String())
	}
	return all
}

func TestANodeThatStandsAloneListensNowhere(t *testing.T) {
	s := start(t, "one", t.TempDir(), nil)
	if s.Addr() != "" || s.ClusterAddr() != "" {
		t.Errorf("it listens at %q and %q", s.Addr(), s.ClusterAddr())
	}
	echo(t, connect(t, s), connect(t, s))
}

func TestWhatIsStoredSurvivesARestart(t *testing.T) {
	dir := t.TempDir()
	s := start(t, "one", dir, func(c *Config) { c.SyncInterval = 0 })
	js, err := jetstream.New(connect(t, s))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), "s", []byte("kept")); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	js, err = jetstream.New(connect(t, start(t, "one", dir, nil)))
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), "S")
	if err != nil {
		t.Fatal(err)
	}
	if msg, err := stream.GetMsg(t.Context(), 1); err != nil || string(msg.Data) != "kept" {
		t.Errorf("message 1 = %v, %v", msg, err)
	}
}

func TestAnotherNodeConnects(t *testing.T) {
	secret := func(c *Config) { c.User, c.Password = "weir", "secret" }
	s := start(t, "one", t.TempDir(), func(c *Config) { c.Address = "127.0.0.1:0"; secret(c) })
	other := start(t, "two", "", func(c *Config) { c.Servers = []string{s.Addr()}; secret(c) })
	echo(t, connect(t, other), connect(t, s))
	if other.Replicas() != 0 || s.Replicas() != 1 {
		t.Errorf("replicas = %d and %d, want 0 (others decide) and 1", other.Replicas(), s.Replicas())
	}

	c, err := nats.Connect(s.Addr(), nats.UserInfo("weir", "guess"))
	if err == nil {
		c.Close()
		t.Error("a wrong password is accepted")
	}
}

func TestAClusterWithCertificates(t *testing.T) {
	files := certificates(t, "127.0.0.1")
	routes := freeAddresses(t, 2)
	both := func(i int) func(*Config) {
		return func(c *Config) {
			c.TLS, c.User, c.Password = files, "weir", "secret"
			c.Address, c.Cluster.Address, c.Cluster.Routes = "127.0.0.1:0", routes[i], routes
		}
	}
	first, second := start(t, "one", t.TempDir(), both(0)), start(t, "two", t.TempDir(), both(1))
	echo(t, connect(t, first), connect(t, second))

	remote := start(t, "three", "", func(c *Config) {
		c.TLS, c.User, c.Password, c.Servers = files, "weir", "secret", []string{second.Addr()}
	})
	echo(t, connect(t, remote), connect(t, first))

	c, err := nats.Connect(first.Addr(), nats.UserInfo("weir", "secret"), nats.RootCAs(files.Authority))
	if err == nil {
		c.Close()
		t.Error("a client without a certificate is accepted")
	}
}

// Nobody has to keep in mind who has connections: goleak would find one that is left.
func TestCloseClosesConnections(t *testing.T) {
	s := start(t, "one", t.TempDir(), nil)
	c, err := s.Connect("left open")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if !c.IsClosed() {
		t.Error("the connection is open")
	}
	if _, err := s.Connect("too late"); err == nil {
		t.Error("a connection is made after Close")
	}
}

func TestANameIsNeeded(t *testing.T) {
	if _, err := New(Settings{Config: DefaultConfig(), Dir: t.TempDir()}); err == nil {
		t.Error("a server without a name is accepted")
	}
}

func TestAnAddressThatIsTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := DefaultConfig()
	c.Address = l.Addr().String()
	if s, err := New(Settings{Config: c, Name: "one", Dir: t.TempDir()}); err == nil {
		_ = s.Close()
		t.Error("it is used nevertheless")
	} else if !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("the error is %v, which does not name the cause", err)
	}
}

func TestConfig(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Config)
		says   string
	}{
		"no port":                   {func(c *Config) { c.Address = "localhost" }, "host:port is expected"},
		"an empty server":           {func(c *Config) { c.Servers = []string{""} }, "host:port is expected"},
		"a server here and others'": {func(c *Config) { c.Address, c.Servers = ":4222", []string{"a:4222"} }, "none runs here"},
		"routes without an address": {func(c *Config) { c.Cluster.Routes = []string{"a:6222"} }, "cluster.address is not"},
		"an address without routes": {func(c *Config) { c.Cluster.Address = ":6222" }, "cluster.routes are not"},
		"a user without a password": {func(c *Config) { c.User = "weir" }, "belong together"},
		"two replicas":              {func(c *Config) { c.Replicas = 2 }, "1, 3 or 5"},
		"three replicas on one":     {func(c *Config) { c.Replicas = 3 }, "no cluster"},
		"more replicas than servers": {func(c *Config) {
			c.Cluster = ClusterConfig{Address: "127.0.0.1:6222", Routes: []string{"127.0.0.1:6222", "127.0.0.1:6223"}, Name: "weir"}
			c.Replicas = 3
		}, "name 2 servers"},
		"an address for everybody": {func(c *Config) { c.Address = ":4222" }, "user and password, tls, or an address"},
		"an address of a network":  {func(c *Config) { c.Address = "10.0.0.1:4222" }, "user and password, tls, or an address"},
		"an address of a cluster, for everybody": {func(c *Config) {
			c.Cluster = ClusterConfig{Address: "0.0.0.0:6222", Routes: []string{"a:6222"}, Name: "weir"}
		}, "cluster.address is"},
		"no room":                    {func(c *Config) { c.MaxStoreBytes = 0 }, "max_store_bytes"},
		"an odd retransmission time": {func(c *Config) { c.RetransmitMin = time.Microsecond }, "1ms to 200ms"},
		"a cluster without a name": {func(c *Config) {
			c.Cluster = ClusterConfig{Address: ":6222", Routes: []string{"a:6222"}}
		}, "cluster.name"},
	} {
		config := DefaultConfig()
		c.change(&config)
		if err := config.Validate(); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
	}
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	if err := (TLSConfig{Key: "k"}).Validate(); err == nil {
		t.Error("a key without a certificate is accepted")
	}
}

func TestWhoMayReachTheBus(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"this machine":  func(c *Config) { c.Address = "127.0.0.1:4222" },
		"by its name":   func(c *Config) { c.Address = "localhost:4222" },
		"IPv6":          func(c *Config) { c.Address = "[::1]:4222" },
		"with password": func(c *Config) { c.Address, c.User, c.Password = ":4222", "weir", "secret" },
		"certificates":  func(c *Config) { c.Address, c.TLS = ":4222", TLSConfig{Certificate: "c", Key: "k", Authority: "a"} },
	} {
		c := DefaultConfig()
		change(&c)
		if err := c.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// No more servers are to keep a message than there are.
func TestReplicas(t *testing.T) {
	for name, test := range map[string]struct {
		cluster ClusterConfig
		want    int
	}{
		"alone":                        {ClusterConfig{}, 1},
		"two":                          {ClusterConfig{Address: "10.0.0.1:6222", Routes: []string{"10.0.0.1:6222", "10.0.0.2:6222"}}, 1},
		"two, by what is told":         {ClusterConfig{Address: ":6222", Advertise: "a:6222", Routes: []string{"a:6222", "b:6222"}}, 1},
		"two, on all addresses":        {ClusterConfig{Address: ":6222", Routes: []string{"127.0.0.1:6222", "b:6222"}}, 1},
		"two, of which one is told":    {ClusterConfig{Address: ":6222", Routes: []string{"b:6222"}}, 1},
		"three":                        {ClusterConfig{Address: "a:6222", Routes: []string{"a:6222", "b:6222", "c:6222"}}, 3},
		"three, of which two are told": {ClusterConfig{Address: "a:6222", Routes: []string{"b:6222", "c:6222"}}, 3},
		"four":                         {ClusterConfig{Address: ":6222", Routes: []string{"a:6222", "b:6222", "c:6222", "d:6222"}}, 3},
	} {
		if got := (Config{Cluster: test.cluster}).replicas(); got != test.want {
			t.Errorf("%s: %d replicas, want %d", name, got, test.want)
		}
	}
}

// Two servers keep a log that both can make.
func TestAClusterOfTwoKeepsMessages(t *testing.T) {
	routes := freeAddresses(t, 2)
	server := func(i int) *Server {
		return start(t, fmt.Sprint("server-", i), t.TempDir(), func(c *Config) {
			c.Address, c.Cluster.Address, c.Cluster.Routes = "127.0.0.1:0", routes[i], routes
		})
	}
	first, second := server(0), server(1)
	echo(t, connect(t, first), connect(t, second))
	js, err := jetstream.New(connect(t, second))
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); ; {
		_, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}, Replicas: first.Replicas()})
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// certificates makes an authority and a certificate of it, in files.
func certificates(t *testing.T, host string) TLSConfig {
	t.Helper()
	dir := t.TempDir()
	authorityKey, authority := certificate(t, nil, nil, "")
	key, leaf := certificate(t, authority, authorityKey, host)
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return TLSConfig{
		Certificate: write("cert.pem", "CERTIFICATE", leaf.Raw),
		Key:         write("key.pem", "EC PRIVATE KEY", der),
		Authority:   write("ca.pem", "CERTIFICATE", authority.Raw),
	}
}

func certificate(t *testing.T, parent *x509.Certificate, parentKey *ecdsa.PrivateKey, host string) (*ecdsa.PrivateKey, *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: fmt.Sprint("weir test ", host)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if parent == nil {
		template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
		parent, parentKey = template, key
	} else {
		template.IPAddresses = []net.IP{net.ParseIP(host)}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return key, parsed
}
