package collector

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/weir-stream/weir/cmcd"
	"github.com/weir-stream/weir/internal/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var now = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

// rig is a handler with a bus that the test holds in its hands, and a clock.
type rig struct {
	*Handler
	t       testing.TB
	clock   time.Time
	load    float64
	refuse  error // what the bus answers
	reports []telemetry.Report
}

func newRig(t testing.TB, change func(*Config)) *rig {
	t.Helper()
	r := &rig{t: t, clock: now}
	config := DefaultConfig()
	if change != nil {
		change(&config)
	}
	h, err := New(Settings{
		Config: config, Edge: "edge-1", Registerer: prometheus.NewRegistry(),
		Accept: func(_ context.Context, reports []telemetry.Report) error {
			if r.refuse != nil {
				return r.refuse
			}
			r.reports = append(r.reports, reports...)
			return nil
		},
		Load: func() float64 { return r.load },
		Now:  func() time.Time { return r.clock },
	})
	if err != nil {
		t.Fatal(err)
	}
	r.Handler = h
	return r
}

// restart returns a rig with another handler, as another process or another edge has it.
func (r *rig) restart() *rig {
	other := newRig(r.t, func(c *Config) { *c = r.config })
	other.clock = r.clock
	return other
}

// post sends body and returns the answer and the reports that came of it.
func (r *rig) post(contentType, body string) (*http.Response, []telemetry.Report) {
	r.t.Helper()
	return r.send(r, "/cmcd/tenant", contentType, body, nil)
}

func (r *rig) send(h http.Handler, target, contentType, body string, header http.Header) (*http.Response, []telemetry.Report) {
	r.t.Helper()
	before := len(r.reports)
	req := httptest.NewRequest(http.MethodPost, target, strings.NewReader(body))
	req.RemoteAddr = "[::ffff:192.0.2.7]:4711"
	req.Header.Set("User-Agent", "player/1")
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	for name, values := range header {
		req.Header[name] = values
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	return w.Result(), r.reports[before:]
}

// records posts CMCD records, and returns the status of the answer and how many were taken.
func (r *rig) records(records ...string) (status, n int) {
	r.t.Helper()
	resp, got := r.post("application/cmcd", strings.Join(records, "\n"))
	return resp.StatusCode, len(got)
}

// expect posts CMCD records, and expects an answer and that so many are taken.
func (r *rig) expect(status, n int, records ...string) {
	r.t.Helper()
	if gotStatus, got := r.records(records...); gotStatus != status || got != n {
		r.t.Errorf("%.100q: status %d, %d taken, want %d and %d", records, gotStatus, got, status, n)
	}
}

// dropped expects that so many records were dropped for each reason since the start, and none for
// any other.
func (r *rig) dropped(want map[outcome]int) {
	r.t.Helper()
	for _, reason := range dropReasons {
		if n := testutil.ToFloat64(r.metrics.dropped[reason]); n != float64(want[reason]) {
			r.t.Errorf("%v records were dropped as %s, want %d", n, reason, want[reason])
		}
	}
}

func TestARecordBecomesAReport(t *testing.T) {
	r := newRig(t, nil)
	resp, got := r.post("application/cmcd", "e=ps,sid=\"s\",sta=r,ts=1764269150889,v=2\n")
	if resp.StatusCode != http.StatusNoContent || len(got) != 1 {
		t.Fatalf("status %d, %d reports, want 204 and 1", resp.StatusCode, len(got))
	}
	report := got[0]
	if !report.Time.Equal(now) || report.Edge != "edge-1" || report.Client != netip.MustParseAddr("192.0.2.7") ||
		report.UserAgent != "player/1" || report.Path != "/cmcd/tenant" || report.Playback != nil {
		t.Errorf("report is %+v", report)
	}
	if e, sid := report.CMCD.Text(cmcd.KeyE), report.CMCD.Text(cmcd.KeySID); e != "ps" || sid != "s" {
		t.Errorf("event %q of session %q, want ps of s", e, sid)
	}
}

func TestTheRecordsOfABodyKeepTheirOrder(t *testing.T) {
	r := newRig(t, nil)
	var body strings.Builder
	for sn := range 300 {
		fmt.Fprintf(&body, "e=t,sid=\"s\",sn=%d,ts=1764269150889,v=2\n", sn)
	}
	_, got := r.post("application/cmcd", body.String())
	if len(got) != 300 {
		t.Fatalf("%d reports, want 300", len(got))
	}
	for i := range got {
		if sn, _ := got[i].CMCD.Number(cmcd.KeySN); int(sn) != i {
			t.Fatalf("report %d has the number %v", i, sn)
		}
		if i > 0 && got[i].Time.Sub(got[i-1].Time) != time.Microsecond {
			t.Fatalf("report %d was received at %v, that before it at %v: want them a microsecond apart", i, got[i].Time, got[i-1].Time)
		}
	}
}

// manyKeys returns a record with n custom keys.
func manyKeys(n int) string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf("com.example-k%d=1", i)
	}
	return strings.Join(keys, ",")
}

