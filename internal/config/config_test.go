package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

func TestNothingIsNeeded(t *testing.T) {
	t.Chdir(t.TempDir())
	c, err := Load(Sources{})
	if err != nil {
		t.Fatal(err)
	}
	if c.Public.Address != ":8080" || c.Private.Address != "127.0.0.1:8090" || c.Live.RTMP.Address != ":1935" || c.Data != "./weir-data" {
		t.Errorf("defaults = %+v", c)
	}
}

// Each source lies over the one before it.
func TestPrecedence(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "weir.yaml", "public:\n  address: :1111\nprivate:\n  address: 127.0.0.1:1111\ndata: /file\n")
	c, err := Load(Sources{
		Environ: []string{"HOME=/root", "WEIR_PRIVATE_ADDRESS=127.0.0.1:2222", "WEIR_DATA=/environment"},
		Set:     map[string]string{"data": "/flag", "public.idle_timeout": "9s"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if c.Public.Address != ":1111" || c.Private.Address != "127.0.0.1:2222" || c.Data != "/flag" || c.Public.IdleTimeout != 9*time.Second {
		t.Errorf("public %s private %s data %s idle %v", c.Public.Address, c.Private.Address, c.Data, c.Public.IdleTimeout)
	}
	if c.Public.HeaderTimeout != Default().Public.HeaderTimeout {
		t.Error("a section in the file took the defaults of its other keys away")
	}
}

// Bad files, each with what must be said of it.
func TestMistakesInTheFile(t *testing.T) {
	for name, test := range map[string]struct{ file, want string }{
		"a misspelt key":     {"public:\n  adress: :80\n", `weir.yaml:2: unknown key "public.adress"; did you mean "public.address"?`},
		"a misspelt section": {"\nlive:\n  rtpm:\n    address: :1\n", `weir.yaml:3: unknown key "live.rtpm"; did you mean "live.rtmp"?`},
		"a misspelt key in a list": {
			"cdn:\n  upstream:\n    origins:\n      - url: http://a.example\n      - url: http://b.example\n        wieght: 2\n",
			`weir.yaml:6: unknown key "cdn.upstream.origins[1].wieght"; did you mean "cdn.upstream.origins[1].weight"?`,
		},
		"a misspelt key in a list in a list": {
			"cdn:\n  upstream:\n    origins:\n      - url: http://a.example\n        headers: [{name: a, vlaue: b}]\n",
			`weir.yaml:5: unknown key "cdn.upstream.origins[0].headers[0].vlaue"; did you mean "cdn.upstream.origins[0].headers[0].value"?`,
		},
		"a misspelt key behind an alias": {
			"cdn:\n  edge:\n    rules:\n      - &a {path: /, forward: object, brypass: true}\n      - *a\n",
			`weir.yaml:4: unknown key "cdn.edge.rules[1].brypass"; did you mean "cdn.edge.rules[1].bypass"?`,
		},
		"a misspelt key in a part that may be missing": {
			"cdn:\n  access:\n    rules:\n      - path: /a/\n        token: {secretts: []}\n",
			`weir.yaml:5: unknown key "cdn.access.rules[0].token.secretts"`,
		},
		"several at once":       {"pubic: {}\nlgo: {}\n", `weir.yaml:2: unknown key "lgo"`},
		"a number for a time":   {"public:\n  idle_timeout: soon\n", "weir.yaml: yaml: unmarshal errors:\n  line 2: cannot unmarshal !!str `soon` into time.Duration"},
		"a list for a section":  {"public: [1]\n", "line 1"},
		"no YAML":               {"public: {\n", "weir.yaml: yaml: line 1"},
		"a value out of bounds": {"public:\n  address: '8080'\n", `configuration: public.address: "8080" is not host:port or :port`},
		"a bad word":            {"log:\n  level: loud\n", `configuration: log.level: "loud" is not debug, info, warn or error`},
		"a bad node":            {"node:\n  id: 'a b'\n", `configuration: node.id: "a b" is not a letter followed by`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			write(t, "weir.yaml", test.file)
			if _, err := Load(Sources{}); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("err = %v\nwant  %s", err, test.want)
			}
		})
	}
}

