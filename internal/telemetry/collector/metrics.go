package collector

import "github.com/prometheus/client_golang/prometheus"

// The reasons why a record was dropped.
const (
	noKeys         = "no_keys"         // it has no usable key
	unknownVersion = "unknown_version" // it is of a version above 2
	tooLong        = "too_long"        // it is longer than max_record_bytes
	tooMany        = "too_many"        // there were max_records before it in the body
	notJSON        = "not_json"        // it looked like JSON, and is none
)

type metrics struct {
	requests *prometheus.CounterVec
	records  prometheus.Counter
	dropped  *prometheus.CounterVec
	warnings *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_telemetry_collector_requests_total", Help: "Requests to the collector, by the status of the answer.",
		}, []string{"status"}),
		records: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "weir_telemetry_collector_records_total", Help: "Records that were taken.",
		}),
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_telemetry_collector_dropped_records_total", Help: "Records that were dropped.",
		}, []string{"reason"}),
		warnings: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_telemetry_collector_warnings_total", Help: "Faults that were tolerated in records that were taken.",
		}, []string{"fault"}),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.requests, m.records, m.dropped, m.warnings} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}
