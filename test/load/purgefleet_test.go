package load

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/weir-stream/weir/internal/console/rest"
)

// purgeObjects is how many objects there are to be purged.
const purgeObjects = 64

// purgeFleet is the edges under measurement, and the origin.
type purgeFleet struct {
	edges  []purgeEdge
	client *purgeClient
	// version is of the origin's objects.
	version [purgeObjects]atomic.Uint64

	stale, asked, viewed, hits atomic.Int64
}

// purgeEdge is a running edge.
type purgeEdge struct{ name, public, private string }

type purgeFleetOptions struct {
	lost   int
	timers time.Duration
	fence  time.Duration // 0: as it is by default
}

// run runs a line of the shell and returns what it prints.
func run(t *testing.T, line string, input ...string) string {
	t.Helper()
	cmd := exec.Command("sh", "-c", line)
	cmd.Stdin = strings.NewReader(strings.Join(input, ""))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", line, err, out)
	}
	return string(out)
}

func startPurgeFleet(t *testing.T, o purgeFleetOptions) *purgeFleet {
	t.Helper()
	f := &purgeFleet{client: newPurgeClient(5*time.Second, 30*time.Second)}
	origin := &http.Server{Handler: http.HandlerFunc(f.serve), ReadHeaderTimeout: time.Minute}
	l, err := net.Listen("tcp", net.JoinHostPort(purgeOutside, "0"))
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = origin.Serve(l) }()
	t.Cleanup(func() { _ = origin.Close() })
	var routes, servers []string
	for i := range purgeServers {
		routes = append(routes, net.JoinHostPort(purgeIP(i), "6222"))
		servers = append(servers, net.JoinHostPort(purgeIP(i), "4222"))
	}
	for i, name := range purgeNetwork(t, o.lost) {
		bus := map[string]any{"user": "weir", "password": "measured", "retransmit_min": o.timers.String()}
		if i < purgeServers {
			bus["address"], bus["cluster"] = servers[i], map[string]any{"address": routes[i], "routes": routes}
		} else {
			bus["servers"] = slices.Concat(servers[i%purgeServers:], servers[:i%purgeServers])
		}
		cdn := map[string]any{"cache": map[string]any{"disk_bytes": 64 << 20, "segment_bytes": 4 << 20, "max_object_bytes": 1 << 20, "capacity_bytes": 64 << 20}}
		if o.fence > 0 {
			cdn["purge"] = map[string]any{"fence_after": o.fence.String()}
		}
		e := purgeEdge{name: name, public: net.JoinHostPort(purgeIP(i), "8080"), private: net.JoinHostPort(purgeIP(i), "8090")}
		e.start(t, "http://"+l.Addr().String(), map[string]any{"node": map[string]any{"id": name}, "bus": bus, "cdn": cdn})
		f.edges = append(f.edges, e)
	}
	f.awaitReady(t)
	return f
}

// start starts the program in the namespace that has the edge's name.
func (e purgeEdge) start(t *testing.T, origin string, config map[string]any) {
	t.Helper()
	program, err := filepath.Abs(*binary)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	text, err := json.Marshal(config) // which is YAML too
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "weir.yaml"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("ip", "netns", "exec", e.name, program, "serve", "--role", "edge", "--origin", origin,
		"--listen", e.public, "--private", e.private, "--data", filepath.Join(dir, "data"))
	cmd.Dir = dir
	cmd.Env = slices.DeleteFunc(os.Environ(), func(entry string) bool { return strings.HasPrefix(entry, "WEIR_") })
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s:\n%s", e.name, log.Bytes()[max(0, log.Len()-5_000):])
		}
	})
}

// awaitReady waits until each edge serves and knows of all others.
func (f *purgeFleet) awaitReady(t *testing.T) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for i, edge := range f.edges {
		for {
			purged, err := f.purge(t.Context(), i, 0, time.Second)
			if err == nil && len(purged.Confirmed) == purgeEdges {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s is not ready: confirmed by %v, %v", edge.name, purged.Confirmed, err)
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
}

// serve is the origin.
func (f *purgeFleet) serve(w http.ResponseWriter, r *http.Request) {
	object, err := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/"))
	if err != nil || object < 0 || object >= purgeObjects {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Cache-Control", "max-age=86400")
	fmt.Fprint(w, f.version[object].Load())
}

func (f *purgeFleet) versions() []uint64 {
	all := make([]uint64, purgeObjects)
	for i := range all {
		all[i] = f.version[i].Load()
	}
	return all
}

type purgeClient struct{ http.Client }

func newPurgeClient(connect, whole time.Duration) *purgeClient {
	return &purgeClient{http.Client{Timeout: whole, Transport: &http.Transport{
		MaxIdleConnsPerHost: 64, DialContext: (&net.Dialer{Timeout: connect}).DialContext,
	}}}
}

func (c *purgeClient) transport() *http.Transport { return c.Transport.(*http.Transport) }

// get returns which version of an object an edge answers with, and whether it had it.
func (f *purgeFleet) get(ctx context.Context, client *purgeClient, edge, object int) (version uint64, hit bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprint("http://", f.edges[edge].public, "/", object), nil)
	if err != nil {
		return 0, false, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, false, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return 0, false, errors.New(resp.Status)
	}
	_, err = fmt.Fscan(resp.Body, &version)
	return version, strings.Contains(resp.Header.Get("Cache-Status"), "; hit"), err
}

// fill has every edge keep every object.
func (f *purgeFleet) fill(t *testing.T) {
	t.Helper()
	for edge := range f.edges {
		for object := range purgeObjects {
			for hit := false; !hit; {
				var err error
				if _, hit, err = f.get(t.Context(), f.client, edge, object); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

// view has viewers ask each edge for one object after the other, who fill what was emptied, at any moment.
func (f *purgeFleet) view(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var viewers sync.WaitGroup
	for edge := range f.edges {
		viewers.Go(func() {
			for object := 0; ctx.Err() == nil; object = (object + 1) % purgeObjects {
				if _, hit, err := f.get(ctx, f.client, edge, object); err == nil {
					f.viewed.Add(1)
					if hit {
						f.hits.Add(1)
					}
				}
				time.Sleep(time.Millisecond)
			}
		})
	}
	return func() { cancel(); viewers.Wait() }
}

// purgeAnswer is what an edge answers to whoever purges.
type purgeAnswer struct {
	rest.PurgeReport // which a problem has as well
	took             time.Duration
}

// purge asks an edge to purge an object from all.
func (f *purgeFleet) purge(ctx context.Context, edge, object int, wait time.Duration) (a purgeAnswer, err error) {
	order, err := json.Marshal(rest.PurgeOrder{Purges: []rest.PurgeItem{{Scope: "url", Target: fmt.Sprint("/", object)}}, Wait: wait.String()})
	if err != nil {
		return a, err
	}
	began := time.Now()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+f.edges[edge].private+"/api/v1/cdn/cache/purge", bytes.NewReader(order))
	if err != nil {
		return a, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := f.client.Do(req)
	if err != nil {
		return a, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	a.took = time.Since(began)
	if err != nil {
		return a, err
	}
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusGatewayTimeout {
		return a, fmt.Errorf("%s: %s", resp.Status, text)
	}
	if err := json.Unmarshal(text, &a.PurgeReport); err != nil {
		return a, err
	}
	if got := len(a.Confirmed) + len(a.Missing); got > purgeEdges {
		return a, fmt.Errorf("%d edges are known, want %d at most: %s", got, purgeEdges, text)
	}
	return a, nil
}
