package mcp

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/weir-stream/weir/internal/analytics"
)

// connect gives a client of the server in the same process.
func connect(t *testing.T, s *Server) *sdk.ClientSession {
	t.Helper()
	here, there := sdk.NewInMemoryTransports()
	server, err := s.server.Connect(t.Context(), there, nil)
	if err != nil {
		t.Fatal(err)
	}
	client, err := sdk.NewClient(&sdk.Implementation{Name: "test", Version: "1"}, nil).Connect(t.Context(), here, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Error(err)
		}
		_ = server.Wait() // the client has hung up
	})
	return client
}

// call calls a tool and decodes its structured answer into out.
func call(t *testing.T, c *sdk.ClientSession, tool string, arguments, out any) string {
	t.Helper()
	result, err := c.CallTool(t.Context(), &sdk.CallToolParams{Name: tool, Arguments: arguments})
	if err != nil {
		t.Fatalf("%s: %v", tool, err)
	}
	text := result.Content[0].(*sdk.TextContent).Text
	if result.IsError {
		t.Fatalf("%s: %s", tool, text)
	}
	raw, err := json.Marshal(result.StructuredContent)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, out); err != nil {
		t.Fatalf("%s: %v: %s", tool, err, raw)
	}
	return text
}

type arguments = map[string]any

func TestSessionsAreListedInPages(t *testing.T) {
	e := &engines{}
	c := connect(t, newServer(t, e))
	seen, cursor := 0, ""
	for page := 0; ; page++ {
		var out listSessionsOut
		text := call(t, c, "list_sessions", arguments{"stream": "test", "limit": 12, "cursor": cursor}, &out)
		for _, s := range out.Sessions {
			if s.ID != fmt.Sprintf("session-%02d", seen) {
				t.Fatalf("session %d is %s", seen, s.ID)
			}
			if !strings.Contains(text, s.ID) {
				t.Errorf("text does not name %s", s.ID)
			}
			seen++
		}
		if !out.Truncated {
			if page != 2 || seen != 30 {
				t.Errorf("%d sessions in %d pages", seen, page+1)
			}
			break
		}
		if !strings.Contains(text, "cursor="+out.NextCursor) {
			t.Error("text does not say how to go on")
		}
		cursor = out.NextCursor
	}
	if e.filter.Stream != "test" {
		t.Errorf("filter = %+v", e.filter)
	}
}

func TestSessionDetails(t *testing.T) {
	c := connect(t, newServer(t, &engines{}))
	var out sessionDetailsOut
	text := call(t, c, "get_session_details", arguments{"session": "abc", "limit": 3}, &out)
	if out.Session.ID != "abc-1" || len(out.Requests) != 3 || !out.Truncated || out.Requests[0].CMCD != nil {
		t.Errorf("session %s with %d requests, truncated %v", out.Session.ID, len(out.Requests), out.Truncated)
	}
	for _, want := range []string{"Startup 0.5 s (estimated)", "1 rebuffers, 1 s in all", "truncated: 3 of 11 requests", "/live/test/video-1-1.m4s", "estimate"} {
		if !strings.Contains(text, want) {
			t.Errorf("text does not say %q:\n%s", want, text)
		}
	}
	call(t, c, "get_session_details", arguments{"session": "abc-1", "from": at(11).Format(time.RFC3339), "include_cmcd": true}, &out)
	if len(out.Requests) != 3 || out.Requests[0].CMCD["ot"] != "v" || out.Truncated {
		t.Errorf("from 11 s: %d requests, truncated %v", len(out.Requests), out.Truncated)
	}
}

// What the player saw of an answer stands beside what the edge saw; what it is not believed, and what is
// missing of its word, is said.
func TestSessionDetailsOfAPlayerThatReports(t *testing.T) {
	d := watched()
	offset, status, first, last := -90.43, 200, 0.12, 1.24
	d.Session.ClockOffset, d.Session.LostReports, d.Session.UnseenRequests = &offset, new(2), new(5)
	d.Session.Distrusted = []analytics.Distrust{{Key: "ttfb", Verdict: "ignore_implausible", Why: "It is a time of day."}}
	d.Exchanges[0].Response = &analytics.Response{Time: noon, Status: &status, TTFB: &first, TTLB: &last}
	number := int64(7)
	d.Reports[0].SequenceNumber = &number
	c := connect(t, newServer(t, &engines{details: map[string]analytics.SessionDetails{"abc-1": d}}))
	var out sessionDetailsOut
	text := call(t, c, "get_session_details", arguments{"session": "abc-1"}, &out)
	if seen := out.Requests[0].Response; seen == nil || *seen.Status != 200 || *seen.TTFB != 0.12 || *seen.TTLB != 1.24 || out.Requests[1].Response != nil {
		t.Errorf("the player's view = %+v", seen)
	}
	if *out.Session.ClockOffset != offset || *out.Session.LostReports != 2 || *out.Session.UnseenRequests != 5 || len(out.Session.Distrusted) != 1 || *out.Reports[0].SequenceNumber != 7 {
		t.Errorf("session = %+v", out.Session)
	}
	for _, want := range []string{
		"player_ttfb_s,player_ttlb_s", ",0.12,1.24\n", "taken by the network", "Clock offset (server less player) -90.43 s",
		"CMCD version 2", "2 reports are not here", "2 reports that the player numbered are not here", "5 requests have no row", "Not believed: CMCD key ttfb (ignore_implausible). It is a time of day.", "5 more requests than there are rows",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("text does not say %q:\n%s", want, text)
		}
	}
}

