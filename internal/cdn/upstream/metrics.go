package upstream

import (
	"strconv"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-stream/weir/internal/cdn/upstream/health"
)

// metrics reads the counters of the origins when it is asked, so that origins come and go with the
// configuration and nothing is looked up on a request's way.
type metrics struct {
	pool        *Pool
	loops       atomic.Uint64
	exhausted   atomic.Uint64
	unavailable atomic.Uint64

	up, running                                    *prometheus.Desc
	requests, retries, responses, failures, checks *prometheus.Desc
	loopsTotal, budgetExhausted, unavailableTotal  *prometheus.Desc
}

func newMetrics(p *Pool) *metrics {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("weir_cdn_upstream_"+name, help, labels, nil)
	}
	return &metrics{
		pool:             p,
		up:               desc("healthy_origins", "1 for an origin that is asked, 0 for one that is down or out.", "origin", "tier"),
		running:          desc("running_requests", "Requests that run or wait for a connection.", "origin"),
		requests:         desc("requests_total", "Requests sent, retries included.", "origin"),
		retries:          desc("retries_total", "Requests sent here after an attempt had failed.", "origin"),
		responses:        desc("responses_total", "Answers by class of status code.", "origin", "status"),
		failures:         desc("failures_total", "Failures by class; caller is no fault of the origin.", "origin", "class"),
		checks:           desc("checks_total", "Active checks by result.", "origin", "result"),
		loopsTotal:       desc("loops_total", "Requests refused because they had been through this node."),
		budgetExhausted:  desc("budget_exhausted_total", "Retries not made because the budget was used up."),
		unavailableTotal: desc("unavailable_total", "Requests refused because no origin could be asked."),
	}
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		m.up, m.running, m.requests, m.retries, m.responses, m.failures, m.checks, m.loopsTotal, m.budgetExhausted, m.unavailableTotal,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	count := func(d *prometheus.Desc, n uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	count(m.loopsTotal, m.loops.Load())
	count(m.budgetExhausted, m.exhausted.Load())
	count(m.unavailableTotal, m.unavailable.Load())
	for _, e := range m.pool.table.Load().all {
		if e.self {
			continue
		}
		healthy := 0.0
		if e.Standing() == health.Up {
			healthy = 1
		}
		gauge(m.up, healthy, e.name, e.tier.String())
		gauge(m.running, float64(e.running.Load()), e.name)
		count(m.requests, e.requests.Load(), e.name)
		count(m.retries, e.retries.Load(), e.name)
		for class := 1; class < len(e.answers); class++ {
			count(m.responses, e.answers[class].Load(), e.name, strconv.Itoa(class)+"xx")
		}
		for class := range failureClasses {
			count(m.failures, e.classes[class].Load(), e.name, class.String())
		}
		if e.healthPath != "" {
			count(m.checks, e.checks[1].Load(), e.name, "good")
			count(m.checks, e.checks[0].Load(), e.name, "bad")
		}
	}
}
