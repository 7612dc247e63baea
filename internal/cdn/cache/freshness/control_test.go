package freshness

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseControl(t *testing.T) {
	seconds := func(n int) delta { return delta{time.Duration(n) * time.Second, true} }
	for _, tt := range []struct {
		name   string
		values []string
		want   control
	}{
		{"nothing", nil, control{}},
		{"empty members", []string{" , ,,"}, control{}},
		{"lifetime", []string{"max-age=60"}, control{maxAge: seconds(60)}},
		{"case of names", []string{"MaX-aGe=60, NO-STORE"}, control{maxAge: seconds(60), noStore: true}},
		{"quoted", []string{`max-age="60"`}, control{maxAge: seconds(60)}},
		{"something after the quotes", []string{`max-age="60"0, public`}, control{maxAge: seconds(0), public: true}},
		{"several lines", []string{"public", "s-maxage=5"}, control{public: true, sharedMaxAge: seconds(5)}},
		{"shared and private lifetime", []string{"s-maxage=5, max-age=1"}, control{sharedMaxAge: seconds(5), maxAge: seconds(1)}},
		{"given twice", []string{"max-age=60, max-age=5"}, control{maxAge: seconds(60)}},
		{"no number", []string{"max-age=soon"}, control{maxAge: seconds(0)}},
		{"negative", []string{"max-age=-1"}, control{maxAge: seconds(0)}},
		{"fraction", []string{"max-age=1.5"}, control{maxAge: seconds(0)}},
		{"no value", []string{"max-age"}, control{maxAge: seconds(0)}},
		{"space before the value", []string{"max-age= 60"}, control{maxAge: seconds(0)}},
		{"space after the name", []string{"max-age =60"}, control{maxAge: seconds(0)}},
		{"space after the value", []string{"max-age=60 , public"}, control{maxAge: seconds(60), public: true}},
		{"too large", []string{"max-age=99999999999999999999999"}, control{maxAge: delta{maxDelta, true}}},
		{"private", []string{"private"}, control{private: true}},
		{"private names fields", []string{`private="Set-Cookie, x", max-age=5`}, control{hidden: []string{"Set-Cookie", "X"}, maxAge: seconds(5)}},
		{"private names one field without quotes", []string{`private=x`}, control{hidden: []string{"X"}}},
		{"private names fields, and is meant for all", []string{`private, private="x"`}, control{private: true, hidden: []string{"X"}}},
		{"no-cache names no field", []string{`no-cache=","`}, control{noCache: true}},
		{"no-cache names what is no field", []string{`no-cache="a b"`}, control{noCache: true}},
		{"no-cache with a space", []string{`no-cache ="a"`}, control{noCache: true}},
		{"directive inside of a quoted value", []string{`ext="no-store, private", max-age=5`}, control{maxAge: seconds(5)}},
		{"escaped quote", []string{`ext="a\", no-store", max-age=5`}, control{maxAge: seconds(5)}},
		{"quote that does not end", []string{`ext="no-store, max-age=5`}, control{noStore: true, noCache: true, maxAge: seconds(5)}},
		{"revalidate", []string{"must-revalidate, proxy-revalidate, must-understand"}, control{mustRevalidate: true, proxyRevalidate: true, mustUnderstand: true}},
		{"stale", []string{"stale-if-error=30, stale-while-revalidate=20"}, control{staleIfError: seconds(30), staleWhileRevalidate: seconds(20)}},
		{"names that only begin alike", []string{"no-store-ever, max-agent=1, stale-while-revalidated=1"}, control{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if d := cmp.Diff(tt.want, parseControl(tt.values), cmp.AllowUnexported(control{}, delta{})); d != "" {
				t.Error(d)
			}
		})
	}
}

func FuzzParseControl(f *testing.F) {
	for _, s := range []string{"", "max-age=60, private", `a="b,c", no-store`, `x="\`, "=,=,", "max-age==1", `private="a, b"`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c := parseControl([]string{s})
		for _, v := range []delta{c.maxAge, c.sharedMaxAge, c.staleIfError, c.staleWhileRevalidate} {
			if v.d < 0 || v.d > maxDelta || !v.given && v.d != 0 {
				t.Errorf("parseControl(%q): %+v", s, v)
			}
		}
		for _, name := range c.hidden {
			if !isToken(name) {
				t.Errorf("parseControl(%q) hides %q", s, name)
			}
		}
		// A prohibition in front cannot be taken back by anything behind it.
		if got := parseControl([]string{"no-store, " + s}); !got.noStore {
			t.Errorf("%q undoes no-store", s)
		}
		// Nor one behind, unless it stands inside of quotes; then nothing is stored without asking.
		if got := parseControl([]string{s, "no-store"}); !got.noStore {
			t.Errorf("%q undoes no-store on the next line", s)
		}
		// A lifetime of 0 in front cannot be lengthened.
		if got := parseControl([]string{"max-age=0", s}); got.maxAge != (delta{0, true}) {
			t.Errorf("%q undoes max-age=0: %+v", s, got)
		}
		if !strings.ContainsAny(s, `",`) {
			// Without quotes and commas it is one directive, wherever it stands.
			a, b := parseControl([]string{s}), parseControl([]string{"x, " + s + " , y"})
			if d := cmp.Diff(a, b, cmp.AllowUnexported(control{}, delta{})); d != "" {
				t.Errorf("%q alone and in a list: %s", s, d)
			}
		}
	})
}

func FuzzTargeted(f *testing.F) {
	for _, s := range []string{"", "max-age=60", "max-age=60, &", `no-cache="a, b"`, "private=x", "no-store=?0", "max-age=(1 2)", "a;b=1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, ok := parseTargeted([]string{s})
		if !ok {
			if d := cmp.Diff(control{}, c, cmp.AllowUnexported(control{}, delta{})); d != "" {
				t.Errorf("something is left of %q: %s", s, d)
			}
			return
		}
		for _, v := range []delta{c.maxAge, c.sharedMaxAge, c.staleIfError, c.staleWhileRevalidate} {
			if v.d < 0 || v.d > maxDelta {
				t.Errorf("%q: %+v", s, v)
			}
		}
	})
}

func FuzzParseRequest(f *testing.F) {
	for _, s := range []string{"", "max-age=0", "max-stale", "max-stale=5, min-fresh=6", `x="`, "only-if-cached"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c := ParseRequest(header("Cache-Control", s))
		for _, d := range []time.Duration{c.MaxAge, c.MinFresh, c.MaxStale, c.StaleIfError} {
			if d < 0 || d > maxDelta {
				t.Errorf("ParseRequest(%q): %v", s, d)
			}
		}
		if s != "" && c != ParseRequestFields([]byte(s), nil) {
			t.Errorf("%q is read in two ways", s)
		}
	})
}