func TestBodies(t *testing.T) {
	long := "sid=\"" + strings.Repeat("x", DefaultConfig().MaxRecordBytes) + "\""
	const mib = 1 << 20
	line := "e=t,sid=\"" + strings.Repeat("x", 2000) + "\",v=2\n" // 2,015 bytes: 520 of them in a mebibyte
	for _, tc := range []struct {
		name, contentType, body string
		status, reports         int
		dropped                 map[outcome]int
	}{
		{name: "batch", contentType: "application/cmcd", body: "e=t,sid=\"a\",v=2\ne=t,sid=\"b\",v=2", status: 204, reports: 2},
		{name: "line ends of Windows", contentType: "application/cmcd", body: "e=t,v=2\r\ne=t,v=2\r\n", status: 204, reports: 2},
		{name: "type of CTA-5004-A", contentType: "text/cmcd; charset=utf-8", body: "e=t,v=2", status: 204, reports: 1},
		{name: "beacon", contentType: "text/plain;charset=UTF-8", body: "e=t,v=2", status: 204, reports: 1},
		{name: "broken parameter of the type", contentType: "text/plain;charset", body: "e=t,v=2", status: 204, reports: 1},
		{name: "no type", body: "e=t,v=2", status: 204, reports: 1},
		{name: "byte order mark", body: "\ufeffe=t,v=2", status: 204, reports: 1},
		{name: "request mode", contentType: "application/cmcd", body: "br=3000,ot=v,sid=\"s\"", status: 204, reports: 1},
		{name: "JSON object", contentType: "application/json", body: `{"br":3000,"bs":true,"ot":"v","sid":"s"}`, status: 204, reports: 1},
		{name: "JSON array", contentType: "text/plain", body: ` [{"sid":"s"},{"sid":"t"}]`, status: 204, reports: 2},
		{name: "JSON object a line", contentType: "application/json", body: "{\"sid\":\"s\"}\n{\"sid\":\"t\"}\n", status: 204, reports: 2},
		{name: "JSON over several lines", contentType: "application/json", body: "{\n \"sid\": \"s\"\n}\n", status: 204, reports: 1},
		{name: "empty", contentType: "application/cmcd", status: 204},
		{
			name: "good and bad records", contentType: "application/cmcd", body: "e=t,v=2\nhello\n\n\xff\xfe\ne=t,v=9\ne=t,v=2",
			status: 204, reports: 2, dropped: map[outcome]int{noKeys: 2, unknownVersion: 1},
		},
		{
			name: "long record", contentType: "application/cmcd", body: long + "\ne=t,v=2",
			status: 204, reports: 1, dropped: map[outcome]int{tooLong: 1},
		},
		{
			name: "long record in JSON", contentType: "application/json", body: `[{"sid":"` + strings.Repeat("x", DefaultConfig().MaxRecordBytes) + `"},{"sid":"s"}]`,
			status: 204, reports: 1, dropped: map[outcome]int{tooLong: 1},
		},
		{
			name: "many records", contentType: "application/cmcd", body: strings.Repeat("e=t,v=2\n", 1005),
			status: 204, reports: 1000, dropped: map[outcome]int{tooMany: 5},
		},
		{
			name: "many records in a JSON array", contentType: "application/json", body: "[" + strings.Repeat(`{"v":1,"sid":"s"},`, 1004) + `{"sid":"s"}]`,
			status: 204, reports: 1000, dropped: map[outcome]int{tooMany: 5},
		},
		{
			name: "many lines of JSON", contentType: "application/json", body: strings.Repeat("{\"sid\":\"s\"}\n", 1005),
			status: 204, reports: 1000, dropped: map[outcome]int{tooMany: 5},
		},
		{name: "64 keys", contentType: "application/cmcd", body: manyKeys(63) + ",e=t", status: 204, reports: 1},
		{
			name: "65 keys", contentType: "application/cmcd", body: "e=t,v=2\n" + manyKeys(64) + ",e=t\n" + manyKeys(65),
			status: 204, reports: 1, dropped: map[outcome]int{tooManyKeys: 2},
		},
		{name: "broken JSON", contentType: "application/json", body: `{"br":`, status: 204, dropped: map[outcome]int{notJSON: 1}},
		{
			name: "JSON that breaks off", contentType: "application/json", body: `[{"sid":"s"},{"sid":"t"},{"si`,
			status: 204, reports: 2, dropped: map[outcome]int{notJSON: 1},
		},
		{
			name: "broken lines of JSON", contentType: "application/json", body: "{\"sid\":\"s\"\n{\"sid\":\"t\"}\n{\"sid\":\"u\n{\"sid\":\"v\"}\n7\n",
			status: 204, reports: 2, dropped: map[outcome]int{notJSON: 3},
		},
		{
			name: "what is no object in JSON", contentType: "application/json", body: `[1,"a",null,{"sid":"s"},[2,3]]`,
			status: 204, reports: 1, dropped: map[outcome]int{notJSON: 4},
		},
		{name: "body of the greatest length", contentType: "application/cmcd", body: strings.Repeat("e=t,v=2\n", 2) + strings.Repeat(" ", mib-16), status: 204, reports: 2},
		{
			name: "body too long", contentType: "application/cmcd", body: strings.Repeat(line, 525),
			status: 204, reports: 520, dropped: map[outcome]int{bodyTooLong: 5},
		},
		{
			name: "body too long of one line", contentType: "application/cmcd", body: strings.Repeat("x", mib+1),
			status: 204, dropped: map[outcome]int{bodyTooLong: 1},
		},
		{
			name: "body too long by line ends", contentType: "application/cmcd", body: "e=t,v=2" + strings.Repeat("\n", mib),
			status: 204, reports: 1,
		},
		{
			name: "JSON array too long", contentType: "application/json", body: "[" + strings.Repeat(`{"sid":"`+strings.Repeat("x", 2000)+`"},`, 524) + `{"sid":"s"}]`,
			status: 204, reports: 521, dropped: map[outcome]int{bodyTooLong: 1},
		},
		{
			name: "JSON lines too long", contentType: "application/json", body: strings.Repeat(`{"sid":"`+strings.Repeat("x", 2000)+"\"}\n", 525),
			status: 204, reports: 521, dropped: map[outcome]int{bodyTooLong: 4},
		},
		{name: "form", contentType: "application/x-www-form-urlencoded", body: "CMCD=e", status: 204, dropped: map[outcome]int{noKeys: 1}},
		{name: "strange type", contentType: "a/b/c", body: "e=t,v=2", status: 204, reports: 1},
		{name: "type of a picture", contentType: "image/png", body: "e=t,v=2\nsu", status: 204, reports: 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t, nil)
			resp, got := r.post(tc.contentType, tc.body)
			if resp.StatusCode != tc.status || len(got) != tc.reports {
				t.Errorf("status %d, %d reports, want %d and %d", resp.StatusCode, len(got), tc.status, tc.reports)
			}
			if resp.Header.Get("Access-Control-Allow-Origin") != "*" {
				t.Error("the page is not allowed to see the answer")
			}
			if closing := resp.Header.Get("Connection") == "close"; closing != (tc.dropped[bodyTooLong] > 0) {
				t.Errorf("the connection is closed: %v", closing)
			}
			if text, _ := io.ReadAll(resp.Body); (len(text) > 0) != (tc.status >= 400) {
				t.Errorf("text is %q with status %d", text, tc.status)
			}
			r.dropped(tc.dropped)
			if n := testutil.ToFloat64(r.metrics.requests.WithLabelValues("cmcd", fmt.Sprint(tc.status))); n != 1 {
				t.Errorf("%v requests counted with status %d, want 1", n, tc.status)
			}
			ids := map[uuid.UUID]bool{}
			for _, report := range got {
				ids[report.ID] = true
			}
			if len(ids) != len(got) {
				t.Error("two reports have the same ID")
			}
		})
	}
}

