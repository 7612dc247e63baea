//go:build cgo && !noduckdb

package duckdb

import (
	"os"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	rows       *prometheus.CounterVec
	duplicates prometheus.Counter
	expired    prometheus.Counter
	reopened   prometheus.Counter
	queries    *prometheus.HistogramVec
}

func newMetrics(r prometheus.Registerer, file string) (*metrics, error) {
	m := &metrics{
		rows: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_telemetry_store_rows_total", Help: "Rows that were written.",
		}, []string{"table"}),
		duplicates: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "weir_telemetry_store_duplicate_records_total", Help: "Records that were appended again and left out.",
		}),
		expired: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "weir_telemetry_store_expired_rows_total", Help: "Rows that were deleted because of their age.",
		}),
		reopened: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "weir_telemetry_store_reopenings_total", Help: "Times that the database was opened again after an error.",
		}),
		queries: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "weir_telemetry_store_query_seconds", Help: "Time from a query to its first row.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 8),
		}, []string{"result"}),
	}
	if r == nil {
		return m, nil
	}
	collectors := []prometheus.Collector{m.rows, m.duplicates, m.expired, m.reopened, m.queries}
	for part, name := range map[string]string{"data": file, "log": file + ".wal"} {
		collectors = append(collectors, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "weir_telemetry_store_file_bytes", Help: "Size of the database file and of its write-ahead log.",
			ConstLabels: prometheus.Labels{"part": part},
		}, func() float64 {
			info, err := os.Stat(name)
			if err != nil {
				return 0
			}
			return float64(info.Size())
		}))
	}
	for _, c := range collectors {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}
