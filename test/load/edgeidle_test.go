package load

import (
	"errors"
	"flag"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/weir-stream/weir/test/load/origin"
)

var edgeIdle = flag.Int("edge-idle", 50_000, "how many idle connections the edge is given, if the machine allows as many")

// perSource is how many connections each of the clients' addresses has.
const perSource = 20_000

// idleLimit is how long the memory of a server may take to change no more.
const idleLimit = 20 * time.Second

// Idle connections, each of which has asked once: what the server's resident memory grows by.
func TestEdgeIdle(t *testing.T) {
	needMeasure(t)
	if !alone(t) {
		return
	}
	startOrigin(t)
	visit, features := edgeAccess(t)
	// Each end has one file for a connection. A server needs some for itself.
	conns := min(*edgeIdle, files(t)-500)
	if conns < *edgeIdle {
		fmt.Printf("NOT MEASURED WITH %d: a process may open %d files here, and that limit cannot be raised\n", *edgeIdle, files(t))
	}
	tb := newTable("server", "connections", "memory before", "with all of them", "bytes per connection", "after each has asked again", "bytes per connection")
	for _, s := range []edgeServer{weirEdge(t, false), nginxWith("nginx", "memory", keepOpen)} {
		if !chosen(t, *edgeServers, s.name) {
			continue
		}
		if row, err := idle(t, s, visit, conns); err != nil {
			t.Errorf("%s: %v", s.name, err)
		} else {
			tb.row(row...)
		}
	}
	tb.print(fmt.Sprintf("%d idle keep-alive connections", conns), fmt.Sprintf("Resident memory of all processes of the server; each connection has asked for 1 KB once. %s\n%s", features, machine(t)))
}

func idle(t *testing.T, s edgeServer, visit edgeVisitor, conns int) ([]string, error) {
	t.Helper()
	r := s.start(t, visit)
	defer r.stop()
	path := origin.Path(1<<10, "film.m4s")
	r.warm(t, visit, path)
	before := r.settled(t)
	c, err := connect(crowdOptions{address: edgeServerAddress, conns: conns, size: 1 << 10, perSource: perSource})
	if err != nil {
		return nil, err
	}
	defer c.close()
	cells := []string{s.name, fmt.Sprint(conns), megabytes(before)}
	requests := visit.requests(edgeSessions, path)
	for range 2 {
		// A few at a time: it is not about a storm.
		for part := range slices.Chunk(c.conns, 500) {
			if err := c.askOnce(part, requests); err != nil {
				return nil, err
			}
		}
		with := r.settled(t)
		cells = append(cells, megabytes(with), number(float64(with-before)/float64(conns)))
	}
	return cells, nil
}

// settled returns the resident memory when it has stopped to change much.
func (r *running) settled(t *testing.T) int64 {
	t.Helper()
	var last int64
	for deadline := time.Now().Add(idleLimit); ; {
		now := resident(t, r.pids)
		if change := now - last; time.Now().After(deadline) || max(change, -change) < now/200 {
			return now
		}
		last = now
		time.Sleep(2 * time.Second)
	}
}

func megabytes(n int64) string { return number(float64(n)/(1<<20)) + " MB" }

// askOnce asks over some of the connections and waits for the answers.
func (c *crowd) askOnce(conns []crowdConn, requests [][]byte) error {
	for i := range conns {
		if err := c.ask(&conns[i], requests[i%len(requests)], time.Now()); err != nil {
			return err
		}
	}
	left := len(conns)
	events := newEvents()
	for deadline := time.Now().Add(time.Minute); left > 0; {
		if time.Now().After(deadline) {
			return errors.New("not all have got an answer within a minute")
		}
		if err := c.wait(events, deadline, func(int, *crowdConn) error { left--; return nil }); err != nil {
			return err
		}
	}
	return nil
}
