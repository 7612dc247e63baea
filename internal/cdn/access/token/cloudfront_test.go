package token_test

import (
	"crypto"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/feature/cloudfront/sign"

	"github.com/weir-stream/weir/internal/cdn/access/token"
)

func cloudFrontKeys() token.CloudFrontKeys {
	return token.CloudFrontKeys{Keys: map[string]token.Key{
		"KRSA": must(token.NewPublicKey(&rsaKey().PublicKey)), "KEC": must(token.NewPublicKey(&ecKey().PublicKey)),
	}}
}

// ask verifies a signed URL as an edge does, at noon unless the request is changed.
func ask(keys token.CloudFrontKeys, signed string, change ...func(*token.Request)) error {
	r := requestOf(signed, change...)
	c, _, err := token.CloudFrontOfQuery(r.RawQuery)
	if err != nil {
		return err
	}
	v, err := keys.Verify(c, token.Resource(r.Scheme, r.Host, r.RawPath, r.RawQuery))
	if err != nil {
		return err
	}
	return v.Check(r, time.Minute)
}

func requestOf(address string, change ...func(*token.Request)) *token.Request {
	scheme, rest, _ := strings.Cut(address, "://")
	host, rest, _ := strings.Cut(rest, "/")
	rawPath, query, _ := strings.Cut("/"+rest, "?")
	return request(rawPath, query, append([]func(*token.Request){func(r *token.Request) { r.Scheme, r.Host = scheme, host }}, change...)...)
}

type cloudFrontVectors struct {
	Keys    map[string]string
	URLs    []struct{ Name, URL string }
	Cookies []struct {
		Name, URL string
		Cookies   map[string]string
	}
}

func readVectors[T any](t *testing.T, file string) (v T) {
	t.Helper()
	text, err := os.ReadFile("testdata/" + file)
	if err == nil {
		err = json.Unmarshal(text, &v)
	}
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func publicKey(text string) token.Key {
	block, _ := pem.Decode([]byte(text))
	return must(token.NewPublicKey(must(x509.ParsePKIXPublicKey(block.Bytes))))
}

func TestWhatTheJavaScriptSDKSigns(t *testing.T) {
	vectors := readVectors[cloudFrontVectors](t, "cloudfront.json")
	keys := token.CloudFrontKeys{Keys: map[string]token.Key{}}
	for id, text := range vectors.Keys {
		keys.Keys[id] = publicKey(text)
	}
	if len(vectors.URLs) < 40 || len(vectors.Cookies) < 8 {
		t.Fatalf("there are only %d URLs and %d cookies", len(vectors.URLs), len(vectors.Cookies))
	}
	for _, test := range vectors.URLs {
		if err := ask(keys, test.URL); err != nil {
			t.Errorf("%s: %v", test.Name, err)
		}
		if err := ask(keys, test.URL, func(r *token.Request) { r.Now = noon.Add(time.Hour + time.Minute) }); reasonOf(t, err) != token.Expired {
			t.Errorf("%s, later: %v", test.Name, err)
		}
		if err := ask(keys, strings.Replace(test.URL, "/vod/", "/VOD/", 1)); err == nil {
			t.Errorf("%s: accepted for another path", test.Name)
		}
	}
	for _, test := range vectors.Cookies {
		cookie := func(name string) (string, int) {
			value, ok := test.Cookies[name]
			return value, map[bool]int{true: 1}[ok]
		}
		c, found, err := token.CloudFrontOfCookies(cookie)
		if err != nil || !found {
			t.Fatal(found, err)
		}
		r := requestOf(test.URL)
		v, err := keys.Verify(c, token.Resource(r.Scheme, r.Host, r.RawPath, r.RawQuery))
		if err == nil {
			err = v.Check(r, time.Minute)
		}
		if err != nil {
			t.Errorf("cookies, %s: %v", test.Name, err)
		}
	}
}

func TestWhatTheGoSDKSigns(t *testing.T) {
	keys := cloudFrontKeys()
	until := noon.Add(time.Hour)
	for id, key := range map[string]crypto.Signer{"KRSA": rsaKey(), "KEC": ecKey()} {
		signer := sign.NewURLSigner(id, key)
		for _, address := range []string{"https://cdn.example/vod/a.m4s", "http://cdn.example:8080/vod/a.m4s?b=1&a=%20", "https://cdn.example/"} {
			if err := ask(keys, must(signer.Sign(address, until))); err != nil {
				t.Errorf("%s canned %s: %v", id, address, err)
			}
		}
		policy := &sign.Policy{Statements: []sign.Statement{{
			Resource: "http*://*.example/vod/*",
			Condition: sign.Condition{
				DateLessThan: sign.NewAWSEpochTime(until), DateGreaterThan: sign.NewAWSEpochTime(noon),
				IPAddress: &sign.IPAddress{SourceIP: "203.0.113.7"},
			},
		}}}
		signed := must(signer.SignWithPolicy("https://cdn.example/vod/a.m4s?x=1", policy))
		if err := ask(keys, signed); err != nil {
			t.Errorf("%s custom: %v", id, err)
		}
		if err := ask(keys, signed, func(r *token.Request) { r.Client = netip.MustParseAddr("203.0.113.8") }); reasonOf(t, err) != token.Address {
			t.Errorf("%s custom, from elsewhere: %v", id, err)
		}
		if err := ask(keys, signed, func(r *token.Request) { r.Now = noon.Add(-2 * time.Minute) }); reasonOf(t, err) != token.Early {
			t.Errorf("%s custom, early: %v", id, err)
		}
	}
	cookies := must(sign.NewCookieSigner("KRSA", rsaKey()).SignWithPolicy(&sign.Policy{Statements: []sign.Statement{{
		Resource: "https://cdn.example/vod/*", Condition: sign.Condition{DateLessThan: sign.NewAWSEpochTime(until)},
	}}}))
	c, found, err := token.CloudFrontOfCookies(func(name string) (string, int) {
		for _, cookie := range cookies {
			if cookie.Name == name {
				return cookie.Value, 1
			}
		}
		return "", 0
	})
	if err != nil || !found {
		t.Fatal(found, err)
	}
	v, err := keys.Verify(c, "https://cdn.example/vod/a.m4s")
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]token.Reason{"/vod/a.m4s": "", "/live/a.m4s": token.Scope} {
		if got := reasonOf(t, v.Check(request(path, "CMCD=bl%3D1"), time.Minute)); got != want {
			t.Errorf("cookies for %s: refused for %q, want %q", path, got, want)
		}
	}
}