func TestPreflight(t *testing.T) {
	r := newRig(t, nil)
	for methods, h := range map[string]http.Handler{"POST, GET, HEAD, OPTIONS": r, "POST, OPTIONS": r.Events()} {
		headers := "Content-Type, Authorization, Prefer"
		if h == r {
			headers += ", CMCD-Request, CMCD-Object, CMCD-Status, CMCD-Session"
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodOptions, "/cmcd", nil))
		for name, want := range map[string]string{
			"Access-Control-Allow-Origin":  "*",
			"Access-Control-Allow-Methods": methods,
			"Access-Control-Allow-Headers": headers,
			"Access-Control-Max-Age":       "7200",
		} {
			if got := w.Header().Get(name); got != want {
				t.Errorf("%s is %q, want %q", name, got, want)
			}
		}
		if w.Code != http.StatusNoContent || w.Body.Len() > 0 || len(r.reports) > 0 {
			t.Errorf("status %d with %d bytes, want 204 with none", w.Code, w.Body.Len())
		}
	}
}

func TestOtherMethods(t *testing.T) {
	r := newRig(t, nil)
	for allow, h := range map[string]http.Handler{"POST, GET, HEAD, OPTIONS": r, "POST, OPTIONS": r.Events()} {
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete} {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest(method, "/cmcd?x=CMCD", strings.NewReader("e=t,v=2")))
			if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != allow || len(r.reports) > 0 {
				t.Errorf("%s: status %d, Allow %q", method, w.Code, w.Header().Get("Allow"))
			}
		}
	}
}

