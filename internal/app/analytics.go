package app

import (
	"github.com/weir-stream/weir/internal/analytics/query"
	"github.com/weir-stream/weir/internal/analytics/session"
)

// analyticsRole makes sessions and numbers of records.
type analyticsRole struct {
	tracker *session.Tracker
	archive *session.Archive
	query   *query.Engine
}

func newAnalytics(n *node) (*analyticsRole, error) {
	tracker, err := session.NewTracker(session.TrackerSettings{
		Config: n.config.Analytics.Session, Dropped: n.telemetry.bus.Dropped, Registerer: n.registry,
	})
	if err != nil {
		return nil, err
	}
	n.telemetry.bus.Subscribe("sessions", tracker)
	archive, err := session.NewArchive(session.ArchiveSettings{Config: n.config.Analytics.Session, Store: n.telemetry.store})
	if err != nil {
		return nil, err
	}
	engine, err := query.New(query.Settings{Config: n.config.Analytics.Query, Store: n.telemetry.store})
	if err != nil {
		return nil, err
	}
	return &analyticsRole{tracker: tracker, archive: archive, query: engine}, nil
}
