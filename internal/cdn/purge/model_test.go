package purge

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/weir-stream/weir/internal/cdn"
)

// shelf is a cache of a few objects: of each the version of the origin's at the time when it was fetched.
// Readers and purges meet in it as they do in a real one.
type shelf struct {
	mu       sync.Mutex
	objects  map[string]uint64
	slowness func()
}

func (s *shelf) Purge(p cdn.Purge) error {
	s.slowness()
	s.mu.Lock()
	defer s.mu.Unlock()
	for path := range s.objects {
		switch p.Scope {
		case cdn.PurgeURL:
			if path == p.Target {
				delete(s.objects, path)
			}
		case cdn.PurgePrefix:
			if strings.HasPrefix(path, p.Target) {
				delete(s.objects, path)
			}
		case cdn.PurgeTag, cdn.PurgeAll:
			delete(s.objects, path)
		}
	}
	return nil
}

// get answers a request as an edge does: from the shelf, or else from the origin.
func (s *shelf) get(path string, origin *atomic.Uint64) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if version, ok := s.objects[path]; ok {
		return version
	}
	version := origin.Load()
	s.objects[path] = version
	return version
}

// edge is a node of the model: its process comes and goes, its shelf stays, as a disk does.
type edge struct {
	name, dir string
	shelf     *shelf

	mu      sync.RWMutex // held by readers while they read, and by whoever lets it serve or not
	serving bool
}

// read returns what the edge answers, if it serves.
func (e *edge) read(path string, origin *atomic.Uint64) (version uint64, serves bool) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if !e.serving {
		return 0, false
	}
	return e.shelf.get(path, origin), true
}

func (e *edge) serve(on bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.serving = on
}

// The promise: once a purge is confirmed by all, no edge that serves answers with what was there before.
// Editors change objects and purge them through any edge, by every scope, while edges crash, leave, come
// back, are slow, and fill their shelves all the time.
func TestNoStaleAnswerAfterTheConfirmation(t *testing.T) {
	const edges, editors, rounds, paths = 5, 4, 40, 6
	bus := startBus(t, "bus", t.TempDir(), nil)
	random := rand.New(rand.NewPCG(1, uint64(time.Now().UnixNano())))
	origin := make([]*atomic.Uint64, paths)
	for i := range origin {
		origin[i] = &atomic.Uint64{}
	}
	path := func(i int) string { return fmt.Sprintf("/live/tv%d/init.mp4", i) }

	fleet := make([]*edge, edges)
	for i := range fleet {
		pauses := rand.New(rand.NewPCG(2, uint64(i)))
		fleet[i] = &edge{name: fmt.Sprint("edge-", i), dir: t.TempDir(), shelf: &shelf{
			objects: make(map[string]uint64), slowness: func() {
				if n := pauses.IntN(20); n == 0 {
					<-time.After(2 * time.Millisecond)
				}
			},
		}}
	}
	asker := start(t, nodeSettings{name: "console", conn: connect(t, bus), change: func(s *Settings) { s.Apply = nil }})

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var lives, work sync.WaitGroup
	for i, e := range fleet {
		fate := rand.New(rand.NewPCG(random.Uint64(), uint64(i)))
		lives.Go(func() {
			for ctx.Err() == nil {
				live(ctx, t, e, bus.Connect, fate)
			}
		})
	}
	for i := range paths { // viewers, who fill the shelves
		work.Go(func() {
			for ctx.Err() == nil {
				for _, e := range fleet {
					e.read(path(i), origin[i])
				}
				select {
				case <-ctx.Done():
				case <-time.After(200 * time.Microsecond):
				}
			}
		})
	}
	var confirmed, missing, stale atomic.Int64
	var editing sync.WaitGroup
	for i := range editors {
		editing.Go(func() {
			mine := rand.New(rand.NewPCG(3, uint64(i)))
			for range rounds {
				object := mine.IntN(paths)
				version := origin[object].Add(1)
				p := []cdn.Purge{
					{Scope: cdn.PurgeURL, Target: path(object)},
					{Scope: cdn.PurgePrefix, Target: path(object)[:len("/live/tv1")]},
					tag("x"),
					{Scope: cdn.PurgeAll},
				}[mine.IntN(4)]
				asking, stop := context.WithTimeout(ctx, time.Second)
				result, err := asker.Purge(asking, p)
				stop()
				if errors.Is(err, ErrNotStored) { // the disk is slow; nothing is promised
					missing.Add(1)
					continue
				}
				if err != nil {
					t.Errorf("purge: %v", err)
					return
				}
				if len(result.Missing) > 0 {
					missing.Add(1)
				} else {
					confirmed.Add(1)
				}
				for _, e := range fleet {
					if got, serves := e.read(path(object), origin[object]); serves && got < version && !slices.Contains(result.Missing, e.name) {
						stale.Add(1)
						t.Errorf("%s answers version %d of object %d after version %d was confirmed: %+v", e.name, got, object, version, result)
					}
				}
			}
		})
	}
	editing.Wait()
	cancel()
	lives.Wait()
	work.Wait()
	t.Logf("%d confirmed by all, %d with some missing, %d stale", confirmed.Load(), missing.Load(), stale.Load())
	if confirmed.Load() < editors*rounds/10 {
		t.Errorf("only %d purges were confirmed by all; the model says little", confirmed.Load())
	}
}

// live is one life of an edge's process, which ends with a word or without.
func live(ctx context.Context, t *testing.T, e *edge, dial func(string) (*nats.Conn, error), fate *rand.Rand) {
	conn, err := dial("edge")
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close()
	s, err := New(Settings{Config: DefaultConfig(), Node: e.name, Conn: conn, Apply: e.shelf, Dir: e.dir})
	if err != nil {
		t.Error(err)
		return
	}
	if err := s.CatchUp(ctx); err != nil {
		_ = s.keeper.close()
		return // the test is over
	}
	e.serve(true)
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	done := make(chan error, 1)
	go func() { done <- s.Run(running) }()
	select {
	case <-ctx.Done():
	case <-time.After(time.Duration(fate.IntN(400)) * time.Millisecond):
	}
	e.serve(false)
	crash := fate.IntN(2) == 0
	if crash {
		conn.Close() // nobody is told
	}
	stop()
	if err := <-done; err != nil && !crash {
		t.Error(err)
	}
}
