package access

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-stream/weir/internal/cdn/access/challenge"
	"github.com/weir-stream/weir/internal/cdn/access/limit"
	"github.com/weir-stream/weir/internal/cdn/access/network"
	"github.com/weir-stream/weir/internal/cdn/access/token"
)

// Settings are what a Chain is made with.
type Settings struct {
	Config     Config
	Log        *slog.Logger
	Registerer prometheus.Registerer // nil: no metrics
	Now        func() time.Time      // nil: time.Now
	// LookupEnv looks up the variables that hold secrets; nil: os.LookupEnv.
	LookupEnv func(name string) (string, bool)
}

// Chain decides who is let to what.
type Chain struct {
	log     *slog.Logger
	now     func() time.Time
	env     environment
	secret  []byte // for challenges where none is configured
	metrics *metrics

	state       atomic.Pointer[state]
	reload      sync.Mutex // one Reload at a time
	networks    challenge.Networks
	swept       atomic.Int64
	replays     replays
	connections *limit.Connections
}

// New returns a Chain. It reads the files that the configuration names.
func New(s Settings) (*Chain, error) {
	c := &Chain{log: s.Log, now: s.Now, env: s.LookupEnv, secret: make([]byte, token.MinSecretBytes), connections: limit.NewConnections()}
	if c.now == nil {
		c.now = time.Now
	}
	if c.env == nil {
		c.env = os.LookupEnv
	}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	if _, err := rand.Read(c.secret); err != nil {
		return nil, err
	}
	first, err := newState(s.Config, c.env, c.secret, nil, nil)
	if err != nil {
		return nil, fmt.Errorf("access: %w", err)
	}
	c.state.Store(first)
	if c.metrics, err = newMetrics(s.Registerer, c); err != nil {
		return nil, err
	}
	return c, nil
}

// Reload replaces all rules, and reads all files anew, also if the configuration is the same. If anything
// cannot be used, everything stays as it was. Counts of rates and connections and challenged networks stay.
func (c *Chain) Reload(config Config) error {
	c.reload.Lock()
	defer c.reload.Unlock()
	old := c.state.Load()
	next, err := newState(config, c.env, c.secret, old.rates, old)
	if err != nil {
		return fmt.Errorf("access: %w", err)
	}
	c.state.Store(next)
	c.log.Info("access rules read", "rules", len(next.rules))
	return nil
}

// Needs reports whether there is anything to check for a path as it stands in the request line. It takes no
// lock, and no memory for a path without escapes.
func (c *Chain) Needs(path string) bool {
	if c.networks.Any() {
		return true
	}
	s := c.state.Load()
	if len(s.rules) == 0 {
		return false
	}
	clean, ok := token.CleanPath(path)
	if !ok {
		return true // to be refused
	}
	r, _, _ := s.target(clean)
	return r != nil && !r.open
}

// Check decides about a request. It is to be called once for each: it counts.
func (c *Chain) Check(r *Request) Decision {
	d := c.check(r)
	c.metrics.decided(&d)
	return d
}

// Explain says why a request is refused, to whoever runs the edge and never to a viewer; nil: it is allowed. It
// counts as Check does.
func (c *Chain) Explain(r *Request) error {
	switch d := c.check(r); {
	case d.Allow:
		return nil
	case d.detail != nil:
		return d.detail
	default:
		return &token.RefusedError{Reason: Reason(d.Reason), Detail: "the client, its path or its page is refused, whatever the credential"}
	}
}

