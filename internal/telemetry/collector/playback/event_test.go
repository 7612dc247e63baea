package playback

import (
	"errors"
	"strings"
	"testing"

	"github.com/weir-stream/weir/cmcd"
	"github.com/weir-stream/weir/internal/telemetry"
)

const whole = `{"event_id":"EVENT_a1b2c3d4","customer_id":"CUST_5e6f7g8h","title_id":"TITLE_9i0j1k2l","session_id":"SESSION_3m4n5o6p",
	"event_type":"start","event_timestamp":"2025-08-11T14:30:45.123Z","watch_duration_seconds":1800,"position_seconds":900,
	"completion_percentage":45.5,"device_type":"mobile","device_os":"iOS","quality":"HD","bandwidth_mbps":25.5,"buffering_events":2,
	"country":"United States","state":"California","city":"Los Angeles"}`

func TestAWholeEvent(t *testing.T) {
	var report telemetry.Report
	event, err := Parse([]byte(whole), 64, &report)
	if err != nil || len(event.Problems)+len(event.Remarks) > 0 || event.ID != "EVENT_a1b2c3d4" || event.Time.UnixMilli() != 1754922645123 {
		t.Fatalf("event is %+v: %v", event, err)
	}
	const said = `bsa=(2),cid="TITLE_9i0j1k2l",e=ps,mtp=(25500),pt=900000,sid="SESSION_3m4n5o6p",sta=p,ts=1754922645123,v=2`
	if got := report.CMCD.String(); got != said {
		t.Errorf("CMCD is %s\nwant    %s", got, said)
	}
	p := report.Playback
	if p.Customer != "CUST_5e6f7g8h" || p.DeviceOS != "iOS" || p.City != "Los Angeles" || p.Watched.Seconds() != 1800 || *p.Completion != 0.455 {
		t.Errorf("playback is %+v", p)
	}
}

func TestErrorsOfEvents(t *testing.T) {
	for raw, want := range map[string]error{
		"":                            ErrNotJSON,
		"[]":                          ErrNotJSON,
		"null":                        ErrInvalid, // an object of nothing
		"{}":                          ErrInvalid,
		`{"a":1,"b":2,"c":3}`:         ErrTooManyFields,
		strings.Repeat(`{"a":`, 1000): ErrNotJSON,
	} {
		if event, err := Parse([]byte(raw), 2, &telemetry.Report{}); !errors.Is(err, want) || !errors.Is(err, ErrTooManyFields) && len(event.Problems) == 0 {
			t.Errorf("%.20q: %v with %v, want %v", raw, err, event.Problems, want)
		}
	}
}

// What is taken can be written as CMCD and read again; what is not has a reason.
func FuzzParse(f *testing.F) {
	f.Add([]byte(whole))
	f.Add([]byte(`{"event_id":"\u0000","session_id":1e999,"event_timestamp":"2025-08-11t14:30:45z","event_type":"seek"}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var report telemetry.Report
		event, err := Parse(raw, 64, &report)
		switch {
		case errors.Is(err, ErrTooManyFields):
		case err != nil:
			if len(event.Problems) == 0 {
				t.Errorf("%q: %v, and no problem", raw, err)
			}
		default:
			again, err := cmcd.Parse(report.CMCD.String())
			if err != nil || !again.Equal(&report.CMCD) || report.Playback == nil {
				t.Errorf("%q becomes %q: %v", raw, report.CMCD.String(), err)
			}
		}
		for _, finding := range append(event.Problems, event.Remarks...) {
			if finding.Message == "" {
				t.Errorf("%q: a finding without words", raw)
			}
		}
	})
}
