package access_test

import (
	"crypto/sha256"
	"fmt"
	"math/bits"
	"net/http"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weir-stream/weir/internal/cdn/access"
	"github.com/weir-stream/weir/internal/cdn/access/token"
)

func TestAddresses(t *testing.T) {
	c := newChain(t, fmt.Sprintf("rules: [{path: /, addresses: {allow: [203.0.113.0/24], block: [203.0.113.66], block_files: [%s]}}]", file(t, []byte("203.0.113.64/27 # a house\n"))))
	for address, want := range map[string]access.Reason{
		"203.0.113.7": "", "203.0.113.66": access.AddressBlocked, "203.0.113.70": access.AddressBlocked, "::ffff:203.0.113.70": access.AddressBlocked,
		"198.51.100.1": access.AddressUnlisted, "2001:db8::1": access.AddressUnlisted,
	} {
		if d := c.Check(get("/", from(address))); d.Reason != string(want) || !d.Allow && d.Status != http.StatusForbidden {
			t.Errorf("%s is refused for %q with %d, want %q", address, d.Reason, d.Status, want)
		}
	}
}

func TestReferrers(t *testing.T) {
	strict := newChain(t, `rules: [{path: /, referrer: {hosts: [example.com, "*.example.org"]}}]`)
	lenient := newChain(t, `rules: [{path: /, referrer: {hosts: [example.com], allow_empty: true}}]`)
	for _, test := range []struct {
		name    string
		chain   *access.Chain
		request *access.Request
		want    access.Reason
	}{
		{"the host", strict, get("/", field("Referer", "https://example.com/page")), ""},
		{"the host with a port, in capitals", strict, get("/", field("Referer", "https://EXAMPLE.com:8443/page")), ""},
		{"the host with its last dot", strict, get("/", field("Origin", "https://example.com.")), ""},
		{"below the host", strict, get("/", field("Referer", "https://www.example.com/")), access.Referrer},
		{"below", strict, get("/", field("Origin", "https://a.b.example.org")), ""},
		{"not below", strict, get("/", field("Origin", "https://example.org")), access.Referrer},
		{"ends like it", strict, get("/", field("Origin", "https://notexample.com")), access.Referrer},
		{"ends like what is below", strict, get("/", field("Origin", "https://xexample.org")), access.Referrer},
		{"begins like it", strict, get("/", field("Origin", "https://example.com.evil.test")), access.Referrer},
		{"as the user of another", strict, get("/", field("Origin", "https://example.com@evil.test")), access.Referrer},
		{"in the path of another", strict, get("/", field("Referer", "https://evil.test/example.com")), access.Referrer},
		{"no address", strict, get("/", field("Referer", "example.com")), access.Referrer},
		{"one that cannot be read", strict, get("/", field("Referer", "https://[::1/")), access.Referrer},
		{"right and wrong", strict, get("/", field("Referer", "https://example.com/"), field("Origin", "https://evil.test")), access.Referrer},
		{"two", strict, get("/", field("Origin", "https://example.com"), field("Origin", "https://evil.test")), access.Referrer},
		{"none", strict, get("/"), access.Referrer},
		{"null", strict, get("/", field("Origin", "null")), access.Referrer},
		{"none, where that may be", lenient, get("/"), ""},
		{"null, where none may be", lenient, get("/", field("Origin", "null")), ""},
		{"wrong, where none may be", lenient, get("/", field("Origin", "https://evil.test")), access.Referrer},
	} {
		if got := with(test.chain, test.request); got != string(test.want) {
			t.Errorf("%s: refused for %q, want %q", test.name, got, test.want)
		}
	}
}

