package policy

import "github.com/prometheus/client_golang/prometheus"

// Stats is what a policy has done and what it holds.
type Stats struct {
	// Bytes and objects by area.
	LiveBytes, ProbationBytes, MainBytes       int64
	LiveObjects, ProbationObjects, MainObjects int
	// Objects given up by area.
	EvictedLive, EvictedProbation, EvictedMain uint64
	// Promoted from probation to main; Returned to main after they had been given up on probation;
	// Reinserted instead of given up.
	Promoted, Returned, Reinserted uint64
	// Pinned were passed over because they were in use.
	Pinned uint64
	// Not taken in: larger than its area; too many objects in use.
	TooLarge, NoRoom uint64
}

// Stats returns what the policy has done so far and what it holds now.
func (p *Policy) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.stats
	s.LiveBytes, s.ProbationBytes, s.MainBytes = p.live.used, p.probation.used, p.main.used
	s.LiveObjects, s.ProbationObjects, s.MainObjects = p.live.n, p.probation.n, p.main.n
	return s
}

// Register makes the policy's metrics known to r. Who has several policies wraps r with a label.
func (p *Policy) Register(r prometheus.Registerer) error {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("weir_cdn_policy_"+name, help, labels, nil)
	}
	return r.Register(&collector{
		policy:     p,
		bytes:      desc("bytes", "Bytes of the objects held.", "area"),
		objects:    desc("objects", "Objects held.", "area"),
		evictions:  desc("evictions_total", "Objects given up to make room.", "area"),
		promotions: desc("promotions_total", "Objects that came to the main area, by why: wanted while on probation, or back after it.", "reason"),
		reinserted: desc("reinsertions_total", "Objects of the main area that were spared."),
		pinned:     desc("pinned_total", "Objects passed over because they were in use."),
		refusals:   desc("refusals_total", "Objects not taken in, by why.", "reason"),
	})
}

// collector reads all metrics at one moment.
type collector struct {
	policy *Policy

	bytes, objects, evictions, promotions, reinserted, pinned, refusals *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.bytes, c.objects, c.evictions, c.promotions, c.reinserted, c.pinned, c.refusals} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	s := c.policy.Stats()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	gauge(c.bytes, float64(s.LiveBytes), "live")
	gauge(c.bytes, float64(s.ProbationBytes), "probation")
	gauge(c.bytes, float64(s.MainBytes), "main")
	gauge(c.objects, float64(s.LiveObjects), "live")
	gauge(c.objects, float64(s.ProbationObjects), "probation")
	gauge(c.objects, float64(s.MainObjects), "main")
	counter(c.evictions, s.EvictedLive, "live")
	counter(c.evictions, s.EvictedProbation, "probation")
	counter(c.evictions, s.EvictedMain, "main")
	counter(c.promotions, s.Promoted, "wanted")
	counter(c.promotions, s.Returned, "returned")
	counter(c.reinserted, s.Reinserted)
	counter(c.pinned, s.Pinned)
	counter(c.refusals, s.TooLarge, "size")
	counter(c.refusals, s.NoRoom, "pinned")
}
