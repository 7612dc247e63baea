package upstream

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/weir-stream/weir/internal/cdn/upstream/dial"
	"github.com/weir-stream/weir/internal/cdn/upstream/health"
	"github.com/weir-stream/weir/internal/secret"
)

// Config is what users write about where objects come from.
type Config struct {
	// Origins are asked for objects. Shields are edges in front of them, which are asked first; a
	// shield's name is its node ID, and a node that finds its own ID here is a shield itself.
	Origins []OriginConfig `yaml:"origins"`
	Shields []OriginConfig `yaml:"shields"`
	// Balance is how one of several origins is chosen: least-requests or hash.
	Balance Balance `yaml:"balance"`
	// Proxy is the URL of an HTTP or SOCKS5 proxy on the way to the origins; "environment" takes
	// what HTTP_PROXY, HTTPS_PROXY and NO_PROXY say; "" is none.
	Proxy string `yaml:"proxy"`
	// ConnectTimeout is how long connecting may take, and the TLS handshake after it.
	ConnectTimeout time.Duration `yaml:"connect_timeout"`
	// IdleTimeout is how long an unused connection is kept.
	IdleTimeout time.Duration `yaml:"idle_timeout"`
	// MaxConnections bounds the connections to one origin, MaxIdle those of them that are kept unused.
	MaxConnections int `yaml:"max_connections"`
	MaxIdle        int `yaml:"max_idle"`
	// MaxRequests bounds the requests to one origin that run or wait for a connection.
	MaxRequests int `yaml:"max_requests"`

	Health  health.Active  `yaml:"health"`
	Passive health.Passive `yaml:"passive"`
	Retry   RetryConfig    `yaml:"retry"`
}

// Balance is a way to choose one of several origins.
type Balance string

// The ways to choose.
const (
	LeastRequests Balance = "least-requests" // the fewest running requests for its weight
	Hash          Balance = "hash"           // the same origin for the same object, with bounded load
)

// OriginConfig is one origin or shield.
type OriginConfig struct {
	// Name identifies it in the log, in metrics and for consistent hashing; by default the host and
	// path of its URL.
	Name string `yaml:"name"`
	// URL is what a request's path is appended to.
	URL string `yaml:"url"`
	// Weight is its share, 0 is 1.
	Weight int `yaml:"weight"`
	// Backup makes it one that is asked only when the others cannot be.
	Backup bool `yaml:"backup"`
	// Host is the Host field that it is sent, by default that of URL; PreserveHost sends the
	// viewer's instead.
	Host         string `yaml:"host"`
	PreserveHost bool   `yaml:"preserve_host"`
	// Headers are fields added to each request.
	Headers []HeaderConfig `yaml:"headers"`
	// HealthPath is what is asked by active checks, by default the pool's; "none" is no check. Shields
	// are checked only if they have one.
	HealthPath string `yaml:"health_path"`
	// HTTP2 allows HTTP/2 where TLS negotiates it.
	HTTP2 bool     `yaml:"http2"`
	TLS   dial.TLS `yaml:"tls"`
}

// HeaderConfig is one field. A secret is better in a file or a variable than in Value, which is not shown for all that.
type HeaderConfig struct {
	Name  string      `yaml:"name"`
	Value secret.Text `yaml:"value"`
	File  string      `yaml:"file"` // one trailing line end is not part of the value
	Env   string      `yaml:"env"`
}

// RetryConfig is about asking another origin.
type RetryConfig struct {
	// Attempts is how often one request may be sent in all.
	Attempts int `yaml:"attempts"`
	// Ratio is the share of requests that may be retries, PerSecond what is allowed beside it.
	Ratio     float64 `yaml:"ratio"`
	PerSecond float64 `yaml:"per_second"`
	// AttemptTimeout is how long one origin may take to the head of its answer before another is asked;
	// 0 leaves it to the caller.
	AttemptTimeout time.Duration `yaml:"attempt_timeout"`
}

// maxOrigins bounds the origins and shields of a pool.
const maxOrigins = 64

// DefaultConfig returns a configuration without origins.
func DefaultConfig() Config {
	return Config{
		Balance:        LeastRequests,
		ConnectTimeout: 3 * time.Second,
		IdleTimeout:    50 * time.Second,
		MaxConnections: 256,
		MaxIdle:        64,
		MaxRequests:    1024,
		Health:         health.DefaultActive(),
		Passive:        health.DefaultPassive(),
		Retry:          RetryConfig{Attempts: 3, Ratio: 0.2, PerSecond: 3},
	}
}

