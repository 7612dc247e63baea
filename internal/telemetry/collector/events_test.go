package collector

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-stream/weir/cmcd"
	"github.com/weir-stream/weir/internal/telemetry"
)

// event returns the event of testdata/event.json, which has every field, with some of its lines
// replaced: a line is known by the field that it begins with, and goes if there is nothing else in it.
func event(t testing.TB, lines ...string) string {
	t.Helper()
	data, err := os.ReadFile("testdata/event.json")
	if err != nil {
		t.Fatal(err)
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(data, &object); err != nil {
		t.Fatal(err)
	}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ":")
		if value == "" {
			delete(object, name)
		} else {
			object[name] = json.RawMessage(value)
		}
	}
	data, err = json.Marshal(object)
	if err != nil {
		t.Fatalf("%v: %v", lines, err)
	}
	return string(data)
}

// events posts a body to the events API.
func (r *rig) events(contentType, body string) (status int, answer eventsAnswer, reports []telemetry.Report) {
	r.t.Helper()
	resp, reports := r.send(r.Events(), "/api/v1/events", contentType, body, nil)
	if got := resp.Header.Get("Content-Type"); resp.StatusCode != http.StatusUnsupportedMediaType && got != "application/json" {
		r.t.Errorf("the answer is of type %q", got)
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		r.t.Fatalf("status %d: %v", resp.StatusCode, err)
	}
	if resp.StatusCode != http.StatusUnsupportedMediaType && (answer.Errors == nil || answer.Warnings == nil) {
		r.t.Error("errors or warnings are null, not an array")
	}
	return resp.StatusCode, answer, reports
}

func TestAnEventBecomesAReport(t *testing.T) {
	r := newRig(t, nil)
	status, answer, got := r.events("application/json", event(t))
	if status != http.StatusOK || answer.Accepted != 1 || len(answer.Errors)+len(answer.Warnings) != 0 || len(got) != 1 {
		t.Fatalf("status %d, answer %+v", status, answer)
	}
	report := got[0]
	if want := `bsa=(2),cid="TITLE_9i0j1k2l",e=ps,mtp=(25500),pt=900000,sid="SESSION_3m4n5o6p",sta=p,ts=1754922645123,v=2`; report.CMCD.String() != want {
		t.Errorf("in the words of CMCD: %s\nwant %s", report.CMCD.String(), want)
	}
	want := &telemetry.Playback{
		EventID: "EVENT_a1b2c3d4", EventType: "start", Customer: "CUST_5e6f7g8h", DeviceType: "mobile", DeviceOS: "iOS", Quality: "HD",
		Country: "United States", State: "California", City: "Los Angeles", Watched: 30 * time.Minute, Completion: new(0.455),
	}
	if diff := cmp.Diff(want, report.Playback); diff != "" {
		t.Errorf("playback (-want +got):\n%s", diff)
	}
	if report.ID.Version() != 8 || !report.Time.Equal(now) || report.Path != "/api/v1/events" || report.Edge != "edge-1" || report.UserAgent != "player/1" {
		t.Errorf("report is %+v", report)
	}
	if at := time.Date(2025, 8, 11, 14, 30, 45, 123e6, time.UTC); report.ClockOffset == nil || *report.ClockOffset != now.Sub(at) {
		t.Errorf("clock offset is %v, want %v", report.ClockOffset, now.Sub(at))
	}
}

func TestEventTypesInTheWordsOfCMCD(t *testing.T) {
	for eventType, want := range map[string]string{
		"start": "e=ps,sta=p", "resume": "e=ps,sta=p", "pause": "e=ps,sta=a", "stop": "e=ps,sta=q", "complete": "e=ps,sta=e",
		"seek": "e=ps,sta=k", "buffering": "e=ps,sta=r", "buffer_start": "e=ps,sta=r", "buffer_end": "e=ps,sta=p",
		"error": "e=e", "heartbeat": "e=t", "progress": "e=t", "quality_change": "e=bc", "Pause": "e=ps,sta=a",
		"ad_break": `cen="ad_break",e=ce`, "Läuft \"gut\"": `cen="Läuft \"gut\"",e=ce`,
	} {
		r := newRig(t, nil)
		_, answer, got := r.events("", event(t, "event_type:"+quoted(eventType), "position_seconds", "bandwidth_mbps", "buffering_events", "title_id"))
		if len(got) != 1 {
			t.Errorf("%s: %+v", eventType, answer)
			continue
		}
		v := got[0].CMCD
		said := strings.NewReplacer(`,sid="SESSION_3m4n5o6p"`, "", ",ts=1754922645123", "", ",v=2", "").Replace(v.String())
		if said != want || got[0].Playback.EventType != eventType {
			t.Errorf("%s: %s, want %s", eventType, said, want)
		}
		if back, err := cmcd.Parse(v.String()); err != nil || !back.Equal(&v) {
			t.Errorf("%s: %s does not read as what it was: %v", eventType, v.String(), err)
		}
	}
}

