package mcp

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/weir-stream/weir/internal/analytics"
)

type bitrateIn struct {
	Session string    `json:"session,omitempty" jsonschema:"only this session: its ID or the beginning of it"`
	Stream  string    `json:"stream,omitempty" jsonschema:"only this stream"`
	From    time.Time `json:"from,omitzero" jsonschema:"start of the range, RFC 3339; default: one hour before its end, or the session's start"`
	To      time.Time `json:"to,omitzero" jsonschema:"end of the range, RFC 3339; default: now, or the session's end"`
	GroupBy []string  `json:"group_by,omitempty" jsonschema:"dimensions to break down by; default: session"`
	Grain   string    `json:"grain,omitempty" jsonschema:"one row for each interval of this length, such as 10s, 5m or 1h"`
	Limit   int       `json:"limit,omitempty" jsonschema:"at most so many rows; default 100"`
}

// MetricRow is one row of metrics. What has no value is not there.
type MetricRow struct {
	Time       time.Time          `json:"time,omitzero" jsonschema:"start of the interval"`
	Dimensions map[string]string  `json:"dimensions" jsonschema:"what the row speaks of; empty text is not known"`
	Metrics    map[string]float64 `json:"metrics" jsonschema:"a metric that is not here has no value: there was nothing to compute it from"`
	Sessions   int64              `json:"sessions" jsonschema:"size of the sample"`
	Records    int64              `json:"records" jsonschema:"size of the sample"`
}

type bitrateOut struct {
	Unit       string      `json:"unit"`
	Definition string      `json:"definition"`
	Overall    *float64    `json:"overall_average_bitrate,omitempty" jsonschema:"of all video in the range; absent if there was none"`
	Audio      *float64    `json:"overall_average_audio_bitrate,omitempty" jsonschema:"of all audio in the range; absent if there was none"`
	Rows       []MetricRow `json:"rows"`
	Truncated  bool        `json:"truncated"`
	Provenance Provenance  `json:"provenance"`
}

const (
	videoBitrate = "average_bitrate"
	audioBitrate = "average_audio_bitrate"
)

func (s *Server) averageBitrate(ctx context.Context, in bitrateIn) (bitrateOut, string, error) {
	q := analytics.Query{Metrics: []string{videoBitrate, audioBitrate}, From: in.From, To: in.To}
	if in.Session != "" {
		details, err := s.session(ctx, in.Session)
		if err != nil {
			return bitrateOut{}, "", err
		}
		q.Filters = append(q.Filters, analytics.Filter{Dimension: "session", Values: []string{details.Session.ID}})
		if q.From.IsZero() {
			q.From = details.Session.Start
		}
		if q.To.IsZero() {
			q.To = details.Session.End.Add(time.Second) // the end of a range is not part of it
		}
	}
	if in.Stream != "" {
		q.Filters = append(q.Filters, analytics.Filter{Dimension: "stream", Values: []string{in.Stream}})
	}
	overall, err := s.set.Querier.Query(ctx, q)
	if err != nil {
		return bitrateOut{}, "", err
	}
	// The rows are of the same range, also where "now" was meant.
	q.From, q.To = overall.Provenance.From, overall.Provenance.To
	q.Dimensions = in.GroupBy
	if len(q.Dimensions) == 0 && in.Grain == "" {
		q.Dimensions = []string{"session"}
	}
	if q.Grain, err = grain(in.Grain); err != nil {
		return bitrateOut{}, "", err
	}
	q.Limit = rowLimit(in.Limit)
	result, err := s.set.Querier.Query(ctx, q)
	if err != nil {
		return bitrateOut{}, "", err
	}
	out := bitrateOut{Unit: "bit/s", Rows: metricRows(result.Rows), Truncated: result.Truncated, Provenance: provenance(overall, result)}
	for _, m := range s.set.Querier.Catalogue() {
		if m.Name == videoBitrate {
			out.Definition = m.Definition
		}
	}
	if len(overall.Rows) > 0 {
		out.Overall, out.Audio = overall.Rows[0].Metrics[videoBitrate], overall.Rows[0].Metrics[audioBitrate]
	}
	var text sheet
	text.line("Average bitrate of the video: %s; of the audio: %s.", orNone(out.Overall, "bit/s"), orNone(out.Audio, "bit/s"))
	text.line("%s", out.Definition)
	text.metrics(q, out.Rows)
	text.cut(out.Truncated)
	text.origin(out.Provenance)
	return out, text.text(), nil
}

func orNone(v *float64, unit string) string {
	if v == nil {
		return "none"
	}
	return number(*v) + " " + unit
}

func rowLimit(n int) int {
	if n == 0 {
		return defaultRows
	}
	return n
}

func grain(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < time.Second {
		return 0, badInput("grain %q is not a duration of 1s or more, such as 10s, 5m or 1h", text)
	}
	return d, nil
}

// provenance is that of result with the sample of overall, which is not cut.
func provenance(overall, result analytics.Result) Provenance {
	p := Provenance{
		From: result.Provenance.From, To: result.Provenance.To, Statement: result.Provenance.Statement,
		Coverage: overall.Provenance.Coverage, Assumptions: []string{},
	}
	for _, a := range append(slices.Clone(overall.Provenance.Assumptions), result.Provenance.Assumptions...) {
		if !slices.Contains(p.Assumptions, a) {
			p.Assumptions = append(p.Assumptions, a)
		}
	}
	for _, r := range overall.Rows {
		p.Records += r.Records
		p.Sessions += r.Sessions
	}
	return p
}

