package packager

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/weir-stream/weir/internal/live"
	"github.com/weir-stream/weir/internal/live/hub"
)

// stopGrace is how long a stopping packager waits for the hub to end the publications.
const stopGrace = 3 * time.Second

// Packager packages the streams that it is given.
type Packager struct {
	config  Config
	log     *slog.Logger
	now     func() time.Time
	metrics *metrics

	// idle ends when Run is told to stop, work when the last segments must be written.
	idle, work             context.Context
	cancelIdle, cancelWork context.CancelFunc
	running                sync.WaitGroup

	mu      sync.RWMutex
	closed  bool
	streams map[live.StreamName]*stream
	// Numbers and epochs of new streams begin above these, which are those of streams removed.
	numberFloor, epochFloor int64
}

// New returns a Packager without streams.
func New(s Settings) (*Packager, error) {
	if err := s.Config.Validate(); err != nil {
		return nil, err
	}
	m, err := newMetrics(s.Registerer)
	if err != nil {
		return nil, fmt.Errorf("register the metrics of the packager: %w", err)
	}
	p := &Packager{config: s.Config, log: s.Log, now: s.Now, metrics: m, streams: make(map[live.StreamName]*stream)}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	if p.now == nil {
		p.now = time.Now
	}
	p.idle, p.cancelIdle = context.WithCancel(context.Background())
	p.work, p.cancelWork = context.WithCancel(context.Background())
	return p, nil
}

// Handle starts to package a publication, or to go on with its stream, and owns the reader. It is
// given to the hub's OnPublish and does not block.
func (p *Packager) Handle(name live.StreamName, r *hub.Reader) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		r.Close()
		return
	}
	s := p.streams[name]
	if s == nil {
		s = newStream(p, name)
		p.streams[name] = s
		p.metrics.streams.Inc()
		p.running.Go(s.run)
	}
	// A publication that came and went while the stream was busy is not waited for.
	var old *hub.Reader
	select {
	case old = <-s.next:
	default:
	}
	s.next <- r
	p.mu.Unlock()
	if old != nil {
		old.Close()
	}
}

// Run packages until ctx ends. Then it takes no more publications, and waits until those that run have
// ended and their last segments are written. The hub is closed before that, or the publications are
// cut off after a moment.
func (p *Packager) Run(ctx context.Context) error {
	<-ctx.Done()
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.cancelIdle()
	grace := time.AfterFunc(stopGrace, p.cancelWork)
	defer grace.Stop()
	p.running.Wait()
	p.cancelWork()
	return nil
}

// Object returns an object of a stream: a manifest, a header or a segment. The error wraps
// [fs.ErrNotExist]. The header is the caller's.
func (p *Packager) Object(_ context.Context, key string) (io.ReadSeekCloser, http.Header, error) {
	if slash := strings.LastIndexByte(key, '/'); slash > 0 {
		p.mu.RLock()
		s := p.streams[live.StreamName(key[:slash])]
		p.mu.RUnlock()
		if s != nil {
			if o := s.object(key[slash+1:]); o != nil {
				return content{bytes.NewReader(o.data)}, o.header.Clone(), nil
			}
		}
	}
	return nil, nil, fmt.Errorf("object %q: %w", key, fs.ErrNotExist)
}

// Streams returns the streams whose manifests can be fetched now, sorted by name: running, interrupted
// or ended, and since when. What is published, only the hub knows.
func (p *Packager) Streams() []live.StreamInfo {
	p.mu.RLock()
	defer p.mu.RUnlock()
	streams := make([]live.StreamInfo, 0, len(p.streams))
	for name, s := range p.streams {
		if s.manifests.Load() != nil {
			s.mu.RLock()
			streams = append(streams, live.StreamInfo{Name: name, State: s.state, Since: s.since})
			s.mu.RUnlock()
		}
	}
	slices.SortFunc(streams, func(a, b live.StreamInfo) int { return strings.Compare(string(a.Name), string(b.Name)) })
	return streams
}

// remove takes a stream away, unless a publication of it waits.
func (p *Packager) remove(s *stream) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(s.next) > 0 {
		return false
	}
	delete(p.streams, s.name)
	p.numberFloor = max(p.numberFloor, s.number)
	p.epochFloor = max(p.epochFloor, s.epoch)
	return true
}

// floors returns above which numbers and epochs a new stream begins.
func (p *Packager) floors() (number, epoch int64) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.numberFloor, p.epochFloor
}

type content struct{ *bytes.Reader }

func (content) Close() error { return nil }
