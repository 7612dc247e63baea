package app

import (
	"context"
	"slices"
	"strings"

	"github.com/weir-stream/weir/internal/cdn/origin"
	"github.com/weir-stream/weir/internal/lifecycle"
	"github.com/weir-stream/weir/internal/live"
	"github.com/weir-stream/weir/internal/live/hub"
	"github.com/weir-stream/weir/internal/live/ingest/rtmp"
	"github.com/weir-stream/weir/internal/live/packager"
)

// originRole takes streams in, packages them and serves the objects.
type originRole struct {
	hub      *hub.Hub
	packager *packager.Packager
	rtmp     *rtmp.Server
	origin   *origin.Handler
}

func newOrigin(n *node) (*originRole, error) {
	c := n.config.Live
	streams, err := hub.New(hub.Settings{Config: c.Hub, Log: n.log.With("part", "hub"), Registerer: n.registry})
	if err != nil {
		return nil, err
	}
	pack, err := packager.New(packager.Settings{Config: c.Packager, Log: n.log.With("part", "packager"), Registerer: n.registry})
	if err != nil {
		return nil, err
	}
	streams.OnPublishAs("packager", pack.Handle)
	objects, err := origin.New(origin.Settings{Log: n.log.With("part", "origin"), Registerer: n.registry})
	if err != nil {
		return nil, err
	}
	objects.MountLive("live/", pack)
	publishers, err := rtmp.New(rtmp.Settings{Config: c.RTMP, Hub: streams, Log: n.log.With("part", "rtmp"), Registerer: n.registry})
	if err != nil {
		return nil, err
	}
	if err := publishers.Listen(); err != nil {
		return nil, err
	}
	n.ended = append(n.ended, publishers.Close)
	return &originRole{hub: streams, packager: pack, rtmp: publishers, origin: objects}, nil
}

// Streams returns the streams that are published, and those whose publisher has gone but that can
// still be played. They are sorted by name.
func (r *originRole) Streams() []live.StreamInfo {
	streams := r.hub.Streams()
	published := make(map[live.StreamName]bool, len(streams))
	for _, s := range streams {
		published[s.Name] = true
	}
	for _, s := range r.packager.Streams() {
		if !published[s.Name] {
			streams = append(streams, s)
		}
	}
	slices.SortFunc(streams, func(a, b live.StreamInfo) int { return strings.Compare(string(a.Name), string(b.Name)) })
	return streams
}

func (r *originRole) add(g *lifecycle.Group) {
	g.Add(lifecycle.Service("packager", r.packager.Run))
	g.Add(lifecycle.Service("hub", func(ctx context.Context) error {
		<-ctx.Done()
		return r.hub.Close()
	}))
	g.Add(lifecycle.Service("rtmp", r.rtmp.Run))
}
