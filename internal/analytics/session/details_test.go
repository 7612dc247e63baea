package session

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-stream/weir/internal/analytics"
	"github.com/weir-stream/weir/internal/telemetry"
)

// What the edge and its kernel wrote down of a request is told of it; what they did not is left out.
func TestARequestTellsWhatTheEdgeDid(t *testing.T) {
	r := &records{t: t}
	r.request(0, 1, "video-1-1.m4s", `sid="s"`)
	fetched := r.request(1, 2, "video-1-2.m4s", `sid="s"`)
	fetched.CacheStatus, fetched.MissReason, fetched.CollapsedWait, fetched.Queued = "miss", "purged", 5*time.Millisecond, 40*time.Millisecond
	fetched.Origin, fetched.OriginAddress, fetched.Tenant = "origin-1", "192.0.2.80:443", "acme"
	fetched.OriginStatus, fetched.OriginTTFB, fetched.OriginDuration = 200, 30*time.Millisecond, 90*time.Millisecond
	fetched.TCP = telemetry.TCP{
		RTT: 20 * time.Millisecond, MinRTT: 10 * time.Millisecond, Sent: 104_000, Retransmitted: 2000, Unsent: 1000,
		DeliveryRate: 25e6, AppLimited: true, Busy: time.Second, RwndLimited: 100 * time.Millisecond, SndbufLimited: time.Millisecond,
	}
	refused := r.request(2, 3, "video-1-3.m4s", `sid="s"`)
	refused.Status, refused.CacheStatus, refused.Refusal = 403, "bypass", "token-expired"

	exchanges, _ := newJoin(r.requests, nil).details()
	if len(exchanges) != 3 {
		t.Fatalf("%d exchanges, want 3", len(exchanges))
	}
	if e := exchanges[0]; e.TCP != nil || e.Origin != "" || e.Refusal != "" {
		t.Errorf("a hit tells %+v", e)
	}
	e := exchanges[1]
	want := analytics.Exchange{
		ID: e.ID, Time: e.Time, Path: e.Path, Status: 200, Bytes: 1000, TTFB: 0.001, Duration: 1,
		CacheStatus: "miss", MissReason: "purged", CollapsedWait: 0.005, Queued: 0.04,
		Origin: "origin-1", OriginAddress: "192.0.2.80:443", OriginStatus: 200, OriginTTFB: 0.03, OriginDuration: 0.09, Tenant: "acme",
		TCP: &analytics.TCP{
			RTT: 0.02, MinRTT: 0.01, Sent: 104_000, Retransmitted: 2000, Unsent: 1000, DeliveryRate: 25e6, AppLimited: true,
			Busy: 1, RwndLimited: 0.1, SndbufLimited: 0.001,
		},
		CMCD: e.CMCD,
	}
	if diff := cmp.Diff(want, e); diff != "" {
		t.Errorf("the exchange (-want +got):\n%s", diff)
	}
	if e := exchanges[2]; e.Refusal != "token-expired" || e.TCP != nil {
		t.Errorf("what was refused tells %+v", e)
	}
}
