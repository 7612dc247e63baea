package app

import (
	"context"
	"errors"
	"syscall"
	"time"

	"github.com/weir-stream/weir/internal/cdn/cache/segment"
	"github.com/weir-stream/weir/internal/cdn/edge"
	"github.com/weir-stream/weir/internal/config"
)

const (
	// folderTimeout is how long a process that takes over waits for the folder of the cache before it serves without.
	folderTimeout = 10 * time.Second
	// folderInterval is how often it tries.
	folderInterval = 10 * time.Millisecond
	// lateInterval is how often it tries once it serves.
	lateInterval = 250 * time.Millisecond
	// successorTimeout bounds the time that a successor has to get ready: to the folder, and to the purges missed.
	successorTimeout = folderTimeout + catchUpTimeout + 20*time.Second
	// fenceInterval is how often it is looked whether purges are heard of.
	fenceInterval = time.Second
	// settleTime is how long after taking over the process before may still answer what it has just been asked.
	settleTime = time.Second
)

var (
	errRoleAll   = errors.New("only an edge hands over: with role all the database and the publishers' connections cannot be shared")
	errBusServer = errors.New("this node runs a server of the bus, whose folder cannot be shared; stop and start it, or let it use the servers of other nodes (bus.servers)")
	errHandover  = errors.New("one process of this node is taking the place of another; ask again in a few seconds")
)

// run runs the node until ctx ends or its successor has taken over, and calls started when all of it is ready.
func (n *node) run(ctx context.Context, started func()) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ready := make(chan struct{})
	handled := make(chan struct{})
	go func() {
		defer close(handled)
		select {
		case <-ready:
			n.obey(ctx, stop)
		case <-ctx.Done():
		}
	}()
	err := n.Run(ctx, func() {
		n.process.ready()
		if n.process.takesOver {
			time.AfterFunc(settleTime, func() { n.fleet.open.Store(true) })
		}
		started()
		close(ready)
	})
	stop()
	<-handled
	return err
}

// obey does what signals say, and what being cut off from the bus asks for, until ctx ends; stop ends the node.
func (n *node) obey(ctx context.Context, stop func()) {
	tick := time.NewTicker(fenceInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			n.fence(n.fleet.purges.Fenced())
		case s := <-n.process.signals:
			switch s {
			case syscall.SIGHUP:
				n.reload()
			case syscall.SIGUSR2:
				if n.handOver(ctx) {
					stop()
					return
				}
			}
		}
	}
}

// canHandOver says why the node cannot be replaced while it serves.
func (n *node) canHandOver() error {
	switch {
	case n.config.Role != config.RoleEdge:
		return errRoleAll
	case n.config.Bus.Shared() && !n.config.Bus.Remote():
		return errBusServer
	}
	return nil
}

// handOver starts the successor of this process and reports whether that serves. If not, this one goes on.
func (n *node) handOver(ctx context.Context) bool {
	if err := n.canHandOver(); err != nil {
		n.log.Error("no successor is started", "error", err)
		return false
	}
	began := time.Now()
	n.fleet.open.Store(false)
	// The successor cannot have the folder before this process is done with it.
	if err := n.edge.cache.LetGo(); err != nil {
		n.log.Warn("letting go of the cache folder", "error", err)
	}
	n.log.Info("a successor is started", "program", n.process.program)
	limited, cancel := context.WithTimeout(ctx, successorTimeout)
	pid, err := n.process.successor(limited)
	cancel()
	if err != nil && pid == 0 {
		n.log.Error("the successor does not serve; this process goes on", "error", err)
		if err := n.edge.open(ctx, true); err != nil {
			n.log.Error("the cache folder cannot be opened again; serving without it", "error", err)
		}
		n.fleet.open.Store(true)
		return false
	}
	n.retire()
	n.log.Info("the successor serves; this process ends when its answers have", "pid", pid, "after", time.Since(began))
	return true
}

// fence has everything asked of the origin as long as purges are not heard of, and have not been for long.
func (n *node) fence(fenced bool) {
	if n.edge.fenced.Swap(fenced) == fenced {
		return
	}
	if fenced {
		n.log.Error("purges have not been heard of for too long: the origin is asked for everything, until they are", "after", n.config.CDN.Purge.FenceAfter)
	} else {
		n.log.Info("the purges that were missed are applied; serving from the cache again")
	}
	c := n.current.CDN.Edge
	c.Rules = n.edge.rules(n.current.CDN)
	if err := n.edge.edge.Reload(c); err != nil {
		n.edge.fenced.Store(!fenced) // tried again
		n.log.Error("whether to serve from the cache cannot be changed", "error", err)
	}
}

// retire lets others have what belongs to the node and not to the process: the private address, and purges. Where no
// bus tells this process of those, it asks the origin from now on.
func (n *node) retire() {
	close(n.retired)
	if !n.fleet.alone {
		return
	}
	c := n.config.CDN.Edge
	c.Rules = nil
	for _, rule := range n.edge.rules(n.current.CDN) {
		rule.Bypass = true
		c.Rules = append(c.Rules, rule)
	}
	if err := n.edge.edge.Reload(c); err != nil {
		n.log.Error("what is purged now may be served for a moment", "error", err)
	}
}

// privatePart serves the private address until ctx ends, or a successor does.
func (n *node) privatePart(ctx context.Context) error {
	serving, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-n.retired:
			cancel()
		case <-serving.Done():
		}
	}()
	if err := n.private.Run(serving); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// open opens the folder of the cache. A process that takes over waits for the one before; if that takes too long,
// the folder is opened later.
func (r *edgeRole) open(ctx context.Context, takesOver bool) error {
	err := r.cache.Open()
	if err == nil || !takesOver {
		return err
	}
	limit := time.NewTimer(folderTimeout)
	defer limit.Stop()
	tick := time.NewTicker(folderInterval)
	defer tick.Stop()
	for errors.Is(err, segment.ErrLocked) {
		select {
		case <-tick.C:
			err = r.cache.Open()
		case <-limit.C:
			r.log.Warn("the process before still reads from the cache folder; serving without it until it is free", "waited", folderTimeout)
			r.late.Store(true)
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return err
}

// keepFolder opens the folder as soon as it is free, if it was not, and closes it when ctx ends.
func (r *edgeRole) keepFolder(ctx context.Context) error {
	tick := time.NewTicker(lateInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return r.cache.Close()
		case <-tick.C:
		}
		if !r.late.Load() {
			continue
		}
		err := r.cache.Open()
		if errors.Is(err, segment.ErrLocked) {
			continue
		}
		r.late.Store(false)
		if err != nil {
			r.log.Error("the cache folder cannot be opened; serving without it", "error", err)
		}
	}
}

// rules returns the rules of a configuration: what it leaves open is said.
func (r *edgeRole) rules(c config.CDNConfig) []edge.Rule {
	rules := c.Edge.Rules
	if len(rules) == 0 {
		rules = r.usual
	}
	host := edge.HostOrigin
	for _, o := range c.Upstream.Origins {
		if o.PreserveHost {
			host = edge.HostViewer
		}
	}
	said := make([]edge.Rule, len(rules))
	for i, rule := range rules {
		if rule.Host == "" {
			rule.Host = host
		}
		rule.Bypass = rule.Bypass || r.fenced.Load()
		said[i] = rule
	}
	return said
}
