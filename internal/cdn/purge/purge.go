package purge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-stream/weir/internal/cdn"
)

// Applier is the cache.
type Applier interface {
	// Purge returns when no later request can get what was purged, nor after a restart. It is called
	// for one purge after the other, in the order of their sequence, and again with one that it knows if
	// that was not remembered.
	Purge(p cdn.Purge) error
}

// Settings are what [New] needs.
type Settings struct {
	Config Config
	// Node is this node's name, which no other has.
	Node string
	// Conn is the bus; nil: this node is the whole fleet. It must not keep what is published while it
	// is disconnected.
	Conn *nats.Conn
	// Replicas is how many servers of the bus keep the log; 0 takes it as it is.
	Replicas int
	// Apply carries purges out; nil on a node that only asks for them, which needs a bus.
	Apply Applier
	// Dir is where the node remembers how far it is; "" forgets with the process.
	Dir        string
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

const (
	// MaxWait is the longest that an answer may wait.
	MaxWait = time.Minute
	// MaxAtOnce is how many purges of one call are on their way at the same time.
	MaxAtOnce = 64
	// MaxIDBytes bounds the ID of a purge.
	MaxIDBytes = 128

	heartbeat    = 10 * time.Second
	askAfter     = 250 * time.Millisecond
	flushEvery   = 100 * time.Millisecond
	leaveTimeout = 2 * time.Second
	retryMin     = 100 * time.Millisecond
	retryMax     = 5 * time.Second
	// recentIDs is how many purges a node without a bus knows again.
	recentIDs = 1024
)

// Result is what became of a purge.
type Result struct {
	ID       string
	Sequence uint64
	// Confirmed are the nodes of which none answers a later request with what was purged.
	Confirmed []string
	// Missing are the nodes that have not said so.
	Missing  []string
	Duration time.Duration
}

// Outcome is the result of one purge of several, or why there is none.
type Outcome struct {
	Result Result
	Err    error
}

// Service is one node's part in purges. Its methods may be called from many goroutines.
type Service struct {
	set      Settings
	config   Config
	now      func() time.Time
	log      *slog.Logger
	metrics  *metrics
	instance string // this process
	js       jetstream.JetStream
	keeper   *keeper
	fleet    *fleet

	driving chan struct{} // holds one token: who has it reads the log

	mu       sync.Mutex
	position position
	current  bool      // the log is being read from a verified position
	target   uint64    // what the log had when that began, with this node's announcement
	heard    time.Time // when the log last said something
	fenced   bool      // nothing of the cache is to be served, see fence.go
	joined   uint64    // where this process has announced itself last; 0: it has not
	renewed  time.Time
	caughtUp chan struct{} // closed when the node may serve
	running  bool
	recent   []string // without a bus: IDs of the last purges, and their sequence
	known    map[string]uint64
}

// New returns a node's part. It does nothing until [Service.CatchUp] or [Service.Run].
func New(set Settings) (*Service, error) {
	if err := set.Config.Validate(); err != nil {
		return nil, fmt.Errorf("purge: %w", err)
	}
	if err := checkNode(set.Node); err != nil {
		return nil, fmt.Errorf("purge: %w", err)
	}
	if set.Conn == nil && set.Apply == nil {
		return nil, errors.New("purge: neither a bus nor a cache is given; at least one is expected")
	}
	if set.Log == nil {
		set.Log = slog.New(slog.DiscardHandler)
	}
	instance := uuid.NewString()
	s := &Service{
		set: set, config: set.Config, now: time.Now, log: set.Log, instance: instance, fleet: newFleet(instance, time.Now),
		driving: make(chan struct{}, 1), caughtUp: make(chan struct{}), known: make(map[string]uint64),
	}
	s.driving <- struct{}{}
	var err error
	if s.keeper, err = openKeeper(set.Dir); err != nil {
		return nil, fmt.Errorf("purge: %w", err)
	}
	s.position = s.keeper.latest
	if set.Conn != nil {
		if s.js, err = jetstream.New(set.Conn); err != nil {
			return nil, fmt.Errorf("purge: %w", err)
		}
	}
	if s.metrics, err = newMetrics(set.Registerer, s); err != nil {
		return nil, fmt.Errorf("purge: register metrics: %w", err)
	}
	return s, nil
}

// Sequence returns how far this node has applied the log.
func (s *Service) Sequence() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.position.Sequence
}

