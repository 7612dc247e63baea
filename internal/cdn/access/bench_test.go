package access_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weir-stream/weir/internal/cdn/access"
	"github.com/weir-stream/weir/internal/cdn/access/token"
)

func TestNeedsTakesNoMemory(t *testing.T) {
	c := newChain(t, anyToken)
	for _, path := range []string{"/live/a/1.m4s", "/vod/film/1.m4s", "/vod/free/1.m4s"} {
		if n := testing.AllocsPerRun(100, func() { c.Needs(path) }); n != 0 {
			t.Errorf("%s: %v allocations", path, n)
		}
	}
}

// Verdicts are given up for others before they take more memory than they may.
func TestVerdictsAreBounded(t *testing.T) {
	c := newChain(t, "verdict_bytes: 1048576\n"+anyToken)
	first := get("/vod/a?token=" + ownToken(token.OwnClaims{Prefix: "/vod/", Subject: "first"}))
	for i := range 5000 {
		if got := with(c, get("/vod/a?token="+ownToken(token.OwnClaims{Prefix: "/vod/", Subject: fmt.Sprint(i, strings.Repeat("x", 200))}))); got != "" {
			t.Fatalf("%d: refused for %q", i, got)
		}
	}
	if got := with(c, first); got != "" {
		t.Errorf("refused for %q", got)
	}
	if held, pushed := access.Held(c); held > 1<<20 || held < 1<<19 || pushed == 0 {
		t.Errorf("%d bytes are held, %d were given up", held, pushed)
	}
}

func TestManyAtOnce(t *testing.T) {
	config := configOf(t, "verdict_bytes: 1048576\nchallenge: {bits: 4}\nrules: [{path: /vod/, token: {keys: [{id: k1, secret: {env: KEY_A}}]}, rate: {}, challenge: {above: 1000}}]")
	c := chainOf(t, config)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			target := "/vod/a?token=" + ownToken(token.OwnClaims{Prefix: "/vod/", Subject: fmt.Sprint(i)})
			for n := range 300 {
				if c.Needs("/vod/a") {
					c.Check(get(target, from(fmt.Sprintf("10.0.%d.%d", i, n%250))))
				}
				switch n % 100 {
				case 1:
					if err := c.Reload(config); err != nil {
						t.Error(err)
					}
				case 2:
					_ = c.Challenge(netip.MustParsePrefix("10.0.0.0/16"), time.Second)
				case 3:
					c.Unchallenge(netip.MustParsePrefix("10.0.0.0/8"))
				}
			}
		})
	}
	all.Wait()
}

// Every byte of a credential counts, on the whole way through the chain.
func TestEveryByteOfACredentialCounts(t *testing.T) {
	c := newChain(t, fmt.Sprintf(`
rules:
- path: /vod/
  token: {keys: [{id: k1, secret: {env: KEY_A}}]}
  cloudfront: {keys: [{id: K1, public_key: %s}], ignore_cmcd: true}
  cat: {keys: [{id: h, algorithm: HS256, secret: {env: KEY_A}}]}
  jwt: {issuers: [{issuer: shop, algorithms: [HS256], keys: [{id: h, secret: {env: KEY_A}}]}], argument: jwt}
`, publicKeyFile(t)))
	for name, query := range map[string]string{
		"own":    "token=" + ownToken(token.OwnClaims{Prefix: "/vod/"}),
		"canned": signedURL(token.CloudFrontClaims{Resource: "https://cdn.example/vod/a"}),
		"custom": signedURL(token.CloudFrontClaims{Resource: "https://cdn.example/vod/*", Custom: true, SHA256: true}),
		"CAT":    "CAT=" + catToken(map[int64]any{}),
		"JWT":    "jwt=" + must(token.JWTSigner{ID: "h", Algorithm: "HS256", Secret: secret("a")}.Sign(map[string]any{"iss": "shop", "exp": noon.Add(time.Hour).Unix()})),
	} {
		if got := with(c, get("/vod/a?"+query)); got != "" {
			t.Errorf("%s: refused for %q", name, got)
		}
		for i := range query {
			for bit := range 8 {
				b := []byte(query)
				b[i] ^= 1 << bit
				if got := with(c, get("/vod/a?"+string(b))); got == "" {
					t.Errorf("%s: accepted with byte %d changed: %s", name, i, b)
				}
			}
		}
	}
}

