package edge

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/weir-stream/weir/internal/cdn/transform"
)

// Config is what users write about an edge.
type Config struct {
	// HeadTimeout is how long the origin may take to the head of its answer, FillTimeout to its
	// last byte. For an object that outgrows the cache, and comes as fast as the slowest viewer takes it, the
	// latter is how long the origin may pause.
	HeadTimeout time.Duration `yaml:"head_timeout"`
	FillTimeout time.Duration `yaml:"fill_timeout"`
	// StaleWait is how long a viewer waits for the origin where a stale object may be served if that fails.
	StaleWait time.Duration `yaml:"stale_wait"`
	// MaxFetches bounds the fetches for the cache that run at the same time; MaxQueue those that
	// wait for one to end, for QueueTimeout at most. What is beyond is refused with 503.
	MaxFetches   int           `yaml:"max_fetches"`
	MaxQueue     int           `yaml:"max_queue"`
	QueueTimeout time.Duration `yaml:"queue_timeout"`
	// MaxPasses bounds the answers that are passed through without being kept.
	MaxPasses int `yaml:"max_passes"`
	// MaxUpgrades bounds the connections that have been upgraded, such as WebSockets. What is beyond is refused
	// with 503.
	MaxUpgrades int `yaml:"max_upgrades"`
	// MaxPrefetches bounds the fetches that run at the same time for what players say they will ask for
	// next. What is beyond is not fetched.
	MaxPrefetches int `yaml:"max_prefetches"`
	// TrustedProxies are the prefixes from which X-Forwarded-For is believed.
	TrustedProxies []netip.Prefix `yaml:"trusted_proxies"`
	// SliceBytes is the size of the parts in which large objects are fetched and kept; 0: they are not
	// kept. What is fetched begins at a multiple of it.
	SliceBytes int64 `yaml:"slice_bytes"`
	// Compression says what is encoded, and how, where a rule has compress.
	Compression transform.Config `yaml:"compression"`
	// Rules say what is done with requests by the beginning of their path; the longest counts. Without any
	// the role of the process decides.
	Rules []Rule `yaml:"rules"`
}

// Rule is what is done with the requests whose path begins with Path.
type Rule struct {
	Path string `yaml:"path"`
	// Forward is what of a request the origin is told.
	Forward Forward `yaml:"forward"`
	// Host is whose Host the origin is asked with, and objects are kept under; by default the origin's.
	Host Host `yaml:"host"`
	// CORS answers for the origin that any page may read the objects, without credentials.
	CORS bool `yaml:"cors"`
	// Live objects are of use for a short time: they are kept in memory, apart from the others.
	Live bool `yaml:"live"`
	// Bypass asks the origin each time.
	Bypass bool `yaml:"bypass"`
	// ObeyRequests lets the Cache-Control of a request count (RFC 9111 §5.2.1). Without it no viewer can
	// make the edge ask the origin again.
	ObeyRequests bool `yaml:"obey_requests"`
	// Prefetch fetches what players say they will ask for next (CMCD nor and nrr), and what the playlists
	// name that they will begin with.
	Prefetch bool `yaml:"prefetch"`
	// Pace sends no faster than a player asks (CMCD rtp), where the connection is one of the edge's own loop.
	Pace bool `yaml:"pace"`
	// Compress gives text in the content coding that a viewer likes best. The origin is asked for what is not
	// encoded, and each encoding is made once and kept.
	Compress bool `yaml:"compress"`
	// CMSD tells players of the edge and of the way to them (CTA-5006, CMSD-Dynamic). There are players that obey it
	// unasked.
	CMSD bool `yaml:"cmsd"`
	// Upgrade passes WebSockets and other protocols that a connection is upgraded to.
	Upgrade bool `yaml:"upgrade"`
}

// Forward is what of a request the origin is told.
type Forward string

const (
	// ForwardObject tells the origin which object is wanted and nothing else: not who wants it, nor how.
	// Only GET and HEAD pass. It is for media: one object, the same for everybody.
	ForwardObject Forward = "object"
	// ForwardRequest tells the origin what the request says, but for CMCD and what is for the cache. All
	// methods pass; what is kept follows RFC 9111, variants included.
	ForwardRequest Forward = "request"
)

// Host is whose Host an origin is asked with.
type Host string

const (
	// HostOrigin asks with the origin's own name. What a viewer calls the edge makes no difference.
	HostOrigin Host = "origin"
	// HostViewer asks with the name that the viewer has asked for, if the origin is configured with preserve_host,
	// and keeps the objects of each name apart.
	HostViewer Host = "viewer"
)

// minSlice is the least size of a slice.
const minSlice = 64 << 10

