package access_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.yaml.in/yaml/v3"

	"github.com/weir-stream/weir/internal/cdn/access"
	"github.com/weir-stream/weir/internal/cdn/access/token"
)

func TestTheDefaultsAreValid(t *testing.T) {
	c := access.DefaultConfig()
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
	if err := c.Challenge.Validate(); err != nil {
		t.Error(err)
	}
}

// What is wrong is named with its place, by the reader or by Validate.
func TestConfigurationsThatCannotBe(t *testing.T) {
	rule := func(part string) string { return "rules: [{path: /vod/, " + part + "}]" }
	const key = "keys: [{id: k1, secret: {env: KEY_A}}]"
	for _, test := range []struct{ config, want string }{
		{"skew: -1s", "skew: -1s is not from 0s to 24h"},
		{"verdict_bytes: 1", "verdict_bytes: 1 is less than"},
		{"rate_entries: 1", "rate_entries: 1 is not from"},
		{"connections_per_address: -1", "connections_per_address: -1 is less than 0"},
		{"challenge: {bits: 40}", "bits: 40 is not from 1 to 24"},
		{"challenge: {lifetime: 0s}", "lifetime: 0s is less than 1s"},
		{"challenge: {hold: 0s}", "hold: 0s is less than 1s"},
		{"challenge: {cookie: 'a b'}", `cookie: "a b" is not a name`},
		{"challenge: {secret: hush}", "a secret does not stand in the configuration"},
		{"challenge: {secret: {env: WEIR_KEY}}", "env: \"WEIR_KEY\" is read as a setting"},
		{"rules: [{token: {" + key + "}}]", `rules[0]: path: "" is not a clean path`},
		{"rules: [{path: vod/}]", `path: "vod/" is not a clean path`},
		{"rules: [{path: /a/../vod/}]", "is not a clean path"},
		{"rules: [{path: /vod/*}]", "is not a clean path"},
		{"rules: [{path: /vod%20/}]", "is not a clean path"},
		{"rules: [{path: /}, {path: /}]", "rules[1] (/): another rule has the same path"},
		{"rules: [{path: /, tokn: {}}]", `line 1: unknown key "tokn"; known here are path, tenant, token`},
		{"rules: [{path: /, token: }]", `line 1: "token" has no value`},
		{"rules: [{path: /, rate: ~}]", `"rate" has no value`},
		{"rules: [{path: /, token: {key: []}}]", `unknown key "key"`},
		{"rules: [{path: /, token: {keys: [{name: k}]}}]", `unknown key "name"; known here are id, secret`},
		{"rules: [{path: /, geo: {allow: {country: [SE]}}}]", `unknown key "country"; known here are countries`},
		{"rules: [[]]", "a mapping of keys to values is expected"},
		{"rules: [{path: /, token: [a]}]", "a mapping of keys to values is expected"},
		{"rules: [&r {path: /a}, {<<: *r, path: /b}]", "mappings are not merged here"},
		{rule("token: {keys: []}"), "rules[0] (/vod/): token.keys: it is empty"},
		{rule("token: {keys: [{secret: {env: A}}]}"), "token.keys[0]: id: it is empty"},
		{rule("token: {keys: [{id: k1}]}"), "token.keys[0] (k1): secret is expected"},
		{rule("token: {keys: [{id: k1, secret: hush}]}"), "a secret does not stand in the configuration"},
		{rule("token: {keys: [{id: k1, public_key: a}]}"), "token.keys[0] (k1): public_key: a shared secret is expected here"},
		{rule("token: {keys: [{id: k1, algorithm: HS256, secret: {env: A}}]}"), `algorithm: "HS256" is not said of a key here`},
		{rule("token: {keys: [{id: k.1, secret: {env: A}}]}"), `token.keys[0].id: "k.1" is not of letters`},
		{rule("token: {keys: [{id: k1, secret: {env: A}}, {id: k1, secret: {env: B}}]}"), "token.keys[1] (k1): id: another key has the same"},
		{rule("token: {keys: [{id: k1, secret: {env: A, file: b}}]}"), "token.keys[0] (k1): secret.file"},
		{rule("token: {" + key + ", argument: '', cookie: ''}"), "token.argument: it is empty, and there is no other place"},
		{rule("token: {" + key + ", argument: CMCD}"), `token.argument: "CMCD" is not a name`},
		{rule("token: {" + key + ", argument: a&b}"), `token.argument: "a&b" is not a name`},
		{rule("token: {" + key + ", cookie: a=b}"), `token.cookie: "a=b" is not a name`},
		{rule("cloudfront: {" + key + "}"), "cloudfront.keys[0] (k1): secret: a public key is expected here"},
		{rule("cloudfront: {keys: [{id: k1, public_key: a}], scheme: ftp}"), `cloudfront.scheme: "ftp" is not http or https`},
		{rule("cloudfront: {keys: [{id: k1, public_key: a}], host: a/b}"), `cloudfront.host: "a/b" is not a name`},
		{rule("cat: {" + key + "}"), `cat.keys[0] (k1): algorithm: "" is not HS256, ES256 or PS256`},
		{rule("cat: {keys: [{id: k1, algorithm: ES256, secret: {env: A}}]}"), "algorithm: ES256 is not what such a key is for"},
		{rule("cat: {keys: [{id: k1, algorithm: HS256, secret: {env: A}}], field: 'a b'}"), `cat.field: "a b" is not a name`},
		{rule("jwt: {}"), "jwt.issuers: it is empty"},
		{rule("jwt: {issuers: [{algorithms: [HS256], " + key + "}]}"), "jwt.issuers[0]: issuer: it is empty"},
		{rule("jwt: {issuers: [{issuer: i, " + key + "}]}"), "jwt.issuers[0] (i): algorithms: it is empty"},
		{rule("jwt: {issuers: [{issuer: i, algorithms: [none], " + key + "}]}"), `algorithms: "none" is not one of`},
		{rule("jwt: {issuers: [{issuer: i, algorithms: [HS256]}]}"), "jwt.issuers[0] (i): keys: it is empty"},
		{rule("jwt: {issuers: [{issuer: i, algorithms: [HS256], " + key + "}], bearer: false}"), "jwt.argument: it is empty"},
		{rule("geo: {allow: {countries: [SE]}}"), "rules[0] (/vod/): geo: there is no file in geo_databases"},
		{rule("geo: {}"), "geo.allow: it is empty, and so is deny"},
		{rule("geo: {allow: {countries: [Sweden]}}"), `geo.allow.countries: "Sweden" is not a code`},
		{rule("geo: {deny: {subdivisions: [AB]}}"), `geo.deny.subdivisions: "AB" is not a code`},
		{rule("geo: {deny: {asns: [0]}}"), "geo.deny.asns: 0 is not"},
		{rule("geo: {deny: {countries: [SE]}, unknown: maybe}"), `geo.unknown: "maybe" is not allow or deny`},
		{rule("addresses: {}"), "addresses.allow: it is empty"},
		{rule("addresses: {block: [here]}"), `addresses.block: "here" is not an address`},
		{rule("referrer: {}"), "referrer.hosts: it is empty"},
		{rule("referrer: {hosts: ['https://example.com']}"), "referrer.hosts: \"https://example.com\" is not a name"},
		{rule("referrer: {hosts: ['a*.example.com']}"), "is not a name"},
		{rule("rate: {per_address: -1}"), "rate.per_address: -1 is not 0 or from"},
		{rule("rate: {per_tenant: .nan}"), "rate.per_tenant: NaN is not"},
		{rule("rate: {burst: 2h}"), "rate.burst: 2h0m0s is not from 0s to 1h"},
		{rule("challenge: {mode: on}"), "challenge.mode: \"on\" is not always, abuse or never"},
		{rule("challenge: {above: -1}"), "challenge.above: -1 is not from"},
	} {
		c := access.DefaultConfig()
		err := yaml.Unmarshal([]byte(test.config), &c)
		if err == nil {
			_, err = access.New(access.Settings{Config: c, LookupEnv: lookup})
		}
		if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "hush") {
			t.Errorf("%s\nerror %v\n want %s", test.config, err, test.want)
		}
	}
}

