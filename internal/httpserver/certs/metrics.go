package certs

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	reloads *prometheus.CounterVec
	orders  *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer, s *Store) (*metrics, error) {
	m := &metrics{
		reloads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_http_certificate_reloads_total",
			Help: "Times that the files with certificates were read, by result: done or failed.",
		}, []string{"result"}),
		orders: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_http_certificate_orders_total",
			Help: "Certificates ordered by ACME, by result: obtained or failed.",
		}, []string{"result"}),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{
		m.reloads, m.orders,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "weir_http_certificate_not_after_seconds",
			Help: "When the first certificate expires, as a Unix time; 0 if there is none.",
		}, func() float64 {
			if t := s.notAfter(); !t.IsZero() {
				return float64(t.Unix())
			}
			return 0
		}),
	} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}
