//go:build cgo && !noduckdb

package query

import (
	"fmt"
	"maps"
	"math"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/weir-stream/weir/cmcd"
	"github.com/weir-stream/weir/internal/analytics"
	"github.com/weir-stream/weir/internal/telemetry"
	"github.com/weir-stream/weir/internal/telemetry/store/duckdb"
)

// store holds the records of two sessions and of a viewer without CMCD, by hand. Session a watches
// stream one, four video segments of 2 s: three at 1,000 kbit/s and one at 4,000; b watches stream
// two, one video segment of 6 s at 3,000 kbit/s.
func store(t *testing.T) *duckdb.Store {
	t.Helper()
	config := duckdb.DefaultConfig()
	config.Retention = 0 // the records have a fixed date
	s, err := duckdb.New(duckdb.Settings{Config: config, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := s.Append(t.Context(), telemetry.Batch{Requests: records(t)}); err != nil {
		t.Fatal(err)
	}
	return s
}

func records(t *testing.T) []telemetry.Request {
	var out []telemetry.Request
	add := func(at time.Duration, stream, path, record string, change func(*telemetry.Request)) {
		r := telemetry.Request{
			ID: uuid.Must(uuid.NewV7()), Time: noon.Add(-time.Hour + at), Edge: "e1", Method: "GET", Path: path,
			Stream: stream, Kind: "segment", Status: 200, Bytes: 1000, CacheStatus: "hit",
			TTFB: 10 * time.Millisecond, Duration: 20 * time.Millisecond,
		}
		if record != "" {
			v, err := cmcd.Parse(record)
			if err != nil {
				t.Fatal(err)
			}
			r.CMCD, r.HasCMCD = v, true
		}
		if change != nil {
			change(&r)
		}
		out = append(out, r)
	}
	none := func(*telemetry.Request) {}
	add(0, "one", "/live/one/v1.m4s", `br=1000,d=2000,ot=v,sf=h,sid="a"`, func(r *telemetry.Request) { r.CacheStatus = "miss" })
	add(2*time.Second, "one", "/live/one/v2.m4s", `br=1000,d=2000,ot=v,sf=h,sid="a"`, none)
	add(4*time.Second, "one", "/live/one/v3.m4s", `bl=4000,br=1000,d=2000,mtp=8000,ot=v,sf=h,sid="a"`, none)
	add(6*time.Second, "one", "/live/one/v4.m4s", `bl=2000,br=4000,bs,d=2000,mtp=4000,ot=v,sf=h,sid="a"`, none)
	// None of these is part of the video's average: again, audio, aborted, an error, not rendered.
	add(7*time.Second, "one", "/live/one/v4.m4s", `br=4000,d=2000,ot=v,sf=h,sid="a"`, none)
	add(7*time.Second, "one", "/live/one/a1.m4s", `br=128,d=2000,ot=a,sf=h,sid="a"`, none)
	add(8*time.Second, "one", "/live/one/v5.m4s", `br=4000,d=2000,ot=v,sf=h,sid="a"`, func(r *telemetry.Request) { r.Aborted = true })
	add(8*time.Second, "one", "/live/one/v6.m4s", `br=4000,d=2000,ot=v,sf=h,sid="a"`, func(r *telemetry.Request) { r.Status = 404 })
	add(8*time.Second, "one", "/live/one/v7.m4s", `br=4000,d=2000,nr,ot=v,sf=h,sid="a",v=2`, none)
	add(70*time.Second, "two", "/live/two/v1.m4s", `br=3000,d=6000,ot=v,sf=d,sid="b"`, none)
	// Without CMCD.
	add(71*time.Second, "", "/", "", func(r *telemetry.Request) { r.CacheStatus, r.Kind, r.TTFB = "", "other", 0 })
	return out
}

func ask(t *testing.T, e *Engine, q analytics.Query) analytics.Result {
	t.Helper()
	result, err := e.Query(t.Context(), q)
	if err != nil {
		t.Fatalf("%+v: %v", q, err)
	}
	return result
}

func TestMetricsOfTheHour(t *testing.T) {
	e := engine(t, store(t))
	var names []string
	for _, m := range e.Catalogue() {
		names = append(names, m.Name)
	}
	want := map[string]float64{
		"requests":            11,
		"requests_per_second": 11.0 / 3600,
		"bytes":               11_000,
		"egress":              11_000 * 8 / 3600.0,
		"sessions":            2,
		"viewers":             2,
		"hit_ratio":           9.0 / 10, // the request without a cache status does not count
		"error_ratio":         1.0 / 11,
		"aborted_ratio":       1.0 / 11,
		"ttfb_p50":            0.010,
		"ttfb_p95":            0.010,
		// (3·1000·2 + 4000·2 + 3000·6) kbit / (8+6) s = 32,000/14
		"average_bitrate":       32_000e3 / 14,
		"average_audio_bitrate": 128e3,
		"average_throughput":    6000e3,
		"buffer_length_p50":     3,
		"buffer_starved_ratio":  1.0 / 10,
		"cmcd_coverage":         10.0 / 11,
	}
	metrics := map[string]*float64{}
	for len(names) > 0 { // at most so many in one query
		n := min(len(names), maxMetrics)
		result := ask(t, e, analytics.Query{Metrics: names[:n]})
		names = names[n:]
		if len(result.Rows) != 1 {
			t.Fatalf("%d rows, want 1", len(result.Rows))
		}
		row := result.Rows[0]
		for name, v := range row.Metrics {
			metrics[name] = v
		}
		if row.Records != 11 || row.Sessions != 2 || math.Abs(result.Provenance.Coverage-10.0/11) > 1e-9 {
			t.Errorf("sample: %d records, %d sessions, coverage %v", row.Records, row.Sessions, result.Provenance.Coverage)
		}
	}
	for name, v := range metrics {
		w, known := want[name]
		switch {
		case !known && v != nil:
			t.Errorf("%s = %v, want no value: no record has one", name, *v)
		case known && v == nil:
			t.Errorf("%s has no value, want %v", name, w)
		case known && math.Abs(*v-w) > 1e-6*math.Abs(w):
			t.Errorf("%s = %v, want %v", name, *v, w)
		}
	}
}

func TestBreakdown(t *testing.T) {
	e := engine(t, store(t))
	result := ask(t, e, analytics.Query{Metrics: []string{"average_bitrate", "requests"}, Dimensions: []string{"stream", "format"}, OrderBy: "average_bitrate", Descending: true})
	got := ""
	for _, row := range result.Rows {
		value := "none"
		if v := row.Metrics["average_bitrate"]; v != nil {
			value = fmt.Sprint(*v)
		}
		got += fmt.Sprintf("%s/%s=%s (%v of %d sessions)\n", row.Dimensions["stream"], row.Dimensions["format"], value, *row.Metrics["requests"], row.Sessions)
	}
	// Session a: (3·1000·2 + 4000·2) kbit / 8 s = 1,750 kbit/s. What is not known comes last.
	if want := "two/dash=3e+06 (1 of 1 sessions)\none/hls=1.75e+06 (9 of 1 sessions)\n/=none (1 of 0 sessions)\n"; got != want {
		t.Errorf("rows:\n%swant:\n%s", got, want)
	}
}

func TestFilters(t *testing.T) {
	e := engine(t, store(t))
	for want, filters := range map[float64][]analytics.Filter{
		9:  {{Dimension: "stream", Values: []string{"one"}}},
		10: {{Dimension: "stream", Values: []string{"one", "two"}}},
		1:  {{Dimension: "stream", Values: []string{""}}},
		8:  {{Dimension: "stream", Values: []string{"one"}}, {Dimension: "status_class", Values: []string{"2xx"}}},
		0:  {{Dimension: "stream", Values: []string{"x' OR '1'='1"}}},
	} {
		result := ask(t, e, analytics.Query{Metrics: []string{"requests"}, Filters: filters})
		if got := *result.Rows[0].Metrics["requests"]; got != want {
			t.Errorf("%v: %v requests, want %v", filters, got, want)
		}
	}
}

func TestIntervals(t *testing.T) {
	e := engine(t, store(t))
	from := noon.Add(-time.Hour + 30*time.Second)
	result := ask(t, e, analytics.Query{Metrics: []string{"requests", "requests_per_second"}, From: from, To: noon.Add(-time.Hour + 72*time.Second), Grain: time.Minute})
	if len(result.Rows) != 1 {
		t.Fatalf("%d rows, want the one interval that has records", len(result.Rows))
	}
	row := result.Rows[0]
	if !row.Time.Equal(noon.Add(-59*time.Minute)) || *row.Metrics["requests"] != 2 {
		t.Errorf("row = %v %v", row.Time, *row.Metrics["requests"])
	}
	// Only 12 s of that minute lie in the range.
	if got := *row.Metrics["requests_per_second"]; math.Abs(got-2.0/12) > 1e-9 {
		t.Errorf("requests_per_second = %v, want %v", got, 2.0/12)
	}
}

func TestLimit(t *testing.T) {
	e := engine(t, store(t))
	result := ask(t, e, analytics.Query{Metrics: []string{"requests"}, Dimensions: []string{"stream"}, Limit: 2})
	if len(result.Rows) != 2 || !result.Truncated {
		t.Errorf("%d rows, truncated %v; want 2 of 3", len(result.Rows), result.Truncated)
	}
	result = ask(t, e, analytics.Query{Metrics: []string{"requests"}, Dimensions: []string{"stream"}, Limit: 3})
	if len(result.Rows) != 3 || result.Truncated {
		t.Errorf("%d rows, truncated %v; want all 3", len(result.Rows), result.Truncated)
	}
}

func TestNothingIsNotZero(t *testing.T) {
	e := engine(t, store(t))
	result := ask(t, e, analytics.Query{Metrics: []string{"average_bitrate", "hit_ratio", "ttfb_p95", "bytes", "egress"}, From: noon.AddDate(-1, 0, 0), To: noon.AddDate(-1, 0, 1)})
	for name, v := range result.Rows[0].Metrics {
		if v != nil {
			t.Errorf("%s of no records = %v, want none", name, *v)
		}
	}
}

// Refusals, origins and tenants are counted by what the edge wrote down, and what it did not write down is "".
func TestRequestsByWhatTheEdgeDidWithThem(t *testing.T) {
	s := store(t)
	var batch telemetry.Batch
	for i, r := range []telemetry.Request{
		{Status: 403, CacheStatus: "bypass", Refusal: "token-expired", Tenant: "acme"},
		{Status: 403, CacheStatus: "bypass", Refusal: "token-expired"},
		{Status: 403, CacheStatus: "bypass", Refusal: "geo-denied"},
		{Status: 200, CacheStatus: "miss", MissReason: "purged", Origin: "origin-1", Tenant: "acme"},
		{Status: 206, CacheStatus: "miss", MissReason: "ranged", Origin: "origin-2"},
	} {
		r.ID, r.Time, r.Stream = uuid.Must(uuid.NewV7()), noon.Add(-time.Minute+time.Duration(i)*time.Second), "three"
		batch.Requests = append(batch.Requests, r)
	}
	if err := s.Append(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	e := engine(t, s)
	three := analytics.Filter{Dimension: "stream", Values: []string{"three"}}
	for dimension, want := range map[string]map[string]float64{
		"refusal":     {"": 2, "token-expired": 2, "geo-denied": 1},
		"miss_reason": {"": 3, "purged": 1, "ranged": 1},
		"origin":      {"": 3, "origin-1": 1, "origin-2": 1},
		"tenant":      {"": 3, "acme": 2},
	} {
		result := ask(t, e, analytics.Query{Metrics: []string{"requests"}, Dimensions: []string{dimension}, Filters: []analytics.Filter{three}})
		got := map[string]float64{}
		for _, row := range result.Rows {
			got[row.Dimensions[dimension]] = *row.Metrics["requests"]
		}
		if !maps.Equal(got, want) {
			t.Errorf("requests by %s: %v, want %v", dimension, got, want)
		}
	}
	refused := analytics.Query{Metrics: []string{"requests"}, Filters: []analytics.Filter{{Dimension: "refusal", Values: []string{"token-expired", "geo-denied"}}}}
	if n := *ask(t, e, refused).Rows[0].Metrics["requests"]; n != 3 {
		t.Errorf("%v requests were refused, want 3", n)
	}
}

// Every dimension must be one that the store can group and filter by.
func TestEveryDimension(t *testing.T) {
	e := engine(t, store(t))
	for _, d := range e.Dimensions() {
		result := ask(t, e, analytics.Query{Metrics: []string{"requests"}, Dimensions: []string{d}})
		total := 0.0
		for _, row := range result.Rows {
			total += *row.Metrics["requests"]
			same := ask(t, e, analytics.Query{Metrics: []string{"requests"}, Filters: []analytics.Filter{{Dimension: d, Values: []string{row.Dimensions[d]}}}})
			if *same.Rows[0].Metrics["requests"] != *row.Metrics["requests"] {
				t.Errorf("%s=%q: %v requests by filter, %v by group", d, row.Dimensions[d], *same.Rows[0].Metrics["requests"], *row.Metrics["requests"])
			}
		}
		if total != 11 {
			t.Errorf("%s: %v requests in all groups, want 11", d, total)
		}
	}
}

// Who names no session is not one viewer with all others who do not.
func TestBitrateOfViewersWithoutSession(t *testing.T) {
	s := store(t)
	var more []telemetry.Request
	for i, record := range []string{`br=1000,d=2000,ot=v`, `br=1000,d=2000,ot=v`, `br=4000,d=2000,ot=v`} {
		v, err := cmcd.Parse(record)
		if err != nil {
			t.Fatal(err)
		}
		more = append(more, telemetry.Request{
			ID: uuid.Must(uuid.NewV7()), Time: noon.Add(time.Duration(i-10) * time.Second), Stream: "three", Method: "GET",
			Path: fmt.Sprintf("/live/three/v%d.m4s", i/2), Status: 200, CMCD: v, HasCMCD: true,
		})
	}
	if err := s.Append(t.Context(), telemetry.Batch{Requests: more}); err != nil {
		t.Fatal(err)
	}
	r := ask(t, engine(t, s), analytics.Query{
		Metrics: []string{"average_bitrate"}, Filters: []analytics.Filter{{Dimension: "stream", Values: []string{"three"}}},
	})
	if got := r.Rows[0].Metrics["average_bitrate"]; got == nil || *got != 2e6 {
		t.Errorf("average bitrate = %v, want 2000000: the first segment was sent to two viewers", got)
	}
}
