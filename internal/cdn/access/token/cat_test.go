package token_test

import (
	"encoding/hex"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/weir-stream/weir/internal/cdn/access/token"
)

func catKeys() token.CATKeys {
	return token.CATKeys{Keys: map[string]token.CATKey{
		"h": {Key: token.Key{Secret: secret("a")}, Algorithm: token.HS256},
		"e": {Key: must(token.NewPublicKey(&ecKey().PublicKey)), Algorithm: token.ES256},
		"p": {Key: must(token.NewPublicKey(&rsaKey().PublicKey)), Algorithm: token.PS256},
	}}
}

func catSigners() []token.CATSigner {
	return []token.CATSigner{
		{ID: "h", Algorithm: token.HS256, Secret: secret("a")},
		{ID: "e", Algorithm: token.ES256, Private: ecKey()},
		{ID: "p", Algorithm: token.PS256, Private: rsaKey()},
	}
}

// claims returns claims that are good for an hour, and more.
func claims(more ...any) map[int64]any {
	all := map[int64]any{token.ClaimExpires: noon.Add(time.Hour).Unix()}
	for i := 0; i < len(more); i += 2 {
		all[more[i].(int64)] = more[i+1]
	}
	return all
}

func inCountry(country string, asn uint32) func(*token.Request) {
	return func(r *token.Request) {
		r.Whereabouts = func(netip.Addr) token.Whereabouts {
			return token.Whereabouts{Country: country, Subdivisions: []string{country + "-AB"}, ASN: asn}
		}
	}
}

type catVectors struct {
	Secret, ID string
	Tokens     []struct{ Name, Token string }
	Refused    []struct {
		Name, Token string
		Reason      token.Reason
	}
}

func TestWhatTheNodeLibrarySigns(t *testing.T) {
	vectors := readVectors[catVectors](t, "cat.json")
	keys := token.CATKeys{Keys: map[string]token.CATKey{
		vectors.ID: {Key: token.Key{Secret: must(token.NewSecret(must(hex.DecodeString(vectors.Secret))))}, Algorithm: token.HS256},
	}, Issuers: []string{"https://auth.example"}}
	// What each token is good for, and what not.
	requests := map[string]struct {
		good, bad *token.Request
		want      token.Reason
	}{
		"path":                   {request("/vod/film/1.m4s", ""), request("/vod/film2/1.m4s", ""), token.Scope},
		"several components":     {request("/vod/film/1.m4s", ""), request("/vod/film/2.m4s", ""), token.Scope},
		"hash":                   {request("/a/1.m4s", ""), request("/a/2.m4s", ""), token.Scope},
		"regex":                  {request("/vod/film/12.m4s", ""), request("/vod/film/x.m4s", ""), token.Scope},
		"methods":                {request("/", ""), request("/", "", func(r *token.Request) { r.Method = http.MethodPost }), token.Method},
		"networks":               {request("/", ""), request("/", "", func(r *token.Request) { r.Client = netip.MustParseAddr("192.0.2.2") }), token.Address},
		"headers":                {request("/", "", func(r *token.Request) { r.Header.Set("User-Agent", "player/1") }), request("/", ""), token.Header},
		"countries":              {request("/", "", inCountry("SE", 0)), request("/", "", inCountry("DK", 0)), token.Place},
		"once":                   {request("/", ""), request("/", "", func(r *token.Request) { r.Now = noon.Add(2 * time.Hour) }), token.Expired},
		"renewal and conditions": {request("/", ""), request("/", "", func(r *token.Request) { r.Now = noon.Add(-2 * time.Hour) }), token.Early},
		"audience":               {request("/", ""), request("/", "", func(r *token.Request) { r.Now = noon.Add(2 * time.Hour) }), token.Expired},
	}
	for _, test := range vectors.Tokens {
		t.Run(test.Name, func(t *testing.T) {
			r, ok := requests[test.Name]
			if !ok {
				t.Fatal("the test knows nothing of it")
			}
			v, err := keys.Verify(test.Token)
			if err != nil {
				t.Fatal(err)
			}
			if err := v.Check(r.good, time.Minute); err != nil {
				t.Error(err)
			}
			if got := reasonOf(t, v.Check(r.bad, time.Minute)); got != r.want {
				t.Errorf("refused for %q, want %q", got, r.want)
			}
			if v.Once != (test.Name == "once") {
				t.Errorf("good once: %v", v.Once)
			}
		})
	}
	for _, test := range vectors.Refused {
		if _, err := keys.Verify(test.Token); reasonOf(t, err) != test.Reason {
			t.Errorf("%s: %v, want a refusal for %q", test.Name, err, test.Reason)
		}
	}
	keys.Audiences = []string{"cdn"}
	for _, test := range vectors.Tokens {
		want := token.Audience
		if test.Name == "audience" {
			want = ""
		}
		if _, err := keys.Verify(test.Token); reasonOf(t, err) != want {
			t.Errorf("%s, where an audience is asked for: %v", test.Name, err)
		}
	}
	keys.Audiences, keys.Issuers = nil, []string{"https://other.example"}
	for _, test := range vectors.Tokens {
		if _, err := keys.Verify(test.Token); reasonOf(t, err) != token.Issuer {
			t.Errorf("%s, of another issuer: %v", test.Name, err)
		}
	}
}

