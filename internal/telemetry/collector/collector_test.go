package collector

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
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

func newHandler(t testing.TB, report func(telemetry.Report)) *Handler {
	t.Helper()
	h, err := New(Settings{
		Config: DefaultConfig(), Edge: "edge-1", Report: report,
		Registerer: prometheus.NewRegistry(), Now: func() time.Time { return now },
	})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// post sends body and returns the answer and the reports that came of it.
func post(t *testing.T, h *Handler, reports *[]telemetry.Report, contentType, body string) (*http.Response, []telemetry.Report) {
	t.Helper()
	*reports = nil
	r := httptest.NewRequest(http.MethodPost, "/cmcd/tenant", strings.NewReader(body))
	r.RemoteAddr = "[::ffff:192.0.2.7]:4711"
	r.Header.Set("User-Agent", "player/1")
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result(), *reports
}

func TestARecordBecomesAReport(t *testing.T) {
	var reports []telemetry.Report
	h := newHandler(t, func(r telemetry.Report) { reports = append(reports, r) })
	resp, got := post(t, h, &reports, "application/cmcd", "e=ps,sid=\"s\",sta=r,ts=1764269150889,v=2\n")
	if resp.StatusCode != http.StatusNoContent || len(got) != 1 {
		t.Fatalf("status %d, %d reports, want 204 and 1", resp.StatusCode, len(got))
	}
	r := got[0]
	if r.ID.Version() != 7 || !r.Time.Equal(now) || r.Edge != "edge-1" || r.Client != netip.MustParseAddr("192.0.2.7") ||
		r.UserAgent != "player/1" || r.Path != "/cmcd/tenant" {
		t.Errorf("report is %+v", r)
	}
	if e, sid := r.CMCD.Text(cmcd.KeyE), r.CMCD.Text(cmcd.KeySID); e != "ps" || sid != "s" {
		t.Errorf("event %q of session %q, want ps of s", e, sid)
	}
}

func TestBodies(t *testing.T) {
	long := "sid=\"" + strings.Repeat("x", DefaultConfig().MaxRecordBytes) + "\""
	for _, tc := range []struct {
		name, contentType, body string
		status, reports         int
		dropped                 map[string]int
	}{
		{name: "batch", contentType: "application/cmcd", body: "e=t,sid=\"a\",v=2\ne=t,sid=\"b\",v=2", status: 204, reports: 2},
		{name: "line ends of Windows", contentType: "application/cmcd", body: "e=t,v=2\r\ne=t,v=2\r\n", status: 204, reports: 2},
		{name: "type of CTA-5004-A", contentType: "text/cmcd; charset=utf-8", body: "e=t,v=2", status: 204, reports: 1},
		{name: "beacon", contentType: "text/plain;charset=UTF-8", body: "e=t,v=2", status: 204, reports: 1},
		{name: "broken parameter of the type", contentType: "text/plain;charset", body: "e=t,v=2", status: 204, reports: 1},
		{name: "no type", body: "e=t,v=2", status: 204, reports: 1},
		{name: "request mode", contentType: "application/cmcd", body: "br=3000,ot=v,sid=\"s\"", status: 204, reports: 1},
		{name: "JSON object", contentType: "application/json", body: `{"br":3000,"bs":true,"ot":"v","sid":"s"}`, status: 204, reports: 1},
		{name: "JSON array", contentType: "text/plain", body: ` [{"sid":"s"},{"sid":"t"}]`, status: 204, reports: 2},
		{name: "empty", contentType: "application/cmcd", status: 204},
		{
			name: "good and bad records", contentType: "application/cmcd", body: "e=t,v=2\nhello\n\n\xff\xfe\ne=t,v=9\ne=t,v=2",
			status: 204, reports: 2, dropped: map[string]int{noKeys: 2, unknownVersion: 1},
		},
		{
			name: "long record", contentType: "application/cmcd", body: long + "\ne=t,v=2",
			status: 204, reports: 1, dropped: map[string]int{tooLong: 1},
		},
		{
			name: "long record in JSON", contentType: "application/json", body: `[{"sid":"` + strings.Repeat("x", DefaultConfig().MaxRecordBytes) + `"},{"sid":"s"}]`,
			status: 204, reports: 1, dropped: map[string]int{tooLong: 1},
		},
		{
			name: "many records", contentType: "application/cmcd", body: strings.Repeat("e=t,v=2\n", 1005),
			status: 204, reports: 1000, dropped: map[string]int{tooMany: 5},
		},
		{name: "broken JSON", contentType: "application/json", body: `{"br":`, status: 204, dropped: map[string]int{notJSON: 1}},
		{name: "body too long", contentType: "application/cmcd", body: strings.Repeat("x", 1<<20+1), status: 413},
		{name: "form", contentType: "application/x-www-form-urlencoded", body: "CMCD=e", status: 415},
		{name: "strange type", contentType: "a/b/c", body: "e=t,v=2", status: 415},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var reports []telemetry.Report
			h := newHandler(t, func(r telemetry.Report) { reports = append(reports, r) })
			resp, got := post(t, h, &reports, tc.contentType, tc.body)
			if resp.StatusCode != tc.status || len(got) != tc.reports {
				t.Errorf("status %d, %d reports, want %d and %d", resp.StatusCode, len(got), tc.status, tc.reports)
			}
			if resp.Header.Get("Access-Control-Allow-Origin") != "*" {
				t.Error("the page is not allowed to see the answer")
			}
			if text, _ := io.ReadAll(resp.Body); (len(text) > 0) != (tc.status >= 400) {
				t.Errorf("text is %q with status %d", text, tc.status)
			}
			for _, reason := range []string{noKeys, unknownVersion, tooLong, tooMany, notJSON} {
				if n := testutil.ToFloat64(h.metrics.dropped.WithLabelValues(reason)); n != float64(tc.dropped[reason]) {
					t.Errorf("%v records counted as %s, want %d", n, reason, tc.dropped[reason])
				}
			}
			if n := testutil.ToFloat64(h.metrics.requests.WithLabelValues(fmt.Sprint(tc.status))); n != 1 {
				t.Errorf("%v requests counted with status %d, want 1", n, tc.status)
			}
			ids := map[uuid.UUID]bool{}
			for _, r := range got {
				ids[r.ID] = true
			}
			if len(ids) != len(got) {
				t.Error("two reports have the same ID")
			}
		})
	}
}

