package feed

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/weir-stream/weir/internal/analytics"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// counting has one viewer more in each snapshot.
type counting struct{ n atomic.Int64 }

func (c *counting) Live() analytics.Live {
	n := int(c.n.Add(1))
	return analytics.Live{Time: time.Unix(int64(n), 0).UTC(), Viewers: n, ByStream: map[string]int{"test": n}}
}

// start runs a feed behind a server until the test ends.
func start(t *testing.T, change func(*Config)) (*Feed, string, *prometheus.Registry) {
	t.Helper()
	config := DefaultConfig()
	config.Interval = 100 * time.Millisecond
	if change != nil {
		change(&config)
	}
	registry := prometheus.NewRegistry()
	f, err := New(Settings{Config: config, Snapshot: &counting{}, Registerer: registry})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.publish(); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(f)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
		server.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	return f, "ws" + strings.TrimPrefix(server.URL, "http"), registry
}

func dial(t *testing.T, url string) *websocket.Conn {
	t.Helper()
	conn, _, err := websocket.Dial(t.Context(), url, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.CloseNow() })
	return conn
}

type received struct {
	Event string         `json:"event"`
	Time  time.Time      `json:"time"`
	Data  map[string]any `json:"data"`
}

func next(t *testing.T, conn *websocket.Conn) received {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, text, err := conn.Read(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var m received
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return m
}

func TestClientsAreToldEachInterval(t *testing.T) {
	_, url, _ := start(t, nil)
	conn := dial(t, url)
	last := 0.0
	for range 3 {
		viewers, update := next(t, conn), next(t, conn)
		if viewers.Event != "viewers:count" || update.Event != "metrics:update" || !viewers.Time.Equal(update.Time) {
			t.Fatalf("events %q and %q of %v and %v", viewers.Event, update.Event, viewers.Time, update.Time)
		}
		n := viewers.Data["viewers"].(float64)
		if n <= last || viewers.Data["viewers_by_stream"].(map[string]any)["test"] != n {
			t.Errorf("viewers = %v after %v", viewers.Data, last)
		}
		if _, ok := update.Data["hit_ratio"]; !ok || update.Data["viewers"] != n {
			t.Errorf("metrics = %v", update.Data)
		}
		last = n
	}
}

func TestMessagesOfClientsAreAnswered(t *testing.T) {
	_, url, _ := start(t, nil)
	conn := dial(t, url)
	for text, want := range map[string]string{
		`{"event":"subscribe:events"}`: `event "subscribe:events" is not known`,
		`{"event":""}`:                 "names no event",
		`hello`:                        "not JSON",
		`[]`:                           "not JSON",
	} {
		if err := conn.Write(t.Context(), websocket.MessageText, []byte(text)); err != nil {
			t.Fatal(err)
		}
		for {
			if m := next(t, conn); m.Event == "error" {
				if got := m.Data["message"].(string); !strings.Contains(got, want) {
					t.Errorf("%s: answer %q, want %q", text, got, want)
				}
				break
			}
		}
	}
	if m := next(t, conn); m.Event == "error" {
		t.Errorf("after the answers: %v, want the feed to go on", m)
	}
}

func TestMessageThatIsTooLongEndsTheConnection(t *testing.T) {
	_, url, _ := start(t, nil)
	conn := dial(t, url)
	if err := conn.Write(t.Context(), websocket.MessageText, make([]byte, maxMessage+1)); err != nil {
		t.Fatal(err)
	}
	for {
		if _, _, err := conn.Read(t.Context()); err != nil {
			if got := websocket.CloseStatus(err); got != websocket.StatusMessageTooBig {
				t.Errorf("closed with %v", err)
			}
			return
		}
	}
}

// A client that is slow gets the newest snapshot, and nobody waits for it.
func TestSlowClientGetsTheNewest(t *testing.T) {
	registry := prometheus.NewRegistry()
	f, err := New(Settings{Config: DefaultConfig(), Snapshot: &counting{}, Registerer: registry})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.publish(); err != nil {
		t.Fatal(err)
	}
	c, _, _ := f.admit()
	for range 100 {
		if err := f.publish(); err != nil {
			t.Fatal(err)
		}
	}
	messages := <-c.newest
	if !strings.Contains(string(messages[0]), `"viewers":101`) {
		t.Errorf("newest = %s, want the 101st snapshot", messages[0])
	}
	if got := testutil.ToFloat64(f.metrics.skipped); got != 100 {
		t.Errorf("%v snapshots skipped, want 100", got)
	}
	f.leave(c)
}

func TestClientsBeyondTheLimitAreRefused(t *testing.T) {
	_, url, _ := start(t, func(c *Config) { c.MaxClients = 2 })
	next(t, dial(t, url))
	next(t, dial(t, url))
	_, response, err := websocket.Dial(t.Context(), url, nil)
	if err == nil || response == nil || response.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("third client: %v, want 503", err)
	}
}

