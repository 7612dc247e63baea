package query

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/weir-stream/weir/internal/analytics"
)

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

type noStore struct{}

func (noStore) Select(context.Context, string, ...any) (*sql.Rows, error) {
	return nil, errors.New("the disk is gone")
}

func engine(t *testing.T, s Store) *Engine {
	t.Helper()
	e, err := New(Settings{Config: DefaultConfig(), Store: s, Now: func() time.Time { return noon }})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestQueriesThatMakeNoSense(t *testing.T) {
	hour := func(q analytics.Query) analytics.Query { q.From, q.To = noon.Add(-time.Hour), noon; return q }
	requests := []string{"requests"}
	cases := map[string]struct {
		query analytics.Query
		is    error
		says  []string
	}{
		"no metric":            {analytics.Query{}, analytics.ErrInvalidQuery, []string{"average_bitrate"}},
		"unknown metric":       {analytics.Query{Metrics: []string{"avrage_bitrate"}}, analytics.ErrUnknownMetric, []string{`did you mean "average_bitrate"`, "hit_ratio"}},
		"part of a name":       {analytics.Query{Metrics: []string{"coverage"}}, analytics.ErrUnknownMetric, []string{`did you mean "cmcd_coverage"`}},
		"like nothing":         {analytics.Query{Metrics: []string{"qqqqqqqqqqqqq"}}, analytics.ErrUnknownMetric, []string{"there are requests"}},
		"SQL for a metric":     {analytics.Query{Metrics: []string{"count(*)) FROM requests; --"}}, analytics.ErrUnknownMetric, nil},
		"metric twice":         {analytics.Query{Metrics: []string{"requests", "requests"}}, analytics.ErrInvalidQuery, []string{"twice"}},
		"unknown dimension":    {analytics.Query{Metrics: requests, Dimensions: []string{"browser"}}, analytics.ErrUnknownDimension, []string{"stream", "user_agent"}},
		"dimension twice":      {analytics.Query{Metrics: requests, Dimensions: []string{"edge", "edge"}}, analytics.ErrInvalidQuery, []string{"twice"}},
		"unknown filter":       {analytics.Query{Metrics: requests, Filters: []analytics.Filter{{Dimension: "steam", Values: []string{"x"}}}}, analytics.ErrUnknownDimension, []string{`did you mean "stream"`}},
		"filter for nothing":   {analytics.Query{Metrics: requests, Filters: []analytics.Filter{{Dimension: "stream"}}}, analytics.ErrInvalidQuery, []string{"no values"}},
		"range backwards":      {analytics.Query{Metrics: requests, From: noon, To: noon.Add(-time.Hour)}, analytics.ErrInvalidQuery, []string{"not after its start"}},
		"grain too short":      {hour(analytics.Query{Metrics: requests, Grain: time.Millisecond}), analytics.ErrInvalidQuery, []string{"1s is the shortest"}},
		"too many intervals":   {analytics.Query{Metrics: requests, From: noon.AddDate(0, 0, -10), To: noon, Grain: time.Second}, analytics.ErrInvalidQuery, []string{"a grain of 1m27s or more"}},
		"limit too great":      {analytics.Query{Metrics: requests, Limit: 10_001}, analytics.ErrInvalidQuery, []string{"1 to 10000"}},
		"order by what is not": {analytics.Query{Metrics: requests, OrderBy: "edge"}, analytics.ErrInvalidQuery, []string{`"edge"`}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := engine(t, noStore{}).Query(t.Context(), c.query)
			if !errors.Is(err, c.is) {
				t.Fatalf("error = %v, want one that is %v", err, c.is)
			}
			for _, s := range c.says {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("error %q does not say %q", err, s)
				}
			}
		})
	}
}

func TestErrorOfTheStoreIsTold(t *testing.T) {
	_, err := engine(t, noStore{}).Query(t.Context(), analytics.Query{Metrics: []string{"requests"}})
	if err == nil || !strings.Contains(err.Error(), "the disk is gone") {
		t.Errorf("error = %v", err)
	}
}

