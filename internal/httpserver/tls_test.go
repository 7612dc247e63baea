package httpserver_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/quic-go/quic-go/http3"

	"github.com/weir-stream/weir/internal/httpserver"
	"github.com/weir-stream/weir/internal/httpserver/certs"
	"github.com/weir-stream/weir/internal/httpserver/certs/certstest"
)

// site is a running server with TLS.
type site struct {
	*httpserver.Server
	authority *certstest.Authority
	dir       string
	registry  *prometheus.Registry
	stop      func() error
}

func startSite(t testing.TB, change func(*httpserver.Settings)) *site {
	t.Helper()
	s := &site{authority: certstest.NewAuthority(t), dir: t.TempDir(), registry: prometheus.NewRegistry()}
	certificate, key := s.authority.Write(t, s.dir, "site", "127.0.0.1", "weir.example")
	settings := httpserver.Settings{
		Config: httpserver.DefaultConfig("127.0.0.1:0"), Log: slog.New(slog.DiscardHandler), Registerer: s.registry,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = fmt.Fprintf(w, "%s %v", r.Proto, r.TLS != nil)
		}),
	}
	settings.Config.TLS.Certificates = []certs.File{{Certificate: certificate, Key: key}}
	change(&settings)
	server, err := httpserver.New(settings)
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Listen(); err != nil {
		t.Fatal(err)
	}
	s.Server = server
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()
	stopped := false
	s.stop = func() error {
		stopped = true
		cancel()
		return <-done
	}
	t.Cleanup(func() {
		if stopped {
			return
		}
		if err := s.stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func (s *site) clientConfig() *tls.Config { return &tls.Config{RootCAs: s.authority.Pool} }

// client returns one that speaks "http/1.1", "h2" or "h3" only.
func (s *site) client(t testing.TB, protocol string) *http.Client {
	t.Helper()
	if protocol == "h3" {
		transport := &http3.Transport{TLSClientConfig: s.clientConfig()}
		t.Cleanup(func() { _ = transport.Close() })
		return &http.Client{Transport: transport}
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(protocol == "http/1.1")
	protocols.SetHTTP2(protocol == "h2")
	transport := &http.Transport{TLSClientConfig: s.clientConfig(), Protocols: protocols, ReadBufferSize: 256 << 10}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func get(t testing.TB, client *http.Client, url string) (*http.Response, string) {
	t.Helper()
	response, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(body)
}

func (s *site) url() string { return "https://" + s.Addr().String() }

var protocols = []string{"http/1.1", "h2", "h3"}

func TestEveryProtocolIsServedOnOnePort(t *testing.T) {
	s := startSite(t, func(settings *httpserver.Settings) { settings.Config.TLS.HSTS = 24 * time.Hour })
	for protocol, want := range map[string]string{"http/1.1": "HTTP/1.1 true", "h2": "HTTP/2.0 true", "h3": "HTTP/3.0 true"} {
		response, body := get(t, s.client(t, protocol), s.url())
		if body != want {
			t.Errorf("%s: %q, want %q", protocol, body, want)
		}
		if got := response.Header.Get("Strict-Transport-Security"); got != "max-age=86400" {
			t.Errorf("%s: Strict-Transport-Security %q", protocol, got)
		}
		altSvc := ""
		if protocol != "h3" {
			_, number, _ := net.SplitHostPort(s.Addr().String())
			altSvc = `h3=":` + number + `"; ma=86400`
		}
		if got := response.Header.Get("Alt-Svc"); got != altSvc {
			t.Errorf("%s: Alt-Svc %q, want %q", protocol, got, altSvc)
		}
		if response.TLS.Version != tls.VersionTLS13 {
			t.Errorf("%s: TLS %x", protocol, response.TLS.Version)
		}
	}
}

func TestHTTP3CanBeOff(t *testing.T) {
	s := startSite(t, func(settings *httpserver.Settings) { settings.Config.TLS.HTTP3 = false })
	response, _ := get(t, s.client(t, "h2"), s.url())
	if got := response.Header.Get("Alt-Svc"); got != "" || len(s.TLSFields()) != 0 {
		t.Errorf("Alt-Svc %q, fields %v", got, s.TLSFields())
	}
	packets, err := net.ListenPacket("udp", s.Addr().String())
	if err != nil {
		t.Fatalf("the UDP port is taken: %v", err)
	}
	_ = packets.Close()
}

// Answers of all sizes come whole over every protocol, also those that are written in odd pieces.
func TestAnswersAreWhole(t *testing.T) {
	content := make([]byte, 3<<20+17)
	for i := range content {
		content[i] = byte(i*i>>8 ^ i)
	}
	s := startSite(t, func(settings *httpserver.Settings) {
		settings.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var size, piece int
			if _, err := fmt.Sscanf(r.URL.Path, "/%d/%d", &size, &piece); err != nil {
				t.Error(err)
			}
			for rest := content[:size]; len(rest) > 0; {
				n := min(piece, len(rest))
				if _, err := w.Write(rest[:n]); err != nil {
					t.Error(err)
					return
				}
				rest = rest[n:]
			}
		})
	})
	for _, protocol := range protocols {
		client := s.client(t, protocol)
		for _, size := range []int{0, 1, 1000, 16 << 10, 16<<10 + 1, 100_000, 1 << 20, len(content)} {
			for _, piece := range []int{1000, 16 << 10, 256<<10 + 1, len(content)} {
				_, body := get(t, client, fmt.Sprintf("%s/%d/%d", s.url(), size, piece))
				if body != string(content[:size]) {
					t.Fatalf("%s: %d bytes in pieces of %d: got %d others", protocol, size, piece, len(body))
				}
			}
		}
	}
}

// countingListener counts the writes that reach the kernel.
type sockets struct {
	net.ListenConfig
	writes chan int
}

func (s *sockets) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	l, err := s.ListenConfig.Listen(ctx, network, address)
	return countingListener{l, s.writes}, err
}

type countingListener struct {
	net.Listener
	writes chan int
}

func (l countingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return countingConn{c, l.writes}, nil
}

type countingConn struct {
	net.Conn
	writes chan int
}

func (c countingConn) Write(p []byte) (int, error) {
	select {
	case c.writes <- len(p):
	default:
	}
	return c.Conn.Write(p)
}

func TestRecordsAreJoined(t *testing.T) {
	for _, protocol := range []string{"http/1.1", "h2"} {
		t.Run(protocol, func(t *testing.T) {
			writes := make(chan int, 10_000)
			s := startSite(t, func(settings *httpserver.Settings) {
				settings.Sockets = &sockets{writes: writes}
				settings.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					_, _ = w.Write(make([]byte, 4<<20))
				})
			})
			get(t, s.client(t, protocol), s.url())
			count, total, largest := 0, 0, 0
			for len(writes) > 0 {
				n := <-writes
				count, total, largest = count+1, total+n, max(largest, n)
			}
			records := 4 << 20 >> 14 // and as many again for the headers of HTTP/2
			if total < 4<<20 || count > records/2 {
				t.Errorf("%d bytes in %d writes; there are %d records", total, count, records)
			}
			if largest > 256<<10 {
				t.Errorf("a write of %d bytes", largest)
			}
		})
	}
}