func TestRates(t *testing.T) {
	c := newChain(t, `
rules:
- path: /address/
  rate: {per_address: 2, burst: 1s}
- path: /who/
  rate: {per_address: 0, per_subject: 2, per_tenant: 4, burst: 1s}
  token: {keys: [{id: k1, secret: {env: KEY_A}}]}
- path: /default/
  rate: {}
- path: /house/
  tenant: house
  rate: {per_address: 0, per_tenant: 1, burst: 0s}
`)
	as := func(subject, tenant string) string {
		return "/who/a?token=" + ownToken(token.OwnClaims{Prefix: "/who/", Subject: subject, Tenant: tenant})
	}
	for i, test := range []struct {
		request *access.Request
		want    access.Reason
	}{
		{get("/address/a"), ""},
		{get("/address/b"), ""},
		{get("/address/c"), access.RateAddress},
		{get("/address/a", from("203.0.113.8")), ""},
		{get("/address/a", after(500*time.Millisecond)), ""},
		{get("/address/a", after(500*time.Millisecond)), access.RateAddress},
		// An address of IPv6 stands for its /64.
		{get("/address/a", from("2001:db8::1")), ""},
		{get("/address/a", from("2001:db8::2")), ""},
		{get("/address/a", from("2001:db8::3")), access.RateAddress},
		{get("/address/a", from("2001:db8:0:1::1")), ""},
		{get(as("u1", "t")), ""},
		{get(as("u1", "t")), ""},
		{get(as("u1", "t"), from("203.0.113.9")), access.RateSubject},
		{get(as("u2", "t")), ""},
		{get(as("u3", "t")), ""},
		{get(as("u4", "t")), access.RateTenant},
		{get(as("u4", "t2")), ""},
		{get("/house/a"), ""},
		{get("/house/a", from("203.0.113.9")), access.RateTenant},
	} {
		d := c.Check(test.request)
		if d.Reason != string(test.want) {
			t.Errorf("request %d (%s): refused for %q, want %q", i, test.request.Path, d.Reason, test.want)
		}
		if !d.Allow && (d.Status != http.StatusTooManyRequests || d.RetryAfter < time.Second || d.RetryAfter%time.Second != 0) {
			t.Errorf("request %d: status %d, retry after %v", i, d.Status, d.RetryAfter)
		}
	}
	allowed := 0
	for range 20_000 {
		if c.Check(get("/default/a")).Allow {
			allowed++
		}
	}
	if allowed != 10_000 {
		t.Errorf("%d requests are allowed at once by default, want 10000", allowed)
	}
	// A reload forgets no counts.
	if err := c.Reload(configOf(t, "rules: [{path: /default/, rate: {}}]")); err != nil {
		t.Fatal(err)
	}
	if got := with(c, get("/default/a")); got != string(access.RateAddress) {
		t.Errorf("after a reload: refused for %q", got)
	}
}

// One client cannot use up what all viewers of a tenant have, unless an operator says so.
func TestOneClientDoesNotShutTheOthersOut(t *testing.T) {
	c := newChain(t, "rules: [{path: /, tenant: house, rate: {}}]")
	for range 20_000 {
		c.Check(get("/a"))
	}
	if got := with(c, get("/a")); got != string(access.RateAddress) {
		t.Errorf("the client is refused for %q", got)
	}
	if got := with(c, get("/a", from("203.0.113.200"))); got != "" {
		t.Errorf("another viewer is refused for %q", got)
	}
}

// What is refused does not count towards challenging the network.
func TestARefusedClientHasNoNeighboursChallenged(t *testing.T) {
	c := newChain(t, `
rules:
- path: /rate/
  rate: {per_address: 2, burst: 1s}
  challenge: {above: 4}
- path: /token/
  token: {keys: [{id: k1, secret: {env: KEY_A}}]}
  challenge: {above: 4}
`)
	for range 20 {
		c.Check(get("/rate/a"))
		c.Check(get("/token/a"))
	}
	if got := c.Challenges(); len(got) != 0 {
		t.Errorf("challenged are %v", got)
	}
	if got := with(c, get("/rate/a", from("203.0.113.8"))); got != "" {
		t.Errorf("a neighbour is refused for %q", got)
	}
}

var seed = regexp.MustCompile(`data-prefix="(\d+\.(\d+)\.([\w-]+)\.)"`)

// answer does what the challenge's page does, and returns the cookie.
func answer(t *testing.T, d access.Decision) change {
	t.Helper()
	found := seed.FindSubmatch(d.Body)
	if found == nil {
		t.Fatalf("there is no challenge in %q", d.Body)
	}
	zeros := must(strconv.Atoi(string(found[2])))
	for n := 0; ; n++ {
		sum := sha256.Sum256(fmt.Appendf(nil, "%s.%d", found[3], n))
		if bits.LeadingZeros32(uint32(sum[0])<<24|uint32(sum[1])<<16|uint32(sum[2])<<8|uint32(sum[3])) >= zeros {
			return field("Cookie", fmt.Sprintf("weir-work=%s%d", found[1], n))
		}
	}
}

