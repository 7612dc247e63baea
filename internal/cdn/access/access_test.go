package access_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
	"go.uber.org/goleak"
	"go.yaml.in/yaml/v3"

	"github.com/weir-stream/weir/internal/cdn/access"
	"github.com/weir-stream/weir/internal/cdn/access/keyfile"
	"github.com/weir-stream/weir/internal/cdn/access/token"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// noon is when the tests take place.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

var ecKey = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) })

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func secret(letter string) token.Secret {
	return must(token.NewSecret([]byte(strings.Repeat(letter, token.MinSecretBytes))))
}

// lookup knows the variables KEY_A and KEY_B, which have the secrets a… and b….
func lookup(name string) (string, bool) {
	letter, ok := strings.CutPrefix(name, "KEY_")
	return strings.Repeat(strings.ToLower(letter), token.MinSecretBytes), ok
}

var keyA = keyfile.SecretRef{Env: "KEY_A"}

// file writes a file and returns its name.
func file(t *testing.T, content []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func publicKeyFile(t *testing.T) string {
	t.Helper()
	return file(t, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: must(x509.MarshalPKIXPublicKey(&ecKey().PublicKey))}))
}

// configOf reads a configuration as it stands in a file, over the defaults.
func configOf(t *testing.T, text string) access.Config {
	t.Helper()
	c := access.DefaultConfig()
	if err := yamlInto(text, &c); err != nil {
		t.Fatal(err)
	}
	return c
}

func yamlInto(text string, c *access.Config) error { return yaml.Unmarshal([]byte(text), c) }

func newChain(t *testing.T, text string) *access.Chain {
	t.Helper()
	return chainOf(t, configOf(t, text))
}

func chainOf(t *testing.T, c access.Config) *access.Chain {
	t.Helper()
	chain, err := access.New(access.Settings{Config: c, Log: slog.New(slog.DiscardHandler), LookupEnv: lookup, Now: func() time.Time { return noon }})
	if err != nil {
		t.Fatal(err)
	}
	return chain
}

type change = func(*access.Request)

// get is a GET of a target by a viewer at 203.0.113.7, at noon.
func get(target string, changes ...change) *access.Request {
	path, query, _ := strings.Cut(target, "?")
	r := &access.Request{
		Method: http.MethodGet, Host: "cdn.example", Path: path, RawQuery: query, Header: http.Header{},
		Client: netip.MustParseAddr("203.0.113.7"), TLS: true, Now: noon,
	}
	for _, f := range changes {
		f(r)
	}
	return r
}

func from(address string) change {
	return func(r *access.Request) { r.Client = netip.MustParseAddr(address) }
}
func after(d time.Duration) change      { return func(r *access.Request) { r.Now = noon.Add(d) } }
func field(name, value string) change   { return func(r *access.Request) { r.Header.Add(name, value) } }
func ownToken(c token.OwnClaims) string { return must(withEnd(c).Sign("k1", secret("a"))) }
func with(c *access.Chain, r *access.Request) string {
	d := c.Check(r)
	if d.Allow != (d.Reason == "") || d.Allow != (d.Status == 0) {
		panic("a decision that contradicts itself")
	}
	return d.Reason
}

func withEnd(c token.OwnClaims) token.OwnClaims {
	if c.Expires.IsZero() {
		c.Expires = noon.Add(time.Hour)
	}
	return c
}

func database(t *testing.T, kind string, networks map[string]mmdbtype.Map) string {
	t.Helper()
	tree, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: kind, RecordSize: 24, IncludeReservedNetworks: true})
	if err != nil {
		t.Fatal(err)
	}
	for text, data := range networks {
		_, n, err := net.ParseCIDR(text)
		if err != nil {
			t.Fatal(err)
		}
		if err := tree.Insert(n, data); err != nil {
			t.Fatal(err)
		}
	}
	name := filepath.Join(t.TempDir(), kind+".mmdb")
	out, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tree.WriteTo(out); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	return name
}

func country(code string, subdivisions ...string) mmdbtype.Map {
	var list mmdbtype.Slice
	for _, s := range subdivisions {
		list = append(list, mmdbtype.Map{"iso_code": mmdbtype.String(s)})
	}
	return mmdbtype.Map{"country": mmdbtype.Map{"iso_code": mmdbtype.String(code)}, "subdivisions": list}
}