func TestClaimsOfCommonAccessTokens(t *testing.T) {
	keys := catKeys()
	uri := func(part int64, kind int64, value any) []any {
		return []any{token.ClaimURI, map[int64]any{part: map[int64]any{kind: value}}}
	}
	header := func(name, value string) func(*token.Request) {
		return func(r *token.Request) { r.Header.Set(name, value) }
	}
	from := func(a string) func(*token.Request) {
		return func(r *token.Request) { r.Client = netip.MustParseAddr(a) }
	}
	for _, test := range []struct {
		name    string
		claims  []any
		request *token.Request
		want    token.Reason
	}{
		{"no more than an end", nil, request("/", ""), ""},
		{"scheme", uri(0, 0, "https"), request("/", ""), ""},
		{"another scheme", uri(0, 0, "http"), request("/", ""), token.Scope},
		{"host, whatever its case", uri(1, 0, "cdn.example"), request("/", "", func(r *token.Request) { r.Host = "CDN.example:443" }), ""},
		{"port", uri(2, 0, "8443"), request("/", "", func(r *token.Request) { r.Host = "cdn.example:8443" }), ""},
		{"the scheme's port", uri(2, 0, "443"), request("/", ""), ""},
		{"path by dots", uri(3, 1, "/vod/film/"), request("/vod/film/../x/1", ""), token.Scope},
		{"path escaped", uri(3, 0, "/vod/a%20b"), request("/vod/a%20b", ""), ""},
		{"query without CMCD and the token", uri(4, 0, "a=1"), request("/", "a=1&CMCD=bl%3D1&CAT=xyz"), ""},
		{"another query", uri(4, 0, "a=1"), request("/", "a=2"), token.Scope},
		{"parent path", uri(5, 0, "/vod/film"), request("/vod/film/1.m4s", ""), ""},
		{"filename", uri(6, 2, ".m4s"), request("/vod/film/1.m4s", ""), ""},
		{"stem", uri(7, 0, "a.b"), request("/vod/a.b.m4s", ""), ""},
		{"extension", uri(8, 0, ".m4s"), request("/vod/a.b.m4s", ""), ""},
		{"contains", uri(3, 3, "film"), request("/vod/film/1", ""), ""},
		{"contains not", uri(3, 3, "film"), request("/vod/1", ""), token.Scope},
		{"methods", []any{token.ClaimMethods, []string{"HEAD"}}, request("/", ""), token.Method},
		{"a network of IPv6", []any{token.ClaimNetworks, []any{cbor.Tag{Number: 54, Content: []any{32, []byte{0x20, 1, 0xd, 0xb8}}}}}, request("/", "", from("2001:db8:7::1")), ""},
		{"not in the network of IPv6", []any{token.ClaimNetworks, []any{cbor.Tag{Number: 54, Content: []any{32, []byte{0x20, 1, 0xd, 0xb8}}}}}, request("/", "", from("2001:db9::1")), token.Address},
		{"an autonomous system", []any{token.ClaimNetworks, []any{64496}}, request("/", "", inCountry("SE", 64496)), ""},
		{"another autonomous system", []any{token.ClaimNetworks, []any{64496}}, request("/", "", inCountry("SE", 64497)), token.Address},
		{"an autonomous system that nobody knows", []any{token.ClaimNetworks, []any{64496}}, request("/", ""), token.Address},
		{"a subdivision", []any{token.ClaimPlaces, []string{"se-ab"}}, request("/", "", inCountry("SE", 0)), ""},
		{"a country that nobody knows", []any{token.ClaimPlaces, []string{"SE"}}, request("/", ""), token.Place},
		{"a header, whatever the case of its name", []any{token.ClaimHeaders, map[string]any{"x-player": token.MatchExact("a")}}, request("/", "", header("X-Player", "a")), ""},
		{"another header", []any{token.ClaimHeaders, map[string]any{"x-player": token.MatchExact("a")}}, request("/", "", header("X-Player", "b")), token.Header},
		{"the host as a header", []any{token.ClaimHeaders, map[string]any{"host": token.MatchExact("cdn.example")}}, request("/", ""), ""},
		{"an end in fractions of seconds", []any{token.ClaimExpires, float64(noon.Unix()) + 0.5}, request("/", ""), ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, signer := range catSigners() {
				v, err := keys.Verify(must(signer.Sign(claims(test.claims...))))
				if err != nil {
					t.Fatalf("%s: %v", signer.Algorithm, err)
				}
				if err := v.Check(test.request, time.Minute); reasonOf(t, err) != test.want {
					t.Errorf("%s: %v, want a refusal for %q", signer.Algorithm, err, test.want)
				}
			}
		})
	}
}