func TestOrigins(t *testing.T) {
	_, url, _ := start(t, func(c *Config) { c.Origins = []string{"*.example.org"} })
	own := "http" + strings.TrimPrefix(url, "ws")
	for origin, allowed := range map[string]bool{
		own:                         true,
		"https://desk.example.org":  true,
		"https://evil.example.com":  false,
		"http://localhost.evil.com": false,
	} {
		conn, response, err := websocket.Dial(t.Context(), url, &websocket.DialOptions{HTTPHeader: http.Header{"Origin": {origin}}})
		if allowed != (err == nil) {
			t.Errorf("origin %s: %v, want allowed %v", origin, err, allowed)
		}
		if err == nil {
			_ = conn.CloseNow()
		} else if response.StatusCode != http.StatusForbidden {
			t.Errorf("origin %s: status %d, want 403", origin, response.StatusCode)
		}
	}
}

func TestStopClosesEveryClient(t *testing.T) {
	f, err := New(Settings{Config: DefaultConfig(), Snapshot: &counting{}})
	if err != nil {
		t.Fatal(err)
	}
	if c, status, _ := f.admit(); c != nil || status != http.StatusServiceUnavailable {
		t.Errorf("before Run: client admitted, status %d", status)
	}
	if err := f.publish(); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(f)
	defer server.Close()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	var closed []chan error
	for range 5 {
		conn := dial(t, "ws"+strings.TrimPrefix(server.URL, "http"))
		next(t, conn)
		done := make(chan error, 1)
		closed = append(closed, done)
		go func() {
			for {
				if _, _, err := conn.Read(context.Background()); err != nil {
					done <- err
					return
				}
			}
		}()
	}
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	for i, done := range closed {
		if err := <-done; websocket.CloseStatus(err) != websocket.StatusGoingAway {
			t.Errorf("client %d: %v, want going away", i, err)
		}
	}
	if c, status, _ := f.admit(); c != nil || status != http.StatusServiceUnavailable {
		t.Errorf("after stop: client admitted, status %d", status)
	}
}

func TestDeadClientIsGivenUp(t *testing.T) {
	f, url, _ := start(t, func(c *Config) { c.PingInterval, c.PingTimeout = 100*time.Millisecond, 100*time.Millisecond })
	dial(t, url) // never read, so that no ping is answered
	f.serving.Wait()
}

func TestConfigIsChecked(t *testing.T) {
	for key, change := range map[string]func(*Config){
		"interval":      func(c *Config) { c.Interval = 0 },
		"max_clients":   func(c *Config) { c.MaxClients = 0 },
		"ping_interval": func(c *Config) { c.PingInterval = time.Hour },
		"ping_timeout":  func(c *Config) { c.PingTimeout = 0 },
		"write_timeout": func(c *Config) { c.WriteTimeout = 0 },
	} {
		c := DefaultConfig()
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("bad %s: %v", key, fmt.Sprint(err))
		}
	}
}
