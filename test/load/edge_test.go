package load

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-stream/weir/test/load/origin"
)

// edgePoint is a size that is measured.
type edgePoint struct {
	name  string
	size  int
	conns int
	many  int // how many objects of the size are asked for in turn
	goal  float64
}

// The working set is larger than the processor's caches.
var edgePoints = []edgePoint{
	{name: "1 KB", size: 1 << 10, conns: 32, many: 1, goal: 1.4},
	{name: "64 KB", size: 64 << 10, conns: 16, many: 1, goal: 1.4},
	{name: "1 MB", size: 1 << 20, conns: 8, many: 1, goal: 1.1},
	{name: "4 MB", size: 4 << 20, conns: 8, many: 1, goal: 1.05},
	{name: "1024 x 1 MB", size: 1 << 20, conns: 8, many: 1024, goal: 1.1},
}

func (p edgePoint) paths() []string {
	all := make([]string, p.many)
	for i := range all {
		// Not one after the other: 7919 is a prime, so that all have their turn.
		all[i] = origin.Path(p.size, fmt.Sprintf("film-%05d.m4s", i*7919%p.many))
	}
	return all
}

// samples are what has been measured of one server at one point.
type samples struct {
	server    string
	nginx     bool
	perSecond []float64
	bits      []float64
	p50, p99  []time.Duration
	cost      []time.Duration
	busy      []float64
}

func (s *samples) add(f flooded) {
	s.perSecond, s.bits, s.busy = append(s.perSecond, f.perSecond), append(s.bits, f.bits), append(s.busy, f.busy)
	s.p50, s.p99, s.cost = append(s.p50, f.p50), append(s.p99, f.p99), append(s.cost, f.cost)
}

// series are the samples of a measurement, by point and then by server, in the order in which they came.
type series struct {
	points []string
	all    map[string][]*samples
}

func (m *series) of(point string, s edgeServer) *samples {
	if m.all == nil {
		m.all = make(map[string][]*samples)
	}
	if m.all[point] == nil {
		m.points = append(m.points, point)
	}
	for _, known := range m.all[point] {
		if known.server == s.name {
			return known
		}
	}
	added := &samples{server: s.name, nginx: s.nginx}
	m.all[point] = append(m.all[point], added)
	return added
}

// best is the best that any configuration of nginx has reached: each of the values on its own, but for p99, which
// is that of the one with the most answers.
type best struct {
	perSecond float64
	cost, p99 time.Duration
}

func bestNginx(servers []*samples) (b best) {
	for _, s := range servers {
		if !s.nginx {
			continue
		}
		if v := median(s.perSecond); v > b.perSecond {
			b.perSecond, b.p99 = v, medianTime(s.p99)
		}
		if v := medianTime(s.cost); b.cost == 0 || v < b.cost {
			b.cost = v
		}
	}
	return b
}

// print prints a table for each point, and one of the goals.
func (m *series) print(t *testing.T, title, below string, goals map[string]float64) {
	t.Helper()
	summary := newTable("point", "Weir / best nginx, answers per second", "goal", "", "processor time per answer, nginx / Weir", "p99, Weir / nginx (goal 2)", "")
	for _, point := range m.points {
		servers := m.all[point]
		nginx := bestNginx(servers)
		tb := newTable("server", "answers/s", "best", "Gbit/s", "p50 ms", "p99 ms", "core busy", "processor µs per answer", "answers/s ÷ best nginx", "processor time: best nginx ÷ it", "p99 ÷ nginx")
		for _, s := range servers {
			if len(s.perSecond) == 0 {
				continue
			}
			rate, cost, p99 := median(s.perSecond), medianTime(s.cost), medianTime(s.p99)
			tb.row(s.server, number(rate), number(slices.Max(s.perSecond)), number(median(s.bits)/1e9), milliseconds(medianTime(s.p50)), milliseconds(p99),
				number(100*median(s.busy))+" %", number(float64(cost)/1e3), number(rate/nginx.perSecond), number(float64(nginx.cost)/float64(cost)), number(float64(p99)/float64(nginx.p99)))
			if s.server == "weir" && nginx.perSecond > 0 {
				ratio, tail := rate/nginx.perSecond, float64(p99)/float64(nginx.p99)
				goal, met := "-", ""
				if goals[point] > 0 {
					goal, met = number(goals[point]), verdict(ratio >= goals[point])
				}
				summary.row(point, number(ratio), goal, met, number(float64(nginx.cost)/float64(cost)), number(tail), verdict(tail <= 2))
			}
		}
		tb.print(title+", "+point, "")
	}
	summary.print(title+", goals", fmt.Sprintf("Medians of %d repetitions of %v, servers in turn. %s\n%s", *edgeRepetitions, *edgeTime, below, machine(t)))
}

func verdict(ok bool) string {
	if ok {
		return "met"
	}
	return "**missed**"
}

// Hits over HTTP/1.1 without TLS, of one object and of a working set.
func TestEdgeHits(t *testing.T) {
	needMeasure(t)
	if !alone(t) {
		return
	}
	startOrigin(t)
	visit, features := edgeAccess(t)
	servers := append([]edgeServer{weirEdge(t, false)}, nginxPlain()...)
	servers = append(servers, varnish("50"), trafficServer())
	var results series
	for repetition := range *edgeRepetitions {
		for _, s := range servers {
			if chosen(t, *edgeServers, s.name) {
				visitHits(t, s, visit, &results)
			}
		}
		t.Logf("repetition %d is done", repetition+1)
	}
	goals := make(map[string]float64)
	for _, p := range edgePoints {
		goals[p.name] = p.goal
	}
	results.print(t, "Hits, HTTP/1.1", features, goals)
}

// visitHits measures all points of one server.
func visitHits(t *testing.T, s edgeServer, visit edgeVisitor, results *series) {
	t.Helper()
	r := s.start(t, visit)
	defer r.stop()
	for _, p := range edgePoints {
		if !chosen(t, *edgeSizes, p.name) {
			continue
		}
		paths := p.paths()
		r.warm(t, visit, paths...)
		if _, err := originCounts(t.Context()); err != nil {
			t.Fatal(err)
		}
		f := flood{
			crowdOptions: crowdOptions{address: edgeServerAddress, conns: p.conns, size: p.size},
			requests:     visit.requests(max(256, p.many), paths...), warm: 300 * time.Millisecond, time: *edgeTime, usage: usage(r.pids),
		}
		measured, err := f.run()
		if err != nil {
			t.Errorf("%s, %s: %v", s.name, p.name, err)
			continue
		}
		counts, err := originCounts(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		// A server that gives up what it should have is not measured at what it is good at.
		if len(counts) > 0 {
			fmt.Printf("%s, %s: of %d answers the origin was asked for %d objects: %s\n", s.name, p.name, measured.answers, len(counts), someOf(counts))
		}
		results.of(p.name, s).add(measured)
	}
}

// someOf names a few of many.
func someOf(counts map[string]int) string {
	names := slices.Sorted(maps.Keys(counts))
	return strings.Join(names[:min(3, len(names))], ", ")
}
