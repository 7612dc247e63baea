package purge

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-stream/weir/internal/cdn"
	"github.com/weir-stream/weir/internal/natsserver"
)

func TestAllNodesConfirm(t *testing.T) {
	bus := startBus(t, "bus", t.TempDir(), nil)
	var nodes []*node
	for _, name := range names(1, 4) {
		nodes = append(nodes, start(t, nodeSettings{name: name, conn: connect(t, bus), dir: t.TempDir()}))
	}
	for i, p := range []cdn.Purge{
		{Scope: cdn.PurgeURL, Target: "/live/tv/1.m4s?a=b", Host: "tv.example"},
		{Scope: cdn.PurgePrefix, Target: "/live/tv/", Soft: true},
		{Scope: cdn.PurgeTag, Target: "sport", By: "ops"},
		{Scope: cdn.PurgeAll},
	} {
		from := nodes[i%len(nodes)]
		result := from.purge(t, patience, p)
		if diff := cmp.Diff(names(1, 4), result.Confirmed); diff != "" || len(result.Missing) > 0 {
			t.Fatalf("purge %v: confirmed (-want +got)\n%s missing %v", p, diff, result.Missing)
		}
		// Confirmed means applied: there is nothing to wait for.
		for _, n := range nodes {
			all := n.applier.all()
			got := all[len(all)-1]
			p.ID, p.Sequence, p.Time = result.ID, result.Sequence, got.Time
			if diff := cmp.Diff(p, got); diff != "" || got.Time.IsZero() {
				t.Errorf("%s applied (-want +got)\n%s", n.set.Node, diff)
			}
		}
	}
}

func TestANodeThatDoesNotApplyIsNamed(t *testing.T) {
	bus := startBus(t, "bus", t.TempDir(), nil)
	asking := start(t, nodeSettings{name: "edge-1", conn: connect(t, bus)})
	slow := start(t, nodeSettings{name: "edge-2", conn: connect(t, bus)})
	slow.applier.set(func() { slow.applier.fail = errDisk })
	result := asking.purge(t, brief, tag("a"))
	if !slices.Equal(result.Missing, []string{"edge-2"}) || !slices.Equal(result.Confirmed, []string{"edge-1"}) {
		t.Fatalf("result = %+v, want edge-2 missing", result)
	}
	// It is not given up, and nothing overtakes it.
	slow.applier.set(func() { slow.applier.fail = nil })
	if result = asking.purge(t, patience, tag("b")); len(result.Missing) > 0 {
		t.Fatalf("result = %+v, want all confirmed", result)
	}
	if got := slow.applier.targets(); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("applied %v, want a b", got)
	}
}

func TestANodeThatWasAwayCatchesUpBeforeItServes(t *testing.T) {
	bus := startBus(t, "bus", t.TempDir(), nil)
	here := start(t, nodeSettings{name: "edge-1", conn: connect(t, bus)})
	dir, objects := t.TempDir(), newApplier()
	away := start(t, nodeSettings{name: "edge-2", conn: connect(t, bus), dir: dir, applier: objects})
	if got := objects.everything(); got != 1 {
		t.Errorf("a node that remembers nothing purged everything %d times, want once", got)
	}
	here.purge(t, patience, tag("a"))
	away.crash(t)
	asking, stop := context.WithTimeout(t.Context(), brief)
	defer stop()
	for _, o := range here.PurgeMany(asking, []cdn.Purge{tag("b"), tag("c"), tag("d")}) {
		if o.Err != nil || !slices.Equal(o.Result.Missing, []string{"edge-2"}) {
			t.Fatalf("outcome = %+v, want edge-2, which has crashed, missing", o)
		}
	}
	back := newNode(t, nodeSettings{name: "edge-2", conn: connect(t, bus), dir: dir, applier: objects})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := back.CatchUp(ctx); err != nil {
		t.Fatal(err)
	}
	if got := slices.Sorted(slices.Values(objects.targets())); !slices.Equal(got, []string{"a", "b", "c", "d"}) || objects.everything() != 1 {
		t.Errorf("applied %v and everything %d times when CatchUp returned, want a b c d and once", got, objects.everything())
	}
	back.run(t)
	if result := here.purge(t, patience, tag("e")); len(result.Missing) > 0 {
		t.Errorf("result = %+v, want all confirmed: the new process stands for the old one", result)
	}
}

