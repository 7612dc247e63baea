package query

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/weir-stream/weir/internal/analytics"
)

// Store runs one SELECT with ? for every parameter.
type Store interface {
	Select(ctx context.Context, statement string, args ...any) (*sql.Rows, error)
}

// Settings are what an [Engine] is made of.
type Settings struct {
	Config Config
	Store  Store
	// Dialect is the store's way of writing SQL; DuckDB's if nil.
	Dialect Dialect
	Now     func() time.Time
}

// Engine answers queries from a store.
type Engine struct {
	config     Config
	store      Store
	dialect    Dialect
	now        func() time.Time
	metrics    []metric
	dimensions []dimension
}

// New returns an engine over a store.
func New(set Settings) (*Engine, error) {
	if set.Store == nil {
		return nil, errors.New("analytics: queries need a store")
	}
	if err := set.Config.Validate(); err != nil {
		return nil, fmt.Errorf("analytics: %w", err)
	}
	if set.Dialect == nil {
		set.Dialect = DuckDB{}
	}
	if set.Now == nil {
		set.Now = time.Now
	}
	return &Engine{
		config: set.Config, store: set.Store, dialect: set.Dialect, now: set.Now,
		metrics: catalogue(set.Dialect), dimensions: dimensions(),
	}, nil
}

// Query answers q. The error wraps [analytics.ErrUnknownMetric], [analytics.ErrUnknownDimension]
// or [analytics.ErrInvalidQuery] if q makes no sense, and says what would.
func (e *Engine) Query(ctx context.Context, q analytics.Query) (analytics.Result, error) {
	p, err := e.plan(q)
	if err != nil {
		return analytics.Result{}, err
	}
	rows, err := e.store.Select(ctx, p.statement, p.args...)
	if err != nil {
		return analytics.Result{}, fmt.Errorf("query %v: %w", q.Metrics, err)
	}
	defer rows.Close()
	result, err := p.read(rows)
	if err != nil {
		return analytics.Result{}, fmt.Errorf("query %v: %w", q.Metrics, err)
	}
	return result, nil
}

// read makes the result of the statement's rows: time if there is a grain, the dimensions, the
// metrics, and the three sizes of the sample.
func (p *plan) read(rows *sql.Rows) (analytics.Result, error) {
	result := analytics.Result{Rows: []analytics.Row{}, Provenance: analytics.Provenance{
		From: p.from, To: p.to, Statement: p.statement, Assumptions: p.assumptions,
	}}
	dims := make([]string, len(p.dimensions))
	values := make([]sql.NullFloat64, len(p.metrics))
	var at time.Time
	var records, sessions, covered int64
	var targets []any
	if p.grain > 0 {
		targets = append(targets, &at)
	}
	for i := range dims {
		targets = append(targets, &dims[i])
	}
	for i := range values {
		targets = append(targets, &values[i])
	}
	targets = append(targets, &records, &sessions, &covered)

	var all, withCMCD int64
	for rows.Next() {
		if err := rows.Scan(targets...); err != nil {
			return analytics.Result{}, err
		}
		if len(result.Rows) == p.limit {
			result.Truncated = true
			continue
		}
		row := analytics.Row{Metrics: make(map[string]*float64, len(values)), Sessions: sessions, Records: records}
		length := p.to.Sub(p.from)
		if p.grain > 0 {
			row.Time = at.UTC()
			length = p.overlap(row.Time)
		}
		if len(dims) > 0 {
			row.Dimensions = make(map[string]string, len(dims))
			for i, d := range p.dimensions {
				row.Dimensions[d.name] = dims[i]
			}
		}
		for i, m := range p.metrics {
			row.Metrics[m.Name] = finish(m, values[i], length)
		}
		all, withCMCD = all+records, withCMCD+covered
		result.Rows = append(result.Rows, row)
	}
	if err := rows.Err(); err != nil {
		return analytics.Result{}, err
	}
	if all > 0 {
		result.Provenance.Coverage = float64(withCMCD) / float64(all)
	} else {
		result.Provenance.Assumptions = append(result.Provenance.Assumptions, "no request matched: metrics without a value are null, and CMCD coverage is 0 of nothing")
	}
	if result.Truncated {
		result.Provenance.Assumptions = append(result.Provenance.Assumptions,
			fmt.Sprintf("only the first %d rows are returned: narrow the range, add a filter, lengthen the grain or group by less", p.limit))
	}
	return result, nil
}

// finish turns what the store computed into the metric's value: nil where there is none.
func finish(m metric, v sql.NullFloat64, length time.Duration) *float64 {
	if !v.Valid {
		return nil
	}
	if m.perSecond {
		v.Float64 /= length.Seconds()
	}
	return &v.Float64
}

// overlap is how much of the interval that begins at t lies in the range of the query: the first
// and the last may be cut.
func (p *plan) overlap(t time.Time) time.Duration {
	begin, end := t, t.Add(p.grain)
	if begin.Before(p.from) {
		begin = p.from
	}
	if end.After(p.to) {
		end = p.to
	}
	return max(end.Sub(begin), time.Microsecond)
}