// What only some requests have, such as the kernel's word, has columns where one of those that are shown has it.
func TestSessionDetailsOfRequestsThatTellMore(t *testing.T) {
	d := watched()
	d.Exchanges[0].Queued = 5e-6 // what a fetch takes that need not wait
	plain := call(t, connect(t, newServer(t, &engines{details: map[string]analytics.SessionDetails{"abc-1": d}})), "get_session_details", arguments{"session": "abc-1"}, new(sessionDetailsOut))
	rare := []string{"refusal", "tenant", "collapsed_wait_s", "queued_s", ",origin,", "rtt_s", "retransmitted_bytes", "app_limited", "player_ttfb_s"}
	for _, column := range rare {
		if strings.Contains(plain, column) {
			t.Errorf("the text has %q, which no request has:\n%s", column, plain)
		}
	}
	d = watched()
	e := &d.Exchanges[0]
	e.CacheStatus, e.MissReason, e.Tenant, e.Queued, e.CollapsedWait, e.Origin, e.OriginTTFB = "miss", "purged", "acme", 0.04, 0.003, "origin-1", 0.03
	e.TCP = &analytics.TCP{RTT: 0.0234, MinRTT: 0.021, Sent: 104_000, Retransmitted: 2896, DeliveryRate: 25e6, AppLimited: true, Busy: 0.31, RwndLimited: 0.012}
	d.Exchanges[1].Status, d.Exchanges[1].CacheStatus, d.Exchanges[1].Refusal = 403, "bypass", "token-expired"
	c := connect(t, newServer(t, &engines{details: map[string]analytics.SessionDetails{"abc-1": d}}))
	var out sessionDetailsOut
	text := call(t, c, "get_session_details", arguments{"session": "abc-1", "limit": 3}, &out)
	for _, want := range []string{
		"time,path,kind,type,status,refusal,tenant,bytes,cache,miss_reason,ttfb_s,duration_s,collapsed_wait_s,queued_s,origin,origin_ttfb_s," +
			"aborted,bitrate_bps,buffer_s,starved,rtt_s,min_rtt_s,sent_bytes,retransmitted_bytes,delivery_rate_bps,app_limited,busy_s,rwnd_limited_s\n",
		",200,,acme,1000,miss,purged,0.01,0.1,0.003,0.04,origin-1,0.03,false,4000000,0,false,0.023,0.021,104000,2896,25000000,true,0.31,0.012\n",
		",403,token-expired,,1000,bypass,", "retransmitted_bytes are loss",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("text does not say %q:\n%s", want, text)
		}
	}
	if out.Requests[0].TCP == nil || out.Requests[0].TCP.Retransmitted != 2896 || out.Requests[1].Refusal != "token-expired" {
		t.Errorf("requests = %+v", out.Requests)
	}
	var found errorsOut
	if text := call(t, c, "identify_playback_errors", arguments{"session": "abc-1"}, &found); !strings.Contains(text, "the edge answered 403: it refused the request (token-expired)") {
		t.Errorf("text does not say why the request was refused:\n%s", text)
	}
}

// What nothing tells is not said: no count where nothing is numbered, no version of CMCD where there is none.
func TestSessionDetailsOfEventsAlone(t *testing.T) {
	d := watched()
	d.Session.CMCDVersion, d.Session.UnseenRequests = 0, new(0)
	c := connect(t, newServer(t, &engines{details: map[string]analytics.SessionDetails{"abc-1": d}}))
	var out sessionDetailsOut
	text := call(t, c, "get_session_details", arguments{"session": "abc-1"}, &out)
	if strings.Contains(text, "CMCD version") || !strings.Contains(text, "events API") || strings.Contains(text, "reports are not here") || !strings.Contains(text, "0 requests have no row") {
		t.Errorf("text:\n%s", text)
	}
	if out.Session.LostReports != nil || out.Session.UnseenRequests == nil {
		t.Errorf("session = %+v", out.Session)
	}
}