func TestVersionsOfTLS(t *testing.T) {
	for _, test := range []struct {
		min  string
		most uint16
		ok   bool
	}{
		{"1.2", tls.VersionTLS11, false},
		{"1.2", tls.VersionTLS12, true},
		{"1.2", tls.VersionTLS13, true},
		{"1.3", tls.VersionTLS12, false},
		{"1.3", tls.VersionTLS13, true},
	} {
		s := startSite(t, func(settings *httpserver.Settings) { settings.Config.TLS.MinVersion = test.min })
		config := s.clientConfig()
		config.MinVersion, config.MaxVersion = tls.VersionTLS10, test.most
		c, err := tls.Dial("tcp", s.Addr().String(), config)
		if (err == nil) != test.ok {
			t.Errorf("at least %s, client speaks %x at most: %v", test.min, test.most, err)
		}
		if c != nil {
			if test.most == tls.VersionTLS12 && c.ConnectionState().CipherSuite != tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 {
				t.Errorf("cipher suite %x", c.ConnectionState().CipherSuite)
			}
			_ = c.Close()
		}
	}
}

func TestCertificatesCanBeReplaced(t *testing.T) {
	s := startSite(t, func(*httpserver.Settings) {})
	shown := func() string {
		config := s.clientConfig()
		config.ServerName = "weir.example"
		c, err := tls.Dial("tcp", s.Addr().String(), config)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	before := shown()
	s.authority.Write(t, s.dir, "site", "127.0.0.1", "weir.example")
	if err := s.Reload(); err != nil {
		t.Fatal(err)
	}
	if shown() == before {
		t.Error("the old certificate is shown after Reload")
	}
	if err := os.Remove(s.dir + "/site.key"); err != nil {
		t.Fatal(err)
	}
	if err := s.Reload(); err == nil {
		t.Error("Reload took a certificate without key")
	}
	shown()
}

func TestRedirect(t *testing.T) {
	s := startSite(t, func(settings *httpserver.Settings) { settings.Config.TLS.Redirect = "127.0.0.1:0" })
	client := s.client(t, "http/1.1")
	_, number, _ := net.SplitHostPort(s.Addr().String())
	for _, test := range []struct {
		method, host, path string
		code               int
		location           string
	}{
		{http.MethodGet, "weir.example", "/a?b=c", 301, "https://weir.example:" + number + "/a?b=c"},
		{http.MethodHead, "weir.example:80", "/", 301, "https://weir.example:" + number + "/"},
		{http.MethodPost, "weir.example", "/a", 308, "https://weir.example:" + number + "/a"},
		{http.MethodGet, "[2001:db8::1]:80", "/a", 301, "https://[2001:db8::1]:" + number + "/a"},
		{http.MethodGet, "192.0.2.1:80", "//evil.example/", 301, "https://192.0.2.1:" + number + "//evil.example/"},
	} {
		request, err := http.NewRequest(test.method, "http://"+s.RedirectAddr().String()+test.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Host = test.host
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if got := response.Header.Get("Location"); response.StatusCode != test.code || got != test.location {
			t.Errorf("%s %s%s: %d to %q, want %d to %q", test.method, test.host, test.path, response.StatusCode, got, test.code, test.location)
		}
	}
	c := speak(t, "http://"+s.RedirectAddr().String(), "GET / HTTP/1.0\r\n\r\n")
	if response, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || response.StatusCode != http.StatusBadRequest {
		t.Errorf("without a host: %v, %v", response, err)
	}
}

func TestAClientWithoutTLSIsTold(t *testing.T) {
	s := startSite(t, func(*httpserver.Settings) {})
	c := speak(t, s.Addr().String(), "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	text, err := io.ReadAll(c)
	if err != nil || !strings.HasPrefix(string(text), "HTTP/1.0 400 ") {
		t.Errorf("got %q, %v", text, err)
	}
	if got := testutil.CollectAndCount(s.registry, "weir_http_failed_handshakes_total"); got != 1 {
		t.Errorf("%d metrics of failed handshakes", got)
	}
}

func TestAHandshakeThatDoesNotComeIsNotWaitedFor(t *testing.T) {
	s := startSite(t, func(settings *httpserver.Settings) { settings.Config.HeaderTimeout = stall })
	c := speak(t, s.Addr().String(), "\x16\x03\x01")
	if _, err := io.ReadAll(c); err != nil && !errors.Is(err, net.ErrClosed) && !strings.Contains(err.Error(), "reset") {
		t.Errorf("the connection stays: %v", err)
	}
}

// Over HTTP/2 and 3 a client can be alive and take nothing of one answer.
func TestAStreamOfWhichNothingIsTakenIsLeft(t *testing.T) {
	for _, protocol := range []string{"h2", "h3"} {
		t.Run(protocol, func(t *testing.T) {
			ended := make(chan error, 1)
			s := startSite(t, func(settings *httpserver.Settings) {
				settings.Config.StallTimeout = stall
				settings.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path == "/alive" {
						return
					}
					for piece := make([]byte, 1<<20); ; {
						if _, err := w.Write(piece); err != nil {
							ended <- err
							return
						}
					}
				})
			})
			client := s.client(t, protocol)
			response, err := client.Get(s.url())
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			for {
				select {
				case <-ended:
					return
				case <-time.After(stall / 4):
					get(t, client, s.url()+"/alive")
				}
			}
		})
	}
}

// What takes its time for a reason is not a stall.
func TestALongWaitWithinAnAnswerIsNoStall(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			s := startSite(t, func(settings *httpserver.Settings) {
				settings.Config.StallTimeout = stall
				settings.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					for range 3 {
						_, _ = io.WriteString(w, "part ")
						_ = http.NewResponseController(w).Flush()
						time.Sleep(2 * stall)
					}
				})
			})
			if _, body := get(t, s.client(t, protocol), s.url()); body != "part part part " {
				t.Errorf("got %q", body)
			}
		})
	}
}

