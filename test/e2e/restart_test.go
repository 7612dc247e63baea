package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/weir-stream/weir/test/load/origin"
)

// viewing is what viewers of an edge got.
type viewing struct {
	client             *http.Client
	base               string
	requests, failures atomic.Int64
	mu                 sync.Mutex
	told               []string
}

func newViewing(t *testing.T, base string) *viewing {
	transport := &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &viewing{client: &http.Client{Transport: transport, Timeout: time.Minute}, base: base}
}

// get reads an object at a rate, 0 as fast as it comes, and compares it. It returns what Cache-Status says.
func (v *viewing) get(path string, want []byte, rate int) (string, error) {
	response, err := v.client.Get(v.base + path)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	begun, read := time.Now(), 0
	buffer := make([]byte, 64<<10)
	for {
		n, err := response.Body.Read(buffer)
		if read+n > len(want) || !bytes.Equal(buffer[:n], want[read:read+n]) {
			return "", fmt.Errorf("%s: other bytes than the origin's from %d on", path, read)
		}
		read += n
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return "", fmt.Errorf("%s: after %d of %d bytes: %w", path, read, len(want), err)
		}
		if rate > 0 {
			time.Sleep(time.Until(begun.Add(time.Duration(float64(read) / float64(rate) * float64(time.Second)))))
		}
	}
	if response.StatusCode != http.StatusOK || read != len(want) {
		return "", fmt.Errorf("%s: %s, %d of %d bytes", path, response.Status, read, len(want))
	}
	return response.Header.Get("Cache-Status"), nil
}

func (v *viewing) note(err error) {
	v.requests.Add(1)
	if err == nil {
		return
	}
	v.failures.Add(1)
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.told) < 20 {
		v.told = append(v.told, err.Error())
	}
}

// diskSettings have everything of a minute and more written to disk.
const diskSettings = `
cdn:
  cache:
    capacity_bytes: 67108864
    disk_bytes: 268435456
    segment_bytes: 16777216
    max_object_bytes: 16777216
`

// An edge is replaced twenty times while it is asked five hundred times a second. No request fails, no download
// breaks off, and each process has what the one before has kept on disk.
func TestEdgeRestartsUnderLoad(t *testing.T) {
	const restarts, viewers, each = 20, 16, 32 * time.Millisecond
	const between = 400 * time.Millisecond // in which clients connect to the new process
	source, err := origin.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	e := serveEdge(t, source.URL(), diskSettings)
	v := newViewing(t, "http://"+e.public)
	bodies := make(map[string][]byte)
	var paths []string
	for i := range 200 {
		path := origin.Path(1<<10<<(i%10)+i, strconv.Itoa(i))
		paths, bodies[path] = append(paths, path), origin.Content(path)
	}
	large := origin.Path(12<<20, "large")
	bodies[large] = origin.Content(large)
	for _, path := range append(paths, large) {
		if _, err := v.get(path, bodies[path], 0); err != nil {
			t.Fatal(err)
		}
	}
	waitFor(t, 30*time.Second, "objects on disk", func() error {
		if n := e.metric("weir_cdn_cache_written_total"); n != strconv.Itoa(len(paths)+1) {
			return fmt.Errorf("%s are", n)
		}
		return nil
	})

	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	for i := range viewers {
		random := rand.New(rand.NewPCG(1, uint64(i)))
		running.Go(func() {
			for tick := time.NewTicker(each); ctx.Err() == nil; <-tick.C {
				path := paths[random.IntN(len(paths))]
				_, err := v.get(path, bodies[path], 0)
				v.note(err)
			}
		})
	}
	var downloads atomic.Int64
	for i := range 3 { // from the disk, slower than it could
		running.Go(func() {
			for ctx.Err() == nil {
				_, err := v.get(large, bodies[large], (4+i)<<20)
				v.note(err)
				downloads.Add(1)
			}
		})
	}
	for i := range 3 { // from the origin, as slowly as that sends
		running.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				path := origin.SlowPath(0, 2<<20, 6<<20, fmt.Sprint(i, "-", n))
				_, err := v.get(path, origin.Content(path), 0)
				v.note(err)
				downloads.Add(1)
			}
		})
	}
	began := time.Now()
	var survived, asked int
	first := e.pid
	fresh := newViewing(t, "http://"+e.public) // its connections are to the process that serves
	for n := range restarts {
		e.restart(n + 1)
		fresh.client.CloseIdleConnections()
		for i := range 10 {
			path := paths[(n*10+i)%len(paths)]
			status, err := fresh.get(path, bodies[path], 0)
			v.note(err)
			asked++
			if strings.Contains(status, "; hit") {
				survived++
			}
		}
		time.Sleep(between)
	}
	stop()
	running.Wait()
	took := time.Since(began)
	t.Logf("%d restarts in %v; %d requests (%.0f/s), %d downloads, %d failures; %d of %d were hits right after a restart",
		restarts, took, v.requests.Load(), float64(v.requests.Load())/took.Seconds(), downloads.Load(), v.failures.Load(), survived, asked)
	for _, failure := range v.told {
		t.Error(failure)
	}
	if survived < asked*9/10 {
		t.Errorf("%d of %d were hits right after a restart; nearly all are expected", survived, asked)
	}
	waitFor(t, 40*time.Second, "the end of the first process", func() error {
		if !ended(first) {
			return fmt.Errorf("%d runs", first)
		}
		return nil
	})
	waitFor(t, 10*time.Second, "a node that is ready", func() error { return e.isReady() })
}

