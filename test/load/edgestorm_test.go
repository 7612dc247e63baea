package load

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weir-stream/weir/test/load/origin"
)

// A storm is on one object that the cache does not have, of an origin that sends its first byte after 50 ms and
// 20 MB in a second.
const (
	stormSize  = 4 << 20
	stormFirst = 50 * time.Millisecond
	stormRate  = 20_000_000
	stormLimit = 3 * time.Minute
)

// stormOrigin is when the origin has sent the last byte.
const stormOrigin = stormFirst + stormSize*time.Second/stormRate

type stormSamples struct {
	server                      string
	fetches                     []float64
	cold, warm, first, firstP99 []time.Duration
}

// All clients ask for one object at the same moment, when nobody has it yet, and once more when the server has
// it. What is ideal is the later of two times: when the origin has sent the last byte, and how long this machine
// takes for so many answers anyhow, which is what the fastest of the servers took for the second time.
func TestEdgeStorm(t *testing.T) {
	needMeasure(t)
	if !alone(t) {
		return
	}
	startOrigin(t)
	visit, features := edgeAccess(t)
	locked := nginxWith("nginx, lock", "memory", plainHTTP)
	for _, clients := range []int{200, 10_000} {
		name := strconv.Itoa(clients) + " clients"
		if !chosen(t, *edgeSizes, name) {
			continue
		}
		if limit := files(t); limit < clients+500 {
			fmt.Printf("NOT MEASURED: %s need %d open files, this machine allows %d\n", name, clients+500, limit)
			continue
		}
		var all []*stormSamples
		for repetition := range *edgeRepetitions {
			for _, s := range []edgeServer{weirEdge(t, false), locked, varnish("200")} {
				if !chosen(t, *edgeServers, s.name) {
					continue
				}
				if repetition == 0 {
					all = append(all, &stormSamples{server: s.name})
				}
				for _, known := range all {
					if known.server == s.name {
						known.visit(t, s, visit, clients)
					}
				}
			}
		}
		ideal := time.Duration(math.MaxInt64)
		for _, s := range all {
			if len(s.warm) > 0 {
				ideal = min(ideal, medianTime(s.warm))
			}
		}
		ideal = max(ideal, stormOrigin)
		tb := newTable("server", "requests to the origin", "last client ms, cold", "worst", "last client ms, warm", "first byte p50 ms", "p99 ms", "ideal ms", "later than ideal by ms")
		for _, s := range all {
			if len(s.cold) == 0 {
				continue
			}
			cold, warm := medianTime(s.cold), medianTime(s.warm)
			late := milliseconds(cold - ideal)
			if s.server == "weir" {
				late += " (goal 10: " + verdict(cold-ideal <= 10*time.Millisecond) + ")"
			}
			fetches := make([]string, len(s.fetches))
			for i, n := range s.fetches {
				fetches[i] = number(n)
				if s.server == "weir" && n != 1 {
					t.Errorf("%s: the origin was asked %v times, want once", name, n)
				}
			}
			tb.row(s.server, number(median(s.fetches)), milliseconds(cold), milliseconds(slices.Max(s.cold)), milliseconds(warm), milliseconds(medianTime(s.first)),
				milliseconds(medianTime(s.firstP99)), milliseconds(ideal), late)
			t.Logf("%s, %s: requests to the origin %s", name, s.server, strings.Join(fetches, " "))
		}
		tb.print("Storm, "+name+" on one cold object of 4 MB", fmt.Sprintf("Medians of %d. The origin sends its first byte after %v and the last after %v. %s\n%s",
			*edgeRepetitions, stormFirst, stormOrigin.Round(time.Millisecond), features, machine(t)))
	}
}

// visit makes one storm.
func (s *stormSamples) visit(t *testing.T, server edgeServer, visit edgeVisitor, clients int) {
	t.Helper()
	r := server.start(t, visit)
	defer r.stop()
	options := crowdOptions{address: edgeServerAddress, conns: clients, size: stormSize}
	if clients > 1000 {
		// Else the buffers of all connections together would be more than the kernel has for TCP (tcp_mem).
		options.receive = 128 << 10
	}
	c, err := connect(options)
	if err != nil {
		t.Errorf("%s: %v", server.name, err)
		return
	}
	defer c.close()
	time.Sleep(200*time.Millisecond + time.Duration(clients)*20*time.Microsecond) // until all are accepted
	path := origin.SlowPath(stormFirst, stormRate, stormSize, strconv.FormatInt(time.Now().UnixNano(), 36)+".m4s")
	request := visit.requests(1, path)[0]
	if _, err := originCounts(t.Context()); err != nil {
		t.Fatal(err)
	}
	cold, err := c.rush(request, stormLimit)
	if err != nil {
		t.Errorf("%s, cold: %v", server.name, err)
		return
	}
	counts, err := originCounts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	warm, err := c.rush(request, stormLimit)
	if err != nil {
		t.Errorf("%s, warm: %v", server.name, err)
		return
	}
	s.fetches = append(s.fetches, float64(counts[path]))
	s.cold, s.warm = append(s.cold, cold.last), append(s.warm, warm.last)
	s.first, s.firstP99 = append(s.first, cold.firstP50), append(s.firstP99, cold.firstP99)
}
