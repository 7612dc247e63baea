package access_test

import (
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/maxmind/mmdbwriter/mmdbtype"

	"github.com/weir-stream/weir/internal/cdn/access"
	"github.com/weir-stream/weir/internal/cdn/access/token"
)

func signedURL(c token.CloudFrontClaims) string {
	if c.Expires.IsZero() {
		c.Expires = noon.Add(time.Hour)
	}
	return must(c.Sign("K1", ecKey())).Query()
}

func TestSignedURLs(t *testing.T) {
	key := publicKeyFile(t)
	rule := func(more string) *access.Chain {
		return newChain(t, fmt.Sprintf("rules: [{path: /vod/, cloudfront: {keys: [{id: K1, public_key: %s}]%s}}]", key, more))
	}
	c, lenient := rule(""), rule(", ignore_cmcd: true")
	behind := rule(", scheme: https, host: d1.cloudfront.net")
	canned := "/vod/a.m4s?" + signedURL(token.CloudFrontClaims{Resource: "https://cdn.example/vod/a.m4s"})
	withArgument := "/vod/a.m4s?v=1&" + signedURL(token.CloudFrontClaims{Resource: "https://cdn.example/vod/a.m4s?v=1"})
	custom := "/vod/film/a.m4s?" + signedURL(token.CloudFrontClaims{Resource: "https://cdn.example/vod/film/*", Custom: true})
	elsewhere := "/vod/a.m4s?" + signedURL(token.CloudFrontClaims{Resource: "https://d1.cloudfront.net/vod/a.m4s"})
	const cmcd = "CMCD=bl%3D2100%2Cot%3Dv"
	for _, test := range []struct {
		name    string
		chain   *access.Chain
		request *access.Request
		want    token.Reason
	}{
		{"canned", c, get(canned), ""},
		{"canned, again", c, get(canned), ""},
		{"canned, for another object", c, get(strings.Replace(canned, "a.m4s", "b.m4s", 1)), token.Signature},
		{"canned, when it has expired", c, get(canned, after(2*time.Hour)), token.Expired},
		{"canned, with CMCD behind it", c, get(canned + "&" + cmcd), token.Signature},
		{"canned, with CMCD behind it, where that is ignored", lenient, get(canned + "&" + cmcd), ""},
		{"canned, with CMCD before it, where that is ignored", lenient, get(strings.Replace(canned, "?", "?"+cmcd+"&", 1)), ""},
		{"canned, with an argument and CMCD, where that is ignored", lenient, get(withArgument + "&" + cmcd), ""},
		{"canned, with another argument, where CMCD is ignored", lenient, get(canned + "&x=1&" + cmcd), token.Signature},
		{"canned, without its argument, where CMCD is ignored", lenient, get(strings.Replace(withArgument, "v=1&", "", 1) + "&" + cmcd), token.Signature},
		{"custom, with CMCD", c, get(custom + "&" + cmcd), ""},
		{"custom, beside its resource", c, get(strings.Replace(custom, "film/", "film2/", 1)), token.Scope},
		{"over HTTP", c, get(canned, func(r *access.Request) { r.TLS = false }), token.Signature},
		{"of the host in front", behind, get(elsewhere, func(r *access.Request) { r.TLS = false }), ""},
		{"of the host in front, asked of another", c, get(elsewhere), token.Signature},
		{"none", c, get("/vod/a.m4s"), token.Missing},
	} {
		if got := with(test.chain, test.request); got != string(test.want) {
			t.Errorf("%s: refused for %q, want %q", test.name, got, test.want)
		}
	}
	var cookies []string
	for _, cookie := range must(token.CloudFrontClaims{Resource: "https://cdn.example/vod/film/*", Custom: true, Expires: noon.Add(time.Hour)}.Sign("K1", ecKey())).Cookies() {
		cookies = append(cookies, cookie[0]+"="+cookie[1])
	}
	d := c.Check(get("/vod/film/a.m4s?"+cmcd, field("Cookie", strings.Join(cookies, "; "))))
	if !d.Allow || d.Grant.Prefix != "/vod/film/" {
		t.Errorf("cookies: %+v", d)
	}
	if got := with(c, get("/vod/film/a.m4s?Signature=x&Key-Pair-Id=K1&Expires=1", field("Cookie", strings.Join(cookies, "; ")))); got != string(token.Signature) && got != string(token.Malformed) {
		t.Errorf("a wrong signed URL beside right cookies: refused for %q", got)
	}
	if d := c.Check(get(canned)); d.Grant.Prefix != "/vod/a.m4s" || len(d.StripQuery) != 5 {
		t.Errorf("a canned policy grants %+v, its arguments are %q", d.Grant, d.StripQuery)
	}
}

