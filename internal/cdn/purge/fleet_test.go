package purge

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/weir-stream/weir/internal/cdn"
)

func isDone(w *waiter) bool {
	select {
	case <-w.done:
		return true
	default:
		return false
	}
}

func TestWhoHasToConfirm(t *testing.T) {
	const log = 7
	for name, c := range map[string]struct {
		announced []announcement // in the order of the log, the purge at 10 between them
		reports   []report
		want      bool
	}{
		"nobody else":                    {want: true},
		"one that has not":               {announced: []announcement{{Kind: kindJoin, Node: "a", Instance: "1", sequence: 5}}},
		"one that has":                   {announced: []announcement{{Kind: kindJoin, Node: "a", Instance: "1", sequence: 5}}, reports: []report{{Instance: "1", Log: log, Applied: 10}}, want: true},
		"one that has not come so far":   {announced: []announcement{{Kind: kindJoin, Node: "a", Instance: "1", sequence: 5}}, reports: []report{{Instance: "1", Log: log, Applied: 9}}},
		"one that speaks of another log": {announced: []announcement{{Kind: kindJoin, Node: "a", Instance: "1", sequence: 5}}, reports: []report{{Instance: "1", Log: log - 1, Applied: 99}}},
		"one that joins later":           {announced: []announcement{{Kind: kindJoin, Node: "a", Instance: "1", sequence: 11}}, want: true},
		"one that has served before":     {announced: []announcement{{Kind: kindStay, Node: "a", Instance: "1", sequence: 11}}},
		"one that joined and stays":      {announced: []announcement{{Kind: kindJoin, Node: "a", Instance: "1", sequence: 5}, {Kind: kindStay, Node: "a", Instance: "1", sequence: 11}}},
		"one that has left":              {announced: []announcement{{Kind: kindJoin, Node: "a", Instance: "1", sequence: 5}, {Kind: kindLeave, Node: "a", Instance: "1", sequence: 11}}, want: true},
		"one that has started anew":      {announced: []announcement{{Kind: kindJoin, Node: "a", Instance: "1", Home: "h", sequence: 5}, {Kind: kindJoin, Node: "a", Instance: "2", Home: "h", Alone: true, sequence: 11}}, want: true},
		"another of the same name": {announced: []announcement{
			{Kind: kindJoin, Node: "a", Instance: "1", Home: "h", Alone: true, sequence: 5}, {Kind: kindJoin, Node: "a", Instance: "2", Home: "i", Alone: true, sequence: 6},
		}, reports: []report{{Instance: "2", Log: log, Applied: 10}}},
		"one whose successor is beside it": {announced: []announcement{{Kind: kindJoin, Node: "a", Instance: "1", sequence: 5}, {Kind: kindJoin, Node: "a", Instance: "2", sequence: 11}}},
		"another node that started anew":   {announced: []announcement{{Kind: kindJoin, Node: "a", Instance: "1", sequence: 5}, {Kind: kindJoin, Node: "b", Instance: "2", Alone: true, sequence: 11}}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFleet("own", time.Now)
			f.begin(log, 0, true, nil)
			w := f.wait(10)
			for _, a := range c.announced {
				f.read(a.sequence-1, nil)
				f.read(a.sequence, &a)
			}
			for _, r := range c.reports {
				f.confirm(r)
			}
			f.read(max(10, f.applied), nil)
			if _, missing := f.standing(10, "own", true); (len(missing) == 0) != c.want {
				t.Errorf("missing %v, want nobody: %v", missing, c.want)
			}
			// A waiter of before may have been let go when only those were there who had confirmed.
			if again := f.wait(10); isDone(again) != c.want {
				t.Errorf("a waiter waits: %v, want %v", !isDone(again), !c.want)
			}
			f.leave(w)
		})
	}
}

func TestAWaiterWaitsForThisNodeToo(t *testing.T) {
	f := newFleet("own", time.Now)
	f.begin(1, 9, true, nil)
	w := f.wait(10)
	if _, missing := f.standing(10, "here", false); isDone(w) || !slices.Equal(missing, []string{"here"}) {
		t.Errorf("done %v, missing %v; this node has not read so far", isDone(w), missing)
	}
	f.read(10, nil)
	if !isDone(w) {
		t.Error("nobody else is there, and it waits")
	}
}

