package purge

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-stream/weir/internal/cdn"
)

type metrics struct {
	requests   *prometheus.CounterVec
	confirmed  prometheus.Histogram
	applied    *prometheus.CounterVec
	failures   prometheus.Counter
	everything prometheus.Counter
	restarts   prometheus.Counter
	unread     prometheus.Counter
}

// Results of requests, as they are counted.
const (
	confirmedByAll = "confirmed"
	notByAll       = "missing"
	notStored      = "not_stored"
	notApplied     = "not_applied"
	invalid        = "invalid"
)

func newMetrics(r prometheus.Registerer, s *Service) (*metrics, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_cdn_purge_requests_total",
			Help: "Purges asked of this node, by what became of them: confirmed, missing (some have not confirmed), not_stored, not_applied, invalid.",
		}, []string{"result"}),
		confirmed: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "weir_cdn_purge_confirm_seconds",
			Help:    "Time until all nodes had confirmed a purge that was asked of this one.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .15, .25, .5, 1, 2, 5},
		}),
		applied: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_cdn_purge_applied_total",
			Help: "Purges applied here, by scope and mode (hard or soft).",
		}, []string{"scope", "mode"}),
		failures:   counter("weir_cdn_purge_apply_failures_total", "Attempts to apply a purge that have failed; each is tried again."),
		everything: counter("weir_cdn_purge_everything_total", "Times that everything was purged because this node could not know what it had missed."),
		restarts:   counter("weir_cdn_purge_log_restarts_total", "Times that the reading of the log began anew, the first included."),
		unread:     counter("weir_cdn_purge_unreadable_total", "Messages that could not be understood; each unreadable purge purges everything."),
	}
	if r == nil {
		return m, nil
	}
	gauge := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value)
	}
	for _, c := range []prometheus.Collector{
		m.requests, m.confirmed, m.applied, m.failures, m.everything, m.restarts, m.unread,
		gauge("weir_cdn_purge_sequence", "Sequence number up to which this node has applied the log.", func() float64 { return float64(s.Sequence()) }),
		gauge("weir_cdn_purge_nodes", "Nodes whose confirmation a purge takes.", func() float64 { return float64(len(s.Nodes())) }),
		gauge("weir_cdn_purge_current", "1 as long as this node reads the log and is not behind, else 0.", func() float64 {
			if s.Current() {
				return 1
			}
			return 0
		}),
	} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) purged(p cdn.Purge) {
	mode := "hard"
	if p.Soft {
		mode = "soft"
	}
	m.applied.WithLabelValues(string(p.Scope), mode).Inc()
}
