package hub

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/weir-stream/weir/internal/live"
	"github.com/weir-stream/weir/internal/media"
)

// MaxTracks is the greatest number of tracks of one stream. At most one of them is video: renditions
// are streams of their own.
const MaxTracks = 8

// Publisher is the writing end of a running stream. Its methods may be called by several goroutines,
// but the order of units is the order of the calls.
type Publisher struct {
	hub    *Hub
	name   live.StreamName
	by     PublisherInfo
	since  time.Time
	closed error // what to return once done is closed
	done   chan struct{}

	mu       sync.Mutex
	ended    bool
	state    live.State
	tracks   []trackState // in order of announcement
	hasVideo bool
	needKey  bool // no keyframe since the video track was announced or replaced
	units    int64
	bytes    int64
	readers  []*Reader
	gop      gop
}

type trackState struct {
	track *media.Track
	dts   int64 // of the last unit
}

func newPublisher(h *Hub, name live.StreamName, by PublisherInfo) *Publisher {
	return &Publisher{
		hub: h, name: name, by: by, since: h.now(), state: live.Starting,
		closed: fmt.Errorf("write %q: %w", name, live.ErrClosed),
		done:   make(chan struct{}),
		gop:    gop{maxUnits: h.config.GOPUnits, maxBytes: h.config.GOPBytes},
	}
}

// Name returns the name of the stream.
func (p *Publisher) Name() live.StreamName { return p.name }

// Done is closed when the stream has ended, by Close or by [Hub.Kick] or [Hub.Close]. The server of a
// protocol watches it to close the connection.
func (p *Publisher) Done() <-chan struct{} { return p.done }

// SetTrack adds a track, or replaces the one that has the same ID. The units that follow belong to the
// new configuration. Video units are dropped up to the first keyframe that follows.
func (p *Publisher) SetTrack(track media.Track) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return p.closed
	}
	if err := p.checkTrack(track); err != nil {
		return fmt.Errorf("set track %d of %q: %w", track.ID, p.name, err)
	}
	shared := &track
	if i := p.trackIndex(track.ID); i >= 0 {
		p.tracks[i] = trackState{shared, math.MinInt64}
	} else {
		p.tracks = append(p.tracks, trackState{shared, math.MinInt64})
	}
	if track.Kind() == media.Video {
		p.hasVideo, p.needKey = true, true
		p.gop.clear()
	} else {
		p.gop.forget(track.ID)
	}
	for _, r := range p.readers {
		r.putTrack(shared, p.tracks)
	}
	return nil
}

func (p *Publisher) checkTrack(track media.Track) error {
	switch {
	case track.ID < 1:
		return errors.New("track IDs begin at 1")
	case track.Kind() == "":
		return fmt.Errorf("codec %q is not known", track.Codec)
	case track.Timescale == 0:
		return errors.New("it has no timescale")
	}
	for _, t := range p.tracks {
		if t.track.ID == track.ID && t.track.Kind() != track.Kind() {
			return fmt.Errorf("it is %s already", t.track.Kind())
		}
		if t.track.ID != track.ID && t.track.Kind() == media.Video && track.Kind() == media.Video {
			return fmt.Errorf("track %d is video already; a stream has one video track, renditions are streams of their own", t.track.ID)
		}
	}
	if len(p.tracks) >= MaxTracks && p.trackIndex(track.ID) < 0 {
		return fmt.Errorf("the stream has %d tracks already", MaxTracks)
	}
	return nil
}

// trackIndex returns the index of the track in p.tracks, or -1.
func (p *Publisher) trackIndex(id int) int {
	for i := range p.tracks {
		if p.tracks[i].track.ID == id {
			return i
		}
	}
	return -1
}