// Shaka Player 4.16 to 5.1 sends its events with GET, in the query or in headers.
func TestAReportWithoutABody(t *testing.T) {
	query := "/cmcd/x?a=1&CMCD=" + url.QueryEscape(`e="ps",sid="s",sn=3,sta="p",ts=1764269150889,v=2`)
	for name, tc := range map[string]struct {
		method, target string
		header         http.Header
		status, taken  int
		dropped        map[outcome]int
	}{
		"query":      {http.MethodGet, query, nil, 204, 1, nil},
		"HEAD":       {http.MethodHead, query, nil, 204, 1, nil},
		"headers":    {http.MethodGet, "/cmcd/x", http.Header{"Cmcd-Request": {`e=ps,sn=3,sta=p,ts=1764269150889`}, "Cmcd-Session": {`sid="s",v=2`}}, 204, 1, nil},
		"no keys":    {http.MethodGet, "/cmcd?CMCD=hello", nil, 204, 0, map[outcome]int{noKeys: 1}},
		"nothing":    {http.MethodGet, "/cmcd?CMCD", nil, 204, 0, map[outcome]int{noKeys: 1}},
		"too long":   {http.MethodGet, "/cmcd?CMCD=" + strings.Repeat("a-b%2C", 10) + "cid%3D%22" + strings.Repeat("x", 20<<10) + "%22", nil, 204, 0, map[outcome]int{tooLong: 1}},
		"not events": {http.MethodPut, query, nil, 405, 0, nil},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			for range 2 { // the second is a resend
				req := httptest.NewRequest(tc.method, tc.target, nil)
				for name, values := range tc.header {
					req.Header[name] = values
				}
				w := httptest.NewRecorder()
				r.ServeHTTP(w, req)
				if w.Code != tc.status || tc.status == 204 && w.Header().Get("Cache-Control") != "no-store" {
					t.Errorf("status %d, header %v", w.Code, w.Header())
				}
			}
			if len(r.reports) != tc.taken {
				t.Fatalf("%d reports, want %d", len(r.reports), tc.taken)
			}
			for reason, n := range tc.dropped {
				tc.dropped[reason] = 2 * n
			}
			r.dropped(tc.dropped)
			if tc.taken > 0 {
				report := r.reports[0]
				if report.StateChange() != "p" || report.Path != "/cmcd/x" || report.CMCD.Text(cmcd.KeySID) != "s" {
					t.Errorf("report is %+v of %q", report, report.CMCD.String())
				}
			}
		})
	}
}

