package freshness

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weir-stream/weir/internal/cdn"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const s = time.Second

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func header(fields ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(fields); i += 2 {
		h.Add(fields[i], fields[i+1])
	}
	return h
}

func at(d time.Duration) string { return noon.Add(d).Format(http.TimeFormat) }

// answer evaluates an answer to a plain GET for an ordinary object.
func answer(status int, response http.Header) Freshness {
	cfg := DefaultConfig()
	return cfg.Evaluate(Exchange{Kind: cdn.Other, Status: status, Response: response, Requested: noon, Received: noon})
}

// What a shared cache does with the answer to a GET, now and after a while.
func TestAnswersAreReused(t *testing.T) {
	yesterday := []string{"Last-Modified", at(-24 * time.Hour), "Date", at(0)}
	with := func(fields ...string) http.Header { return header(append(fields, yesterday...)...) }
	for _, tt := range []struct {
		name   string
		status int
		header http.Header
		after  time.Duration
		reused bool
	}{
		// Cache-Control freshness
		{"nothing said", 200, header(), 0, false},
		{"within max-age", 200, header("Cache-Control", "max-age=3600"), 3 * s, true},
		{"past max-age", 200, header("Cache-Control", "max-age=2", "Date", at(0)), 3 * s, false},
		{"at the end of max-age", 200, header("Cache-Control", "max-age=2"), 2 * s, false},
		{"max-age of none", 200, header("Cache-Control", "max-age=0"), 0, false},
		{"max-age of 2^31-1", 200, header("Cache-Control", "max-age=2147483647"), 3 * s, true},
		{"max-age of 2^31", 200, header("Cache-Control", "max-age=2147483648"), 3 * s, true},
		{"max-age of 2^31+1", 200, header("Cache-Control", "max-age=2147483649"), 3 * s, true},
		{"max-age that no number holds", 200, header("Cache-Control", "max-age=99999999999999999999999"), 3 * s, true},
		{"older than max-age on arrival", 200, header("Cache-Control", "max-age=3600", "Age", "7200", "Date", at(0)), 0, false},
		{"older than max-age by Date", 200, header("Cache-Control", "max-age=3600", "Date", at(-7200*s)), 0, false},
		{"max-age against Expires in the past", 200, header("Cache-Control", "max-age=3600", "Expires", at(-7200*s), "Date", at(0)), 3 * s, true},
		{"max-age against Expires that is none", 200, header("Cache-Control", "max-age=3600", "Expires", "0"), 3 * s, true},
		{"max-age of none against Expires ahead", 200, header("Cache-Control", "max-age=0", "Expires", at(3600*s)), 0, false},
		{"beside a directive nobody knows", 200, header("Cache-Control", "foobar, max-age=3600"), 3 * s, true},
		{"in odd letters", 200, header("Cache-Control", "MaX-aGe=3600"), 3 * s, true},
		{"negative max-age", 200, header("Cache-Control", "max-age=-3600"), 0, false},
		{"s-maxage", 200, header("Cache-Control", "s-maxage=3600"), 3 * s, true},
		{"short s-maxage, long max-age", 200, header("Cache-Control", "max-age=3600, s-maxage=1"), 3 * s, false},
		{"short s-maxage first", 200, header("Cache-Control", "s-maxage=1, max-age=3600"), 3 * s, false},
		{"short s-maxage on a line of its own", 200, header("Cache-Control", "max-age=3600", "Cache-Control", "s-maxage=1"), 3 * s, false},
		{"long s-maxage, short max-age", 200, header("Cache-Control", "max-age=1, s-maxage=3600"), 3 * s, true},
		{"long s-maxage against all else", 200, header("Expires", at(-10*s), "Cache-Control", "max-age=0, s-maxage=3600"), 3 * s, true},

		// Cache-Control parsing
		{"first of two is long", 200, header("Cache-Control", "max-age=1800, max-age=1"), 3 * s, true},
		{"first of two is short", 200, header("Cache-Control", "max-age=1", "Cache-Control", "max-age=1800"), 3 * s, false},
		{"quoted", 200, header("Cache-Control", `max-age="3600"`), 3 * s, true},
		{"in single quotes", 200, header("Cache-Control", "max-age='3600'"), 0, false},
		{"leading zeros", 200, header("Cache-Control", "max-age=003600"), 3 * s, true},
		{"looks like one inside of quotes", 200, header("Cache-Control", `extension="max-age=3600", max-age=1`), 3 * s, false},
		{"looks like one inside of quotes, after", 200, header("Cache-Control", `max-age=1, extension="max-age=3600"`), 3 * s, false},
		{"space before the equals sign", 200, header("Cache-Control", "max-age =3600"), 0, false},
		{"space after the equals sign", 200, header("Cache-Control", "max-age= 3600"), 0, false},
		{"fraction", 200, header("Cache-Control", "max-age=3600.0"), 0, false},
		{"letters before", 200, header("Cache-Control", "max-age=a3600"), 0, false},
		{"letters after", 200, header("Cache-Control", "max-age=3600a"), 0, false},
		{"quote that does not end", 200, header("Cache-Control", `max-age=3600, ext="x`), 0, false},

		// Age
		{"Age in letters", 200, header("Cache-Control", "max-age=3600", "Age", "abc"), 3 * s, true},
		{"Age below zero", 200, header("Cache-Control", "max-age=3600", "Age", "-7200"), 3 * s, true},
		{"Age with a fraction", 200, header("Cache-Control", "max-age=3600", "Age", "7200.0"), 3 * s, true},
		{"Age with a parameter", 200, header("Cache-Control", "max-age=3600", "Age", "7200;foo=bar"), 3 * s, true},
		{"Age of 2^31-1", 200, header("Cache-Control", "max-age=3600", "Age", "2147483647"), 0, false},
		{"Age of 2^31", 200, header("Cache-Control", "max-age=3600", "Age", "2147483648"), 0, false},
		{"Age of 2^31+1", 200, header("Cache-Control", "max-age=3600", "Age", "2147483649"), 0, false},
		{"old Age, then none", 200, header("Cache-Control", "max-age=3600", "Age", "7200, 0"), 0, false},
		{"no Age, then old", 200, header("Cache-Control", "max-age=3600", "Age", "0, 7200"), 3 * s, true},
		{"old Age, then none, on two lines", 200, header("Cache-Control", "max-age=3600", "Age", "7200", "Age", "0"), 0, false},
		{"no Age, then old, on two lines", 200, header("Cache-Control", "max-age=3600", "Age", "0", "Age", "7200"), 3 * s, true},
		{"twice the same Age", 200, header("Cache-Control", "max-age=10000", "Age", "3600", "Age", "3600"), 3 * s, true},

		// Expires
		{"Expires ahead", 200, header("Expires", at(3600*s), "Date", at(0)), 3 * s, true},
		{"Expires in the past", 200, header("Expires", at(-3600*s), "Date", at(0)), 0, false},
		{"Expires now", 200, header("Expires", at(0), "Date", at(0)), 0, false},
		{"Expires before Date, both ahead", 200, header("Expires", at(300*s), "Date", at(400*s)), 0, false},
		{"Expires that is no date", 200, header("Expires", "0", "Date", at(0)), 0, false},
		{"Date that is none", 200, header("Expires", at(10*s), "Date", "foo"), 3 * s, true},
		{"no Date", 200, header("Expires", at(10*s)), 3 * s, true},
		{"Age past Expires, clock behind", 200, header("Date", at(-10*s), "Expires", at(10*s), "Age", "25"), 0, false},
		{"Age past Expires, clock ahead", 200, header("Date", at(10*s), "Expires", at(20*s), "Age", "15"), 0, false},
		{"first of two Expires is none", 200, header("Expires", "soon", "Expires", at(3600*s), "Date", at(0)), 0, false},
		{"Expires in 260 years", 200, header("Expires", "Sun, 21 Nov 2286 04:46:39 GMT", "Date", at(0)), 3 * s, true},
		{"Expires with one digit for the hour", 200, header("Expires", "Thu, 18 Aug 2050 2:01:18 GMT", "Date", at(0)), 0, false},

		// Directives that forbid
		{"private", 200, header("Cache-Control", "private, max-age=3600"), 0, false},
		{"no-store", 200, header("Cache-Control", "no-store"), 0, false},
		{"no-store in odd letters", 200, header("Cache-Control", "No-StOrE"), 0, false},
		{"no-store beside a lifetime", 200, header("Cache-Control", "max-age=10000, no-store", "Expires", at(3600*s)), 0, false},
		{"no-cache beside a lifetime", 200, header("Cache-Control", "max-age=10000, no-cache", "Expires", at(3600*s)), 0, false},
		{"no-cache in odd letters", 200, header("Cache-Control", "max-age=10000, No-CaChE"), 0, false},
		{"no-cache for one field", 200, header("Cache-Control", `no-cache="a"`, "Cache-Control", "max-age=3600"), 3 * s, true},
		{"private for two fields", 200, header("Cache-Control", `private="a, b", max-age=3600`), 3 * s, true},
		{"no-cache for no field", 200, header("Cache-Control", `no-cache="", max-age=3600`), 0, false},
		{"private for what is no field", 200, header("Cache-Control", `private="a b", max-age=3600`), 0, false},
		{"must-revalidate while fresh", 200, header("Cache-Control", "max-age=10000, must-revalidate"), 3 * s, true},

		// Statuses with a lifetime
		{"203", 203, header("Cache-Control", "max-age=100"), 3 * s, true},
		{"204", 204, header("Cache-Control", "max-age=100"), 3 * s, true},
		{"299", 299, header("Cache-Control", "max-age=100"), 3 * s, true},
		{"301", 301, header("Cache-Control", "max-age=100"), 3 * s, true},
		{"302", 302, header("Cache-Control", "max-age=100"), 3 * s, true},
		{"303", 303, header("Cache-Control", "max-age=100"), 3 * s, true},
		{"307", 307, header("Cache-Control", "max-age=100"), 3 * s, true},
		{"308", 308, header("Cache-Control", "max-age=100"), 3 * s, true},
		{"400", 400, header("Cache-Control", "max-age=100"), 3 * s, true},
		{"404", 404, header("Cache-Control", "max-age=3600"), 60 * s, true},
		{"410", 410, header("Cache-Control", "max-age=3600"), 60 * s, true},
		{"499", 499, header("Cache-Control", "max-age=100"), 3 * s, true},
		{"500", 500, header("Cache-Control", "max-age=100"), 3 * s, true},
		{"502", 502, header("Cache-Control", "max-age=100"), 3 * s, true},
		{"503", 503, header("Cache-Control", "max-age=100"), 3 * s, true},
		{"504", 504, header("Cache-Control", "max-age=100"), 3 * s, true},
		{"599", 599, header("Cache-Control", "max-age=100"), 3 * s, true},
		{"503 past its lifetime", 503, header("Expires", at(-5000*s), "Last-Modified", at(-100000*s), "Date", at(0)), 0, false},
		{"404 past its lifetime", 404, header("Expires", at(-5000*s), "Last-Modified", at(-100000*s), "Date", at(0)), 0, false},
		{"304 is for one request", 304, header("Cache-Control", "max-age=100"), 0, false},
		{"412 is for one request", 412, header("Cache-Control", "max-age=100"), 0, false},
		{"416 is for one request", 416, header("Cache-Control", "max-age=100"), 0, false},
		{"103 is not final", 103, header("Cache-Control", "max-age=100"), 0, false},
		{"to be understood, and is", 200, header("Cache-Control", "max-age=3600, no-store, must-understand"), 3 * s, true},
		{"to be understood, and is not", 599, header("Cache-Control", "max-age=3600, no-store, must-understand"), 0, false},
		{"to be understood, without no-store", 599, header("Cache-Control", "max-age=3600, must-understand"), 0, false},

		// Heuristics
		{"200 of yesterday", 200, with(), 3 * s, true},
		{"201 of yesterday", 201, with(), 0, false},
		{"202 of yesterday", 202, with(), 0, false},
		{"203 of yesterday", 203, with(), 3 * s, true},
		{"204 of yesterday", 204, with(), 3 * s, true},
		{"301 of yesterday", 301, with(), 3 * s, true},
		{"302 of yesterday", 302, with(), 0, false},
		{"403 of yesterday", 403, with(), 0, false},
		{"404 of yesterday", 404, with(), 3 * s, true},
		{"405 of yesterday", 405, with(), 3 * s, true},
		{"410 of yesterday", 410, with(), 3 * s, true},
		{"414 of yesterday", 414, with(), 3 * s, true},
		{"501 of yesterday", 501, with(), 3 * s, true},
		{"502 of yesterday", 502, with(), 0, false},
		{"503 of yesterday", 503, with(), 0, false},
		{"504 of yesterday", 504, with(), 0, false},
		{"599 of yesterday", 599, with(), 0, false},
		{"public 599 of yesterday", 599, with("Cache-Control", "public"), 3 * s, true},
		{"past the tenth of its time", 200, with(), 9000 * s, false},
		{"within the tenth of its time", 200, with(), 8000 * s, true},
		{"of ten years ago, within a day", 200, header("Last-Modified", at(-87600*time.Hour), "Date", at(0)), 23 * time.Hour, true},
		{"of ten years ago, after a day", 200, header("Last-Modified", at(-87600*time.Hour), "Date", at(0)), 25 * time.Hour, false},
		{"modified in the future", 200, header("Last-Modified", at(3600*s), "Date", at(0)), 0, false},
		{"modified at no date", 200, header("Last-Modified", "0", "Date", at(0)), 0, false},
		{"yesterday's, with a cookie", 200, with("Set-Cookie", "a=b"), 0, false},
		{"lifetime and a cookie", 200, header("Cache-Control", "max-age=100", "Set-Cookie", "a=b"), 3 * s, true},
		{"Pragma says nothing in an answer", 200, header("Cache-Control", "max-age=100", "Pragma", "no-cache"), 3 * s, true},
		{"Pragma does not stop heuristics", 200, with("Pragma", "no-cache"), 3 * s, true},
		{"a 404 of which nothing is said", 404, header(), 0, true},
		{"a 404 of which nothing is said, later", 404, header(), 2 * s, false},

		// Vary
		{"varies on everything", 200, header("Cache-Control", "max-age=100", "Vary", "*"), 0, false},
		{"varies on everything, twice", 200, header("Cache-Control", "max-age=100", "Vary", "*, *"), 0, false},
		{"varies on everything, on two lines", 200, header("Cache-Control", "max-age=100", "Vary", "*", "Vary", "*"), 0, false},
		{"varies on nothing and everything", 200, header("Cache-Control", "max-age=100", "Vary", ", *"), 0, false},
		{"varies on nothing, and on everything", 200, header("Cache-Control", "max-age=100", "Vary", "", "Vary", "*"), 0, false},
		{"varies on everything and Foo", 200, header("Cache-Control", "max-age=100", "Vary", "*, Foo"), 0, false},
		{"varies on Foo and everything", 200, header("Cache-Control", "max-age=100", "Vary", "Foo, *"), 0, false},
		{"varies on what is no field", 200, header("Cache-Control", "max-age=100", "Vary", "Foo Bar"), 0, false},
		{"varies on Foo", 200, header("Cache-Control", "max-age=100", "Vary", "Foo"), 3 * s, true},

		// CDN-Cache-Control (RFC 9213)
		{"targeted lifetime", 200, header("CDN-Cache-Control", "max-age=3600"), 3 * s, true},
		{"targeted lifetime of 2^31", 200, header("CDN-Cache-Control", "max-age=2147483648"), 3 * s, true},
		{"targeted lifetime of 11 digits", 200, header("CDN-Cache-Control", "max-age=99999999999"), 3 * s, true},
		{"targeted lifetime of 16 digits is no Integer", 200, header("CDN-Cache-Control", "max-age=9999999999999999"), 0, false},
		{"targeted lifetime against Age", 200, header("CDN-Cache-Control", "max-age=3600", "Age", "7200"), 0, false},
		{"targeted, space before the equals sign", 200, header("Cache-Control", "max-age=1", "CDN-Cache-Control", "max-age =100"), 3 * s, false},
		{"targeted, space after the equals sign", 200, header("Cache-Control", "max-age=1", "CDN-Cache-Control", "max-age= 100"), 3 * s, false},
		{"targeted lifetime of none", 200, header("CDN-Cache-Control", "max-age=0"), 0, false},
		{"targeted negative lifetime", 200, header("CDN-Cache-Control", "max-age=-1", "Cache-Control", "max-age=9"), 0, false},
		{"targeted, beside what nobody knows", 200, header("CDN-Cache-Control", "foobar, max-age=3600"), 3 * s, true},
		{"targeted, with a parameter", 200, header("CDN-Cache-Control", "max-age=3600;x=1"), 3 * s, true},
		{"targeted, in odd letters: no key", 200, header("CDN-Cache-Control", "MaX-aGe=3600"), 0, false},
		{"targeted against Expires", 200, header("CDN-Cache-Control", "max-age=3600", "Expires", at(-9999*s)), 3 * s, true},
		{"targeted against Expires that is none", 200, header("CDN-Cache-Control", "max-age=3600", "Expires", "0"), 3 * s, true},
		{"targeted lifetime of none against Expires", 200, header("CDN-Cache-Control", "max-age=0", "Expires", at(9999*s)), 0, false},
		{"targeted long, others short", 200, header("CDN-Cache-Control", "max-age=3600", "Cache-Control", "max-age=1"), 3 * s, true},
		{"targeted short, others long", 200, header("CDN-Cache-Control", "max-age=1", "Cache-Control", "max-age=3600"), 3 * s, false},
		{"targeted private", 200, header("CDN-Cache-Control", "private", "Cache-Control", "max-age=9999", "Expires", at(9999*s)), 0, false},
		{"targeted no-cache", 200, header("CDN-Cache-Control", "no-cache", "Cache-Control", "max-age=9999", "Expires", at(9999*s)), 0, false},
		{"targeted no-store", 200, header("CDN-Cache-Control", "no-store", "Cache-Control", "max-age=9999", "Expires", at(9999*s)), 0, false},
		{"targeted lifetime, others no-store", 200, header("CDN-Cache-Control", "max-age=9999", "Cache-Control", "no-store"), 3 * s, true},
		{"targeted, does not parse", 200, header("CDN-Cache-Control", "max-age=9999, &&&&&", "Cache-Control", "no-store"), 0, false},
		{"targeted, does not parse, others do", 200, header("CDN-Cache-Control", "max-age=1, &&&&&", "Cache-Control", "max-age=9"), 3 * s, true},
		{"targeted, lifetime is a String", 200, header("CDN-Cache-Control", `max-age="9999"`, "Cache-Control", "no-store"), 0, false},
		{"targeted, prohibition is a number", 200, header("CDN-Cache-Control", "no-store=1", "Cache-Control", "max-age=9"), 3 * s, true},
		{"targeted, empty", 200, header("CDN-Cache-Control", "", "Cache-Control", "max-age=9"), 3 * s, true},
		{"targeted, nothing known in it, others ignored", 200, header("CDN-Cache-Control", "foo", "Cache-Control", "max-age=9"), 0, false},
		{"targeted without a lifetime, Expires ignored", 200, header("CDN-Cache-Control", "public", "Expires", at(9999*s)), 0, false},
		{"targeted that is invalid, Expires counts", 200, header("CDN-Cache-Control", "public=1", "Expires", at(9999*s)), 3 * s, true},
		{"targeted no-cache for one field", 200, header("CDN-Cache-Control", `max-age=9, no-cache="a"`), 3 * s, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := answer(tt.status, tt.header)
			reused := f.Store && f.Usable(noon.Add(tt.after), RequestControl{}) == Serve
			if reused != tt.reused {
				t.Errorf("reused after %v = %v, want %v: %+v", tt.after, reused, tt.reused, f)
			}
		})
	}
}

