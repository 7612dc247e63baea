package upstream

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/weir-stream/weir/internal/cdn/upstream/dial"
)

func write(t testing.TB, name, content string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestConfigurationsThatCannotBe(t *testing.T) {
	one := func(f func(*OriginConfig)) func(*Config) {
		return func(c *Config) { f(&c.Origins[0]) }
	}
	for _, test := range []struct {
		name   string
		change func(*Config)
		want   string // in the error
	}{
		{"nothing wrong", func(*Config) {}, ""},
		{"no origin", func(c *Config) { c.Origins = nil }, "no origin is given"},
		{"shields alone", func(c *Config) { c.Shields, c.Origins = c.Origins, nil }, "shields need origins"},
		{"no scheme", one(func(o *OriginConfig) { o.URL = "origin.example" }), `origins[0]: url is "origin.example"; a URL such as`},
		{"another scheme", one(func(o *OriginConfig) { o.URL = "ftp://o" }), "a URL such as https://origin.example"},
		{"no host", one(func(o *OriginConfig) { o.URL = "http://:80/" }), "a URL such as"},
		{"a password", one(func(o *OriginConfig) { o.URL = "http://u:secret@o" }), "an Authorization header by file or env"},
		{"a query", one(func(o *OriginConfig) { o.URL = "http://o?x" }), "without query"},
		{"weight", one(func(o *OriginConfig) { o.Weight = -1 }), "weight is -1"},
		{"two hosts", one(func(o *OriginConfig) { o.Host, o.PreserveHost = "a", true }), "one of them is expected"},
		{"bad host", one(func(o *OriginConfig) { o.Host = "a b" }), `host is "a b"`},
		{"http2 without TLS", one(func(o *OriginConfig) { o.HTTP2 = true }), "HTTP/2 needs https"},
		{"tls without TLS", one(func(o *OriginConfig) { o.TLS.Insecure = true }), "an https URL is expected"},
		{"half a certificate", one(func(o *OriginConfig) { o.URL = "https://o"; o.TLS = dial.TLS{KeyFile: "k"} }), "both are expected"},
		{"no such CA", one(func(o *OriginConfig) { o.URL = "https://o"; o.TLS = dial.TLS{CAFile: "/nowhere"} }), "origins[0]: tls: ca_file: open /nowhere"},
		{"no CA in the file", one(func(o *OriginConfig) { o.URL = "https://o"; o.TLS = dial.TLS{CAFile: "config.go"} }), "holds no certificate"},
		{"a field of ours", one(func(o *OriginConfig) { o.Headers = []HeaderConfig{{Name: "host", Value: "x"}} }), "not for the configuration"},
		{"a bad field name", one(func(o *OriginConfig) { o.Headers = []HeaderConfig{{Name: "x y", Value: "x"}} }), "a field name such as"},
		{"a field without a value", one(func(o *OriginConfig) { o.Headers = []HeaderConfig{{Name: "X"}} }), "0 of value, file and env are given"},
		{"a field with a line break", one(func(o *OriginConfig) { o.Headers = []HeaderConfig{{Name: "X", Value: "a\r\nb"}} }), "control character"},
		{"no such file", one(func(o *OriginConfig) { o.Headers = []HeaderConfig{{Name: "X", File: "/nowhere"}} }), "headers[0]: X: open /nowhere"},
		{"no such variable", one(func(o *OriginConfig) { o.Headers = []HeaderConfig{{Name: "X", Env: "WEIR_NOT_SET"}} }), "no variable WEIR_NOT_SET"},
		{"health path", one(func(o *OriginConfig) { o.HealthPath = "health" }), "a path that begins with / or none"},
		{"one name twice", func(c *Config) { c.Origins = append(c.Origins, c.Origins[0]) }, `origins[1]: the name "origin.example" is taken`},
		{"backups only", one(func(o *OriginConfig) { o.Backup = true }), "all are backups"},
		{"a shield as backup", func(c *Config) { c.Shields = []OriginConfig{{URL: "http://s", Backup: true}} }, "shields[0]: backup is true"},
		{"balance", func(c *Config) { c.Balance = "random" }, `balance is "random"; least-requests or hash is expected`},
		{"proxy", func(c *Config) { c.Proxy = "proxy:3128" }, "proxy is no URL"},
		{"connections", func(c *Config) { c.MaxConnections = 0 }, "max_connections is 0"},
		{"too many", func(c *Config) { c.Origins = make([]OriginConfig, 65) }, "at most 64"},
		{"checks", func(c *Config) { c.Health.Interval = time.Millisecond }, "health.interval is 1ms"},
		{"check statuses", func(c *Config) { c.Health.Statuses = []int{99} }, "health.statuses has 99"},
		{"passive", func(c *Config) { c.Passive.Ratio = 1.5 }, "passive.ratio is 1.5"},
		{"back-off", func(c *Config) { c.Passive.MaxBackoff = 0 }, "passive.max_backoff is 0s; at least backoff (1s)"},
		{"retry", func(c *Config) { c.Retry.Attempts = 0 }, "retry.attempts is 0"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := DefaultConfig()
			c.Origins = []OriginConfig{{URL: "http://origin.example"}}
			test.change(&c)
			_, err := New(Settings{Config: c, ID: "edge-1"})
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("the error tells a secret: %v", err)
			}
		})
	}
	if err := DefaultConfig().Validate(); err != nil {
		t.Errorf("the default configuration: %v", err)
	}
	for _, id := range []string{"", "a b", "a,b", "a;b"} {
		if _, err := New(Settings{Config: DefaultConfig(), ID: id}); err == nil || !strings.Contains(err.Error(), "the ID is") {
			t.Errorf("ID %q: error %v", id, err)
		}
	}
}

func TestConfiguredProxiesOnly(t *testing.T) {
	proxy := serve(t, says("by the proxy"))
	t.Setenv("HTTP_PROXY", proxy.URL)
	p := newPool(t, origins(serve(t, says("direct")).URL))
	if body, _, err := get(t, p, "/"); err != nil || body != "direct" {
		t.Errorf("%q, %v: the environment is not to be asked", body, err)
	}
	p = newPool(t, origins("http://origin.invalid"), config(func(c *Config) { c.Proxy = proxy.URL }))
	body, trace, err := get(t, p, "/")
	if err != nil || body != "by the proxy" || "http://"+trace.Address.String() != proxy.URL {
		t.Errorf("%q, %v, %+v", body, err, trace)
	}
}
