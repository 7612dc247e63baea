package tracker

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/weir-stream/weir/cmcd"
	"github.com/weir-stream/weir/internal/telemetry"
)

func tracker(t *testing.T, change func(*Config)) *Tracker {
	t.Helper()
	config := DefaultConfig()
	if change != nil {
		change(&config)
	}
	tr, err := New(Settings{Config: config, Registerer: prometheus.NewRegistry(), Dropped: func() int64 { return 7 }})
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func parse(t *testing.T, record string) cmcd.Values {
	t.Helper()
	v, err := cmcd.Parse(record)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// now is a request that is answered now.
func now(t *testing.T, session string, change func(*telemetry.Request)) telemetry.Request {
	t.Helper()
	r := telemetry.Request{
		ID: uuid.Must(uuid.NewV7()), Time: time.Now(), Stream: "test", Path: "/live/test/v.m4s", Status: 200,
		Bytes: 1000, CacheStatus: "hit", TTFB: 10 * time.Millisecond,
	}
	if session != "" {
		r.CMCD, r.HasCMCD = parse(t, fmt.Sprintf(`br=1000,d=2000,ot=v,sid="%s"`, session)), true
	}
	if change != nil {
		change(&r)
	}
	return r
}

func give(t *testing.T, tr *Tracker, requests ...telemetry.Request) {
	t.Helper()
	if err := tr.Append(context.Background(), telemetry.Batch{Requests: requests}); err != nil {
		t.Fatal(err)
	}
}

func TestRatesAreOverTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := tracker(t, nil)
		if live := tr.Live(); live.HitRatio != nil || live.ErrorRatio != nil || live.AverageBitrate != nil || live.TTFBp50 != nil || live.ByStream == nil || live.Dropped != 7 {
			t.Errorf("before the first record: %+v", live)
		}
		for i := range 20 { // twice a second for ten seconds
			give(t, tr, now(t, "a", func(r *telemetry.Request) {
				if i%4 == 0 {
					r.CacheStatus = "miss"
				}
				switch i % 10 {
				case 0:
					r.Status = 503
				case 5: // the viewer went away before the answer
					r.Status, r.Aborted = 0, true
				}
				if i%20 == 1 {
					r.TTFB = 2 * time.Second
				}
			}))
			time.Sleep(500 * time.Millisecond)
		}
		live := tr.Live()
		if live.RequestsPerSecond != 2 || live.Egress != 16_000 || *live.HitRatio != 0.75 || *live.ErrorRatio != 2.0/18 || *live.AverageBitrate != 1e6 {
			t.Errorf("after ten seconds: %+v", live)
		}
		if math.Abs(*live.TTFBp50-0.010) > 0.0005 || math.Abs(*live.TTFBp95-0.010) > 0.0005 {
			t.Errorf("time to first byte: %v, %v; want 10 ms within 5 %%", *live.TTFBp50, *live.TTFBp95)
		}
		time.Sleep(5 * time.Second)
		if live := tr.Live(); live.RequestsPerSecond != 1 {
			t.Errorf("five seconds later: %v requests a second, want 1", live.RequestsPerSecond)
		}
		time.Sleep(5 * time.Second)
		if live := tr.Live(); live.RequestsPerSecond != 0 || live.HitRatio != nil || live.Viewers != 1 {
			t.Errorf("ten seconds later: %+v", live)
		}
	})
}

func TestViewersAreSessionsHeardOfLately(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := tracker(t, nil)
		give(t, tr, now(t, "a", nil), now(t, "b", func(r *telemetry.Request) { r.Stream = "other" }), now(t, "", nil),
			now(t, "c", func(r *telemetry.Request) { r.Stream, r.Status = "no such stream", 404 }))
		time.Sleep(20 * time.Second)
		give(t, tr, now(t, "a", nil))
		if live := tr.Live(); live.Viewers != 3 || live.ByStream["test"] != 1 || live.ByStream["other"] != 1 || len(live.ByStream) != 2 {
			t.Errorf("viewers = %d, %v", live.Viewers, live.ByStream)
		}
		time.Sleep(10 * time.Second) // b and c have been silent for 30 s
		if live := tr.Live(); live.Viewers != 1 || live.ByStream["test"] != 1 || len(live.ByStream) != 1 {
			t.Errorf("viewers = %d, %v", live.Viewers, live.ByStream)
		}
		// A report alone keeps a session.
		report := telemetry.Report{ID: uuid.Must(uuid.NewV7()), Time: time.Now(), CMCD: parse(t, `e=t,sid="a",ts=1,v=2`)}
		time.Sleep(15 * time.Second)
		report.Time = time.Now()
		if err := tr.Append(context.Background(), telemetry.Batch{Reports: []telemetry.Report{report}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Second)
		if live := tr.Live(); live.Viewers != 1 {
			t.Errorf("viewers = %d, want the one that reports", live.Viewers)
		}
		if len(tr.sessions) != 1 || tr.recent.Len() != 1 {
			t.Errorf("%d sessions are kept, want 1", len(tr.sessions))
		}
	})
}

func TestRecordsThatComeAgainCountOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := tracker(t, nil)
		r := now(t, "a", nil)
		give(t, tr, r, r)
		give(t, tr, r)
		time.Sleep(time.Second)
		if live := tr.Live(); live.RequestsPerSecond != 0.1 {
			t.Errorf("%v requests a second, want one in ten seconds", live.RequestsPerSecond)
		}
		if got := testutil.ToFloat64(tr.metrics.duplicates); got != 2 {
			t.Errorf("%v duplicates, want 2", got)
		}
	})
}

func TestSlowAnswersCountWhenTheyEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := tracker(t, nil)
		began := time.Now()
		time.Sleep(60 * time.Second)
		give(t, tr, now(t, "a", func(r *telemetry.Request) { r.Time, r.Duration = began, 60*time.Second }))
		give(t, tr, now(t, "old", func(r *telemetry.Request) { r.Time = began }))
		time.Sleep(time.Second)
		if live := tr.Live(); live.RequestsPerSecond != 0.1 || live.Viewers != 1 {
			t.Errorf("live = %+v, want the slow one and not the old one", live)
		}
		if got := testutil.ToFloat64(tr.metrics.late); got != 1 {
			t.Errorf("%v late records, want 1", got)
		}
	})
}

func TestSessionsBeyondTheLimitPushOutTheOldest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := tracker(t, func(c *Config) { c.MaxSessions = 3 })
		for _, id := range []string{"a", "b", "c", "a", "d"} {
			give(t, tr, now(t, id, nil))
			time.Sleep(time.Second)
		}
		if _, kept := tr.sessions["b"]; kept || len(tr.sessions) != 3 || tr.recent.Len() != 3 {
			t.Errorf("kept %d sessions, b among them %v", len(tr.sessions), kept)
		}
		if got := testutil.ToFloat64(tr.metrics.evicted); got != 1 {
			t.Errorf("%v sessions evicted, want 1", got)
		}
		give(t, tr, now(t, strings.Repeat("x", maxName+1), nil))
		if len(tr.sessions) != 3 || testutil.ToFloat64(tr.metrics.evicted) != 1 {
			t.Error("a session ID of any length is kept")
		}
	})
}

func TestStarvedSessionsAreCountedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := tracker(t, nil)
		starved := func(id string) telemetry.Request {
			return now(t, id, func(r *telemetry.Request) {
				r.CMCD = parse(t, fmt.Sprintf(`bs,ot=v,sid="%s"`, id))
			})
		}
		give(t, tr, starved("a"), starved("a"), starved("b"), now(t, "c", nil))
		time.Sleep(2 * time.Second)
		give(t, tr, starved("a"))
		time.Sleep(time.Second)
		if live := tr.Live(); live.Rebuffering != 2 {
			t.Errorf("%d sessions rebuffering, want 2", live.Rebuffering)
		}
	})
}

func TestQuantilesAreCloseToTheTruth(t *testing.T) {
	h := &histogram{}
	for i := 1; i <= 1000; i++ {
		h.add(float64(i) / 1000)
	}
	for q, want := range map[float64]float64{0.5: 0.5, 0.95: 0.95, 0.999: 0.999} {
		if got := *h.quantile(q); math.Abs(got-want) > 0.026*want {
			t.Errorf("quantile %v = %v, want %v within 2.6 %%", q, got, want)
		}
	}
	h.add(0)
	h.add(1e9)
	if h.n != 1002 {
		t.Errorf("%d values, want 1002", h.n)
	}
}

func TestConfigIsChecked(t *testing.T) {
	for key, change := range map[string]func(*Config){
		"window":         func(c *Config) { c.Window = 1500 * time.Millisecond },
		"viewer_timeout": func(c *Config) { c.ViewerTimeout = 0 },
		"max_sessions":   func(c *Config) { c.MaxSessions = 0 },
	} {
		c := DefaultConfig()
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("bad %s: error %v", key, err)
		}
	}
}
