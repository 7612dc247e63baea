package query

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weir-stream/weir/internal/analytics"
)

// The bounds of what one query may hold.
const (
	maxMetrics      = 20
	maxDimensions   = 5
	maxFilters      = 10
	maxFilterValues = 500
)

// plan is a query that makes sense, as a statement.
type plan struct {
	metrics     []metric
	dimensions  []dimension
	from, to    time.Time
	grain       time.Duration
	limit       int
	statement   string
	args        []any
	assumptions []string
}

func (e *Engine) plan(q analytics.Query) (*plan, error) {
	p := &plan{grain: q.Grain}
	if err := e.choose(p, q); err != nil {
		return nil, err
	}
	if err := e.bound(p, q); err != nil {
		return nil, err
	}
	where, args, err := e.where(p, q.Filters)
	if err != nil {
		return nil, err
	}
	order, err := p.order(q)
	if err != nil {
		return nil, err
	}
	p.write(e.dialect, where, args, order)
	return p, nil
}

// choose takes the metrics and dimensions from the catalogue.
func (e *Engine) choose(p *plan, q analytics.Query) error {
	switch {
	case len(q.Metrics) == 0:
		return invalid("it names no metric; there are %s", strings.Join(e.names(), ", "))
	case len(q.Metrics) > maxMetrics:
		return invalid("it names %d metrics, at most %d are allowed", len(q.Metrics), maxMetrics)
	case len(q.Dimensions) > maxDimensions:
		return invalid("it names %d dimensions, at most %d are allowed", len(q.Dimensions), maxDimensions)
	}
	for i, name := range q.Metrics {
		m, err := e.metric(name)
		if err != nil {
			return err
		}
		if slices.Contains(q.Metrics[:i], name) {
			return invalid("it names the metric %q twice", name)
		}
		p.metrics = append(p.metrics, m)
	}
	for i, name := range q.Dimensions {
		d, err := e.dimension(name)
		if err != nil {
			return err
		}
		if slices.Contains(q.Dimensions[:i], name) {
			return invalid("it names the dimension %q twice", name)
		}
		p.dimensions = append(p.dimensions, d)
	}
	return nil
}

func (e *Engine) names() []string {
	names := make([]string, len(e.metrics))
	for i, m := range e.metrics {
		names[i] = m.Name
	}
	return names
}

// bound settles the range of time and the number of rows.
func (e *Engine) bound(p *plan, q analytics.Query) error {
	p.from, p.to = q.From.UTC(), q.To.UTC()
	if q.To.IsZero() {
		p.to = e.now().UTC()
		p.assume("no end given: up to now")
	}
	if q.From.IsZero() {
		p.from = p.to.Add(-e.config.DefaultRange)
		p.assume("no start given: the last %v before the end", e.config.DefaultRange)
	}
	// The store keeps microseconds.
	p.from, p.to = p.from.Truncate(time.Microsecond), p.to.Truncate(time.Microsecond)
	length := p.to.Sub(p.from)
	switch {
	case length <= 0:
		return invalid("it ends at %s, which is not after its start at %s", p.to.Format(time.RFC3339), p.from.Format(time.RFC3339))
	case p.grain < 0 || p.grain > 0 && p.grain < time.Second:
		return invalid("the grain is %v, 1s is the shortest", p.grain)
	case p.grain > 0 && length/p.grain > time.Duration(e.config.MaxRows):
		return invalid("%v in steps of %v are more than %d rows; a grain of %v or more would do", length, p.grain, e.config.MaxRows,
			(length/time.Duration(e.config.MaxRows)).Truncate(time.Second)+time.Second)
	case q.Limit < 0 || q.Limit > e.config.MaxRows:
		return invalid("the limit is %d, expected 1 to %d", q.Limit, e.config.MaxRows)
	}
	p.limit = q.Limit
	if p.limit == 0 {
		p.limit = e.config.DefaultRows
	}
	if p.grain > 0 {
		p.assume("intervals begin at full multiples of %v in UTC; those without a record have no row, and the first and last may be cut by the range", p.grain)
	}
	for _, m := range p.metrics {
		if m.perSecond {
			p.assume("%s is what the statement counts divided by the length of the row's interval in seconds", m.Name)
		}
	}
	return nil
}

func (p *plan) assume(format string, args ...any) {
	p.assumptions = append(p.assumptions, fmt.Sprintf(format, args...))
}

