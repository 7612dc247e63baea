package session

import (
	"testing"
	"time"

	"github.com/weir-stream/weir/internal/telemetry"
)

// Events of the events API are reports like any other; what they say beyond CMCD is shown as it came. The
// first says that it plays, so nobody saw how long the start took.
func TestSessionOfEventsAlone(t *testing.T) {
	r := &records{t: t}
	completion := 0.5
	r.report(1, `cid="TITLE_1",e=ps,pt=0,sid="SESSION_1",sta=p,ts=1764269150000,v=2`)
	r.reports[0].Playback = &telemetry.Playback{EventID: "EVENT_1", EventType: "start", Customer: "CUST_1", DeviceType: "mobile", Quality: "HD", City: "Los Angeles", Watched: 3 * time.Second, Completion: &completion}
	r.report(21, `bsa=(2),cid="TITLE_1",e=ps,pt=20000,sid="SESSION_1",sta=a,ts=1764269170000,v=2`)
	r.reports[1].Playback = &telemetry.Playback{EventID: "EVENT_2", EventType: "pause"}
	s := r.join()
	if s.CMCDVersion != 0 || s.LostReports != nil || s.UnseenRequests != nil {
		t.Errorf("it speaks CMCD of version %d, %d reports and %d requests are missing; want none of it", s.CMCDVersion, count(s.LostReports), count(s.UnseenRequests))
	}
	r.request(2, 2.1, "v1.m4s", `ot=v,sid="SESSION_1"`)
	if s := r.join(); s.CMCDVersion != 1 {
		t.Errorf("with a request of version 1 it speaks version %d", s.CMCDVersion)
	}
	r.requests = nil
	if s.ID != "SESSION_1" || s.ContentID != "TITLE_1" || s.Reports != 2 || s.StartupTime != nil || s.StartupEstimated {
		t.Errorf("session is %+v, its startup time %v", s, s.StartupTime)
	}
	_, events := newJoin(r.requests, r.reports).details()
	p := events[0].Playback
	if p == nil || p.EventID != "EVENT_1" || p.EventType != "start" || p.CustomerID != "CUST_1" || p.DeviceType != "mobile" || p.Quality != "HD" ||
		p.City != "Los Angeles" || p.Watched != 3 || *p.Completion != 0.5 || events[1].Playback.City != "" {
		t.Errorf("events are %+v with %+v", events, p)
	}
}