func TestPreflight(t *testing.T) {
	h := newHandler(t, func(telemetry.Report) { t.Error("a preflight gave a report") })
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodOptions, "/cmcd", nil))
	for name, want := range map[string]string{
		"Access-Control-Allow-Origin":  "*",
		"Access-Control-Allow-Methods": "POST, OPTIONS",
		"Access-Control-Allow-Headers": "Content-Type, Authorization",
		"Access-Control-Max-Age":       "7200",
	} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if w.Code != http.StatusNoContent {
		t.Errorf("status %d, want 204", w.Code)
	}
}

func TestOtherMethods(t *testing.T) {
	h := newHandler(t, func(telemetry.Report) { t.Error("a wrong method gave a report") })
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(method, "/cmcd", strings.NewReader("e=t,v=2")))
		if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "POST, OPTIONS" {
			t.Errorf("%s: status %d, Allow %q", method, w.Code, w.Header().Get("Allow"))
		}
	}
}

// A player that closes its page cuts off the body, over a real connection.
func TestACutBodyDoesNoHarm(t *testing.T) {
	done := make(chan struct{})
	h := newHandler(t, func(telemetry.Report) { t.Error("half a body gave a report") })
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(done)
		h.ServeHTTP(w, r)
	}))
	defer server.Close()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(conn, "POST /cmcd HTTP/1.1\r\nHost: x\r\nContent-Type: application/cmcd\r\nContent-Length: 100\r\n\r\ne=t,sid=\"abc")
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	conn.Close()
	<-done
	if resp.StatusCode != http.StatusBadRequest {
		t.Errorf("status %d, want 400", resp.StatusCode)
	}
}

func TestABodyThatNeverEndsIsGivenUp(t *testing.T) {
	config := DefaultConfig()
	config.BodyTimeout = 50 * time.Millisecond
	h, err := New(Settings{Config: config, Report: func(telemetry.Report) { t.Error("half a body became a report") }})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(h)
	defer server.Close()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "POST /cmcd HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nsid="); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusRequestTimeout {
		t.Errorf("status %d, want 408", resp.StatusCode)
	}
}

func TestConfigIsChecked(t *testing.T) {
	for key, change := range map[string]func(*Config){
		"max_body_bytes":   func(c *Config) { c.MaxBodyBytes = 0 },
		"body_timeout":     func(c *Config) { c.BodyTimeout = 0 },
		"max_record_bytes": func(c *Config) { c.MaxRecordBytes = -1 },
		"max_records":      func(c *Config) { c.MaxRecords = 0 },
	} {
		c := DefaultConfig()
		change(&c)
		if err := c.Validate(); err == nil || !strings.HasPrefix(err.Error(), key+" is ") {
			t.Errorf("%s: error %v, want one that names it", key, err)
		}
	}
}

// Whatever is posted is answered with 204, and never costs more records than it has lines.
func FuzzCollector(f *testing.F) {
	f.Add("application/cmcd", []byte("e=t,sid=\"a\",v=2\ne=ps,sta=r\n"))
	f.Add("application/json", []byte(`[{"br":3000,"sid":"s"}]`))
	f.Add("text/plain", []byte("\xff\n\n,,,\n("))
	f.Fuzz(func(t *testing.T, contentType string, body []byte) {
		n := 0
		h := newHandler(t, func(r telemetry.Report) {
			n++
			if r.CMCD.Len() == 0 && len(r.CMCD.Custom) == 0 {
				t.Error("a report says nothing")
			}
		})
		r := httptest.NewRequest(http.MethodPost, "/cmcd", bytes.NewReader(body))
		r.Header.Set("Content-Type", contentType)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != 204 && w.Code != 415 {
			t.Errorf("status %d", w.Code)
		}
		if lines := bytes.Count(body, []byte("\n")) + 1; n > lines && !json.Valid(body) {
			t.Errorf("%d reports of %d lines", n, lines)
		}
	})
}
