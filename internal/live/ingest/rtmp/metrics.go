package rtmp

import "github.com/prometheus/client_golang/prometheus"

// reason says why a connection has ended, as the value of a label.
type reason string

const (
	reasonDone        reason = "done"        // the peer closed it
	reasonNotRTMP     reason = "not_rtmp"    // its first bytes are not RTMP
	reasonProtocol    reason = "protocol"    // a breach of RTMP, or of the format within
	reasonTooLarge    reason = "too_large"   // a message above the limit
	reasonTimeout     reason = "timeout"     // it said nothing, or too slowly
	reasonRefused     reason = "refused"     // it asked for what it cannot have; a status said so
	reasonTaken       reason = "taken"       // the stream has another publisher
	reasonDenied      reason = "denied"      // it may not publish the stream
	reasonUnsupported reason = "unsupported" // it sent another codec than H.264 and AAC
	reasonKicked      reason = "kicked"      // the stream was ended from here
	reasonStopped     reason = "stopped"     // the server stops
	reasonFull        reason = "full"        // too many connections or streams
	reasonInternal    reason = "internal"    // a mistake in this program
)

type metrics struct {
	open     prometheus.Gauge
	closed   *prometheus.CounterVec
	received prometheus.Counter
	repaired *prometheus.CounterVec
	skipped  *prometheus.CounterVec
}

func newMetrics(registerer prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		open: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "weir_live_rtmp_connections", Help: "RTMP connections that are open.",
		}),
		closed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_live_rtmp_closed_connections_total", Help: "RTMP connections that were closed, by reason.",
		}, []string{"reason"}),
		received: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "weir_live_rtmp_received_bytes_total", Help: "Audio and video bytes received over RTMP.",
		}),
		repaired: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_live_rtmp_repaired_timestamps_total",
			Help: "Timestamps that went backwards and were changed: a step of one unit, or a restart of the publisher's clock.",
		}, []string{"repair"}),
		skipped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_live_rtmp_skipped_messages_total",
			Help: "Audio and video messages that made no unit: malformed, without a picture, or before the configuration of their track.",
		}, []string{"reason"}),
	}
	if registerer == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.open, m.closed, m.received, m.repaired, m.skipped} {
		if err := registerer.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}
