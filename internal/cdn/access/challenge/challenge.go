package challenge

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"errors"
	"fmt"
	"html"
	"math/bits"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// The bounds of the work. 2^24 hashes take a telephone minutes.
const (
	MinBits = 1
	MaxBits = 24
)

// Settings are what a challenge is made with.
type Settings struct {
	// Secret signs seeds; all nodes that viewers may come to need the same. nil: one of this process.
	Secret []byte
	// Bits is how many bits of the hash must be zero: 2^Bits hashes on average.
	Bits int
	// Lifetime is how long an answer is good for.
	Lifetime time.Duration
	// Cookie is the name of the cookie.
	Cookie string
}

// Challenge asks for work and looks at answers.
type Challenge struct {
	s      Settings
	policy string
}

//go:embed page.html
var page string

//go:embed page.js
var script string

// New returns a Challenge.
func New(s Settings) (*Challenge, error) {
	if s.Bits < MinBits || s.Bits > MaxBits {
		return nil, fmt.Errorf("the work is %d bits; %d to %d are expected", s.Bits, MinBits, MaxBits)
	}
	if s.Lifetime < time.Second {
		return nil, fmt.Errorf("the lifetime is %v; at least 1s is expected", s.Lifetime)
	}
	if s.Secret == nil {
		s.Secret = make([]byte, sha256.Size)
		if _, err := rand.Read(s.Secret); err != nil {
			return nil, err
		}
	}
	sum := sha256.Sum256([]byte(script))
	return &Challenge{s: s, policy: "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; " +
		"style-src 'unsafe-inline'; script-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"}, nil
}

// The networks that answers and abuse are counted by: those that one subscriber or house has.
const (
	ipv4Bits = 24
	ipv6Bits = 48
)

// NetworkOf returns the network of a: the /24 of an address of IPv4, the /48 of one of IPv6.
func NetworkOf(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	n := ipv6Bits
	if a.Is4() {
		n = ipv4Bits
	}
	p, err := a.Prefix(n)
	if err != nil {
		return netip.Prefix{} // no address has no network
	}
	return p
}

func (c *Challenge) seed(client netip.Addr, until string, zeros string) string {
	mac := hmac.New(sha256.New, c.s.Secret)
	fmt.Fprintf(mac, "weir challenge\n%s\n%s\n%s", NetworkOf(client), until, zeros)
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:16])
}

// Page returns the page that asks a browser at client for work, and the Content-Security-Policy under which
// it runs its own script and nothing else.
func (c *Challenge) Page(client netip.Addr, now time.Time) (body []byte, policy string) {
	until := strconv.FormatInt(now.Add(c.s.Lifetime).Unix(), 10)
	zeros := strconv.Itoa(c.s.Bits)
	return []byte(strings.NewReplacer(
		"{{cookie}}", html.EscapeString(c.s.Cookie),
		"{{prefix}}", until+"."+zeros+"."+c.seed(client, until, zeros)+".",
		"{{bits}}", zeros,
		"{{age}}", strconv.Itoa(int(c.s.Lifetime/time.Second)),
		"{{script}}", script,
	).Replace(page)), c.policy
}

// Why an answer is refused.
var (
	ErrMalformed = errors.New("the answer is not until.bits.seed.number")
	ErrExpired   = errors.New("the answer was good until a moment that has passed")
	ErrElsewhere = errors.New("the answer is for another network, or not of ours")
	ErrTooEasy   = errors.New("the answer is for less work than is asked for")
	ErrWrong     = errors.New("the hash of the answer has too few zeros")
)

// maxAnswer bounds the text of an answer.
const maxAnswer = 96

// Verify looks at the answer, which is the value of the cookie, of a client.
func (c *Challenge) Verify(answer string, client netip.Addr, now time.Time) error {
	if len(answer) > maxAnswer {
		return ErrMalformed
	}
	part := strings.Split(answer, ".")
	if len(part) != 4 || len(part[3]) > 20 || strings.Trim(part[3], "0123456789") != "" || part[3] == "" {
		return ErrMalformed
	}
	until, err := strconv.ParseInt(part[0], 10, 64)
	if err != nil {
		return ErrMalformed
	}
	zeros, err := strconv.Atoi(part[1])
	if err != nil {
		return ErrMalformed
	}
	switch {
	case !hmac.Equal([]byte(part[2]), []byte(c.seed(client, part[0], part[1]))):
		return ErrElsewhere
	case now.Unix() >= until:
		return ErrExpired
	case zeros < c.s.Bits:
		return ErrTooEasy
	}
	sum := sha256.Sum256([]byte(part[2] + "." + part[3]))
	if leadingZeros(sum) < zeros {
		return ErrWrong
	}
	return nil
}

func leadingZeros(sum [sha256.Size]byte) int {
	n := 0
	for _, b := range sum {
		n += bits.LeadingZeros8(b)
		if b != 0 {
			break
		}
	}
	return n
}
