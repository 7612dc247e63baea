package conformance

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
)

// Targeted cache control, RFC 9213. Instead of waiting until something is stale, the origin says that its
// answer has been on the way for a while.

// What the origin says, and what the second request for it gets.
const (
	stored    = "stored"    // the answer to the first one
	fetched   = "fetched"   // a new one
	validated = "validated" // the answer to the first, for which the origin was asked first
)

var targetedRules = []struct {
	rule    string
	section string // of RFC 9213, if no other is named
	fields  []string
	second  string
}{
	{
		rule: "a targeted lifetime is a lifetime", section: "§2.1",
		fields: []string{"CDN-Cache-Control: max-age=3600"}, second: stored,
	},
	{
		rule: "a lifetime of 2^31 seconds is one", section: "RFC 9111 §1.2.2",
		fields: []string{"CDN-Cache-Control: max-age=2147483648"}, second: stored,
	},
	{
		rule: "a lifetime that no counter holds is a long one", section: "RFC 9111 §1.2.2",
		fields: []string{"CDN-Cache-Control: max-age=99999999999"}, second: stored,
	},
	{
		rule: "age counts against a targeted lifetime", section: "RFC 9111 §4.2",
		fields: []string{"Date: {date}", "CDN-Cache-Control: max-age=3600", "Age: 7200"}, second: fetched,
	},
	{
		rule: "no lifetime is left of none", section: "§2.1",
		fields: []string{"CDN-Cache-Control: max-age=0"}, second: fetched,
	},
	{
		rule: "no targeted lifetime, whatever Expires says", section: "§2.2",
		fields: []string{"CDN-Cache-Control: max-age=0", "Date: {date}", "Expires: {date+10000}"}, second: fetched,
	},
	{
		rule: "a targeted lifetime, whatever Expires says", section: "§2.2",
		fields: []string{"CDN-Cache-Control: max-age=3600", "Date: {date}", "Expires: {date-10000}"}, second: stored,
	},
	{
		rule: "a targeted lifetime, although Expires is no date", section: "§2.2",
		fields: []string{"CDN-Cache-Control: max-age=3600", "Date: {date}", "Expires: 0"}, second: stored,
	},
	{
		rule: "a short targeted lifetime goes before a long one for everybody", section: "§2.2",
		fields: []string{"Cache-Control: max-age=3600", "CDN-Cache-Control: max-age=60", "Age: 100"}, second: fetched,
	},
	{
		rule: "a long targeted lifetime goes before a short one for everybody", section: "§2.2",
		fields: []string{"Cache-Control: max-age=60", "CDN-Cache-Control: max-age=3600", "Age: 100"}, second: stored,
	},
	{
		rule: "the order of the fields does not matter", section: "§2.2",
		fields: []string{"CDN-Cache-Control: max-age=3600", "Cache-Control: max-age=60", "Age: 100"}, second: stored,
	},
	{
		rule: "a directive that nobody knows is nothing", section: "RFC 9111 §5.2.3",
		fields: []string{"CDN-Cache-Control: foobar, max-age=3600"}, second: stored,
	},
	{
		rule: "parameters of a directive are nothing", section: "§2.1",
		fields: []string{"CDN-Cache-Control: max-age=3600;soon, foo=(1 2)"}, second: stored,
	},
	{
		rule: "what is for shared caches goes first", section: "RFC 9111 §5.2.2.10",
		fields: []string{"CDN-Cache-Control: max-age=0, s-maxage=3600"}, second: stored,
	},
	{
		rule: "of a directive that comes twice the last counts", section: "RFC 9651 §4.2.2",
		fields: []string{"CDN-Cache-Control: max-age=0, max-age=3600"}, second: stored,
	},
	{
		rule: "two lines are one field", section: "RFC 9651 §4.2",
		fields: []string{"CDN-Cache-Control: foobar", "CDN-Cache-Control: max-age=3600"}, second: stored,
	},
	{
		rule: "private", section: "§2.2",
		fields: []string{"CDN-Cache-Control: private", "Cache-Control: max-age=10000", "Date: {date}", "Expires: {date+10000}"}, second: fetched,
	},
	{
		rule: "no-cache", section: "§2.2",
		fields: []string{"CDN-Cache-Control: no-cache", "Cache-Control: max-age=10000", "Date: {date}", "Expires: {date+10000}"}, second: fetched,
	},
	{
		rule: "no-store", section: "§2.2",
		fields: []string{"CDN-Cache-Control: no-store", "Cache-Control: max-age=10000", "Date: {date}", "Expires: {date+10000}"}, second: fetched,
	},
	{
		rule: "no-store next to a lifetime", section: "RFC 9111 §5.2.2.5",
		fields: []string{"CDN-Cache-Control: max-age=3600, no-store"}, second: fetched,
	},
	{
		rule: "no-store is for those who are not targeted", section: "§2.2",
		fields: []string{"CDN-Cache-Control: max-age=10000", "Cache-Control: no-store"}, second: stored,
	},
	{
		rule: "private is for those who are not targeted", section: "§2.2",
		fields: []string{"CDN-Cache-Control: max-age=10000", "Cache-Control: private, max-age=60"}, second: stored,
	},
	{
		rule: "no-cache is for those who are not targeted", section: "§2.2",
		fields: []string{"CDN-Cache-Control: max-age=10000", "Cache-Control: no-cache"}, second: stored,
	},
	{
		rule: "an empty field is as good as none: store", section: "§2.2",
		fields: []string{"CDN-Cache-Control:", "Cache-Control: max-age=3600"}, second: stored,
	},
	{
		rule: "an empty field is as good as none: do not", section: "§2.2",
		fields: []string{"CDN-Cache-Control:", "Cache-Control: no-store"}, second: fetched,
	},
	{
		rule: "a field that cannot be parsed is as good as none: do not store", section: "§2.2",
		fields: []string{"CDN-Cache-Control: max-age=10000, &&&&&", "Cache-Control: no-store"}, second: fetched,
	},
	{
		rule: "a field that cannot be parsed is as good as none: store", section: "§2.2",
		fields: []string{"CDN-Cache-Control: no-store, &&&&&", "Cache-Control: max-age=3600"}, second: stored,
	},
	{
		rule: "a lifetime in quotes is none", section: "§2.1",
		fields: []string{"CDN-Cache-Control: max-age=\"10000\"", "Cache-Control: no-store"}, second: fetched,
	},
	{
		rule: "a space before the equals sign is no dictionary", section: "RFC 9651 §4.2.2",
		fields: []string{"CDN-Cache-Control: max-age =3600", "Cache-Control: max-age=60", "Age: 100"}, second: fetched,
	},
	{
		rule: "a space after the equals sign is no dictionary", section: "RFC 9651 §4.2.2",
		fields: []string{"CDN-Cache-Control: max-age= 3600", "Cache-Control: max-age=60", "Age: 100"}, second: fetched,
	},
	{
		rule: "capital letters are no key", section: "RFC 9651 §4.2.3.3",
		fields: []string{"CDN-Cache-Control: MaX-aGe=3600", "Cache-Control: max-age=60", "Age: 100"}, second: fetched,
	},
	{
		rule: "what is stale is validated", section: "RFC 9111 §4.3",
		fields: []string{"CDN-Cache-Control: max-age=60", "Cache-Control: max-age=3600", "Age: 100", `ETag: "1"`}, second: validated,
	},
	{
		rule: "no-cache is validated", section: "RFC 9111 §5.2.2.4",
		fields: []string{"CDN-Cache-Control: no-cache", "Cache-Control: max-age=3600", `ETag: "1"`}, second: validated,
	},
}

