package session

import (
	"slices"

	"github.com/weir-stream/weir/cmcd"
	"github.com/weir-stream/weir/internal/analytics"
	"github.com/weir-stream/weir/internal/telemetry"
)

// details are the session's requests and reports in the order of time, each report of an answer joined
// with the request that it speaks of.
func (j *join) details() ([]analytics.Exchange, []analytics.Event) {
	exchanges := make([]analytics.Exchange, 0, len(j.requests))
	events := make([]analytics.Event, 0, len(j.reports))
	for i := range j.reports {
		v := &j.reports[i].CMCD
		e := analytics.Event{Time: j.times[i].UTC(), Event: v.Text(cmcd.KeyE), State: v.Text(cmcd.KeySTA), CMCD: v.Map()}
		if n, ok := numberOf(v, j.times[i]); ok {
			e.SequenceNumber = &n.number
		}
		if p := j.reports[i].Playback; p != nil {
			e.Playback = &analytics.Playback{
				EventID: p.EventID, EventType: p.EventType, CustomerID: p.Customer, DeviceType: p.DeviceType, DeviceOS: p.DeviceOS,
				Quality: p.Quality, Country: p.Country, State: p.State, City: p.City, Watched: p.Watched.Seconds(), Completion: p.Completion,
			}
		}
		events = append(events, e)
	}
	matches := j.matches()
	for i := range j.requests {
		e := j.exchange(&j.requests[i])
		if r, ok := matches[i]; ok {
			e.Response = j.seen(r)
			events[r.report].RequestID = e.ID
		}
		exchanges = append(exchanges, e)
	}
	return exchanges, events
}

func (j *join) exchange(r *telemetry.Request) analytics.Exchange {
	e := analytics.Exchange{
		ID: r.ID.String(), Time: r.Time.UTC(), Path: r.Path, Kind: r.Kind, Status: r.Status, Bytes: r.Bytes,
		CacheStatus: r.CacheStatus, MissReason: r.MissReason,
		TTFB: r.TTFB.Seconds(), Duration: r.Duration.Seconds(),
		CollapsedWait: r.CollapsedWait.Seconds(), Queued: r.Queued.Seconds(),
		Origin: r.Origin, OriginAddress: r.OriginAddress,
		OriginStatus: r.OriginStatus, OriginTTFB: r.OriginTTFB.Seconds(), OriginDuration: r.OriginDuration.Seconds(),
		Tenant: r.Tenant, Refusal: r.Refusal, Aborted: r.Aborted, TCP: connection(r.TCP),
	}
	if !r.HasCMCD {
		return e
	}
	e.CMCD = r.CMCD.Map()
	e.ObjectType = r.CMCD.Text(cmcd.KeyOT)
	e.BufferStarved = r.CMCD.Bool(cmcd.KeyBS)
	// With other objects players name the bitrate of whatever came before.
	media := slices.Contains([]string{"v", "av", "a"}, e.ObjectType)
	if kbps, ok := r.CMCD.Number(cmcd.KeyBR); ok && media && !j.quirks.Ignores(cmcd.KeyBR, &r.CMCD) {
		e.Bitrate = kbps * 1e3
	}
	if ms, ok := r.CMCD.Number(cmcd.KeyBL); ok {
		length := ms / 1e3
		e.BufferLength = &length
	}
	return e
}

// connection is what the kernel said, nil if it was not asked.
func connection(t telemetry.TCP) *analytics.TCP {
	if !t.Known() {
		return nil
	}
	return &analytics.TCP{
		RTT: t.RTT.Seconds(), MinRTT: t.MinRTT.Seconds(), Sent: t.Sent, Retransmitted: t.Retransmitted, Unsent: t.Unsent,
		DeliveryRate: float64(t.DeliveryRate), AppLimited: t.AppLimited,
		Busy: t.Busy.Seconds(), RwndLimited: t.RwndLimited.Seconds(), SndbufLimited: t.SndbufLimited.Seconds(),
	}
}
