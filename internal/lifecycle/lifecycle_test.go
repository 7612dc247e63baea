package lifecycle_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/weir-stream/weir/internal/lifecycle"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// diary records what happens, in order.
type diary struct {
	mu    sync.Mutex
	lines []string
}

func (d *diary) write(line string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, line)
}

func (d *diary) read() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.lines)
}

func (d *diary) part(name string, startTime, stopTime time.Duration) lifecycle.Part {
	return lifecycle.Part{Name: name, Run: func(ctx context.Context, ready func()) error {
		time.Sleep(startTime)
		d.write(name + " ready")
		ready()
		<-ctx.Done()
		time.Sleep(stopTime)
		d.write(name + " stopped")
		return nil
	}}
}

func TestPartsStartInOrderAndStopInReverse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d diary
		g := lifecycle.NewGroup(slog.New(slog.DiscardHandler))
		g.Add(d.part("store", 3*time.Second, time.Second))
		g.Add(d.part("bus", time.Second, 5*time.Second))
		g.Add(d.part("ingest", 0, 0))
		ctx, cancel := context.WithCancel(t.Context())
		err := g.Run(ctx, func() {
			d.write("started")
			if !g.Ready() {
				t.Error("the group has started but is not ready")
			}
			cancel()
		})
		if err != nil {
			t.Fatal(err)
		}
		want := []string{"store ready", "bus ready", "ingest ready", "started", "ingest stopped", "bus stopped", "store stopped"}
		if diff := cmp.Diff(want, d.read()); diff != "" {
			t.Error(diff)
		}
		if g.Ready() {
			t.Error("the group has stopped but says it is ready")
		}
	})
}

func TestABrokenPartStopsTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d diary
		g := lifecycle.NewGroup(slog.New(slog.DiscardHandler))
		g.Add(d.part("store", 0, 0))
		g.Add(lifecycle.Service("edge", func(context.Context) error {
			time.Sleep(time.Minute)
			return errors.New("the listener went away")
		}))
		err := g.Run(t.Context(), func() {})
		if err == nil || err.Error() != "edge: the listener went away" {
			t.Errorf("err = %v", err)
		}
		if diff := cmp.Diff([]string{"store ready", "store stopped"}, d.read()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestNothingIsStartedAfterAPartThatCannotStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d diary
		g := lifecycle.NewGroup(slog.New(slog.DiscardHandler))
		g.Add(d.part("store", 0, 0))
		g.Add(lifecycle.Part{Name: "bus", Run: func(context.Context, func()) error { return errors.New("disk is full") }})
		g.Add(d.part("ingest", 0, 0))
		err := g.Run(t.Context(), func() { t.Error("started although a part broke") })
		if err == nil || !strings.Contains(err.Error(), "bus: disk is full") {
			t.Errorf("err = %v", err)
		}
		if diff := cmp.Diff([]string{"store ready", "store stopped"}, d.read()); diff != "" {
			t.Error(diff)
		}
		states := g.Status()
		if states[1].State != lifecycle.Broken || states[1].Error != "disk is full" || states[2].State != lifecycle.Waiting {
			t.Errorf("status = %+v", states)
		}
	})
}

func TestAPartThatEndsByItselfIsBroken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := lifecycle.NewGroup(slog.New(slog.DiscardHandler))
		g.Add(lifecycle.Service("feed", func(context.Context) error { return nil }))
		if err := g.Run(t.Context(), func() {}); err == nil || err.Error() != "feed: ended by itself" {
			t.Errorf("err = %v", err)
		}
	})
}

func TestAPartThatDoesNotStopIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var d diary
		g := lifecycle.NewGroup(slog.New(slog.DiscardHandler))
		g.Add(d.part("store", 0, 0))
		g.Add(lifecycle.Part{Name: "bus", StopTimeout: time.Second, Run: func(_ context.Context, ready func()) error {
			ready()
			<-release
			return nil
		}})
		ctx, cancel := context.WithCancel(t.Context())
		err := g.Run(ctx, cancel)
		if err == nil || err.Error() != "bus: did not stop within 1s" {
			t.Errorf("err = %v", err)
		}
		if diff := cmp.Diff([]string{"store ready", "store stopped"}, d.read()); diff != "" {
			t.Error(diff)
		}
		close(release)
	})
}

func TestTheEndOfTheContextDuringTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d diary
		g := lifecycle.NewGroup(slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		g.Add(d.part("store", 0, 0))
		g.Add(d.part("bus", time.Minute, 0))
		g.Add(d.part("ingest", 0, 0))
		if err := g.Run(ctx, func() { t.Error("started") }); err == nil || !strings.Contains(err.Error(), "bus: did not stop") {
			t.Errorf("err = %v", err)
		}
		if diff := cmp.Diff([]string{"store ready", "store stopped"}, d.read()); diff != "" {
			t.Error(diff)
		}
		time.Sleep(time.Minute) // let the late part see that it has been cancelled
	})
}

func TestAnErrorOfStoppingIsReported(t *testing.T) {
	g := lifecycle.NewGroup(slog.New(slog.DiscardHandler))
	g.Add(lifecycle.Closer("store", func() error { return errors.New("checkpoint: disk is full") }))
	ctx, cancel := context.WithCancel(t.Context())
	if err := g.Run(ctx, cancel); err == nil || err.Error() != "store: checkpoint: disk is full" {
		t.Errorf("err = %v", err)
	}
}