func TestThoseWhoAskAreToldOfEachRecord(t *testing.T) {
	r := newRig(t, nil)
	r.expect(204, 1, `e=t,sid="s",sn=0,ts=5,v=2`)
	ask := http.Header{"Prefer": {"wait=10", `foo, Return = "representation" ;x=y`}}
	resp, _ := r.send(r, "/cmcd/tenant", "", "e=t,sid=\"s\",sn=0,ts=5,v=2\nhello\n,e=t,ot=\"v\",v=2\ne=t,v=2", ask)
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Preference-Applied") != "return=representation" || resp.Header.Get("Content-Type") != "application/json" {
		t.Errorf("status %d, header %v", resp.StatusCode, resp.Header)
	}
	var got cmcdAnswer
	if err := json.NewDecoder(resp.Body).Decode(&got); err != nil {
		t.Fatal(err)
	}
	if got.Accepted != 2 || got.Duplicates != 1 || got.Dropped != 1 || len(got.Records) != 4 || got.LeftOut != 0 {
		t.Fatalf("answer is %+v", got)
	}
	for i, want := range []recordAnswer{
		{Index: 0, Result: "duplicate", ID: r.reports[0].ID.String()},
		{Index: 1, Result: "dropped", Reason: noKeys},
		{Index: 2, Result: "taken", ID: r.reports[1].ID.String(), Warnings: []string{"comma", "quoted"}},
		{Index: 3, Result: "taken", ID: r.reports[2].ID.String()},
	} {
		if g := got.Records[i]; g.Index != want.Index || g.Result != want.Result || g.Reason != want.Reason || g.ID != want.ID || !slices.Equal(g.Warnings, want.Warnings) {
			t.Errorf("record %d: %+v, want %+v", i, g, want)
		}
	}

	resp, _ = r.send(r, "/cmcd", "", strings.Repeat("e=t,v=2\n", 1005), ask)
	got = cmcdAnswer{}
	if err := json.NewDecoder(resp.Body).Decode(&got); err != nil {
		t.Fatal(err)
	}
	if got.Accepted != 1000 || got.Dropped != 5 || len(got.Records) != 1000 || got.LeftOut != 5 {
		t.Errorf("of 1,005 records: accepted %d, dropped %d, told of %d and %d", got.Accepted, got.Dropped, len(got.Records), got.LeftOut)
	}

	for _, other := range []string{"", "return=minimal", "respond-async", "return", "representation"} {
		if resp, _ := r.send(r, "/cmcd", "", "e=t,v=2", http.Header{"Prefer": {other}}); resp.StatusCode != http.StatusNoContent {
			t.Errorf("Prefer: %s: status %d, want 204", other, resp.StatusCode)
		}
	}
}

// Whatever goes wrong in here, a player that got a 500 would send the record again and again.
func TestAPanicCostsItsRecordOnly(t *testing.T) {
	r := newRig(t, nil)
	parse := r.cmcd.parse
	r.cmcd.parse = func(h *Handler, raw []byte, isJSON bool, record *record, report *telemetry.Report) outcome {
		if string(raw) == "boom" {
			panic("boom")
		}
		return parse(h, raw, isJSON, record, report)
	}
	r.expect(204, 2, "e=t,v=2", "boom", "e=t,v=2")
	r.dropped(map[outcome]int{internalError: 1})

	r.cmcd.answer = func(*Handler, *batch, http.ResponseWriter, *http.Request) int { panic("boom") }
	r.accept = func(context.Context, []telemetry.Report) error { panic("boom") }
	r.expect(204, 0, "e=t,v=2")
	r.cmcd.answer = answerCMCD
	r.accept = func(context.Context, []telemetry.Report) error { return nil }
	r.expect(204, 0, "e=t,v=2")
}

func TestConfigIsChecked(t *testing.T) {
	for key, change := range map[string]func(*Config){
		"max_body_bytes":      func(c *Config) { c.MaxBodyBytes = 0 },
		"body_timeout":        func(c *Config) { c.BodyTimeout = 0 },
		"max_record_bytes":    func(c *Config) { c.MaxRecordBytes = -1 },
		"max_records":         func(c *Config) { c.MaxRecords = 0 },
		"max_keys":            func(c *Config) { c.MaxKeys = 0 },
		"accept_timeout":      func(c *Config) { c.AcceptTimeout = 0 },
		"sample":              func(c *Config) { c.Sample = 1.1 },
		"shed_load":           func(c *Config) { c.ShedLoad = -0.1 },
		"max_session_records": func(c *Config) { c.MaxSessionRecords = -1 },
		"silence_time":        func(c *Config) { c.SilenceTime = 0 },
		"sessions":            func(c *Config) { c.Sessions = 0 },
		"remember_records":    func(c *Config) { c.RememberRecords = 0 },
	} {
		c := DefaultConfig()
		change(&c)
		if err := c.Validate(); err == nil || !strings.HasPrefix(err.Error(), key+" is ") {
			t.Errorf("%s: error %v, want one that names it", key, err)
		}
	}
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
}
