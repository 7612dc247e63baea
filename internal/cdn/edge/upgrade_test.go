package edge

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/weir-stream/weir/internal/cdn/cache"
	"github.com/weir-stream/weir/internal/cdn/edge/h1"
	"github.com/weir-stream/weir/internal/httpserver"
)

// impatience is the header and idle timeout of the listener in front of which WebSockets are tested.
const impatience = 300 * time.Millisecond

// echo answers WebSocket messages with themselves; "close" has it close with a code of its own.
type echo struct {
	server *httptest.Server
	ended  chan error // how each connection has ended, for the origin
}

func newEcho(t *testing.T) *echo {
	e := &echo{ended: make(chan error, 64)}
	e.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/refused":
			http.Error(w, "not you", http.StatusForbidden)
			return
		case "/slow":
			<-r.Context().Done()
			return
		}
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"chat"}, InsecureSkipVerify: true})
		if err != nil {
			e.ended <- err
			return
		}
		c.SetReadLimit(64 << 20)
		for {
			kind, message, err := c.Read(context.Background())
			if err == nil && string(message) == "close" {
				e.ended <- c.Close(4001, "as you wish")
				return
			}
			if err == nil {
				err = c.Write(context.Background(), kind, message)
			}
			if err != nil {
				_ = c.CloseNow()
				e.ended <- err
				return
			}
		}
	}))
	t.Cleanup(e.server.Close)
	return e
}