func TestCommonAccessTokensThatAreRefused(t *testing.T) {
	signer := catSigners()[0]
	with := func(more ...any) string { return must(signer.Sign(claims(more...))) }
	cose := func(tag uint64, protected map[int64]any, unprotected map[int64]any) string {
		return token.SignCOSE(secret("a"), tag, protected, unprotected, must(cbor.Marshal(claims())))
	}
	alg, kid := map[int64]any{1: 5}, map[int64]any{4: []byte("h")}
	for _, test := range []struct {
		name, text string
		want       token.Reason
	}{
		{"well made", cose(17, alg, kid), ""},
		{"the key's name protected", cose(17, map[int64]any{1: 5, 4: []byte("h")}, nil), ""},
		{"nothing", "", token.Malformed},
		{"no CBOR", "aGVsbG8", token.Malformed},
		{"padding", with() + "==", token.Malformed},
		{"something behind", with() + "AAAA", token.Malformed},
		{"too long", strings.Repeat("A", token.MaxBytes+1), token.Malformed},
		{"no tag of COSE", cose(99, alg, kid), token.Malformed},
		{"COSE_Sign1 by a secret", cose(18, alg, kid), token.Algorithm},
		{"no key", cose(17, alg, nil), token.UnknownKey},
		{"a key's name that is text", cose(17, alg, map[int64]any{4: "h"}), token.UnknownKey},
		{"a key that is not known", cose(17, alg, map[int64]any{4: []byte("x")}), token.UnknownKey},
		{"a public key as the secret", cose(17, alg, map[int64]any{4: []byte("e")}), token.Algorithm},
		{"an algorithm that is not protected", cose(17, nil, map[int64]any{1: 5, 4: []byte("h")}), token.Algorithm},
		{"another algorithm", cose(17, map[int64]any{1: 4}, kid), token.Algorithm},
		{"a critical header", cose(17, map[int64]any{1: 5, 2: []any{99}, 99: 1}, kid), token.Claim},
		{"another secret", must(token.CATSigner{ID: "h", Algorithm: token.HS256, Secret: secret("b")}.Sign(claims())), token.Signature},
		{"no end", must(signer.Sign(map[int64]any{})), token.Claim},
		{"an end that is text", with(token.ClaimExpires, "soon"), token.Claim},
		{"an end before 1970", with(token.ClaimExpires, -1), token.Claim},
		{"another version", with(token.ClaimVersion, 2), token.Claim},
		{"proof of possession", with(int64(8), map[int64]any{}), token.Claim},
		{"a geohash", with(int64(282), "u6sc"), token.Claim},
		{"a probability of rejection", with(int64(309), []any{1}), token.Claim},
		{"an application protocol", with(int64(314), []any{[]byte("h2")}), token.Claim},
		{"coordinates", with(int64(317), []any{1}), token.Claim},
		{"a TLS key", with(int64(319), []byte("x")), token.Claim},
		{"DPoP", with(int64(321), map[int64]any{}), token.Claim},
		{"a claim of a version to come", with(int64(325), 1), token.Claim},
		{"once, without an identifier", with(token.ClaimReplay, 1), token.Claim},
		{"replay that is not known", with(token.ClaimReplay, 3), token.Claim},
		{"networks that are empty", with(token.ClaimNetworks, []any{}), token.Claim},
		{"a network of text", with(token.ClaimNetworks, []any{"10.0.0.0/8"}), token.Claim},
		{"a network that is too long", with(token.ClaimNetworks, []any{cbor.Tag{Number: 52, Content: []byte{1, 2, 3, 4, 5}}}), token.Claim},
		{"an address that is too short", with(token.ClaimNetworks, []any{cbor.Tag{Number: 52, Content: []byte{1, 2, 3}}}), token.Claim},
		{"a prefix of 33 bits", with(token.ClaimNetworks, []any{cbor.Tag{Number: 52, Content: []any{33, []byte{1, 2, 3, 4}}}}), token.Claim},
		{"no methods", with(token.ClaimMethods, []string{}), token.Claim},
		{"an empty catu", with(token.ClaimURI, map[int64]any{}), token.Claim},
		{"a component that is not known", with(token.ClaimURI, map[int64]any{9: token.MatchExact("x")}), token.Claim},
		{"a component without a match", with(token.ClaimURI, map[int64]any{3: map[int64]any{}}), token.Claim},
		{"a match that is not known", with(token.ClaimURI, map[int64]any{3: map[int64]any{5: "x"}}), token.Claim},
		{"a match of the wrong type", with(token.ClaimURI, map[int64]any{3: map[int64]any{0: 1}}), token.Claim},
		{"a regular expression with look-ahead", with(token.ClaimURI, map[int64]any{3: map[int64]any{4: []string{"(?=x)"}}}), token.Claim},
		{"a regular expression with flags", with(token.ClaimURI, map[int64]any{3: map[int64]any{4: []string{"x", "i"}}}), token.Claim},
		{"a hash that is too short", with(token.ClaimURI, map[int64]any{3: map[int64]any{-1: []byte("x")}}), token.Claim},
		{"private claims and those of renewal", with(int64(-70000), "x", int64(323), map[int64]any{0: 1}, int64(322), map[int64]any{}), ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, err := catKeys().Verify(test.text); reasonOf(t, err) != test.want {
				t.Errorf("%v, want a refusal for %q", err, test.want)
			}
		})
	}
}