// A log that has lost its end gives numbers a second time; what was confirmed by them is worth nothing.
func TestConfirmationsDoNotOutliveTheirLog(t *testing.T) {
	member := []announcement{{Kind: kindJoin, Node: "a", Instance: "1", sequence: 1}}
	for name, c := range map[string]struct{ same, want bool }{"the same log": {true, true}, "another end": {false, false}} {
		f := newFleet("own", time.Now)
		f.begin(1, 50, true, member)
		f.confirm(report{Instance: "1", Log: 1, Applied: 50})
		f.begin(1, 50, c.same, member)
		if w := f.wait(40); isDone(w) != c.want {
			t.Errorf("%s: confirmed %v, want %v", name, isDone(w), c.want)
		}
	}
}

// until waits for something that nobody is told of.
func until(t *testing.T, otherwise string, good func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !good(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatal(otherwise)
		}
	}
}

// Nobody is forgotten who may still answer from its cache.
func TestWhoMayServeIsNotForgotten(t *testing.T) {
	now := time.Now()
	f := newFleet("own", func() time.Time { return now })
	f.begin(1, 9, true, []announcement{
		{Kind: kindJoin, Node: "quick", Instance: "1", Fence: time.Minute, sequence: 1},
		{Kind: kindJoin, Node: "slow", Instance: "2", Fence: 2 * time.Hour, sequence: 2},
	})
	for after, want := range map[time.Duration]int{59 * time.Minute: 0, time.Hour: 1, 2*time.Hour + time.Minute: 1, 2*time.Hour + fenceMargin: 2} {
		f.now = func() time.Time { return now.Add(after) }
		if silent := f.silent(time.Hour); len(silent) != want {
			t.Errorf("after %v: %d are forgotten, want %d", after, len(silent), want)
		}
	}
}

// A node that hears nothing stops answering from its cache before the others take it for gone, and goes on when it has
// applied what it missed.
func TestACutOffNodeFencesItself(t *testing.T) {
	bus := startBus(t, "bus", t.TempDir(), nil)
	here := start(t, nodeSettings{name: "edge-1", conn: connect(t, bus)})
	if here.Fenced() {
		t.Fatal("it is fenced although it hears")
	}
	late := time.Duration(0)
	ahead := func(d time.Duration) {
		here.mu.Lock()
		defer here.mu.Unlock()
		late = d
		here.now = func() time.Time { return time.Now().Add(late) }
	}
	// The machine was suspended: what comes next may be old.
	ahead(here.config.FenceAfter + time.Second)
	if !here.Fenced() {
		t.Fatal("it is not fenced after so much time without a word")
	}
	// The log is read anew, from where it was verified to be.
	until(t, "it is fenced although it hears again", func() bool { return !here.Fenced() })
	here.mu.Lock()
	applied, target := here.position.Sequence, here.target
	here.mu.Unlock()
	if applied < target {
		t.Errorf("it serves again with %d applied of %d", applied, target)
	}
	here.conn.Close()
	until(t, "it hears although the connection is closed", func() bool { return !here.Current() })
	if here.Fenced() {
		t.Error("it is fenced at once")
	}
	ahead(2*here.config.FenceAfter + 2*time.Second)
	if !here.Fenced() {
		t.Error("it is not fenced although it is cut off")
	}
}

// The ID of a folder stays, and is no other's.
func TestFoldersHaveAnID(t *testing.T) {
	dir := t.TempDir()
	ids := make(map[string]bool)
	for _, d := range []string{dir, dir, t.TempDir(), ""} {
		k, err := openKeeper(d)
		if err != nil {
			t.Fatal(err)
		}
		ids[k.home] = true
	}
	if len(ids) != 3 || ids[""] {
		t.Errorf("the folders are %v", ids)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("in the folder are %v, %v", left, err)
	}
}