func catToken(claims map[int64]any) string {
	if claims[token.ClaimExpires] == nil {
		claims[token.ClaimExpires] = noon.Add(time.Hour).Unix()
	}
	return must(token.CATSigner{ID: "h", Algorithm: token.HS256, Secret: secret("a")}.Sign(claims))
}

func TestCommonAccessTokens(t *testing.T) {
	places := database(t, "City", map[string]mmdbtype.Map{"203.0.113.0/24": country("SE", "AB")})
	asns := database(t, "ASN", map[string]mmdbtype.Map{"203.0.113.0/24": {"autonomous_system_number": mmdbtype.Uint32(64496)}})
	c := newChain(t, fmt.Sprintf(`
geo_databases: [%s, %s]
rules:
- path: /vod/
  cat:
    keys: [{id: h, algorithm: HS256, secret: {env: KEY_A}}, {id: e, algorithm: ES256, public_key: %s}]
    issuers: [auth]
`, places, asns, publicKeyFile(t)))
	film := catToken(map[int64]any{token.ClaimIssuer: "auth", token.ClaimURI: map[int64]any{token.URIPath: token.MatchPrefix("/vod/film/")}})
	geo := catToken(map[int64]any{token.ClaimIssuer: "auth", token.ClaimPlaces: []string{"SE-AB"}, token.ClaimNetworks: []any{64496}})
	es := must(token.CATSigner{ID: "e", Algorithm: token.ES256, Private: ecKey()}.Sign(map[int64]any{token.ClaimIssuer: "auth", token.ClaimExpires: noon.Add(time.Hour).Unix()}))
	for _, test := range []struct {
		name    string
		request *access.Request
		want    token.Reason
	}{
		{"field", get("/vod/film/1", field("CTA-Common-Access-Token", film)), ""},
		{"field, padded", get("/vod/film/1", field("CTA-Common-Access-Token", film+"=")), ""},
		{"cookie", get("/vod/film/1", field("Cookie", "CTA-Common-Access-Token="+film)), ""},
		{"argument", get("/vod/film/1?CMCD=bl%3D1&CAT=" + film), ""},
		{"ES256", get("/vod/film/1?CAT=" + es), ""},
		{"another path", get("/vod/film2/1?CAT=" + film), token.Scope},
		{"of a place and a network", get("/vod/film/1?CAT=" + geo), ""},
		{"of another place", get("/vod/film/1?CAT="+geo, from("198.51.100.1")), token.Address},
		{"expired", get("/vod/film/1?CAT="+film, after(2*time.Hour)), token.Expired},
		{"of another issuer", get("/vod/film/1?CAT=" + catToken(map[int64]any{})), token.Issuer},
		{"field twice", get("/vod/film/1", field("CTA-Common-Access-Token", film), field("CTA-Common-Access-Token", film)), token.Malformed},
		{"none", get("/vod/film/1"), token.Missing},
	} {
		if got := with(c, test.request); got != string(test.want) {
			t.Errorf("%s: refused for %q, want %q", test.name, got, test.want)
		}
	}
	once := get("/vod/1?CAT=" + catToken(map[int64]any{token.ClaimIssuer: "auth", token.ClaimReplay: 1, token.ClaimID: []byte("id-1")}))
	for i, want := range []token.Reason{"", token.Replayed, token.Replayed} {
		if got := with(c, once); got != string(want) {
			t.Errorf("good once, time %d: refused for %q, want %q", i+1, got, want)
		}
	}
	// Another token with the same identifier is the same token.
	again := get("/vod/2?CAT=" + catToken(map[int64]any{token.ClaimIssuer: "auth", token.ClaimReplay: 1, token.ClaimID: []byte("id-1"), token.ClaimSubject: "x"}))
	if got := with(c, again); got != string(token.Replayed) {
		t.Errorf("the same identifier: refused for %q", got)
	}
	// A refused request does not use a token up.
	beside := catToken(map[int64]any{
		token.ClaimIssuer: "auth", token.ClaimReplay: 1, token.ClaimID: []byte("id-2"),
		token.ClaimURI: map[int64]any{token.URIPath: token.MatchPrefix("/vod/film/")},
	})
	for _, test := range []struct {
		target string
		want   token.Reason
	}{{"/vod/x?CAT=", token.Scope}, {"/vod/film/1?CAT=", ""}, {"/vod/film/1?CAT=", token.Replayed}} {
		if got := with(c, get(test.target+beside)); got != string(test.want) {
			t.Errorf("%s: refused for %q, want %q", test.target, got, test.want)
		}
	}
}