func FuzzCheck(f *testing.F) {
	c, err := access.New(access.Settings{Config: access.Config{
		Skew: time.Minute, VerdictBytes: 1 << 20, RateEntries: 1024, Challenge: access.DefaultConfig().Challenge,
		Rules: []access.RuleConfig{{Path: "/vod/", Token: &access.TokenConfig{
			Keys: []access.KeyConfig{{ID: "k1", Secret: keyA}}, Argument: "token", Cookie: "weir-token", InPath: true,
		}, JWT: &access.JWTConfig{Bearer: true, Argument: "jwt", Issuers: []access.JWTIssuerConfig{{
			Issuer: "i", Algorithms: []string{"HS256"}, Keys: []access.KeyConfig{{ID: "k1", Secret: keyA}},
		}}}, Referrer: &access.ReferrerConfig{Hosts: []string{"example.com"}, AllowEmpty: true}}},
	}, LookupEnv: lookup, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		f.Fatal(err)
	}
	f.Add("/vod/~a.b.c/1", "token=a.b.c", "weir-token=x; a=b", "https://example.com/", "Bearer a.b.c")
	f.Add("/%76od//../x", "token=%2e", `weir-token="`, "null", "bearer")
	f.Fuzz(func(t *testing.T, path, query, cookies, referrer, authorization string) {
		d := c.Check(get("", func(r *access.Request) {
			r.Path, r.RawQuery = path, query
			r.Header = http.Header{"Cookie": {cookies}, "Referer": {referrer}, "Authorization": {authorization}, "Cta-Common-Access-Token": {cookies}}
		}))
		clean, ok := token.CleanPath(path)
		if d.Allow && (!ok || strings.HasPrefix(clean, "/vod/")) {
			t.Fatalf("%q is allowed", path)
		}
		if !c.Needs(path) && !d.Allow {
			t.Fatalf("%q needs no check and is refused for %q", path, d.Reason)
		}
	})
}

func benchmarkCheck(b *testing.B, text string, r *access.Request) {
	config := access.DefaultConfig()
	if err := yamlInto(text, &config); err != nil {
		b.Fatal(err)
	}
	c, err := access.New(access.Settings{Config: config, LookupEnv: lookup})
	if err != nil {
		b.Fatal(err)
	}
	if d := c.Check(r); !d.Allow {
		b.Fatal(d.Reason)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		if d := c.Check(r); !d.Allow {
			b.Fatal(d.Reason)
		}
	}
}

func BenchmarkNeeds(b *testing.B) {
	config := access.DefaultConfig()
	if err := yamlInto(anyToken, &config); err != nil {
		b.Fatal(err)
	}
	c, err := access.New(access.Settings{Config: config, LookupEnv: lookup})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		c.Needs("/live/sport/final/720p/1234.m4s")
	}
}

func BenchmarkCheckOwnTokenKept(b *testing.B) {
	benchmarkCheck(b, anyToken, get("/vod/film/720p/1234.m4s?token="+ownToken(token.OwnClaims{Prefix: "/vod/film/", Session: "s-1", Subject: "u-1"})))
}

func BenchmarkCheckOwnTokenKeptWithRates(b *testing.B) {
	benchmarkCheck(b, strings.Replace(anyToken, "in_path: true}", "in_path: true}\n  rate: {per_address: 100000000, per_subject: 100000000, per_tenant: 100000000, burst: 1h}", 1),
		get("/vod/film/720p/1234.m4s?token="+ownToken(token.OwnClaims{Prefix: "/vod/film/", Session: "s-1", Subject: "u-1"})))
}

func BenchmarkCheckOwnTokenInPath(b *testing.B) {
	benchmarkCheck(b, anyToken, get("/vod/~"+ownToken(token.OwnClaims{Prefix: "/vod/film/", Session: "s-1", Subject: "u-1"})+"/film/720p/1234.m4s"))
}

func BenchmarkCheckCATKept(b *testing.B) {
	benchmarkCheck(b, "rules: [{path: /, cat: {keys: [{id: h, algorithm: HS256, secret: {env: KEY_A}}]}}]",
		get("/vod/a?CMCD=bl%3D1&CAT="+catToken(map[int64]any{token.ClaimURI: map[int64]any{token.URIPath: token.MatchPrefix("/vod/")}})))
}

func BenchmarkCheckRateOfAddress(b *testing.B) {
	benchmarkCheck(b, "rules: [{path: /, rate: {per_address: 100000000, burst: 1h}}]", get("/vod/a"))
}

func BenchmarkVerifyOwnToken(b *testing.B) {
	keys := token.OwnKeys{"k1": secret("a")}
	text := ownToken(token.OwnClaims{Prefix: "/vod/film/", Session: "s-1", Subject: "u-1"})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := keys.Verify(text); err != nil {
			b.Fatal(err)
		}
	}
}
