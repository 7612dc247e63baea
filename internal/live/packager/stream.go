package packager

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weir-stream/weir/internal/live"
	"github.com/weir-stream/weir/internal/live/hub"
)

// stream is a stream from its first publication to its removal. All but next, objects and manifests
// belong to the goroutine of run.
type stream struct {
	packager *Packager
	name     live.StreamName
	log      *slog.Logger
	next     chan *hub.Reader // has room for one: the publication that waits

	mu      sync.RWMutex
	objects map[string]*object // headers and segments by name
	state   live.State
	since   time.Time // when it took that state

	// manifests are replaced as a whole, so that they always describe the same segments. nil: none yet.
	manifests atomic.Pointer[map[string]*object]

	line *timeline
	// number and epoch are the last that were used.
	number, epoch int64
	bytes         int
}

func newStream(p *Packager, name live.StreamName) *stream {
	return &stream{
		packager: p, name: name, log: p.log.With("stream", string(name)),
		next: make(chan *hub.Reader, 1), objects: make(map[string]*object),
	}
}

func (s *stream) object(name string) *object {
	if manifests := s.manifests.Load(); manifests != nil {
		if o := (*manifests)[name]; o != nil {
			return o
		}
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.objects[name]
}

// run packages the stream's publications, one after the other, until it is removed.
func (s *stream) run() {
	p := s.packager
	defer p.metrics.streams.Dec()
	defer func() { p.metrics.bytes.Sub(float64(s.bytes)) }()
	now := p.now()
	number, epoch := p.floors()
	// From the clock, so that a restarted server does not give old names to new bytes, and media sequence
	// numbers do not go back.
	s.number = max(number, int64(now.Sub(numberZero())/numberStep))
	s.epoch = max(epoch, now.UnixMilli()-1)
	s.line = newTimeline(s)

	for r := s.wait(time.Hour); r != nil; {
		s.enter(live.Running)
		s.publication(r)
		s.enter(live.Interrupted)
		if len(s.line.segments) > 0 {
			s.log.Info("stream interrupted", "resume_window", p.config.ResumeWindow)
		}
		if r = s.wait(p.config.ResumeWindow); r != nil {
			continue
		}
		if p.idle.Err() != nil {
			return // manifests stay as they are: players go on with the server that comes next
		}
		ended := s.line.end()
		s.enter(live.Ended)
		if ended {
			s.log.Info("stream ended", "linger", p.config.Linger)
			r = s.wait(p.config.Linger)
		}
		if r == nil && p.remove(s) {
			return
		}
		if r == nil {
			r = s.wait(0)
		}
		if ended {
			s.line = s.line.successor()
		}
	}
}

func (s *stream) enter(state live.State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state, s.since = state, s.packager.now()
}

// numberStep is the pace of the clock that segment numbers begin at. No segments are shorter for long: of
// the least segment_duration, 90 % are 450 ms. So numbers stay behind the clock, and fit 31 bit until 2053.
const numberStep = 400 * time.Millisecond

// numberZero is when that clock began.
func numberZero() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }

// wait returns the next publication, or nil after d or when the packager stops.
func (s *stream) wait(d time.Duration) *hub.Reader {
	select {
	case r := <-s.next:
		return r
	default:
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case r := <-s.next:
		return r
	case <-timer.C:
	case <-s.packager.idle.Done():
	}
	return nil
}

// publication packages a publication to its end.
func (s *stream) publication(r *hub.Reader) {
	defer r.Close()
	c := newCutter(s)
	for {
		item, err := r.Next(s.packager.work)
		switch {
		case err == nil && item.Track != nil:
			c.addTrack(*item.Track)
		case err == nil:
			err = c.addUnit(*item.Unit)
			if err != nil {
				s.refuse(err)
				return
			}
		default:
			if !errors.Is(err, io.EOF) && !errors.Is(err, live.ErrClosed) && !errors.Is(err, context.Canceled) {
				s.log.Warn("reading the publication ended", "error", err)
			}
			if err := c.finish(); err != nil {
				s.refuse(err)
			}
			return
		}
	}
}

// refuse gives up a publication. The publisher is not told: it may have other readers.
func (s *stream) refuse(err error) {
	s.packager.metrics.refused.Inc()
	s.log.Error("publication is no longer packaged", "error", err)
}

// hold waits until the wall clock has reached t, so that nothing is published before its time.
func (s *stream) hold(t time.Time) {
	d := t.Sub(s.packager.now())
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.packager.idle.Done():
	}
}

// put makes objects fetchable.
func (s *stream) put(objects map[string]*object) {
	n := 0
	s.mu.Lock()
	for name, o := range objects {
		s.objects[name] = o
		n += len(o.data)
	}
	s.mu.Unlock()
	s.bytes += n
	s.packager.metrics.bytes.Add(float64(n))
}

// drop forgets objects.
func (s *stream) drop(names ...string) {
	n := 0
	s.mu.Lock()
	for _, name := range names {
		if o := s.objects[name]; o != nil {
			n += len(o.data)
			delete(s.objects, name)
		}
	}
	s.mu.Unlock()
	s.bytes -= n
	s.packager.metrics.bytes.Sub(float64(n))
}
