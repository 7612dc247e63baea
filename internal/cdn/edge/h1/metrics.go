package h1

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	connections                        prometheus.Gauge
	accepted, panics                   prometheus.Counter
	hits, handled, handedOver, refused prometheus.Counter
	idle, slow, stalled                prometheus.Counter // connections ended because of time
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "weir_cdn_h1_requests_total",
		Help: "HTTP/1.1 requests by the way they took: hit, handled, handed_over to the general server, refused.",
	}, []string{"way"})
	timeouts := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "weir_cdn_h1_timeouts_total",
		Help: "HTTP/1.1 connections ended because of time: idle between requests, a head that did not come, an answer that was not taken.",
	}, []string{"step"})
	m := &metrics{
		connections: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "weir_cdn_h1_connections",
			Help: "HTTP/1.1 connections that are open in the edge's own loop.",
		}),
		accepted: counter("weir_cdn_h1_connections_total", "HTTP/1.1 connections given to the edge's own loop."),
		panics:   counter("weir_cdn_h1_panics_total", "HTTP/1.1 requests that ended with a panic."),
		hits:     requests.WithLabelValues("hit"), handled: requests.WithLabelValues("handled"),
		handedOver: requests.WithLabelValues("handed_over"), refused: requests.WithLabelValues("refused"),
		idle: timeouts.WithLabelValues("idle"), slow: timeouts.WithLabelValues("head"), stalled: timeouts.WithLabelValues("answer"),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.connections, m.accepted, m.panics, requests, timeouts} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}