const anyToken = `
rules:
- path: /vod/
  token: {keys: [{id: k1, secret: {env: KEY_A}}], in_path: true}
- path: /vod/free/
- path: /vod/gold/
  token: {keys: [{id: k2, secret: {env: KEY_B}}]}
- path: /one.mp4
  token: {keys: [{id: k1, secret: {env: KEY_A}}]}
`

func TestTheLongestPathCounts(t *testing.T) {
	c := newChain(t, anyToken)
	for _, test := range []struct {
		path  string
		needs bool
	}{
		{"/", false},
		{"/live/a", false},
		{"/vod", true},
		{"/vod/", true},
		{"/vod/a", true},
		{"/vodka/a", false},
		{"/vod/free/a", false},
		{"/vod/free", false},
		{"/vod/freedom", true},
		{"/vod/gold/a", true},
		{"/one.mp4", true},
		{"/one.mp4/a", false},
		{"/one.mp", false},
		// However it is spelt.
		{"/%76od/a", true},
		{"/vod%2fa", true},
		{"//vod/a", true},
		{"/./vod/a", true},
		{"/live/../vod/a", true},
		{"/live/%2e%2e/vod/a", true},
		{"/vod/free/../a", true},
		{"/vod/free/%2e./a", true},
		{"/vod/../live/a", false},
		{"/%zz", true},
		{"vod", true},
	} {
		if got := c.Needs(test.path); got != test.needs {
			t.Errorf("%s needs a check: %v, want %v", test.path, got, test.needs)
		}
		want := ""
		if test.needs {
			want = string(token.Missing)
		}
		if test.path == "/%zz" || test.path == "vod" {
			want = string(access.PathMalformed)
		}
		if got := with(c, get(test.path)); got != want {
			t.Errorf("%s is refused for %q, want %q", test.path, got, want)
		}
	}
	if d := c.Check(get("/%zz")); d.Status != http.StatusBadRequest {
		t.Errorf("a path that cannot be read has status %d", d.Status)
	}
}

func TestWithoutRulesEverybodyMayReadEverything(t *testing.T) {
	c := newChain(t, "")
	for _, path := range []string{"/", "/a", "/%zz", ""} {
		if c.Needs(path) {
			t.Errorf("%q needs a check", path)
		}
		if d := c.Check(get(path)); !d.Allow {
			t.Errorf("%q is refused for %q", path, d.Reason)
		}
	}
}