// What is not told in time is told when somebody asks: a confirmation that was lost costs a moment only.
func TestANodeThatHasLeftIsNotWaitedFor(t *testing.T) {
	bus := startBus(t, "bus", t.TempDir(), nil)
	here := start(t, nodeSettings{name: "edge-1", conn: connect(t, bus)})
	gone := start(t, nodeSettings{name: "edge-2", conn: connect(t, bus)})
	if got := here.purge(t, patience, tag("a")).Confirmed; !slices.Equal(got, names(1, 2)) {
		t.Fatalf("confirmed %v, want both", got)
	}
	gone.stop(t)
	result := here.purge(t, patience, tag("b"))
	if !slices.Equal(result.Confirmed, names(1, 1)) || len(result.Missing) > 0 {
		t.Errorf("result = %+v, want edge-1 only", result)
	}
}

func TestAPurgeThatIsSentTwiceIsOne(t *testing.T) {
	for name, conn := range map[string]func(t *testing.T) nodeSettings{
		"with a bus": func(t *testing.T) nodeSettings {
			return nodeSettings{name: "edge-1", conn: connect(t, startBus(t, "bus", t.TempDir(), nil))}
		},
		"without one": func(*testing.T) nodeSettings { return nodeSettings{name: "edge-1"} },
	} {
		t.Run(name, func(t *testing.T) {
			n := start(t, conn(t))
			p := tag("a")
			p.ID = "one"
			first := n.purge(t, patience, p)
			second := n.purge(t, patience, p)
			if first.Sequence != second.Sequence || !slices.Equal(n.applier.targets(), []string{"a"}) {
				t.Errorf("sequences %d and %d, applied %v; want the same and once", first.Sequence, second.Sequence, n.applier.targets())
			}
		})
	}
}

func TestANodeWithoutABusIsTheFleet(t *testing.T) {
	dir := t.TempDir()
	n := start(t, nodeSettings{name: "edge-1", dir: dir})
	n.purge(t, patience, tag("a"))
	result := n.purge(t, patience, tag("b"))
	if result.Sequence != 2 || !slices.Equal(result.Confirmed, names(1, 1)) || !n.Current() {
		t.Errorf("result = %+v, want the second, confirmed by edge-1", result)
	}
	n.applier.set(func() { n.applier.fail = errDisk })
	if _, err := n.Purge(t.Context(), tag("c")); !errors.Is(err, ErrNotApplied) || !errors.Is(err, errDisk) {
		t.Errorf("error = %v, want ErrNotApplied with its cause", err)
	}
	n.stop(t)
	again := start(t, nodeSettings{name: "edge-1", dir: dir})
	if result := again.purge(t, patience, tag("d")); result.Sequence != 3 {
		t.Errorf("sequence after a restart = %d, want 3", result.Sequence)
	}
}

func TestManyAtOnce(t *testing.T) {
	bus := startBus(t, "bus", t.TempDir(), nil)
	here := start(t, nodeSettings{name: "edge-1", conn: connect(t, bus)})
	there := start(t, nodeSettings{name: "edge-2", conn: connect(t, bus)})
	var purges []cdn.Purge
	for i := range 1000 {
		purges = append(purges, tag(fmt.Sprint(i)))
	}
	purges[500] = cdn.Purge{Scope: "tags", Target: "x"}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for i, o := range here.PurgeMany(ctx, purges) {
		switch {
		case i == 500 && !errors.Is(o.Err, ErrInvalid):
			t.Errorf("purge 500: %v, want ErrInvalid", o.Err)
		case i != 500 && (o.Err != nil || !slices.Equal(o.Result.Confirmed, names(1, 2))):
			t.Fatalf("purge %d: %+v", i, o)
		}
	}
	if got := len(there.applier.targets()); got != 999 {
		t.Errorf("applied %d, want 999", got)
	}
	if !slices.IsSortedFunc(there.applier.all(), func(a, b cdn.Purge) int { return int(a.Sequence) - int(b.Sequence) }) {
		t.Error("not applied in the order of the sequence")
	}
}

