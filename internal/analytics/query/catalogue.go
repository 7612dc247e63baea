package query

import (
	"slices"

	"github.com/weir-stream/weir/internal/analytics"
)

// metric is an entry of the catalogue with the way to compute it.
type metric struct {
	analytics.Metric
	expression string // over the columns of requests, for the store's dialect
	perSecond  bool   // the value of the expression is to be divided by the interval's length
	firstOnly  bool   // the expression needs the column first_delivery
}

// The conditions that several metrics share.
const (
	// videoDelivered: a video object went to the viewer whole, to be rendered. It is the condition
	// of package session; nr is looked for in the record itself, as no column has it.
	videoDelivered = "object_type IN ('v', 'av') AND " + mediaDelivered
	audioDelivered = "object_type = 'a' AND " + mediaDelivered
	mediaDelivered = "object_duration > 0 AND (status BETWEEN 200 AND 299 OR status = 304) AND NOT aborted" +
		" AND NOT (',' || cmcd || ',' LIKE '%,nr,%')"
	looked = "cache_status IS NOT NULL AND cache_status <> ''"
)

// catalogue is every metric there is. dialect makes the parts that stores write differently.
func catalogue(d Dialect) []metric {
	up, down := new(bool), new(bool)
	*up = true
	m := func(name, unit string, better *bool, expression, definition string) metric {
		return metric{Metric: analytics.Metric{Name: name, Unit: unit, Definition: definition, HigherIsBetter: better}, expression: expression}
	}
	perSecond := func(m metric) metric { m.perSecond = true; return m }
	first := func(m metric) metric { m.firstOnly = true; return m }
	return []metric{
		m("requests", "1", nil, "count(*)", "Number of requests answered by the edges."),
		perSecond(m("requests_per_second", "1/s", nil, "count(*)",
			"Requests divided by the length of the interval.")),
		m("bytes", "B", nil, "sum(bytes)", "Body bytes sent to viewers."),
		perSecond(m("egress", "bit/s", nil, "sum(bytes) * 8",
			"Body bits sent to viewers, divided by the length of the interval.")),
		m("sessions", "1", nil, "count(DISTINCT session_id)",
			"Number of different sessions (CMCD sid) with any request. Viewers without CMCD are not counted."),
		m("viewers", "1", nil, "count(DISTINCT CASE WHEN "+anyDelivered+" THEN session_id END)",
			"Number of different sessions (CMCD sid) that were sent audio or video. Viewers without CMCD are not counted."),
		m("hit_ratio", "ratio", up, share("cache_status IN ('hit', 'stale', 'collapsed')", looked),
			"Share of requests answered without asking the origin (hit, stale or collapsed), of those that have a cache status."),
		m("error_ratio", "ratio", down, share("status >= 400", "status > 0"),
			"Share of requests answered with a status of 400 and above, of those that were answered."),
		m("aborted_ratio", "ratio", down, share("aborted", "aborted IS NOT NULL"),
			"Share of requests whose viewer went away before the last byte; players do so when they switch or seek."),
		m("ttfb_p50", "s", down, d.Quantile("ttfb", "0.5"),
			"Median time from the request's head to the first byte of the answer, at the edge."),
		m("ttfb_p95", "s", down, d.Quantile("ttfb", "0.95"),
			"95th percentile of the time from the request's head to the first byte of the answer, at the edge."),
		m("origin_ttfb_p95", "s", down, d.Quantile("origin_ttfb", "0.95"),
			"95th percentile of the time from asking the origin to its first byte, of requests that asked it."),
		first(m("average_bitrate", "bit/s", up, weighted("bitrate", "first_delivery AND "+videoDelivered),
			"Encoded bitrate of the video weighted by its duration: Σ(br·d)/Σd over video objects (CMCD ot v or av) that were sent whole, to be rendered, each once a session. Audio is never averaged in.")),
		first(m("average_audio_bitrate", "bit/s", up, weighted("bitrate", "first_delivery AND "+audioDelivered),
			"As average_bitrate, of audio objects (CMCD ot a). Some HLS players name the bitrate of the whole variant here.")),
		m("average_throughput", "bit/s", up, "avg(CASE WHEN object_type IN ('v', 'av') THEN throughput END)",
			"Mean of the throughput that players measured (CMCD mtp), over requests for video. Some players send a guess of 500 kbit/s before they have measured."),
		m("buffer_length_p50", "s", up, d.Quantile("CASE WHEN object_type IN ('v', 'av') THEN buffer_length END", "0.5"),
			"Median of the buffer length that players told (CMCD bl), over requests for video."),
		m("buffer_starved_ratio", "ratio", down, share("buffer_starved", "has_cmcd"),
			"Share of requests with CMCD that carry bs. It is NOT a rebuffer ratio: players set bs after seeks too, and it knows no durations. Rebuffers are told of each session."),
		m("live_latency_p50", "s", down, d.Quantile("live_latency", "0.5"),
			"Median of the live latency that players told (CMCD ltc, version 2)."),
		m("cmcd_coverage", "ratio", up, share("has_cmcd", "has_cmcd IS NOT NULL"),
			"Share of requests that carried CMCD: how much of the traffic the metrics of playing are made of."),
	}
}

