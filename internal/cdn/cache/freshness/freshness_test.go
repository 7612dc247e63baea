package freshness

import (
	"net/http"
	"testing"
	"time"

	"github.com/weir-stream/weir/internal/cdn"
)

// How a stored object may be used for a request: RFC 9111 §4.2.4, §5.2.1; RFC 5861.
func TestUse(t *testing.T) {
	request := func(control string) http.Header { return header("Cache-Control", control) }
	for _, tt := range []struct {
		name    string
		control string // of the answer
		request http.Header
		after   time.Duration
		use     Use
		onError bool
	}{
		{"fresh", "max-age=100", nil, 3 * s, Serve, true},
		{"stale", "max-age=2", nil, 3 * s, Validate, true},
		{"stale for longer than is allowed by default", "max-age=2", nil, 33 * s, Validate, false},
		{"stale while the origin is asked", "max-age=1, stale-while-revalidate=3600", nil, 3 * s, ServeAndRevalidate, true},
		{"at the end of the window", "max-age=1, stale-while-revalidate=4", nil, 5 * s, ServeAndRevalidate, true},
		{"after the window", "max-age=1, stale-while-revalidate=4", nil, 6 * s, Validate, true},
		{"stale if the origin fails", "max-age=2, stale-if-error=60", nil, 60 * s, Validate, true},
		{"no longer stale if the origin fails", "max-age=2, stale-if-error=60", nil, 63 * s, Validate, false},
		{"never stale: the origin says 0", "max-age=2, stale-if-error=0", nil, 3 * s, Validate, false},
		{"never stale: must-revalidate", "max-age=2, must-revalidate", nil, 3 * s, Validate, false},
		{"never stale: proxy-revalidate", "max-age=2, proxy-revalidate", nil, 3 * s, Validate, false},
		{"never stale: s-maxage", "max-age=2, s-maxage=2", nil, 3 * s, Validate, false},
		{"never stale: no-cache", "max-age=2, no-cache", nil, 3 * s, Validate, false},
		{"never stale, whatever the windows", "max-age=2, must-revalidate, stale-while-revalidate=60, stale-if-error=60", nil, 3 * s, Validate, false},
		{"never stale, whatever the request", "max-age=2, must-revalidate", request("max-stale, stale-if-error=60"), 3 * s, Validate, false},
		{"fresh under must-revalidate", "max-age=10, must-revalidate", nil, 3 * s, Serve, true},
		{"no-cache is asked for even at once", "max-age=10, no-cache", nil, 0, Validate, false},

		{"request: max-age=0", "max-age=100", request("max-age=0"), 3 * s, Validate, true},
		{"request: max-age not reached", "max-age=100", request("max-age=4"), 3 * s, Serve, true},
		{"request: max-age passed", "max-age=100", request("max-age=1"), 3 * s, Validate, true},
		{"request: max-age, stale", "max-age=2, stale-while-revalidate=60", request("max-age=60"), 3 * s, Validate, true},
		{"request: max-stale", "max-age=2", request("max-stale=1000"), 3 * s, ServeAndRevalidate, true},
		{"request: max-stale passed", "max-age=2", request("max-stale=1"), 4 * s, Validate, true},
		{"request: max-stale without end", "max-age=2", request("max-stale"), 24 * time.Hour, ServeAndRevalidate, true},
		{"request: max-age and max-stale", "max-age=2", request("max-age=10, max-stale=10"), 4 * s, ServeAndRevalidate, true},
		{"request: min-fresh", "max-age=1500", request("min-fresh=2000"), 0, Validate, true},
		{"request: min-fresh given", "max-age=1500", request("min-fresh=1000"), 500 * s, Serve, true},
		{"request: min-fresh passed", "max-age=1500", request("min-fresh=1000"), 501 * s, Validate, true},
		{"request: no-cache", "max-age=100", request("no-cache"), 3 * s, Validate, true},
		{"request: no-store may be served", "max-age=100", request("no-store"), 3 * s, Serve, true},
		{"request: what is no number asks for nothing", "max-age=100", request("max-age=a, min-fresh=b"), 3 * s, Serve, true},
		{"request: unknown", "max-age=100", request("nothing-to-see-here"), 3 * s, Serve, true},
		{"request: stale-if-error is longer", "max-age=2", request("stale-if-error=3600"), 600 * s, Validate, true},
		{"request: stale-if-error is shorter", "max-age=2", request("stale-if-error=0"), 3 * s, Validate, false},
		{"request: Pragma alone", "max-age=100", header("Pragma", "no-cache"), 3 * s, Validate, true},
		{"request: Pragma beside Cache-Control", "max-age=100", header("Pragma", "no-cache", "Cache-Control", "x"), 3 * s, Serve, true},
		{"request: unknown Pragma", "max-age=100", header("Pragma", "foo"), 3 * s, Serve, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := answer(http.StatusOK, header("Cache-Control", tt.control, "Date", at(0), "Etag", `"1"`))
			now, rc := noon.Add(tt.after), ParseRequest(tt.request)
			if got := f.Usable(now, rc); got != tt.use {
				t.Errorf("Usable = %v, want %v", got, tt.use)
			}
			if got := f.UsableOnError(now, rc); got != tt.onError {
				t.Errorf("UsableOnError = %v, want %v", got, tt.onError)
			}
		})
	}
}

