package httpserver_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/weir-stream/weir/internal/httpserver"
)

// turnstile lets so many connections of an address in.
type turnstile struct {
	mu   sync.Mutex
	most int
	open map[netip.Addr]int
	left chan struct{} // receives for each that has left
}

func newTurnstile(most int) *turnstile {
	return &turnstile{most: most, open: make(map[netip.Addr]int), left: make(chan struct{}, 100)}
}

func (s *turnstile) admit(client netip.Addr) (release func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open[client]++
	return func() {
		s.mu.Lock()
		s.open[client]--
		s.mu.Unlock()
		s.left <- struct{}{}
	}, s.open[client] <= s.most
}

func (s *turnstile) count(client string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open[netip.MustParseAddr(client)]
}

// A connection counts until it ends, also when net/http has it from the handler of connections.
func TestAConnectionCountsUntilItEnds(t *testing.T) {
	entry := newTurnstile(1)
	s := startSite(t, func(settings *httpserver.Settings) {
		settings.Config.TLS = httpserver.DefaultTLSConfig()
		settings.Conns, settings.Admit = newLoop(), entry.admit
	})
	ask := func(c net.Conn, request string) string {
		t.Helper()
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		if _, err := io.WriteString(c, request+" HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			return ""
		}
		response, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			return ""
		}
		defer response.Body.Close()
		body, _ := io.ReadAll(response.Body)
		return string(body)
	}
	dial := func() net.Conn {
		t.Helper()
		c, err := net.Dial("tcp", s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	for _, request := range []string{"GET /loop", "GET /odd"} { // the second is given back to net/http
		first := dial()
		if got := ask(first, request); got == "" {
			t.Fatalf("%s: no answer", request)
		}
		if got := ask(dial(), request); got != "" {
			t.Errorf("%s: a second connection of the address got %q", request, got)
		}
		<-entry.left // the second
		if n := entry.count("127.0.0.1"); n != 1 {
			t.Errorf("%s: %d count, want 1", request, n)
		}
		_ = first.Close()
		<-entry.left
	}
}

func TestConnectionsOfEveryProtocolCount(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			entry := newTurnstile(1)
			s := startSite(t, func(settings *httpserver.Settings) { settings.Admit = entry.admit })
			if _, body := get(t, s.client(t, protocol), s.url()); body == "" {
				t.Error("the first connection got nothing")
			}
			if n := entry.count("127.0.0.1"); n != 1 {
				t.Errorf("%d connections count, want 1", n)
			}
			second := s.client(t, protocol)
			second.Timeout = 10 * time.Second
			if response, err := second.Get(s.url()); err == nil {
				_ = response.Body.Close()
				if protocol != "h3" { // which may have answered before the handshake was over
					t.Errorf("a second connection got %s", response.Status)
				}
			}
			<-entry.left
		})
	}
}

// It is the client that counts, and not the proxy that speaks for it.
func TestClientsOfAProxyCountEach(t *testing.T) {
	entry := newTurnstile(1)
	s := startSite(t, func(settings *httpserver.Settings) {
		settings.Config.TLS = httpserver.DefaultTLSConfig()
		settings.Config.ProxyProtocol = []string{"127.0.0.0/8"}
		settings.Admit = entry.admit
	})
	for client, want := range map[string]string{"192.0.2.1": "ok", "192.0.2.2": "ok"} {
		c := speak(t, s.Addr().String(), "PROXY TCP4 "+client+" 198.51.100.1 8080 443\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n")
		if _, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil {
			t.Errorf("%s: %v, want %s", client, err, want)
		}
	}
	c := speak(t, s.Addr().String(), "PROXY TCP4 192.0.2.1 198.51.100.1 8081 443\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n")
	if text, _ := io.ReadAll(c); len(text) > 0 {
		t.Errorf("a second connection of a client got %q", text)
	}
}
