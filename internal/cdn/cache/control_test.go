package cache

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseControl(t *testing.T) {
	for _, tt := range []struct {
		name   string
		values []string
		want   Control
	}{
		{"nothing", nil, Control{}},
		{"empty members", []string{" , ,,"}, Control{}},
		{"lifetime", []string{"max-age=60"}, Control{MaxAge: 60 * time.Second, HasMaxAge: true}},
		{"case of names", []string{"MaX-aGe=60, NO-STORE"}, Control{MaxAge: 60 * time.Second, HasMaxAge: true, NoStore: true}},
		{"quoted", []string{`max-age="60"`}, Control{MaxAge: 60 * time.Second, HasMaxAge: true}},
		{"several lines", []string{"public", "s-maxage=5"}, Control{SharedMaxAge: 5 * time.Second, HasSharedMaxAge: true}},
		{
			"shared and private lifetime",
			[]string{"s-maxage=5, max-age=1"},
			Control{SharedMaxAge: 5 * time.Second, HasSharedMaxAge: true, MaxAge: time.Second, HasMaxAge: true},
		},
		{"given twice", []string{"max-age=60, max-age=5"}, Control{MaxAge: 5 * time.Second, HasMaxAge: true}},
		{"no number", []string{"max-age=soon"}, Control{HasMaxAge: true}},
		{"negative", []string{"max-age=-1"}, Control{HasMaxAge: true}},
		{"fraction", []string{"max-age=1.5"}, Control{HasMaxAge: true}},
		{"no value", []string{"max-age"}, Control{HasMaxAge: true}},
		{"space before the value", []string{"max-age= 60"}, Control{HasMaxAge: true}},
		{"too large", []string{"max-age=99999999999999999999999"}, Control{MaxAge: maxDelta * time.Second, HasMaxAge: true}},
		{
			"private names fields",
			[]string{`private="Set-Cookie, X", max-age=5`},
			Control{Private: true, MaxAge: 5 * time.Second, HasMaxAge: true},
		},
		{
			"directive inside of a quoted value",
			[]string{`ext="no-store, private", max-age=5`},
			Control{MaxAge: 5 * time.Second, HasMaxAge: true},
		},
		{"escaped quote", []string{`ext="a\", no-store", max-age=5`}, Control{MaxAge: 5 * time.Second, HasMaxAge: true}},
		{"quote that does not end", []string{`ext="no-store, max-age=5`}, Control{}},
		{"revalidate", []string{"must-revalidate"}, Control{MustRevalidate: true}},
		{"proxies revalidate", []string{"proxy-revalidate"}, Control{MustRevalidate: true}},
		{"no-cache", []string{"no-cache"}, Control{NoCache: true}},
		{
			"stale-if-error",
			[]string{"max-age=1, stale-if-error=30"},
			Control{MaxAge: time.Second, HasMaxAge: true, StaleIfError: 30 * time.Second, HasStaleIfError: true},
		},
		{"name that only begins alike", []string{"no-store-ever, max-agent=1"}, Control{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if d := cmp.Diff(tt.want, ParseControl(tt.values)); d != "" {
				t.Error(d)
			}
		})
	}
}

func FuzzParseControl(f *testing.F) {
	for _, s := range []string{"", "max-age=60, private", `a="b,c", no-store`, `x="\`, "=,=,", "max-age==1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c := ParseControl([]string{s})
		for _, d := range []time.Duration{c.MaxAge, c.SharedMaxAge, c.StaleIfError} {
			if d < 0 || d > maxDelta*time.Second {
				t.Errorf("ParseControl(%q): %v", s, d)
			}
		}
		// A prohibition in front cannot be taken back by anything behind it.
		if got := ParseControl([]string{"no-store, " + s}); !got.NoStore {
			t.Errorf("%q undoes no-store", s)
		}
		// A lifetime of 0 in front cannot be lengthened.
		if got := ParseControl([]string{"max-age=0", s}); got.MaxAge != 0 || !got.HasMaxAge {
			t.Errorf("%q undoes max-age=0: %+v", s, got)
		}
		if !strings.ContainsAny(s, `",`) {
			// Without quotes and commas it is one directive, wherever it stands.
			if a, b := ParseControl([]string{s}), ParseControl([]string{"x, " + s + " , y"}); a != b {
				t.Errorf("ParseControl(%q) = %+v alone, %+v in a list", s, a, b)
			}
		}
	})
}
