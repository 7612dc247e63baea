package load

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/weir-stream/weir/internal/cdn"
	"github.com/weir-stream/weir/internal/cdn/purge"
	"github.com/weir-stream/weir/internal/natsserver"
)

// Eight edges, each in a network namespace of its own, whose packets are lost on the way: each edge drops
// that share of what reaches it, of messages and of acknowledgements alike. Three of them are the servers
// of the bus. Purges are asked of each in turn; after each confirmation all eight are read at once.
const (
	purgeEdges   = 8
	purgeServers = 3
	purgeWorkers = 4
	// purgeRole is the variable that makes this program an edge, and has its settings.
	purgeRole = "WEIR_LOAD_PURGE_EDGE"
)

func TestPurge(t *testing.T) {
	needMeasure(t)
	needNamespaces(t)
	for _, c := range []struct {
		name    string
		lost    int // of a hundred packets
		timers  time.Duration
		purges  int
		goal    bool
		explain string
	}{
		{"no loss", 0, natsserver.DefaultConfig().RetransmitMin, 1000, true, ""},
		{"10 % loss", 10, natsserver.DefaultConfig().RetransmitMin, 1000, true, ""},
		{"10 % loss, TCP's own timers", 10, 0, 200, false, "for comparison: what a kernel before Linux 6.15 does"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := startPurgeFleet(t, c.lost, c.timers)
			durations, missing := f.purge(t, c.purges)
			slices.Sort(durations)
			at := func(share float64) time.Duration {
				return durations[min(len(durations)-1, int(share*float64(len(durations))))]
			}
			if dropped := f.dropped(t); (dropped == 0) != (c.lost == 0) {
				t.Errorf("%d packets were dropped; the measurement is not what it says", dropped)
			}
			t.Logf("%d purges, %d %% of packets lost, %d edges: p50 %v, p90 %v, p99 %v, max %v; %d not confirmed by all within %v; %d stale of %d answers; %d answers while purging %s",
				c.purges, c.lost, purgeEdges, round(at(.5)), round(at(.9)), round(at(.99)), round(durations[len(durations)-1]), missing, purgeWait, f.stale.Load(), f.asked.Load(), f.viewed.Load(), c.explain)
			if f.stale.Load() > 0 {
				t.Errorf("%d answers after the confirmation were of before it", f.stale.Load())
			}
			if c.goal && (at(.5) > 150*time.Millisecond || at(.99) > 2*time.Second) {
				t.Errorf("p50 %v and p99 %v; at most 150ms and 2s are the goal", at(.5), at(.99))
			}
		})
	}
}

const purgeWait = 10 * time.Second

func round(d time.Duration) time.Duration { return d.Round(100 * time.Microsecond) }

// needNamespaces skips the test where there can be no network namespaces, and says so.
func needNamespaces(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("NOT MEASURED: network namespaces need root")
	}
	for _, program := range []string{"ip", "nft"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("NOT MEASURED: %v (apt-get install iproute2 nftables)", err)
		}
	}
}

func run(t *testing.T, line string, input ...string) {
	t.Helper()
	cmd := exec.Command("sh", "-c", line)
	cmd.Stdin = strings.NewReader(strings.Join(input, ""))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", line, err, out)
	}
}

// purgeNetwork joins namespaces by a bridge, which has a namespace too; nothing of this machine's own network
// is touched. It returns the names of the namespaces.
func purgeNetwork(t *testing.T, lost int) []string {
	t.Helper()
	prefix := fmt.Sprintf("weirpurge%d", os.Getpid())
	bridge := prefix + "br"
	remove := func(name string) { _ = exec.Command("ip", "netns", "del", name).Run() }
	run(t, "ip netns add "+bridge)
	t.Cleanup(func() { remove(bridge) })
	run(t, fmt.Sprintf("ip -n %[1]s link add br0 type bridge && ip -n %[1]s link set br0 up", bridge))
	var all []string
	for i := range purgeEdges {
		name := fmt.Sprint(prefix, "e", i)
		run(t, "ip netns add "+name)
		t.Cleanup(func() { remove(name) })
		run(t, fmt.Sprintf(`set -e
ip -n %[1]s link set lo up
ip -n %[1]s link add eth0 type veth peer name p%[3]d netns %[2]s
ip -n %[2]s link set p%[3]d master br0 up
ip -n %[1]s addr add %[4]s/24 dev eth0
ip -n %[1]s link set eth0 up
ip -n %[1]s route replace 10.77.0.0/24 dev eth0 src %[4]s congctl cubic`, name, bridge, i, purgeIP(i)))
		if lost > 0 {
			run(t, "ip netns exec "+name+" nft -f -", fmt.Sprintf(
				`table inet loss { chain in { type filter hook input priority 0; policy accept; iifname "eth0" numgen random mod 100 < %d counter drop; }; }`, lost))
		}
		all = append(all, name)
	}
	return all
}

func purgeIP(edge int) string { return fmt.Sprint("10.77.0.", edge+1) }