func TestMalformedRequestsOverTLSAreRefused(t *testing.T) {
	s := startSite(t, func(settings *httpserver.Settings) {
		settings.Handler = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the handler saw it") })
	})
	config := s.clientConfig()
	config.NextProtos = []string{"http/1.1"}
	c, err := tls.Dial("tcp", s.Addr().String(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
	response, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || response.StatusCode != http.StatusBadRequest {
		t.Errorf("%v, %v", response, err)
	}
	metric := "# HELP weir_http_refused_total Connections closed for what came over them: malformed requests by what is wrong, and proxy-protocol.\n" +
		"# TYPE weir_http_refused_total counter\nweir_http_refused_total{reason=\"length-and-coding\"} 1\n"
	if err := testutil.GatherAndCompare(s.registry, bytes.NewBufferString(metric), "weir_http_refused_total"); err != nil {
		t.Error(err)
	}
}

func TestValidateTLS(t *testing.T) {
	file := certs.File{Certificate: "a.pem", Key: "a.key"}
	for _, test := range []struct {
		change func(*httpserver.Config)
		want   string
	}{
		{func(c *httpserver.Config) { c.TLS.MinVersion = "1.1" }, `tls.min_version: "1.1" is not 1.2 or 1.3`},
		{func(c *httpserver.Config) { c.TLS.HSTS = -1 }, "tls.hsts: -1ns is less than 0"},
		{func(c *httpserver.Config) { c.TLS.Redirect = ":80" }, "tls.redirect: there is nothing to redirect to without certificates or acme.domains"},
		{func(c *httpserver.Config) { c.TLS.Certificates, c.TLS.Redirect = []certs.File{file}, "80" }, `tls.redirect: "80" is not host:port or :port`},
		{func(c *httpserver.Config) { c.TLS.Certificates = []certs.File{file, {Key: "b.key"}} }, "tls.certificates: number 2 names no certificate or no key, expected two files"},
		{func(c *httpserver.Config) { c.TLS.ACME.Domains = []string{"*.x"} }, `tls.acme.domains: "*.x" is not a name such as edge.example.com (no wildcard: they need another challenge)`},
		{func(c *httpserver.Config) { c.ProxyProtocol = []string{"192.0.2.1"} }, `proxy_protocol: "192.0.2.1" is not a prefix such as 192.0.2.0/24`},
	} {
		config := httpserver.DefaultConfig(":8080")
		test.change(&config)
		_, err := httpserver.New(httpserver.Settings{Config: config, Log: slog.New(slog.DiscardHandler)})
		if err == nil || err.Error() != test.want {
			t.Errorf("err = %v\nwant  %s", err, test.want)
		}
	}
}
