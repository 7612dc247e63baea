package freshness

import (
	"net/http"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-stream/weir/internal/cdn"
)

func TestWhatIsStoredOfAHeader(t *testing.T) { // RFC 9111 §3.1
	response := header(
		"Connection", "a, B", "Connection", "close", "A", "1", "B", "2", "C", "3",
		"Keep-Alive", "x", "Proxy-Authenticate", "x", "Proxy-Authentication-Info", "x", "Proxy-Authorization", "x",
		"Proxy-Connection", "x", "TE", "x", "Trailer", "x", "Transfer-Encoding", "x", "Upgrade", "x",
		"Age", "3", "Set-Cookie", "a=b", "Set-Cookie2", "a=b",
		"Cache-Control", `max-age=9, no-cache="d", private="e"`, "D", "4", "E", "5",
		"Content-Range", "nonsense", "Content-Length", "10", "Clear-Site-Data", "cookies", "Etag", `"1"`,
	)
	before := response.Clone()
	cfg := DefaultConfig()
	want := header("C", "3", "Cache-Control", `max-age=9, no-cache="d", private="e"`,
		"Content-Range", "nonsense", "Content-Length", "10", "Clear-Site-Data", "cookies", "Etag", `"1"`)
	got := cfg.Stored(response)
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	cfg.StoreSetCookie = true
	want.Set("Set-Cookie", "a=b")
	want.Set("Set-Cookie2", "a=b")
	if d := cmp.Diff(want, cfg.Stored(response)); d != "" {
		t.Error("with cookies:", d)
	}
	// Who asked is given all of it.
	forwarded := EndToEnd(response)
	for _, name := range []string{"Age", "C", "D", "E", "Set-Cookie"} {
		if forwarded.Get(name) == "" {
			t.Errorf("%s is not forwarded", name)
		}
	}
	for _, name := range []string{"A", "B", "Connection", "Keep-Alive", "Te"} {
		if forwarded.Get(name) != "" {
			t.Errorf("%s is forwarded", name)
		}
	}
	// Values that are added later do not end up in the origin's header.
	_ = append(forwarded["Etag"], "x")
	got.Add("C", "4")
	if d := cmp.Diff(before, response); d != "" {
		t.Error("the answer was changed:", d)
	}
}

// A targeted field names the fields that are not stored, if it counts.
func TestTargetedFieldsHide(t *testing.T) {
	cfg := DefaultConfig()
	got := cfg.Stored(header("CDN-Cache-Control", `max-age=9, no-cache="a"`, "Cache-Control", `private="b"`, "A", "1", "B", "2"))
	if got.Get("A") != "" || got.Get("B") == "" {
		t.Errorf("stored: %v", got)
	}
}

func TestUpdate(t *testing.T) { // RFC 9111 §3.2
	stored := header(
		"Date", at(0), "Test-Header", "a", "Content-Foo", "a", "Cache-Control", "max-age=1", "Content-Length", "36",
		"Content-Encoding", "gzip", "Content-Range", "bytes 0-4/10", "Content-Type", "text/plain", "Kept", "a", "List", "1", "List", "2",
	)
	before := stored.Clone()
	cfg := DefaultConfig()
	got := cfg.Update(stored, header(
		"Date", at(9*s), "Test-Header", "b", "Content-Foo", "b", "Cache-Control", "max-age=3600", "Content-Length", "0",
		"Content-Encoding", "br", "Content-Range", "bytes 5-9/10", "Content-Type", "text/plain;charset=utf-8", "List", "3", "New", "b",
		"Connection", "hop", "Hop", "b", "Keep-Alive", "b", "Age", "7", "Set-Cookie", "a=b",
	))
	want := header(
		"Date", at(9*s), "Test-Header", "b", "Content-Foo", "b", "Cache-Control", "max-age=3600", "Content-Length", "36",
		"Content-Encoding", "gzip", "Content-Range", "bytes 0-4/10", "Content-Type", "text/plain;charset=utf-8", "Kept", "a", "List", "3", "New", "b",
	)
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(before, stored); d != "" {
		t.Error("the stored header was changed:", d)
	}
	// What the new directives name is not kept from before.
	got = cfg.Update(header("A", "1", "Cache-Control", "max-age=1"), header("Cache-Control", `private="a"`))
	if got.Get("A") != "" {
		t.Errorf("kept: %v", got)
	}
}

func TestRevalidation(t *testing.T) {
	cfg := DefaultConfig()
	stored := header("Date", at(-100*s), "Cache-Control", "max-age=2", "Etag", `"1"`, "Vary", "Foo", "Test-Header", "a")
	exchange := func(fields ...string) Exchange {
		return Exchange{Kind: cdn.Other, Status: 304, Response: header(fields...), Requested: noon, Received: noon}
	}

	h, f := cfg.Revalidate(stored, 200, exchange("Date", at(0), "Etag", `"1"`))
	if h.Get("Test-Header") != "a" || !f.Store || f.Lifetime != 2*s || f.Age(noon) != 0 || !slices.Equal(f.Vary, []string{"Foo"}) {
		t.Errorf("a 304 that says little: %v, %+v", h, f)
	}
	// The 304 is the origin's newest word: it is as old as that, not as the stored answer.
	h, f = cfg.Revalidate(stored, 200, exchange("Cache-Control", "max-age=3600", "Age", "30", "Etag", `"1"`))
	if f.Lifetime != 3600*s || f.Age(noon) != 30*s || h.Get("Date") != at(0) || h.Get("Age") != "" {
		t.Errorf("a 304 without Date: %v, %+v", h, f)
	}
	if _, f = cfg.Revalidate(stored, 200, exchange("Cache-Control", "no-store")); f.Store {
		t.Errorf("a 304 that forbids to store: %+v", f)
	}
	if stored.Get("Cache-Control") != "max-age=2" || stored.Get("Date") != at(-100*s) {
		t.Errorf("the stored header was changed: %v", stored)
	}
}

