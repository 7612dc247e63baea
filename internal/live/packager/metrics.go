package packager

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	streams      prometheus.Gauge
	bytes        prometheus.Gauge
	segments     *prometheus.CounterVec
	segmentBytes *prometheus.CounterVec
	epochs       *prometheus.CounterVec
	unusedUnits  *prometheus.CounterVec
	refused      prometheus.Counter
	firstSegment prometheus.Histogram
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		streams: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "weir_live_packager_streams", Help: "Streams that are packaged, interrupted or lingering.",
		}),
		bytes: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "weir_live_packager_stored_bytes", Help: "Segments and headers that are kept in memory.",
		}),
		segments: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_live_packager_segments_total", Help: "Segments written.",
		}, []string{"kind"}),
		segmentBytes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_live_packager_segment_bytes_total", Help: "Bytes of the segments written.",
		}, []string{"kind"}),
		epochs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_live_packager_epochs_total", Help: "Epochs begun (discontinuities), by reason.",
		}, []string{"reason"}),
		unusedUnits: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_live_packager_unused_units_total", Help: "Units that are in no segment, by reason.",
		}, []string{"reason"}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "weir_live_packager_refused_publications_total", Help: "Publications that could not be packaged any further.",
		}),
		firstSegment: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "weir_live_packager_first_segment_seconds", Help: "From a publication's first unit to its first playable manifest.",
			Buckets: []float64{0.1, 0.25, 0.5, 1, 1.5, 2, 3, 4, 6, 10, 20},
		}),
	}
	if r == nil {
		return m, nil
	}
	var errs []error
	for _, c := range []prometheus.Collector{m.streams, m.bytes, m.segments, m.segmentBytes, m.epochs, m.unusedUnits, m.refused, m.firstSegment} {
		errs = append(errs, r.Register(c))
	}
	return m, errors.Join(errs...)
}