// Write gives a unit to all readers. It never blocks. The payload must not be changed afterwards. The
// error wraps [live.ErrClosed] if the stream has ended.
func (p *Publisher) Write(unit media.Unit) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return p.closed
	}
	i := p.trackIndex(unit.Track)
	if i < 0 {
		return fmt.Errorf("write %q: track %d has not been announced", p.name, unit.Track)
	}
	t := &p.tracks[i]
	if unit.DTS < t.dts {
		return fmt.Errorf("write %q: track %d goes back from DTS %d to %d", p.name, unit.Track, t.dts, unit.DTS)
	}
	t.dts = unit.DTS
	p.units++
	p.bytes += int64(len(unit.Payload))
	p.hub.metrics.units.Inc()
	p.hub.metrics.bytes.Add(float64(len(unit.Payload)))

	video := t.track.Kind() == media.Video
	if video && p.needKey {
		if !unit.Keyframe {
			p.hub.metrics.noKeyframe.Inc()
			return nil
		}
		p.needKey = false
	}
	if p.state == live.Starting && (video || !p.hasVideo) {
		p.state = live.Running
		p.hub.log.Info("stream running", "stream", p.name, "after", p.hub.now().Sub(p.since))
	}
	e := entry{item: Item{Unit: &unit}, video: video, start: unit.Keyframe && (video || !p.hasVideo)}
	p.gop.add(e)
	for _, r := range p.readers {
		r.put(e)
	}
	return nil
}

// Close ends the stream. Readers get what was written before, and then io.EOF. The name is free when
// Close returns. Closing twice does nothing.
func (p *Publisher) Close() error {
	p.hub.forget(p)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return nil
	}
	p.ended, p.state = true, live.Ended
	close(p.done)
	for _, r := range p.readers {
		r.end()
		p.hub.metrics.readers.Dec()
	}
	p.readers = nil
	p.gop.clear()
	p.hub.metrics.streams.Dec()
	p.hub.log.Info("stream closed", "stream", p.name, "units", p.units, "bytes", p.bytes)
	return nil
}

// addReader makes a reader and gives it the tracks and the kept GOP. Of a stream that has ended it
// makes a reader that is at its end.
func (p *Publisher) addReader(name string) *Reader {
	r := newReader(p, name)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		r.end()
		return r
	}
	for _, t := range p.tracks {
		r.putTrack(t.track, p.tracks)
	}
	for _, e := range p.gop.entries {
		r.put(e)
	}
	p.readers = append(p.readers, r)
	p.hub.metrics.readers.Inc()
	return r
}

func (p *Publisher) removeReader(r *Reader) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(p.readers, r); i >= 0 {
		p.readers = slices.Delete(p.readers, i, i+1)
		p.hub.metrics.readers.Dec()
	}
}

func (p *Publisher) info() live.StreamInfo {
	p.mu.Lock()
	defer p.mu.Unlock()
	info := live.StreamInfo{
		Name: p.name, State: p.state, Protocol: p.by.Protocol, Publisher: p.by.Address, Since: p.since,
		Tracks: make([]live.TrackInfo, len(p.tracks)), Units: p.units, Bytes: p.bytes,
		Readers: make([]live.ReaderInfo, len(p.readers)),
	}
	for i, t := range p.tracks {
		info.Tracks[i] = live.Describe(*t.track)
	}
	slices.SortFunc(info.Tracks, func(a, b live.TrackInfo) int { return cmp.Compare(a.ID, b.ID) })
	for i, r := range p.readers {
		info.Readers[i] = live.ReaderInfo{Name: r.name, Dropped: r.Dropped()}
	}
	return info
}

// gop keeps what was written since the last start, for readers that come later.
type gop struct {
	maxUnits, maxBytes int
	entries            []entry // empty, or the first one is a start
	bytes              int
}

func (g *gop) add(e entry) {
	if e.start {
		g.clear()
	} else if len(g.entries) == 0 {
		return // the start is not known, or the GOP was too long
	}
	if len(g.entries) >= g.maxUnits || g.bytes+len(e.item.Unit.Payload) > g.maxBytes {
		g.clear()
		return
	}
	g.entries = append(g.entries, e)
	g.bytes += len(e.item.Unit.Payload)
}

// clear keeps the slice's memory, but not the units.
func (g *gop) clear() {
	clear(g.entries)
	g.entries = g.entries[:0]
	g.bytes = 0
}

// forget removes an audio track's units, which are of an old configuration.
func (g *gop) forget(track int) {
	g.entries = slices.DeleteFunc(g.entries, func(e entry) bool {
		if e.item.Unit.Track != track {
			return false
		}
		g.bytes -= len(e.item.Unit.Payload)
		return true
	})
	if len(g.entries) > 0 && !g.entries[0].start {
		g.clear()
	}
}
