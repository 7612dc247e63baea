package h1_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-stream/weir/internal/cdn/edge/h1"
)

func TestMain(m *testing.M) {
	if addr := os.Getenv(crowd); addr != "" {
		count, _ := strconv.Atoi(os.Getenv(crowd + "_COUNT"))
		if err := runCrowd(addr, count, os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// patience is how long a test waits for what must happen.
const patience = 10 * time.Second

// hitter answers with a function.
type hitter func(*h1.Request, *h1.Answer) bool

func (f hitter) Hit(r *h1.Request, a *h1.Answer) bool { return f(r, a) }

// edge is a server under test that listens on the loopback.
type edge struct {
	h1.Settings
	tls      *tls.Config
	below    func(net.Conn) net.Conn // wraps what is below TLS, or the plaintext connection
	addr     string
	registry *prometheus.Registry
	drain    context.CancelFunc
	// over has what ServeConn has returned, once for each connection.
	over chan net.Conn
}

func start(t testing.TB, change func(*edge)) *edge {
	t.Helper()
	e := &edge{registry: prometheus.NewRegistry(), over: make(chan net.Conn, 20_000)}
	e.Config = h1.DefaultConfig()
	e.Log = slog.New(slog.DiscardHandler)
	e.Registerer = e.registry
	e.Handler = http.NotFoundHandler()
	if change != nil {
		change(e)
	}
	server, err := h1.New(e.Settings)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e.addr = l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	e.drain = cancel
	var connections sync.WaitGroup
	accepting := make(chan struct{})
	go func() {
		defer close(accepting)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			connections.Add(1)
			go func() {
				defer connections.Done()
				if e.below != nil {
					c = e.below(c)
				}
				if e.tls != nil {
					secure := tls.Server(c, e.tls)
					if secure.HandshakeContext(ctx) != nil {
						_ = c.Close()
						return
					}
					c = secure
				}
				rest := server.ServeConn(ctx, c)
				select {
				case e.over <- rest:
				default:
					if rest != nil {
						_ = rest.Close()
					}
				}
			}()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-accepting
		cancel()
		connections.Wait()
		for {
			select {
			case c := <-e.over:
				if c != nil {
					_ = c.Close()
				}
			default:
				return
			}
		}
	})
	return e
}

// ended waits for a connection to be over.
func (e *edge) ended(t testing.TB) net.Conn {
	t.Helper()
	select {
	case c := <-e.over:
		return c
	case <-time.After(patience):
		t.Fatal("the connection is still being served")
		return nil
	}
}

func (e *edge) ways(t testing.TB) map[string]float64 {
	t.Helper()
	families, err := e.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	ways := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if len(m.GetLabel()) > 0 && m.GetCounter().GetValue() > 0 {
				ways[m.GetLabel()[0].GetValue()] = m.GetCounter().GetValue()
			}
		}
	}
	return ways
}

// client is a connection to a server, with its answers read as net/http reads them.
type client struct {
	net.Conn
	t      testing.TB
	answer *bufio.Reader
}

func dial(t testing.TB, addr string) *client {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return wrap(t, c)
}

func wrap(t testing.TB, c net.Conn) *client {
	t.Helper()
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return &client{c, t, bufio.NewReader(c)}
}

func dialTLS(t testing.TB, addr string) *client {
	t.Helper()
	c, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	return wrap(t, c)
}

func (c *client) say(s string) *client {
	c.t.Helper()
	if _, err := io.WriteString(c.Conn, s); err != nil {
		c.t.Fatal(err)
	}
	return c
}

// hear reads an answer to a request with this method.
func (c *client) hear(method string) (*http.Response, []byte) {
	c.t.Helper()
	response, err := http.ReadResponse(c.answer, &http.Request{Method: method})
	if err != nil {
		c.t.Fatalf("no answer: %v", err)
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		c.t.Fatalf("the answer broke off after %d bytes: %v", len(body), err)
	}
	return response, body
}

// closed expects the connection to end here.
func (c *client) closed() {
	c.t.Helper()
	rest, err := io.ReadAll(c.answer)
	if len(rest) > 0 || err != nil && !strings.Contains(err.Error(), "reset") {
		c.t.Errorf("the connection goes on: %.100q, %v", rest, err)
	}
}

// get is a request for a path.
func get(path string) string { return "GET " + path + " HTTP/1.1\r\nHost: edge\r\n\r\n" }

const okHead = "HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\n"

// pattern returns n bytes that tell their place.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i>>16) ^ byte(i>>8) ^ byte(i)*31
	}
	return b
}

// same compares bodies without printing megabytes.
func same(t testing.TB, what string, got, want []byte) {
	t.Helper()
	if bytes.Equal(got, want) {
		return
	}
	i := 0
	for i < min(len(got), len(want)) && got[i] == want[i] {
		i++
	}
	t.Errorf("%s: %d bytes, want %d; they differ from %d on", what, len(got), len(want), i)
}

// certificate returns a TLS configuration with a certificate of its own.
func certificate(t testing.TB) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"edge"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}