func TestTheSilentAreForgotten(t *testing.T) {
	bus := startBus(t, "bus", t.TempDir(), nil)
	here := start(t, nodeSettings{name: "edge-1", conn: connect(t, bus)})
	gone := start(t, nodeSettings{name: "edge-2", conn: connect(t, bus)})
	still := start(t, nodeSettings{name: "edge-3", conn: connect(t, bus)})
	if got := here.purge(t, patience, tag("a")).Confirmed; !slices.Equal(got, names(1, 3)) {
		t.Fatalf("confirmed %v, want all", got)
	}
	gone.crash(t)
	hour := func(ago time.Duration) {
		here.fleet.mu.Lock()
		defer here.fleet.mu.Unlock()
		for _, m := range here.fleet.members {
			m.heard = time.Now().Add(-ago)
		}
	}
	hour(59 * time.Minute)
	here.forget(t.Context())
	if result := here.purge(t, brief, tag("b")); !slices.Equal(result.Missing, []string{"edge-2"}) {
		t.Fatalf("missing %v after 59 minutes, want edge-2", result.Missing)
	}
	hour(time.Hour)
	here.forget(t.Context())
	// edge-3 was wrongly taken for gone: it sees that, and says so.
	for deadline := time.Now().Add(patience); ; {
		result := here.purge(t, patience, tag("c"))
		if slices.Equal(result.Confirmed, []string{"edge-1", "edge-3"}) && len(result.Missing) == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("result = %+v, want edge-1 and edge-3", result)
		}
	}
	if got := still.applier.targets(); got[0] != "a" || !slices.Contains(got, "c") {
		t.Errorf("edge-3 applied %v", got)
	}
}

// While a new process takes the place of an old one, which still finishes what it serves, both have to confirm.
func TestAProcessAndItsSuccessor(t *testing.T) {
	bus := startBus(t, "bus", t.TempDir(), nil)
	here := start(t, nodeSettings{name: "edge-1", conn: connect(t, bus)})
	dir := t.TempDir()
	old := start(t, nodeSettings{name: "edge-2", conn: connect(t, bus), dir: dir})
	here.purge(t, patience, tag("a"))
	start(t, nodeSettings{name: "edge-2", conn: connect(t, bus), dir: dir})
	if result := here.purge(t, patience, tag("b")); !slices.Equal(result.Confirmed, names(1, 2)) {
		t.Fatalf("confirmed %v, want both nodes", result.Confirmed)
	}
	old.applier.set(func() { old.applier.fail = errDisk })
	if result := here.purge(t, brief, tag("c")); !slices.Equal(result.Missing, []string{"edge-2"}) {
		t.Errorf("missing %v, want edge-2, whose old process has not applied it", result.Missing)
	}
	old.stop(t)
	if result := here.purge(t, patience, tag("d")); !slices.Equal(result.Confirmed, names(1, 2)) || len(result.Missing) > 0 {
		t.Errorf("result = %+v, want both: the old process has left", result)
	}
}

func TestThePositionIsRemembered(t *testing.T) {
	dir := t.TempDir()
	k, err := openKeeper(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := position{Log: 1, Sequence: 2, ID: "three"}
	k.set(want)
	if err := k.flush(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, positionFile)); err == nil {
		t.Error("it was written into a folder that another process may use")
	}
	if !k.own() {
		t.Fatal("the folder is nobody's and cannot be taken")
	}
	if err := k.close(); err != nil {
		t.Fatal(err)
	}
	again, err := openKeeper(dir)
	if err != nil || again.latest != want {
		t.Errorf("remembered %+v, %v; want %+v", again.latest, err, want)
	}
	// What a power failure may have left is nothing to rely on.
	for _, content := range []string{"", "{", "[]", "\x00\x00"} {
		if err := os.WriteFile(filepath.Join(dir, positionFile), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if k, err := openKeeper(dir); err != nil || k.latest != (position{}) {
			t.Errorf("%q: remembered %+v, %v; want nothing", content, k.latest, err)
		}
	}
}

func FuzzMessages(f *testing.F) {
	for _, seed := range []string{
		`{"id":"1","scope":"tag","target":"a","time":"2026-11-20T12:00:00Z"}`, `{"scope":"all"}`, `{"scope":"url","target":"x"}`,
		`{"kind":"join","node":"a","instance":"b","alone":true}`, `{"kind":"leave"}`, `null`, `[]`, ``,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if p, err := parsePurge(data, 5); err == nil {
			if p.Sequence != 5 || p.Validate() != nil {
				t.Errorf("%q is taken for %+v", data, p)
			}
			again, err := json.Marshal(p)
			if err != nil {
				t.Fatal(err)
			}
			if q, err := parsePurge(again, 5); err != nil || !samePurge(p, q) {
				t.Errorf("%+v is read again as %+v, %v", p, q, err)
			}
		}
		if a, err := parseAnnouncement(data, 5); err == nil && (a.sequence != 5 || a.Node == "" || a.Instance == "") {
			t.Errorf("%q is taken for %+v", data, a)
		}
	})
}

func samePurge(a, b cdn.Purge) bool {
	same := a.Time.Equal(b.Time)
	a.Time, b.Time = time.Time{}, time.Time{}
	return same && a == b
}