func TestTargetedCacheControl(t *testing.T) {
	origin := newOrigin(t)
	base := startEdge(t, origin.URL)
	viewer := client(t)
	for i, test := range targetedRules {
		t.Run(test.rule, func(t *testing.T) {
			path := "/targeted/" + strconv.Itoa(i)
			first := answer{fields: test.fields}
			second := first
			if test.second == validated {
				second = answer{status: http.StatusNotModified, fields: test.fields}
			}
			origin.says(path, first, second)
			if s := get(t, viewer, base+path, nil); s.status != http.StatusOK || s.serial != "1" {
				t.Fatalf("the first request got %d and answer %q", s.status, s.serial)
			}
			s := get(t, viewer, base+path, nil)
			wantRequests := 2
			if test.second == stored {
				wantRequests = 1
			}
			wantSerial := "1"
			if test.second == fetched {
				wantSerial = "2"
			}
			if n := origin.requests(path); s.status != http.StatusOK || s.serial != wantSerial || n != wantRequests {
				t.Errorf("%s: the second request got %d and answer %q after %d requests to the origin; want 200 and answer %q after %d",
					cite(test.section), s.status, s.serial, n, wantSerial, wantRequests)
			}
			if test.second == stored && s.serial == "1" && s.header.Get("Age") == "" {
				t.Error("RFC 9111 §5.1: what comes from the cache has no Age")
			}
		})
	}
}

// What a targeted field says of stale answers counts like its lifetime.
func TestTargetedRulesForStaleAnswers(t *testing.T) {
	origin := newOrigin(t)
	base := startEdge(t, origin.URL)
	viewer := client(t)
	for i, test := range []struct {
		rule, section string
		fields        []string
		stale         bool
	}{
		{
			rule: "must-revalidate forbids what Cache-Control allows", section: "RFC 9111 §5.2.2.2",
			fields: []string{"CDN-Cache-Control: max-age=60, must-revalidate", "Cache-Control: max-age=60, stale-if-error=3600", "Age: 100"},
		},
		{
			rule: "stale-if-error allows what Cache-Control forbids", section: "RFC 5861 §4",
			fields: []string{"CDN-Cache-Control: max-age=60, stale-if-error=3600", "Cache-Control: max-age=60, must-revalidate", "Age: 100"}, stale: true,
		},
	} {
		t.Run(test.rule, func(t *testing.T) {
			path := "/targeted-stale/" + strconv.Itoa(i)
			origin.says(path, answer{fields: test.fields}, answer{status: http.StatusServiceUnavailable})
			get(t, viewer, base+path, nil)
			s := get(t, viewer, base+path, nil)
			if got := s.status == http.StatusOK && s.serial == "1"; got != test.stale {
				t.Errorf("%s: status %d, answer %q: stale = %v, want %v", cite(test.section), s.status, s.serial, got, test.stale)
			}
		})
	}
}

func cite(section string) string {
	if strings.HasPrefix(section, "RFC") {
		return section
	}
	return "RFC 9213 " + section
}