func quoted(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}

func TestWrongEvents(t *testing.T) {
	long := func(n int) string { return quoted(strings.Repeat("ä", n)) }
	const rfc3339 = "expected a time as in RFC 3339, such as 2025-08-11T14:30:45.123Z"
	for _, tc := range []struct {
		name, body string
		reason     outcome
		errors     []string // field: message
	}{
		{"no session", event(t, "session_id"), invalidEvent, []string{"session_id: session_id is missing: expected a string of 1 to 256 characters"}},
		{"session of null", event(t, "session_id:null"), invalidEvent, []string{"session_id: session_id is null: expected a string of 1 to 256 characters"}},
		{"session without a name", event(t, `session_id:""`), invalidEvent, []string{"session_id: session_id is an empty string: expected a string of 1 to 256 characters"}},
		{"session as a number", event(t, "session_id:12"), invalidEvent, []string{"session_id: session_id is the number 12: expected a string of 1 to 256 characters"}},
		{"long title", event(t, "title_id:"+long(257)), invalidEvent, []string{"title_id: title_id is a string of 257 characters: expected a string of 1 to 256 characters"}},
		{"long event type", event(t, "event_type:"+long(65)), invalidEvent, []string{"event_type: event_type is a string of 65 characters: expected a string of 1 to 64 characters"}},
		{"control character", event(t, `city:"Los\nAngeles"`), invalidEvent, []string{`city: city is the string "Los\nAngeles": expected a string of 1 to 256 characters without control characters`}},
		{"state as an object", event(t, "state:{}"), invalidEvent, []string{"state: state is an object: expected a string of 1 to 256 characters"}},
		{"no time", event(t, "event_timestamp"), invalidEvent, []string{"event_timestamp: event_timestamp is missing: " + rfc3339}},
		{"time in words", event(t, `event_timestamp:"yesterday"`), invalidEvent, []string{`event_timestamp: event_timestamp is the string "yesterday": ` + rfc3339}},
		{"time as a number", event(t, "event_timestamp:1754922645"), invalidEvent, []string{"event_timestamp: event_timestamp is the number 1754922645: " + rfc3339}},
		{"time without a zone", event(t, `event_timestamp:"2025-08-11T14:30:45"`), invalidEvent, []string{`event_timestamp: event_timestamp is the string "2025-08-11T14:30:45": ` + rfc3339}},
		{"time before time", event(t, `event_timestamp:"0001-01-01T00:00:00Z"`), invalidEvent, []string{`event_timestamp: event_timestamp is the string "0001-01-01T00:00:00Z": expected a time after 1970 and before 10000`}},
		{"negative position", event(t, "position_seconds:-1"), invalidEvent, []string{"position_seconds: position_seconds is the number -1: expected a number from 0 to 1000000000"}},
		{"completion in more than hundreds", event(t, "completion_percentage:100.1"), invalidEvent, []string{"completion_percentage: completion_percentage is the number 100.1: expected a number from 0 to 100"}},
		{"bandwidth as text", event(t, `bandwidth_mbps:"25.5"`), invalidEvent, []string{`bandwidth_mbps: bandwidth_mbps is the string "25.5": expected a number from 0 to 1000000`}},
		{"bandwidth beyond numbers", event(t, `bandwidth_mbps:1e999`), invalidEvent, []string{`bandwidth_mbps: bandwidth_mbps is the number 1e999: expected a number from 0 to 1000000`}},
		{"half a rebuffer", event(t, "buffering_events:1.5"), invalidEvent, []string{"buffering_events: buffering_events is the number 1.5: expected a whole number"}},
		{
			"several at once", event(t, "event_id", "event_type:true", "watch_duration_seconds:[]"), invalidEvent,
			[]string{
				"event_id: event_id is missing: expected a string of 1 to 256 characters",
				"event_type: event_type is true: expected a string of 1 to 64 characters",
				"watch_duration_seconds: watch_duration_seconds is an array: expected a number from 0 to 1000000000",
			},
		},
		{"no JSON", `{"event_id": tru}`, notJSON, []string{": it is not JSON: invalid character '}' in literal true (expecting 'e'), at byte 17 of 17: expected an object with the fields of an event"}},
		{"breaks off", `{"event_id": "x", `, notJSON, []string{": it is not JSON: unexpected end of JSON input, at byte 17 of 17: expected an object with the fields of an event"}},
		{"no object", `"event"`, notJSON, []string{`: it is the string "event": expected an object with the fields of an event`}},
		{"null", `null`, notJSON, []string{`: it is null: expected an object with the fields of an event`}},
		{"CMCD", `e=t,sid="s",v=2`, notJSON, []string{
			": it is not JSON: invalid character 'e' looking for beginning of value, at byte 1 of 3: expected an object with the fields of an event",
			": it is not JSON: invalid character 's' looking for beginning of value, at byte 1 of 7: expected an object with the fields of an event",
			": it is not JSON: invalid character 'v' looking for beginning of value, at byte 1 of 3: expected an object with the fields of an event",
		}},
		{"too long", event(t, `city:"`+strings.Repeat("x", 16<<10)+`"`), tooLong, []string{": it is too long: expected at most 16384 bytes"}},
		{"too many fields", "{" + strings.Repeat(`"a":1,`, 10) + manyFields(70) + "}", tooManyKeys, []string{": it has too many fields: expected at most 64"}},
		{"nothing", " \n", "", []string{": the body is empty: expected an event, an array of events, or an event a line"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t, nil)
			status, answer, got := r.events("application/json", tc.body)
			if status != http.StatusBadRequest || len(got) > 0 || answer.Accepted > 0 {
				t.Errorf("status %d, %d taken, want 400 and none", status, len(got))
			}
			var errors []string
			for _, e := range answer.Errors {
				if e.Reason != tc.reason {
					t.Errorf("reason is %q, want %q", e.Reason, tc.reason)
				}
				errors = append(errors, e.Field+": "+e.Message)
			}
			if diff := cmp.Diff(tc.errors, errors); diff != "" {
				t.Errorf("errors (-want +got):\n%s", diff)
			}
		})
	}
}