// What we sign the SDK would have signed, byte for byte: RSA with PKCS #1 v1.5 is deterministic.
func TestWhatWeSignIsWhatTheSDKSigns(t *testing.T) {
	const address = "https://cdn.example/vod/a.m4s?b=1&c=2"
	until := noon.Add(time.Hour)
	c := must(token.CloudFrontClaims{Resource: address, Expires: until}.Sign("KRSA", rsaKey()))
	if got, want := address+"&"+c.Query(), must(sign.NewURLSigner("KRSA", rsaKey()).Sign(address, until)); got != want {
		t.Errorf("canned: %s\nwant    %s", got, want)
	}
	policy := &sign.Policy{Statements: []sign.Statement{{Resource: address + "*", Condition: sign.Condition{
		IPAddress: &sign.IPAddress{SourceIP: "10.0.0.0/8"}, DateGreaterThan: sign.NewAWSEpochTime(noon), DateLessThan: sign.NewAWSEpochTime(until),
	}}}}
	c = must(token.CloudFrontClaims{Resource: address + "*", Expires: until, NotBefore: noon, Address: netip.MustParsePrefix("10.1.0.0/8")}.Sign("KRSA", rsaKey()))
	if got, want := address+"&"+c.Query(), must(sign.NewURLSigner("KRSA", rsaKey()).SignWithPolicy(address, policy)); got != want {
		t.Errorf("custom: %s\nwant    %s", got, want)
	}
}

