package access

import (
	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	allowed     prometheus.Counter
	refused     *prometheus.CounterVec
	connections prometheus.Counter
}

func newMetrics(r prometheus.Registerer, c *Chain) (*metrics, error) {
	m := &metrics{
		allowed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "weir_cdn_access_allowed_total", Help: "Requests that were checked and allowed.",
		}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_cdn_access_refused_total", Help: "Requests that were refused, by reason.",
		}, []string{"reason"}),
		connections: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "weir_cdn_access_refused_connections_total", Help: "Connections refused because their client has as many as it may.",
		}),
	}
	if r == nil {
		return m, nil
	}
	count := func(name, help string, f func() uint64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 { return float64(f()) })
	}
	gauge := func(name, help string, f func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, f)
	}
	for _, collector := range []prometheus.Collector{
		m.allowed, m.refused, m.connections,
		count("weir_cdn_access_verdict_hits_total", "Tokens whose signature was known to be right, since the last reload.",
			func() uint64 { return c.state.Load().verdicts.hits.Load() }),
		count("weir_cdn_access_verdict_misses_total", "Tokens whose signature was looked at, since the last reload.",
			func() uint64 { return c.state.Load().verdicts.misses.Load() }),
		count("weir_cdn_access_verdict_evictions_total", "Good tokens that were given up for room, since the last reload.",
			func() uint64 { return c.state.Load().verdicts.pushed.Load() }),
		gauge("weir_cdn_access_verdict_bytes", "Memory for tokens whose signature is known to be right.",
			func() float64 { return float64(c.state.Load().verdicts.held()) }),
		count("weir_cdn_access_rate_evictions_total", "Busy clients whose rate was forgotten for want of room.",
			func() uint64 { return c.state.Load().rates.Forgotten() }),
		gauge("weir_cdn_access_challenged_networks", "Networks whose clients are asked for work.",
			func() float64 { return float64(len(c.networks.List(c.now()))) }),
		count("weir_cdn_access_challenge_overflows_total", "Networks that were not challenged for want of room.", c.networks.Missed),
		gauge("weir_cdn_access_counted_clients", "Clients whose open connections are counted.",
			func() float64 { return float64(c.connections.Clients()) }),
	} {
		if err := r.Register(collector); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) decided(d *Decision) {
	if d.Allow {
		m.allowed.Inc()
		return
	}
	m.refused.WithLabelValues(d.Reason).Inc()
}