func TestWhichStoredAnswerA304IsAbout(t *testing.T) { // RFC 9111 §4.3.4
	const date, other = "Wed, 01 Jan 2020 00:00:00 GMT", "Wed, 01 Jan 2020 00:00:01 GMT"
	for _, tt := range []struct {
		name        string
		stored, got http.Header
		want        bool
	}{
		{"same tag", header("Etag", `"1"`), header("Etag", `"1"`), true},
		{"another tag", header("Etag", `"1"`), header("Etag", `"2"`), false},
		{"weak and strong", header("Etag", `W/"1"`), header("Etag", `"1"`), true},
		{"a tag where none was", header("Last-Modified", date), header("Etag", `"1"`), false},
		{"same tag, another date", header("Etag", `"1"`, "Last-Modified", date), header("Etag", `"1"`, "Last-Modified", other), true},
		{"same date", header("Last-Modified", date), header("Last-Modified", date), true},
		{"same date, another format", header("Last-Modified", date), header("Last-Modified", "Wednesday, 01-Jan-20 00:00:00 GMT"), true},
		{"another date", header("Last-Modified", date), header("Last-Modified", other), false},
		{"no date", header("Last-Modified", date), header("Last-Modified", "never"), false},
		{"says nothing", header("Etag", `"1"`, "Last-Modified", date), header(), true},
		{"neither has any", header(), header(), true},
	} {
		if got := MatchesStored(tt.stored, tt.got); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

func TestWhichStoredAnswerAHeadIsAbout(t *testing.T) { // RFC 9111 §4.3.5
	const date = "Wed, 01 Jan 2020 00:00:00 GMT"
	for _, tt := range []struct {
		name         string
		stored, head http.Header
		length       int64
		want         bool
	}{
		{"no validator", header(), header("Content-Length", "36"), 36, true},
		{"another length", header(), header("Content-Length", "37"), 36, false},
		{"no length", header(), header("Content-Length", "x"), 36, false},
		{"unknown length", header(), header("Content-Length", "37"), -1, true},
		{"same validators", header("Etag", `"1"`, "Last-Modified", date), header("Etag", `"1"`, "Last-Modified", date), 36, true},
		{"another tag", header("Etag", `"1"`), header("Etag", `"2"`), 36, false},
		{"a tag where none was", header(), header("Etag", `"2"`), 36, false},
		{"a date where none was", header("Etag", `"1"`), header("Etag", `"1"`, "Last-Modified", date), 36, false},
	} {
		if got := MatchesHead(tt.stored, tt.length, tt.head); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

func TestContentRange(t *testing.T) { // RFC 9110 §14.4
	for value, want := range map[string]ContentRange{
		"bytes 0-4/10":                     {0, 4, 10},
		"BYTES 4-9/10":                     {4, 9, 10},
		"bytes 4-9/*":                      {4, 9, -1},
		"bytes 4-10/10":                    {},
		"bytes 4-3/10":                     {},
		"bytes */10":                       {},
		"bytes -4/10":                      {},
		"bytes 4-/10":                      {},
		"bytes 4-9":                        {},
		"bytes=4-9/10":                     {},
		"lines 4-9/10":                     {},
		"bytes 0-1/9999999999999999999999": {},
		"bytes +1-4/10":                    {},
	} {
		got, ok := ParseContentRange(header("Content-Range", value))
		if ok != (want != ContentRange{}) || ok && got != want {
			t.Errorf("%s: %+v, %v", value, got, ok)
		}
	}
	if _, ok := ParseContentRange(header("Content-Range", "bytes 0-4/10", "Content-Range", "bytes 0-4/10")); ok {
		t.Error("two of them are one")
	}
}

func FuzzContentRange(f *testing.F) {
	f.Add("bytes 0-4/10")
	f.Add("bytes 4-9/*")
	f.Fuzz(func(t *testing.T, s string) {
		r, ok := ParseContentRange(header("Content-Range", s))
		if ok && (r.First < 0 || r.Last < r.First || r.Length >= 0 && r.Last >= r.Length) {
			t.Errorf("%q: %+v", s, r)
		}
	})
}

func TestWhatCombines(t *testing.T) { // RFC 9111 §3.4
	for _, tt := range []struct {
		a, b http.Header
		want bool
	}{
		{header("Etag", `"1"`), header("Etag", `"1"`), true},
		{header("Etag", `"1"`), header("Etag", `"2"`), false},
		{header("Etag", `W/"1"`), header("Etag", `W/"1"`), false},
		{header("Etag", `1`), header("Etag", `1`), false},
		{header(), header(), false},
	} {
		if got := Combines(tt.a, tt.b); got != tt.want {
			t.Errorf("%v and %v: %v", tt.a, tt.b, got)
		}
	}
}