// Whatever a user writes is a parameter: the statement holds none of it.
func TestValuesAreParameters(t *testing.T) {
	evil := "x') OR 1=1; DROP TABLE requests; --"
	p, err := engine(t, noStore{}).plan(analytics.Query{
		Metrics: []string{"requests"}, Dimensions: []string{"stream"}, Grain: time.Minute,
		Filters: []analytics.Filter{{Dimension: "stream", Values: []string{evil, "b"}}, {Dimension: "client", Values: []string{evil}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(p.statement, "DROP") {
		t.Errorf("statement holds a value: %s", p.statement)
	}
	if got := strings.Count(p.statement, "?"); got != len(p.args) {
		t.Errorf("%d placeholders for %d parameters in %s", got, len(p.args), p.statement)
	}
	want := []any{int64(60_000_000), noon.Add(-time.Hour), noon, evil, "b", evil, 1001}
	for i := range want {
		if p.args[i] != want[i] {
			t.Errorf("parameter %d = %v, want %v", i, p.args[i], want[i])
		}
	}
}

func TestAssumptionsAreTold(t *testing.T) {
	p, err := engine(t, noStore{}).plan(analytics.Query{Metrics: []string{"requests_per_second"}})
	if err != nil {
		t.Fatal(err)
	}
	told := strings.Join(p.assumptions, "\n")
	for _, want := range []string{"up to now", "the last 1h0m0s", "divided by the length"} {
		if !strings.Contains(told, want) {
			t.Errorf("assumptions do not tell %q: %s", want, told)
		}
	}
	if !p.to.Equal(noon) || !p.from.Equal(noon.Add(-time.Hour)) {
		t.Errorf("range = %v to %v", p.from, p.to)
	}
}

func TestOrder(t *testing.T) {
	base := analytics.Query{Metrics: []string{"requests", "bytes"}, Dimensions: []string{"stream", "edge"}}
	cases := map[string]struct {
		change func(*analytics.Query)
		want   string
	}{
		"by dimensions unless told":      {func(*analytics.Query) {}, "1 ASC, 2 ASC"},
		"largest first":                  {func(q *analytics.Query) { q.Descending = true }, "3 DESC NULLS LAST, 1 ASC, 2 ASC"},
		"by a metric":                    {func(q *analytics.Query) { q.OrderBy = "bytes" }, "4 ASC NULLS LAST, 1 ASC, 2 ASC"},
		"by a dimension":                 {func(q *analytics.Query) { q.OrderBy, q.Descending = "edge", true }, "2 DESC NULLS LAST, 1 ASC"},
		"intervals, by time unless told": {func(q *analytics.Query) { q.Grain = time.Minute }, "1 ASC, 2 ASC, 3 ASC"},
		"intervals, newest first":        {func(q *analytics.Query) { q.Grain, q.Descending = time.Minute, true }, "1 DESC, 2 ASC, 3 ASC"},
		"intervals, by a metric":         {func(q *analytics.Query) { q.Grain, q.OrderBy = time.Minute, "requests" }, "4 ASC NULLS LAST, 1 ASC, 2 ASC, 3 ASC"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			q := base
			c.change(&q)
			p, err := engine(t, noStore{}).plan(q)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(p.statement, " ORDER BY "+c.want+" LIMIT ?") {
				t.Errorf("order of %s, want %s", p.statement, c.want)
			}
		})
	}
}

func TestCatalogueIsWhole(t *testing.T) {
	for _, m := range engine(t, noStore{}).Catalogue() {
		if m.Unit == "" || !strings.HasSuffix(m.Definition, ".") {
			t.Errorf("metric %q: unit %q, definition %q", m.Name, m.Unit, m.Definition)
		}
	}
}

func TestConfigIsChecked(t *testing.T) {
	for key, change := range map[string]func(*Config){
		"default_range": func(c *Config) { c.DefaultRange = 0 },
		"default_rows":  func(c *Config) { c.DefaultRows = c.MaxRows + 1 },
		"max_rows":      func(c *Config) { c.MaxRows = 0 },
	} {
		c := DefaultConfig()
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("bad %s: error %v", key, err)
		}
	}
}