// For objects of a presentation the rules are narrow.
func TestLifetimeAndStorageOfSegments(t *testing.T) {
	for _, tt := range []struct {
		name         string
		status       int
		header       http.Header
		rule         *Rule
		share, store bool
		lifetime     time.Duration
		stale        time.Duration
	}{
		// RFC 9111 §4.2.1, the first that matches counts.
		{"s-maxage before all", 200, header("Cache-Control", "s-maxage=3, max-age=9", "Expires", at(60*s), "Date", at(0)), nil, true, true, 3 * s, 0},
		{"max-age before Expires", 200, header("Cache-Control", "max-age=9", "Expires", at(60*s), "Date", at(0)), nil, true, true, 9 * s, 30 * s},
		{"Expires less Date", 200, header("Expires", at(60*s), "Date", at(10*s)), nil, true, true, 50 * s, 30 * s},
		{"Expires without Date", 200, header("Expires", at(60*s)), nil, true, true, 60 * s, 30 * s},
		{"Expires in the past", 200, header("Expires", at(-60*s), "Date", at(0)), nil, true, false, 0, 0},
		{"Expires that is no date", 200, header("Expires", "0", "Etag", `"1"`), nil, true, true, 0, 30 * s},
		{"no heuristics", 200, header("Last-Modified", at(-24*time.Hour)), nil, true, true, 0, 30 * s},
		{"nothing at all", 200, header(), nil, true, false, 0, 0},

		// §3, §5.2.2: what may not be stored.
		{"no-store", 200, header("Cache-Control", "no-store, max-age=9"), nil, false, false, 9 * s, 0},
		{"private", 200, header("Cache-Control", "private, max-age=9"), nil, false, false, 9 * s, 0},
		{"Vary on all", 200, header("Cache-Control", "max-age=9", "Vary", "Origin, *"), nil, false, false, 9 * s, 0},
		{"Vary on what the edge does not send", 200, header("Cache-Control", "max-age=9", "Vary", "Origin"), nil, true, true, 9 * s, 30 * s},
		{"no-cache with validator", 200, header("Cache-Control", "no-cache, max-age=9", "Etag", `"1"`), nil, true, true, 0, 0},
		{"no-cache without", 200, header("Cache-Control", "no-cache, max-age=9"), nil, true, false, 0, 0},

		// §4.2.4, RFC 5861: when stale may be served.
		{"must-revalidate", 200, header("Cache-Control", "max-age=9, must-revalidate"), nil, true, true, 9 * s, 0},
		{"proxy-revalidate", 200, header("Cache-Control", "max-age=9, proxy-revalidate"), nil, true, true, 9 * s, 0},
		{"stale-if-error of the origin", 200, header("Cache-Control", "max-age=9, stale-if-error=3"), nil, true, true, 9 * s, 3 * s},
		{"stale-if-error is no number", 200, header("Cache-Control", "max-age=9, stale-if-error=x"), nil, true, true, 9 * s, 0},
		{"must-revalidate is stronger", 200, header("Cache-Control", "max-age=9, must-revalidate, stale-if-error=3"), nil, true, true, 9 * s, 0},
		{"no lifetime, but stale is allowed", 200, header("Cache-Control", "max-age=0, stale-if-error=3"), nil, true, true, 0, 3 * s},

		// Other statuses.
		{"redirect with lifetime", 302, header("Cache-Control", "max-age=9"), nil, true, true, 9 * s, 30 * s},
		{"redirect without", 301, header(), nil, true, false, 0, 0},
		{"redirect without, with validator", 301, header("Etag", `"1"`), nil, true, false, 0, 0},
		{"not found", 404, header(), nil, true, true, s, 0},
		{"not found for a shorter time", 404, header("Cache-Control", "max-age=0"), nil, true, false, 0, 0},
		{"not found for a day", 404, header("Cache-Control", "max-age=86400"), nil, true, true, s, 0},
		{"not found, to be trusted", 404, header("Cache-Control", "max-age=86400"), &Rule{TrustErrors: true}, true, true, 86400 * s, 0},
		{"not found, not to be stored", 404, header("Cache-Control", "no-store"), nil, true, false, s, 0},
		{"not found, to be validated", 404, header("Cache-Control", "no-cache", "Etag", `"1"`), nil, true, false, 0, 0},
		{"gone", 410, header(), nil, true, true, s, 0},
		{"forbidden for a day", 403, header("Cache-Control", "max-age=86400"), nil, true, false, 0, 0},
		{"error for a day", 500, header("Cache-Control", "max-age=86400"), nil, true, false, 0, 0},
		{"error, private", 503, header("Cache-Control", "private"), nil, true, false, 0, 0},

		// Rules.
		{"rule as fallback", 200, header(), &Rule{TTL: 5 * s}, true, true, 5 * s, 30 * s},
		{"rule yields to the origin", 200, header("Cache-Control", "max-age=9"), &Rule{TTL: 5 * s}, true, true, 9 * s, 30 * s},
		{"rule yields to no-cache", 200, header("Cache-Control", "no-cache"), &Rule{TTL: 5 * s}, true, false, 0, 0},
		{"rule yields to what is one person's", 200, header("Set-Cookie", "a=b"), &Rule{TTL: 5 * s}, false, false, 5 * s, 0},
		{"rule overrides", 200, header("Cache-Control", "max-age=9"), &Rule{TTL: 5 * s, Override: true}, true, true, 5 * s, 30 * s},
		{"rule overrides no-cache", 200, header("Cache-Control", "no-cache"), &Rule{TTL: 5 * s, Override: true}, true, true, 5 * s, 0},
		{"rule overrides a cookie", 200, header("Set-Cookie", "a=b"), &Rule{TTL: 5 * s, Override: true}, true, true, 5 * s, 30 * s},
		{"rule does not override no-store", 200, header("Cache-Control", "no-store"), &Rule{TTL: 5 * s, Override: true}, false, false, 5 * s, 0},
		{"rule is not for errors", 404, header(), &Rule{TTL: time.Hour, Override: true}, true, true, s, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := DefaultConfig()
			if tt.rule != nil {
				cfg.Rules.Segment = *tt.rule
			}
			f := cfg.Evaluate(Exchange{Kind: cdn.Segment, Status: tt.status, Response: tt.header, Requested: noon, Received: noon})
			if f.Share != tt.share || f.Store != tt.store {
				t.Errorf("share %v, store %v; want %v, %v", f.Share, f.Store, tt.share, tt.store)
			}
			if f.Lifetime != tt.lifetime {
				t.Errorf("lifetime = %v, want %v", f.Lifetime, tt.lifetime)
			}
			if f.StaleIfError != tt.stale {
				t.Errorf("stale-if-error = %v, want %v", f.StaleIfError, tt.stale)
			}
		})
	}
}

