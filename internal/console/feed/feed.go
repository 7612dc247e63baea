package feed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-stream/weir/internal/analytics"
)

// Snapshot tells what is going on now.
type Snapshot interface {
	Live() analytics.Live
}

// Settings are what a [Feed] is made of.
type Settings struct {
	Config     Config
	Snapshot   Snapshot
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Feed serves the WebSocket. It has one lock; each client is served by the goroutine of its HTTP
// request and one that reads what it sends.
type Feed struct {
	config   Config
	snapshot Snapshot
	log      *slog.Logger
	metrics  *metrics

	mu      sync.Mutex
	clients map[*client]struct{}
	newest  []message // the newest snapshot, nil before the first
	stopped bool
	serving sync.WaitGroup
	stop    context.CancelFunc // ends every client
	ctx     context.Context
}

// message is one message as it is sent.
type message []byte

// The events that the server sends.
const (
	eventViewers = "viewers:count"
	eventMetrics = "metrics:update"
	eventError   = "error"
)

type envelope struct {
	Event string    `json:"event"`
	Time  time.Time `json:"time"`
	Data  any       `json:"data"`
}

type viewers struct {
	Viewers  int            `json:"viewers"`
	ByStream map[string]int `json:"viewers_by_stream"`
}

type failure struct {
	Message string `json:"message"`
}

// New returns a feed. It serves no client before Run.
func New(set Settings) (*Feed, error) {
	if set.Snapshot == nil {
		return nil, errors.New("feed: Snapshot must be set")
	}
	if err := set.Config.Validate(); err != nil {
		return nil, fmt.Errorf("feed: %w", err)
	}
	if set.Log == nil {
		set.Log = slog.New(slog.DiscardHandler)
	}
	m, err := newMetrics(set.Registerer)
	if err != nil {
		return nil, fmt.Errorf("register metrics of the feed: %w", err)
	}
	f := &Feed{config: set.Config, snapshot: set.Snapshot, log: set.Log, metrics: m, clients: map[*client]struct{}{}}
	f.ctx, f.stop = context.WithCancel(context.Background())
	return f, nil
}

// Run takes a snapshot each interval and gives it to every client. When ctx ends it closes all
// clients and waits for them.
func (f *Feed) Run(ctx context.Context) error {
	defer f.serving.Wait()
	defer f.close()
	ticker := time.NewTicker(f.config.Interval)
	defer ticker.Stop()
	for {
		if err := f.publish(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func (f *Feed) close() {
	f.mu.Lock()
	f.stopped = true
	f.mu.Unlock()
	f.stop()
}

// publish takes a snapshot, writes it once, and gives it to every client.
func (f *Feed) publish() error {
	snapshot := f.snapshot.Live()
	if snapshot.ByStream == nil {
		snapshot.ByStream = map[string]int{}
	}
	var messages []message
	for _, e := range []envelope{
		{eventViewers, snapshot.Time, viewers{snapshot.Viewers, snapshot.ByStream}},
		{eventMetrics, snapshot.Time, snapshot},
	} {
		m, err := json.Marshal(e)
		if err != nil {
			return fmt.Errorf("write the feed's %s: %w", e.Event, err)
		}
		messages = append(messages, m)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.newest = messages
	for c := range f.clients {
		if c.offer(messages) {
			f.metrics.skipped.Inc()
		}
	}
	return nil
}

// ServeHTTP makes the request a WebSocket and serves it until either side ends it.
func (f *Feed) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c, status, reason := f.admit()
	if c == nil {
		w.Header().Set("Retry-After", "10")
		http.Error(w, reason, status)
		return
	}
	defer f.leave(c)
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{OriginPatterns: f.config.Origins})
	if err != nil {
		return // Accept has answered, with the reason
	}
	if err := c.serve(f.ctx, conn); err != nil {
		f.log.Debug("feed client is gone", "client", r.RemoteAddr, "reason", err)
	}
}

// admit makes room for a client, or says why there is none.
func (f *Feed) admit() (c *client, status int, reason string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.stopped || f.newest == nil:
		return nil, http.StatusServiceUnavailable, "the feed is not running"
	case len(f.clients) >= f.config.MaxClients:
		f.metrics.refused.Inc()
		return nil, http.StatusServiceUnavailable, "the feed has as many clients as it takes"
	}
	c = newClient(f.config, f.metrics)
	c.offer(f.newest)
	f.clients[c] = struct{}{}
	f.metrics.clients.Set(float64(len(f.clients)))
	f.serving.Add(1)
	return c, 0, ""
}

func (f *Feed) leave(c *client) {
	f.mu.Lock()
	delete(f.clients, c)
	f.metrics.clients.Set(float64(len(f.clients)))
	f.mu.Unlock()
	f.serving.Done()
}
