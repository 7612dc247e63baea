package rest

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weir-stream/weir/internal/analytics"
	"github.com/weir-stream/weir/internal/live"
)

type sessionsInput struct {
	From   time.Time `query:"from" doc:"Only sessions with a record at or after this time."`
	To     time.Time `query:"to" doc:"Only sessions with a record before this time."`
	Stream string    `query:"stream" doc:"Only sessions of this stream." example:"test"`
	Prefix string    `query:"prefix" doc:"Only sessions whose ID begins with this." maxLength:"128"`
	Limit  int       `query:"limit" doc:"At most so many sessions, newest first." minimum:"1" maximum:"500" default:"50"`
	Cursor string    `query:"cursor" doc:"The next_cursor of the page before."`
}

// SessionList is a page of sessions. The bodies are exported because their names are the names of
// the schemas in the API's description.
type SessionList struct {
	Sessions   []analytics.Session `json:"sessions" doc:"Newest first."`
	NextCursor string              `json:"next_cursor,omitempty" doc:"Asks for the next page; absent on the last."`
}

// Catalogue is what can be asked.
type Catalogue struct {
	Metrics    []analytics.Metric `json:"metrics"`
	Dimensions []string           `json:"dimensions" doc:"What metrics can be grouped and filtered by."`
}

// MetricResult is one metric over a range of time.
type MetricResult struct {
	Metric analytics.Metric `json:"metric"`
	analytics.Result
}

// StreamList is the streams that are running.
type StreamList struct {
	Streams []live.StreamInfo `json:"streams" doc:"By name."`
}

type sessionsOutput struct{ Body SessionList }

type sessionInput struct {
	ID string `path:"sid" doc:"CMCD session ID (sid), or the beginning of one that no other session shares." maxLength:"128"`
}

type sessionOutput struct{ Body analytics.SessionDetails }

type catalogueOutput struct{ Body Catalogue }

type metricInput struct {
	Name    string    `path:"name" doc:"A metric of the catalogue." example:"average_bitrate"`
	From    time.Time `query:"from" doc:"Start of the range, inclusive; default: an hour before its end."`
	To      time.Time `query:"to" doc:"End of the range, exclusive; default: now."`
	Grain   string    `query:"grain" doc:"One row for each interval of this length, as 10s, 5m or 1h; default: one row for the whole range." example:"10s"`
	GroupBy []string  `query:"group_by" doc:"Dimensions to break the metric down by, separated by commas." example:"[\"stream\"]"`
	Stream  string    `query:"stream" doc:"Only records of this stream."`
	Limit   int       `query:"limit" doc:"At most so many rows." minimum:"1" maximum:"10000" default:"1000"`
}

type metricOutput struct{ Body MetricResult }

type streamsOutput struct{ Body StreamList }

type liveOutput struct{ Body analytics.Live }

func (h *Handler) register() {
	huma.Register(h.api, huma.Operation{
		OperationID: "listSessions", Method: http.MethodGet, Path: "/api/v1/sessions", Tags: []string{"sessions"},
		Summary: "Sessions, newest first", Errors: []int{http.StatusBadRequest, http.StatusInternalServerError},
	}, h.listSessions)
	huma.Register(h.api, huma.Operation{
		OperationID: "getSession", Method: http.MethodGet, Path: "/api/v1/sessions/{sid}", Tags: []string{"sessions"},
		Summary: "One session with its requests and reports",
		Errors:  []int{http.StatusNotFound, http.StatusConflict, http.StatusInternalServerError},
	}, h.getSession)
	huma.Register(h.api, huma.Operation{
		OperationID: "listMetrics", Method: http.MethodGet, Path: "/api/v1/metrics", Tags: []string{"metrics"},
		Summary: "The catalogue of metrics and dimensions",
	}, h.listMetrics)
	huma.Register(h.api, huma.Operation{
		OperationID: "getMetric", Method: http.MethodGet, Path: "/api/v1/metrics/{name}", Tags: []string{"metrics"},
		Summary: "One metric over a range of time",
		Errors:  []int{http.StatusBadRequest, http.StatusNotFound, http.StatusInternalServerError},
	}, h.getMetric)
	huma.Register(h.api, huma.Operation{
		OperationID: "listStreams", Method: http.MethodGet, Path: "/api/v1/streams", Tags: []string{"live"},
		Summary: "The streams that are running",
	}, h.listStreams)
	huma.Register(h.api, huma.Operation{
		OperationID: "getAddresses", Method: http.MethodGet, Path: "/api/v1/addresses", Tags: []string{"live"},
		Summary: "Where to watch, to publish and to ask",
	}, h.getAddresses)
	huma.Register(h.api, huma.Operation{
		OperationID: "getLive", Method: http.MethodGet, Path: "/api/v1/live", Tags: []string{"live"},
		Summary: "What is going on now: the snapshot that the feed sends each second",
	}, h.getLive)
}

