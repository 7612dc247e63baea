package hub

import (
	"context"
	"io"
	"sync"

	"github.com/weir-stream/weir/internal/live"
	"github.com/weir-stream/weir/internal/media"
)

// Item is what a reader gets: a Track or a Unit, exactly one of them. Both are shared with other
// readers and must not be changed.
type Item struct {
	Track *media.Track
	Unit  *media.Unit
}

// entry is an item as it waits in a ring.
type entry struct {
	item  Item
	video bool
	// start says that a reader can begin at this unit: a video keyframe, or any unit of a stream
	// without video. The units from one start to the next are lost together.
	start bool
}

// maxTrackItems bounds how many changes of tracks wait for one reader.
const maxTrackItems = 64

// skip says which video units a reader does not get.
type skip int

const (
	nothing    skip = iota
	untilFirst      // a keyframe has yet to come since the reader or the track began
	untilNext       // the reader was too slow, and has lost the GOP
)

// Reader is the reading end of a running stream, for one goroutine.
type Reader struct {
	publisher *Publisher
	name      string
	wake      chan struct{} // has room for one; filled when there may be something to read

	mu         sync.Mutex
	ring       ring
	trackItems int
	skip       skip
	ended      bool // nothing more comes
	closed     bool // nothing more is wanted
	dropped    int64
}

func newReader(p *Publisher, name string) *Reader {
	return &Reader{
		publisher: p, name: name, wake: make(chan struct{}, 1),
		skip: untilFirst,
	}
}

// Stream returns the name of the stream that is read.
func (r *Reader) Stream() live.StreamName { return r.publisher.name }

// Name returns the reader's name.
func (r *Reader) Name() string { return r.name }

// Dropped returns how many units the reader has lost for being slow.
func (r *Reader) Dropped() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.dropped
}

// Next returns the next item, and waits for it if there is none. It returns io.EOF when the
// publication has ended and everything was read, [live.ErrClosed] after Close, and the context's error
// when it ends.
func (r *Reader) Next(ctx context.Context) (Item, error) {
	for {
		r.mu.Lock()
		switch {
		case r.closed:
			r.mu.Unlock()
			return Item{}, live.ErrClosed
		case r.ring.n > 0:
			e := r.ring.pop()
			if e.item.Track != nil {
				r.trackItems--
			}
			r.mu.Unlock()
			return e.item, nil
		case r.ended:
			r.mu.Unlock()
			return Item{}, io.EOF
		}
		r.mu.Unlock()
		select {
		case <-r.wake:
		case <-ctx.Done():
			return Item{}, ctx.Err()
		}
	}
}

// Close ends reading. What waits is thrown away. Closing twice does nothing.
func (r *Reader) Close() {
	r.publisher.removeReader(r)
	r.mu.Lock()
	r.closed = true
	r.ring = ring{}
	r.mu.Unlock()
	r.signal()
}

func (r *Reader) signal() {
	select {
	case r.wake <- struct{}{}:
	default: // it is awake
	}
}

func (r *Reader) end() {
	r.mu.Lock()
	r.ended = true
	r.mu.Unlock()
	r.signal()
}

// putTrack is never refused. A reader for which too many changes wait loses all that waits, and begins
// again with the tracks as they are now.
func (r *Reader) putTrack(track *media.Track, all []trackState) {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return
	}
	if r.trackItems < maxTrackItems {
		r.ring.push(entry{item: Item{Track: track}})
		r.trackItems++
	} else {
		r.lose(r.ring.n - r.trackItems)
		r.ring = ring{}
		for _, t := range all {
			r.ring.push(entry{item: Item{Track: t.track}})
		}
		r.trackItems = len(all)
	}
	if track.Kind() == media.Video {
		r.skip = untilFirst
	}
	r.mu.Unlock()
	r.signal()
}

// put gives the reader a unit, or loses it.
func (r *Reader) put(e entry) {
	config := &r.publisher.hub.config
	size := len(e.item.Unit.Payload)
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return
	}
	if e.video && r.skip != nothing {
		if !e.start {
			if r.skip == untilNext {
				r.lose(1)
			}
			r.mu.Unlock()
			return
		}
		r.skip = nothing
	}
	for r.ring.n-r.trackItems >= config.ReaderUnits || r.ring.bytes+size > config.ReaderBytes {
		var lost int
		var open bool
		if size <= config.ReaderBytes { // else nothing helps
			lost, open = r.ring.dropGOP()
			r.lose(lost)
		}
		if open && !e.start {
			// The unit continues the GOP that was just lost, or is audio beside it.
			r.skip = untilNext
		}
		if e.video && r.skip != nothing || lost == 0 {
			// With no start in the ring, the reader has begun a GOP longer than the ring. It keeps
			// what it has of it, which decodes, and loses what follows.
			r.lose(1)
			if e.video {
				r.skip = untilNext
			}
			r.mu.Unlock()
			return
		}
	}
	r.ring.push(e)
	r.mu.Unlock()
	r.signal()
}

// lose counts units that the reader will not get.
func (r *Reader) lose(units int) {
	r.dropped += int64(units)
	r.publisher.hub.metrics.slow.Add(float64(units))
}