// What the request decides (RFC 9111 §3, §3.5).
func TestRequestsWhoseAnswersAreKept(t *testing.T) {
	const lives = "max-age=100"
	target, err := url.Parse("https://edge.example/a?b=c")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name         string
		x            Exchange
		share, store bool
	}{
		{"GET", Exchange{Method: "GET", Status: 200, Response: header("Cache-Control", lives)}, true, true},
		{"HEAD", Exchange{Method: "HEAD", Status: 200, Response: header("Cache-Control", lives)}, false, false},
		{"PUT", Exchange{Method: "PUT", Status: 200, Response: header("Cache-Control", lives)}, false, false},
		{"POST", Exchange{Method: "POST", URL: target, Status: 200, Response: header("Cache-Control", lives)}, false, false},
		{"POST that says what it is", Exchange{Method: "POST", URL: target, Status: 200, Response: header("Cache-Control", lives, "Content-Location", "/a?b=c")}, false, true},
		{"POST that says it in full", Exchange{Method: "POST", URL: target, Status: 200, Response: header("Cache-Control", lives, "Content-Location", "https://EDGE.example:443/a?b=c")}, false, true},
		{"POST that is something else", Exchange{Method: "POST", URL: target, Status: 200, Response: header("Cache-Control", lives, "Content-Location", "/a")}, false, false},
		{"POST that is elsewhere", Exchange{Method: "POST", URL: target, Status: 200, Response: header("Cache-Control", lives, "Content-Location", "//other.example/a?b=c")}, false, false},
		{"POST without a lifetime", Exchange{Method: "POST", URL: target, Status: 200, Response: header("Content-Location", "/a?b=c", "Last-Modified", at(-9999*s), "Cache-Control", "public")}, false, false},
		{"POST of unknown target", Exchange{Method: "POST", Status: 200, Response: header("Cache-Control", lives, "Content-Location", "/a?b=c")}, false, false},

		{"with credentials", Exchange{Status: 200, Request: header("Authorization", "x"), Response: header("Cache-Control", lives)}, false, false},
		{"with credentials, public", Exchange{Status: 200, Request: header("Authorization", "x"), Response: header("Cache-Control", lives+", public")}, true, true},
		{"with credentials, must-revalidate", Exchange{Status: 200, Request: header("Authorization", "x"), Response: header("Cache-Control", lives+", must-revalidate")}, true, true},
		{"with credentials, s-maxage", Exchange{Status: 200, Request: header("Authorization", "x"), Response: header("Cache-Control", "s-maxage=100")}, true, true},
		{"with credentials, proxy-revalidate", Exchange{Status: 200, Request: header("Authorization", "x"), Response: header("Cache-Control", lives+", proxy-revalidate")}, false, false},
		{"with credentials, error", Exchange{Status: 500, Request: header("Authorization", "x"), Response: header()}, false, false},
		{"with a cookie and a lifetime", Exchange{Status: 200, Request: header("Cookie", "x"), Response: header("Cache-Control", lives)}, true, true},
		{"with a cookie, public", Exchange{Status: 200, Request: header("Cookie", "x"), Response: header("Cache-Control", "public", "Last-Modified", at(-9999*s))}, true, true},
		{"with a cookie and nothing said", Exchange{Status: 200, Request: header("Cookie", "x"), Response: header("Last-Modified", at(-9999*s))}, false, false},
		{"with a cookie, missing", Exchange{Status: 404, Request: header("Cookie", "x"), Response: header()}, false, false},
		{"with a cookie, error", Exchange{Status: 502, Request: header("Cookie", "x"), Response: header()}, false, false},
		{"refused by address", Exchange{Status: 403, Request: header("X-Forwarded-For", "192.0.2.1"), Response: header("Cache-Control", "private")}, false, false},
		{"failed, whatever the address", Exchange{Status: 503, Request: header("X-Forwarded-For", "192.0.2.1"), Response: header("Cache-Control", "no-store")}, true, false},
		{"no-store", Exchange{Status: 200, Request: header("Cache-Control", "no-store"), Response: header("Cache-Control", lives)}, false, false},

		{"part", Exchange{Status: 206, Request: header("Range", "bytes=0-4"), Response: header("Cache-Control", lives, "Content-Range", "bytes 0-4/10")}, false, true},
		{"part that nobody asked for", Exchange{Status: 206, Response: header("Cache-Control", lives, "Content-Range", "bytes 0-4/10")}, false, false},
		{"part that contradicts itself", Exchange{Status: 206, Request: header("Range", "bytes=0-4"), Response: header("Cache-Control", lives, "Content-Range", "bytes 0-10/10")}, false, false},
		{"several parts", Exchange{Status: 206, Request: header("Range", "bytes=0-4,6-7"), Response: header("Cache-Control", lives, "Content-Type", "multipart/byteranges; boundary=x")}, false, false},
		{"the whole instead of a part", Exchange{Status: 200, Request: header("Range", "bytes=0-4"), Response: header("Cache-Control", lives)}, true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := DefaultConfig()
			tt.x.Kind, tt.x.Requested, tt.x.Received = cdn.Other, noon, noon
			f := cfg.Evaluate(tt.x)
			if f.Share != tt.share || f.Store != tt.store {
				t.Errorf("share %v, store %v; want %v, %v", f.Share, f.Store, tt.share, tt.store)
			}
		})
	}
}