func (h *Handler) listSessions(ctx context.Context, in *sessionsInput) (*sessionsOutput, error) {
	filter := analytics.SessionFilter{
		From: in.From, To: in.To, Stream: in.Stream, Prefix: in.Prefix,
		Limit: in.Limit + 1, // one more tells whether there is another page
	}
	if in.Cursor != "" {
		var err error
		if filter.Before, filter.BeforeID, err = parseCursor(in.Cursor); err != nil {
			return nil, huma.Error400BadRequest("cursor is not one that this API has returned")
		}
	}
	if !in.From.IsZero() && !in.To.IsZero() && !in.From.Before(in.To) {
		return nil, huma.Error400BadRequest("from must be before to")
	}
	sessions, err := h.set.Sessions.Sessions(ctx, filter)
	if err != nil {
		return nil, h.explain(ctx, "list sessions", err)
	}
	out := &sessionsOutput{}
	if len(sessions) > in.Limit {
		sessions = sessions[:in.Limit]
		out.Body.NextCursor = cursor(sessions[len(sessions)-1])
	}
	out.Body.Sessions = make([]analytics.Session, 0, len(sessions))
	for _, s := range sessions {
		out.Body.Sessions = append(out.Body.Sessions, whole(s))
	}
	return out, nil
}

func (h *Handler) getSession(ctx context.Context, in *sessionInput) (*sessionOutput, error) {
	details, err := h.set.Sessions.Session(ctx, in.ID)
	if err != nil {
		return nil, h.explain(ctx, "read session", err)
	}
	details.Session = whole(details.Session)
	details.Exchanges = append([]analytics.Exchange{}, details.Exchanges...)
	details.Reports = append([]analytics.Event{}, details.Reports...)
	return &sessionOutput{Body: details}, nil
}

// whole gives a session an array where it may have none: the API never sends null for one.
func whole(s analytics.Session) analytics.Session {
	if s.Rebuffers == nil {
		s.Rebuffers = []analytics.Rebuffer{}
	}
	return s
}

func (h *Handler) listMetrics(context.Context, *struct{}) (*catalogueOutput, error) {
	out := &catalogueOutput{}
	out.Body.Metrics = append([]analytics.Metric{}, h.set.Querier.Catalogue()...)
	out.Body.Dimensions = append([]string{}, h.set.Querier.Dimensions()...)
	return out, nil
}

func (h *Handler) getMetric(ctx context.Context, in *metricInput) (*metricOutput, error) {
	q := analytics.Query{
		Metrics: []string{in.Name}, Dimensions: clean(in.GroupBy), From: in.From, To: in.To, Limit: in.Limit,
	}
	if in.Grain != "" {
		grain, err := time.ParseDuration(in.Grain)
		if err != nil || grain < time.Second {
			return nil, huma.Error400BadRequest("grain must be a duration of 1s or more, such as 10s, 5m or 1h")
		}
		q.Grain = grain
	}
	if in.Stream != "" {
		q.Filters = []analytics.Filter{{Dimension: "stream", Values: []string{in.Stream}}}
	}
	result, err := h.set.Querier.Query(ctx, q)
	if err != nil {
		return nil, h.explain(ctx, "query metric", err)
	}
	out := &metricOutput{}
	for _, m := range h.set.Querier.Catalogue() {
		if m.Name == in.Name {
			out.Body.Metric = m
		}
	}
	result.Rows = append([]analytics.Row{}, result.Rows...)
	out.Body.Result = result
	return out, nil
}

func clean(names []string) []string {
	var out []string
	for _, name := range names {
		if name = strings.TrimSpace(name); name != "" {
			out = append(out, name)
		}
	}
	return out
}

func (h *Handler) listStreams(context.Context, *struct{}) (*streamsOutput, error) {
	out := &streamsOutput{}
	out.Body.Streams = []live.StreamInfo{}
	for _, s := range h.set.Streams.Streams() {
		s.Tracks = append([]live.TrackInfo{}, s.Tracks...)
		s.Readers = append([]live.ReaderInfo{}, s.Readers...)
		out.Body.Streams = append(out.Body.Streams, s)
	}
	return out, nil
}

func (h *Handler) getLive(context.Context, *struct{}) (*liveOutput, error) {
	snapshot := h.set.Snapshot.Live()
	if snapshot.ByStream == nil {
		snapshot.ByStream = map[string]int{}
	}
	return &liveOutput{Body: snapshot}, nil
}