func TestTokensThatAreGoodOnceAreBounded(t *testing.T) {
	c := newChain(t, "rules: [{path: /, cat: {keys: [{id: h, algorithm: HS256, secret: {env: KEY_A}}]}}]")
	access.FillReplays(c, noon.Add(time.Hour).Unix())
	once := func(id string) string {
		return "/?CAT=" + catToken(map[int64]any{
			token.ClaimReplay: 1, token.ClaimID: []byte(id), token.ClaimExpires: noon.Add(9 * time.Hour).Unix(),
		})
	}
	if got := with(c, get(once("last"))); got != "" {
		t.Errorf("the last there is room for is refused for %q", got)
	}
	if d := c.Check(get(once("late"))); d.Reason != string(access.ReplayFull) || d.Status != http.StatusTooManyRequests {
		t.Errorf("one too many is refused for %q with %d", d.Reason, d.Status)
	}
	if got := with(c, get(once("late"), after(2*time.Hour))); got != "" {
		t.Errorf("when the others have expired, it is refused for %q", got)
	}
	if got := with(c, get(once("last"), after(2*time.Hour))); got != string(token.Replayed) {
		t.Errorf("what has not expired is forgotten: refused for %q", got)
	}
}

func TestJSONWebTokens(t *testing.T) {
	set := file(t, fmt.Appendf(nil, `{"keys":[{"kty":"oct","kid":"s","k":%q}]}`, "YmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmI"))
	c := newChain(t, fmt.Sprintf(`
rules:
- path: /vod/
  jwt:
    issuers:
    - {issuer: auth, audiences: [cdn], algorithms: [ES256], keys: [{id: e, public_key: %s}]}
    - {issuer: shop, algorithms: [HS256], keys: [{id: h, secret: {env: KEY_A}}], key_set: %s, need_paths: true}
    argument: jwt
    cookie: session
`, publicKeyFile(t), set))
	end := noon.Add(time.Hour).Unix()
	auth := must(token.JWTSigner{ID: "e", Algorithm: "ES256", Private: ecKey()}.Sign(map[string]any{"iss": "auth", "aud": "cdn", "exp": end, "sub": "u"}))
	shop := must(token.JWTSigner{ID: "s", Algorithm: "HS256", Secret: secret("b")}.Sign(map[string]any{"iss": "shop", "exp": end, "paths": []string{"/vod/film/"}}))
	for _, test := range []struct {
		name    string
		request *access.Request
		want    token.Reason
	}{
		{"bearer", get("/vod/a", field("Authorization", "Bearer "+auth)), ""},
		{"bearer in lower case", get("/vod/a", field("Authorization", "bearer "+auth)), ""},
		{"another scheme", get("/vod/a", field("Authorization", "Basic "+auth)), token.Missing},
		{"argument", get("/vod/film/a?jwt=" + shop), ""},
		{"cookie", get("/vod/film/a", field("Cookie", "session="+shop)), ""},
		{"another path", get("/vod/b?jwt=" + shop), token.Scope},
		{"expired", get("/vod/film/a?jwt="+shop, after(2*time.Hour)), token.Expired},
		{"none", get("/vod/a"), token.Missing},
	} {
		if got := with(c, test.request); got != string(test.want) {
			t.Errorf("%s: refused for %q, want %q", test.name, got, test.want)
		}
	}
}

