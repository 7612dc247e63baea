package edge

import (
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-stream/weir/internal/cdn"
	"github.com/weir-stream/weir/internal/telemetry"
)

type metrics struct {
	requests   *prometheus.CounterVec
	bytes      *prometheus.CounterVec
	ttfb       *prometheus.HistogramVec
	aborted    prometheus.Counter
	preflights prometheus.Counter
	fetches    *prometheus.CounterVec
	fetchTTFB  prometheus.Histogram
	filling    prometheus.Gauge
	broken     prometheus.Counter
	refused    prometheus.Counter

	answers     [len(statusWords)][len(kindWords)][6]atomic.Pointer[answer]
	droppedTags prometheus.Counter
	prefetches  *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer, h *Handler) (*metrics, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_cdn_edge_requests_total",
			Help: "Requests of viewers that have been answered, by cache status, kind of object and class of status code.",
		}, []string{"cache", "kind", "status"}),
		bytes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_cdn_edge_response_bytes_total",
			Help: "Body bytes written to viewers, by cache status.",
		}, []string{"cache"}),
		ttfb: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "weir_cdn_edge_response_ttfb_seconds",
			Help:    "Time from the request to the first byte of the answer, by cache status.",
			Buckets: []float64{.0005, .001, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"cache"}),
		aborted:    counter("weir_cdn_edge_aborted_total", "Requests whose viewer went away before the last byte."),
		preflights: counter("weir_cdn_edge_preflights_total", "CORS preflights and other OPTIONS requests answered."),
		fetches: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_cdn_edge_fetches_total",
			Help: "Requests to the origin, by status code; 0 is no answer.",
		}, []string{"status"}),
		fetchTTFB: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "weir_cdn_edge_fetch_ttfb_seconds",
			Help:    "Time from a request to the origin to the head of its answer.",
			Buckets: []float64{.001, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}),
		filling: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "weir_cdn_edge_filling_objects",
			Help: "Objects whose bytes are arriving from the origin.",
		}),
		broken:  counter("weir_cdn_edge_broken_fills_total", "Objects that the origin has not sent to their end."),
		refused: counter("weir_cdn_edge_refused_fetches_total", "Fetches refused because as many ran and waited as may."),

		prefetches: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_cdn_edge_prefetches_total",
			Help: "What players announced, by what came of it: started, held (already there), busy (no place), refused (not beside what was asked for).",
		}, []string{"result"}),
		droppedTags: counter("weir_cdn_edge_dropped_tags_total", "Tags of answers that are too many or too long; a purge by them misses the object."),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{
		m.requests, m.bytes, m.ttfb, m.aborted, m.preflights, m.fetches, m.fetchTTFB, m.filling, m.broken, m.refused, m.droppedTags, m.prefetches,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "weir_cdn_edge_queued_fetches",
			Help: "Fetches that wait for another to end.",
		}, func() float64 { return float64(h.fetches.queued.Load() + h.passes.queued.Load()) }),
	} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// answer are the metrics of one kind of answer. They are looked up once, as that takes as long as the rest of a hit.
type answer struct {
	requests prometheus.Counter
	bytes    prometheus.Counter
	ttfb     prometheus.Observer
}

// The words that tell kinds of answers apart; the last stands for all others.
var (
	statusWords = [...]cdn.CacheStatus{cdn.Hit, cdn.Miss, cdn.Collapsed, cdn.Stale, cdn.Bypass}
	kindWords   = [...]cdn.ObjectKind{cdn.Segment, cdn.Manifest, cdn.Init, cdn.Other}
)

// indexOf returns the place of a word among the known ones.
func indexOf[T ~string](words []T, word string) int {
	for i, w := range words {
		if string(w) == word {
			return i
		}
	}
	return len(words) - 1
}

func (m *metrics) answered(row *telemetry.Request) {
	place := &m.answers[indexOf(statusWords[:], row.CacheStatus)][indexOf(kindWords[:], row.Kind)][min(max(row.Status/100, 0), 5)]
	a := place.Load()
	if a == nil {
		a = &answer{
			requests: m.requests.WithLabelValues(row.CacheStatus, row.Kind, class(row.Status)),
			bytes:    m.bytes.WithLabelValues(row.CacheStatus),
			ttfb:     m.ttfb.WithLabelValues(row.CacheStatus),
		}
		place.Store(a)
	}
	a.requests.Inc()
	a.bytes.Add(float64(row.Bytes))
	if row.Status != 0 {
		a.ttfb.Observe(row.TTFB.Seconds())
	}
	if row.Aborted {
		m.aborted.Inc()
	}
}

func (m *metrics) fetched(status int, ttfb time.Duration) {
	m.fetches.WithLabelValues(strconv.Itoa(status)).Inc()
	if status != 0 {
		m.fetchTTFB.Observe(ttfb.Seconds())
	}
}

// class returns the class of a status code, such as "2xx"; "none" if there was no answer.
func class(status int) string {
	switch status / 100 {
	case 1:
		return "1xx"
	case 2:
		return "2xx"
	case 3:
		return "3xx"
	case 4:
		return "4xx"
	case 5:
		return "5xx"
	default:
		return "none"
	}
}
