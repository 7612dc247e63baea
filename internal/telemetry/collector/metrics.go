package collector

import "github.com/prometheus/client_golang/prometheus"

// outcome is what became of a record: one of the words below.
type outcome string

const (
	taken     outcome = "taken"
	duplicate outcome = "duplicate" // it was taken before
)

// The reasons why a record was dropped.
const (
	noKeys         outcome = "no_keys"         // it has no usable key
	unknownVersion outcome = "unknown_version" // it is of a version above 2
	tooLong        outcome = "too_long"        // it is longer than max_record_bytes
	tooManyKeys    outcome = "too_many_keys"   // it has more than max_keys
	tooMany        outcome = "too_many"        // there were max_records before it in the body
	bodyTooLong    outcome = "body_too_long"   // it is not whole within max_body_bytes
	notJSON        outcome = "not_json"        // it looked like JSON, and is none
	compressed     outcome = "compressed"      // the whole body was compressed, and not read
	invalidEvent   outcome = "invalid_event"   // it is an event that breaks a rule of the events API
	silenced       outcome = "silenced"        // its session is to send nothing
	sampled        outcome = "sampled"         // its session is not among those that sample keeps
	shed           outcome = "shed"            // its session is not among those kept under the present load
	busFull        outcome = "bus_full"        // the bus had no room
	busFailed      outcome = "bus_failed"      // the bus has stopped, or did not accept it in time
	internalError  outcome = "internal_error"  // to read it made the program panic
)

var dropReasons = []outcome{
	noKeys, unknownVersion, tooLong, tooManyKeys, tooMany, bodyTooLong, notJSON, compressed, invalidEvent,
	silenced, sampled, shed, busFull, busFailed, internalError,
}

type metrics struct {
	requests   *prometheus.CounterVec
	records    *prometheus.CounterVec
	duplicates prometheus.Counter
	dropped    map[outcome]prometheus.Counter
	warnings   *prometheus.CounterVec
	missing    prometheus.Counter
	late       prometheus.Counter
	silences   *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer, h *Handler) (*metrics, error) {
	dropped := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "weir_telemetry_collector_dropped_records_total", Help: "Records that were dropped.",
	}, []string{"reason"})
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_telemetry_collector_requests_total", Help: "Requests to the collector, by interface and status of the answer.",
		}, []string{"api", "status"}),
		records: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_telemetry_collector_records_total", Help: "Records that were taken.",
		}, []string{"api"}),
		duplicates: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "weir_telemetry_collector_duplicate_records_total", Help: "Records that were sent again, and left out.",
		}),
		dropped: make(map[outcome]prometheus.Counter, len(dropReasons)),
		warnings: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_telemetry_collector_warnings_total", Help: "Faults that were tolerated in records that were taken.",
		}, []string{"fault"}),
		missing: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "weir_telemetry_collector_missing_records_total", Help: "Gaps in the sequence numbers of sessions, in records.",
		}),
		late: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "weir_telemetry_collector_late_records_total", Help: "Records that came after they had been counted as missing.",
		}),
		silences: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_telemetry_collector_silences_total", Help: "Sessions that were silenced, by what caused it.",
		}, []string{"cause"}),
	}
	for _, reason := range dropReasons {
		m.dropped[reason] = dropped.WithLabelValues(string(reason))
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{
		m.requests, m.records, m.duplicates, dropped, m.warnings, m.missing, m.late, m.silences,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "weir_telemetry_collector_silenced_sessions", Help: "Sessions that are to send nothing.",
		}, func() float64 { return float64(h.state.silencedSessions(h.now())) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "weir_telemetry_collector_kept_ratio", Help: "Fraction of the sessions that is kept.",
		}, func() float64 { return h.config.Sample * h.state.kept(h.load(), h.now()) }),
	} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}
