package httpserver

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	open       prometheus.Gauge
	quic       prometheus.Gauge
	accepted   prometheus.Counter
	handshakes prometheus.Counter
	refused    *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		open: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "weir_http_connections",
			Help: "TCP connections that are open.",
		}),
		quic: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "weir_http_quic_connections",
			Help: "QUIC connections that are open.",
		}),
		accepted: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "weir_http_connections_total",
			Help: "TCP connections accepted.",
		}),
		handshakes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "weir_http_failed_handshakes_total",
			Help: "TLS handshakes that failed or took too long.",
		}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_http_refused_total",
			Help: "Connections closed for what came over them: malformed requests by what is wrong, and proxy-protocol.",
		}, []string{"reason"}),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.open, m.quic, m.accepted, m.handshakes, m.refused} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) refuse(why string) { m.refused.WithLabelValues(why).Inc() }