func TestAnAgedAnswerAndMaxStale(t *testing.T) {
	f := answer(http.StatusOK, header("Cache-Control", "max-age=1500", "Age", "2000"))
	if !f.Store {
		t.Fatal("it is not stored")
	}
	if got := f.Usable(noon, ParseRequest(header("Cache-Control", "max-stale=1000"))); got != ServeAndRevalidate {
		t.Errorf("Usable = %v", got)
	}
}

// Windows that the origin does not give are the configuration's, but not for errors.
func TestConfiguredWindows(t *testing.T) {
	cfg := DefaultConfig()
	cfg.StaleIfError, cfg.StaleWhileRevalidate = 5*s, 7*s
	for _, tt := range []struct {
		status  int
		control string
		onError time.Duration
		while   time.Duration
	}{
		{200, "max-age=1", 5 * s, 7 * s},
		{301, "max-age=1", 5 * s, 7 * s},
		{404, "max-age=1", 0, 0},
		{404, "max-age=1, stale-if-error=9", 9 * s, 0},
		{503, "max-age=1, stale-if-error=9", 0, 0},
		{200, "s-maxage=1", 0, 0},
	} {
		f := cfg.Evaluate(Exchange{Kind: cdn.Other, Status: tt.status, Response: header("Cache-Control", tt.control), Requested: noon, Received: noon})
		if f.StaleIfError != tt.onError || f.StaleWhileRevalidate != tt.while {
			t.Errorf("%d %s: %v, %v; want %v, %v", tt.status, tt.control, f.StaleIfError, f.StaleWhileRevalidate, tt.onError, tt.while)
		}
	}
}

func TestASoftPurgeMakesStale(t *testing.T) {
	f := answer(http.StatusOK, header("Cache-Control", "max-age=100, stale-while-revalidate=10"))
	now := noon.Add(20 * s)
	f = f.Expire(now)
	for after, want := range map[time.Duration]Use{0: ServeAndRevalidate, 10 * s: ServeAndRevalidate, 11 * s: Validate} {
		if got := f.Usable(now.Add(after), RequestControl{}); got != want {
			t.Errorf("%v after the purge: %v, want %v", after, got, want)
		}
	}
	stale := answer(http.StatusOK, header("Cache-Control", "max-age=2"))
	if got := stale.Expire(now); got.TTL(now) != -18*s {
		t.Errorf("a purge made what was stale less so: %v", got.TTL(now))
	}
}

func TestWhichErrorsAStaleAnswerReplaces(t *testing.T) {
	for status, want := range map[int]bool{200: false, 404: false, 500: true, 501: false, 502: true, 503: true, 504: true, 599: false} {
		if got := OriginFailed(status); got != want {
			t.Errorf("OriginFailed(%d) = %v", status, got)
		}
	}
}

func TestParseRequestFields(t *testing.T) {
	want := RequestControl{NoStore: true, OnlyIfCached: true, MaxAge: 7 * s, HasMaxAge: true}
	if got := ParseRequestFields([]byte("no-store, ONLY-if-cached, max-age=7, max-age=9"), []byte("no-cache")); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := ParseRequestFields(nil, []byte("x, No-Cache")); !got.NoCache {
		t.Errorf("Pragma alone: %+v", got)
	}
	if got := ParseRequestFields(nil, nil); got != (RequestControl{}) {
		t.Errorf("nothing: %+v", got)
	}
}

