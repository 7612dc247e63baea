package load

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/weir-stream/weir/test/load/origin"
)

var (
	edgeAway     = flag.Duration("edge-away", 5*time.Minute, "how long the origin of the edge is away")
	edgeAwayRate = flag.Int("edge-away-rate", 500, "how many requests a second the edge gets meanwhile")
)

const (
	awayObjects = 100
	awaySize    = 16 << 10
	// awayJitter is how much two requests that left a second apart may come closer on their way.
	awayJitter = 50 * time.Millisecond
	// awayLimit bounds how long a viewer waits.
	awayLimit = 30 * time.Second
)

// The origin goes away, in one manner after the other, and comes back. All objects are stale after a second and
// may be served for a day while the origin fails: no viewer may notice, and the origin may be asked for each
// object once in a second at most, so that it can come back.
func TestEdgeOriginAway(t *testing.T) {
	needMeasure(t)
	o, err := origin.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	edge := startAwayEdge(t, o.URL())
	load := &steadyLoad{edge: edge, bodies: make(map[string][]byte), client: &http.Client{Timeout: awayLimit, Transport: &http.Transport{
		MaxIdleConnsPerHost: 1000, DisableCompression: true,
	}}}
	defer load.client.CloseIdleConnections()
	for i := range awayObjects {
		path := origin.BriefPath(awaySize, fmt.Sprintf("film-%03d.m4s", i))
		load.paths, load.bodies[path] = append(load.paths, path), origin.Content(path)
	}
	tb := newTable("the origin", "for", "requests", "errors", "p50 ms", "p99 ms", "worst ms", "said to be stale",
		"requests that reached the origin", "for one object, in one second at most", "closest two ms", "connections")
	states := []origin.State{origin.Unavailable, origin.Cuts, origin.Refuses, origin.Hangs}
	phases := []awayPhase{{state: origin.Serves, time: 3 * time.Second}}
	for _, state := range states {
		phases = append(phases, awayPhase{state: state, time: *edgeAway / time.Duration(len(states)), away: true})
	}
	phases = append(phases, awayPhase{state: origin.Serves, time: max(10*time.Second, *edgeAway/10)})
	var away origin.Seen // over the borders of the phases too
	for _, p := range phases {
		if err := o.Set(p.state); err != nil {
			t.Fatal(err)
		}
		o.Take()
		begun := time.Now()
		answers := load.run(t.Context(), p.time)
		seen := o.Take()
		if p.away {
			away = away.And(seen)
		}
		p.report(t, tb, answers, seen, begun)
	}
	tb.print("The origin is away", fmt.Sprintf("%d objects of 16 KB, fresh for a second, stale-if-error of a day, %d requests a second; all bytes compared. Errors are answers that are no 200, of other bytes, or later than %v.\n%s",
		awayObjects, *edgeAwayRate, awayLimit, machine(t)))
	if _, most := away.Closest(time.Second - awayJitter); most > 1 {
		t.Errorf("the origin was asked for one object %d times within a second while it was away; once is the goal", most)
	}
}

type awayPhase struct {
	state origin.State
	time  time.Duration
	away  bool
}

func (p awayPhase) report(t *testing.T, tb *table, answers []awayAnswer, seen origin.Seen, begun time.Time) {
	t.Helper()
	latencies := make([]time.Duration, len(answers))
	failures := make(map[string]int)
	stale := 0
	for i, a := range answers {
		latencies[i] = a.took
		if a.err != nil {
			failures[cause(a.err)]++
		}
		if a.stale {
			stale++
		}
	}
	slices.Sort(latencies)
	errs := 0
	for _, text := range slices.Sorted(maps.Keys(failures)) {
		errs += failures[text]
		t.Errorf("the origin %s: %d times: %s", p.state, failures[text], text)
	}
	closest, most := seen.Closest(time.Second - awayJitter)
	gap := "-"
	if closest >= 0 {
		gap = milliseconds(closest)
	}
	if !p.away && len(seen.Times) > 0 {
		first := time.Duration(1<<63 - 1)
		for _, times := range seen.Times {
			first = min(first, times[0].Sub(begun))
		}
		t.Logf("the origin %s: %d of %d objects were asked for again, the first after %v", p.state, len(seen.Times), awayObjects, first.Round(time.Millisecond))
	}
	tb.row(p.state.String(), p.time.Round(time.Second).String(), fmt.Sprint(len(answers)), fmt.Sprint(errs),
		milliseconds(quantile(latencies, .5)), milliseconds(quantile(latencies, .99)), milliseconds(latencies[len(latencies)-1]),
		number(100*float64(stale)/float64(len(answers)))+" %", fmt.Sprint(seen.Requests), fmt.Sprint(most), gap, fmt.Sprint(seen.Connections))
}

// cause returns what an error says without whose port it was.
func cause(err error) string {
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(err) {
		err = inner
	}
	return err.Error()
}

// steadyLoad asks so often, whether answers come or not.
type steadyLoad struct {
	edge   string
	client *http.Client
	paths  []string
	bodies map[string][]byte
}

type awayAnswer struct {
	took  time.Duration
	stale bool
	err   error
}

func (l *steadyLoad) run(ctx context.Context, d time.Duration) (answers []awayAnswer) {
	var mu sync.Mutex
	var running sync.WaitGroup
	begun := time.Now()
	for i := 0; ; i++ {
		due := time.Duration(i) * time.Second / time.Duration(*edgeAwayRate)
		if due >= d || ctx.Err() != nil {
			break
		}
		time.Sleep(time.Until(begun.Add(due)))
		running.Go(func() {
			a := l.get(ctx, l.paths[i%len(l.paths)])
			mu.Lock()
			answers = append(answers, a)
			mu.Unlock()
		})
	}
	running.Wait()
	return answers
}

func (l *steadyLoad) get(ctx context.Context, path string) (a awayAnswer) {
	begun := time.Now()
	defer func() { a.took = time.Since(begun) }()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+l.edge+path, nil)
	if err != nil {
		return awayAnswer{err: err}
	}
	resp, err := l.client.Do(req)
	if err != nil {
		return awayAnswer{err: err}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	a.stale = strings.Contains(resp.Header.Get("Cache-Status"), "stale")
	switch {
	case err != nil:
		a.err = err
	case resp.StatusCode != http.StatusOK:
		a.err = errors.New(resp.Status)
	case !bytes.Equal(body, l.bodies[path]):
		a.err = errors.New("other bytes than the origin's")
	}
	return a
}

// startAwayEdge starts the program as an edge in front of the origin and returns its address.
func startAwayEdge(t *testing.T, originURL string) string {
	t.Helper()
	program, err := filepath.Abs(*binary)
	if err != nil {
		t.Fatal(err)
	}
	address, private := fmt.Sprintf("127.0.0.1:%d", freePort(t)), fmt.Sprintf("127.0.0.1:%d", freePort(t))
	cmd := exec.Command(program, "serve", "--role", "edge", "--origin", originURL, "--listen", address, "--private", private, "--data", t.TempDir())
	cmd.Dir = t.TempDir()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var log bytes.Buffer
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("weir's log ends with:\n%s", log.Bytes()[max(0, log.Len()-10_000):])
		}
	})
	for deadline := time.Now().Add(10 * time.Second); ; {
		if status, err := get("http://" + private + "/readyz"); err == nil && status == http.StatusOK {
			return address
		} else if time.Now().After(deadline) {
			t.Fatalf("weir is not ready: %d %v\n%s", status, err, &log)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
