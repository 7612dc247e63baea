package app

import (
	"github.com/weir-stream/weir/internal/lifecycle"
	"github.com/weir-stream/weir/internal/telemetry/bus"
	"github.com/weir-stream/weir/internal/telemetry/collector"
	"github.com/weir-stream/weir/internal/telemetry/store/duckdb"
)

// telemetryRole receives records and lets them rest.
type telemetryRole struct {
	store     *duckdb.Store
	bus       *bus.Bus
	collector *collector.Handler
}

func newTelemetry(n *node) (*telemetryRole, error) {
	c := n.config.Telemetry
	store, err := duckdb.New(duckdb.Settings{
		Config: c.Store, Dir: n.config.Data, Log: n.log.With("part", "store"), Registerer: n.registry,
	})
	if err != nil {
		return nil, err
	}
	n.ended = append(n.ended, store.Close)
	b, err := bus.New(bus.Settings{Config: c.Bus, Log: n.log.With("part", "bus"), Registerer: n.registry})
	if err != nil {
		return nil, err
	}
	b.Subscribe("store", store)
	reports, err := collector.New(collector.Settings{
		Config: c.Collector, Edge: n.config.Node.ID, Accept: b.Accept, Load: b.Load,
		Log: n.log.With("part", "collector"), Registerer: n.registry,
	})
	if err != nil {
		return nil, err
	}
	return &telemetryRole{store: store, bus: b, collector: reports}, nil
}

// dropped returns how many good records found no room, be it before the bus or behind it.
func (r *telemetryRole) dropped() int64 { return r.bus.Dropped() + r.collector.Lost() }

func (r *telemetryRole) addStore(g *lifecycle.Group) { g.Add(lifecycle.Closer("store", r.store.Close)) }
func (r *telemetryRole) addBus(g *lifecycle.Group)   { g.Add(lifecycle.Service("bus", r.bus.Run)) }