const anyDelivered = "object_type IN ('v', 'av', 'a') AND " + mediaDelivered

// share is the mean of condition over the records of which whole is true; NULL of none.
func share(condition, whole string) string {
	return "avg(CASE WHEN " + whole + " THEN CASE WHEN " + condition + " THEN 1.0 ELSE 0.0 END END)"
}

// weighted is the mean of column weighted by the objects' durations, over the records of which
// condition is true; NULL of none.
func weighted(column, condition string) string {
	known := condition + " AND " + column + " > 0"
	return "sum(CASE WHEN " + known + " THEN " + column + " * object_duration END) / sum(CASE WHEN " + known + " THEN object_duration END)"
}

// dimension is what metrics can be broken down by; its expression is text, empty where not known.
type dimension struct{ name, expression string }

func text(column string) string { return "coalesce(CAST(" + column + " AS VARCHAR), '')" }

func dimensions() []dimension {
	return []dimension{
		{"stream", text("stream")},
		{"edge", text("edge")},
		{"session", text("session_id")},
		{"content", text("content_id")},
		{"kind", text("kind")},
		{"object_type", text("object_type")},
		{"cache_status", text("cache_status")},
		{"miss_reason", text("miss_reason")},
		{"status", text("status")},
		{"status_class", "CASE WHEN status > 0 THEN CAST(status // 100 AS VARCHAR) || 'xx' ELSE '' END"},
		{"origin", text("origin")},
		{"origin_status", text("origin_status")},
		{"refusal", text("refusal")},
		{"tenant", text("tenant")},
		{"proto", text("proto")},
		{"method", text("method")},
		{"host", text("host")},
		{"format", "CASE streaming_format WHEN 'h' THEN 'hls' WHEN 'd' THEN 'dash' WHEN 's' THEN 'smooth' WHEN 'e' THEN 'hesp' WHEN 'o' THEN 'other' ELSE " + text("streaming_format") + " END"},
		{"stream_type", "CASE stream_type WHEN 'l' THEN 'live' WHEN 'll' THEN 'live' WHEN 'v' THEN 'vod' ELSE " + text("stream_type") + " END"},
		{"cmcd_version", text("cmcd_version")},
		{"client", text("client")},
		{"user_agent", text("user_agent")},
	}
}

// Catalogue returns every metric there is, in the order in which they are documented.
func (e *Engine) Catalogue() []analytics.Metric {
	out := make([]analytics.Metric, len(e.metrics))
	for i, m := range e.metrics {
		out[i] = m.Metric
	}
	return out
}

// Dimensions returns the names of what metrics can be broken down and filtered by.
func (e *Engine) Dimensions() []string {
	out := make([]string, len(e.dimensions))
	for i, d := range e.dimensions {
		out[i] = d.name
	}
	return out
}

func (e *Engine) metric(name string) (metric, error) {
	i := slices.IndexFunc(e.metrics, func(m metric) bool { return m.Name == name })
	if i < 0 {
		names := make([]string, len(e.metrics))
		for i, m := range e.metrics {
			names[i] = m.Name
		}
		return metric{}, unknown(analytics.ErrUnknownMetric, name, names)
	}
	return e.metrics[i], nil
}

func (e *Engine) dimension(name string) (dimension, error) {
	i := slices.IndexFunc(e.dimensions, func(d dimension) bool { return d.name == name })
	if i < 0 {
		return dimension{}, unknown(analytics.ErrUnknownDimension, name, e.Dimensions())
	}
	return e.dimensions[i], nil
}