func TestSomebodyWhoOnlyAsks(t *testing.T) {
	bus := startBus(t, "bus", t.TempDir(), nil)
	edge := start(t, nodeSettings{name: "edge-1", conn: connect(t, bus)})
	console := start(t, nodeSettings{name: "console", conn: connect(t, bus), change: func(s *Settings) { s.Apply = nil }})
	result := console.purge(t, patience, tag("a"))
	if !slices.Equal(result.Confirmed, names(1, 1)) || len(result.Missing) > 0 || !slices.Equal(edge.applier.targets(), []string{"a"}) {
		t.Errorf("result = %+v, want edge-1", result)
	}
}

// The server forgets nothing when it starts anew, and the nodes find it again.
func TestTheServerStartsAnew(t *testing.T) {
	dir, address := t.TempDir(), "127.0.0.1:0"
	listening := func(c *natsserver.Config) { c.Address = address }
	first := startBus(t, "bus", dir, listening)
	address = first.Addr()
	remote := startBus(t, "remote", "", func(c *natsserver.Config) { c.Servers = []string{address} })
	nodes := []*node{
		start(t, nodeSettings{name: "edge-1", conn: connect(t, remote), dir: t.TempDir()}),
		start(t, nodeSettings{name: "edge-2", conn: connect(t, remote), dir: t.TempDir()}),
	}
	before := nodes[0].purge(t, patience, tag("a"))
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := nodes[0].Purge(ctx, tag("lost")); !errors.Is(err, ErrNotStored) {
		t.Errorf("without a server: %v, want ErrNotStored", err)
	}
	startBus(t, "bus", dir, listening)
	after := nodes[0].purge(t, patience, tag("b"))
	if after.Sequence <= before.Sequence || !slices.Equal(after.Confirmed, names(1, 2)) {
		t.Errorf("before %+v, after %+v; want a greater sequence and both", before, after)
	}
	for _, n := range nodes {
		if got := n.applier.everything(); got != 1 {
			t.Errorf("%s purged everything %d times, want once, at its first start", n.set.Node, got)
		}
	}
}

// A log that has lost what a node has applied, or is another one, cannot say what the node has missed.
func TestALogThatDoesNotReachTheNodePurgesEverything(t *testing.T) {
	for name, lose := range map[string]func(t *testing.T, here *node, away string) *node{
		"the log is another one": func(t *testing.T, here *node, _ string) *node {
			if err := here.js.DeleteStream(t.Context(), streamName); err != nil {
				t.Fatal(err)
			}
			return here
		},
		"the log does not reach back": func(t *testing.T, here *node, _ string) *node {
			for i := range 3 {
				here.purge(t, 200*time.Millisecond, tag(fmt.Sprint("unseen-", i)))
			}
			stream, err := here.js.Stream(t.Context(), streamName)
			if err != nil {
				t.Fatal(err)
			}
			if err := stream.Purge(t.Context()); err != nil {
				t.Fatal(err)
			}
			return here
		},
		"the log has another end": func(t *testing.T, here *node, dir string) *node {
			at := here.keeper.latest
			at.ID = "of a message that the server has lost"
			if err := writePosition(dir, at); err != nil {
				t.Fatal(err)
			}
			return here
		},
		"the log has lost its end": func(t *testing.T, here *node, dir string) *node {
			at := here.keeper.latest
			at.Sequence += 100
			if err := writePosition(dir, at); err != nil {
				t.Fatal(err)
			}
			return here
		},
	} {
		t.Run(name, func(t *testing.T) {
			bus := startBus(t, "bus", t.TempDir(), nil)
			here := start(t, nodeSettings{name: "edge-1", conn: connect(t, bus)})
			dir, objects := t.TempDir(), newApplier()
			away := start(t, nodeSettings{name: "edge-2", conn: connect(t, bus), dir: dir, applier: objects})
			here.purge(t, patience, tag("a"))
			away.crash(t)
			lose(t, here, dir)
			start(t, nodeSettings{name: "edge-2", conn: connect(t, bus), dir: dir, applier: objects})
			if got := objects.everything(); got != 2 {
				t.Errorf("purged everything %d times, want at the first start and now", got)
			}
			if p := objects.all(); p[len(p)-1].Soft {
				t.Error("everything was purged softly")
			}
		})
	}
}