// Current reports whether this node hears of purges: it has caught up, and reads the log. A node that is
// cut off from the bus is not, and is missing in the answers that others give.
func (s *Service) Current() bool {
	if s.set.Conn == nil {
		return true
	}
	select {
	case <-s.caughtUp:
	default:
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current
}

// Nodes returns the names of the nodes whose confirmation a purge takes.
func (s *Service) Nodes() []string {
	confirmed, missing := s.fleet.standing(0, s.set.Node, s.set.Apply != nil)
	return append(confirmed, missing...)
}

func (s *Service) standing() (log int64, applied uint64, current bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.position.Log, s.position.Sequence, s.current
}

// Purge stores the purge and waits until all nodes have confirmed it, or ctx ends, or the configured time
// if ctx has no deadline. Nodes that have not confirmed by then are named in the result; that is no error,
// and they apply the purge when they can. A purge without an ID gets one; one whose ID the log has is not
// stored again, and the answer is about the one that is there.
func (s *Service) Purge(ctx context.Context, p cdn.Purge) (Result, error) {
	began := time.Now()
	p, err := s.prepare(p, began)
	if err != nil {
		s.metrics.requests.WithLabelValues(invalid).Inc()
		return Result{ID: p.ID}, err
	}
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.config.Wait)
		defer cancel()
	}
	if s.set.Conn == nil {
		return s.purgeHere(p, began)
	}
	msg, err := s.purgeMessage(p)
	if err != nil {
		return Result{ID: p.ID}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	sequence, err := s.store(ctx, msg)
	if err != nil {
		s.metrics.requests.WithLabelValues(notStored).Inc()
		return Result{ID: p.ID, Duration: time.Since(began)}, fmt.Errorf("%w: %w", ErrNotStored, err)
	}
	w := s.fleet.wait(sequence)
	defer s.fleet.leave(w)
	select {
	case <-w.done:
	case <-ctx.Done():
	}
	result := Result{ID: p.ID, Sequence: sequence, Duration: time.Since(began)}
	result.Confirmed, result.Missing = s.fleet.standing(sequence, s.set.Node, s.set.Apply != nil)
	if len(result.Missing) > 0 {
		s.metrics.requests.WithLabelValues(notByAll).Inc()
		return result, nil
	}
	s.metrics.requests.WithLabelValues(confirmedByAll).Inc()
	s.metrics.confirmed.Observe(result.Duration.Seconds())
	return result, nil
}

// PurgeMany does what [Service.Purge] does with each, many at a time. Its outcomes are in the order of
// the purges.
func (s *Service) PurgeMany(ctx context.Context, purges []cdn.Purge) []Outcome {
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.config.Wait)
		defer cancel()
	}
	outcomes := make([]Outcome, len(purges))
	places := make(chan struct{}, MaxAtOnce)
	var all sync.WaitGroup
	for i, p := range purges {
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			outcomes[i].Result, outcomes[i].Err = s.Purge(ctx, p)
		})
	}
	all.Wait()
	return outcomes
}

