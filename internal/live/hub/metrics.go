package hub

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	streams, readers prometheus.Gauge
	units, bytes     prometheus.Counter
	slow, noKeyframe prometheus.Counter
}

func newMetrics(registerer prometheus.Registerer) (*metrics, error) {
	dropped := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "weir_live_dropped_units_total",
		Help: "Units that were not delivered: a reader was too slow (counted per reader), or no keyframe had come (counted per stream).",
	}, []string{"reason"})
	m := &metrics{
		streams: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "weir_live_streams", Help: "Streams that have a publisher.",
		}),
		readers: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "weir_live_readers", Help: "Readers of running streams.",
		}),
		units: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "weir_live_published_units_total", Help: "Units that publishers have written.",
		}),
		bytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "weir_live_published_bytes_total", Help: "Payload bytes that publishers have written.",
		}),
		slow:       dropped.WithLabelValues("slow_reader"),
		noKeyframe: dropped.WithLabelValues("no_keyframe"),
	}
	if registerer == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.streams, m.readers, m.units, m.bytes, dropped} {
		if err := registerer.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}
