package cache

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	evictions prometheus.Counter
	full      prometheus.Counter
	purged    prometheus.Counter
	purges    *prometheus.CounterVec
	written   prometheus.Counter
	unwritten *prometheus.CounterVec
	corrupt   prometheus.Counter
	copied    prometheus.Counter
}

func newMetrics(r prometheus.Registerer, c *Cache) (*metrics, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	m := &metrics{
		evictions: counter("weir_cdn_cache_evictions_total", "Objects given up to make room."),
		full:      counter("weir_cdn_cache_full_total", "Objects not kept because all room was taken by objects in use."),
		purged:    counter("weir_cdn_cache_purged_total", "Objects that were found to have been purged."),
		purges: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_cdn_cache_purges_total",
			Help: "Purges carried out, by scope.",
		}, []string{"scope"}),
		written: counter("weir_cdn_cache_written_total", "Objects written to disk."),
		unwritten: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_cdn_cache_unwritten_total",
			Help: "Objects that were to be written to disk and were not: too many waited, no room, or an error of the disk.",
		}, []string{"reason"}),
		corrupt: counter("weir_cdn_cache_corrupt_total", "Objects on disk whose bytes were no longer what had been written."),
		copied:  counter("weir_cdn_cache_copied_total", "Objects on disk that got a copy in memory, because they are asked for often."),
	}
	if r == nil {
		return m, nil
	}
	gauge := func(name, help string, f func() int64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return float64(f()) })
	}
	for _, collector := range []prometheus.Collector{
		m.evictions, m.full, m.purged, m.purges, m.written, m.unwritten, m.corrupt, m.copied,
		gauge("weir_cdn_cache_used_bytes", "Memory charged for objects, growing ones and those still read included.", c.Used),
		gauge("weir_cdn_cache_capacity_bytes", "Memory that the cache may use for objects.", func() int64 { return c.cfg.CapacityBytes }),
		gauge("weir_cdn_cache_copies_bytes", "Memory that copies of objects on disk take; a part of what is used.", c.copies.bytes),
		gauge("weir_cdn_cache_disk_used_bytes", "Room on disk that objects take.", c.DiskUsed),
		gauge("weir_cdn_cache_disk_capacity_bytes", "Room on disk that objects may take.", func() int64 { return c.cfg.DiskBytes }),
		gauge("weir_cdn_cache_objects", "Objects in the index.", func() int64 { return int64(c.Len()) }),
	} {
		if err := r.Register(collector); err != nil {
			return nil, err
		}
	}
	return m, nil
}
