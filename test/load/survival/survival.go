// Package survival kills an edge again and again while it is read from, and compares every byte of every answer
// with what the origin has.
package survival

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/weir-stream/weir/test/load/origin"
)

// Settings says what to do.
type Settings struct {
	// Program is the path of weir, Dir an empty folder for it.
	Program, Dir string
	// Kills is how often it is killed, each time after a while between MinRun and MaxRun.
	Kills          int
	MinRun, MaxRun time.Duration
	// Viewers is how many read at a time, Objects how many there are to be read, of 1 kB to 2 MB.
	Viewers, Objects int
	// CacheBytes is the size of the cache on disk, CacheMemory that in memory. With less than the objects have
	// there is always something being written.
	CacheBytes, CacheMemory int64
	Seed                    uint64
}

// Result is what was seen.
type Result struct {
	Ready []time.Duration // from each start to the first answer that says so
	// Answers were whole, and Bytes is what they had; Cut are those that a kill has cut off.
	Answers, Bytes, Cut int64
	// Known is how many objects were read again after a restart that had been read before it, Survived how many of
	// those were hits at the first time.
	Known, Survived int64
	// Wrong are answers with other bytes than the origin's, Failed those that failed though nothing was killed;
	// the first few of each.
	Wrong, Failed []string
	// Fetched is how many requests the origin got.
	Fetched int
}

// maxTold bounds how many answers a result describes.
const maxTold = 20

// readyLimit is how long a start may take before it has failed.
const readyLimit = time.Minute

// run is one measurement.
type run struct {
	Settings
	origin          *origin.Origin
	public, private string
	client          *http.Client
	paths           []string
	bodies          map[string][]byte

	mu     sync.Mutex
	result Result
	epoch  int             // odd while the edge is not ready or is being killed
	before map[string]bool // what was read whole before the last start
	since  map[string]bool // what was asked for since
	whole  map[string]bool // what was read whole since
}

// Run kills the edge as often as it is told to, and stops it in the end. An error means that it could not be
// measured.
func Run(ctx context.Context, s Settings) (Result, error) {
	r := &run{Settings: s, bodies: make(map[string][]byte), epoch: 1, whole: make(map[string]bool), before: make(map[string]bool), since: make(map[string]bool)}
	random := rand.New(rand.NewPCG(s.Seed, 0))
	for i := range s.Objects {
		// As many of a few kilobytes as of a few megabytes.
		size := 1 << 10 << random.IntN(11)
		path := origin.Path(size+random.IntN(size), strconv.Itoa(i))
		r.paths, r.bodies[path] = append(r.paths, path), origin.Content(path)
	}
	var err error
	if r.origin, err = origin.Listen("127.0.0.1:0"); err != nil {
		return Result{}, err
	}
	defer r.origin.Close()
	if r.public, err = freeAddress(); err != nil {
		return Result{}, err
	}
	if r.private, err = freeAddress(); err != nil {
		return Result{}, err
	}
	transport := &http.Transport{MaxIdleConnsPerHost: s.Viewers, DisableCompression: true}
	defer transport.CloseIdleConnections()
	r.client = &http.Client{Timeout: time.Minute, Transport: transport}
	err = r.run(ctx, random)
	r.result.Fetched = r.origin.Take().Requests
	return r.result, err
}

func (r *run) run(ctx context.Context, random *rand.Rand) error {
	edge, err := r.start(ctx)
	if err != nil {
		return err
	}
	defer func() { edge.kill() }()
	viewing, stop := context.WithCancel(ctx)
	var viewers sync.WaitGroup
	for i := range r.Viewers {
		viewers.Go(func() { r.view(viewing, rand.New(rand.NewPCG(r.Seed, uint64(i)+1))) })
	}
	defer viewers.Wait()
	defer stop()
	for range r.Kills {
		if err := wait(ctx, r.MinRun+time.Duration(random.Int64N(int64(r.MaxRun-r.MinRun)+1))); err != nil {
			return err
		}
		if edge.gone() {
			return fmt.Errorf("the edge has ended by itself: %w\n%s", edge.err, edge.log)
		}
		r.down()
		edge.kill()
		if edge, err = r.start(ctx); err != nil {
			return err
		}
	}
	if err := wait(ctx, r.MaxRun); err != nil {
		return err
	}
	stop()
	viewers.Wait()
	return edge.stop()
}

// wait lets d pass.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// process is a running edge.
type process struct {
	cmd  *exec.Cmd
	log  *bytes.Buffer // not to be read before it has ended
	done chan struct{}
	err  error
}

// start starts the edge over what the last one has left, and waits until it is ready.
func (r *run) start(ctx context.Context) (*process, error) {
	number := func(n int64) string { return strconv.FormatInt(n, 10) }
	p := &process{log: new(bytes.Buffer), done: make(chan struct{})}
	p.cmd = exec.Command(r.Program, "serve", "--role", "edge", "--origin", r.origin.URL(), //nolint:gosec // the program under test
		"--listen", r.public, "--private", r.private, "--data", filepath.Join(r.Dir, "data"),
		"--set", "cdn.cache.disk_bytes="+number(r.CacheBytes), "--set", "cdn.cache.segment_bytes="+number(max(r.CacheBytes/16, 1<<20)),
		"--set", "cdn.cache.capacity_bytes="+number(r.CacheMemory), "--set", "cdn.cache.max_object_bytes="+number(min(r.CacheMemory/2, 32<<20)))
	p.cmd.Dir = r.Dir // no weir.yaml here
	p.cmd.Stderr = p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	begun := time.Now()
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { p.err = p.cmd.Wait(); close(p.done) }()
	for {
		if r.ready(ctx) {
			r.up(time.Since(begun))
			return p, nil
		}
		if p.gone() {
			return nil, fmt.Errorf("the edge has ended before it was ready: %w\n%s", p.err, p.log)
		}
		if time.Since(begun) > readyLimit {
			p.kill()
			return nil, fmt.Errorf("the edge was not ready within %v\n%s", readyLimit, p.log)
		}
		if err := wait(ctx, 2*time.Millisecond); err != nil {
			p.kill()
			return nil, err
		}
	}
}

func (r *run) ready(ctx context.Context) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.private+"/readyz", nil)
	if err != nil {
		return false
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode == http.StatusOK
}

func (p *process) gone() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// kill ends the process as a power failure would, but for what the kernel has not written yet.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

func (p *process) stop() error {
	_ = p.cmd.Process.Signal(os.Interrupt)
	select {
	case <-p.done:
	case <-time.After(readyLimit):
		p.kill()
		return errors.New("the edge did not stop when it was asked to")
	}
	if p.err != nil {
		return fmt.Errorf("the edge was asked to stop: %w\n%s", p.err, p.log)
	}
	return nil
}

// up notes that the edge is ready.
func (r *run) up(after time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.result.Ready = append(r.result.Ready, after)
	r.epoch++
}

// down notes that the edge is about to be killed: what fails from now on fails for that.
func (r *run) down() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.epoch++
	for path := range r.whole {
		r.before[path] = true
	}
	clear(r.since)
	clear(r.whole)
}

func (r *run) now() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.epoch
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}
