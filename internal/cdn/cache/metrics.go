package cache

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	evictions prometheus.Counter
	full      prometheus.Counter
}

func newMetrics(r prometheus.Registerer, c *Cache) (*metrics, error) {
	m := &metrics{
		evictions: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "weir_cdn_cache_evictions_total",
			Help: "Objects given up to make room.",
		}),
		full: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "weir_cdn_cache_full_total",
			Help: "Objects not kept because all room was taken by objects in use.",
		}),
	}
	if r == nil {
		return m, nil
	}
	for _, collector := range []prometheus.Collector{
		m.evictions, m.full,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "weir_cdn_cache_used_bytes",
			Help: "Memory charged for objects, growing ones and those still read included.",
		}, func() float64 { return float64(c.Used()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "weir_cdn_cache_capacity_bytes",
			Help: "Memory that the cache may use for objects.",
		}, func() float64 { return float64(c.cfg.CapacityBytes) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "weir_cdn_cache_objects",
			Help: "Objects in the index.",
		}, func() float64 { return float64(c.Len()) }),
	} {
		if err := r.Register(collector); err != nil {
			return nil, err
		}
	}
	return m, nil
}
