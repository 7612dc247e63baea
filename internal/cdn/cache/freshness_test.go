package cache

import (
	"net/http"
	"testing"
	"time"

	"github.com/weir-stream/weir/internal/cdn"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func header(fields ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(fields); i += 2 {
		h.Add(fields[i], fields[i+1])
	}
	return h
}

func at(d time.Duration) string { return noon.Add(d).Format(http.TimeFormat) }

func TestLifetimeAndStorage(t *testing.T) {
	const s = time.Second
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
		{"Expires in the past", 200, header("Expires", at(-60*s), "Date", at(0)), nil, true, false, 0, 30 * s},
		{"Expires that is no date", 200, header("Expires", "0", "Etag", `"1"`), nil, true, true, 0, 30 * s},
		{"no heuristics", 200, header("Last-Modified", at(-24*time.Hour)), nil, true, true, 0, 30 * s},
		{"nothing at all", 200, header(), nil, true, false, 0, 30 * s},

		// §3, §5.2.2: what may not be stored.
		{"no-store", 200, header("Cache-Control", "no-store, max-age=9"), nil, false, false, 9 * s, 0},
		{"private", 200, header("Cache-Control", "private, max-age=9"), nil, false, false, 9 * s, 0},
		{"Vary on all", 200, header("Cache-Control", "max-age=9", "Vary", "Origin, *"), nil, false, false, 9 * s, 0},
		{"Vary on what the edge does not send", 200, header("Cache-Control", "max-age=9", "Vary", "Origin"), nil, true, true, 9 * s, 30 * s},
		{"part without a range asked for", 206, header("Cache-Control", "max-age=9"), nil, false, false, 9 * s, 0},
		{"no-cache with validator", 200, header("Cache-Control", "no-cache, max-age=9", "Etag", `"1"`), nil, true, true, 0, 0},
		{"no-cache without", 200, header("Cache-Control", "no-cache, max-age=9"), nil, true, false, 0, 0},

		// §4.2.4, RFC 5861: when stale may be served.
		{"must-revalidate", 200, header("Cache-Control", "max-age=9, must-revalidate"), nil, true, true, 9 * s, 0},
		{"stale-if-error of the origin", 200, header("Cache-Control", "max-age=9, stale-if-error=3"), nil, true, true, 9 * s, 3 * s},
		{"must-revalidate is stronger", 200, header("Cache-Control", "max-age=9, must-revalidate, stale-if-error=3"), nil, true, true, 9 * s, 0},

		// Other statuses.
		{"redirect with lifetime", 302, header("Cache-Control", "max-age=9"), nil, true, true, 9 * s, 0},
		{"redirect without", 301, header(), nil, true, false, 0, 0},
		{"not found", 404, header(), nil, true, true, s, 0},
		{"not found for a shorter time", 404, header("Cache-Control", "max-age=0"), nil, true, false, 0, 0},
		{"not found for a day", 404, header("Cache-Control", "max-age=86400"), nil, true, true, s, 0},
		{"not found, not to be stored", 404, header("Cache-Control", "no-store"), nil, true, false, 0, 0},
		{"gone", 410, header(), nil, true, true, s, 0},
		{"forbidden for a day", 403, header("Cache-Control", "max-age=86400"), nil, true, false, 0, 0},
		{"error for a day", 500, header("Cache-Control", "max-age=86400"), nil, true, false, 0, 0},
		{"error, private", 503, header("Cache-Control", "private"), nil, true, false, 0, 0},

		// Rules.
		{"rule as fallback", 200, header(), &Rule{TTL: 5 * s}, true, true, 5 * s, 30 * s},
		{"rule yields to the origin", 200, header("Cache-Control", "max-age=9"), &Rule{TTL: 5 * s}, true, true, 9 * s, 30 * s},
		{"rule yields to no-cache", 200, header("Cache-Control", "no-cache"), &Rule{TTL: 5 * s}, true, false, 0, 0},
		{"rule overrides", 200, header("Cache-Control", "max-age=9"), &Rule{TTL: 5 * s, Override: true}, true, true, 5 * s, 30 * s},
		{"rule overrides no-cache", 200, header("Cache-Control", "no-cache"), &Rule{TTL: 5 * s, Override: true}, true, true, 5 * s, 0},
		{"rule does not override no-store", 200, header("Cache-Control", "no-store"), &Rule{TTL: 5 * s, Override: true}, false, false, 5 * s, 0},
		{"rule is not for errors", 404, header(), &Rule{TTL: time.Hour, Override: true}, true, true, s, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := DefaultConfig()
			if tt.rule != nil {
				cfg.Rules = map[cdn.ObjectKind]Rule{cdn.Segment: *tt.rule}
			}
			f := cfg.Evaluate(cdn.Segment, tt.status, tt.header, noon, noon)
			if f.Share != tt.share || f.Store != tt.store {
				t.Errorf("share %v, store %v; want %v, %v", f.Share, f.Store, tt.share, tt.store)
			}
			if (f.Share || f.Store) && f.Lifetime != tt.lifetime {
				t.Errorf("lifetime = %v, want %v", f.Lifetime, tt.lifetime)
			}
			if f.Store && f.StaleIfError != tt.stale {
				t.Errorf("stale-if-error = %v, want %v", f.StaleIfError, tt.stale)
			}
		})
	}
}

