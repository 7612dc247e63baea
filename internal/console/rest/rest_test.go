package rest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/weir-stream/weir/internal/analytics"
	"github.com/weir-stream/weir/internal/live"
)

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// engines stands for all that the API looks at.
type engines struct {
	sessions []analytics.Session
	filter   analytics.SessionFilter
	query    analytics.Query
	err      error
	silenced map[string]time.Duration
}

func (e *engines) Sessions(_ context.Context, f analytics.SessionFilter) ([]analytics.Session, error) {
	e.filter = f
	var out []analytics.Session
	for _, s := range e.sessions {
		if after(s, f) && len(out) < f.Limit {
			out = append(out, s)
		}
	}
	return out, e.err
}

// after says that s comes after the cursor of f.
func after(s analytics.Session, f analytics.SessionFilter) bool {
	return f.Before.IsZero() || s.Start.Before(f.Before) || s.Start.Equal(f.Before) && f.BeforeID != "" && s.ID > f.BeforeID
}

func (e *engines) Session(_ context.Context, id string) (analytics.SessionDetails, error) {
	return analytics.SessionDetails{Session: analytics.Session{ID: id, Start: noon, End: noon}}, e.err
}

func (e *engines) Query(_ context.Context, q analytics.Query) (analytics.Result, error) {
	e.query = q
	return analytics.Result{Rows: []analytics.Row{{Metrics: map[string]*float64{q.Metrics[0]: nil}}}}, e.err
}

func (e *engines) Catalogue() []analytics.Metric {
	return []analytics.Metric{{Name: "average_bitrate", Unit: "bit/s", Definition: "d"}}
}
func (e *engines) Dimensions() []string       { return []string{"stream", "edge"} }
func (e *engines) Live() analytics.Live       { return analytics.Live{Time: noon, Window: 10} }
func (e *engines) Streams() []live.StreamInfo { return []live.StreamInfo{{Name: "test"}} }

func newHandler(t *testing.T, e *engines) *Handler {
	t.Helper()
	h, err := New(Settings{Sessions: e, Querier: e, Streams: e, Snapshot: e, Silencer: e, Examine: examineWords, Addresses: func(host string) Addresses {
		return Addresses{Watch: "http://" + net.JoinHostPort(host, "8080") + "/watch/{stream}"}
	}})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func get(t *testing.T, h http.Handler, target string) (status int, contentType string, body map[string]any) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, target, nil))
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
		t.Fatalf("GET %s: %v: %s", target, err, w.Body)
	}
	return w.Code, w.Header().Get("Content-Type"), body
}

func TestSessionsComeInPages(t *testing.T) {
	e := &engines{}
	for i := range 5 {
		e.sessions = append(e.sessions, analytics.Session{ID: fmt.Sprint("s", i), Start: noon.Add(-time.Duration(i/4) * time.Minute)}) // four at a time
	}
	h := newHandler(t, e)
	var ids []string
	target, pages := "/api/v1/sessions?limit=2&stream=test&prefix=s", 0
	for next := target; next != ""; pages++ {
		status, _, body := get(t, h, next)
		if status != http.StatusOK {
			t.Fatalf("page %d: %d %v", pages, status, body)
		}
		for _, s := range body["sessions"].([]any) {
			session := s.(map[string]any)
			ids = append(ids, session["id"].(string))
			if session["rebuffers"] == nil {
				t.Error("rebuffers of a session without any is null, not []")
			}
		}
		next = ""
		if c, ok := body["next_cursor"].(string); ok {
			next = target + "&cursor=" + c
		}
	}
	if got := strings.Join(ids, " "); got != "s0 s1 s2 s3 s4" || pages != 3 {
		t.Errorf("read %q in %d pages, want s0 to s4 in 3", got, pages)
	}
	if e.filter.Stream != "test" || e.filter.Prefix != "s" {
		t.Errorf("filter = %+v", e.filter)
	}
}

func TestNoSessionsIsAnEmptyArray(t *testing.T) {
	_, _, body := get(t, newHandler(t, &engines{}), "/api/v1/sessions")
	if list, ok := body["sessions"].([]any); !ok || len(list) != 0 {
		t.Errorf("sessions = %v, want []", body["sessions"])
	}
}

func TestSessionHasArrays(t *testing.T) {
	_, _, body := get(t, newHandler(t, &engines{}), "/api/v1/sessions/abc")
	for _, name := range []string{"exchanges", "reports"} {
		if _, ok := body[name].([]any); !ok {
			t.Errorf("%s = %v, want []", name, body[name])
		}
	}
}

