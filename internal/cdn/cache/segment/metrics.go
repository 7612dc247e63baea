package segment

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	appended    prometheus.Counter
	bytes       prometheus.Counter
	refused     *prometheus.CounterVec
	errors      *prometheus.CounterVec
	quarantined *prometheus.CounterVec
	recovered   prometheus.Counter
}

func newMetrics() *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	vector := func(label, name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label})
	}
	return &metrics{
		appended:    counter("weir_cdn_segment_appended_records_total", "Records written to disk."),
		bytes:       counter("weir_cdn_segment_appended_bytes_total", "Bytes taken on disk by records written."),
		refused:     vector("reason", "weir_cdn_segment_refused_records_total", "Records refused without an attempt to write them, by reason: capacity or back-off."),
		errors:      vector("operation", "weir_cdn_segment_errors_total", "Operations that the disk failed, by operation: create, write, sync, punch, read, map or unlink."),
		quarantined: vector("reason", "weir_cdn_segment_quarantined_total", "Records, torn pieces and files found corrupt and never given out, by what was wrong: head, body, read, sync, mapping, or torn bytes."),
		recovered:   counter("weir_cdn_segment_recovered_records_total", "Records found when the store was opened."),
	}
}

// register makes the metrics known, and those that are read from s.
func (m *metrics) register(r prometheus.Registerer, s *Store) error {
	gauge := func(name, help string, value func() int64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 {
			s.mu.Lock()
			defer s.mu.Unlock()
			return float64(value())
		})
	}
	for _, c := range []prometheus.Collector{
		m.appended, m.bytes, m.refused, m.errors, m.quarantined, m.recovered,
		gauge("weir_cdn_segment_used_bytes", "Disk taken by records.", func() int64 { return s.used }),
		gauge("weir_cdn_segment_capacity_bytes", "Disk that records may take; less than configured while the disk is fuller than that.", func() int64 { return s.limit }),
		gauge("weir_cdn_segment_reclaiming_bytes", "Disk of dropped records that is still to be given back.", func() int64 { return s.reclaiming }),
		gauge("weir_cdn_segment_files", "Segment files.", func() int64 { return int64(len(s.segments)) }),
	} {
		if err := r.Register(c); err != nil {
			return err
		}
	}
	return nil
}
