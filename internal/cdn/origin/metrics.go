package origin

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	requests *prometheus.CounterVec
	bytes    prometheus.Counter
	duration prometheus.Histogram
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_cdn_origin_requests_total",
			Help: "Requests that the origin has answered, by status code.",
		}, []string{"status"}),
		bytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "weir_cdn_origin_response_bytes_total",
			Help: "Body bytes that the origin has sent to edges.",
		}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "weir_cdn_origin_response_duration_seconds",
			Help:    "Time from the request to the last byte of the answer.",
			Buckets: []float64{.001, .005, .01, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.requests, m.bytes, m.duration} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) observe(status int, bytes int64, d time.Duration) {
	if status == 0 {
		status = 200
	}
	m.requests.WithLabelValues(strconv.Itoa(status)).Inc()
	m.bytes.Add(float64(bytes))
	m.duration.Observe(d.Seconds())
}