// What is wrong with files is found when they are read.
func TestFilesThatCannotBe(t *testing.T) {
	rule := func(part string) string { return "rules: [{path: /vod/, " + part + "}]" }
	weak, broken := file(t, []byte("short")), file(t, []byte("hush, this is no key"))
	for _, test := range []struct{ config, want string }{
		{rule("token: {keys: [{id: k1, secret: {env: OTHER}}]}"), "rules[0] (/vod/): token: keys[0] (k1): the environment variable OTHER is not set"},
		{rule("token: {keys: [{id: k1, secret: {file: /nowhere}}]}"), "token: keys[0] (k1): read the secret: open /nowhere"},
		{rule("token: {keys: [{id: k1, secret: {file: " + weak + "}}]}"), "the secret has 5 bytes; at least 32 are expected"},
		{rule("cloudfront: {keys: [{id: k1, public_key: " + broken + "}]}"), "there is no PEM block"},
		{rule("cat: {keys: [{id: k1, algorithm: PS256, public_key: " + publicKeyFile(t) + "}]}"), "cat: keys[0] (k1)"},
		{rule("jwt: {issuers: [{issuer: i, algorithms: [RS256], keys: [{id: k1, public_key: " + publicKeyFile(t) + "}]}]}"), `the key "k1" is for none of`},
		{rule("jwt: {issuers: [{issuer: i, algorithms: [RS256], key_set: " + broken + "}]}"), "the key set is not JSON"},
		{rule("jwt: {issuers: [{issuer: i, algorithms: [RS256], key_set: /nowhere}]}"), "key_set: open /nowhere"},
		{rule("addresses: {block_files: [" + broken + "]}"), "addresses: block_files: " + broken + ":1:"},
		{"challenge: {secret: {env: OTHER}}", "challenge.secret: the environment variable OTHER is not set"},
		{"challenge: {secret: {file: " + weak + "}}", "challenge.secret: it has 5 bytes"},
		{"geo_databases: [" + broken + "]", "geo_databases: " + broken},
	} {
		_, err := access.New(access.Settings{Config: configOf(t, test.config), LookupEnv: lookup})
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s\nerror %v\n want %s", test.config, err, test.want)
		}
	}
}

