package token_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/weir-stream/weir/internal/cdn/access/token"
)

func ownToken(t *testing.T, c token.OwnClaims) string {
	t.Helper()
	if c.Expires.IsZero() {
		c.Expires = noon.Add(time.Hour)
	}
	text, err := c.Sign("k1", secret("a"))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestOwnTokens(t *testing.T) {
	keys := token.OwnKeys{"k1": secret("a"), "k2": secret("b")}
	film := token.OwnClaims{Prefix: "/vod/film/"}
	at := func(d time.Duration) func(*token.Request) {
		return func(r *token.Request) { r.Now = noon.Add(d) }
	}
	from := func(a string) func(*token.Request) {
		return func(r *token.Request) { r.Client = netip.MustParseAddr(a) }
	}
	for _, test := range []struct {
		name    string
		claims  token.OwnClaims
		request *token.Request
		want    token.Reason
	}{
		{"below the prefix", film, request("/vod/film/1.m4s", ""), ""},
		{"the prefix itself", film, request("/vod/film/", ""), ""},
		{"beside the prefix", film, request("/vod/film2/1.m4s", ""), token.Scope},
		{"above the prefix", film, request("/vod/", ""), token.Scope},
		{"out of the prefix by dots", film, request("/vod/film/../film2/1.m4s", ""), token.Scope},
		{"out of the prefix by escaped dots", film, request("/vod/film/%2e%2e/film2/1.m4s", ""), token.Scope},
		{"out of the prefix by an escaped slash", film, request("/vod/film/..%2ffilm2/1.m4s", ""), token.Scope},
		{"into the prefix by escapes", film, request("/vod/%66ilm/1.m4s", ""), ""},
		{"the path", token.OwnClaims{Path: "/vod/a.mp4"}, request("/vod/a.mp4", ""), ""},
		{"below the path", token.OwnClaims{Path: "/vod/a.mp4"}, request("/vod/a.mp4/b", ""), token.Scope},
		{"another path", token.OwnClaims{Path: "/vod/a.mp4"}, request("/vod/a.mp", ""), token.Scope},
		{"a path with what needs an escape", token.OwnClaims{Path: "/vod/ä b&c=d.mp4"}, request("/vod/%C3%A4%20b&c=d.mp4", ""), ""},
		{"just before it expires", film, request("/vod/film/1", "", at(time.Hour-time.Second)), ""},
		{"expired within the skew", film, request("/vod/film/1", "", at(time.Hour+59*time.Second)), ""},
		{"expired beyond the skew", film, request("/vod/film/1", "", at(time.Hour+60*time.Second)), token.Expired},
		{"early within the skew", token.OwnClaims{Prefix: "/", NotBefore: noon.Add(time.Minute)}, request("/a", ""), ""},
		{"early beyond the skew", token.OwnClaims{Prefix: "/", NotBefore: noon.Add(61 * time.Second)}, request("/a", ""), token.Early},
		{"from the network", token.OwnClaims{Prefix: "/", Address: netip.MustParsePrefix("203.0.113.0/24")}, request("/a", ""), ""},
		{"from elsewhere", token.OwnClaims{Prefix: "/", Address: netip.MustParsePrefix("203.0.113.0/24")}, request("/a", "", from("203.0.114.1")), token.Address},
		{"from the other family", token.OwnClaims{Prefix: "/", Address: netip.MustParsePrefix("203.0.113.0/24")}, request("/a", "", from("2001:db8::1")), token.Address},
	} {
		t.Run(test.name, func(t *testing.T) {
			v, err := keys.Verify(ownToken(t, test.claims))
			if err != nil {
				t.Fatal(err)
			}
			if got := reasonOf(t, v.Check(test.request, time.Minute)); got != test.want {
				t.Errorf("refused for %q, want %q", got, test.want)
			}
		})
	}
}

func TestOwnTokensSayWhoUsesThem(t *testing.T) {
	v, err := token.OwnKeys{"k1": secret("a")}.Verify(ownToken(t, token.OwnClaims{Prefix: "/vod/", Session: "s 1", Subject: "u&1", Tenant: "ü"}))
	if err != nil {
		t.Fatal(err)
	}
	if v.Session != "s 1" || v.Subject != "u&1" || v.Tenant != "ü" || v.Prefix != "/vod/" || v.KeyID != "k1" || v.Expires != noon.Add(time.Hour).Unix() {
		t.Errorf("it says %+v", v)
	}
}

func TestOwnTokensThatAreRefused(t *testing.T) {
	good := ownToken(t, token.OwnClaims{Prefix: "/vod/"})
	sign := func(payload string) string { return token.SignOwnPayload("k1", secret("a"), payload) }
	for _, test := range []struct {
		name, text string
		want       token.Reason
	}{
		{"nothing", "", token.Malformed},
		{"two parts", "k1.cD0v", token.Malformed},
		{"four parts", good + ".x", token.Malformed},
		{"no key", good[strings.IndexByte(good, '.'):], token.Malformed},
		{"a key that is not known", "k3" + good[2:], token.UnknownKey},
		{"another key", ownTokenBy(t, "k1", "b"), token.Signature},
		{"padding", good + "=", token.Malformed},
		{"a line feed", good + "\n", token.Malformed},
		{"too long", good + strings.Repeat("a", token.MaxBytes), token.Malformed},
		{"no scope", sign("e=1772370000"), token.Claim},
		{"two scopes", sign("p=/&x=/a&e=1772370000"), token.Claim},
		{"no expiry", sign("p=/"), token.Claim},
		{"a claim twice", sign("p=/&e=1772370000&e=1772370001"), token.Malformed},
		{"a claim that is not known", sign("p=/&e=1772370000&z=1"), token.Claim},
		{"a prefix without a slash", sign("p=/vod&e=1772370000"), token.Malformed},
		{"a prefix that is not clean", sign("p=/vod/../&e=1772370000"), token.Malformed},
		{"an expiry that is no number", sign("p=/&e=soon"), token.Malformed},
		{"an expiry with a sign", sign("p=/&e=%2B1772370000"), token.Malformed},
		{"a network with bits behind", sign("p=/&e=1772370000&i=10.0.0.1/8"), token.Malformed},
		{"good after it has expired", sign("p=/&e=1772370000&n=1772370000"), token.Claim},
		{"an empty value", sign("p=/&e=1772370000&s="), token.Malformed},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := token.OwnKeys{"k1": secret("a")}.Verify(test.text)
			if got := reasonOf(t, err); got != test.want {
				t.Errorf("refused for %q (%v), want %q", got, err, test.want)
			}
		})
	}
}