// Validate reports the first value that cannot be; Health, Passive and Retry validate themselves. A
// configuration without origins is valid, but makes no [Pool].
func (c Config) Validate() error {
	switch {
	case c.Balance != LeastRequests && c.Balance != Hash:
		return fmt.Errorf("balance is %q; least-requests or hash is expected", c.Balance)
	case c.ConnectTimeout <= 0:
		return fmt.Errorf("connect_timeout is %v; a duration of more than 0s is expected", c.ConnectTimeout)
	case c.IdleTimeout <= 0:
		return fmt.Errorf("idle_timeout is %v; a duration of more than 0s is expected", c.IdleTimeout)
	case c.MaxConnections < 1:
		return fmt.Errorf("max_connections is %d; a number from 1 is expected", c.MaxConnections)
	case c.MaxIdle < 1:
		return fmt.Errorf("max_idle is %d; a number from 1 is expected", c.MaxIdle)
	case c.MaxRequests < 1:
		return fmt.Errorf("max_requests is %d; a number from 1 is expected", c.MaxRequests)
	case len(c.Origins) == 0 && len(c.Shields) > 0:
		return errors.New("shields are given, but no origins; shields need origins to fall back to")
	case len(c.Origins)+len(c.Shields) > maxOrigins:
		return fmt.Errorf("there are %d origins and shields; at most %d are expected", len(c.Origins)+len(c.Shields), maxOrigins)
	}
	if err := dial.ValidateProxy(c.Proxy); err != nil {
		return err
	}
	names := map[string]bool{}
	for i, o := range slices.Concat(c.Origins, c.Shields) {
		key := fmt.Sprintf("origins[%d]", i)
		if i >= len(c.Origins) {
			key = fmt.Sprintf("shields[%d]", i-len(c.Origins))
			if o.Backup {
				return fmt.Errorf("%s: backup is true; the origins are what shields fall back to", key)
			}
		}
		base, err := o.validate()
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		name := o.name(base)
		if names[name] {
			return fmt.Errorf("%s: the name %q is taken; another name is expected", key, name)
		}
		names[name] = true
	}
	if !slices.ContainsFunc(c.Origins, func(o OriginConfig) bool { return !o.Backup }) && len(c.Origins) > 0 {
		return errors.New("origins: all are backups; one that is not is expected")
	}
	return nil
}

// name returns the name of the origin at base.
func (o OriginConfig) name(base *url.URL) string {
	if o.Name != "" {
		return o.Name
	}
	return base.Host + strings.TrimSuffix(base.Path, "/")
}

// forbiddenFields are those that HTTP itself, or the pool, is responsible for.
var forbiddenFields = []string{
	"Cdn-Loop", "Connection", "Content-Length", "Host", "Keep-Alive", "Proxy-Connection", "Te", "Trailer",
	"Transfer-Encoding", "Upgrade", "Via",
}

func (o OriginConfig) validate() (*url.URL, error) {
	base, err := url.Parse(o.URL)
	switch {
	case err != nil:
		return nil, fmt.Errorf("url is %q; a URL such as https://origin.example is expected", o.URL)
	case base.Scheme != "http" && base.Scheme != "https", base.Hostname() == "", base.Opaque != "":
		return nil, fmt.Errorf("url is %q; a URL such as https://origin.example is expected", o.URL)
	case base.User != nil:
		return nil, errors.New("url has a user or a password; an Authorization header by file or env is expected")
	case base.RawQuery != "" || base.ForceQuery || base.Fragment != "":
		return nil, fmt.Errorf("url is %q; one without query and fragment is expected", o.URL)
	case o.Weight < 0 || o.Weight > 1000:
		return nil, fmt.Errorf("weight is %d; a number from 1 to 1000 is expected", o.Weight)
	case o.Host != "" && !httpguts.ValidHostHeader(o.Host):
		return nil, fmt.Errorf("host is %q; a host such as origin.example is expected", o.Host)
	case o.Host != "" && o.PreserveHost:
		return nil, fmt.Errorf("host is %q and preserve_host is true; one of them is expected", o.Host)
	case o.HealthPath != "" && o.HealthPath != noCheck && !health.ValidPath(o.HealthPath):
		return nil, fmt.Errorf("health_path is %q; a path that begins with / or none is expected", o.HealthPath)
	case o.HTTP2 && base.Scheme == "http":
		return nil, fmt.Errorf("http2 is true for %q; HTTP/2 needs https", o.URL)
	case o.TLS != (dial.TLS{}) && base.Scheme == "http":
		return nil, fmt.Errorf("tls is given for %q; an https URL is expected", o.URL)
	case (o.TLS.CertFile == "") != (o.TLS.KeyFile == ""):
		return nil, errors.New("tls: one of cert_file and key_file is given; both are expected")
	}
	for i, h := range o.Headers {
		if err := h.validate(); err != nil {
			return nil, fmt.Errorf("headers[%d]: %w", i, err)
		}
	}
	return base, nil
}

// noCheck as a health path means that the origin is not checked.
const noCheck = "none"

func (h HeaderConfig) validate() error {
	given := 0
	for _, s := range []string{string(h.Value), h.File, h.Env} {
		if s != "" {
			given++
		}
	}
	switch {
	case !httpguts.ValidHeaderFieldName(h.Name):
		return fmt.Errorf("name is %q; a field name such as X-Origin-Secret is expected", h.Name)
	case slices.Contains(forbiddenFields, http.CanonicalHeaderKey(h.Name)):
		return fmt.Errorf("name is %q; this field is not for the configuration", h.Name)
	case given != 1:
		return fmt.Errorf("%s: %d of value, file and env are given; one is expected", h.Name, given)
	case !httpguts.ValidHeaderFieldValue(string(h.Value)):
		return fmt.Errorf("%s: the value has a control character; text is expected", h.Name)
	}
	return nil
}

// Validate reports the first value that cannot be.
func (c RetryConfig) Validate() error {
	switch {
	case c.Attempts < 1 || c.Attempts > 10:
		return fmt.Errorf("attempts is %d; a number from 1 to 10 is expected", c.Attempts)
	case !(c.Ratio >= 0 && c.Ratio <= 1):
		return fmt.Errorf("ratio is %v; a number from 0 to 1 is expected", c.Ratio)
	case !(c.PerSecond >= 0 && c.PerSecond <= 1000):
		return fmt.Errorf("per_second is %v; a number from 0 to 1000 is expected", c.PerSecond)
	case c.AttemptTimeout < 0:
		return fmt.Errorf("attempt_timeout is %v; 0s or more is expected", c.AttemptTimeout)
	}
	return nil
}
