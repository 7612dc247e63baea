package rest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-stream/weir/internal/cdn"
)

// purger stands for a fleet.
type purger struct {
	asked   []cdn.Purge
	wait    time.Duration
	missing map[string][]string // by target
	err     map[string]error
}

func (p *purger) Purge(ctx context.Context, purges []cdn.Purge) []PurgeOutcome {
	p.asked = purges
	if deadline, ok := ctx.Deadline(); ok {
		p.wait = time.Until(deadline)
	}
	var all []PurgeOutcome
	for i, one := range purges {
		o := PurgeOutcome{ID: fmt.Sprint("id-", i), Sequence: uint64(i + 1), Missing: p.missing[one.Target], Err: p.err[one.Target]}
		for _, node := range []string{"edge-1", "edge-2"} {
			if len(o.Missing) == 0 || node != o.Missing[0] {
				o.Confirmed = append(o.Confirmed, node)
			}
		}
		all = append(all, o)
	}
	return all
}

func postPurge(t *testing.T, p Purger, contentType, body string) (status int, header http.Header, report PurgeReport, detail string) {
	t.Helper()
	e := &engines{}
	h, err := New(Settings{
		Sessions: e, Querier: e, Streams: e, Snapshot: e, Silencer: e, Examine: examineWords, Purger: p,
		Addresses: func(string) Addresses { return Addresses{} },
	})
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodPost, purgePath, strings.NewReader(body))
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	h.ServeHTTP(w, r)
	var answer PurgeError
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
		t.Fatalf("%v: %s", err, w.Body)
	}
	for _, e := range answer.Errors {
		answer.Detail += "; " + e.Location + " " + e.Message
	}
	return w.Code, w.Header(), answer.PurgeReport, answer.Detail
}

func TestPurgesAreCarriedOut(t *testing.T) {
	p := &purger{}
	status, _, report, _ := postPurge(t, p, "application/json", `{"purges": [
		{"scope":"url","target":"/live/tv/1.m4s?a=b","host":"cdn.example"},
		{"scope":"tag","target":"sport","soft":true,"id":"mine"},
		{"scope":"all"}], "wait": "2s"}`)
	if status != http.StatusOK {
		t.Fatalf("status %d", status)
	}
	want := []cdn.Purge{
		{Scope: cdn.PurgeURL, Target: "/live/tv/1.m4s?a=b", Host: "cdn.example", By: "192.0.2.1"},
		{Scope: cdn.PurgeTag, Target: "sport", Soft: true, ID: "mine", By: "192.0.2.1"},
		{Scope: cdn.PurgeAll, By: "192.0.2.1"},
	}
	if diff := cmp.Diff(want, p.asked); diff != "" {
		t.Errorf("asked (-want +got)\n%s", diff)
	}
	if p.wait > 2*time.Second || p.wait < time.Second {
		t.Errorf("waited %v, want 2s", p.wait)
	}
	report.Duration = 0
	if diff := cmp.Diff(PurgeReport{
		Purges:    []PurgeItemReport{{ID: "id-0", Sequence: 1, Missing: []string{}}, {ID: "id-1", Sequence: 2, Missing: []string{}}, {ID: "id-2", Sequence: 3, Missing: []string{}}},
		Confirmed: []string{"edge-1", "edge-2"}, Missing: []string{},
	}, report); diff != "" {
		t.Errorf("report (-want +got)\n%s", diff)
	}
}

func TestNodesThatHaveNotConfirmedAreNamed(t *testing.T) {
	p := &purger{missing: map[string][]string{"b": {"edge-2"}}}
	status, header, report, detail := postPurge(t, p, "application/json", `{"purges":[{"scope":"tag","target":"a"},{"scope":"tag","target":"b"}],"wait":"1s"}`)
	if status != http.StatusGatewayTimeout || header.Get("Content-Type") != "application/problem+json" || !strings.HasPrefix(detail, "1 of 2 nodes have not confirmed within ") {
		t.Errorf("answer %d %s %q", status, header.Get("Content-Type"), detail)
	}
	if diff := cmp.Diff([]string{"edge-2"}, report.Missing); diff != "" || len(report.Confirmed) != 1 || len(report.Purges[0].Missing) != 0 || len(report.Purges[1].Missing) != 1 {
		t.Errorf("report = %+v", report)
	}
}

func TestAPurgeThatIsNotStored(t *testing.T) {
	p := &purger{err: map[string]error{"b": errors.New("dial tcp 10.0.0.7: refused")}}
	status, _, report, detail := postPurge(t, p, "application/json", `{"purges":[{"scope":"tag","target":"a"},{"scope":"tag","target":"b"}]}`)
	if status != http.StatusServiceUnavailable || !strings.Contains(detail, "1 of 2") || report.Purges[0].Error != "" || report.Purges[1].Error != "it was not carried out" { // stored or not: a node that is alone stores nothing
		t.Errorf("answer %d %q %+v", status, detail, report)
	}
	if strings.Contains(report.Purges[1].Error, "10.0.0.7") {
		t.Error("the answer tells the inside of the fleet")
	}
}

func TestPurgesThatCannotBe(t *testing.T) {
	for name, c := range map[string]struct {
		contentType, body string
		status            int
		says              string
	}{
		"nothing":                 {"application/json", `{"purges":[]}`, 422, "purges"},
		"an unknown scope":        {"application/json", `{"purges":[{"scope":"tags","target":"a"}]}`, 422, "url, prefix, tag, all"},
		"an unknown member":       {"application/json", `{"purges":[{"scope":"all","tags":["a"]}]}`, 422, "tags"},
		"a url without a path":    {"application/json", `{"purges":[{"scope":"all"},{"scope":"url","target":"a"}]}`, 400, "purges[1]: the target is \"a\"; a path that begins with / is expected; nothing was purged"},
		"all with a target":       {"application/json", `{"purges":[{"scope":"all","target":"/"}]}`, 400, "none is expected"},
		"a wait without a unit":   {"application/json", `{"purges":[{"scope":"all"}],"wait":"5"}`, 400, "such as 500ms or 5s"},
		"a wait that is too long": {"application/json", `{"purges":[{"scope":"all"}],"wait":"2m"}`, 400, "at most 1m"},
		"no JSON":                 {"application/json", `all`, 400, "invalid character"},
		"too many":                {"application/json", `{"purges":[` + strings.Repeat(`{"scope":"all"},`, 1000) + `{"scope":"all"}]}`, 422, "<= 1000"},
		"a page's form":           {"text/plain", `{"purges":[{"scope":"all"}]}`, 415, "application/json"},
		"no type":                 {"", `{"purges":[{"scope":"all"}]}`, 415, "application/json"},
	} {
		t.Run(name, func(t *testing.T) {
			p := &purger{}
			status, header, _, detail := postPurge(t, p, c.contentType, c.body)
			if status != c.status || !strings.Contains(detail, c.says) || header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("answer %d %s %q, want %d with %q", status, header.Get("Content-Type"), detail, c.status, c.says)
			}
			if p.asked != nil {
				t.Errorf("it was purged: %v", p.asked)
			}
		})
	}
}

func TestANodeThatCanPurgeNothing(t *testing.T) {
	if status, _, _, detail := postPurge(t, nil, "application/json", `{"purges":[{"scope":"all"}]}`); status != http.StatusNotImplemented {
		t.Errorf("answer %d %q", status, detail)
	}
}