func manyFields(n int) string {
	fields := make([]string, n)
	for i := range fields {
		fields[i] = fmt.Sprintf(`"f%d":1`, i)
	}
	return strings.Join(fields, ",")
}

func TestGoodEventsAreTakenAndBadOnesTold(t *testing.T) {
	id := func(n int) string { return fmt.Sprintf("event_id:%q", fmt.Sprint("E", n)) }
	bodies := map[string]string{
		"array": "[" + event(t, id(0)) + ",\n" + event(t, id(1), "session_id") + "," + event(t, id(2), `colour:"red"`) + ", 7, " + event(t, id(0)) + "]",
		"lines": event(t, id(0)) + "\n" + event(t, id(1), "session_id") + "\n" + event(t, id(2), `colour:"red"`) + "\r\n\n7\n" + event(t, id(0)),
	}
	for name, body := range bodies {
		r := newRig(t, nil)
		status, got, reports := r.events("application/x-ndjson", body)
		want := eventsAnswer{
			summary: summary{Accepted: 2, Duplicates: 1, Dropped: 2},
			Errors: []eventFinding{
				{1, "E1", invalidEvent, "session_id", "session_id is missing: expected a string of 1 to 256 characters"},
				{3, "", notJSON, "", "it is the number 7: expected an object with the fields of an event"},
			},
			Warnings: []eventFinding{{2, "E2", "", "colour", "colour is not a known field; it is ignored"}},
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(summary{}, eventsAnswer{})); status != 200 || len(reports) != 2 || diff != "" {
			t.Errorf("%s: status %d, %d taken (-want +got):\n%s", name, status, len(reports), diff)
		}
	}
}

func TestOddEventsAreTaken(t *testing.T) {
	for name, test := range map[string]struct {
		body     string
		warnings []string
	}{
		"only what is needed": {body: `{"event_id":"e","session_id":"s","event_type":"x","event_timestamp":"2025-08-11T14:30:45Z"}`},
		"nothing known":       {body: event(t, "country:null", `state:""`, "position_seconds:null", "completion_percentage:null")},
		"another zone":        {body: event(t, `event_timestamp:"2025-08-11t16:30:45.123+02:00"`)},
		"zeros":               {body: event(t, "position_seconds:0", "bandwidth_mbps:0", "buffering_events:0", "watch_duration_seconds:0", "completion_percentage:0")},
		"new kinds":           {body: event(t, `device_type:"fridge"`, `quality:"16K"`)},
		"over several lines":  {body: strings.ReplaceAll(event(t), ",", ",\n  ")},
		"long session":        {body: event(t, `session_id:"`+strings.Repeat("x", 65)+`"`), warnings: []string{"session_id has 65 characters, of at most 64 that CMCD allows; it is kept"}},
		"many unknown fields": {body: event(t, "a:1", "b:2"), warnings: []string{"a is not a known field; it is ignored", "b is not a known field; it is ignored"}},
	} {
		r := newRig(t, nil)
		status, answer, got := r.events("text/plain", test.body)
		var warnings []string
		for _, w := range answer.Warnings {
			warnings = append(warnings, w.Message)
		}
		if diff := cmp.Diff(test.warnings, warnings); status != 200 || len(got) != 1 || diff != "" {
			t.Errorf("%s: status %d, %+v (-want +got):\n%s", name, status, answer, diff)
		}
	}
	r := newRig(t, nil)
	object := strings.TrimSuffix(event(t), "}")
	_, answer, _ := r.events("", object+","+manyFields(40)+"}")
	if n := len(answer.Warnings); n != 17 || answer.Warnings[16].Message != "24 more fields are not known" {
		t.Errorf("40 unknown fields give %d warnings, the last %+v", n, answer.Warnings[n-1])
	}
}