// prepare gives the purge what it needs and says what is wrong with it.
func (s *Service) prepare(p cdn.Purge, now time.Time) (cdn.Purge, error) {
	if p.ID == "" {
		id, err := uuid.NewV7()
		if err != nil {
			return p, err
		}
		p.ID = id.String()
	}
	if p.Time.IsZero() {
		p.Time = now.UTC()
	}
	for _, c := range []byte(p.ID) {
		if c <= ' ' || c > '~' || len(p.ID) > MaxIDBytes {
			return p, fmt.Errorf("%w: the id is %q; at most %d printable ASCII characters are expected", ErrInvalid, p.ID, MaxIDBytes)
		}
	}
	if len(p.Host) > 255 || len(p.By) > 255 {
		return p, fmt.Errorf("%w: host and by have %d and %d bytes; at most 255 are expected", ErrInvalid, len(p.Host), len(p.By))
	}
	// It would become another target on its way, which is JSON.
	if !utf8.ValidString(p.Target) || !utf8.ValidString(p.Host) || !utf8.ValidString(p.By) {
		return p, fmt.Errorf("%w: the target %q, the host %q or by %q is not UTF-8; percent-encoding is expected for other bytes", ErrInvalid, p.Target, p.Host, p.By)
	}
	if err := p.Validate(); err != nil {
		return p, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return p, nil
}

// purgeHere is a purge on a node that is the whole fleet.
func (s *Service) purgeHere(p cdn.Purge, began time.Time) (Result, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	result := Result{ID: p.ID, Sequence: s.known[p.ID], Confirmed: []string{s.set.Node}}
	if result.Sequence == 0 {
		p.Sequence = s.position.Sequence + 1
		if err := s.set.Apply.Purge(p); err != nil {
			s.metrics.failures.Inc()
			s.metrics.requests.WithLabelValues(notApplied).Inc()
			return Result{ID: p.ID}, fmt.Errorf("%w: %w", ErrNotApplied, err)
		}
		s.metrics.purged(p)
		s.position = position{Sequence: p.Sequence, ID: p.ID}
		s.keeper.set(s.position)
		if s.recent = append(s.recent, p.ID); len(s.recent) > recentIDs {
			delete(s.known, s.recent[0])
			s.recent = s.recent[1:]
		}
		s.known[p.ID], result.Sequence = p.Sequence, p.Sequence
	}
	s.metrics.requests.WithLabelValues(confirmedByAll).Inc()
	result.Duration = time.Since(began)
	s.metrics.confirmed.Observe(result.Duration.Seconds())
	return result, nil
}

// CatchUp announces this node and applies what it has missed. When it returns nil the node may serve, as
// long as [Service.Run] runs; until then it must not. On a node that only asks it makes sure that there is
// a log to ask. It goes on trying until ctx ends. It may be called before Run or beside it.
func (s *Service) CatchUp(ctx context.Context) error {
	if s.set.Conn == nil {
		return nil
	}
	select {
	case <-s.caughtUp:
		return nil
	case <-ctx.Done():
		return s.behind(ctx.Err())
	case <-s.driving:
	}
	defer func() { s.driving <- struct{}{} }()
	if err := s.drive(ctx, true); err != nil {
		return s.behind(err)
	}
	return nil
}

func (s *Service) behind(err error) error {
	return fmt.Errorf("catch up with purges (%d applied): %w", s.Sequence(), err)
}

// Run takes part until ctx ends; then it says that the node has left. What serves must have stopped by then.
// It may be called once.
func (s *Service) Run(ctx context.Context) error {
	s.mu.Lock()
	if s.running {
		s.mu.Unlock()
		return errRunning
	}
	s.running = true
	s.mu.Unlock()
	s.keeper.own()
	var beside sync.WaitGroup
	beside.Go(func() { s.flush(ctx) })
	err := s.takePart(ctx, &beside)
	beside.Wait()
	return errors.Join(err, s.keeper.close())
}

func (s *Service) takePart(ctx context.Context, beside *sync.WaitGroup) error {
	if s.set.Conn == nil {
		<-ctx.Done()
		return nil
	}
	select {
	case <-s.driving:
	case <-ctx.Done():
		return nil
	}
	defer func() { s.driving <- struct{}{} }()
	subscriptions, err := s.listen()
	defer func() {
		for _, sub := range subscriptions {
			_ = sub.Unsubscribe()
		}
	}()
	if err != nil {
		return fmt.Errorf("listen to confirmations: %w", err)
	}
	beside.Go(func() { s.ask(ctx) })
	beside.Go(func() { s.beat(ctx) })
	err = s.drive(ctx, false)
	if ctx.Err() == nil {
		return err
	}
	s.farewell(ctx)
	return nil
}

// listen takes confirmations, signs of life, and questions.
func (s *Service) listen() ([]*nats.Subscription, error) {
	var all []*nats.Subscription
	for subject, handle := range map[string]nats.MsgHandler{
		confirmSubject + s.instance: s.reported,
		aliveSubject:                s.reported,
		askSubject:                  func(*nats.Msg) { s.report(aliveSubject) },
	} {
		sub, err := s.set.Conn.Subscribe(subject, handle)
		if err != nil {
			return all, err
		}
		all = append(all, sub)
	}
	return all, nil
}

// flush writes the position now and then.
func (s *Service) flush(ctx context.Context) {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for failed := false; ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := s.keeper.flush()
		if err != nil && !failed {
			s.log.Error("the position in the log of purges cannot be written; after a restart more is purged than need be", "error", err)
		}
		failed = err != nil
	}
}

// ask asks all for how far they are when somebody waits for longer than it takes: a confirmation was lost,
// or the member is not there.
func (s *Service) ask(ctx context.Context) {
	tick := time.NewTicker(askAfter)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if s.fleet.overdue(askAfter) {
				_ = s.set.Conn.Publish(askSubject, nil) // asked again in a moment
			}
		}
	}
}

// beat gives signs of life, and has those forgotten who give none.
func (s *Service) beat(ctx context.Context) {
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if !s.Current() && s.set.Apply != nil {
			continue
		}
		s.report(aliveSubject)
		if err := s.stay(ctx, s.Sequence()); err != nil {
			s.log.Warn("this node could not be announced anew", "error", err)
		}
		s.forget(ctx)
	}
}

// forget has those leave who have been silent for long.
func (s *Service) forget(ctx context.Context) {
	for _, m := range s.fleet.silent(s.config.ForgetAfter) {
		// Only if it has not announced itself since; another node may have been quicker.
		_, err := s.announce(ctx, announcement{Kind: kindLeave, Node: m.node, Instance: m.instance},
			jetstream.WithExpectLastSequencePerSubject(m.announced))
		if err == nil {
			s.log.Warn("a node is forgotten after its silence", "node", m.node, "silent", s.config.ForgetAfter)
		}
	}
}

// farewell tells the others not to wait for this node any more.
func (s *Service) farewell(ctx context.Context) {
	s.mu.Lock()
	joined := s.joined
	s.mu.Unlock()
	if joined == 0 || !s.set.Conn.IsConnected() {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTimeout)
	defer cancel()
	if _, err := s.announce(ctx, s.own(kindLeave)); err != nil {
		s.log.Warn("the others wait for this node's confirmations until they forget it", "error", err)
	}
}
