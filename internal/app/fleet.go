package app

import (
	"context"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/weir-stream/weir/internal/cdn/purge"
	"github.com/weir-stream/weir/internal/lifecycle"
	"github.com/weir-stream/weir/internal/natsserver"
)

// fleetRole is what joins this node with others: the shared bus, if there is one, and purges over it.
type fleetRole struct {
	server *natsserver.Server // nil: this node is alone
	purges *purge.Service
	alone  bool        // no bus tells another process of this node what this one is told
	open   atomic.Bool // purges are taken, which counts for a node that is alone
}

func newFleet(n *node) (*fleetRole, error) {
	c := n.config
	r := &fleetRole{alone: !c.Bus.Shared()}
	r.open.Store(!n.process.takesOver)
	settings := purge.Settings{
		Config: c.CDN.Purge, Node: c.Node.ID, Apply: n.edge.cache, Dir: filepath.Join(c.Data, "purge"),
		Log: n.log.With("part", "purge"), Registerer: n.registry,
	}
	if c.Bus.Shared() {
		var err error
		if r.server, err = natsserver.New(natsserver.Settings{
			Config: c.Bus, Name: c.Node.ID, Dir: filepath.Join(c.Data, "bus"), Log: n.log.With("part", "bus server"), Registerer: n.registry,
		}); err != nil {
			return nil, err
		}
		n.ended = append(n.ended, r.server.Close)
		if settings.Conn, err = r.server.Connect("purge"); err != nil {
			return nil, err
		}
		settings.Replicas = r.server.Replicas()
	}
	service, err := purge.New(settings)
	if err != nil {
		return nil, err
	}
	r.purges = service
	return r, nil
}

// catchUpTimeout is how long a node that starts waits for the purges that it missed. After that it does not start:
// it might serve what has been purged.
const catchUpTimeout = time.Minute

// add lets the node serve only when it has applied what it missed.
func (r *fleetRole) add(g *lifecycle.Group) {
	if r.server != nil {
		g.Add(lifecycle.Service("bus server", r.server.Run))
	}
	g.Add(lifecycle.Part{Name: "purges", Run: func(ctx context.Context, ready func()) error {
		done := make(chan error, 1)
		running, cancel := context.WithCancel(ctx)
		defer cancel()
		go func() { done <- r.purges.Run(running) }()
		waiting, stop := context.WithTimeout(ctx, catchUpTimeout)
		err := r.purges.CatchUp(waiting)
		stop()
		if err != nil && ctx.Err() == nil {
			cancel()
			<-done
			return err
		}
		ready()
		return <-done
	}})
}