func TestAnEventThatIsSentAgainIsLeftOut(t *testing.T) {
	r := newRig(t, nil)
	r.events("", event(t))
	if status, answer, got := r.events("", event(t, `city:"Elsewhere"`, `event_timestamp:"2025-08-11T15:00:00Z"`)); status != 200 || answer.Duplicates != 1 || len(got) != 0 {
		t.Errorf("status %d, answer %+v, want a duplicate", status, answer)
	}
	if _, answer, _ := r.events("", event(t, `session_id:"other"`)); answer.Accepted != 1 {
		t.Errorf("an event of another session: %+v, want it taken", answer)
	}
	other := r.restart()
	other.events("", event(t))
	if r.reports[0].ID != other.reports[0].ID {
		t.Errorf("on another edge it has the ID %v, not %v", other.reports[0].ID, r.reports[0].ID)
	}
}

func TestEventsAreOfTheSameSessionsAsCMCD(t *testing.T) {
	r := newRig(t, nil)
	r.Silence("SESSION_3m4n5o6p", time.Hour)
	status, answer, _ := r.events("", event(t))
	if status != http.StatusGone || answer.Dropped != 1 || len(answer.Errors) != 1 || answer.Errors[0].Reason != silenced {
		t.Errorf("status %d, answer %+v, want 410", status, answer)
	}
	if status, _, _ := r.events("", event(t)+event(t, `session_id:"other"`)); status != http.StatusOK {
		t.Errorf("with another session's event: status %d, want 200", status)
	}
}

// There may be no room, and still a status would be wrong that makes players send again.
func TestEventsThatFindNoRoom(t *testing.T) {
	r := newRig(t, nil)
	r.refuse = telemetry.ErrFull
	status, answer, _ := r.events("", event(t))
	if status != http.StatusOK || answer.Dropped != 1 || len(answer.Errors) != 1 || answer.Errors[0].Reason != busFull {
		t.Errorf("status %d, answer %+v, want 200 that tells of it", status, answer)
	}
	r.refuse, r.load = nil, 1
	if status, answer, _ := r.events("", event(t)); status != http.StatusOK || answer.Dropped != 1 || answer.Errors[0].Reason != shed {
		t.Errorf("status %d, answer %+v, want 200 that tells of it", status, answer)
	}
	r.load, r.clock = 0, r.clock.Add(recovery)
	if _, answer, _ := r.events("", event(t)); answer.Accepted != 1 {
		t.Errorf("answer %+v, want it taken when there is room", answer)
	}
}

func TestMoreEventsThanABodyMayHave(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxRecords = 3 })
	var events []string
	for i := range 5 {
		events = append(events, event(t, fmt.Sprintf(`event_id:"%d"`, i)))
	}
	status, answer, _ := r.events("", "["+strings.Join(events, ",")+"]")
	if status != 200 || answer.Accepted != 3 || answer.Dropped != 2 || len(answer.Errors) != 1 || answer.Errors[0].Index != 3 || answer.Errors[0].Reason != tooMany {
		t.Errorf("status %d, answer %+v", status, answer)
	}
	r = newRig(t, func(c *Config) { c.MaxBodyBytes = int64(len(events[0]) + 10) })
	status, answer, _ = r.events("", strings.Join(events, "\n"))
	if status != 200 || answer.Accepted != 1 || answer.Dropped < 1 || answer.Errors[0].Reason != bodyTooLong {
		t.Errorf("status %d, answer %+v", status, answer)
	}
}

func TestEventsOfAnotherType(t *testing.T) {
	r := newRig(t, nil)
	resp, _ := r.send(r.Events(), "/api/v1/events", "application/xml", "<event/>", nil)
	if resp.StatusCode != http.StatusUnsupportedMediaType || resp.Header.Get("Content-Type") != "application/problem+json" ||
		!strings.HasPrefix(resp.Header.Get("Accept-Post"), "application/json") {
		t.Errorf("status %d, header %v", resp.StatusCode, resp.Header)
	}
}
