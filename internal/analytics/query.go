package analytics

import (
	"errors"
	"time"
)

// Query asks for named metrics over a range of time.
type Query struct {
	// Metrics are names from the catalogue; at least one.
	Metrics []string `json:"metrics"`
	// Dimensions break the answer down: "stream", "edge", "player", "cache_status", "status", …
	Dimensions []string `json:"dimensions,omitempty"`
	Filters    []Filter `json:"filters,omitempty"`
	// From (inclusive) and To (exclusive) bound the time of the records.
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
	// Grain, if not zero, makes a row for each interval of that length.
	Grain time.Duration `json:"grain,omitempty"`
	// OrderBy is a metric or dimension; Descending its direction. Limit bounds the rows.
	OrderBy    string `json:"order_by,omitempty"`
	Descending bool   `json:"descending,omitempty"`
	Limit      int    `json:"limit,omitempty"`
}

// Filter keeps the records whose dimension has one of the values.
type Filter struct {
	Dimension string   `json:"dimension"`
	Values    []string `json:"values"`
}

// Result answers a query.
type Result struct {
	Rows []Row `json:"rows"`
	// Truncated says that more rows fit than were asked for or are allowed.
	Truncated bool `json:"truncated"`
	// Provenance says where the numbers come from.
	Provenance Provenance `json:"provenance"`
}

// Row is one line of a result.
type Row struct {
	// Time is the start of the row's interval, zero without a grain.
	Time time.Time `json:"time,omitzero"`
	// Dimensions are the values that the row speaks of.
	Dimensions map[string]string `json:"dimensions,omitempty"`
	// Metrics are the numbers; a metric that has no value here (no record to compute it from) is
	// null.
	Metrics map[string]*float64 `json:"metrics"`
	// Sessions and Records are the sizes of the sample.
	Sessions int64 `json:"sessions"`
	Records  int64 `json:"records"`
}

// Provenance is the evidence behind a result.
type Provenance struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
	// Statement is what the store was asked.
	Statement string `json:"statement"`
	// Coverage is the share of the sampled requests that carried CMCD.
	Coverage float64 `json:"cmcd_coverage"`
	// Assumptions are the choices that the caller left open.
	Assumptions []string `json:"assumptions,omitempty"`
}

// Metric is an entry of the catalogue.
type Metric struct {
	Name       string `json:"name"`
	Unit       string `json:"unit"`
	Definition string `json:"definition"`
	// HigherIsBetter gives the polarity of "best" and "worst"; nil where there is none.
	HigherIsBetter *bool `json:"higher_is_better,omitempty"`
}

// Live is what is going on now: the last window of the records that have just passed.
type Live struct {
	Time time.Time `json:"time"`
	// Window is the length of time that the rates are taken over, in seconds.
	Window float64 `json:"window_seconds"`
	// Viewers is the number of sessions with a record within the viewer timeout; ByStream the
	// same for each stream.
	Viewers  int            `json:"viewers"`
	ByStream map[string]int `json:"viewers_by_stream"`
	// RequestsPerSecond and Egress (bit/s) are of all requests in the window.
	RequestsPerSecond float64 `json:"requests_per_second"`
	Egress            float64 `json:"egress"`
	// HitRatio is the share of the window's requests that have a cache status, ErrorRatio of those
	// that were answered; null if there were none.
	HitRatio   *float64 `json:"hit_ratio"`
	ErrorRatio *float64 `json:"error_ratio"`
	// AverageBitrate is that of the video requested in the window, weighted by duration, in
	// bit/s; null if no request named one.
	AverageBitrate *float64 `json:"average_bitrate"`
	// Rebuffering is the number of sessions that reported starvation in the window.
	Rebuffering int `json:"rebuffering"`
	// TTFB is the median and 95th percentile of time to first byte, in seconds; null if none.
	TTFBp50 *float64 `json:"ttfb_p50_seconds"`
	TTFBp95 *float64 `json:"ttfb_p95_seconds"`
	// Dropped is the number of records that the bus has dropped since start.
	Dropped int64 `json:"dropped_records"`
}

// The errors of asking.
var (
	// ErrUnknownMetric: a query names a metric that the catalogue does not have (invalid).
	ErrUnknownMetric = errors.New("no such metric")
	// ErrUnknownDimension: a query names a dimension that does not exist (invalid).
	ErrUnknownDimension = errors.New("no such dimension")
	// ErrInvalidQuery: a query contradicts itself (invalid).
	ErrInvalidQuery = errors.New("invalid query")
	// ErrNoSession: no record of such a session is stored (not found).
	ErrNoSession = errors.New("no such session")
	// ErrAmbiguous: the start of a session ID fits several sessions (invalid).
	ErrAmbiguous = errors.New("session ID prefix fits several sessions")
)
