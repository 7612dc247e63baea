package app

import (
	"github.com/weir-stream/weir/internal/analytics/query"
	"github.com/weir-stream/weir/internal/analytics/session"
	"github.com/weir-stream/weir/internal/analytics/tracker"
)

// analyticsRole makes sessions and numbers of records.
type analyticsRole struct {
	tracker *tracker.Tracker
	archive *session.Archive
	query   *query.Engine
}

func newAnalytics(n *node) (*analyticsRole, error) {
	c := n.config.Analytics
	live, err := tracker.New(tracker.Settings{Config: c.Tracker, Dropped: n.telemetry.dropped, Registerer: n.registry})
	if err != nil {
		return nil, err
	}
	n.telemetry.bus.Subscribe("tracker", live)
	archive, err := session.NewArchive(session.ArchiveSettings{
		Config: c.Session, Store: n.telemetry.store, ViewerTimeout: c.Tracker.ViewerTimeout,
	})
	if err != nil {
		return nil, err
	}
	engine, err := query.New(query.Settings{Config: c.Query, Store: n.telemetry.store})
	if err != nil {
		return nil, err
	}
	return &analyticsRole{tracker: live, archive: archive, query: engine}, nil
}
