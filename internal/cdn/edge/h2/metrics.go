package h2

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	connections              prometheus.Gauge
	accepted, panics         prometheus.Counter
	hits, handled, refused   prometheus.Counter
	resets, errors, excesses prometheus.Counter
	idle, silent, stalled    prometheus.Counter // ended because of time
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "weir_cdn_h2_requests_total",
		Help: "HTTP/2 requests by the way they took: hit, handled, refused.",
	}, []string{"way"})
	ended := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "weir_cdn_h2_ended_total",
		Help: "What ended early: streams by the client's reset; connections by an error or by excess of the client; by time, idle connections, silent clients, and answers that were not taken.",
	}, []string{"reason"})
	m := &metrics{
		connections: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "weir_cdn_h2_connections",
			Help: "HTTP/2 connections that are open in the edge's own loop.",
		}),
		accepted: counter("weir_cdn_h2_connections_total", "HTTP/2 connections given to the edge's own loop."),
		panics:   counter("weir_cdn_h2_panics_total", "HTTP/2 requests that ended with a panic."),
		hits:     requests.WithLabelValues("hit"), handled: requests.WithLabelValues("handled"), refused: requests.WithLabelValues("refused"),
		resets: ended.WithLabelValues("reset"), errors: ended.WithLabelValues("error"), excesses: ended.WithLabelValues("excess"),
		idle: ended.WithLabelValues("idle"), silent: ended.WithLabelValues("silent"), stalled: ended.WithLabelValues("stalled"),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.connections, m.accepted, m.panics, requests, ended} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}
