package purge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/weir-stream/weir/internal/cdn"
	"github.com/weir-stream/weir/internal/natsserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	patience = 20 * time.Second
	// brief is how long it is waited for what will not come, and long enough for what will.
	brief = 2 * time.Second
)

// applier is a cache that notes what it was told to purge.
type applier struct {
	mu      sync.Mutex
	purges  []cdn.Purge
	fail    error
	hold    chan struct{} // closed when it may go on; nil: at once
	changed chan struct{}
}

func newApplier() *applier { return &applier{changed: make(chan struct{})} }

func (a *applier) Purge(p cdn.Purge) error {
	a.mu.Lock()
	hold := a.hold
	a.mu.Unlock()
	if hold != nil {
		<-hold
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	defer func() { close(a.changed); a.changed = make(chan struct{}) }()
	if a.fail != nil {
		return a.fail
	}
	a.purges = append(a.purges, p)
	return nil
}

func (a *applier) set(change func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change()
}

func (a *applier) all() []cdn.Purge {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.purges)
}

// targets are the targets of what was purged by name.
func (a *applier) targets() []string {
	var all []string
	for _, p := range a.all() {
		if p.Scope != cdn.PurgeAll {
			all = append(all, p.Target)
		}
	}
	return all
}

// everything is how often everything was purged.
func (a *applier) everything() int {
	n := 0
	for _, p := range a.all() {
		if p.Scope == cdn.PurgeAll {
			n++
		}
	}
	return n
}

// until waits for the applier to be as it should.
func (a *applier) until(t *testing.T, what string, good func() bool) {
	t.Helper()
	deadline := time.After(patience)
	for {
		a.mu.Lock()
		changed := a.changed
		a.mu.Unlock()
		if good() {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("%s: not within %v; applied %v", what, patience, a.all())
		}
	}
}

func startBus(t *testing.T, name, dir string, change func(*natsserver.Config)) *natsserver.Server {
	t.Helper()
	c := natsserver.DefaultConfig()
	if change != nil {
		change(&c)
	}
	b, err := natsserver.New(natsserver.Settings{Config: c, Name: name, Dir: dir, Log: testLog(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func connect(t *testing.T, b *natsserver.Server) *nats.Conn {
	t.Helper()
	c, err := b.Connect("test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

type logWriter struct{ t *testing.T }

func (w logWriter) Write(p []byte) (int, error) {
	w.t.Logf("%s", p)
	return len(p), nil
}

func testLog(t *testing.T) *slog.Logger {
	if !testing.Verbose() {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(logWriter{t}, nil))
}

// node is one that runs.
type node struct {
	*Service
	applier *applier
	conn    *nats.Conn
	cancel  context.CancelFunc
	done    chan error
}

type nodeSettings struct {
	name, dir string
	conn      *nats.Conn
	applier   *applier
	change    func(*Settings)
}

func newNode(t *testing.T, n nodeSettings) *node {
	t.Helper()
	if n.applier == nil {
		n.applier = newApplier()
	}
	set := Settings{Config: DefaultConfig(), Node: n.name, Conn: n.conn, Apply: n.applier, Dir: n.dir, Log: testLog(t).With("node", n.name)}
	if n.change != nil {
		n.change(&set)
	}
	s, err := New(set)
	if err != nil {
		t.Fatal(err)
	}
	return &node{Service: s, applier: n.applier, conn: n.conn}
}

func (n *node) run(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	n.cancel, n.done = cancel, make(chan error, 1)
	go func() { n.done <- n.Run(ctx) }()
	t.Cleanup(func() { n.stop(t) })
}

// start runs the node, and returns when it may serve.
func start(t *testing.T, settings nodeSettings) *node {
	t.Helper()
	n := newNode(t, settings)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := n.CatchUp(ctx); err != nil {
		t.Fatal(err)
	}
	n.run(t)
	return n
}

func (n *node) stop(t *testing.T) {
	t.Helper()
	if n.cancel == nil {
		return
	}
	n.cancel()
	n.cancel = nil
	if err := <-n.done; err != nil {
		t.Errorf("%s: Run: %v", n.set.Node, err)
	}
}

// crash ends the node without a word to anybody.
func (n *node) crash(t *testing.T) {
	t.Helper()
	n.conn.Close()
	n.stop(t)
}

func tag(name string) cdn.Purge { return cdn.Purge{Scope: cdn.PurgeTag, Target: name} }

func (n *node) purge(t *testing.T, wait time.Duration, p cdn.Purge) Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	result, err := n.Purge(ctx, p)
	if err != nil {
		t.Fatalf("purge %v: %v", p, err)
	}
	return result
}

func names(from, to int) []string {
	var all []string
	for i := from; i <= to; i++ {
		all = append(all, fmt.Sprint("edge-", i))
	}
	return all
}

var errDisk = errors.New("disk")

// trio starts a cluster of three servers.
func trio(t *testing.T) []*natsserver.Server {
	t.Helper()
	var routes []string
	for range 3 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		routes = append(routes, l.Addr().String())
		l.Close()
	}
	dir := t.TempDir()
	var all []*natsserver.Server
	for i, address := range routes {
		all = append(all, startBus(t, fmt.Sprint("bus-", i), filepath.Join(dir, fmt.Sprint(i)), func(c *natsserver.Config) {
			c.Address, c.Cluster.Address, c.Cluster.Routes = "127.0.0.1:0", address, routes
		}))
	}
	return all
}
