package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// Part is one thing that runs. Run blocks until ctx ends or the part breaks; it calls ready once it
// can be used, and returns nil on a clean stop. Run waits for every goroutine that it started.
type Part struct {
	// Name appears in the log, in errors and at the readiness address.
	Name string
	Run  func(ctx context.Context, ready func()) error
	// StopTimeout bounds the time that the part has to stop; zero means [DefaultStopTimeout].
	StopTimeout time.Duration
}

// DefaultStopTimeout is how long a part may take to stop.
const DefaultStopTimeout = 15 * time.Second

// Service makes a part of a Run method that is ready as soon as it has been called.
func Service(name string, run func(ctx context.Context) error) Part {
	return Part{Name: name, Run: func(ctx context.Context, ready func()) error {
		ready()
		return run(ctx)
	}}
}

// Closer makes a part of something that runs by itself and only has to be closed.
func Closer(name string, stop func() error) Part {
	return Part{Name: name, Run: func(ctx context.Context, ready func()) error {
		ready()
		<-ctx.Done()
		return stop()
	}}
}

// State is where a part stands.
type State string

// The states of a part.
const (
	Waiting  State = "waiting"
	Starting State = "starting"
	Ready    State = "ready"
	Stopping State = "stopping"
	Stopped  State = "stopped"
	Broken   State = "broken"
)

// Status is a part's name and state.
type Status struct {
	Name  string `json:"name"`
	State State  `json:"state"`
	Error string `json:"error,omitempty"`
}

// Group runs parts. Add them, then call Run once.
type Group struct {
	log   *slog.Logger
	parts []*running

	mu       sync.Mutex // guards state and err of the parts, and stopping
	stopping bool
}

type running struct {
	Part
	cancel context.CancelFunc
	done   chan struct{}
	state  State
	err    error
}

// NewGroup returns an empty group that logs to log.
func NewGroup(log *slog.Logger) *Group { return &Group{log: log} }

// Add appends a part: it starts after those added before it, and stops before them.
func (g *Group) Add(p Part) {
	if p.StopTimeout == 0 {
		p.StopTimeout = DefaultStopTimeout
	}
	g.parts = append(g.parts, &running{Part: p, state: Waiting})
}

// Status returns the state of every part, in the order of their start.
func (g *Group) Status() []Status {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := make([]Status, len(g.parts))
	for i, p := range g.parts {
		all[i] = Status{Name: p.Name, State: p.state}
		if p.err != nil {
			all[i].Error = p.err.Error()
		}
	}
	return all
}

// Ready reports whether every part is ready and nothing has been told to stop.
func (g *Group) Ready() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, p := range g.parts {
		if p.state != Ready {
			return false
		}
	}
	return !g.stopping
}

// Run starts the parts one after the other, calls started when all are ready, and blocks until ctx
// ends or a part breaks; then it stops them in the opposite order. It returns nil after a clean stop,
// else the errors of the parts that broke or could not be stopped in time.
func (g *Group) Run(ctx context.Context, started func()) error {
	broken := make(chan *running, len(g.parts))
	var errs []error

	begun := 0
start:
	for _, p := range g.parts {
		readiness := make(chan struct{})
		g.start(p, sync.OnceFunc(func() { close(readiness) }), broken)
		begun++
		select {
		case <-readiness:
			g.set(p, Ready, nil)
		case <-p.done:
			break start
		case <-ctx.Done():
			break start
		}
	}
	if begun == len(g.parts) && g.Ready() && ctx.Err() == nil {
		started()
		select {
		case <-ctx.Done():
		case p := <-broken:
			g.log.Error("part broke", "part", p.Name, "error", p.err)
		}
	}

	g.mu.Lock()
	g.stopping = true
	g.mu.Unlock()
	for i := begun - 1; i >= 0; i-- {
		if err := g.stop(g.parts[i]); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (g *Group) start(p *running, ready func(), broken chan<- *running) {
	// The part's context is its own: the group's end must not reach all parts at once.
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel, p.done = cancel, make(chan struct{})
	g.set(p, Starting, nil)
	go func() {
		defer close(p.done)
		err := p.Run(ctx, ready)
		if ctx.Err() == nil && err == nil {
			err = errors.New("ended by itself")
		}
		if err != nil {
			g.set(p, Broken, err)
			broken <- p
			return
		}
		g.set(p, Stopped, nil)
	}()
}

func (g *Group) stop(p *running) error {
	g.mu.Lock()
	if p.state == Ready || p.state == Starting {
		p.state = Stopping
	}
	g.mu.Unlock()
	p.cancel()
	timer := time.NewTimer(p.StopTimeout)
	defer timer.Stop()
	select {
	case <-p.done:
		g.mu.Lock()
		defer g.mu.Unlock()
		if p.err != nil {
			return fmt.Errorf("%s: %w", p.Name, p.err)
		}
		return nil
	case <-timer.C:
		err := fmt.Errorf("%s: did not stop within %v", p.Name, p.StopTimeout)
		g.set(p, Broken, err)
		return err
	}
}

func (g *Group) set(p *running, s State, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	// A part that has ended stays ended, even if it is only now seen to have been ready.
	if (p.state == Stopped || p.state == Broken) && err == nil {
		return
	}
	p.state, p.err = s, err
}
