package challenge_test

import (
	"crypto/sha256"
	"errors"
	"math/bits"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weir-stream/weir/internal/cdn/access/challenge"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	noon   = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	viewer = netip.MustParseAddr("203.0.113.7")
)

func newChallenge(t *testing.T, zeros int, secret string) *challenge.Challenge {
	t.Helper()
	c, err := challenge.New(challenge.Settings{Secret: []byte(secret), Bits: zeros, Lifetime: time.Hour, Cookie: "weir-work"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// solve does what the page's script does.
func solve(t *testing.T, c *challenge.Challenge, client netip.Addr) string {
	t.Helper()
	body, _ := c.Page(client, noon)
	found := regexp.MustCompile(`data-prefix="(\d+\.(\d+)\.([\w-]+)\.)"`).FindSubmatch(body)
	if found == nil {
		t.Fatalf("the page has no seed: %s", body)
	}
	want, err := strconv.Atoi(string(found[2]))
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; ; n++ {
		sum := sha256.Sum256([]byte(string(found[3]) + "." + strconv.Itoa(n)))
		if bits.LeadingZeros32(uint32(sum[0])<<24|uint32(sum[1])<<16|uint32(sum[2])<<8|uint32(sum[3])) >= want {
			return string(found[1]) + strconv.Itoa(n)
		}
	}
}

// challengeOf asks for as much work as is asked for by default.
func challengeOf(secret string) (*challenge.Challenge, error) {
	return challenge.New(challenge.Settings{Secret: []byte(secret), Bits: 16, Lifetime: time.Hour, Cookie: "weir-work"})
}

func TestAnswers(t *testing.T) {
	c := newChallenge(t, 10, "one secret")
	answer := solve(t, c, viewer)
	easy := solve(t, newChallenge(t, 4, "one secret"), viewer)
	dot := strings.LastIndexByte(answer, '.')
	for _, test := range []struct {
		name, answer string
		client       string
		at           time.Duration
		want         error
	}{
		{"right", answer, "203.0.113.7", 0, nil},
		{"right, by a neighbour", answer, "203.0.113.200", 0, nil},
		{"right, mapped into IPv6", answer, "::ffff:203.0.113.7", 0, nil},
		{"right, at the last second", answer, "203.0.113.7", time.Hour - time.Second, nil},
		{"later", answer, "203.0.113.7", time.Hour, challenge.ErrExpired},
		{"in another network", answer, "203.0.114.7", 0, challenge.ErrElsewhere},
		{"in IPv6", answer, "2001:db8::1", 0, challenge.ErrElsewhere},
		{"of another secret", solve(t, newChallenge(t, 10, "another"), viewer), "203.0.113.7", 0, challenge.ErrElsewhere},
		{"of less work", easy, "203.0.113.7", 0, challenge.ErrTooEasy},
		{"another number", answer[:dot] + ".999999999", "203.0.113.7", 0, challenge.ErrWrong},
		{"a number with a zero before it", answer[:dot] + ".0" + answer[dot+1:], "203.0.113.7", 0, challenge.ErrWrong},
		{"a number with a sign", answer[:dot] + ".-1", "203.0.113.7", 0, challenge.ErrMalformed},
		{"no number", answer[:dot] + ".", "203.0.113.7", 0, challenge.ErrMalformed},
		{"nothing", "", "203.0.113.7", 0, challenge.ErrMalformed},
		{"too long", answer + strings.Repeat("1", 100), "203.0.113.7", 0, challenge.ErrMalformed},
		{"a later end", "9" + answer, "203.0.113.7", 0, challenge.ErrElsewhere},
	} {
		if err := c.Verify(test.answer, netip.MustParseAddr(test.client), noon.Add(test.at)); !errors.Is(err, test.want) {
			t.Errorf("%s: error %v, want %v", test.name, err, test.want)
		}
	}
	for i := range answer {
		for bit := range 8 {
			b := []byte(answer)
			b[i] ^= 1 << bit
			// Of 2^10 numbers one is another answer, which is as good.
			if err := c.Verify(string(b), viewer, noon); err == nil && i <= dot {
				t.Errorf("accepted with byte %d changed: %s", i, b)
			}
		}
	}
}

func TestWhatAChallengeCannotBe(t *testing.T) {
	for _, s := range []challenge.Settings{{Bits: 0, Lifetime: time.Hour}, {Bits: 25, Lifetime: time.Hour}, {Bits: 10}} {
		if _, err := challenge.New(s); err == nil {
			t.Errorf("%+v is accepted", s)
		}
	}
}

func TestThePageRunsItsOwnScriptOnly(t *testing.T) {
	body, policy := newChallenge(t, 10, "s").Page(viewer, noon)
	if !strings.Contains(policy, "default-src 'none'") || !strings.Contains(policy, "script-src 'sha256-") {
		t.Errorf("the policy is %s", policy)
	}
	for _, foreign := range []string{"http://", "https://", "//cdn", "src="} {
		if strings.Contains(strings.ReplaceAll(string(body), "'https:'", ""), foreign) {
			t.Errorf("the page has %q", foreign)
		}
	}
	if strings.Contains(string(body), "{{") {
		t.Error("the page has holes")
	}
}

func TestNetworks(t *testing.T) {
	var n challenge.Networks
	has := func(a string, at time.Duration) bool { return n.Has(netip.MustParseAddr(a), noon.Add(at)) }
	if n.Any() || has("203.0.113.7", 0) {
		t.Fatal("somebody is challenged from the start")
	}
	n.Add(netip.MustParsePrefix("203.0.0.0/16"), noon.Add(time.Hour), noon)
	n.Add(netip.MustParsePrefix("203.0.113.0/24"), noon.Add(time.Minute), noon)
	n.Add(netip.MustParsePrefix("::ffff:192.0.2.0/120"), noon.Add(time.Minute), noon)
	n.Add(netip.MustParsePrefix("2001:db8::/48"), noon.Add(time.Minute), noon)
	for _, test := range []struct {
		address string
		at      time.Duration
		want    bool
	}{
		{"203.0.113.7", 0, true},
		{"203.0.114.7", 0, true},
		{"203.1.0.1", 0, false},
		{"192.0.2.9", 0, true},
		{"::ffff:192.0.2.9", 0, true},
		{"2001:db8::1", 0, true},
		{"2001:db8:1::1", 0, false},
		{"203.0.113.7", time.Minute, true}, // by the wider one
		{"192.0.2.9", time.Minute, false},
		{"203.0.113.7", time.Hour, false},
	} {
		if got := has(test.address, test.at); got != test.want {
			t.Errorf("%s after %v: %v, want %v", test.address, test.at, got, test.want)
		}
	}
	if got := len(n.List(noon.Add(time.Minute))); got != 1 {
		t.Errorf("%d are listed, want 1", got)
	}
	n.Sweep(noon.Add(time.Minute))
	if !n.Any() || !has("203.0.113.7", 0) {
		t.Error("sweeping took what counts")
	}
	if !n.Remove(netip.MustParsePrefix("0.0.0.0/0")) || n.Any() || n.Remove(netip.MustParsePrefix("0.0.0.0/0")) {
		t.Error("taking all away has not")
	}
}

func TestNetworksAreBounded(t *testing.T) {
	var n challenge.Networks
	at := func(i int) netip.Prefix {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0}), 24)
	}
	for i := range challenge.MaxNetworks {
		if !n.Add(at(i), noon.Add(time.Minute), noon) {
			t.Fatalf("%d is refused", i)
		}
	}
	if n.Add(at(challenge.MaxNetworks), noon.Add(time.Minute), noon) || n.Missed() != 1 {
		t.Errorf("one too many is taken; %d are counted as missed", n.Missed())
	}
	if !n.Add(at(0), noon.Add(time.Hour), noon) {
		t.Error("one that is there cannot be lengthened")
	}
	if !n.Add(at(challenge.MaxNetworks), noon.Add(time.Hour), noon.Add(time.Minute)) {
		t.Error("there is no room although all but one have expired")
	}
	if got := len(n.List(noon.Add(time.Minute))); got != 2 {
		t.Errorf("%d are listed, want 2", got)
	}
}

func FuzzAnswer(f *testing.F) {
	c, err := challenge.New(challenge.Settings{Secret: []byte("s"), Bits: 1, Lifetime: time.Hour, Cookie: "c"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add("1772370000.1.AAAAAAAAAAAAAAAAAAAAAA.1")
	f.Fuzz(func(t *testing.T, answer string) {
		if c.Verify(answer, viewer, noon) == nil {
			t.Fatalf("accepted %q", answer)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	c, err := challenge.New(challenge.Settings{Secret: []byte("s"), Bits: 16, Lifetime: time.Hour, Cookie: "c"})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		_ = c.Verify("1772370000.16.AAAAAAAAAAAAAAAAAAAAAA.12345", viewer, noon)
	}
}
