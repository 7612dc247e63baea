package token_test

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/weir-stream/weir/internal/cdn/access/token"
)

func jwtIssuers() token.JWTIssuers {
	return token.JWTIssuers{
		"https://auth.example": {
			Name: "https://auth.example", Audiences: []string{"cdn"}, Algorithms: []string{"RS256", "PS256", "ES256"},
			Keys: map[string]token.Key{"r": must(token.NewPublicKey(&rsaKey().PublicKey)), "e": must(token.NewPublicKey(&ecKey().PublicKey))},
		},
		"shop": {Name: "shop", Algorithms: []string{"HS256"}, Keys: map[string]token.Key{"h": {Secret: secret("a")}}, NeedPaths: true},
	}
}

func jwtClaims(more ...any) map[string]any {
	all := map[string]any{"iss": "https://auth.example", "aud": "cdn", "exp": noon.Add(time.Hour).Unix()}
	for i := 0; i < len(more); i += 2 {
		if more[i+1] == nil {
			delete(all, more[i].(string))
			continue
		}
		all[more[i].(string)] = more[i+1]
	}
	return all
}

func TestJSONWebTokens(t *testing.T) {
	issuers := jwtIssuers()
	rs := token.JWTSigner{ID: "r", Algorithm: "RS256", Private: rsaKey()}
	ps := token.JWTSigner{ID: "r", Algorithm: "PS256", Private: rsaKey()}
	es := token.JWTSigner{ID: "e", Algorithm: "ES256", Private: ecKey()}
	hs := token.JWTSigner{ID: "h", Algorithm: "HS256", Secret: secret("a")}
	with := func(s token.JWTSigner, more ...any) string { return must(s.Sign(jwtClaims(more...))) }
	// raw signs a head and claims with a secret, right or wrong.
	raw := func(head, body string, key []byte) string {
		text := base64.RawURLEncoding.EncodeToString([]byte(head)) + "." + base64.RawURLEncoding.EncodeToString([]byte(body))
		sum, err := jwt.SigningMethodHS256.Sign(text, key)
		if err != nil {
			t.Fatal(err)
		}
		return text + "." + base64.RawURLEncoding.EncodeToString(sum)
	}
	body := string(must(json.Marshal(jwtClaims("iss", "shop", "paths", "/"))))
	key := []byte(strings.Repeat("a", 32))
	good := with(rs)
	parts := strings.Split(good, ".")
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","kid":"r"}`)) + "." + parts[1] + "."
	publicAsSecret := func() string {
		der := must(x509.MarshalPKIXPublicKey(&rsaKey().PublicKey))
		return raw(`{"alg":"HS256","kid":"r"}`, string(must(json.Marshal(jwtClaims()))), der)
	}()
	at := func(d time.Duration) *token.Request {
		return request("/vod/a", "", func(r *token.Request) { r.Now = noon.Add(d) })
	}
	for _, test := range []struct {
		name, text string
		request    *token.Request
		want       token.Reason
	}{
		{"RS256", good, at(0), ""},
		{"PS256", with(ps), at(0), ""},
		{"ES256", with(es), at(0), ""},
		{"HS256", with(hs, "iss", "shop", "paths", []string{"/vod/"}), at(0), ""},
		{"one audience of several", with(rs, "aud", []string{"x", "cdn"}), at(0), ""},
		{"a path", with(rs, "paths", []string{"/live/", "/vod/a"}), at(0), ""},
		{"other paths", with(rs, "paths", []string{"/live/", "/vod/a/"}), at(0), token.Scope},
		{"a network", with(rs, "ip", "203.0.113.0/24"), at(0), ""},
		{"another network", with(rs, "ip", "203.0.113.8"), at(0), token.Address},
		{"within the skew", good, at(time.Hour + 59*time.Second), ""},
		{"expired", good, at(time.Hour + time.Minute), token.Expired},
		{"early", with(rs, "nbf", noon.Add(2*time.Minute).Unix()), at(0), token.Early},
		{"nothing", "", nil, token.Malformed},
		{"two parts", parts[0] + "." + parts[1], nil, token.Malformed},
		{"padding", good + "=", nil, token.Malformed},
		{"a line feed", good + "\n", nil, token.Malformed},
		{"too long", good + strings.Repeat("A", token.MaxBytes), nil, token.Malformed},
		{"none", none, nil, token.Algorithm},
		{"None", base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"None","kid":"r"}`)) + "." + parts[1] + ".", nil, token.Malformed},
		{"no algorithm", raw(`{"kid":"h"}`, body, key), nil, token.Malformed},
		{"by secret", raw(`{"alg":"HS256","kid":"h"}`, body, key), at(0), ""},
		{"critical", raw(`{"alg":"HS256","kid":"h","crit":["b64"],"b64":false}`, body, key), nil, token.Claim},
		{"no key", raw(`{"alg":"HS256"}`, body, key), nil, token.UnknownKey},
		{"a key in another case", raw(`{"alg":"HS256","kid":"H"}`, body, key), nil, token.UnknownKey},
		{"a key with a path", raw(`{"alg":"HS256","kid":"../h"}`, body, key), nil, token.UnknownKey},
		{"a key that is a number", raw(`{"alg":"HS256","kid":1}`, body, key), nil, token.UnknownKey},
		{"the public key as a secret", publicAsSecret, nil, token.Algorithm},
		{"the key of another issuer", with(rs, "iss", "shop", "paths", "/"), nil, token.Algorithm},
		{"another algorithm of the same key", must(token.JWTSigner{ID: "r", Algorithm: "RS512", Private: rsaKey()}.Sign(jwtClaims())), nil, token.Algorithm},
		{"a key for another algorithm", must(token.JWTSigner{ID: "e", Algorithm: "RS256", Private: rsaKey()}.Sign(jwtClaims())), nil, token.Algorithm},
		{"another secret", must(token.JWTSigner{ID: "h", Algorithm: "HS256", Secret: secret("b")}.Sign(jwtClaims("iss", "shop", "paths", "/"))), nil, token.Signature},
		{"an issuer that is not known", with(rs, "iss", "https://evil.example"), nil, token.Issuer},
		{"no issuer", with(rs, "iss", nil), nil, token.Issuer},
		{"another audience", with(rs, "aud", "other"), nil, token.Audience},
		{"no audience", with(rs, "aud", nil), nil, token.Audience},
		{"no end", with(rs, "exp", nil), nil, token.Claim},
		{"an end that is text", with(rs, "exp", "1772370000"), nil, token.Claim},
		{"an end beyond all time", with(rs, "exp", 1e300), nil, token.Claim},
		{"paths that are empty", with(rs, "paths", []string{}), nil, token.Claim},
		{"a path that is not clean", with(rs, "paths", []string{"/vod/../"}), nil, token.Claim},
		{"no paths where they are asked for", with(hs, "iss", "shop"), nil, token.Claim},
		{"a network that is none", with(rs, "ip", "here"), nil, token.Claim},
	} {
		t.Run(test.name, func(t *testing.T) {
			v, err := issuers.Verify(test.text)
			if err == nil && test.request != nil {
				err = v.Check(test.request, time.Minute)
			}
			if reasonOf(t, err) != test.want {
				t.Errorf("%v, want a refusal for %q", err, test.want)
			}
		})
	}
}

func TestEveryByteOfAJSONWebTokenCounts(t *testing.T) {
	issuers := jwtIssuers()
	for _, signer := range []token.JWTSigner{{ID: "r", Algorithm: "RS256", Private: rsaKey()}, {ID: "e", Algorithm: "ES256", Private: ecKey()}} {
		flips(must(signer.Sign(jwtClaims("sid", "s"))), func(place int, changed string) {
			if _, err := issuers.Verify(changed); err == nil {
				t.Errorf("%s: accepted with byte %d changed: %s", signer.Algorithm, place, changed)
			}
		})
	}
}

func TestIssuersThatCannotBe(t *testing.T) {
	rsaOnly := map[string]token.Key{"r": {Public: &rsaKey().PublicKey}}
	for _, test := range []struct {
		issuer token.JWTIssuer
		want   string
	}{
		{token.JWTIssuer{Keys: rsaOnly}, "there are no algorithms"},
		{token.JWTIssuer{Keys: rsaOnly, Algorithms: []string{"none"}}, `the algorithm is "none"`},
		{token.JWTIssuer{Algorithms: []string{"RS256"}}, "there are no keys"},
		{token.JWTIssuer{Keys: rsaOnly, Algorithms: []string{"HS256", "ES256"}}, `the key "r" is for none of`},
	} {
		if err := test.issuer.Validate(); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("error %v, want one with %q", err, test.want)
		}
	}
}

func FuzzJSONWebToken(f *testing.F) {
	issuers := jwtIssuers()
	f.Add(must(token.JWTSigner{ID: "r", Algorithm: "RS256", Private: rsaKey()}.Sign(jwtClaims()))[1:], `{"iss":"shop","exp":1772370000,"paths":"/"}`)
	f.Add("a.b.c", `{"iss":"shop","exp":1,"paths":["/a"],"aud":["x"],"ip":"10.0.0.0/8","nbf":0.5}`)
	f.Fuzz(func(t *testing.T, text, body string) {
		if _, err := issuers.Verify(text); err == nil {
			t.Fatalf("accepted %q", text)
		}
		signed := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256","kid":"h"}`)) + "." + base64.RawURLEncoding.EncodeToString([]byte(body))
		sum, err := jwt.SigningMethodHS256.Sign(signed, []byte(strings.Repeat("a", 32)))
		if err != nil {
			t.Fatal(err)
		}
		v, err := issuers.Verify(signed + "." + base64.RawURLEncoding.EncodeToString(sum))
		if err != nil {
			return
		}
		if v.Expires == 0 {
			t.Fatalf("accepted without an end: %s", body)
		}
		_ = v.Check(&token.Request{RawPath: "/", Path: "/", Header: http.Header{}, Now: noon}, 0)
	})
}