// isReady asks whether the edge is ready and hears of purges.
func (e *edge) isReady() error {
	response, err := http.Get("http://" + e.private + "/readyz")
	if err != nil {
		return err
	}
	defer response.Body.Close()
	var answer struct {
		Ready         bool
		PurgesCurrent bool `json:"purges_current"`
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || response.StatusCode != http.StatusOK || !answer.Ready || !answer.PurgesCurrent {
		return fmt.Errorf("%s: %+v, %w", response.Status, answer, err)
	}
	return nil
}

// A successor that does not start changes nothing; the edge has its disk back.
func TestEdgeSuccessorFails(t *testing.T) {
	source, err := origin.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	e := serveEdge(t, source.URL(), diskSettings)
	v := newViewing(t, "http://"+e.public)
	path := origin.Path(1<<20, "kept")
	body := origin.Content(path)
	if _, err := v.get(path, body, 0); err != nil {
		t.Fatal(err)
	}
	waitFor(t, 30*time.Second, "the object on disk", func() error {
		if n := e.metric("weir_cdn_cache_written_total"); n != "1" {
			return fmt.Errorf("%s are", n)
		}
		return nil
	})
	e.configure(e.dir(), "cdn: {cache: {disk_bites: 1}}\n")
	e.signal(syscall.SIGUSR2)
	e.awaitLine(`msg="the successor does not serve; this process goes on"`, 1)
	e.awaitLine(`msg="objects taken over from disk"[^\n]* kept=1`, 1)
	if status, err := v.get(path, body, 0); err != nil || !strings.Contains(status, "; hit") {
		t.Errorf("%s, %v", status, err)
	}
	if ended(e.pid) {
		t.Error("the process has ended")
	}
	e.configure(e.dir(), diskSettings)
	e.restart(1)
	v.client.CloseIdleConnections() // those are to the process before
	if status, err := v.get(path, body, 0); err != nil || !strings.Contains(status, "; hit") {
		t.Errorf("after a restart: %s, %v", status, err)
	}
}

// What serves everything cannot be replaced while it serves, and says so.
func TestAllInOneIsNotReplaced(t *testing.T) {
	p := serve(t)
	if err := p.cmd.Process.Signal(syscall.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	waitFor(t, 10*time.Second, "a refusal", func() error {
		if !strings.Contains(p.log.String(), "no successor is started") || !strings.Contains(p.log.String(), "only an edge hands over") {
			return errors.New(p.log.String())
		}
		return nil
	})
	var answer map[string]any
	if err := p.get("/readyz", &answer); err != nil {
		t.Error(err)
	}
}

// A node with a server of the bus cannot be replaced either.
func TestEdgeWithABusServerIsNotReplaced(t *testing.T) {
	e := serveEdge(t, "http://127.0.0.1:1", "bus: {address: '127.0.0.1:0'}\n")
	e.signal(syscall.SIGUSR2)
	e.awaitLine(`no successor is started" error="this node runs a server of the bus`, 1)
	if err := e.isReady(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(fmt.Sprintf("/proc/%d", e.pid)); err != nil {
		t.Error(err)
	}
}