func metricRows(rows []analytics.Row) []MetricRow {
	out := []MetricRow{}
	for _, r := range rows {
		row := MetricRow{Time: r.Time, Dimensions: r.Dimensions, Metrics: map[string]float64{}, Sessions: r.Sessions, Records: r.Records}
		if row.Dimensions == nil {
			row.Dimensions = map[string]string{}
		}
		for name, v := range r.Metrics {
			if v != nil {
				row.Metrics[name] = *v
			}
		}
		out = append(out, row)
	}
	return out
}

// metrics writes the rows of q.
func (s *sheet) metrics(q analytics.Query, list []MetricRow) {
	var header []string
	if q.Grain > 0 {
		header = append(header, "time")
	}
	header = append(header, q.Dimensions...)
	header = append(header, q.Metrics...)
	header = append(header, "sessions", "records")
	var rows [][]string
	for _, r := range list {
		var row []string
		if q.Grain > 0 {
			row = append(row, clock(r.Time))
		}
		for _, d := range q.Dimensions {
			row = append(row, r.Dimensions[d])
		}
		for _, m := range q.Metrics {
			if v, ok := r.Metrics[m]; ok {
				row = append(row, number(v))
			} else {
				row = append(row, "")
			}
		}
		rows = append(rows, append(row, strconv.FormatInt(r.Sessions, 10), strconv.FormatInt(r.Records, 10)))
	}
	s.table("Rows (nothing between commas: no value)", header, rows)
}

func (s *sheet) cut(truncated bool) {
	if truncated {
		s.line("\ntruncated: there are more rows; narrow the range, add a filter, lengthen the grain, group by less, or raise limit (at most %d).", maxRows)
	}
}

type listMetricsIn struct{}

type listMetricsOut struct {
	Metrics    []analytics.Metric `json:"metrics"`
	Dimensions []string           `json:"dimensions"`
}

func (s *Server) listMetrics(context.Context, listMetricsIn) (listMetricsOut, string, error) {
	out := s.catalogue()
	var text sheet
	var rows [][]string
	for _, m := range out.Metrics {
		better := ""
		if m.HigherIsBetter != nil {
			better = map[bool]string{true: "higher", false: "lower"}[*m.HigherIsBetter]
		}
		rows = append(rows, []string{m.Name, m.Unit, better, m.Definition})
	}
	text.table("Metrics", []string{"name", "unit", "better", "definition"}, rows)
	text.line("\nDimensions: %v", out.Dimensions)
	return out, text.text(), nil
}

func (s *Server) catalogue() listMetricsOut {
	return listMetricsOut{
		Metrics:    append([]analytics.Metric{}, s.set.Querier.Catalogue()...),
		Dimensions: append([]string{}, s.set.Querier.Dimensions()...),
	}
}

type filterIn struct {
	Dimension string   `json:"dimension" jsonschema:"a dimension of list_metrics"`
	Values    []string `json:"values" jsonschema:"keep records with one of these values; the empty text is not known"`
}

type queryIn struct {
	Metrics    []string   `json:"metrics" jsonschema:"names from list_metrics"`
	Dimensions []string   `json:"dimensions,omitempty" jsonschema:"dimensions to break down by"`
	Filters    []filterIn `json:"filters,omitempty" jsonschema:"all must hold"`
	From       time.Time  `json:"from,omitzero" jsonschema:"start of the range, RFC 3339; default: one hour before its end"`
	To         time.Time  `json:"to,omitzero" jsonschema:"end of the range, RFC 3339; default: now"`
	Grain      string     `json:"grain,omitempty" jsonschema:"one row for each interval of this length, such as 10s, 5m or 1h"`
	OrderBy    string     `json:"order_by,omitempty" jsonschema:"one of the metrics or dimensions; default: time, then dimensions"`
	Descending bool       `json:"descending,omitempty" jsonschema:"greatest first"`
	Limit      int        `json:"limit,omitempty" jsonschema:"at most so many rows; default 100"`
}

type queryOut struct {
	Rows       []MetricRow `json:"rows"`
	Truncated  bool        `json:"truncated"`
	Provenance Provenance  `json:"provenance"`
}

func (s *Server) queryMetrics(ctx context.Context, in queryIn) (queryOut, string, error) {
	q := analytics.Query{
		Metrics: in.Metrics, Dimensions: in.Dimensions, From: in.From, To: in.To,
		OrderBy: in.OrderBy, Descending: in.Descending, Limit: rowLimit(in.Limit),
	}
	for _, f := range in.Filters {
		q.Filters = append(q.Filters, analytics.Filter{Dimension: f.Dimension, Values: f.Values})
	}
	var err error
	if q.Grain, err = grain(in.Grain); err != nil {
		return queryOut{}, "", err
	}
	result, err := s.set.Querier.Query(ctx, q)
	if err != nil {
		return queryOut{}, "", err
	}
	out := queryOut{Rows: metricRows(result.Rows), Truncated: result.Truncated, Provenance: provenance(result, result)}
	if len(q.Dimensions) > 0 || q.Grain > 0 {
		out.Provenance.Assumptions = append(out.Provenance.Assumptions,
			"a session may be in several rows: the sessions of the provenance are the sum of the rows'")
	}
	var text sheet
	text.metrics(q, out.Rows)
	if len(out.Rows) == 0 {
		text.line("No record fits.")
	}
	text.cut(out.Truncated)
	text.origin(out.Provenance)
	return out, text.text(), nil
}