func TestWhereATokenIsSent(t *testing.T) {
	c := newChain(t, anyToken)
	film, all := ownToken(token.OwnClaims{Prefix: "/vod/film/"}), ownToken(token.OwnClaims{Prefix: "/"})
	for _, test := range []struct {
		name    string
		request *access.Request
		want    token.Reason
		path    string // that is served, if it is another
	}{
		{"argument", get("/vod/film/1?token=" + film), "", ""},
		{"argument among others", get("/vod/film/1?a=1&token=" + film + "&CMCD=bl%3D1"), "", ""},
		{"argument, escaped", get("/vod/film/1?token=" + strings.ReplaceAll(film, ".", "%2E")), "", ""},
		{"argument, escaped wrongly", get("/vod/film/1?token=%zz"), token.Malformed, ""},
		{"argument twice", get("/vod/film/1?token=" + film + "&token=" + film), token.Malformed, ""},
		{"argument in another case", get("/vod/film/1?Token=" + film), token.Missing, ""},
		{"an empty argument", get("/vod/film/1?token="), token.Malformed, ""},
		{"cookie", get("/vod/film/1", field("Cookie", "a=b; weir-token="+film+"; c=d")), "", ""},
		{"quoted cookie", get("/vod/film/1", field("Cookie", `weir-token="`+film+`"`)), "", ""},
		{"cookie in a second field", get("/vod/film/1", field("Cookie", "a=b"), field("Cookie", "weir-token="+film)), "", ""},
		{"cookie twice", get("/vod/film/1", field("Cookie", "weir-token=x; weir-token="+film)), token.Malformed, ""},
		{"cookie of a longer name", get("/vod/film/1", field("Cookie", "my-weir-token="+film)), token.Missing, ""},
		{"path", get("/vod/~" + film + "/film/1"), "", "/vod/film/1"},
		{"path, deeper", get("/vod/film/~" + film + "/1"), "", "/vod/film/1"},
		{"path, before the rule", get("/~" + film + "/vod/film/1"), "", "/vod/film/1"},
		{"path, behind a tilde that is no token", get("/vod/~bob/~" + all + "/1"), "", "/vod/~bob/1"},
		{"path, of another scope", get("/vod/~" + film + "/film2/1"), token.Scope, ""},
		{"path, out of the scope by dots", get("/vod/~" + film + "/film/../film2/1"), token.Scope, ""},
		{"path, wrong, and a right argument", get("/vod/~a.b.c/film/1?token=" + film), token.Malformed, ""},
		// A token in the path does not lead past the rule of what it would serve.
		{"path, into another rule", get("/vod/~" + all + "/gold/1"), token.Missing, ""},
		{"path, into an open rule", get("/vod/~" + film + "/free/1"), token.Missing, ""},
		{"a tilde that is no token", get("/vod/~user/1?token=" + all), "", ""},
		{"no token", get("/vod/film/1"), token.Missing, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := c.Check(test.request)
			if d.Reason != string(test.want) || d.Path != test.path {
				t.Errorf("refused for %q, path %q; want %q, %q", d.Reason, d.Path, test.want, test.path)
			}
			if !c.Needs(test.request.Path) {
				t.Error("it needs no check")
			}
		})
	}
}

func TestWhatIsGranted(t *testing.T) {
	c := newChain(t, strings.Replace(anyToken, "- path: /vod/\n", "- path: /vod/\n  tenant: house\n", 1))
	d := c.Check(get("/vod/film/1?token=" + ownToken(token.OwnClaims{Prefix: "/vod/film/", Session: "s", Subject: "u", Tenant: "t"})))
	if want := (access.Grant{Tenant: "t", Subject: "u", Session: "s", Prefix: "/vod/film/", Expires: noon.Add(time.Hour)}); !d.Grant.Expires.Equal(want.Expires) ||
		d.Grant.Tenant != want.Tenant || d.Grant.Subject != want.Subject || d.Grant.Session != want.Session || d.Grant.Prefix != want.Prefix {
		t.Errorf("granted is %+v, want %+v", d.Grant, want)
	}
	if len(d.StripQuery) != 1 || d.StripQuery[0] != "token" {
		t.Errorf("the credentials are %q", d.StripQuery)
	}
	if d = c.Check(get("/vod/film/1?token=" + ownToken(token.OwnClaims{Path: "/vod/film/1"}))); d.Grant.Tenant != "house" || d.Grant.Prefix != "/vod/film/1" {
		t.Errorf("granted is %+v", d.Grant)
	}
	film := access.Grant{Prefix: "/vod/film/"}
	for _, test := range []struct {
		grant           access.Grant
		path, candidate string
		want            bool
	}{
		{film, "/vod/film/1", "/vod/film/2", true},
		{film, "/vod/film/1", "/vod/film2/1", false},
		{film, "/vod/film/1", "/vod/film/../film2/1", false},
		{access.Grant{Prefix: "/vod/film/1"}, "/vod/film/1", "/vod/film/1", true},
		{access.Grant{Prefix: "/vod/film/1"}, "/vod/film/1", "/vod/film/10", false},
		{access.Grant{Prefix: "/"}, "/vod/film/1", "/vod/gold/1", false}, // another rule
		{access.Grant{Prefix: "/"}, "/live/a", "/live/b", true},
		{access.Grant{Prefix: "/"}, "/live/a", "/vod/b", false},
	} {
		if got := c.Covers(test.grant, test.path, test.candidate); got != test.want {
			t.Errorf("%s covers %s beside %s: %v, want %v", test.grant.Prefix, test.candidate, test.path, got, test.want)
		}
	}
}

