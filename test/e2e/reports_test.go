package e2e

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"
)

// compareResponses holds what the player reported of answers (event rr) against the edge's rows: each
// is with the row of its own request, which is the one of that path that the browser sent when the
// player says it asked.
func compareResponses(t *testing.T, p *program, sid string, said *spoken) {
	t.Helper()
	var d sessionDetails
	if err := p.get("/api/v1/sessions/"+sid, &d); err != nil {
		t.Fatal(err)
	}
	told := 0
	var faults []string
	for _, e := range d.Reports {
		if e.Event != "rr" {
			continue
		}
		report, err := stored(e.CMCD)
		if err != nil {
			t.Fatal(err)
		}
		path, asked := responseOf(t, report)
		sent := nearestRequest(said.requests[path], asked)
		if sent == nil {
			continue // the browser answered it, or it went out without CMCD
		}
		told++
		if fault := joined(&d, e.RequestID, path, sent, report); fault != "" {
			faults = append(faults, fmt.Sprintf("the report with sn=%s, of %s: %s", report["sn"], path, fault))
		}
	}
	t.Logf("%d of %d reports of answers are with the row of their request", told-len(faults), told)
	for i, fault := range faults {
		if i == 5 {
			break
		}
		t.Error(fault)
	}
	if told < 5 {
		t.Errorf("the player reported only %d answers", told)
	}
}

// joined says what is wrong with the row that a report of an answer is with, "" if nothing.
func joined(d *sessionDetails, id, path string, sent, report record) string {
	for _, e := range d.Exchanges {
		if e.ID != id {
			continue
		}
		row, err := stored(e.CMCD)
		switch {
		case err != nil:
			return err.Error()
		case e.Path != path || !maps.Equal(row, sent):
			return fmt.Sprintf("is with the row of %s, %v\nand not with %v", e.Path, row, sent)
		case e.Response == nil:
			return "its row does not know of it"
		case e.Response.Status == nil || strconv.Itoa(*e.Response.Status) != report["rc"]:
			return fmt.Sprintf("the status of its row is %v, the player says %s", e.Response.Status, report["rc"])
		case e.Response.TTLB != nil && strconv.FormatFloat(*e.Response.TTLB*1000, 'f', 0, 64) != report["ttlb"]:
			return fmt.Sprintf("the last byte came after %v s in its row, the player says %s ms", *e.Response.TTLB, report["ttlb"])
		}
		return ""
	}
	return fmt.Sprintf("it is with no row of the session, as %q; the request said %v", id, sent)
}

// responseOf is what a report speaks of: the path, and when the player asked for it.
func responseOf(t *testing.T, report record) (path string, asked time.Time) {
	t.Helper()
	text, err := strconv.Unquote(report["url"])
	if err != nil {
		t.Fatalf("url=%s: %v", report["url"], err)
	}
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	ms, err := strconv.ParseInt(report["ts"], 10, 64)
	if err != nil {
		t.Fatalf("ts=%s: %v", report["ts"], err)
	}
	return u.Path, time.UnixMilli(ms)
}

func nearestRequest(requests []request, asked time.Time) record {
	var nearest record
	least := time.Duration(-1)
	for _, r := range requests {
		if d := r.at.Sub(asked).Abs(); least < 0 || d < least {
			nearest, least = r.said, d
		}
	}
	return nearest
}

// report posts a body to the collector and returns the status of the answer.
func (p *program) report(t *testing.T, path, contentType, body string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+p.public+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	return status(t, req)
}

func status(t *testing.T, req *http.Request) int {
	t.Helper()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode
}

// A body may come twice, as players send again what they are not sure of, with some of the records in
// another body: each record is there once. Nothing that is wrong with one costs another.
func TestReportsAreKeptOnce(t *testing.T) {
	p := serve(t)
	now := time.Now().UnixMilli()
	line := func(sn int, more string) string {
		return fmt.Sprintf(`cid=%q,e=ps,sid="posted",sn=%d,sta=p,ts=%d,v=2%s`, contentID, sn, now+int64(sn), more)
	}
	bodies := []struct{ contentType, body string }{
		{"application/cmcd", line(0, "") + "\n" + line(1, ",bl=(4000;v 3900;a)") + "\n"},
		{"application/cmcd", line(0, "") + "\n" + line(1, ",bl=(4000;v 3900;a)") + "\n"}, // again
		{"text/cmcd", line(1, ",bl=(4000;v 3900;a)") + "\n" + line(2, "")},               // in part
		{"text/plain;charset=UTF-8", "\x00rubbish\n" + line(3, ",br=x,=,") + "\r\n\n"},
		{"application/x-www-form-urlencoded", ""}, // a refusal would make dash.js send it again and again
	}
	for i, b := range bodies {
		if got := p.report(t, "/cmcd/here", b.contentType, b.body); got != http.StatusNoContent {
			t.Errorf("body %d: status %d, want 204", i, got)
		}
	}
	said := &spoken{}
	for _, text := range []string{line(0, ""), line(1, ",bl=(4000;v 3900;a)"), line(2, ""), line(3, "")} {
		r, err := strict(text)
		if err != nil {
			t.Fatal(err)
		}
		said.reports = append(said.reports, r)
	}
	var faults []string
	waitFor(t, 10*time.Second, "the reports are stored once each", func() error {
		var d sessionDetails
		if err := p.get("/api/v1/sessions/posted", &d); err != nil {
			return err
		}
		var err error
		if faults, err = compareRows(&d, said); err != nil || len(faults) > 0 {
			return fmt.Errorf("%q: %w", faults, err)
		}
		return nil
	})
}

// Shaka 4.16 to 5.1 sends each event with a GET of the target's address, in the query or in headers.
func TestReportsThatComeByGETAreKept(t *testing.T) {
	p := serve(t)
	const sent = `e="ps",sid="got",sn=%d,sta="p",ts=%d,v=2`
	now := time.Now().UnixMilli()
	var reqs []*http.Request
	for i, headers := range []bool{false, true} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+p.public+"/cmcd", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		if said := fmt.Sprintf(sent, i, now); headers {
			req.Header.Set("CMCD-Request", said)
		} else {
			req.URL.RawQuery = "CMCD=" + url.QueryEscape(said)
		}
		reqs = append(reqs, req)
	}
	preflight, err := http.NewRequestWithContext(t.Context(), http.MethodOptions, reqs[1].URL.String(), http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	preflight.Header.Set("Access-Control-Request-Method", http.MethodGet)
	preflight.Header.Set("Access-Control-Request-Headers", "cmcd-request")
	resp, err := http.DefaultClient.Do(preflight)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	methods, headers := resp.Header.Get("Access-Control-Allow-Methods"), resp.Header.Get("Access-Control-Allow-Headers")
	if !strings.Contains(methods, http.MethodGet) || !strings.Contains(strings.ToLower(headers), "cmcd-request") {
		t.Errorf("a page may send %s with %s, want GET with CMCD-Request", methods, headers)
	}
	for _, req := range reqs {
		if got := status(t, req); got != http.StatusNoContent {
			t.Errorf("GET %s %v: status %d, want 204", req.URL, req.Header, got)
		}
	}
	waitFor(t, 10*time.Second, "both reports are stored", func() error {
		var d sessionDetails
		if err := p.get("/api/v1/sessions/got", &d); err != nil {
			return err
		}
		if len(d.Reports) != 2 {
			return fmt.Errorf("there are %d", len(d.Reports))
		}
		return nil
	})
}