func TestBufferEvents(t *testing.T) {
	c := connect(t, newServer(t, &engines{}))
	var out bufferOut
	text := call(t, c, "analyze_buffer_events", arguments{"session": "abc-1"}, &out)
	// After the startup of 0.5 s were told: 0.4 2 4 0.2 0.3 3; their sum is 9.9.
	if b := out.Buffer; b.ObjectType != "v" || b.Samples != 6 || *b.Minimum != 0.2 || *b.P5 != 0.2 || number(*b.Average) != "1.65" {
		t.Errorf("buffer = %+v", b)
	}
	// Below 0.5 s: from 2 s to the next length at 4 s, and from 11 s to 13 s.
	if len(out.LowSpans) != 2 || !out.LowSpans[0].From.Equal(at(2)) || !out.LowSpans[0].To.Equal(at(4)) ||
		!out.LowSpans[1].From.Equal(at(11)) || out.LowSpans[1].Duration != 2 || out.LowSpans[1].Minimum != 0.2 || out.LowSpans[1].Samples != 2 {
		t.Errorf("low spans = %+v", out.LowSpans)
	}
	if len(out.Rebuffers) != 1 || out.Rebuffers[0].Evidence != "bs" || len(out.Rebuffers[0].Before) != evidenceRows {
		t.Fatalf("rebuffers = %+v", out.Rebuffers)
	}
	if rows := out.Rebuffers[0].Before; rows[0].ID != "id-4" || rows[4].ID != "id-6" {
		t.Errorf("evidence from %s to %s, want the last five requests before 10 s", rows[0].ID, rows[4].ID)
	}
	if !strings.Contains(text, "Rebuffer at 2026-11-20T12:00:10.000Z of 1 s, found by bs") {
		t.Errorf("text:\n%s", text)
	}
	call(t, c, "analyze_buffer_events", arguments{"session": "abc-1", "threshold_ms": 250}, &out)
	if len(out.LowSpans) != 1 {
		t.Errorf("below 250 ms: %+v", out.LowSpans)
	}
}

// An answer that was cut still tells how many there were.
func TestManyRebuffersAreCounted(t *testing.T) {
	d := watched()
	for len(d.Session.Rebuffers) < maxFindings+1 {
		d.Session.Rebuffers = append(d.Session.Rebuffers, d.Session.Rebuffers[0])
	}
	c := connect(t, newServer(t, &engines{details: map[string]analytics.SessionDetails{"abc-1": d}}))
	var out bufferOut
	text := call(t, c, "analyze_buffer_events", arguments{"session": "abc-1"}, &out)
	if len(out.Rebuffers) != maxFindings || !out.Truncated || out.RebufferCount != maxFindings+1 || !strings.Contains(text, "101 rebuffers") {
		t.Errorf("%d of %d rebuffers, truncated %v", len(out.Rebuffers), out.RebufferCount, out.Truncated)
	}
}

func TestNumbers(t *testing.T) {
	for v, want := range map[float64]string{1.0005: "1.001", -0.0004: "0", 2.5e16: "25000000000000000", -1.5: "-1.5", 0: "0"} {
		if got := number(v); got != want {
			t.Errorf("%v is written %s, want %s", v, got, want)
		}
	}
}

