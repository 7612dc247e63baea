// Package origin is the HTTP origin of measurements. The bytes of its objects follow from their paths, it counts
// who asks for what and when, it can be slow, and it can go away in several manners and come back.
package origin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// State is what becomes of a request.
type State int

const (
	// Serves is the state of an origin that works.
	Serves State = iota
	// Unavailable answers each request with 503.
	Unavailable
	// Cuts reads each request and closes the connection without an answer.
	Cuts
	// Hangs reads each request and never answers.
	Hangs
	// Refuses does not listen, and has closed the connections that there were.
	Refuses
)

func (s State) String() string {
	switch s {
	case Serves:
		return "serves"
	case Unavailable:
		return "answers 503"
	case Cuts:
		return "closes without an answer"
	case Hangs:
		return "never answers"
	case Refuses:
		return "refuses connections"
	}
	return strconv.Itoa(int(s))
}

// CountsPath is the path that tells how often each object was asked for since it was asked last, as JSON.
const CountsPath = "/-/counts"

// Origin is a running origin.
type Origin struct {
	address string

	mu          sync.Mutex
	state       State
	changed     chan struct{} // closed with the end of the state
	server      *http.Server  // nil while it refuses
	ended       chan struct{} // closed when server has ended
	counts      map[string]int
	times       map[string][]time.Time
	connections int
}

// Listen starts an origin at address; port 0 is a free one.
func Listen(address string) (*Origin, error) {
	o := &Origin{address: address, changed: make(chan struct{}), counts: make(map[string]int), times: make(map[string][]time.Time)}
	o.mu.Lock()
	defer o.mu.Unlock()
	return o, o.listen()
}

// Address returns "host:port".
func (o *Origin) Address() string { return o.address }

// URL returns what paths are appended to.
func (o *Origin) URL() string { return "http://" + o.address }

// Close ends it.
func (o *Origin) Close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	close(o.changed)
	o.changed = make(chan struct{})
	o.hangUp()
}

// listen starts the server; mu is held.
func (o *Origin) listen() error {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", o.address)
	if err != nil {
		return err
	}
	o.address = l.Addr().String()
	o.server = &http.Server{Handler: o, ReadHeaderTimeout: time.Minute, ConnState: func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			o.mu.Lock()
			o.connections++
			o.mu.Unlock()
		}
	}}
	o.ended = make(chan struct{})
	go func(server *http.Server, ended chan struct{}) {
		defer close(ended)
		_ = server.Serve(l)
	}(o.server, o.ended)
	return nil
}

// hangUp closes the listener and all connections; mu is held.
func (o *Origin) hangUp() {
	if o.server == nil {
		return
	}
	server, ended := o.server, o.ended
	o.server = nil
	o.mu.Unlock() // connections that change their state take it
	_ = server.Close()
	<-ended
	o.mu.Lock()
}

// Set changes what becomes of requests; those that hang are cut off by it.
func (o *Origin) Set(state State) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.state = state
	close(o.changed)
	o.changed = make(chan struct{})
	if state == Refuses {
		o.hangUp()
		return nil
	}
	if o.server != nil {
		return nil
	}
	return o.listen()
}

// Seen is what an origin has counted.
type Seen struct {
	// Times are those at which each object was asked for; Requests is how many they are.
	Times    map[string][]time.Time
	Requests int
	// Connections is how many were accepted.
	Connections int
}

// Take returns what was counted since it was called last.
func (o *Origin) Take() Seen {
	o.mu.Lock()
	defer o.mu.Unlock()
	seen := Seen{Times: o.times, Connections: o.connections}
	for _, n := range o.counts {
		seen.Requests += n
	}
	o.times, o.counts, o.connections = make(map[string][]time.Time), make(map[string]int), 0
	return seen
}

// Closest returns the least time between two requests for the same object, and most how many there were for one
// object within window; closest is negative if no object was asked for twice.
func (s Seen) Closest(window time.Duration) (closest time.Duration, most int) {
	closest = -1
	for _, times := range s.Times {
		first := 0
		for i, at := range times {
			if i > 0 {
				if gap := at.Sub(times[i-1]); closest < 0 || gap < closest {
					closest = gap
				}
			}
			for at.Sub(times[first]) >= window {
				first++
			}
			most = max(most, i-first+1)
		}
	}
	return closest, most
}

func (o *Origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == CountsPath {
		o.mu.Lock()
		counts := o.counts
		o.counts, o.times = make(map[string]int), make(map[string][]time.Time)
		o.mu.Unlock()
		_ = json.NewEncoder(w).Encode(counts)
		return
	}
	o.mu.Lock()
	state, changed := o.state, o.changed
	o.counts[r.URL.Path]++
	o.times[r.URL.Path] = append(o.times[r.URL.Path], time.Now())
	o.mu.Unlock()
	switch state {
	case Serves:
		serve(w, r)
	case Unavailable:
		http.Error(w, "away", http.StatusServiceUnavailable)
	case Hangs:
		select {
		case <-changed:
		case <-r.Context().Done():
		}
		panic(http.ErrAbortHandler)
	case Cuts, Refuses:
		panic(http.ErrAbortHandler)
	}
}

// modified is when all objects were.
var modified = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func serve(w http.ResponseWriter, r *http.Request) {
	o, ok := parse(r.URL.Path)
	if !ok {
		http.NotFound(w, r)
		return
	}
	header := w.Header()
	header.Set("Content-Type", "video/mp4")
	header.Set("ETag", strconv.Quote(r.URL.Path))
	header.Set("Cache-Control", "public, max-age=86400")
	if o.kind == "brief" {
		header.Set("Cache-Control", "public, max-age=1, stale-if-error=86400")
	}
	begun := time.Now().Add(o.first)
	body := Content(r.URL.Path)
	if o.kind != "slow" {
		http.ServeContent(w, r, "", modified, bytes.NewReader(body))
		return
	}
	header.Set("Last-Modified", modified.Format(http.TimeFormat))
	header.Set("Content-Length", strconv.Itoa(len(body)))
	if err := pace(w, r, body, o.rate, begun); err != nil {
		panic(http.ErrAbortHandler)
	}
}

// pace writes the whole body, as HTTP lets it when a range is asked for (RFC 9110 §14.2).
func pace(w http.ResponseWriter, r *http.Request, body []byte, rate int, begun time.Time) error {
	const chunk = 64 << 10
	wait := func(until time.Time) error {
		timer := time.NewTimer(time.Until(until))
		defer timer.Stop()
		select {
		case <-timer.C:
			return nil
		case <-r.Context().Done():
			return r.Context().Err()
		}
	}
	if err := wait(begun); err != nil {
		return err
	}
	control := http.NewResponseController(w)
	for sent := 0; sent < len(body); {
		n, err := w.Write(body[sent:min(sent+chunk, len(body))])
		if err = errors.Join(err, control.Flush()); err != nil {
			return fmt.Errorf("after %d bytes: %w", sent+n, err)
		}
		if sent += n; rate > 0 {
			if err := wait(begun.Add(time.Duration(float64(sent) / float64(rate) * float64(time.Second)))); err != nil {
				return err
			}
		}
	}
	return nil
}

// And returns what was seen in both, s being before other.
func (s Seen) And(other Seen) Seen {
	all := Seen{Times: maps.Clone(s.Times), Requests: s.Requests + other.Requests, Connections: s.Connections + other.Connections}
	if all.Times == nil {
		all.Times = make(map[string][]time.Time)
	}
	for path, times := range other.Times {
		all.Times[path] = append(all.Times[path], times...)
	}
	return all
}