func TestSignedURLsThatAreRefused(t *testing.T) {
	keys := cloudFrontKeys()
	signed := func(c token.CloudFrontClaims, id string, key crypto.Signer) string {
		if c.Expires.IsZero() {
			c.Expires = noon.Add(time.Hour)
		}
		return "https://cdn.example/vod/film/1.m4s?" + must(c.Sign(id, key)).Query()
	}
	const address, below = "https://cdn.example/vod/film/1.m4s", "https://cdn.example/vod/film/*"
	canned := signed(token.CloudFrontClaims{Resource: address}, "KRSA", rsaKey())
	custom := signed(token.CloudFrontClaims{Resource: below, Custom: true}, "KRSA", rsaKey())
	policy := func(text string) string {
		c := token.SignCloudFrontPolicy("KRSA", rsaKey(), text)
		return address + "?" + c.Query()
	}
	for _, test := range []struct {
		name, url string
		want      token.Reason
	}{
		{"canned", canned, ""},
		{"custom", custom, ""},
		{"another file", strings.Replace(canned, "1.m4s", "2.m4s", 1), token.Signature},
		{"another host", strings.Replace(canned, "cdn.example", "cdn2.example", 1), token.Signature},
		{"another scheme", strings.Replace(canned, "https", "http", 1), token.Signature},
		{"an argument added, such as CMCD", canned + "&CMCD=bl%3D1", token.Signature},
		{"an argument added to a custom policy", custom + "&CMCD=bl%3D1", ""},
		{"another expiry", strings.Replace(canned, "Expires=1", "Expires=2", 1), token.Signature},
		{"an expiry with zeros", strings.Replace(canned, "Expires=", "Expires=0", 1), token.Malformed},
		{"an expiry that is no number", strings.Replace(canned, "Expires=", "Expires=x", 1), token.Malformed},
		{"both kinds", custom + "&Expires=1772370000", token.Malformed},
		{"no signature", strings.Replace(canned, "Signature=", "S=", 1), token.Malformed},
		{"no key", strings.Replace(canned, "Key-Pair-Id=", "K=", 1), token.Malformed},
		{"a key that is not known", strings.Replace(canned, "Key-Pair-Id=KRSA", "Key-Pair-Id=K2", 1), token.UnknownKey},
		{"another key", strings.Replace(canned, "Key-Pair-Id=KRSA", "Key-Pair-Id=KEC", 1), token.Signature},
		{"a signature twice", canned + "&Signature=x", token.Malformed},
		{"another hash", canned + "&Hash-Algorithm=SHA256", token.Signature},
		{"a hash that is not known", canned + "&Hash-Algorithm=MD5", token.Algorithm},
		{"beside the policy's resource", strings.Replace(custom, "/film/", "/film2/", 1), token.Scope},
		{"out of the resource by dots", strings.Replace(custom, "/film/", "/film/../film2/", 1), token.Scope},
		{"out of the resource by escaped dots", strings.Replace(custom, "/film/", "/film/%2e%2e/film2/", 1), token.Scope},
		{"out of the resource by escaped slashes", strings.Replace(custom, "/film/", "/film/..%2ffilm2/", 1), token.Scope},
		{"a policy without an end", policy(`{"Statement":[{"Resource":"*","Condition":{}}]}`), token.Claim},
		{"a policy without a resource", policy(`{"Statement":[{"Condition":{"DateLessThan":{"AWS:EpochTime":1772370000}}}]}`), token.Claim},
		{"a policy of two statements", policy(`{"Statement":[{"Resource":"*","Condition":{"DateLessThan":{"AWS:EpochTime":1772370000}}},{"Resource":"*","Condition":{"DateLessThan":{"AWS:EpochTime":1772370000}}}]}`), token.Claim},
		{"a policy of no statement", policy(`{"Statement":[]}`), token.Claim},
		{"a condition that is not known", policy(`{"Statement":[{"Resource":"*","Condition":{"DateLessThan":{"AWS:EpochTime":1772370000},"Country":"SE"}}]}`), token.Claim},
		{"a policy with something behind", policy(`{"Statement":[{"Resource":"*","Condition":{"DateLessThan":{"AWS:EpochTime":1772370000}}}]}{}`), token.Claim},
		{"a policy for no network", policy(`{"Statement":[{"Resource":"*","Condition":{"DateLessThan":{"AWS:EpochTime":1772370000},"IpAddress":{"AWS:SourceIp":"here"}}}]}`), token.Claim},
		{"a policy for all networks", policy(`{"Statement":[{"Resource":"*","Condition":{"DateLessThan":{"AWS:EpochTime":1772370000},"IpAddress":{"AWS:SourceIp":"0.0.0.0/0"}}}]}`), ""},
		{"a policy with spaces", policy(`{ "Statement": [ { "Resource": "*", "Condition": { "DateLessThan": { "AWS:EpochTime": 1772370000 } } } ] }`), ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			if err := ask(keys, test.url); reasonOf(t, err) != test.want {
				t.Errorf("%v, want a refusal for %q", err, test.want)
			}
		})
	}
	keys.SHA256Only = true
	if err := ask(keys, canned); reasonOf(t, err) != token.Algorithm {
		t.Errorf("SHA-1 where SHA-256 is asked for: %v", err)
	}
	if err := ask(keys, signed(token.CloudFrontClaims{Resource: address, SHA256: true}, "KEC", ecKey())); err != nil {
		t.Errorf("SHA-256 where it is asked for: %v", err)
	}
}