func TestAge(t *testing.T) { // RFC 9111 §4.2.3
	for _, tt := range []struct {
		name   string
		header http.Header
		delay  time.Duration
		want   time.Duration // of a segment
		other  time.Duration // of an ordinary object
	}{
		{"neither Date nor Age", header(), 0, 0, 0},
		{"Date of now", header("Date", at(0)), 0, 0, 0},
		{"Date of the same second", header("Date", at(0)), 900 * time.Millisecond, 0, 900 * time.Millisecond},
		{"Date in the past", header("Date", at(-7*s)), 0, 7 * s, 7 * s},
		{"Date in the future", header("Date", at(7*s)), 0, 0, 0},
		{"Age", header("Age", "30"), 0, 30 * s, 30 * s},
		{"Age and the delay of the answer", header("Age", "30"), 2 * s, 32 * s, 32 * s},
		{"the delay alone is the origin's", header("Date", at(2*s)), 2 * s, 0, 2 * s},
		{"Age less than what Date says", header("Age", "3", "Date", at(-7*s)), 0, 7 * s, 7 * s},
		{"list of Ages", header("Age", "30, 60"), 0, 30 * s, 30 * s},
		{"two Ages", header("Age", "30", "Age", "60"), 0, 30 * s, 30 * s},
		{"Age that is no number", header("Age", "-3"), 0, 0, 0},
		{"too large an Age", header("Age", "99999999999999999999"), 0, maxDelta, maxDelta},
		{"Date of the last century", header("Date", "Sunday, 06-Nov-94 08:49:37 GMT"), 0, 988254623 * s, 988254623 * s},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := DefaultConfig()
			tt.header.Set("Cache-Control", "max-age=60")
			received := noon.Add(tt.delay)
			for kind, want := range map[cdn.ObjectKind]time.Duration{cdn.Segment: tt.want, cdn.Other: tt.other} {
				f := cfg.Evaluate(Exchange{Kind: kind, Status: 200, Response: tt.header, Requested: noon, Received: received})
				if got := f.Age(received); got != want {
					t.Errorf("%s: age = %v, want %v", kind, got, want)
				}
				if got := f.Age(received.Add(5 * s)); got != want+5*s {
					t.Errorf("%s: age 5 s later = %v, want %v", kind, got, want+5*s)
				}
				if got := f.Age(received.Add(-5 * s)); got != want {
					t.Errorf("%s: age when the clock went back = %v, want %v", kind, got, want)
				}
				if got, want := f.Fresh(received), want < 60*s; got != want {
					t.Errorf("%s: fresh = %v, want %v", kind, got, want)
				}
			}
		})
	}
}
