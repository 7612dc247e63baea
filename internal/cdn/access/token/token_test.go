package token_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.yaml.in/yaml/v3"

	"github.com/weir-stream/weir/internal/cdn/access/token"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// noon is when the tests take place.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

var (
	rsaKey = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) })
	ecKey  = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) })
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func secret(letter string) token.Secret {
	return must(token.NewSecret([]byte(strings.Repeat(letter, token.MinSecretBytes))))
}

// reasonOf returns the word of a refusal, "" for none.
func reasonOf(t *testing.T, err error) token.Reason {
	t.Helper()
	if err == nil {
		return ""
	}
	var refused *token.RefusedError
	if !errors.As(err, &refused) {
		t.Fatalf("error %v is no refusal", err)
	}
	return refused.Reason
}

// request is a GET of an address by a viewer at 203.0.113.7.
func request(rawPath, rawQuery string, change ...func(*token.Request)) *token.Request {
	clean, ok := token.CleanPath(rawPath)
	if !ok {
		panic(rawPath)
	}
	r := &token.Request{
		Method: http.MethodGet, Scheme: "https", Host: "cdn.example", RawPath: rawPath, Path: clean, RawQuery: rawQuery,
		Header: http.Header{}, Client: netip.MustParseAddr("203.0.113.7"), Now: noon,
	}
	for _, f := range change {
		f(r)
	}
	return r
}

func TestPathsMeanWhatTheEdgeServes(t *testing.T) {
	for _, test := range []struct {
		raw, want string
		ok        bool
	}{
		{"/vod/a.m4s", "/vod/a.m4s", true},
		{"/", "/", true},
		{"/vod/", "/vod/", true},
		{"/vod//a", "/vod/a", true},
		{"/vod/./a", "/vod/a", true},
		{"/vod/../live/a", "/live/a", true},
		{"/../../a", "/a", true},
		{"/vod/%2e%2e/live/a", "/live/a", true},
		{"/vod%2fa", "/vod/a", true},
		{"/%76od/a", "/vod/a", true},
		{"/vod/a%20b", "/vod/a b", true},
		{"/vod/.hidden", "/vod/.hidden", true},
		{"/vod/..", "/", true},
		{"/vod/%zz", "", false},
		{"/vod/%2", "", false},
		{"vod/a", "", false},
		{"", "", false},
		{"*", "", false},
	} {
		if got, ok := token.CleanPath(test.raw); got != test.want || ok != test.ok {
			t.Errorf("%q means %q, %v, want %q, %v", test.raw, got, ok, test.want, test.ok)
		}
	}
}

func TestArgumentsOfAQuery(t *testing.T) {
	for _, test := range []struct {
		query, name, value string
		count              int
	}{
		{"a=1&b=2", "b", "2", 1},
		{"a=1&b=2", "c", "", 0},
		{"ab=1", "b", "", 0},
		{"b=1&b=2", "b", "1", 2},
		{"b=%41", "b", "%41", 1},
		{"b", "b", "", 0},
		{"b=", "b", "", 1},
		{"", "b", "", 0},
	} {
		if value, count := token.Argument(test.query, test.name); value != test.value || count != test.count {
			t.Errorf("%s of %q is %q, %d times, want %q, %d times", test.name, test.query, value, count, test.value, test.count)
		}
	}
	for _, test := range []struct{ query, want string }{
		{"a=1&b=2&c=3", "a=1&c=3"},
		{"b=2", ""},
		{"&a=1&&b=2", "&a=1&"},
		{"a=b", "a=b"},
		{"b&bb=1", "bb=1"},
	} {
		if got := token.WithoutArguments(test.query, "b"); got != test.want {
			t.Errorf("%q without b is %q, want %q", test.query, got, test.want)
		}
	}
}

func TestASecretShowsNothing(t *testing.T) {
	s := secret("x")
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("key", "secret", s, "struct", struct{ S token.Secret }{s})
	for how, text := range map[string]string{
		"%v":      fmt.Sprintf("%v", s),
		"%+v":     fmt.Sprintf("%+v", struct{ S token.Secret }{s}),
		"%#v":     fmt.Sprintf("%#v", s),
		"%s":      fmt.Sprintf("%s", s),
		"%x":      fmt.Sprintf("%x", s),
		"%q":      fmt.Sprintf("%q", s),
		"%d":      fmt.Sprintf("%d", s),
		"pointer": fmt.Sprintf("%v", &s),
		"JSON":    string(must(json.Marshal(s))),
		"YAML":    string(must(yaml.Marshal(struct{ S token.Secret }{s}))),
		"log":     log.String(),
	} {
		if strings.Contains(text, "xx") || strings.Contains(text, "7878") || strings.Contains(text, "120 120") || !strings.Contains(text, "redacted") {
			t.Errorf("%s shows %s", how, text)
		}
	}
	if _, err := token.NewSecret([]byte("short")); err == nil || strings.Contains(err.Error(), "short") {
		t.Errorf("a short secret: error %v", err)
	}
}

// flips calls f with text in which one character is another one, for every character and several others.
func flips(text string, f func(place int, changed string)) {
	for i := range text {
		for _, mask := range []byte{1, 2, 4, 8, 16, 32, 64, 128} {
			b := []byte(text)
			b[i] ^= mask
			f(i, string(b))
		}
	}
}