// purgeFleet is the edges under measurement, and the origin.
type purgeFleet struct {
	namespaces []string

	edges   []*http.Client
	version [64]atomic.Uint64 // of the origin's objects

	stale, asked, viewed atomic.Int64
}

// purgeEdge is what an edge's process is told.
type purgeEdge struct {
	Name    string
	Dir     string
	Control string // socket for requests; files are the same in all namespaces, and nothing is lost there
	Origin  string
	Bus     natsserver.Config
}

func startPurgeFleet(t *testing.T, lost int, timers time.Duration) *purgeFleet {
	t.Helper()
	namespaces := purgeNetwork(t, lost)
	dir, err := os.MkdirTemp("", "weirpurge") // short: the path of a socket has 107 bytes at most
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	f := &purgeFleet{namespaces: namespaces}
	originSocket := filepath.Join(dir, "origin")
	l, err := net.Listen("unix", originSocket)
	if err != nil {
		t.Fatal(err)
	}
	origin := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var object int
		_, _ = fmt.Sscanf(r.URL.Path, "/%d", &object)
		fmt.Fprint(w, f.version[object].Load())
	})}
	go func() { _ = origin.Serve(l) }()
	t.Cleanup(func() { _ = origin.Close() })

	var routes, servers []string
	for i := range purgeServers {
		routes = append(routes, net.JoinHostPort(purgeIP(i), "6222"))
		servers = append(servers, net.JoinHostPort(purgeIP(i), "4222"))
	}
	for i, namespace := range namespaces {
		e := purgeEdge{
			Name: fmt.Sprint("edge-", i), Dir: filepath.Join(dir, fmt.Sprint(i)), Control: filepath.Join(dir, fmt.Sprint("c", i)),
			Origin: originSocket, Bus: natsserver.DefaultConfig(),
		}
		e.Bus.RetransmitMin = timers
		if i < purgeServers {
			e.Bus.Address, e.Bus.Cluster.Address, e.Bus.Cluster.Routes = net.JoinHostPort(purgeIP(i), "4222"), net.JoinHostPort(purgeIP(i), "6222"), routes
		} else {
			e.Bus.Servers = slices.Concat(servers[i%purgeServers:], servers[:i%purgeServers])
		}
		f.edges = append(f.edges, startPurgeEdge(t, namespace, e))
	}
	deadline := time.Now().Add(90 * time.Second)
	for i, client := range f.edges {
		for {
			resp, err := client.Get("http://edge/ready")
			if err == nil {
				_ = resp.Body.Close()
				if resp.StatusCode == http.StatusOK {
					break
				}
			}
			if time.Now().After(deadline) {
				t.Fatalf("edge %d is not ready: %v", i, err)
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	return f
}

func startPurgeEdge(t *testing.T, namespace string, e purgeEdge) *http.Client {
	t.Helper()
	settings, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("ip", "netns", "exec", namespace, os.Args[0], "-test.run=^TestPurgeEdgeProcess$", "-test.timeout=30m")
	cmd.Env = append(os.Environ(), purgeRole+"="+string(settings))
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
			t.Logf("%s:\n%s", e.Name, &log)
		}
	})
	return unixClient(e.Control)
}

func unixClient(socket string) *http.Client {
	return &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		MaxIdleConnsPerHost: 64,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}
}

// dropped returns how many packets the edges have dropped.
func (f *purgeFleet) dropped(t *testing.T) (packets int) {
	t.Helper()
	for _, namespace := range f.namespaces {
		out, err := exec.Command("ip", "netns", "exec", namespace, "nft", "list", "ruleset").Output()
		if err != nil {
			t.Fatal(err)
		}
		if _, after, ok := strings.Cut(string(out), "counter packets "); ok {
			n := 0
			_, _ = fmt.Sscan(after, &n)
			packets += n
		}
	}
	return packets
}

// get returns which version of an object an edge answers with.
func (f *purgeFleet) get(edge, object int) (version uint64, err error) {
	resp, err := f.edges[edge].Get(fmt.Sprint("http://edge/get/", object))
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = fmt.Fscan(resp.Body, &version)
	return version, err
}

