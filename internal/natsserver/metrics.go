package natsserver

import (
	"github.com/nats-io/nats-server/v2/server"
	"github.com/prometheus/client_golang/prometheus"
)

// register registers the metrics of a server that runs here. They are read when they are asked for.
func (b *Server) register(r prometheus.Registerer) error {
	if r == nil || b.server == nil {
		return nil
	}
	for _, m := range []struct {
		name, help string
		value      func() float64
	}{
		{"weir_bus_server_connections", "Connections of clients, those of this process included.", func() float64 { return float64(b.server.NumClients()) }},
		{"weir_bus_server_routes", "Connections with other servers of the cluster; there are several with each.", func() float64 { return float64(b.server.NumRoutes()) }},
		{"weir_bus_server_store_bytes", "Bytes of kept messages on this server's disk.", func() float64 { return float64(b.store().Store) }},
	} {
		if err := r.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: m.name, Help: m.help}, m.value)); err != nil {
			return err
		}
	}
	return r.Register(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "weir_bus_server_slow_consumers_total",
		Help: "Connections closed because they did not take their messages in time.",
	}, func() float64 { return float64(b.server.NumSlowConsumers()) }))
}

func (b *Server) store() server.JSInfo {
	info, err := b.server.Jsz(&server.JSzOptions{})
	if err != nil {
		return server.JSInfo{}
	}
	return *info
}