func TestMetricIsAsked(t *testing.T) {
	e := &engines{}
	status, _, body := get(t, newHandler(t, e), "/api/v1/metrics/average_bitrate?grain=10s&group_by=stream,edge&stream=test&from=2026-11-20T11:00:00Z&to=2026-11-20T12:00:00Z&limit=7")
	if status != http.StatusOK {
		t.Fatalf("status %d: %v", status, body)
	}
	q := e.query
	if q.Grain != 10*time.Second || strings.Join(q.Dimensions, "|") != "stream|edge" || q.Limit != 7 ||
		!q.To.Equal(noon) || !q.From.Equal(noon.Add(-time.Hour)) || len(q.Filters) != 1 || q.Filters[0].Values[0] != "test" {
		t.Errorf("asked %+v", q)
	}
	row := body["rows"].([]any)[0].(map[string]any)
	if value, ok := row["metrics"].(map[string]any)["average_bitrate"]; !ok || value != nil {
		t.Errorf("a metric without a value = %v, want null", value)
	}
	if body["metric"].(map[string]any)["unit"] != "bit/s" {
		t.Errorf("metric = %v", body["metric"])
	}
}

func TestErrorsAreProblems(t *testing.T) {
	cases := map[string]struct {
		target string
		err    error
		status int
		detail string
	}{
		"unknown session":      {"/api/v1/sessions/x", fmt.Errorf("%w: x", analytics.ErrNoSession), 404, "no such session: x"},
		"ambiguous session":    {"/api/v1/sessions/x", fmt.Errorf("%w: xa, xb", analytics.ErrAmbiguous), 409, "xa, xb"},
		"unknown metric":       {"/api/v1/metrics/x", fmt.Errorf("%w: x", analytics.ErrUnknownMetric), 404, "no such metric"},
		"unknown dimension":    {"/api/v1/metrics/x?group_by=y", fmt.Errorf("%w: y", analytics.ErrUnknownDimension), 400, "no such dimension"},
		"invalid query":        {"/api/v1/metrics/x", fmt.Errorf("%w: from", analytics.ErrInvalidQuery), 400, "invalid query"},
		"bad grain":            {"/api/v1/metrics/x?grain=soon", nil, 400, "grain must be"},
		"bad cursor":           {"/api/v1/sessions?cursor=%21", nil, 400, "cursor"},
		"range the wrong way":  {"/api/v1/sessions?from=2026-11-20T12:00:00Z&to=2026-11-20T11:00:00Z", nil, 400, "from must be before to"},
		"limit too great":      {"/api/v1/sessions?limit=501", nil, 422, "validation failed"},
		"unknown parameter":    {"/api/v1/sessions?strem=x", nil, 422, "validation failed"},
		"store takes too long": {"/api/v1/metrics/x", context.DeadlineExceeded, 504, "shorter range"},
		"no such path":         {"/api/v1/sesions", nil, 404, "no such path"},
		"store is broken":      {"/api/v1/metrics/x", errors.New("disk /secret/path"), 500, "server's log"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			status, contentType, body := get(t, newHandler(t, &engines{err: c.err}), c.target)
			detail, _ := body["detail"].(string)
			if status != c.status || contentType != "application/problem+json" || !strings.Contains(detail, c.detail) {
				t.Errorf("answer %d %s %q, want %d with %q", status, contentType, detail, c.status, c.detail)
			}
			if strings.Contains(detail, "secret") {
				t.Error("the answer tells the inside of the store")
			}
		})
	}
}

func TestAMethodThatAPathDoesNotHave(t *testing.T) {
	w := httptest.NewRecorder()
	newHandler(t, &engines{}).ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/api/v1/sessions", nil))
	if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "GET, HEAD" || w.Header().Get("Content-Type") != "application/problem+json" {
		t.Errorf("POST: %d %v", w.Code, w.Header())
	}
}

func TestSnapshotAndStreams(t *testing.T) {
	h := newHandler(t, &engines{})
	_, _, body := get(t, h, "/api/v1/live")
	if _, ok := body["viewers_by_stream"].(map[string]any); !ok || body["hit_ratio"] != nil {
		t.Errorf("live = %v", body)
	}
	_, _, body = get(t, h, "/api/v1/streams")
	stream := body["streams"].([]any)[0].(map[string]any)
	if _, ok := stream["tracks"].([]any); !ok || stream["name"] != "test" {
		t.Errorf("stream = %v", stream)
	}
}

func TestDescriptionIsServed(t *testing.T) {
	w := httptest.NewRecorder()
	newHandler(t, &engines{}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/api/v1/openapi.yaml", nil))
	if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "/api/v1/sessions/{sid}") {
		t.Errorf("GET openapi.yaml: %d", w.Code)
	}
}

func TestEveryEngineIsNeeded(t *testing.T) {
	if _, err := New(Settings{}); err == nil {
		t.Error("New without engines is accepted")
	}
}

// The addresses are told by the name that the client knows the server by.
func TestAddressesHaveTheHostOfTheRequest(t *testing.T) {
	h := newHandler(t, &engines{})
	for host, want := range map[string]string{
		"weir.example:8090": "http://weir.example:8080/watch/{stream}",
		"weir.example":      "http://weir.example:8080/watch/{stream}",
		"[::1]:8090":        "http://[::1]:8080/watch/{stream}",
		"[::1]":             "http://[::1]:8080/watch/{stream}",
	} {
		if _, _, body := get(t, h, "http://"+host+"/api/v1/addresses"); body["watch"] != want {
			t.Errorf("%s: watch = %v, want %s", host, body["watch"], want)
		}
	}
}