func TestConfigNamesWhatIsWrong(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Fatal(err)
	}
	nan := 0.0
	nan /= nan
	for want, change := range map[string]func(*Config){
		"negative_ttl is 2s; a duration from 0s to 1s is expected":                                          func(c *Config) { c.NegativeTTL = 2 * s },
		"stale_if_error is -1ns; a duration of 0s or more is expected":                                      func(c *Config) { c.StaleIfError = -1 },
		"stale_while_revalidate is -1ns; a duration of 0s or more is expected":                              func(c *Config) { c.StaleWhileRevalidate = -1 },
		"targets has 9 names; at most 8 are expected":                                                       func(c *Config) { c.Targets = make([]string, 9) },
		`targets has "a b"; the name of a field other than Cache-Control and Expires is expected`:           func(c *Config) { c.Targets = []string{"a b"} },
		`targets has "cache-control"; the name of a field other than Cache-Control and Expires is expected`: func(c *Config) { c.Targets = []string{"cache-control"} },
		"rules.segment.ttl is -1s; a duration of 0s or more is expected":                                    func(c *Config) { c.Rules.Segment.TTL = -s },
		"rules.other.heuristic is 1.5; a number from 0 to 1 is expected":                                    func(c *Config) { c.Rules.Other.Heuristic = 1.5 },
		"rules.init.heuristic is NaN; a number from 0 to 1 is expected":                                     func(c *Config) { c.Rules.Init.Heuristic = nan },
		"rules.other.heuristic_max is -1s; a duration of 0s or more is expected":                            func(c *Config) { c.Rules.Other.HeuristicMax = -s },
		"rules.manifest.heuristic_max is 0s; a duration is expected, because heuristic is 0.5":              func(c *Config) { c.Rules.Manifest.Heuristic = 0.5 },
	} {
		cfg := DefaultConfig()
		change(&cfg)
		if err := cfg.Validate(); err == nil || err.Error() != want {
			t.Errorf("Validate() = %v, want %s", err, want)
		}
	}
}

// Every target is asked, in order; a valid one ends the search (RFC 9213 §2.2).
func TestTargetsInOrder(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Targets = []string{"weir-cache-control", "CDN-Cache-Control"}
	for name, tt := range map[string]struct {
		header http.Header
		want   time.Duration
	}{
		"the first":            {header("Weir-Cache-Control", "max-age=1", "CDN-Cache-Control", "max-age=2", "Cache-Control", "max-age=3"), s},
		"the second":           {header("CDN-Cache-Control", "max-age=2", "Cache-Control", "max-age=3"), 2 * s},
		"the first is invalid": {header("Weir-Cache-Control", "max-age=?1", "CDN-Cache-Control", "max-age=2"), 2 * s},
		"neither":              {header("Cache-Control", "max-age=3"), 3 * s},
	} {
		if f := cfg.Evaluate(Exchange{Status: 200, Response: tt.header, Requested: noon, Received: noon}); f.Lifetime != tt.want {
			t.Errorf("%s: lifetime = %v, want %v", name, f.Lifetime, tt.want)
		}
	}
}

func TestObjectsOfAPresentationAreNotGuessedAt(t *testing.T) {
	cfg := DefaultConfig()
	for _, kind := range []cdn.ObjectKind{cdn.Manifest, cdn.Init, cdn.Segment} {
		f := cfg.Evaluate(Exchange{Kind: kind, Status: 200, Response: header("Last-Modified", at(-time.Hour)), Requested: noon, Received: noon})
		if f.Lifetime != 0 || f.Usable(noon, RequestControl{}) != Validate {
			t.Errorf("%s: %+v", kind, f)
		}
	}
}

// The hit path: nothing of it may allocate.
func TestTheHitPathDoesNotAllocate(t *testing.T) {
	f := answer(http.StatusOK, header("Cache-Control", "max-age=100"))
	h := header("Cache-Control", "nothing, max-age=0")
	raw := []byte("nothing, max-age=0")
	vary := []string{"Accept-Encoding", "Accept-Language", "Foo"}
	selecting := header("Accept-Encoding", "gzip, br;q=0.5", "Accept-Language", "de, en", "Foo", "a, b")
	buf := make([]byte, 0, 512)
	now := noon
	for name, call := range map[string]func(){
		"Usable":             func() { f.Usable(now, RequestControl{}) },
		"UsableOnError":      func() { f.UsableOnError(now, RequestControl{}) },
		"Fresh, Age, TTL":    func() { _ = f.Fresh(now) && f.Age(now) > f.TTL(now) },
		"ParseRequest":       func() { ParseRequest(h) },
		"ParseRequestFields": func() { ParseRequestFields(raw, nil) },
		"VaryKey of none":    func() { VaryKey(nil, h) },
		"AppendVaryKey":      func() { buf = AppendVaryKey(buf[:0], vary, selecting) },
	} {
		if n := testing.AllocsPerRun(100, call); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}
