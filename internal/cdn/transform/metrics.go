package transform

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	bodies  *prometheus.CounterVec
	in, out *prometheus.CounterVec
	useless *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	labels := []string{"way", "encoding"}
	m := &metrics{
		bodies: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_cdn_transform_bodies_total",
			Help: "Bodies encoded or decoded, streams that were aborted included.",
		}, labels),
		in: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_cdn_transform_input_bytes_total",
			Help: "Bytes before encoding or decoding.",
		}, labels),
		out: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_cdn_transform_output_bytes_total",
			Help: "Bytes after encoding or decoding.",
		}, labels),
		useless: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_cdn_transform_useless_total",
			Help: "Bodies that encoding would not have made smaller.",
		}, []string{"encoding"}),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.bodies, m.in, m.out, m.useless} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) encoded(e Encoding, in, out int64) { m.count("encode", e, in, out) }
func (m *metrics) decoded(e Encoding, in, out int64) { m.count("decode", e, in, out) }

func (m *metrics) count(way string, e Encoding, in, out int64) {
	m.bodies.WithLabelValues(way, string(e)).Inc()
	m.in.WithLabelValues(way, string(e)).Add(float64(in))
	m.out.WithLabelValues(way, string(e)).Add(float64(out))
}
