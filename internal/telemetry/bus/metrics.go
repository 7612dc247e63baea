package bus

import "github.com/prometheus/client_golang/prometheus"

// The reasons why a record was dropped or refused.
const (
	full      = "full"      // there was no room in the sink's queue
	stopped   = "stopped"   // it came after the bus had stopped
	permanent = "permanent" // the sink will never take it
	expired   = "expired"   // the sink did not take it within retry_age
	unflushed = "unflushed" // it was still queued when flush_timeout had passed
)

type metrics struct {
	records *prometheus.CounterVec
	refused *prometheus.CounterVec
	dropped *prometheus.CounterVec
	retries *prometheus.CounterVec
	append  *prometheus.HistogramVec
	queued  *prometheus.GaugeVec
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		records: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_telemetry_bus_records_total", Help: "Records that were handed to the bus.",
		}, []string{"kind"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_telemetry_bus_refused_records_total", Help: "Reports that the bus did not accept, and of which it told so.",
		}, []string{"reason"}),
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_telemetry_bus_dropped_records_total", Help: "Records that a sink did not get.",
		}, []string{"sink", "reason"}),
		retries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_telemetry_bus_retries_total", Help: "Batches that were appended to a sink again.",
		}, []string{"sink"}),
		append: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "weir_telemetry_bus_append_seconds", Help: "Time that a sink took for a batch.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 8),
		}, []string{"sink"}),
		queued: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "weir_telemetry_bus_queued_records", Help: "Records that wait for a sink.",
		}, []string{"sink"}),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.records, m.refused, m.dropped, m.retries, m.append, m.queued} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}