// listening puts an edge behind a listener as the program has it: the edge's own loop, which hands over.
func listening(t *testing.T, hs *harness, change func(*httpserver.Config)) (address string, stop func()) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	c := httpserver.DefaultConfig("127.0.0.1:0")
	c.HeaderTimeout, c.IdleTimeout, c.DrainTimeout = impatience, impatience, 4*time.Second
	if change != nil {
		change(&c)
	}
	loop := h1.DefaultConfig()
	loop.HeaderTimeout, loop.IdleTimeout, loop.StallTimeout = c.HeaderTimeout, c.IdleTimeout, c.StallTimeout
	conns, err := h1.New(h1.Settings{Config: loop, Hitter: hs.Handler, Handler: hs, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	server, err := httpserver.New(httpserver.Settings{Config: c, Handler: hs, Conns: conns, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()
	ended := false
	stop = func() {
		if ended {
			return
		}
		ended = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the listener: %v", err)
		}
	}
	t.Cleanup(stop)
	return server.Addr().String(), stop
}

func newUpgradeEdge(t *testing.T, change ...func(*Config, *cache.Config)) (*harness, *echo) {
	t.Helper()
	e := newEcho(t)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	hs := newHarness(t, transport.RoundTrip, append([]func(*Config, *cache.Config){func(c *Config, _ *cache.Config) {
		c.Rules = ProxyRules()
	}}, change...)...)
	base, err := url.Parse(e.server.URL)
	if err != nil {
		t.Fatal(err)
	}
	hs.originURL = base
	return hs, e
}

func dial(t *testing.T, address string) (*websocket.Conn, *http.Response) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	c, response, err := websocket.Dial(ctx, "ws://"+address+"/chat?CMCD=sid%3D%22a%22&room=1", &websocket.DialOptions{
		Subprotocols: []string{"chat"}, HTTPHeader: http.Header{"Cookie": {"who=me"}, "Origin": {"https://page.example"}},
		HTTPClient: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.CloseNow() })
	c.SetReadLimit(64 << 20)
	return c, response
}

// say sends a message and expects it back.
func say(t *testing.T, c *websocket.Conn, kind websocket.MessageType, message []byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	sent := make(chan error, 1)
	go func() { sent <- c.Write(ctx, kind, message) }()
	k, got, err := c.Read(ctx)
	if err != nil || k != kind || !bytes.Equal(got, message) {
		t.Fatalf("%d bytes of kind %v came back of %d of kind %v: %v", len(got), k, len(message), kind, err)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
}

func TestWebSocketThroughTheEdge(t *testing.T) {
	hs, e := newUpgradeEdge(t)
	address, _ := listening(t, hs, nil)
	c, response := dial(t, address)
	if c.Subprotocol() != "chat" || response.StatusCode != 101 {
		t.Errorf("%s, subprotocol %q", response.Status, c.Subprotocol())
	}
	say(t, c, websocket.MessageText, []byte("hello"))
	time.Sleep(3 * impatience) // longer than any request may take; nothing else tells that nothing happens
	say(t, c, websocket.MessageText, []byte("still there"))
	say(t, c, websocket.MessageBinary, bytes.Repeat([]byte("large "), 3<<20))
	if err := c.Close(websocket.StatusGoingAway, "enough"); err != nil {
		t.Errorf("close: %v", err)
	}
	var end websocket.CloseError
	if err := <-e.ended; !errors.As(err, &end) || end.Code != websocket.StatusGoingAway || end.Reason != "enough" {
		t.Errorf("the origin was told %v", err)
	}
	waitForRows(t, hs, 1)
	row := hs.row(t, 0)
	if row.Status != 101 || row.CacheStatus != "bypass" || row.OriginStatus != 101 || row.Aborted || row.Path != "/chat" || row.Query != "room=1" {
		t.Errorf("row = %+v", row)
	}
	if row.Bytes < 18<<20 || row.Bytes > 18<<20+1<<12 || row.Duration < 3*impatience || row.TTFB >= impatience {
		t.Errorf("row has %d bytes, duration %v, TTFB %v", row.Bytes, row.Duration, row.TTFB)
	}
	asked := hs.asked[0]
	for name, want := range map[string]string{
		"Cookie": "who=me", "Origin": "https://page.example", "Upgrade": "websocket", "Sec-Websocket-Protocol": "chat", "Via": "1.1 edge-1",
		"X-Forwarded-For": "127.0.0.1",
	} {
		if got := asked.Header.Get(name); got != want {
			t.Errorf("the origin was sent %s: %q, want %q", name, got, want)
		}
	}
	if asked.URL.RawQuery != "room=1" {
		t.Errorf("the origin was asked for %s", asked.URL)
	}
}

func TestTheOriginClosesAWebSocket(t *testing.T) {
	hs, e := newUpgradeEdge(t)
	address, _ := listening(t, hs, nil)
	c, _ := dial(t, address)
	if err := c.Write(t.Context(), websocket.MessageText, []byte("close")); err != nil {
		t.Fatal(err)
	}
	_, _, err := c.Read(t.Context())
	var end websocket.CloseError
	if !errors.As(err, &end) || end.Code != 4001 || end.Reason != "as you wish" {
		t.Errorf("the viewer was told %v", err)
	}
	if err := <-e.ended; err != nil {
		t.Errorf("the origin's closing: %v", err)
	}
	waitForRows(t, hs, 1)
}

// Who vanishes takes nothing with it: the origin's connection ends, and the place is free.
func TestAViewerOfAWebSocketVanishes(t *testing.T) {
	hs, e := newUpgradeEdge(t, func(c *Config, _ *cache.Config) { c.MaxUpgrades = 1 })
	address, _ := listening(t, hs, nil)
	for range 3 {
		c, _ := dial(t, address)
		say(t, c, websocket.MessageText, []byte("hello"))
		_ = c.CloseNow()
		if err := <-e.ended; err == nil {
			t.Error("the origin has not noticed")
		}
		eventually(t, "a free place", func() bool { return hs.upgrades.idle() })
	}
}

// The listener stops: a WebSocket would never end by itself.
func TestDrainingEndsWebSockets(t *testing.T) {
	hs, e := newUpgradeEdge(t)
	address, stop := listening(t, hs, func(c *httpserver.Config) { c.DrainTimeout = time.Second })
	c, _ := dial(t, address)
	say(t, c, websocket.MessageText, []byte("hello"))
	begin := time.Now()
	stop()
	if d := time.Since(begin); d > 5*time.Second {
		t.Errorf("it took %v", d)
	}
	if _, _, err := c.Read(t.Context()); err == nil {
		t.Error("the viewer's connection is still there")
	}
	if err := <-e.ended; err == nil {
		t.Error("the origin's connection is still there")
	}
	waitForRows(t, hs, 1)
}

func TestUpgradesAreBounded(t *testing.T) {
	hs, _ := newUpgradeEdge(t, func(c *Config, _ *cache.Config) { c.MaxUpgrades, c.MaxPasses = 1, 1 })
	address, _ := listening(t, hs, nil)
	c, _ := dial(t, address)
	say(t, c, websocket.MessageText, []byte("hello"))
	_, response, err := websocket.Dial(t.Context(), "ws://"+address+"/chat", nil)
	if err == nil || response == nil || response.StatusCode != 503 || response.Header.Get("Retry-After") == "" {
		t.Fatalf("one too many: %v, %v", response, err)
	}
	// It takes no place of other requests.
	if w := hs.do("POST", "/refused"); w.Code != 403 {
		t.Errorf("another request meanwhile: %d", w.Code)
	}
}

// What the origin answers instead of upgrading is the answer.
func TestAnUpgradeThatIsRefused(t *testing.T) {
	hs, e := newUpgradeEdge(t, func(c *Config, _ *cache.Config) { c.HeadTimeout = 200 * time.Millisecond })
	address, _ := listening(t, hs, nil)
	upgrade := func(path string) *http.Response {
		_, response, err := websocket.Dial(t.Context(), "ws://"+address+path, nil)
		if err == nil || response == nil {
			t.Fatalf("%s: %v, %v", path, response, err)
		}
		return response
	}
	if r := upgrade("/refused"); r.StatusCode != 403 {
		t.Errorf("refused: %s", r.Status)
	}
	if r := upgrade("/slow"); r.StatusCode != 504 {
		t.Errorf("too slow: %s", r.Status)
	}
	e.server.Close()
	if r := upgrade("/gone"); r.StatusCode != 502 {
		t.Errorf("an origin that is gone: %s", r.Status)
	}
	waitForRows(t, hs, 3)
	if row := hs.row(t, 0); row.Status != 403 || row.Bytes != int64(len("not you\n")) || row.OriginStatus != 403 {
		t.Errorf("row = %+v", row)
	}
}

// The connection was the loop's before: a request on it that comes with another is handed over too.
func TestAnUpgradeOnAUsedConnection(t *testing.T) {
	hs, e := newUpgradeEdge(t)
	address, _ := listening(t, hs, nil)
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, "GET /refused HTTP/1.1\r\nHost: edge\r\n\r\nGET /chat HTTP/1.1\r\nHost: edge\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	until := func(end string) {
		for !strings.HasSuffix(got.String(), end) {
			if _, err := io.CopyN(&got, c, 1); err != nil {
				t.Fatalf("%v after %q", err, got.String())
			}
		}
	}
	until("not you\n")
	until("\r\n\r\n")
	// A masked text frame with "hi" (RFC 6455 §5.2).
	if _, err := io.WriteString(c, "\x81\x82\x00\x00\x00\x00hi"); err != nil {
		t.Fatal(err)
	}
	until("\x81\x02hi")
	if !strings.Contains(got.String(), "403 Forbidden") || !strings.Contains(got.String(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=") {
		t.Errorf("got %q", got.String())
	}
	_ = c.Close()
	<-e.ended
}

// idle reports whether nobody has a slot.
func (l *limiter) idle() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.running == 0
}