// One credential that is good is enough, whatever else is sent.
func TestOneOfSeveralIsEnough(t *testing.T) {
	c := newChain(t, `
rules:
- path: /vod/
  token: {keys: [{id: k1, secret: {env: KEY_A}}]}
  cat: {keys: [{id: h, algorithm: HS256, secret: {env: KEY_A}}]}
  jwt: {issuers: [{issuer: shop, algorithms: [HS256], keys: [{id: h, secret: {env: KEY_A}}]}], argument: jwt}
`)
	own, cat := ownToken(token.OwnClaims{Prefix: "/vod/"}), catToken(map[int64]any{})
	jwt := must(token.JWTSigner{ID: "h", Algorithm: "HS256", Secret: secret("a")}.Sign(map[string]any{"iss": "shop", "exp": noon.Add(time.Hour).Unix()}))
	for target, want := range map[string]token.Reason{
		"/vod/a?token=" + own:                                 "",
		"/vod/a?CAT=" + cat:                                   "",
		"/vod/a?jwt=" + jwt:                                   "",
		"/vod/a?token=x&CAT=" + cat:                           "",
		"/vod/a?token=x&CAT=x&jwt=" + jwt:                     "",
		"/vod/a?token=x&CAT=x&jwt=" + jwt[1:]:                 token.Malformed,
		"/vod/a?token=" + own + "&CAT=x":                      "",
		"/vod/a?token=" + cat + "&CAT=" + own + "&jwt=" + own: token.Malformed,
	} {
		if got := with(c, get(target)); got != string(want) {
			t.Errorf("%.60s: refused for %q, want %q", target, got, want)
		}
	}
	if d := c.Check(get("/vod/a?jwt=" + jwt)); strings.Join(d.StripQuery, " ") != "token CAT jwt" {
		t.Errorf("the credentials are %q", d.StripQuery)
	}
}

// The host that a proxy in front is asked for is for signed URLs alone.
func TestTheHostInFrontIsForSignedURLsAlone(t *testing.T) {
	c := newChain(t, fmt.Sprintf(`
rules:
- path: /vod/
  cloudfront: {keys: [{id: K1, public_key: %s}], host: d1.cloudfront.net}
  cat: {keys: [{id: h, algorithm: HS256, secret: {env: KEY_A}}]}
`, publicKeyFile(t)))
	cat := catToken(map[int64]any{token.ClaimURI: map[int64]any{1: token.MatchExact("cdn.example")}})
	behind := signedURL(token.CloudFrontClaims{Resource: "https://d1.cloudfront.net/vod/*", Custom: true})
	for _, query := range []string{"CAT=" + cat, behind, "Signature=x&Policy=x&Key-Pair-Id=K1&CAT=" + cat} {
		if got := with(c, get("/vod/a?"+query)); got != "" {
			t.Errorf("%.40s: refused for %q", query, got)
		}
	}
}