// where makes the condition of the range and the filters.
func (e *Engine) where(p *plan, filters []analytics.Filter) (string, []any, error) {
	if len(filters) > maxFilters {
		return "", nil, invalid("it has %d filters, at most %d are allowed", len(filters), maxFilters)
	}
	where, args := "time >= ? AND time < ?", []any{p.from, p.to}
	for _, f := range filters {
		d, err := e.dimension(f.Dimension)
		if err != nil {
			return "", nil, err
		}
		switch n := len(f.Values); {
		case n == 0:
			return "", nil, invalid("the filter of %q has no values", f.Dimension)
		case n > maxFilterValues:
			return "", nil, invalid("the filter of %q has %d values, at most %d are allowed", f.Dimension, n, maxFilterValues)
		}
		where += " AND " + d.expression + " IN (?" + strings.Repeat(", ?", len(f.Values)-1) + ")"
		for _, v := range f.Values {
			args = append(args, v)
		}
	}
	return where, args, nil
}

// order makes the order of the rows by the positions of columns. It is total but for rows that are
// equal in everything that they are told apart by.
func (p *plan) order(q analytics.Query) (string, error) {
	offset := 1 // of the first dimension
	if p.grain > 0 {
		offset = 2
	}
	direction := " ASC"
	if q.Descending {
		direction = " DESC"
	}
	var columns []string
	switch position := p.position(q.OrderBy, offset); {
	case q.OrderBy == "" && q.Descending && p.grain == 0:
		columns = append(columns, fmt.Sprint(offset+len(p.dimensions), " DESC NULLS LAST"))
	case q.OrderBy == "" && q.Descending, q.OrderBy == "time" && p.grain > 0:
		columns = append(columns, "1"+direction)
	case q.OrderBy == "":
	case position == 0:
		return "", invalid("it orders by %q, which is neither one of its metrics nor one of its dimensions", q.OrderBy)
	default:
		columns = append(columns, fmt.Sprint(position, direction, " NULLS LAST"))
	}
	for i := 1; i < offset+len(p.dimensions); i++ {
		if !slices.ContainsFunc(columns, func(c string) bool { return strings.HasPrefix(c, fmt.Sprint(i, " ")) }) {
			columns = append(columns, fmt.Sprint(i, " ASC"))
		}
	}
	return strings.Join(columns, ", "), nil
}

func (p *plan) position(name string, offset int) int {
	if i := slices.IndexFunc(p.dimensions, func(d dimension) bool { return d.name == name }); i >= 0 {
		return offset + i
	}
	if i := slices.IndexFunc(p.metrics, func(m metric) bool { return m.Name == name }); i >= 0 {
		return offset + len(p.dimensions) + i
	}
	return 0
}

// firstDelivery tells the first delivery of each object to each session from those that came
// again: bitrates count an object once. Where the player named no session nobody knows whether it
// came again.
const firstDelivery = "row_number() OVER (PARTITION BY coalesce(session_id, CAST(id AS VARCHAR)), path, query, \"range\", (" + anyDelivered + ") ORDER BY time, id) = 1 AS first_delivery"

// write puts the statement together. Its parameters stand in the order: grain, range and filters,
// limit.
func (p *plan) write(d Dialect, where string, args []any, order string) {
	var columns, groups []string
	if p.grain > 0 {
		bucket, argument := d.Bucket("time", p.grain)
		columns = append(columns, bucket+" AS time")
		if argument != nil {
			p.args = append(p.args, argument)
		}
		groups = append(groups, "1")
	}
	for _, dim := range p.dimensions {
		columns = append(columns, dim.expression+" AS dimension_"+dim.name)
		groups = append(groups, fmt.Sprint(len(columns)))
	}
	firstOnly := false
	for _, m := range p.metrics {
		columns = append(columns, "CAST("+m.expression+" AS DOUBLE) AS "+m.Name)
		firstOnly = firstOnly || m.firstOnly
	}
	columns = append(columns, "count(*) AS sample_records", "count(DISTINCT session_id) AS sample_sessions",
		"count(CASE WHEN has_cmcd THEN 1 END) AS sample_covered")
	from := "requests WHERE " + where
	if firstOnly {
		from = "(SELECT *, " + firstDelivery + " FROM requests WHERE " + where + ") AS deliveries"
	}
	p.statement = "SELECT " + strings.Join(columns, ", ") + " FROM " + from
	if len(groups) > 0 {
		p.statement += " GROUP BY " + strings.Join(groups, ", ")
	}
	if order != "" {
		p.statement += " ORDER BY " + order
	}
	p.statement += " LIMIT ?"
	p.args = append(append(p.args, args...), p.limit+1)
}
