package storetest

import (
	"context"
	"crypto/sha256"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/weir-stream/weir/internal/telemetry"
)

// comesBack appends reports of the session "s" and expects them back as they are.
func comesBack(t *testing.T, s Store, want ...telemetry.Report) {
	t.Helper()
	mustAppend(t, s, telemetry.Batch{Reports: want})
	got, err := s.Records(context.Background(), []string{"s"}, 10)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got.Reports, same); diff != "" {
		t.Errorf("reports (-want +got):\n%s", diff)
	}
}

func testPlayback(t *testing.T, s Store) {
	event := report(t, `bsa=(2),cid="t",e=ps,mtp=(25500),pt=900000,sid="s",sta=p,ts=1754922645123,v=2`, 0)
	event.ClockOffset = new(-1234567 * time.Microsecond)
	event.Playback = &telemetry.Playback{
		EventID: "EVENT_1", EventType: "start", Customer: "CUST_1", DeviceType: "mobile", DeviceOS: "iOS", Quality: "HD",
		Country: "United States", State: "California", City: "Los Angeles", Watched: 1800 * time.Second, Completion: new(0.455),
	}
	little := report(t, `e=ce,cen="x",sid="s",ts=1,v=2`, 1)
	little.ClockOffset = new(time.Duration(0))
	little.Playback = &telemetry.Playback{EventType: "x", Completion: new(0.0)}
	comesBack(t, s, event, little)
	compare(t, row(t, s, "SELECT * FROM reports WHERE event_id = 'EVENT_1'"), map[string]any{
		"clock_offset": -1.234567, "event_id": "EVENT_1", "event_type": "start", "customer_id": "CUST_1", "device_type": "mobile",
		"device_os": "iOS", "quality": "HD", "country": "United States", "state": "California", "city": "Los Angeles",
		"watched": 1800.0, "completion": 0.455, "throughput": 25.5e6, "starvations": int64(2), "playhead_time": 900.0, "cmcd_warnings": int64(0),
	})
	compare(t, row(t, s, "SELECT clock_offset, completion, watched FROM reports WHERE event_type = 'x'"),
		map[string]any{"clock_offset": 0.0, "completion": 0.0, "watched": nil})
}

// What is stored is written without the faults that it came with, so they are told beside it.
func testWarnings(t *testing.T, s Store) {
	faulty := report(t, `br=900,,e=t,ot="v",sid="s",v=2`, 0)
	if faulty.CMCD.Warnings == 0 {
		t.Fatal("the record has no faults")
	}
	comesBack(t, s, faulty, report(t, `e=t,sid="s",v=2`, 1))
	r := request(t, "r", 0)
	r.CMCD = parse(t, `br=900,,ot="v",sid="r"`)
	mustAppend(t, s, telemetry.Batch{Requests: []telemetry.Request{r}})
	got, err := s.Records(context.Background(), []string{"r"}, 10)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]telemetry.Request{r}, got.Requests, same); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	compare(t, row(t, s, "SELECT cmcd_warnings FROM requests"), map[string]any{"cmcd_warnings": int64(r.CMCD.Warnings)})
}

// resendable returns a report with an ID as the collector makes it of what a resend has as well.
func resendable(t *testing.T, n int) telemetry.Report {
	t.Helper()
	r := report(t, fmt.Sprintf(`e=t,sid="s",sn=%d,ts=1764269150889,v=2`, n), 0)
	r.ID = uuid.NewHash(sha256.New(), uuid.Nil, fmt.Append(nil, n), 8)
	return r
}

// A report that its player has sent again is received at another time, perhaps by another node. It
// has the same ID if that is of version 8, and is among the last 100,000.
func testResent(t *testing.T, s Store) {
	first := resendable(t, 0)
	mustAppend(t, s, telemetry.Batch{Reports: []telemetry.Report{first, resendable(t, 1)}})
	for _, later := range []time.Duration{-time.Minute, time.Second, 3 * time.Hour} {
		again := first
		again.Time, again.Edge = first.Time.Add(later), "edge-2"
		mustAppend(t, s, telemetry.Batch{Reports: []telemetry.Report{resendable(t, 2+int(later.Seconds())), again, again}})
	}
	if n := count(t, s, "reports"); n != 5 {
		t.Errorf("%d reports, want 5", n)
	}
	if edge := row(t, s, "SELECT edge FROM reports WHERE sequence_number = 0")["edge"]; edge != "edge-1" {
		t.Errorf("the report that is kept is that of %v, want the first", edge)
	}
}

func testResentAfterReopen(t *testing.T, open func(t *testing.T, dir string) Store) {
	dir := t.TempDir()
	for i := range 3 {
		s := open(t, dir)
		r := resendable(t, 0)
		r.Time = r.Time.Add(time.Duration(i) * time.Minute)
		mustAppend(t, s, telemetry.Batch{Reports: []telemetry.Report{r, resendable(t, 1+i)}})
		if n := count(t, s, "reports"); n != int64(2+i) {
			t.Errorf("opened %d times: %d reports, want %d", i+1, n, 2+i)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