func TestChallenges(t *testing.T) {
	c := newChain(t, `
challenge: {bits: 4}
rules:
- path: /always/
  challenge: {mode: always}
- path: /never/
  challenge: {mode: never}
- path: /abuse/
  challenge: {above: 3}
`)
	navigation := field("Sec-Fetch-Mode", "navigate")
	d := c.Check(get("/always/a", navigation))
	if d.Allow || d.Status != http.StatusTooManyRequests || d.RetryAfter != 0 || !strings.Contains(d.SetHeader.Get("Content-Security-Policy"), "sha256-") ||
		d.SetHeader.Get("Cache-Control") != "no-store" || !strings.HasPrefix(d.SetHeader.Get("Content-Type"), "text/html") {
		t.Fatalf("a browser that opens a page gets %+v", d)
	}
	right := answer(t, d)
	for _, test := range []struct {
		name    string
		request *access.Request
		want    access.Reason
		page    bool
	}{
		{"a browser with the answer", get("/always/a", right), "", false},
		{"a player with the answer", get("/always/a.m4s", right, field("Sec-Fetch-Mode", "cors")), "", false},
		{"the answer in another network", get("/always/a", right, from("198.51.100.1")), access.Challenged, false},
		{"the answer, later", get("/always/a", right, after(2*time.Hour)), access.Challenged, false},
		{"two answers", get("/always/a", right, right), access.Challenged, false},
		{"a player", get("/always/a.m4s", field("Sec-Fetch-Mode", "cors"), field("Accept", "text/html")), access.Challenged, false},
		{"a program", get("/always/a.m4s", field("Accept", "*/*")), access.Challenged, false},
		{"an old browser", get("/always/a", field("Accept", "text/html,*/*")), access.Challenged, true},
		{"a form", get("/always/a", navigation, func(r *access.Request) { r.Method = http.MethodPost }), access.Challenged, false},
		{"where it is never asked", get("/never/a"), "", false},
		{"where nobody is abusive", get("/abuse/a", from("192.0.2.1")), "", false},
		{"without a rule", get("/a"), "", false},
	} {
		d := c.Check(test.request)
		if d.Reason != string(test.want) || (d.Body != nil) != test.page {
			t.Errorf("%s: refused for %q, page %v; want %q, %v", test.name, d.Reason, d.Body != nil, test.want, test.page)
		}
		if !d.Allow && !test.page && (d.Status != http.StatusTooManyRequests || d.RetryAfter != 10*time.Minute) {
			t.Errorf("%s: status %d, retry after %v", test.name, d.Status, d.RetryAfter)
		}
	}
	if c.Needs("/a") {
		t.Error("a path without a rule needs a check although nobody is challenged")
	}
}

func TestANetworkThatIsAbusiveIsChallenged(t *testing.T) {
	c := newChain(t, "challenge: {bits: 4, hold: 1m}\nrules: [{path: /abuse/, challenge: {above: 3}}, {path: /never/, challenge: {mode: never}}]")
	for i, want := range []access.Reason{"", "", "", access.Challenged, access.Challenged} {
		if got := with(c, get("/abuse/a", from(fmt.Sprintf("203.0.113.%d", i)))); got != string(want) {
			t.Errorf("request %d: refused for %q, want %q", i, got, want)
		}
	}
	if got := c.Challenges(); len(got) != 1 || !got[netip.MustParsePrefix("203.0.113.0/24")].Equal(noon.Add(time.Minute)) {
		t.Errorf("challenged are %v", got)
	}
	navigation := field("Sec-Fetch-Mode", "navigate")
	right := answer(t, c.Check(get("/abuse/a", navigation)))
	for _, test := range []struct {
		name    string
		request *access.Request
		want    access.Reason
	}{
		{"with the answer", get("/abuse/a", right), ""},
		{"on a path without a rule", get("/a"), access.Challenged},
		{"on a path without a rule, with the answer", get("/a", right), ""},
		{"where it is never asked", get("/never/a"), ""},
		{"another network", get("/abuse/a", from("198.51.100.1")), ""},
		{"when the time is over", get("/abuse/a", after(time.Minute)), ""},
	} {
		if got := with(c, test.request); got != string(test.want) {
			t.Errorf("%s: refused for %q, want %q", test.name, got, test.want)
		}
	}
	if c.Needs("/a") {
		t.Error("what has expired is not forgotten")
	}
}

func TestAnOperatorChallengesANetwork(t *testing.T) {
	c := newChain(t, "challenge: {bits: 4}")
	clients := netip.MustParsePrefix("203.0.0.0/16")
	if err := c.Challenge(netip.Prefix{}, 0); err == nil {
		t.Error("no network is accepted")
	}
	if err := c.Challenge(clients, 0); err != nil {
		t.Fatal(err)
	}
	if !c.Needs("/a") {
		t.Error("no path needs a check")
	}
	if got := with(c, get("/a", after(24*365*time.Hour))); got != string(access.Challenged) {
		t.Errorf("refused for %q", got)
	}
	if got := with(c, get("/a", from("198.51.100.1"))); got != "" {
		t.Errorf("another network is refused for %q", got)
	}
	if err := c.Reload(configOf(t, "challenge: {bits: 5}")); err != nil {
		t.Fatal(err)
	}
	if got := with(c, get("/a")); got != string(access.Challenged) {
		t.Errorf("after a reload: refused for %q", got)
	}
	if !c.Unchallenge(clients) || c.Unchallenge(clients) || c.Needs("/a") {
		t.Error("the challenge does not end")
	}
	if err := c.Challenge(clients, time.Minute); err != nil {
		t.Fatal(err)
	}
	if got := with(c, get("/a", after(time.Minute))); got != "" {
		t.Errorf("after its time: refused for %q", got)
	}
}