// DefaultConfig returns the configuration of an edge that nobody has configured: one for media.
func DefaultConfig() Config {
	return Config{
		HeadTimeout:  10 * time.Second,
		FillTimeout:  time.Minute,
		StaleWait:    time.Second,
		MaxFetches:   256,
		MaxQueue:     1024,
		QueueTimeout: 2 * time.Second,
		MaxPasses:    256,

		MaxUpgrades:   1024,
		MaxPrefetches: 32,
		SliceBytes:    2 << 20,
		Compression:   transform.DefaultConfig(),
	}
}

// MediaRules are the rules of an edge in front of an origin of media, if it is not told others.
func MediaRules() []Rule {
	return []Rule{
		{Path: "/", Forward: ForwardObject, CORS: true, Prefetch: true},
		{Path: "/live/", Forward: ForwardObject, CORS: true, Live: true},
	}
}

// ProxyRules are the rules of an edge in front of any HTTP origin, if it is not told others.
func ProxyRules() []Rule {
	return []Rule{{Path: "/", Forward: ForwardRequest, ObeyRequests: true, Upgrade: true}}
}

// Validate reports the first value that cannot be.
func (c Config) Validate() error {
	for _, d := range []struct {
		key   string
		value time.Duration
	}{
		{"head_timeout", c.HeadTimeout}, {"fill_timeout", c.FillTimeout}, {"stale_wait", c.StaleWait}, {"queue_timeout", c.QueueTimeout},
	} {
		if d.value <= 0 {
			return fmt.Errorf("%s is %v; a duration of more than 0s is expected", d.key, d.value)
		}
	}
	switch {
	case c.FillTimeout < c.HeadTimeout:
		return fmt.Errorf("fill_timeout is %v; at least head_timeout (%v) is expected", c.FillTimeout, c.HeadTimeout)
	case c.MaxFetches < 1:
		return fmt.Errorf("max_fetches is %d; a number from 1 is expected", c.MaxFetches)
	case c.MaxQueue < 0:
		return fmt.Errorf("max_queue is %d; a number from 0 is expected", c.MaxQueue)
	case c.MaxPasses < 1:
		return fmt.Errorf("max_passes is %d; a number from 1 is expected", c.MaxPasses)
	case c.MaxUpgrades < 0:
		return fmt.Errorf("max_upgrades is %d; a number from 0 is expected", c.MaxUpgrades)
	case c.MaxPrefetches < 0:
		return fmt.Errorf("max_prefetches is %d; a number from 0 is expected", c.MaxPrefetches)
	case c.SliceBytes != 0 && (c.SliceBytes < minSlice || c.SliceBytes > 32<<20):
		return fmt.Errorf("slice_bytes is %d; 0 or a number from 65536 to 33554432 is expected", c.SliceBytes)
	}
	if err := c.Compression.Validate(); err != nil {
		return fmt.Errorf("compression: %w", err)
	}
	for _, p := range c.TrustedProxies {
		if !p.IsValid() {
			return fmt.Errorf("trusted_proxies has %q; a prefix such as 10.0.0.0/8 is expected", p)
		}
	}
	return validateRules(c.Rules)
}

func validateRules(rules []Rule) error {
	seen := make(map[string]bool)
	for i, r := range rules {
		switch {
		case !strings.HasPrefix(r.Path, "/"):
			return fmt.Errorf("rules[%d].path is %q; a path that begins with / is expected", i, r.Path)
		case seen[r.Path]:
			return fmt.Errorf("rules[%d].path is %q, as that of another rule; one rule for each path is expected", i, r.Path)
		case r.Forward != ForwardObject && r.Forward != ForwardRequest:
			return fmt.Errorf("rules[%d].forward is %q; object or request is expected", i, r.Forward)
		case r.Host != "" && r.Host != HostOrigin && r.Host != HostViewer:
			return fmt.Errorf("rules[%d].host is %q; origin or viewer is expected", i, r.Host)
		case r.Forward == ForwardObject && (r.ObeyRequests || r.Upgrade):
			return fmt.Errorf("rules[%d] has obey_requests or upgrade; forward: request is expected with that", i)
		}
		seen[r.Path] = true
	}
	if len(rules) > 0 && !seen["/"] {
		return fmt.Errorf("rules has none for /; one is expected, for what no other is for")
	}
	return nil
}

// rules are a configuration's, the longest path first.
type rules []Rule

func (r rules) of(path string) *Rule {
	for i := range r {
		if strings.HasPrefix(path, r[i].Path) {
			return &r[i]
		}
	}
	return &r[len(r)-1] // not below /, as in OPTIONS *
}