func TestPlaybackErrors(t *testing.T) {
	c := connect(t, newServer(t, &engines{}))
	var out errorsOut
	text := call(t, c, "identify_playback_errors", arguments{"session": "abc-1"}, &out)
	var got []string
	for _, f := range out.Findings {
		got = append(got, fmt.Sprintf("%v %s %d", f.Time.Sub(noon).Seconds(), f.Type, f.Status))
	}
	want := []string{
		"7 manifest_error 502", "8 manifest_stale 200", "8.5 aborted 200", "8.6 http_error 404",
		"8.6 player_error 0",  // told with a request, and again with a report: once
		"11 bitrate_drop 200", // 4,000 → 1,000 kbit/s
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("findings:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, want := range []string{"as the origin did (503)", "from 4000000 to 1000000 bit/s", "players abort when they switch or seek"} {
		if !strings.Contains(text, want) {
			t.Errorf("text does not say %q:\n%s", want, text)
		}
	}
	call(t, c, "identify_playback_errors", arguments{"session": "abc-1", "limit": 2}, &out)
	if len(out.Findings) != 2 || !out.Truncated || out.Counts["bitrate_drop"] != 1 {
		t.Errorf("limit 2: %d findings, truncated %v, counts %v", len(out.Findings), out.Truncated, out.Counts)
	}
}

func TestSessionsWithErrors(t *testing.T) {
	five, seven := 5.0, 7.0
	all := analytics.Result{Rows: []analytics.Row{{Metrics: map[string]*float64{"requests": &seven}, Sessions: 2, Records: 7}}}
	e := &engines{overall: &all, result: analytics.Result{Truncated: true, Rows: []analytics.Row{{Dimensions: map[string]string{"session": "abc-1", "stream": "test", "status": "404"}, Metrics: map[string]*float64{"requests": &five}, Sessions: 1, Records: 5}}}}
	c := connect(t, newServer(t, e))
	var out errorsOut
	text := call(t, c, "identify_playback_errors", arguments{"stream": "test", "limit": 1}, &out)
	if len(out.Sessions) != 1 || out.Counts["http_error"] != 7 || out.Provenance.Sessions != 2 || !strings.Contains(text, "7 requests were answered with an error") {
		t.Errorf("answer = %+v\n%s", out, text)
	}
	q := e.queries[1]
	if len(q.Filters) != 2 || !q.From.Equal(noon.Add(-time.Hour)) || !q.To.Equal(noon) || q.Filters[0].Dimension != "status_class" || !q.Descending {
		t.Errorf("asked %+v", q)
	}
}

func TestAverageBitrate(t *testing.T) {
	value := 1.75e6
	e := &engines{result: analytics.Result{
		Rows:       []analytics.Row{{Dimensions: map[string]string{"session": "abc-1"}, Metrics: map[string]*float64{"average_bitrate": &value, "average_audio_bitrate": nil}, Sessions: 1, Records: 9}},
		Provenance: analytics.Provenance{Statement: "SELECT 1", Coverage: 0.5},
	}}
	c := connect(t, newServer(t, e))
	var out bitrateOut
	text := call(t, c, "get_average_bitrate", arguments{"session": "abc"}, &out)
	if out.Overall == nil || *out.Overall != value || out.Audio != nil || out.Unit != "bit/s" || out.Definition != "Weighted." {
		t.Errorf("answer = %+v", out)
	}
	if _, ok := out.Rows[0].Metrics["average_audio_bitrate"]; ok {
		t.Error("a metric without a value is in the row")
	}
	for i, q := range e.queries {
		if q.Filters[0].Values[0] != "abc-1" {
			t.Errorf("query %d is not of the session alone: %+v", i, q)
		}
	}
	if !e.queries[0].From.Equal(noon) || !e.queries[0].To.After(at(14)) {
		t.Errorf("range %v to %v does not hold the session", e.queries[0].From, e.queries[0].To)
	}
	for _, want := range []string{"1750000 bit/s", "of the audio: none", "coverage 50 %", "SQL: SELECT 1"} {
		if !strings.Contains(text, want) {
			t.Errorf("text does not say %q:\n%s", want, text)
		}
	}
}

func TestQueryMetrics(t *testing.T) {
	value := 3.0
	e := &engines{result: analytics.Result{Truncated: true, Rows: []analytics.Row{{Time: noon, Dimensions: map[string]string{"stream": "a,b"}, Metrics: map[string]*float64{"requests": &value, "hit_ratio": nil}, Records: 3}}}}
	c := connect(t, newServer(t, e))
	var out queryOut
	text := call(t, c, "query_metrics", arguments{
		"metrics": []string{"requests", "hit_ratio"}, "dimensions": []string{"stream"}, "grain": "1m", "limit": 1,
		"filters": []any{arguments{"dimension": "stream", "values": []string{"a,b"}}}, "order_by": "requests", "descending": true,
	}, &out)
	if !out.Truncated || !strings.Contains(text, "truncated") || !strings.Contains(text, `2026-11-20T12:00:00.000Z,"a,b",3,,0,3`) {
		t.Errorf("text:\n%s", text)
	}
	q := e.queries[0]
	if q.Grain != time.Minute || q.Limit != 1 || q.OrderBy != "requests" || q.Filters[0].Values[0] != "a,b" {
		t.Errorf("asked %+v", q)
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	cases := map[string]struct {
		tool string
		args arguments
		err  error
		says []string
	}{
		"ambiguous":         {"get_session_details", arguments{"session": "ab"}, nil, []string{"abc-1, abd-2", "one of these"}},
		"unknown":           {"analyze_buffer_events", arguments{"session": "zz"}, nil, []string{"no such session", "list_sessions"}},
		"empty":             {"get_session_details", arguments{"session": ""}, nil, []string{"session is empty"}},
		"unknown metric":    {"query_metrics", arguments{"metrics": []string{"x"}}, fmt.Errorf("%w: x", analytics.ErrUnknownMetric), []string{"no such metric", "list_metrics"}},
		"bad grain":         {"query_metrics", arguments{"metrics": []string{"x"}, "grain": "soon"}, nil, []string{"grain"}},
		"bad cursor":        {"list_sessions", arguments{"cursor": "!"}, nil, []string{"cursor"}},
		"limit too great":   {"list_sessions", arguments{"limit": 1000}, nil, []string{"limit"}},
		"unknown argument":  {"list_sessions", arguments{"strem": "x"}, nil, []string{"strem"}},
		"store broken":      {"list_sessions", nil, errors.New("disk /secret"), []string{"server's log"}},
		"nothing to resume": {"get_average_bitrate", arguments{"session": "zz"}, nil, []string{"no such session"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			client := connect(t, newServer(t, &engines{err: c.err}))
			result, err := client.CallTool(t.Context(), &sdk.CallToolParams{Name: c.tool, Arguments: c.args})
			if err != nil {
				t.Fatalf("a protocol error, which no model sees: %v", err)
			}
			text := result.Content[0].(*sdk.TextContent).Text
			if !result.IsError || strings.Contains(text, "secret") {
				t.Errorf("answer: error %v, %s", result.IsError, text)
			}
			for _, s := range c.says {
				if !strings.Contains(text, s) {
					t.Errorf("%q does not say %q", text, s)
				}
			}
		})
	}
}

// Some clients drop what a schema says may be null; and every tool must say that it only reads.
func TestToolsArePortable(t *testing.T) {
	c := connect(t, newServer(t, &engines{}))
	n := 0
	for tool, err := range c.Tools(t.Context(), nil) {
		if err != nil {
			t.Fatal(err)
		}
		n++
		schemas, err := json.Marshal([]any{tool.InputSchema, tool.OutputSchema})
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(schemas), `"null"`) || tool.OutputSchema == nil {
			t.Errorf("%s: schemas %s", tool.Name, schemas)
		}
		if a := tool.Annotations; !a.ReadOnlyHint || !a.IdempotentHint || *a.DestructiveHint || *a.OpenWorldHint || tool.Description == "" {
			t.Errorf("%s: annotations %+v", tool.Name, a)
		}
	}
	if n != 7 {
		t.Errorf("%d tools, want 7", n)
	}
}

func TestResourcesPromptAndCompletion(t *testing.T) {
	c := connect(t, newServer(t, &engines{}))
	catalogue, err := c.ReadResource(t.Context(), &sdk.ReadResourceParams{URI: "weir://catalogue"})
	if err != nil || !strings.Contains(catalogue.Contents[0].Text, "average_bitrate") {
		t.Errorf("catalogue: %v %v", catalogue, err)
	}
	session, err := c.ReadResource(t.Context(), &sdk.ReadResourceParams{URI: "weir://sessions/abc-1"})
	if err != nil || !strings.Contains(session.Contents[0].Text, `"rebuffer_ratio":0.1`) {
		t.Errorf("session: %v %v", session, err)
	}
	if _, err := c.ReadResource(t.Context(), &sdk.ReadResourceParams{URI: "weir://sessions/zz"}); err == nil {
		t.Error("a session that is not there can be read")
	}
	for prompt, err := range c.Prompts(t.Context(), nil) {
		if err != nil || prompt.Description == "" {
			t.Errorf("prompt %v: %v", prompt, err)
		}
	}
	prompt, err := c.GetPrompt(t.Context(), &sdk.GetPromptParams{Name: whyPrompt, Arguments: map[string]string{"session": "abc-1"}})
	if err != nil || !strings.Contains(prompt.Messages[0].Content.(*sdk.TextContent).Text, `session "abc-1"`) {
		t.Errorf("prompt: %v %v", prompt, err)
	}
	done, err := c.Complete(t.Context(), &sdk.CompleteParams{
		Ref:      &sdk.CompleteReference{Type: "ref/prompt", Name: whyPrompt},
		Argument: sdk.CompleteParamsArgument{Name: "session", Value: "session-1"},
	})
	if err != nil || len(done.Completion.Values) != 10 || done.Completion.HasMore {
		t.Errorf("completion: %+v %v", done, err)
	}
}