func TestARefusalTellsTheViewerItsStatusOnly(t *testing.T) {
	c := newChain(t, anyToken+`
- path: /api/
  jwt: {issuers: [{issuer: i, algorithms: [HS256], keys: [{id: h, secret: {env: KEY_A}}]}]}
`)
	d := c.Check(get("/vod/a"))
	if d.Status != http.StatusForbidden || d.Body != nil || d.SetHeader != nil || d.RetryAfter != 0 {
		t.Errorf("the answer is %+v", d)
	}
	d = c.Check(get("/api/a"))
	if d.Status != http.StatusUnauthorized || d.SetHeader.Get("WWW-Authenticate") != "Bearer" {
		t.Errorf("without a bearer token the answer is %+v", d)
	}
	d = c.Check(get("/api/a", field("Authorization", "Bearer x.y.z")))
	if d.Status != http.StatusForbidden || d.SetHeader != nil {
		t.Errorf("with a wrong bearer token the answer is %+v", d)
	}
}

func TestVerdictsAreKeptAndHonourTime(t *testing.T) {
	c := newChain(t, anyToken)
	target := "/vod/film/1?token=" + ownToken(token.OwnClaims{Prefix: "/vod/film/", Address: netip.MustParsePrefix("203.0.113.0/24")})
	for _, test := range []struct {
		name    string
		request *access.Request
		want    token.Reason
	}{
		{"first", get(target), ""},
		{"again", get(target), ""},
		{"for another path", get(strings.Replace(target, "/film/1", "/film2/1", 1)), token.Scope},
		{"under another rule", get(strings.Replace(target, "/film/1", "/gold/1", 1)), token.UnknownKey},
		{"from elsewhere", get(target, from("198.51.100.1")), token.Address},
		{"within the skew", get(target, after(time.Hour+59*time.Second)), ""},
		{"when it has expired", get(target, after(time.Hour+time.Minute)), token.Expired},
	} {
		if got := with(c, test.request); got != string(test.want) {
			t.Errorf("%s: refused for %q, want %q", test.name, got, test.want)
		}
	}
	// A reload without the key forgets what was known.
	config := configOf(t, strings.ReplaceAll(anyToken, "{id: k1, secret: {env: KEY_A}}", "{id: k3, secret: {env: KEY_C}}"))
	if err := c.Reload(config); err != nil {
		t.Fatal(err)
	}
	if got := with(c, get(target)); got != string(token.UnknownKey) {
		t.Errorf("after its key was taken away: refused for %q", got)
	}
}

func TestTheSkewIsConfigured(t *testing.T) {
	c := newChain(t, "skew: 5s\n"+anyToken)
	target := "/vod/1?token=" + ownToken(token.OwnClaims{Prefix: "/vod/"})
	if got := with(c, get(target, after(time.Hour+4*time.Second))); got != "" {
		t.Errorf("refused for %q", got)
	}
	if got := with(c, get(target, after(time.Hour+5*time.Second))); got != string(token.Expired) {
		t.Errorf("refused for %q", got)
	}
}

func TestAReloadThatFailsChangesNothing(t *testing.T) {
	c := newChain(t, anyToken)
	for _, text := range []string{
		"rules: [{path: /vod/, token: {keys: [{id: k1, secret: {env: OTHER}}]}}]",
		"rules: [{path: vod}]",
		"geo_databases: [/nowhere.mmdb]",
	} {
		if err := c.Reload(configOf(t, text)); err == nil {
			t.Errorf("%s is accepted", text)
		}
	}
	if got := with(c, get("/vod/a")); got != string(token.Missing) {
		t.Errorf("refused for %q", got)
	}
}

func TestConnectionsOfAClient(t *testing.T) {
	c := newChain(t, "connections_per_address: 1")
	a := netip.MustParseAddr("203.0.113.7")
	release, ok := c.ConnOpened(a)
	if !ok {
		t.Fatal("the first is refused")
	}
	if release, ok := c.ConnOpened(a); ok {
		t.Error("the second is let in")
	} else {
		release()
	}
	release()
	if _, ok := c.ConnOpened(a); !ok {
		t.Error("one is refused after the first has ended")
	}
	free := newChain(t, "")
	for range 3 {
		if _, ok := free.ConnOpened(a); !ok {
			t.Error("refused where there is no bound")
		}
	}
}