func TestEveryByteOfACommonAccessTokenCounts(t *testing.T) {
	keys := catKeys()
	for _, signer := range catSigners() {
		flips(must(signer.Sign(claims(token.ClaimURI, map[int64]any{token.URIPath: token.MatchPrefix("/vod/")}))), func(place int, changed string) {
			if _, err := keys.Verify(changed); err == nil {
				t.Errorf("%s: accepted with byte %d changed: %s", signer.Algorithm, place, changed)
			}
		})
	}
}

func TestKeysThatAreNotForTheirAlgorithm(t *testing.T) {
	for name, key := range map[string]token.CATKey{
		"no secret":        {Algorithm: token.HS256},
		"no public key":    {Algorithm: token.ES256, Key: token.Key{Secret: secret("a")}},
		"RSA for ES256":    {Algorithm: token.ES256, Key: token.Key{Public: &rsaKey().PublicKey}},
		"ECDSA for PS256":  {Algorithm: token.PS256, Key: token.Key{Public: &ecKey().PublicKey}},
		"no algorithm":     {Key: token.Key{Secret: secret("a")}},
		"another of COSE":  {Algorithm: "HS512", Key: token.Key{Secret: secret("a")}},
		"public for HS256": {Algorithm: token.HS256, Key: token.Key{Public: &rsaKey().PublicKey}},
	} {
		if err := key.Validate(); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func FuzzCommonAccessToken(f *testing.F) {
	keys := catKeys()
	for _, signer := range catSigners() {
		f.Add(must(signer.Sign(claims())), must(cbor.Marshal(claims(token.ClaimVersion, 1))), "/vod/a.m4s", "a=1")
	}
	f.Add("", must(cbor.Marshal(claims(token.ClaimURI, map[int64]any{3: map[int64]any{4: []string{"x"}}}, token.ClaimNetworks, []any{1, cbor.Tag{Number: 52, Content: []byte{1, 2, 3, 4}}}))), "/", "CAT=x")
	f.Fuzz(func(t *testing.T, text string, payload []byte, path, query string) {
		_, _ = keys.Verify(text)
		v, err := keys.Verify(token.SignCOSE(secret("a"), 17, map[int64]any{1: 5}, map[int64]any{4: []byte("h")}, payload))
		if err != nil {
			return
		}
		if v.Expires == 0 {
			t.Fatalf("accepted without an end: %x", payload)
		}
		if clean, ok := token.CleanPath(path); ok {
			_ = v.Check(&token.Request{Scheme: "https", Host: "h:1", RawPath: path, Path: clean, RawQuery: query, Header: http.Header{}, Now: noon}, 0)
		}
	})
}