func (c *Chain) check(r *Request) Decision {
	s := c.state.Load()
	now := r.Now
	if now.IsZero() {
		now = c.now()
	}
	if c.networks.Any() {
		c.sweep(now)
	}
	clean, ok := token.CleanPath(r.Path)
	if !ok {
		if len(s.rules) == 0 {
			return Decision{Allow: true, Grant: Grant{Prefix: "/"}}
		}
		return refusal(PathMalformed, nil)
	}
	client := r.Client.Unmap().WithZone("")
	rule, path, inPath := s.target(clean)
	if rule == nil {
		if c.networks.Has(client, now) {
			if d, refused := c.ask(s, r, client, now, nil); refused {
				return d
			}
		}
		return Decision{Allow: true, Grant: Grant{Prefix: "/"}}
	}
	if d, refused := c.checkClient(s, rule, r, client, now); refused {
		return d
	}
	var verified *token.Verified
	if rule.secured {
		t := token.Request{
			Method: r.Method, Scheme: "http", Host: r.Host, RawPath: r.Path, Path: path, RawQuery: r.RawQuery,
			Header: r.Header, Client: client, Now: now,
		}
		if r.TLS {
			t.Scheme = "https"
		}
		if s.atlas != nil {
			t.Whereabouts = s.atlas.whereabouts
		}
		var err error
		if verified, err = c.credential(s, rule, &t, inPath); err != nil {
			reason := reasonOf(err)
			d := refusal(reason, rule.strip)
			d.detail = err
			if reason == token.Missing && rule.JWT != nil && rule.JWT.Bearer {
				d.Status = http.StatusUnauthorized // RFC 6750 §3
				d.SetHeader = http.Header{"Www-Authenticate": {"Bearer"}}
			}
			return d
		}
	}
	d := Decision{Allow: true, Grant: rule.grantOf(verified, path), StripQuery: rule.strip}
	if inPath != "" {
		d.Path = path
	}
	if rate := rule.Rate; rate != nil {
		if rate.PerSubject > 0 && d.Grant.Subject != "" {
			key := limit.Key{Scope: rule.Path, Name: d.Grant.Subject, Hi: 1}
			if wait, ok := s.rates.Allow(key, now, rate.PerSubject, rate.Burst); !ok {
				return tooMany(RateSubject, wait, rule.strip)
			}
		}
		if rate.PerTenant > 0 && d.Grant.Tenant != "" {
			key := limit.Key{Scope: rule.Path, Name: d.Grant.Tenant, Hi: 2}
			if wait, ok := s.rates.Allow(key, now, rate.PerTenant, rate.Burst); !ok {
				return tooMany(RateTenant, wait, rule.strip)
			}
		}
	}
	if c.meter(s, rule, client, now) {
		if asked, refused := c.ask(s, r, client, now, rule.strip); refused {
			return asked
		}
	}
	return d
}

// checkClient checks all that is not a credential, the cheapest first.
func (c *Chain) checkClient(s *state, rule *rule, r *Request, client netip.Addr, now time.Time) (Decision, bool) {
	if rule.addresses != nil {
		switch rule.addresses.SideOf(client) {
		case network.Blocked:
			return refusal(AddressBlocked, rule.strip), true
		case network.Outside:
			return refusal(AddressUnlisted, rule.strip), true
		case network.Allowed:
		}
	}
	if rate := rule.Rate; rate != nil && rate.PerAddress > 0 {
		b := limit.ClientOf(client).As16()
		key := limit.Key{Scope: rule.Path, Hi: bigEndian(b[:8]), Lo: bigEndian(b[8:])}
		if wait, ok := s.rates.Allow(key, now, rate.PerAddress, rate.Burst); !ok {
			return tooMany(RateAddress, wait, rule.strip), true
		}
	}
	if rule.Geo != nil {
		if reason := rule.Geo.check(s.atlas.whereabouts(client)); reason != "" {
			return refusal(reason, rule.strip), true
		}
	}
	if rule.Referrer != nil {
		if reason := rule.Referrer.check(r.Header); reason != "" {
			return refusal(reason, rule.strip), true
		}
	}
	if c.challenged(rule, client, now) {
		return c.ask(s, r, client, now, rule.strip)
	}
	return Decision{}, false
}

func bigEndian(b []byte) uint64 {
	n := uint64(0)
	for _, x := range b {
		n = n<<8 | uint64(x)
	}
	return n
}

func tooMany(reason Reason, wait time.Duration, strip []string) Decision {
	d := refusal(reason, strip)
	d.RetryAfter = max(time.Second, (wait + time.Second - 1).Truncate(time.Second))
	return d
}

// ConnOpened counts a connection. If ok is false the client has as many as it may, and this one is to be
// closed. release is to be called when the connection has ended, whatever ok is.
func (c *Chain) ConnOpened(addr netip.Addr) (release func(), ok bool) {
	most := c.state.Load().ConnectionsPerAddress
	if most == 0 || !addr.IsValid() {
		return func() {}, true
	}
	if release, ok = c.connections.Open(addr, most); !ok {
		c.metrics.connections.Inc()
	}
	return release, ok
}

// Covers reports whether what was granted for the object at path holds for the one at candidate as well, as
// a prefetch needs to know: the same rule counts, and it is within the grant's prefix. Both are clean paths.
func (c *Chain) Covers(g Grant, path, candidate string) bool {
	s := c.state.Load()
	if clean, ok := token.CleanPath(candidate); !ok || clean != candidate || s.find(path) != s.find(candidate) {
		return false
	}
	return candidate == g.Prefix || strings.HasSuffix(g.Prefix, "/") && strings.HasPrefix(candidate, g.Prefix)
}

