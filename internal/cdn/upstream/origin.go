package upstream

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/cespare/xxhash/v2"
	"golang.org/x/net/http/httpguts"

	"github.com/weir-stream/weir/internal/cdn/upstream/dial"
	"github.com/weir-stream/weir/internal/cdn/upstream/health"
)

// tier is where an origin stands. Those of a tier are asked only if nobody of the tiers before can be.
type tier int

const (
	shieldTier tier = iota
	originTier
	backupTier
	tiers
)

func (t tier) String() string { return [...]string{"shield", "origin", "backup"}[t] }

// origin is what stays of an origin when the configuration changes.
type origin struct {
	health.State
	running  atomic.Int64
	requests atomic.Uint64 // sent, retries included
	retries  atomic.Uint64 // sent here after another had failed
	answers  [6]atomic.Uint64
	classes  [failureClasses]atomic.Uint64 // failures
	checks   [2]atomic.Uint64              // bad, good
}

// endpoint is an origin as one configuration has it. It does not change.
type endpoint struct {
	*origin
	name         string
	index        int
	tier         tier
	self         bool // a shield that is this node
	http2        bool
	base         *url.URL
	host         string
	preserveHost bool
	weight       float64
	hash         uint64
	fields       []field
	healthPath   string
	maxRequests  int64

	transport http.RoundTripper
	checker   http.RoundTripper // apart, so that a check does not wait for a connection
	own       *http.Transport   // transport, if it is ours
	ownCheck  *http.Transport
	made      string // of what own was made of
	retired   *atomic.Bool
}

type field struct {
	name   string
	values []string
}

// identity tells whether an origin is the same after a reload.
func (e *endpoint) identity() string { return e.name + "\x00" + e.base.String() }

// hangUp closes the connections that are not in use, and those in use when they no longer are.
func (e *endpoint) hangUp() {
	for _, t := range []*http.Transport{e.own, e.ownCheck} {
		if t != nil {
			t.CloseIdleConnections()
		}
	}
}

// builder makes endpoints of a configuration.
type builder struct {
	config    *Config
	id        string
	transport http.RoundTripper
	lookupEnv func(string) (string, bool)
	old       map[string]*endpoint // by identity
}

func (b *builder) endpoint(o OriginConfig, t tier) (*endpoint, error) {
	base, err := o.validate()
	if err != nil {
		return nil, err
	}
	base.Path, base.RawPath = strings.TrimSuffix(base.Path, "/"), strings.TrimSuffix(base.RawPath, "/")
	e := &endpoint{
		name: o.name(base), tier: t, base: base, host: base.Host, preserveHost: o.PreserveHost,
		weight: float64(max(1, o.Weight)), maxRequests: int64(b.config.MaxRequests), http2: o.HTTP2, retired: new(atomic.Bool),
	}
	e.hash = xxhash.Sum64String(e.name)
	e.self = t == shieldTier && strings.EqualFold(e.name, b.id)
	if o.Host != "" {
		e.host = o.Host
	}
	e.healthPath = o.HealthPath
	if e.healthPath == "" && t != shieldTier {
		e.healthPath = b.config.Health.Path
	}
	if e.healthPath == noCheck || e.self {
		e.healthPath = ""
	}
	if e.fields, err = b.fields(o.Headers); err != nil {
		return nil, err
	}
	if err := b.connect(e, o); err != nil {
		return nil, err
	}
	if before := b.old[e.identity()]; before != nil {
		e.origin = before.origin
	} else {
		e.origin = new(origin)
	}
	return e, nil
}

// connect gives the endpoint its transport: that which it had, if nothing has changed.
func (b *builder) connect(e *endpoint, o OriginConfig) error {
	if b.transport != nil {
		e.transport, e.checker = b.transport, b.transport
		return nil
	}
	c := b.config
	s := dial.Settings{
		Proxy: c.Proxy, ConnectTimeout: c.ConnectTimeout, IdleTimeout: c.IdleTimeout,
		MaxConnections: c.MaxConnections, MaxIdle: c.MaxIdle, HTTP2: o.HTTP2, TLS: o.TLS,
	}
	var err error
	if e.own, e.made, err = s.Transport(); err != nil {
		return err
	}
	if before := b.old[e.identity()]; before != nil && before.made == e.made {
		e.own, e.ownCheck, e.transport, e.checker, e.retired = before.own, before.ownCheck, before.transport, before.checker, before.retired
		return nil
	}
	s.MaxConnections = 1
	if e.ownCheck, _, err = s.Transport(); err != nil {
		return err
	}
	e.transport, e.checker = e.own, e.ownCheck
	return nil
}

// fields reads what the origin is sent, secrets included.
func (b *builder) fields(headers []HeaderConfig) ([]field, error) {
	var fields []field
	for i, h := range headers {
		value := string(h.Value)
		switch {
		case h.File != "":
			content, err := os.ReadFile(h.File)
			if err != nil {
				return nil, fmt.Errorf("headers[%d]: %s: %w", i, h.Name, err)
			}
			value = strings.TrimSuffix(strings.TrimSuffix(string(content), "\n"), "\r")
		case h.Env != "":
			var ok bool
			if value, ok = b.lookupEnv(h.Env); !ok {
				return nil, fmt.Errorf("headers[%d]: %s: the environment has no variable %s", i, h.Name, h.Env)
			}
		}
		if value == "" || !httpguts.ValidHeaderFieldValue(value) {
			// The value is a secret: it is not shown.
			return nil, fmt.Errorf("headers[%d]: %s: what was read is empty or no text; one line is expected", i, h.Name)
		}
		name := http.CanonicalHeaderKey(h.Name)
		if at := slices.IndexFunc(fields, func(f field) bool { return f.name == name }); at >= 0 {
			fields[at].values = append(fields[at].values, value)
			continue
		}
		fields = append(fields, field{name, []string{value}})
	}
	return fields, nil
}