func TestAThingThatCannotBeReadPurgesEverything(t *testing.T) {
	bus := startBus(t, "bus", t.TempDir(), nil)
	n := start(t, nodeSettings{name: "edge-1", conn: connect(t, bus)})
	if _, err := n.js.Publish(t.Context(), purgeSubject, []byte(`{"scope":"planet","id":"x"}`)); err != nil {
		t.Fatal(err)
	}
	n.applier.until(t, "everything", func() bool { return n.applier.everything() == 2 })
	if result := n.purge(t, patience, tag("a")); len(result.Missing) > 0 {
		t.Errorf("result = %+v, want confirmed", result)
	}
}

func TestAClusterOfThreeGoesOnWithTwo(t *testing.T) {
	buses := trio(t)
	var nodes []*node
	for i, b := range buses {
		nodes = append(nodes, start(t, nodeSettings{
			name: names(i+1, i+1)[0], conn: connect(t, b), dir: t.TempDir(), change: func(s *Settings) { s.Replicas = 3 },
		}))
	}
	first := nodes[0].purge(t, patience, tag("a"))
	if !slices.Equal(first.Confirmed, names(1, 3)) {
		t.Fatalf("confirmed %v, want all three", first.Confirmed)
	}
	nodes[2].crash(t)
	if err := buses[2].Close(); err != nil {
		t.Fatal(err)
	}
	p := tag("b")
	p.ID = "b" // the vote for a new leader may take longer than one question
	for deadline := time.Now().Add(patience); ; {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		result, err := nodes[0].Purge(ctx, p)
		cancel()
		if err == nil && slices.Equal(result.Confirmed, names(1, 2)) && slices.Equal(result.Missing, names(3, 3)) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("result = %+v, %v; want edge-3 missing", result, err)
		}
	}
}

func TestInvalid(t *testing.T) {
	n := start(t, nodeSettings{name: "edge-1"})
	for name, c := range map[string]struct {
		purge cdn.Purge
		says  string
	}{
		"a scope that does not exist": {cdn.Purge{Scope: "tags"}, "url, prefix, tag or all is expected"},
		"an id with a space":          {cdn.Purge{Scope: cdn.PurgeAll, ID: "a b"}, "printable"},
		"an id without end":           {cdn.Purge{Scope: cdn.PurgeAll, ID: strings.Repeat("a", 129)}, "128"},
		"bytes that are no text":      {cdn.Purge{Scope: cdn.PurgeURL, Target: "/\xff"}, "not UTF-8"},
		"a host without end":          {cdn.Purge{Scope: cdn.PurgeURL, Target: "/", Host: strings.Repeat("a", 256)}, "255"},
	} {
		if _, err := n.Purge(t.Context(), c.purge); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want ErrInvalid that says %q", name, err, c.says)
		}
	}
	for _, name := range []string{"", "a b", "a*", ">", ".a", "a..b"} {
		if _, err := New(Settings{Config: DefaultConfig(), Node: name, Apply: newApplier()}); err == nil {
			t.Errorf("a node called %q is accepted", name)
		}
	}
	if _, err := New(Settings{Config: DefaultConfig(), Node: "edge-1"}); err == nil {
		t.Error("a node without bus and cache is accepted")
	}
}