func TestMistakesElsewhere(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, test := range map[string]struct {
		sources Sources
		want    string
	}{
		"a named file that is not there": {Sources{File: "other.yaml"}, "configuration: open other.yaml: no such file"},
		"a misspelt variable":            {Sources{Environ: []string{"WEIR_PUBLIC_ADRESS=:80"}}, "environment: unknown variable WEIR_PUBLIC_ADRESS; did you mean \"WEIR_PUBLIC_ADDRESS\"?"},
		"a bad value in a variable":      {Sources{Environ: []string{"WEIR_PUBLIC_IDLE_TIMEOUT=soon"}}, `environment: WEIR_PUBLIC_IDLE_TIMEOUT: public.idle_timeout: "soon" is not a duration such as 10s or 1m30s`},
		"nothing in a variable":          {Sources{Environ: []string{"WEIR_TELEMETRY_STORE_RETENTION="}}, `environment: WEIR_TELEMETRY_STORE_RETENTION: telemetry.store.retention: "" is not a duration such as 10s or 1m30s`},
		"null in a variable":             {Sources{Environ: []string{"WEIR_TELEMETRY_STORE_QUERIES=~"}}, `telemetry.store.queries: "~" is not a number`},
		"no duration in a variable":      {Sources{Environ: []string{"WEIR_TELEMETRY_STORE_RETENTION=30"}}, `telemetry.store.retention: "30" is not a duration`},
		"a bad key on the command line":  {Sources{Set: map[string]string{"public.adress": ":80"}}, `command line: unknown key "public.adress"; did you mean "public.address"?`},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Load(test.sources); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("err = %v\nwant  %s", err, test.want)
			}
		})
	}
}

// What `weir config show` prints can be read back and says the same.
func TestTheWholeConfigurationCanBeWrittenAndRead(t *testing.T) {
	t.Chdir(t.TempDir())
	text, err := yaml.Marshal(Default())
	if err != nil {
		t.Fatal(err)
	}
	write(t, "weir.yaml", string(text))
	c, err := Load(Sources{})
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	again, err := yaml.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	if string(again) != string(text) {
		t.Errorf("read back:\n%s\nwritten:\n%s", again, text)
	}
}

// What `weir config show` prints may be shown to others.
func TestSecretsAreNotShown(t *testing.T) {
	t.Chdir(t.TempDir())
	const password, value = "hunter2", "sekret"
	write(t, "weir.yaml", `
role: edge
bus: {address: ':4222', user: weir, password: `+password+`}
cdn:
  upstream:
    origins: [{url: 'http://a.example', headers: [{name: X-Key, value: `+value+`}]}]
`)
	c, err := Load(Sources{})
	if err != nil {
		t.Fatal(err)
	}
	if string(c.Bus.Password) != password || string(c.CDN.Upstream.Origins[0].Headers[0].Value) != value {
		t.Error("the secrets are not read")
	}
	text, err := yaml.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, hush := range []string{password, value} {
		if strings.Contains(string(text), hush) {
			t.Errorf("%q is shown:\n%s", hush, text)
		}
	}
	if c, err = Load(Sources{Environ: []string{"WEIR_BUS_PASSWORD=other"}}); err != nil || string(c.Bus.Password) != "other" {
		t.Errorf("from a variable: %v", err)
	}
}

// Machines must not have the same name only because theirs is of no use.
func TestNamesOfNodes(t *testing.T) {
	for host, want := range map[string]string{
		"edge-1": "edge-1", "3f2a9c41b0de": "node-3f2a9c41b0de", "localhost": "", "localhost.localdomain": "", "": "", "über": "", "a b": "",
		strings.Repeat("1", 63): "",
	} {
		if got := nameOf(host); got != want {
			t.Errorf("a host called %q is the node %q, want %q", host, got, want)
		}
	}
	dir := t.TempDir()
	first, err := NodeName(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !nodeID.MatchString(first) || !strings.HasPrefix(first, "weir-") || len(first) < len("weir-")+8 {
		t.Errorf("it is called %q", first)
	}
	if again, err := NodeName(dir); err != nil || again != first {
		t.Errorf("it is called %q (%v), and was %q", again, err, first)
	}
	if other, err := NodeName(t.TempDir()); err != nil || other == first {
		t.Errorf("another machine is called %q (%v) too", other, err)
	}
	write(t, filepath.Join(dir, nameFile), "a b\n")
	if _, err := NodeName(dir); err == nil || !strings.Contains(err.Error(), nameFile) {
		t.Errorf("a file that is no name: %v", err)
	}
}

// Two keys must never have the same variable.
func TestVariablesAreUnambiguous(t *testing.T) {
	c := Default()
	seen := make(map[string]string)
	for key := range leavesOf(&c) {
		if other, ok := seen[VariableOf(key)]; ok {
			t.Errorf("%s and %s are both %s", key, other, VariableOf(key))
		}
		seen[VariableOf(key)] = key
	}
	if len(seen) < 20 {
		t.Errorf("only %d settings were found", len(seen))
	}
}

func FuzzParse(f *testing.F) {
	text, err := yaml.Marshal(Default())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte("public: {address: 8}\n"))
	f.Add([]byte("a: &a [*a]"))
	f.Fuzz(func(_ *testing.T, content []byte) {
		c := Default()
		_ = parse(&c, "fuzz.yaml", content)
	})
}

func write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Clean(name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
