package cdn_test

import (
	"strings"
	"testing"

	"github.com/weir-stream/weir/internal/cdn"
)

func TestPurgesThatCannotBe(t *testing.T) {
	for _, test := range []struct {
		purge cdn.Purge
		want  string // in the error; "" for none
	}{
		{cdn.Purge{Scope: cdn.PurgeURL, Target: "/live/a/1.m4s?x=1"}, ""},
		{cdn.Purge{Scope: cdn.PurgePrefix, Target: "/live/"}, ""},
		{cdn.Purge{Scope: cdn.PurgeTag, Target: "film-7"}, ""},
		{cdn.Purge{Scope: cdn.PurgeAll}, ""},
		{cdn.Purge{Scope: cdn.PurgeURL, Target: "/", Host: "TV.Example:8080"}, ""},
		{cdn.Purge{Scope: cdn.PurgeURL, Target: "/", Host: "[2001:db8::1]:80"}, ""},
		{cdn.Purge{Scope: cdn.PurgeURL, Target: "/", Host: "https://tv.example"}, `the host is "https://tv.example"`},
		{cdn.Purge{Scope: cdn.PurgeURL, Target: "/", Host: "tv.example/live"}, "a name or an address is expected"},
		{cdn.Purge{Scope: cdn.PurgeURL, Target: "/", Host: "*"}, "a name or an address is expected"},
		{cdn.Purge{Scope: cdn.PurgeURL, Target: "live/a"}, "begins with /"},
		{cdn.Purge{Scope: cdn.PurgePrefix}, "begins with /"},
		{cdn.Purge{Scope: cdn.PurgeTag}, "a tag is expected"},
		{cdn.Purge{Scope: cdn.PurgeAll, Target: "/"}, "none is expected"},
		{cdn.Purge{Scope: "site", Target: "/"}, `the scope is "site"`},
		{cdn.Purge{Scope: cdn.PurgeTag, Target: strings.Repeat("x", cdn.MaxPurgeTarget+1)}, "at most 4096"},
	} {
		err := test.purge.Validate()
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s %.20q: error %v, want one with %q", test.purge.Scope, test.purge.Target, err, test.want)
		}
	}
}