// Challenge asks browsers of a network for work before they are let to anything whose rule does not say
// never, and refuses all else of that network, for a while; 0 is until [Chain.Unchallenge].
func (c *Chain) Challenge(clients netip.Prefix, hold time.Duration) error {
	now := c.now()
	until := now.AddDate(100, 0, 0)
	if hold > 0 {
		until = now.Add(hold)
	}
	if !clients.IsValid() {
		return fmt.Errorf("challenge: %q is not a network", clients)
	}
	if !c.networks.Add(clients, until, now) {
		return fmt.Errorf("challenge %s: %d networks are challenged already", clients, challenge.MaxNetworks)
	}
	c.log.Warn("network challenged", "network", clients, "until", until)
	return nil
}

// Unchallenge ends the challenge of a network and of all in it, and reports whether there was one.
func (c *Chain) Unchallenge(clients netip.Prefix) bool {
	removed := c.networks.Remove(clients)
	if removed {
		c.log.Info("network no longer challenged", "network", clients)
	}
	return removed
}

// Challenges returns the networks that are challenged, and until when.
func (c *Chain) Challenges() map[netip.Prefix]time.Time { return c.networks.List(c.now()) }

// sweep forgets networks that are challenged no more, now and then.
func (c *Chain) sweep(now time.Time) {
	last := c.swept.Load()
	if at := now.Unix(); at-last >= 10 && c.swept.CompareAndSwap(last, at) {
		c.networks.Sweep(now)
	}
}

// challenged reports whether a client is to be asked for work.
func (c *Chain) challenged(rule *rule, client netip.Addr, now time.Time) bool {
	if rule.Challenge == nil {
		return c.networks.Has(client, now)
	}
	switch rule.Challenge.Mode {
	case challengeAlways:
		return true
	case challengeNever:
		return false
	}
	return c.networks.Has(client, now)
}

// meter counts a request of a network that is allowed, and challenges a network that goes over the rule's rate. What is
// refused does not count: its cost is small, and one client that goes on against a wall would shut out its neighbours.
// It reports whether it has begun to.
func (c *Chain) meter(s *state, rule *rule, client netip.Addr, now time.Time) bool {
	if rule.Challenge == nil || rule.Challenge.Mode != challengeAbuse || rule.Challenge.Above == 0 || !client.IsValid() {
		return false
	}
	clients := challenge.NetworkOf(client)
	b := clients.Addr().As16()
	key := limit.Key{Scope: rule.Path, Name: "network", Hi: bigEndian(b[:8]), Lo: bigEndian(b[8:])}
	if _, ok := s.rates.Allow(key, now, rule.Challenge.Above, time.Second); ok || c.networks.Has(client, now) {
		return false
	}
	if c.networks.Add(clients, now.Add(s.Challenge.Hold), now) {
		c.log.LogAttrs(context.Background(), slog.LevelWarn, "network challenged",
			slog.Any("network", clients), slog.String("rule", rule.Path), slog.Duration("hold", s.Challenge.Hold))
		return true
	}
	return false
}

// ask refuses a client that has not answered: a browser that opens a page gets the work, all else has to wait.
func (c *Chain) ask(s *state, r *Request, client netip.Addr, now time.Time, strip []string) (Decision, bool) {
	if answer, n := cookie(r.Header, s.Challenge.Cookie); n == 1 && s.work.Verify(answer, client, now) == nil {
		return Decision{}, false
	}
	d := refusal(Challenged, strip)
	if navigates(r) {
		var policy string
		d.Body, policy = s.work.Page(client, now)
		d.RetryAfter = 0
		d.SetHeader = http.Header{
			"Content-Type": {"text/html; charset=utf-8"}, "Content-Security-Policy": {policy}, "Cache-Control": {"no-store"},
			"X-Content-Type-Options": {"nosniff"}, "Referrer-Policy": {"no-referrer"},
		}
		return d, true
	}
	d.RetryAfter = s.Challenge.Hold
	return d, true
}

// navigates reports whether a browser opens a page. Those that say so say so (Fetch Metadata); of the others
// it is believed if they want HTML.
func navigates(r *Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	if mode := r.Header["Sec-Fetch-Mode"]; len(mode) > 0 {
		return mode[0] == "navigate"
	}
	accept := r.Header["Accept"]
	return len(accept) > 0 && strings.Contains(accept[0], "text/html")
}
