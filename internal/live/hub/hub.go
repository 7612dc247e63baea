package hub

import (
	"cmp"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/weir-stream/weir/internal/live"
)

// Hub holds the running streams.
type Hub struct {
	config  Config
	log     *slog.Logger
	now     func() time.Time
	metrics *metrics

	mu        sync.Mutex
	closed    bool
	streams   map[live.StreamName]*Publisher
	onPublish []subscription
}

type subscription struct {
	readerName string
	handle     func(live.StreamName, *Reader)
}

// PublisherInfo says who publishes a stream.
type PublisherInfo struct {
	// Protocol is the protocol in lower case, such as "rtmp".
	Protocol string
	// Address is where the publisher is, as host and port.
	Address string
}

// New returns a Hub without streams.
func New(s Settings) (*Hub, error) {
	if err := s.Config.Validate(); err != nil {
		return nil, err
	}
	m, err := newMetrics(s.Registerer)
	if err != nil {
		return nil, fmt.Errorf("register the metrics of the hub: %w", err)
	}
	h := &Hub{config: s.Config, log: s.Log, now: s.Now, metrics: m, streams: make(map[live.StreamName]*Publisher)}
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	if h.now == nil {
		h.now = time.Now
	}
	return h, nil
}

// OnPublish makes a reader for f of every stream that is published from now on, before its first
// track. It is called before the first Publish. f must not block; it owns the reader.
func (h *Hub) OnPublish(f func(live.StreamName, *Reader)) { h.OnPublishAs("subscriber", f) }

// OnPublishAs is OnPublish with the name that the readers have in [live.ReaderInfo].
func (h *Hub) OnPublishAs(readerName string, f func(live.StreamName, *Reader)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.onPublish = append(h.onPublish, subscription{readerName, f})
}

// Publish begins a stream. The error wraps [live.ErrTaken], [live.ErrFull] or [live.ErrClosed].
func (h *Hub) Publish(name live.StreamName, by PublisherInfo) (*Publisher, error) {
	h.mu.Lock()
	holder := h.streams[name]
	var err error
	switch {
	case h.closed:
		err = fmt.Errorf("publish %q: %w", name, live.ErrClosed)
	case holder != nil:
		err = fmt.Errorf("publish %q: %w", name, live.ErrTaken)
	case len(h.streams) >= h.config.MaxStreams:
		err = fmt.Errorf("publish %q: %w (max_streams is %d)", name, live.ErrFull, h.config.MaxStreams)
	}
	if err != nil {
		h.mu.Unlock()
		return nil, err
	}
	p := newPublisher(h, name, by)
	h.streams[name] = p
	subscriptions := h.onPublish
	h.mu.Unlock()

	h.metrics.streams.Inc()
	h.log.Info("stream published", "stream", name, "protocol", by.Protocol, "publisher", by.Address)
	for _, s := range subscriptions {
		s.handle(name, p.addReader(s.readerName))
	}
	return p, nil
}

// Read begins to read a running stream. The reader first gets the tracks, and then what has been
// written since the last keyframe. The error wraps [live.ErrNotFound].
func (h *Hub) Read(name live.StreamName, readerName string) (*Reader, error) {
	h.mu.Lock()
	p := h.streams[name]
	h.mu.Unlock()
	if p == nil {
		return nil, fmt.Errorf("read %q: %w", name, live.ErrNotFound)
	}
	return p.addReader(readerName), nil
}

// Streams describes the running streams in order of their names.
func (h *Hub) Streams() []live.StreamInfo {
	h.mu.Lock()
	publishers := make([]*Publisher, 0, len(h.streams))
	for _, p := range h.streams {
		publishers = append(publishers, p)
	}
	h.mu.Unlock()
	slices.SortFunc(publishers, func(a, b *Publisher) int { return cmp.Compare(a.name, b.name) })
	infos := make([]live.StreamInfo, len(publishers))
	for i, p := range publishers {
		infos[i] = p.info()
	}
	return infos
}

// Kick ends a stream against its publisher's will; see [Publisher.Done]. The error wraps
// [live.ErrNotFound].
func (h *Hub) Kick(name live.StreamName) error {
	h.mu.Lock()
	p := h.streams[name]
	h.mu.Unlock()
	if p == nil {
		return fmt.Errorf("kick %q: %w", name, live.ErrNotFound)
	}
	return p.Close()
}

// Close ends all streams, and refuses new ones from now on.
func (h *Hub) Close() error {
	h.mu.Lock()
	h.closed = true
	publishers := make([]*Publisher, 0, len(h.streams))
	for _, p := range h.streams {
		publishers = append(publishers, p)
	}
	h.mu.Unlock()
	for _, p := range publishers {
		_ = p.Close() // never fails
	}
	return nil
}

// forget makes the publisher's name free.
func (h *Hub) forget(p *Publisher) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.streams[p.name] == p {
		delete(h.streams, p.name)
	}
}