// purge changes objects and purges them, and returns how long the confirmations took.
func (f *purgeFleet) purge(t *testing.T, n int) (durations []time.Duration, missing int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var viewers sync.WaitGroup
	for edge := range f.edges { // who fill what was emptied, at any moment
		viewers.Go(func() {
			for object := 0; ctx.Err() == nil; object = (object + 1) % len(f.version) {
				if _, err := f.get(edge, object); err == nil {
					f.viewed.Add(1)
				}
				time.Sleep(time.Millisecond)
			}
		})
	}
	var mu sync.Mutex
	var next atomic.Int64
	var workers sync.WaitGroup
	for worker := range purgeWorkers {
		workers.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				object := worker + purgeWorkers*(i%(len(f.version)/purgeWorkers)) // each has its own
				version := f.version[object].Add(1)
				took, names, err := f.purgeOne(i%purgeEdges, object)
				if err != nil {
					t.Errorf("purge %d: %v", i, err)
					continue
				}
				f.check(t, object, version, names)
				mu.Lock()
				durations = append(durations, took)
				missing += min(1, len(names))
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	cancel()
	viewers.Wait()
	if len(durations) == 0 {
		t.Fatal("nothing was purged")
	}
	return durations, missing
}

func (f *purgeFleet) purgeOne(edge, object int) (took time.Duration, missing []string, err error) {
	began := time.Now()
	resp, err := f.edges[edge].Post(fmt.Sprint("http://edge/purge/", object), "", nil)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	took = time.Since(began)
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(resp.Body)
		return 0, nil, fmt.Errorf("%s: %s", resp.Status, text)
	}
	var result purge.Result
	if err := json.NewDecoder(resp.Body).Decode(&result); err != nil {
		return 0, nil, err
	}
	if got := len(result.Confirmed) + len(result.Missing); got != purgeEdges {
		return 0, nil, fmt.Errorf("%d edges are known, want %d: %+v", got, purgeEdges, result)
	}
	return took, result.Missing, nil
}

// check reads the object from every edge that has confirmed, at once.
func (f *purgeFleet) check(t *testing.T, object int, version uint64, missing []string) {
	t.Helper()
	var all sync.WaitGroup
	for edge := range f.edges {
		if slices.Contains(missing, fmt.Sprint("edge-", edge)) {
			continue
		}
		all.Go(func() {
			got, err := f.get(edge, object)
			if err != nil {
				t.Errorf("edge-%d: %v", edge, err)
				return
			}
			f.asked.Add(1)
			if got < version {
				f.stale.Add(1)
			}
		})
	}
	all.Wait()
}

// TestPurgeEdgeProcess is no test: it is the edge that the measurement starts.
func TestPurgeEdgeProcess(t *testing.T) {
	settings := os.Getenv(purgeRole)
	if settings == "" {
		t.Skip("the measurement of purges starts it")
	}
	var e purgeEdge
	if err := json.Unmarshal([]byte(settings), &e); err != nil {
		t.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(t.Context(), os.Interrupt)
	defer stop()
	if err := e.run(ctx); err != nil && ctx.Err() == nil {
		t.Fatal(err)
	}
}

func (e purgeEdge) run(ctx context.Context) error {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	e.Bus.User, e.Bus.Password = "weir", "measured" // a password is not written into what the process was given
	bus, err := natsserver.New(natsserver.Settings{Config: e.Bus, Name: e.Name, Dir: e.Dir, Log: log})
	if err != nil {
		return err
	}
	defer bus.Close()
	conn, err := bus.Connect("purge")
	if err != nil {
		return err
	}
	defer conn.Close()
	objects := &versions{origin: unixClient(e.Origin), kept: make(map[string]uint64)}
	service, err := purge.New(purge.Settings{
		Config: purge.DefaultConfig(), Node: e.Name, Conn: conn, Replicas: bus.Replicas(), Apply: objects, Dir: filepath.Join(e.Dir, "purge"), Log: log,
	})
	if err != nil {
		return err
	}
	var ready atomic.Bool
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ready", func(w http.ResponseWriter, _ *http.Request) {
		if !ready.Load() || !service.Current() || len(service.Nodes()) < purgeEdges {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("GET /get/{object}", func(w http.ResponseWriter, r *http.Request) {
		version, err := objects.get(r.Context(), "/"+r.PathValue("object"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		fmt.Fprint(w, version)
	})
	mux.HandleFunc("POST /purge/{object}", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), purgeWait)
		defer cancel()
		result, err := service.Purge(ctx, cdn.Purge{Scope: cdn.PurgeURL, Target: "/" + r.PathValue("object")})
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		_ = json.NewEncoder(w).Encode(result)
	})
	l, err := net.Listen("unix", e.Control)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: mux}
	go func() { _ = server.Serve(l) }()
	defer server.Close()
	if err := service.CatchUp(ctx); err != nil {
		return err
	}
	ready.Store(true)
	return errors.Join(service.Run(ctx), nil)
}

// versions is the smallest cache that has the race of a real one: an answer of the origin that is on its
// way while its object is purged must not be kept.
type versions struct {
	origin *http.Client

	mu         sync.Mutex
	kept       map[string]uint64
	generation uint64
}

func (v *versions) Purge(p cdn.Purge) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.generation++
	if p.Scope == cdn.PurgeURL {
		delete(v.kept, p.Target)
	} else {
		clear(v.kept)
	}
	return nil
}

func (v *versions) get(ctx context.Context, path string) (uint64, error) {
	v.mu.Lock()
	version, ok := v.kept[path]
	before := v.generation
	v.mu.Unlock()
	if ok {
		return version, nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://origin"+path, nil)
	if err != nil {
		return 0, err
	}
	resp, err := v.origin.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if _, err := fmt.Fscan(resp.Body, &version); err != nil {
		return 0, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.generation == before {
		v.kept[path] = version
	}
	return version, nil
}
