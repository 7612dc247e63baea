package natsserver

import (
	"context"
	"net"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// routesInterval is how often it is looked whether there are new routes.
const routesInterval = time.Second

// watchRoutes tunes routes soon after they were made. What others connect to has inherited the options
// of the listening socket; what this server has dialled has not, and the server lets nobody else dial.
func (b *Server) watchRoutes(ctx context.Context) {
	tick := time.NewTicker(routesInterval)
	defer tick.Stop()
	known := make(map[uint64]bool)
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		routes, err := b.server.Routez(&server.RoutezOptions{})
		if err != nil {
			continue
		}
		ports, seen, fresh := b.ports(), make(map[uint64]bool, len(routes.Routes)), false
		for _, r := range routes.Routes {
			seen[r.Rid] = true
			if !known[r.Rid] {
				fresh = true
				ports[uint16(r.Port)] = true // of a route that this server has learnt of from another
			}
		}
		if fresh {
			tune(ports, b.config.RetransmitMin)
		}
		known = seen
	}
}

// dialer connects to the servers of others.
type dialer struct{ retransmitMin time.Duration }

// Dial has the form that the client wants.
func (d dialer) Dial(network, address string) (net.Conn, error) {
	nd := net.Dialer{Timeout: dialTimeout, KeepAlive: -1, Control: func(_, _ string, c syscall.RawConn) error {
		if d.retransmitMin == 0 {
			return nil
		}
		return c.Control(func(fd uintptr) { impatient(int(fd), d.retransmitMin) })
	}}
	return nd.DialContext(context.Background(), network, address)
}