func TestEveryByteOfASignedURLCounts(t *testing.T) {
	keys := cloudFrontKeys()
	const address = "https://cdn.example/vod/film/1.m4s"
	for id, key := range map[string]crypto.Signer{"KRSA": rsaKey(), "KEC": ecKey()} {
		for kind, c := range map[string]token.CloudFrontClaims{
			"canned": {Resource: address, SHA256: true}, "custom": {Resource: "https://cdn.example/vod/film/*", Custom: true, SHA256: true},
		} {
			c.Expires = noon.Add(time.Hour)
			flips(must(c.Sign(id, key)).Query(), func(place int, changed string) {
				if err := ask(keys, address+"?"+changed); err == nil {
					t.Errorf("%s %s: accepted with byte %d changed: %s", id, kind, place, changed)
				}
			})
		}
	}
}

func TestWildcards(t *testing.T) {
	for _, test := range []struct {
		pattern, text string
		want          bool
	}{
		{"", "", true},
		{"*", "", true},
		{"*", "https://a/b?c", true},
		{"a*", "b", false},
		{"a?c", "abc", true},
		{"a?c", "ac", false},
		{"*.m4s", "/a/b.m4s", true},
		{"*.m4s", "/a/b.m4s?x", false},
		{"a*b*c", "aXbYbZc", true},
		{"a*b*c", "aXbYbZ", false},
		{"http*://h/*", "https://h/", true},
		{"**", "x", true},
		{"a**", "a", true},
		{"?", "", false},
		{"*a", "aaab", false},
	} {
		if got := token.Wildcard(test.pattern, test.text); got != test.want {
			t.Errorf("%q on %q: %v, want %v", test.pattern, test.text, got, test.want)
		}
	}
}

func FuzzCloudFront(f *testing.F) {
	keys := cloudFrontKeys()
	f.Add("Policy=e30_&Signature=a&Key-Pair-Id=KRSA", `{"Statement":[{"Resource":"*","Condition":{"DateLessThan":{"AWS:EpochTime":1}}}]}`, "/a")
	f.Add("Expires=1&Signature=a~-_&Key-Pair-Id=KEC&Hash-Algorithm=SHA256", `{}`, "/%2e%2e")
	f.Fuzz(func(t *testing.T, query, policy, rawPath string) {
		if c, _, err := token.CloudFrontOfQuery(query); err == nil {
			if _, err := keys.Verify(c, "https://cdn.example/"); err == nil {
				t.Fatalf("accepted %q", query)
			}
		}
		c := token.SignCloudFrontPolicy("KEC", ecKey(), policy)
		v, err := keys.Verify(c, "https://cdn.example/")
		clean, ok := token.CleanPath(rawPath)
		if err != nil || !ok {
			return
		}
		if v.Expires == 0 {
			t.Fatalf("accepted without an end: %s", policy)
		}
		_ = v.Check(&token.Request{Scheme: "https", Host: "h", RawPath: rawPath, Path: clean, RawQuery: query, Header: http.Header{}, Now: noon}, 0)
		if u, err := url.Parse(rawPath); err == nil && u.Path != "" && u.Host == "" && !strings.HasPrefix(clean, "/") {
			t.Fatalf("%q means %q", rawPath, clean)
		}
	})
}
