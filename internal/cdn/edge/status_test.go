package edge

import (
	"regexp"
	"testing"
	"time"

	"github.com/weir-stream/weir/internal/cdn"
)

// member is the grammar of a Cache-Status member as this edge may write it: RFC 9211 §2 in the syntax of
// RFC 8941.
var member = regexp.MustCompile(`^(?:[A-Za-z*][A-Za-z0-9:/!#$%&'*+\-.^_` + "`" + `|~]*|"(?:[ !#-\[\]-~]|\\["\\])*")` +
	`(?:; hit|; fwd=(?:bypass|method|uri-miss|vary-miss|miss|request|stale|partial)(?:; fwd-status=[1-5][0-9][0-9])?(?:; collapsed)?(?:; stored)?)` +
	`(?:; ttl=-?[0-9]{1,15})?(?:; detail=[a-z-]+)?$`)

func TestCacheStatusMember(t *testing.T) {
	for _, tt := range []struct {
		status cacheStatus
		want   string
	}{
		{cacheStatus{hasTTL: true, ttl: 30*time.Second + 999*time.Millisecond}, "edge-1; hit; ttl=30"},
		{cacheStatus{hasTTL: true, ttl: -500 * time.Millisecond, detail: "stale-if-error"}, "edge-1; hit; ttl=-1; detail=stale-if-error"},
		{cacheStatus{hasTTL: true, ttl: -2 * time.Second}, "edge-1; hit; ttl=-2"},
		{
			cacheStatus{forward: uriMiss, forwardStatus: 200, stored: true, hasTTL: true, ttl: time.Minute},
			"edge-1; fwd=uri-miss; fwd-status=200; stored; ttl=60",
		},
		{cacheStatus{forward: staleMiss, forwardStatus: 304, collapsed: true}, "edge-1; fwd=stale; fwd-status=304; collapsed"},
		{cacheStatus{forward: uriMiss, detail: "origin-timeout"}, "edge-1; fwd=uri-miss; detail=origin-timeout"},
	} {
		got := tt.status.encode("edge-1")
		if got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
		if !member.MatchString(got) {
			t.Errorf("%q is not in the grammar", got)
		}
	}
}

func TestWireName(t *testing.T) {
	for in, want := range map[string]string{
		"edge-1":      "edge-1",
		"fra.1:2/3":   "fra.1:2/3",
		"1edge":       `"1edge"`,
		"my edge":     `"my edge"`,
		`a"b\c`:       `"a\"b\\c"`,
		"é":           `"__"`,
		"a\r\nX: y":   `"a__X: y"`,
		"a, b; fwd=x": `"a, b; fwd=x"`,
	} {
		got := wireName(in)
		if got != want {
			t.Errorf("wireName(%q) = %s, want %s", in, got, want)
		}
		if m := (cacheStatus{}).encode(got); !member.MatchString(m) {
			t.Errorf("%q is not in the grammar", m)
		}
	}
}

func TestForwardOf(t *testing.T) {
	for reason, want := range map[cdn.MissReason]forward{
		cdn.Cold: uriMiss, cdn.Evicted: uriMiss, cdn.Uncacheable: uriMiss, cdn.Expired: staleMiss,
	} {
		if got := forwardOf(reason); got != want {
			t.Errorf("forwardOf(%q) = %q, want %q", reason, got, want)
		}
	}
}