func TestPlaces(t *testing.T) {
	file := database(t, "City", map[string]mmdbtype.Map{
		"203.0.113.0/24":  country("SE", "AB"),
		"198.51.100.0/24": country("US", "CA"),
		"192.0.2.0/24":    country("US"),
		"2001:db8::/32":   country("NO"),
		"100.0.0.0/8":     {"country": mmdbtype.String("broken")},
	})
	asns := database(t, "ASN", map[string]mmdbtype.Map{
		"203.0.113.0/24":  {"autonomous_system_number": mmdbtype.Uint32(64496)},
		"198.51.100.0/24": {"autonomous_system_number": mmdbtype.Uint32(64497)},
	})
	const sweden, california, america, norway, nowhere = "203.0.113.7", "198.51.100.7", "192.0.2.7", "2001:db8::7", "8.8.8.8"
	for _, test := range []struct {
		name, geo string
		want      map[string]access.Reason
	}{
		{"some countries", "{allow: {countries: [SE, NO]}}", map[string]access.Reason{
			sweden: "", norway: "", california: access.GeoDenied, nowhere: access.GeoUnknown, "::ffff:" + sweden: "", "100.1.1.1": access.GeoUnknown,
		}},
		{"some countries, and who is not known", "{allow: {countries: [SE]}, unknown: allow}", map[string]access.Reason{
			sweden: "", norway: access.GeoDenied, nowhere: "",
		}},
		{"not some countries", "{deny: {countries: [US]}}", map[string]access.Reason{
			sweden: "", california: access.GeoDenied, nowhere: access.GeoUnknown,
		}},
		{"not some countries, and who is not known", "{deny: {countries: [US]}, unknown: allow}", map[string]access.Reason{
			sweden: "", california: access.GeoDenied, nowhere: "",
		}},
		{"a country but a part of it", "{allow: {countries: [US]}, deny: {subdivisions: [US-CA]}}", map[string]access.Reason{
			california: access.GeoDenied, america: access.GeoUnknown, sweden: access.GeoDenied,
		}},
		{"a part of a country", "{allow: {subdivisions: [SE-AB]}}", map[string]access.Reason{
			sweden: "", california: access.GeoDenied, nowhere: access.GeoUnknown,
		}},
		{"an autonomous system", "{allow: {asns: [64496]}}", map[string]access.Reason{
			sweden: "", california: access.GeoDenied, norway: access.GeoUnknown,
		}},
		{"not an autonomous system", "{deny: {asns: [64497]}, unknown: allow}", map[string]access.Reason{
			sweden: "", california: access.GeoDenied, norway: "",
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newChain(t, fmt.Sprintf("geo_databases: [%s, %s]\nrules: [{path: /, geo: %s}]", file, asns, test.geo))
			for address, want := range test.want {
				if d := c.Check(get("/", from(address))); d.Reason != string(want) || !d.Allow && d.Status != http.StatusForbidden {
					t.Errorf("%s is refused for %q with %d, want %q", address, d.Reason, d.Status, want)
				}
			}
			if got := with(c, get("/", func(r *access.Request) { r.Client = netip.Addr{} })); got != string(access.GeoUnknown) && !strings.Contains(test.geo, "unknown: allow") {
				t.Errorf("who has no address is refused for %q", got)
			}
		})
	}
}

func TestAReloadReadsTheDatabaseAnew(t *testing.T) {
	file := database(t, "Country", map[string]mmdbtype.Map{"203.0.113.0/24": country("SE")})
	config := configOf(t, fmt.Sprintf("geo_databases: [%s]\nrules: [{path: /, geo: {allow: {countries: [NO]}}}]", file))
	c := chainOf(t, config)
	if got := with(c, get("/")); got != string(access.GeoDenied) {
		t.Errorf("before: refused for %q", got)
	}
	moved := must(os.ReadFile(database(t, "Country", map[string]mmdbtype.Map{"203.0.113.0/24": country("NO")})))
	// Written over in place, as careless tools do: what is being read must not change.
	if err := os.WriteFile(file, moved, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := with(c, get("/")); got != string(access.GeoDenied) {
		t.Errorf("before the reload: refused for %q", got)
	}
	if err := c.Reload(config); err != nil {
		t.Fatal(err)
	}
	if got := with(c, get("/")); got != "" {
		t.Errorf("after: refused for %q", got)
	}
	if err := os.WriteFile(file, moved[:len(moved)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.Reload(config); err == nil {
		t.Error("half a database is accepted")
	}
	if got := with(c, get("/")); got != "" {
		t.Errorf("after a reload that failed: refused for %q", got)
	}
}

func TestARefusalIsExplainedToTheOperator(t *testing.T) {
	c := newChain(t, anyToken)
	for target, want := range map[string]string{
		"/vod/film/1?token=" + ownToken(token.OwnClaims{Prefix: "/vod/film/"}): "",
		"/vod/a?token=" + ownToken(token.OwnClaims{Prefix: "/vod/film/"}):      `token-scope: /vod/a is not in ["/vod/film/"]`,
		"/vod/a": "token-missing: no credential was sent",
		"/%zz":   "path-malformed: ",
	} {
		err := c.Explain(get(target))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%.30s: %v, want %q", target, err, want)
		}
	}
}
