package tracker

import (
	"container/list"
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-stream/weir/cmcd"
	"github.com/weir-stream/weir/internal/analytics"
	"github.com/weir-stream/weir/internal/telemetry"
)

// maxName bounds the names that a viewer can make the tracker remember.
const maxName = 128

// Settings are what a [Tracker] is made of.
type Settings struct {
	Config Config
	// Dropped tells how many records the bus has dropped since start; nil is none.
	Dropped    func() int64
	Registerer prometheus.Registerer
	Now        func() time.Time
}

// Tracker counts what is going on now. It is a [telemetry.Sink]; its memory is bounded by the
// configuration, whatever passes by. It has one lock.
type Tracker struct {
	config  Config
	now     func() time.Time
	dropped func() int64
	metrics *metrics

	mu       sync.Mutex
	sessions map[string]*list.Element // of *viewer
	recent   *list.List               // *viewer, the one that was heard last in front
	ring     []*second                // by unix second modulo its length
}

type viewer struct {
	id, stream string
	last       time.Time
}

// New returns a tracker that has seen nothing yet.
func New(set Settings) (*Tracker, error) {
	if err := set.Config.Validate(); err != nil {
		return nil, fmt.Errorf("tracker: %w", err)
	}
	if set.Now == nil {
		set.Now = time.Now
	}
	if set.Dropped == nil {
		set.Dropped = func() int64 { return 0 }
	}
	m, err := newMetrics(set.Registerer)
	if err != nil {
		return nil, fmt.Errorf("register metrics of the session tracker: %w", err)
	}
	return &Tracker{
		config: set.Config, now: set.Now, dropped: set.Dropped, metrics: m,
		sessions: map[string]*list.Element{}, recent: list.New(),
		// The second that is going on is kept beside the window: it is not complete yet.
		ring: make([]*second, int(set.Config.Window/time.Second)+1),
	}, nil
}

// Append counts the records of the batch. A record counts in the second in which its last byte was
// sent; one that is older than the window counts only for its session.
func (t *Tracker) Append(_ context.Context, batch telemetry.Batch) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	for i := range batch.Requests {
		r := &batch.Requests[i]
		at := r.Time.Add(r.Duration)
		s, ok := t.second(at, now, r.ID)
		if s != nil {
			s.count(r)
		}
		if ok {
			stream := r.Stream
			if r.Status >= 400 {
				stream = "" // a wrong path must not look like a stream
			}
			t.hear(&r.CMCD, stream, at, now, s, r.CMCD.Bool(cmcd.KeyBS))
		}
	}
	for i := range batch.Reports {
		r := &batch.Reports[i]
		s, ok := t.second(r.Time, now, r.ID)
		if ok {
			t.hear(&r.CMCD, "", r.Time, now, s, r.CMCD.Bool(cmcd.KeyBS) || r.StateChange() == "r")
		}
	}
	t.metrics.sessions.Set(float64(len(t.sessions)))
	return nil
}

// second finds the second that a record counts in, nil if it is too old for the window. It reports
// false for a record that has been counted before.
func (t *Tracker) second(at, now time.Time, id uuid.UUID) (*second, bool) {
	unix := min(at.Unix(), now.Unix())
	if unix <= now.Unix()-int64(len(t.ring)) {
		t.metrics.late.Inc()
		return nil, true
	}
	slot := &t.ring[int(unix%int64(len(t.ring)))]
	if *slot == nil || (*slot).unix != unix {
		*slot = newSecond(unix)
	}
	if !(*slot).first(id) {
		t.metrics.duplicates.Inc()
		return nil, false
	}
	return *slot, true
}

// hear notes that a session is there.
func (t *Tracker) hear(v *cmcd.Values, stream string, at, now time.Time, s *second, starved bool) {
	id := v.Text(cmcd.KeySID)
	if id == "" || len(id) > maxName || len(stream) > maxName {
		return
	}
	if at.After(now) {
		at = now
	}
	e, ok := t.sessions[id]
	if !ok {
		if now.Sub(at) >= t.config.ViewerTimeout {
			return
		}
		if len(t.sessions) >= t.config.MaxSessions {
			t.forget(t.recent.Back())
			t.metrics.evicted.Inc()
		}
		id = strings.Clone(id) // the record's text shares one buffer
		e = t.recent.PushFront(&viewer{id: id})
		t.sessions[id] = e
	}
	w := e.Value.(*viewer)
	if at.After(w.last) {
		w.last = at
		t.recent.MoveToFront(e)
	}
	if stream != "" && stream != w.stream {
		w.stream = strings.Clone(stream)
	}
	if starved && s != nil && len(s.starved) < t.config.MaxSessions {
		s.starved[w.id] = struct{}{}
	}
}

func (t *Tracker) forget(e *list.Element) {
	delete(t.sessions, e.Value.(*viewer).id)
	t.recent.Remove(e)
}

// Live tells what is going on now. The rates are over the last complete seconds of the window.
func (t *Tracker) Live() analytics.Live {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	out := analytics.Live{
		Time: now.UTC(), Window: t.config.Window.Seconds(), ByStream: map[string]int{}, Dropped: t.dropped(),
	}
	var next *list.Element
	for e := t.recent.Front(); e != nil; e = next {
		next = e.Next()
		w := e.Value.(*viewer)
		if now.Sub(w.last) >= t.config.ViewerTimeout {
			t.forget(e)
			continue
		}
		out.Viewers++
		if w.stream != "" {
			out.ByStream[w.stream]++
		}
	}
	t.metrics.sessions.Set(float64(len(t.sessions)))
	t.rates(&out, now.Unix())
	return out
}

func (t *Tracker) rates(out *analytics.Live, now int64) {
	sum := newSecond(0)
	for _, s := range t.ring {
		if s == nil || s.unix >= now || s.unix < now-int64(t.config.Window/time.Second) {
			continue
		}
		sum.requests += s.requests
		sum.bytes += s.bytes
		sum.hits += s.hits
		sum.looked += s.looked
		sum.errors += s.errors
		sum.answered += s.answered
		sum.bits += s.bits
		sum.media += s.media
		sum.ttfb.merge(&s.ttfb)
		for id := range s.starved {
			sum.starved[id] = struct{}{}
		}
	}
	out.RequestsPerSecond = float64(sum.requests) / out.Window
	out.Egress = float64(sum.bytes) * 8 / out.Window
	out.HitRatio = ratio(sum.hits, sum.looked)
	out.ErrorRatio = ratio(float64(sum.errors), float64(sum.answered))
	out.AverageBitrate = ratio(sum.bits, sum.media)
	out.Rebuffering = len(sum.starved)
	out.TTFBp50, out.TTFBp95 = sum.ttfb.quantile(0.5), sum.ttfb.quantile(0.95)
}

// ratio is nil, not known, where there is nothing to divide by.
func ratio(part, whole float64) *float64 {
	if whole == 0 {
		return nil
	}
	r := part / whole
	return &r
}