func TestAge(t *testing.T) { // RFC 9111 §4.2.3
	const s = time.Second
	for _, tt := range []struct {
		name   string
		header http.Header
		delay  time.Duration
		want   time.Duration
	}{
		{"neither Date nor Age", header(), 0, 0},
		{"Date of now", header("Date", at(0)), 0, 0},
		{"Date of the same second", header("Date", at(0)), 900 * time.Millisecond, 0},
		{"Date in the past", header("Date", at(-7*s)), 0, 7 * s},
		{"Date in the future", header("Date", at(7*s)), 0, 0},
		{"Age", header("Age", "30"), 0, 30 * s},
		{"Age and the delay of the answer", header("Age", "30"), 2 * s, 32 * s},
		{"the delay alone is the origin's", header("Date", at(2*s)), 2 * s, 0},
		{"Age less than what Date says", header("Age", "3", "Date", at(-7*s)), 0, 7 * s},
		{"list of Ages", header("Age", "30, 60"), 0, 30 * s},
		{"two Ages", header("Age", "30", "Age", "60"), 0, 30 * s},
		{"Age that is no number", header("Age", "-3"), 0, 0},
		{"too large an Age", header("Age", "99999999999999999999"), 0, maxDelta * s},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := DefaultConfig()
			tt.header.Set("Cache-Control", "max-age=60")
			received := noon.Add(tt.delay)
			f := cfg.Evaluate(cdn.Segment, 200, tt.header, noon, received)
			if got := f.Age(received); got != tt.want {
				t.Errorf("age = %v, want %v", got, tt.want)
			}
			if got := f.Age(received.Add(5 * s)); got != tt.want+5*s {
				t.Errorf("age 5 s later = %v, want %v", got, tt.want+5*s)
			}
			if got, want := f.Fresh(received), tt.want < 60*s; got != want {
				t.Errorf("fresh = %v, want %v", got, want)
			}
		})
	}
}

func TestConfigNamesWhatIsWrong(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Config){
		"capacity_bytes is 5; at least 1048576 is expected":                              func(c *Config) { c.CapacityBytes = 5 },
		"max_object_bytes is 0; a number from 1 to capacity_bytes less 1024 is expected": func(c *Config) { c.MaxObjectBytes = 0 },
		"ghost_keys is -1; a number from 0 to 16777216 is expected":                      func(c *Config) { c.GhostKeys = -1 },
		"negative_ttl is 2s; a duration from 0s to 1s is expected":                       func(c *Config) { c.NegativeTTL = 2 * time.Second },
		"stale_if_error is -1ns; a duration of 0s or more is expected":                   func(c *Config) { c.StaleIfError = -1 },
		`rules has a kind "film"; manifest, init, segment or other is expected`:          func(c *Config) { c.Rules = map[cdn.ObjectKind]Rule{"film": {}} },
		"rules.segment.ttl is -1s; a duration of 0s or more is expected":                 func(c *Config) { c.Rules = map[cdn.ObjectKind]Rule{cdn.Segment: {TTL: -time.Second}} },
	} {
		cfg := DefaultConfig()
		change(&cfg)
		if err := cfg.Validate(); err == nil || err.Error() != want {
			t.Errorf("Validate() = %v, want %s", err, want)
		}
	}
}