func ownTokenBy(t *testing.T, id, letter string) string {
	t.Helper()
	text, err := token.OwnClaims{Prefix: "/", Expires: noon}.Sign(id, secret(letter))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestKeysAreChangedByTheirIdentifiers(t *testing.T) {
	before, after := ownTokenBy(t, "k1", "a"), ownTokenBy(t, "k2", "b")
	both := token.OwnKeys{"k1": secret("a"), "k2": secret("b")}
	for _, text := range []string{before, after} {
		if _, err := both.Verify(text); err != nil {
			t.Error(err)
		}
	}
	if _, err := (token.OwnKeys{"k2": secret("b")}).Verify(before); reasonOf(t, err) != token.UnknownKey {
		t.Errorf("a token of the key that was taken away: %v", err)
	}
}

func TestEveryByteOfAnOwnTokenCounts(t *testing.T) {
	keys := token.OwnKeys{"k1": secret("a")}
	flips(ownToken(t, token.OwnClaims{Prefix: "/vod/", Session: "s"}), func(place int, changed string) {
		if _, err := keys.Verify(changed); err == nil {
			t.Errorf("accepted with byte %d changed: %s", place, changed)
		}
	})
}

func TestOwnTokensThatCannotBeMade(t *testing.T) {
	for _, test := range []struct {
		name, id string
		claims   token.OwnClaims
		want     string
	}{
		{"no expiry", "k1", token.OwnClaims{Prefix: "/"}, "no time at which the token expires"},
		{"a key with a dot", "k.1", token.OwnClaims{Prefix: "/", Expires: noon}, `identifier is "k.1"`},
		{"no scope", "k1", token.OwnClaims{Expires: noon}, "0 scopes"},
		{"a prefix without a slash", "k1", token.OwnClaims{Prefix: "/vod", Expires: noon}, "does not end with /"},
		{"a path that is a prefix", "k1", token.OwnClaims{Path: "/vod/", Expires: noon}, "a prefix is needed"},
	} {
		if _, err := test.claims.Sign(test.id, secret("a")); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v, want one with %q", test.name, err, test.want)
		}
	}
}

func FuzzOwnToken(f *testing.F) {
	keys := token.OwnKeys{"k1": secret("a")}
	f.Add("p=/vod/&e=1772370000&n=1&i=10.0.0.0/8&s=s&u=u&t=t", "k1.cA.cA")
	f.Add("x=/a&e=1", "..")
	f.Fuzz(func(t *testing.T, payload, text string) {
		if _, err := keys.Verify(text); err == nil {
			t.Fatalf("accepted %q", text)
		}
		v, err := keys.Verify(token.SignOwnPayload("k1", secret("a"), payload))
		if err == nil && (v.Expires == 0 || v.Prefix == "") {
			t.Fatalf("accepted without an end or a scope: %q", payload)
		}
	})
}
