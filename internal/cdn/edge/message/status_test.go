package message

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
		status CacheStatus
		want   string
	}{
		{CacheStatus{HasTTL: true, TTL: 30*time.Second + 999*time.Millisecond}, "edge-1; hit; ttl=30"},
		{CacheStatus{HasTTL: true, TTL: -500 * time.Millisecond, Detail: "stale-if-error"}, "edge-1; hit; ttl=-1; detail=stale-if-error"},
		{CacheStatus{HasTTL: true, TTL: -2 * time.Second}, "edge-1; hit; ttl=-2"},
		{
			CacheStatus{Forward: URIMiss, ForwardStatus: 200, Stored: true, HasTTL: true, TTL: time.Minute},
			"edge-1; fwd=uri-miss; fwd-status=200; stored; ttl=60",
		},
		{CacheStatus{Forward: StaleMiss, ForwardStatus: 304, Collapsed: true}, "edge-1; fwd=stale; fwd-status=304; collapsed"},
		{CacheStatus{Forward: URIMiss, Detail: "origin-timeout"}, "edge-1; fwd=uri-miss; detail=origin-timeout"},
	} {
		got := tt.status.Encode("edge-1")
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
		got := WireName(in)
		if got != want {
			t.Errorf("wireName(%q) = %s, want %s", in, got, want)
		}
		if m := (CacheStatus{}).Encode(got); !member.MatchString(m) {
			t.Errorf("%q is not in the grammar", m)
		}
	}
}

func TestForwardOf(t *testing.T) {
	for reason, want := range map[cdn.MissReason]Forward{
		cdn.Cold: URIMiss, cdn.Evicted: URIMiss, cdn.Uncacheable: URIMiss, cdn.Expired: StaleMiss,
	} {
		if got := ForwardOf(reason); got != want {
			t.Errorf("forwardOf(%q) = %q, want %q", reason, got, want)
		}
	}
}
