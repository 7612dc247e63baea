package feed

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	clients  prometheus.Gauge
	refused  prometheus.Counter
	skipped  prometheus.Counter
	messages prometheus.Counter
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		clients: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "weir_console_feed_clients", Help: "Clients connected to the feed.",
		}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "weir_console_feed_refused_clients_total", Help: "Clients refused because max_clients were connected.",
		}),
		skipped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "weir_console_feed_skipped_snapshots_total", Help: "Snapshots that a slow client has missed.",
		}),
		messages: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "weir_console_feed_messages_total", Help: "Messages sent to clients.",
		}),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.clients, m.refused, m.skipped, m.messages} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}
