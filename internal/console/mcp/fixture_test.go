package mcp

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weir-stream/weir/internal/analytics"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

func at(seconds float64) time.Time { return noon.Add(time.Duration(seconds * float64(time.Second))) }

// engines stands for the archive and the query engine.
type engines struct {
	details map[string]analytics.SessionDetails
	queries []analytics.Query
	filter  analytics.SessionFilter
	result  analytics.Result
	overall *analytics.Result // of what is not broken down, if not as result
	err     error
}

func (e *engines) Sessions(_ context.Context, f analytics.SessionFilter) ([]analytics.Session, error) {
	e.filter = f
	var out []analytics.Session
	for i := range 30 {
		id := fmt.Sprintf("session-%02d", i)
		start := noon.Add(-time.Duration(i/5) * time.Minute) // five at a time
		after := f.Before.IsZero() || start.Before(f.Before) || start.Equal(f.Before) && f.BeforeID != "" && id > f.BeforeID
		if strings.HasPrefix(id, f.Prefix) && after && len(out) < f.Limit {
			out = append(out, analytics.Session{ID: id, Stream: "test", Start: start, End: start})
		}
	}
	return out, e.err
}

func (e *engines) Session(_ context.Context, id string) (analytics.SessionDetails, error) {
	if e.err != nil {
		return analytics.SessionDetails{}, e.err
	}
	var fit []string
	for full := range e.details {
		if strings.HasPrefix(full, id) {
			fit = append(fit, full)
		}
	}
	switch len(fit) {
	case 0:
		return analytics.SessionDetails{}, fmt.Errorf("%w: %q", analytics.ErrNoSession, id)
	case 1:
		return e.details[fit[0]], nil
	}
	return analytics.SessionDetails{}, fmt.Errorf("%w: %q fits abc-1, abd-2", analytics.ErrAmbiguous, id)
}

func (e *engines) Query(_ context.Context, q analytics.Query) (analytics.Result, error) {
	e.queries = append(e.queries, q)
	result := e.result
	if len(q.Dimensions) == 0 && q.Grain == 0 && e.overall != nil {
		result = *e.overall
	}
	result.Provenance.From, result.Provenance.To = noon.Add(-time.Hour), noon
	return result, e.err
}

func (e *engines) Catalogue() []analytics.Metric {
	return []analytics.Metric{{Name: "average_bitrate", Unit: "bit/s", Definition: "Weighted."}, {Name: "requests", Unit: "1", Definition: "All."}}
}

func (e *engines) Dimensions() []string { return []string{"stream", "session"} }

// watched is a session by hand. Video segments of 2 s come every 2 s from 0 s; the one asked for at
// 6 s takes 5 s, so that the buffer of 4 s it was asked with is dry from 10 s to 11 s.
func watched() analytics.SessionDetails {
	startup, hits := 0.5, 0.9
	length := func(s float64) *float64 { return &s }
	segment := func(n int, t, duration, bitrate float64, buffer *float64) analytics.Exchange {
		return analytics.Exchange{
			ID: fmt.Sprint("id-", n), Time: at(t), Path: fmt.Sprintf("/live/test/video-1-%d.m4s", n), Kind: "segment", Status: 200,
			Bytes: 1000, CacheStatus: "hit", TTFB: 0.01, Duration: duration, ObjectType: "v", Bitrate: bitrate, BufferLength: buffer,
			CMCD: map[string]string{"ot": "v"},
		}
	}
	manifest := analytics.Exchange{ID: "id-m", Time: at(7), Path: "/live/test/video.m3u8", Kind: "manifest", Status: 502, OriginStatus: 503, CacheStatus: "miss", ObjectType: "m", CMCD: map[string]string{"ot": "m"}}
	stale := analytics.Exchange{ID: "id-s", Time: at(8), Path: "/live/test/video.m3u8", Kind: "manifest", Status: 200, CacheStatus: "stale", ObjectType: "m", CMCD: map[string]string{"ot": "m"}}
	aborted := segment(5, 8.5, 1, 4e6, nil)
	aborted.Aborted, aborted.Status = true, 200
	missing := segment(6, 8.6, 0.01, 0, nil)
	missing.Status, missing.CMCD = 404, map[string]string{"ot": "v", "ec": `("E1")`}
	return analytics.SessionDetails{
		Session: analytics.Session{
			ID: "abc-1", Stream: "test", Format: "dash", CMCDVersion: 2, Start: noon, End: at(14), Requests: 11, Reports: 2,
			PlayedTime: 9, AverageBitrate: 2e6, StartupTime: &startup, StartupEstimated: true, HitRatio: &hits,
			Rebuffers: []analytics.Rebuffer{{Time: at(10), Duration: 1, Evidence: "bs"}}, RebufferTime: 1, RebufferRatio: 0.1,
		},
		Exchanges: []analytics.Exchange{
			segment(1, 0, 0.1, 4e6, length(0)), segment(2, 2, 0.1, 4e6, length(0.4)), segment(3, 4, 0.1, 4e6, length(2)),
			segment(4, 6, 5, 4e6, length(4)), manifest, stale, aborted, missing,
			segment(7, 11, 0.1, 1e6, length(0.2)), segment(8, 12, 0.1, 1e6, length(0.3)), segment(9, 13, 0.1, 1e6, length(3)),
		},
		Reports: []analytics.Event{
			{Time: at(9), Event: "e", CMCD: map[string]string{"ec": `("E1")`}},
			{Time: at(10), Event: "ps", State: "r", CMCD: map[string]string{"sta": "r"}},
		},
	}
}

func newServer(t *testing.T, e *engines) *Server {
	t.Helper()
	if e.details == nil {
		e.details = map[string]analytics.SessionDetails{"abc-1": watched(), "abd-2": {Session: analytics.Session{ID: "abd-2"}}}
	}
	s, err := New(Settings{Sessions: e, Querier: e, Version: "test", Now: func() time.Time { return noon }})
	if err != nil {
		t.Fatal(err)
	}
	return s
}