// What config show prints is a configuration, and has no secrets.
func TestAConfigurationIsPrintedAsItIsRead(t *testing.T) {
	text := `
rules:
- path: /vod/
  token: {keys: [{id: k1, secret: {file: /etc/weir/k1, encoding: hex}}], argument: t, cookie: "", in_path: true}
  rate: {per_address: 0}
  geo: {deny: {countries: [SE]}}
  challenge: {mode: always}
- path: /free/
`
	once := must(yaml.Marshal(configOf(t, text)))
	if twice := must(yaml.Marshal(configOf(t, string(once)))); string(once) != string(twice) {
		t.Errorf("printed\n%s\nread and printed again\n%s", once, twice)
	}
	for _, want := range []string{"file: /etc/weir/k1", `cookie: ""`, "per_address: 0", "per_subject: 10000", "unknown: deny"} {
		if !strings.Contains(string(once), want) {
			t.Errorf("%q is not in\n%s", want, once)
		}
	}
}

// The examples of docs/access.md are configurations.
func TestTheExamplesOfTheDocument(t *testing.T) {
	text := string(must(os.ReadFile(filepath.FromSlash("../../../docs/access.md"))))
	found := 0
	for _, part := range strings.Split(text, "```yaml\n")[1:] {
		part, _, _ = strings.Cut(part, "```")
		var document struct {
			CDN struct {
				Access access.Config `yaml:"access"`
			} `yaml:"cdn"`
		}
		document.CDN.Access = access.DefaultConfig()
		if err := yaml.Unmarshal([]byte(part), &document); err != nil {
			t.Errorf("%v in\n%s", err, part)
			continue
		}
		if err := document.CDN.Access.Validate(); err != nil {
			t.Errorf("%v in\n%s", err, part)
		}
		if len(document.CDN.Access.Rules) > 0 {
			found++
		}
	}
	if found < 5 {
		t.Errorf("there are only %d examples with rules", found)
	}
}

func TestMetrics(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	c, err := access.New(access.Settings{Config: configOf(t, "connections_per_address: 1\n"+anyToken), LookupEnv: lookup, Registerer: registry})
	if err != nil {
		t.Fatal(err)
	}
	c.Check(get("/free"))
	c.Check(get("/vod/a"))
	c.Check(get("/vod/a"))
	target := "/vod/a?token=" + ownToken(token.OwnClaims{Prefix: "/vod/"})
	c.Check(get(target))
	c.Check(get(target))
	c.ConnOpened(get("/").Client)
	c.ConnOpened(get("/").Client)
	if err := testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP weir_cdn_access_allowed_total Requests that were checked and allowed.
# TYPE weir_cdn_access_allowed_total counter
weir_cdn_access_allowed_total 3
# HELP weir_cdn_access_refused_total Requests that were refused, by reason.
# TYPE weir_cdn_access_refused_total counter
weir_cdn_access_refused_total{reason="token-missing"} 2
# HELP weir_cdn_access_refused_connections_total Connections refused because their client has as many as it may.
# TYPE weir_cdn_access_refused_connections_total counter
weir_cdn_access_refused_connections_total 1
# HELP weir_cdn_access_verdict_hits_total Tokens whose signature was known to be right, since the last reload.
# TYPE weir_cdn_access_verdict_hits_total counter
weir_cdn_access_verdict_hits_total 1
`), "weir_cdn_access_allowed_total", "weir_cdn_access_refused_total", "weir_cdn_access_refused_connections_total", "weir_cdn_access_verdict_hits_total"); err != nil {
		t.Error(err)
	}
	if problems, err := testutil.GatherAndLint(registry); err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
}
