package upstream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-stream/weir/internal/cdn/upstream/loop"
)

// Settings are what a Pool needs.
type Settings struct {
	Config Config
	// ID is this node's, for CDN-Loop; edges that ask each other have different ones.
	ID         string
	Log        *slog.Logger
	Registerer prometheus.Registerer
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Transport carries the requests instead of the pool's own connections, if it is not nil.
	Transport http.RoundTripper
	// LookupEnv reads the variables that headers are taken from; nil is os.LookupEnv.
	LookupEnv func(string) (string, bool)
}

// Pool asks origins. It is safe for concurrent use.
type Pool struct {
	id        string
	via       string
	log       *slog.Logger
	now       func() time.Time
	transport http.RoundTripper
	lookupEnv func(string) (string, bool)
	metrics   *metrics
	budget    budget

	reload   sync.Mutex // one Reload at a time
	table    atomic.Pointer[table]
	reloaded chan struct{} // tells Run; one is enough
}

// table is one configuration. It does not change, except for the turn.
type table struct {
	config Config
	all    []*endpoint
	tiers  [tiers][]*endpoint
	self   bool // this node is a shield
	turn   atomic.Uint64
}

// Looped reports whether a request with the header h has been through this node before; it is then
// answered with 508. Whoever collapses requests asks before one waits, for it might wait for itself.
func (p *Pool) Looped(h http.Header) bool { return loop.Has(h, p.id) }

// validID is a pseudonym of RFC 8586 §2 that is also a received-by of Via.
var validID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,253}$`)

// New returns a Pool. It answers at once; [Pool.Run] makes the active checks.
func New(s Settings) (*Pool, error) {
	if !validID.MatchString(s.ID) {
		return nil, fmt.Errorf("upstream: the ID is %q; letters, digits, '.', '_' and '-' are expected", s.ID)
	}
	p := &Pool{
		id: s.ID, via: "1.1 " + s.ID, log: s.Log, now: s.Now, transport: s.Transport, lookupEnv: s.LookupEnv,
		reloaded: make(chan struct{}, 1),
	}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	if p.now == nil {
		p.now = time.Now
	}
	if p.lookupEnv == nil {
		p.lookupEnv = os.LookupEnv
	}
	if err := p.Reload(s.Config); err != nil {
		return nil, err
	}
	p.metrics = newMetrics(p)
	if s.Registerer != nil {
		if err := s.Registerer.Register(p.metrics); err != nil {
			return nil, fmt.Errorf("upstream: register metrics: %w", err)
		}
	}
	return p, nil
}

// Reload takes a new configuration over, with what its files and variables say now. Origins whose name and
// URL stay keep their state, and their connections unless something about these has changed. After an error
// everything is as it was.
func (p *Pool) Reload(c Config) error {
	for _, part := range []struct {
		key      string
		validate func() error
	}{
		{"", c.Validate}, {"health.", c.Health.Validate}, {"passive.", c.Passive.Validate}, {"retry.", c.Retry.Validate},
	} {
		if err := part.validate(); err != nil {
			return fmt.Errorf("upstream: %s%w", part.key, err)
		}
	}
	if len(c.Origins) == 0 {
		return errors.New("upstream: no origin is given")
	}
	p.reload.Lock()
	defer p.reload.Unlock()
	b := &builder{config: &c, id: p.id, transport: p.transport, lookupEnv: p.lookupEnv, old: map[string]*endpoint{}}
	old := p.table.Load()
	if old != nil {
		for _, e := range old.all {
			b.old[e.identity()] = e
		}
	}
	t := &table{config: c}
	add := func(configs []OriginConfig, key string, shield bool) error {
		for i, o := range configs {
			place := originTier
			switch {
			case shield:
				place = shieldTier
			case o.Backup:
				place = backupTier
			}
			e, err := b.endpoint(o, place)
			if err != nil {
				return fmt.Errorf("upstream: %s[%d]: %w", key, i, err)
			}
			e.index = len(t.all)
			t.self = t.self || e.self
			t.all = append(t.all, e)
			t.tiers[place] = append(t.tiers[place], e)
		}
		return nil
	}
	if err := errors.Join(add(c.Origins, "origins", false), add(c.Shields, "shields", true)); err != nil {
		return err
	}
	now := p.now()
	p.budget.configure(c.Retry, now)
	p.table.Store(t)
	for _, e := range t.all {
		if e.healthPath == "" {
			e.Unchecked(now)
		}
	}
	if old != nil {
		retire(old, t)
	}
	select {
	case p.reloaded <- struct{}{}:
	default:
	}
	return nil
}

// retire closes the connections that the new table does not use.
func retire(old, current *table) {
	kept := map[*atomic.Bool]bool{}
	for _, e := range current.all {
		kept[e.retired] = true
	}
	for _, e := range old.all {
		if !kept[e.retired] {
			e.retired.Store(true)
			e.hangUp()
		}
	}
}

// Run makes the active checks until ctx ends, then closes the connections that are not in use.
func (p *Pool) Run(ctx context.Context) error {
	for {
		t := p.table.Load()
		checking, cancel := context.WithCancel(ctx)
		var running sync.WaitGroup
		for _, e := range t.all {
			if e.healthPath != "" {
				running.Go(func() { p.check(checking, t, e) })
			}
		}
		select {
		case <-p.reloaded:
		case <-ctx.Done():
		}
		cancel()
		running.Wait()
		if ctx.Err() != nil {
			for _, e := range p.table.Load().all {
				e.retired.Store(true) // requests that still run hang up when they end
				e.hangUp()
			}
			return nil
		}
	}
}
