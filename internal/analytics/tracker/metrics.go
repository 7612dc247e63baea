package tracker

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	evicted    prometheus.Counter
	sessions   prometheus.Gauge
	duplicates prometheus.Counter
	late       prometheus.Counter
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		evicted: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "weir_analytics_evicted_sessions_total",
			Help: "Sessions forgotten because more than max_sessions were active.",
		}),
		sessions: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "weir_analytics_active_sessions",
			Help: "Sessions with a record within the viewer timeout.",
		}),
		duplicates: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "weir_analytics_duplicate_records_total",
			Help: "Records that came again within the live window and were ignored.",
		}),
		late: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "weir_analytics_late_records_total",
			Help: "Records that were too old for the live window when they came.",
		}),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.evicted, m.sessions, m.duplicates, m.late} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}
