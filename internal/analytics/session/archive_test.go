//go:build cgo && !noduckdb

package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/weir-stream/weir/internal/analytics"
	"github.com/weir-stream/weir/internal/telemetry"
	"github.com/weir-stream/weir/internal/telemetry/store/duckdb"
)

// archive holds the records in a real store.
func archive(t *testing.T, batch telemetry.Batch, change func(*Config)) *Archive {
	t.Helper()
	config := duckdb.DefaultConfig()
	config.Retention = 0 // the records have a fixed date
	store, err := duckdb.New(duckdb.Settings{Config: config, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := store.Append(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	own := DefaultConfig()
	if change != nil {
		change(&own)
	}
	a, err := NewArchive(ArchiveSettings{Config: own, Store: store, Now: func() time.Time { return after(60) }})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// What comes out of the store is the session that its records make.
func TestStoredSessionIsTheSame(t *testing.T) {
	for name, r := range map[string]*records{"evening": evening(t), "evening with Shaka": shakaEvening(t)} {
		want := r.join()
		a := archive(t, telemetry.Batch{Requests: r.requests}, nil)
		details, err := a.Session(t.Context(), "s-1")
		if err != nil {
			t.Fatal(err)
		}
		if got := details.Session; written(t, got) != written(t, want) {
			t.Errorf("%s: stored\n%+v\nwant\n%+v", name, got, want)
		}
		if len(details.Exchanges) != 20 || details.Truncated || !slices.IsSortedFunc(details.Exchanges, func(a, b analytics.Exchange) int { return a.Time.Compare(b.Time) }) {
			t.Errorf("%s: %d exchanges, truncated %v", name, len(details.Exchanges), details.Truncated)
		}
		first := details.Exchanges[0]
		if first.Path != "/live/test/manifest.mpd" || first.CMCD["sid"] != `"s-1"` || first.CacheStatus != "collapsed" || first.TTFB != 0.001 {
			t.Errorf("%s: first exchange = %+v", name, first)
		}
	}
}

func written(t *testing.T, s analytics.Session) string {
	t.Helper()
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestCapturedSessionsSurviveTheStore(t *testing.T) {
	for _, c := range capturedSessions(t) {
		var batch telemetry.Batch
		for _, r := range c.requests {
			r.ID = uuid.Must(uuid.NewV7())
			r.Stream = "test"
			batch.Requests = append(batch.Requests, r)
		}
		for _, r := range c.reports {
			r.ID = uuid.Must(uuid.NewV7())
			batch.Reports = append(batch.Reports, r)
		}
		want := Join(batch.Requests, batch.Reports, after(60))
		sessions, err := archive(t, batch, nil).Sessions(t.Context(), analytics.SessionFilter{})
		if err != nil {
			t.Fatal(err)
		}
		if len(sessions) != 1 {
			t.Fatalf("%s: %d sessions, want 1", c.run, len(sessions))
		}
		if got := sessions[0]; written(t, got) != written(t, want) {
			t.Errorf("%s: stored\n%+v\nwant\n%+v", c.run, got, want)
		}
	}
}

// What the player saw of an answer is joined with the stored row of the request, and a player that is
// told by how it writes is still told.
func TestStoredResponses(t *testing.T) {
	r := &records{t: t}
	for n, path := range []string{"v0.m4s", "v1.m4s", "v2.m4s"} {
		at := float64(2*n) + 1
		r.request(at+0.1, at+0.2, path, fmt.Sprintf(`bl=2000,br=900,d=2000,dl=2000,ot=v,rtp=4500,sf=d,sid="s",sn=%d,st=v,tb=900,v=2`, n))
	}
	r.clock()
	r.response(2.5, 1, "https://cdn.example/live/test/v0.m4s?CMCD=x", "rc=200,ttfb=150,ttlb=1240")
	r.response(6.5, 5, "v2.m4s", "rc=200,ttlb=400")
	details, err := archive(t, telemetry.Batch{Requests: r.requests, Reports: r.reports}, nil).Session(t.Context(), "s")
	if err != nil {
		t.Fatal(err)
	}
	if s := details.Session; written(t, s) != written(t, r.join()) || s.Player != "Shaka" || s.PlayerEvidence != "list_style" {
		t.Errorf("stored %+v, want %+v", s, r.join())
	}
	first := details.Exchanges[0]
	if seen := first.Response; seen == nil || *seen.Status != 200 || *seen.TTFB != 0.15 || *seen.TTLB != 1.24 {
		t.Errorf("the player saw %+v of the first", seen)
	}
	if details.Exchanges[1].Response != nil || details.Exchanges[2].Response == nil {
		t.Error("not the second but the third was told of")
	}
	for _, e := range details.Reports {
		if want := map[int64]string{1: first.ID, 2: details.Exchanges[2].ID}[*e.SequenceNumber]; e.RequestID != want {
			t.Errorf("report %d is of request %q, want %q", *e.SequenceNumber, e.RequestID, want)
		}
	}
}

// many holds 25 sessions, a minute apart, of two streams; each has three requests.
func many(t *testing.T) telemetry.Batch {
	r := &records{t: t}
	for i := range 25 {
		for n := range 3 {
			q := r.request(float64(i*60+n), float64(i*60+n)+0.1, fmt.Sprintf("v%d.m4s", n), fmt.Sprintf(`br=1000,d=1000,ot=v,sid="id%%_%02d"`, i))
			q.Stream = []string{"even", "odd"}[i%2]
		}
	}
	r.report(30*60, `e=t,sid="only reports",ts=1,v=2`)
	return telemetry.Batch{Requests: r.requests, Reports: r.reports}
}

func idsOf(sessions []analytics.Session) string {
	var out []string
	for _, s := range sessions {
		out = append(out, s.ID)
	}
	return strings.Join(out, " ")
}

func TestSessionsAreChosen(t *testing.T) {
	a := archive(t, many(t), nil)
	cases := map[string]struct {
		filter analytics.SessionFilter
		want   string
	}{
		"newest first":               {analytics.SessionFilter{Limit: 3}, "only reports id%_24 id%_23"},
		"older than the cursor":      {analytics.SessionFilter{Limit: 2, Before: after(23 * 60)}, "id%_22 id%_21"},
		"of a stream":                {analytics.SessionFilter{Limit: 2, Stream: "odd"}, "id%_23 id%_21"},
		"of no stream":               {analytics.SessionFilter{Stream: "x' OR 1=1 --"}, ""},
		"by prefix":                  {analytics.SessionFilter{Prefix: "id%_1", Limit: 2}, "id%_19 id%_18"},
		"signs of LIKE mean nothing": {analytics.SessionFilter{Prefix: "id__"}, ""},
		"nor does the escape":        {analytics.SessionFilter{Prefix: "id!%"}, ""},
		"in a range":                 {analytics.SessionFilter{From: after(5 * 60), To: after(7 * 60)}, "id%_06 id%_05"},
		"in a range, in part":        {analytics.SessionFilter{From: after(5*60 + 1), To: after(5*60 + 1.5)}, "id%_05"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			sessions, err := a.Sessions(t.Context(), c.filter)
			if err != nil {
				t.Fatal(err)
			}
			if got := idsOf(sessions); got != c.want {
				t.Errorf("sessions %q, want %q", got, c.want)
			}
		})
	}
	t.Run("all", func(t *testing.T) {
		sessions, err := a.Sessions(t.Context(), analytics.SessionFilter{})
		if err != nil || len(sessions) != 26 {
			t.Errorf("%d sessions, error %v; want 26", len(sessions), err)
		}
		for _, s := range sessions[1:] {
			if s.Requests != 3 {
				t.Errorf("session %s has %d requests, want its own 3", s.ID, s.Requests)
			}
		}
	})
}

func TestSessionByPrefix(t *testing.T) {
	a := archive(t, many(t), nil)
	details, err := a.Session(t.Context(), "id%_07")
	if err != nil || details.Session.ID != "id%_07" {
		t.Errorf("by its ID: %q, %v", details.Session.ID, err)
	}
	details, err = a.Session(t.Context(), "only")
	if err != nil || details.Session.ID != "only reports" || len(details.Reports) != 1 {
		t.Errorf("by its beginning: %q, %v", details.Session.ID, err)
	}
	_, err = a.Session(t.Context(), "id%_1")
	var ambiguous *AmbiguousError
	if !errors.Is(err, analytics.ErrAmbiguous) || !errors.As(err, &ambiguous) || len(ambiguous.IDs) != 10 || ambiguous.More {
		t.Errorf("a beginning that ten share: %v", err)
	}
	if _, err = a.Session(t.Context(), "id"); !strings.Contains(err.Error(), "id%_24") || !strings.Contains(err.Error(), "and more") {
		t.Errorf("a beginning that 25 share: %v", err)
	}
	for _, none := range []string{"", "%", "ID%_07", "nobody"} {
		if _, err := a.Session(t.Context(), none); !errors.Is(err, analytics.ErrNoSession) {
			t.Errorf("session %q: %v, want none", none, err)
		}
	}
}

// An ID that is the beginning of another is still itself.
func TestWholeIDIsNotAmbiguous(t *testing.T) {
	r := &records{t: t}
	r.request(0, 0.1, "v1.m4s", `ot=v,sid="ab"`)
	r.request(1, 1.1, "v1.m4s", `ot=v,sid="abc"`)
	details, err := archive(t, telemetry.Batch{Requests: r.requests}, nil).Session(t.Context(), "ab")
	if err != nil || details.Session.ID != "ab" || details.Session.Requests != 1 {
		t.Errorf("session %q with %d requests, %v", details.Session.ID, details.Session.Requests, err)
	}
}

// Of a long session the first records are read, but not forgotten that it went on.
func TestLongSessionIsCut(t *testing.T) {
	r := &records{t: t}
	for i := range 120 {
		r.request(float64(i)/2, float64(i)/2+0.1, fmt.Sprintf("v%d.m4s", i), `br=1000,d=500,ot=v,sid="long"`)
	}
	r.request(1, 1.1, "v1.m4s", `br=1000,d=1000,ot=v,sid="short"`)
	r.report(5, `e=t,sid="short",ts=1,v=2`)
	a := archive(t, telemetry.Batch{Requests: r.requests, Reports: r.reports}, func(c *Config) {
		c.MaxRecords = 100
	})
	a.viewerTimeout = 5 * time.Second
	details, err := a.Session(t.Context(), "long")
	if err != nil || len(details.Exchanges) != 100 || !details.Truncated {
		t.Errorf("%d exchanges, truncated %v, %v; want 100 of 120", len(details.Exchanges), details.Truncated, err)
	}
	sessions, err := a.Sessions(t.Context(), analytics.SessionFilter{})
	if err != nil || len(sessions) != 2 {
		t.Fatalf("%d sessions, %v", len(sessions), err)
	}
	for _, s := range []analytics.Session{details.Session, sessions[1]} {
		if s.ID != "long" || !s.Truncated || !s.Active || !s.End.Equal(after(59.5)) || s.Requests != 120 || s.Reports != 0 {
			t.Errorf("the long session: %+v", s)
		}
	}
	if s := sessions[0]; s.ID != "short" || s.Truncated || s.Active || s.Requests != 1 || s.Reports != 1 {
		t.Errorf("the short session: %+v", s)
	}
}

// Sessions that begin at the same time are on one page or the next.
func TestPagesLoseNoSession(t *testing.T) {
	r := &records{t: t}
	for _, id := range []string{"d", "b", "a", "c", "e"} {
		r.request(1, 1.1, "v1.m4s", `ot=v,sid="`+id+`"`)
	}
	r.request(0, 0.1, "v1.m4s", `ot=v,sid="older"`)
	a := archive(t, telemetry.Batch{Requests: r.requests}, nil)
	var got []string
	filter := analytics.SessionFilter{Limit: 2}
	for range 4 {
		page, err := a.Sessions(t.Context(), filter)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range page {
			got = append(got, s.ID)
			filter.Before, filter.BeforeID = s.Start, s.ID
		}
	}
	if want := "a b c d e older"; strings.Join(got, " ") != want {
		t.Errorf("pages hold %v, want %s", got, want)
	}
}

// A page of long sessions is not read at once.
func TestPortions(t *testing.T) {
	a := &Archive{config: DefaultConfig()}
	long := extent{requests: 1_000_000, reports: 1_000_000} // of which 5,000 each are read
	short := extent{requests: 99}
	for name, c := range map[string]struct {
		found []extent
		want  int
	}{
		"short ones all at once": {slices.Repeat([]extent{short}, 501), 501},
		"long ones in fives":     {slices.Repeat([]extent{long}, 501), 5},
		"one":                    {[]extent{long}, 1},
	} {
		if got := a.portion(c.found); got != c.want {
			t.Errorf("%s: %d at once, want %d", name, got, c.want)
		}
	}
	a.config.MaxRecords = 100_000
	if got := a.portion([]extent{long, long}); got != 1 {
		t.Errorf("%d sessions at once that are too long together, want 1", got)
	}
}

func TestHitRatioOfNoRequestIsNotKnown(t *testing.T) {
	r := &records{t: t}
	r.report(0, `e=t,sid="s",ts=1,v=2`)
	if s := r.join(); s.HitRatio != nil {
		t.Errorf("hit ratio = %v, want none", *s.HitRatio)
	}
}

func TestStoreThatFails(t *testing.T) {
	a := archive(t, telemetry.Batch{}, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := a.Sessions(ctx, analytics.SessionFilter{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v, want the store's", err)
	}
}
