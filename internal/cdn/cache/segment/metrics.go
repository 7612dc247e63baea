package segment

import "github.com/prometheus/client_golang/prometheus"

// Why bytes were quarantined.
const (
	tornBytes    = "torn"     // bytes that belong to no record whose head is whole
	badHead      = "head"     // the head of a file or of a record
	badBody      = "body"     // a block of a body
	unreadable   = "read"     // could not be read
	unsynced     = "sync"     // its segment could not be written to the disk
	faultingPage = "mapping"  // its mapping could not be read
	byCaller     = "reported" // the caller found it wrong
)

// What a disk failed at.
const (
	creating  = "create"
	writing   = "write"
	syncing   = "sync"
	punching  = "punch"
	reading   = "read"
	mapping   = "map"
	unlinking = "unlink"
)

// Why an Append was refused without an attempt.
const (
	overCapacity = "capacity"
	backingOff   = "back-off"
)

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
		refused:     vector("reason", "weir_cdn_segment_refused_records_total", "Records refused without an attempt to write them, by reason."),
		errors:      vector("operation", "weir_cdn_segment_errors_total", "Operations that the disk failed, by operation."),
		quarantined: vector("reason", "weir_cdn_segment_quarantined_total", "Records, torn pieces and files found corrupt and never given out, by reason."),
		recovered:   counter("weir_cdn_segment_recovered_records_total", "Records found when the store was opened."),
	}
}

// register makes the metrics known, and those that are read from s.
func (m *metrics) register(r prometheus.Registerer, s *Store) error {
	gauge := func(name, help string, value func() int64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return float64(value()) })
	}
	for _, c := range []prometheus.Collector{
		m.appended, m.bytes, m.refused, m.errors, m.quarantined, m.recovered,
		gauge("weir_cdn_segment_used_bytes", "Disk taken by records.", s.Used),
		gauge("weir_cdn_segment_capacity_bytes", "Disk that records may take; less than configured while the disk is fuller than that.", func() int64 {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.limit
		}),
		gauge("weir_cdn_segment_reclaiming_bytes", "Disk of dropped records that is still to be given back.", func() int64 {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.reclaiming
		}),
		gauge("weir_cdn_segment_files", "Segment files.", func() int64 {
			s.mu.Lock()
			defer s.mu.Unlock()
			return int64(len(s.segments))
		}),
	} {
		if err := r.Register(c); err != nil {
			return err
		}
	}
	return nil
}
