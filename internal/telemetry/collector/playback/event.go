package playback

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/weir-stream/weir/cmcd"
	"github.com/weir-stream/weir/internal/telemetry"
)

// Finding is something about one field of an event, or about all of it if Field is "".
type Finding struct{ Field, Message string }

// Event is what was found out about an event.
type Event struct {
	// ID is the sender's name for it, Time its time by the sender's clock.
	ID   string
	Time time.Time
	// Problems are what is wrong with it, so that it is no report; Remarks what is odd about it.
	Problems, Remarks []Finding
}

// The errors of [Parse].
var (
	// ErrNotJSON: it is no JSON object.
	ErrNotJSON = errors.New("event is no JSON object")
	// ErrTooManyFields: it has more fields than it may.
	ErrTooManyFields = errors.New("event has too many fields")
	// ErrInvalid: it breaks the rules that its Problems name.
	ErrInvalid = errors.New("event is invalid")
)

// Limits of the texts of an event, in characters.
const (
	maxText      = 256
	maxEventType = 64 // as that of a custom event name (CTA-5004-B, cen)
	// Longer ones are taken, as the decoder of CMCD takes them, with a warning.
	maxSessionID = 64
	maxContentID = 128
)

// Parse reads an event of the events API, and says it in the words of CMCD as far as there are any: in
// the report's CMCD and Playback. The error is one of those above.
func Parse(raw []byte, maxFields int, report *telemetry.Report) (Event, error) {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var object map[string]any
	if err := decoder.Decode(&object); err != nil {
		return Event{Problems: []Finding{Broken(raw)}}, ErrNotJSON
	}
	if len(object) > maxFields {
		return Event{}, ErrTooManyFields
	}
	e := eventReader{object: object}
	p := &telemetry.Playback{
		EventID:    e.text("event_id", true, maxText),
		EventType:  e.text("event_type", true, maxEventType),
		Customer:   e.text("customer_id", false, maxText),
		DeviceType: e.text("device_type", false, maxText),
		DeviceOS:   e.text("device_os", false, maxText),
		Quality:    e.text("quality", false, maxText),
		Country:    e.text("country", false, maxText),
		State:      e.text("state", false, maxText),
		City:       e.text("city", false, maxText),
	}
	e.event.ID = p.EventID
	sid := e.text("session_id", true, maxText)
	cid := e.text("title_id", false, maxText)
	e.event.Time = e.time("event_timestamp")
	if seconds, ok := e.number("watch_duration_seconds", 1e9); ok {
		p.Watched = time.Duration(math.Round(seconds * float64(time.Second)))
	}
	if percent, ok := e.number("completion_percentage", 100); ok {
		completion := percent / 100
		p.Completion = &completion
	}
	report.Playback = p
	v := &report.CMCD
	v.SetNumber(cmcd.KeyV, 2)
	e.name(v, cmcd.KeySID, "session_id", sid, maxSessionID)
	if cid != "" {
		e.name(v, cmcd.KeyCID, "title_id", cid, maxContentID)
	}
	v.SetNumber(cmcd.KeyTS, float64(e.event.Time.UnixMilli()))
	if seconds, ok := e.number("position_seconds", 1e9); ok {
		v.SetNumber(cmcd.KeyPT, math.Round(seconds*1e3))
	}
	if mbps, ok := e.number("bandwidth_mbps", 1e6); ok {
		v.SetList(cmcd.KeyMTP, cmcd.Item{Number: math.Round(mbps*1e6) / 1e3})
	}
	if n, ok := e.number("buffering_events", 1e9); ok {
		if n != math.Trunc(n) {
			e.wrong("buffering_events", "the number "+strconv.FormatFloat(n, 'f', -1, 64), "a whole number")
		}
		v.SetList(cmcd.KeyBSA, cmcd.Item{Number: n})
	}
	setEvent(v, p.EventType)
	e.unknown()
	if len(e.event.Problems) > 0 {
		return e.event, ErrInvalid
	}
	return e.event, nil
}

// setEvent says what kind of event it is. A type that CMCD has no word for is a custom event.
func setEvent(v *cmcd.Values, eventType string) {
	event, state := "ce", ""
	switch strings.ToLower(eventType) {
	case "start", "play", "playing", "resume", "buffer_end", "seek_end":
		event, state = "ps", "p"
	case "pause":
		event, state = "ps", "a"
	case "seek", "seek_start":
		event, state = "ps", "k"
	case "buffer", "buffering", "buffer_start", "rebuffer":
		event, state = "ps", "r"
	case "complete", "end", "ended":
		event, state = "ps", "e"
	case "stop", "quit":
		event, state = "ps", "q"
	case "error":
		event = "e"
	case "heartbeat", "progress":
		event = "t"
	case "bitrate_change", "quality_change":
		event = "bc"
	}
	v.SetText(cmcd.KeyE, event)
	switch {
	case state != "":
		v.SetText(cmcd.KeySTA, state)
	case event == "ce":
		v.SetText(cmcd.KeyCEN, eventType)
	}
}

// eventReader takes the fields of an event one by one, and notes what is wrong with them.
type eventReader struct {
	object map[string]any // what has not been taken yet
	event  Event
}

func (e *eventReader) wrong(field, found, expected string) {
	e.event.Problems = append(e.event.Problems, Finding{field, fmt.Sprintf("%s is %s: expected %s", field, found, expected)})
}

func (e *eventReader) remark(field, message string) {
	e.event.Remarks = append(e.event.Remarks, Finding{field, message})
}

// take returns the value of a field, false if it has none.
func (e *eventReader) take(field string) (any, bool) {
	value, ok := e.object[field]
	delete(e.object, field)
	return value, ok
}

func (e *eventReader) text(field string, required bool, limit int) string {
	expected := fmt.Sprintf("a string of 1 to %d characters", limit)
	value, ok := e.take(field)
	switch {
	case !required && (value == nil || value == ""):
		return ""
	case !ok:
		e.wrong(field, "missing", expected)
		return ""
	}
	text, ok := value.(string)
	switch {
	case !ok || text == "":
		e.wrong(field, describe(value), expected)
		return ""
	case utf8.RuneCountInString(text) > limit:
		e.wrong(field, fmt.Sprintf("a string of %d characters", utf8.RuneCountInString(text)), expected)
		return ""
	case strings.ContainsFunc(text, unicode.IsControl):
		e.wrong(field, describe(value), expected+" without control characters")
		return ""
	}
	return text
}

// name sets a key of CMCD that names something.
func (e *eventReader) name(v *cmcd.Values, k cmcd.Key, field, text string, limit int) {
	v.SetText(k, text)
	if n := utf8.RuneCountInString(text); n > limit {
		v.Warnings |= cmcd.WarnTooLong
		e.remark(field, fmt.Sprintf("%s has %d characters, of at most %d that CMCD allows; it is kept", field, n, limit))
	}
	if strings.ContainsFunc(text, func(r rune) bool { return r > unicode.MaxASCII }) {
		v.Warnings |= cmcd.WarnCharacter
	}
}

// number returns a number from 0 to limit; false if there is none, or another.
func (e *eventReader) number(field string, limit float64) (float64, bool) {
	value, _ := e.take(field)
	if value == nil {
		return 0, false
	}
	number, ok := value.(json.Number)
	if ok {
		if n, err := number.Float64(); err == nil && n >= 0 && n <= limit {
			return n, true
		}
	}
	e.wrong(field, describe(value), "a number from 0 to "+strconv.FormatFloat(limit, 'f', -1, 64))
	return 0, false
}

func (e *eventReader) time(field string) time.Time {
	const expected = "a time as in RFC 3339, such as 2025-08-11T14:30:45.123Z"
	value, ok := e.take(field)
	if !ok {
		e.wrong(field, "missing", expected)
		return time.Time{}
	}
	text, ok := value.(string)
	if !ok {
		e.wrong(field, describe(value), expected)
		return time.Time{}
	}
	at, err := time.Parse(time.RFC3339Nano, strings.ToUpper(text))
	if err != nil {
		e.wrong(field, describe(value), expected)
		return time.Time{}
	}
	if at.Unix() <= 0 || at.UTC().Year() > 9999 {
		e.wrong(field, describe(value), "a time after 1970 and before 10000")
	}
	return at
}

// unknown remarks on the fields that nobody has taken.
func (e *eventReader) unknown() {
	const most = 16
	names := make([]string, 0, len(e.object))
	for name := range e.object {
		names = append(names, name)
	}
	slices.Sort(names)
	for i, name := range names {
		if i == most {
			e.remark("", fmt.Sprintf("%d more fields are not known", len(names)-most))
			return
		}
		name = clip(name)
		e.remark(name, fmt.Sprintf("%s is not a known field; it is ignored", name))
	}
}

// describe says what kind of JSON a value is, and what it is if that is short.
func describe(value any) string {
	switch value := value.(type) {
	case nil:
		return "null"
	case bool:
		return strconv.FormatBool(value)
	case json.Number:
		return "the number " + clip(value.String())
	case string:
		if value == "" {
			return "an empty string"
		}
		return "the string " + strconv.Quote(clip(value))
	case []any:
		return "an array"
	default:
		return "an object"
	}
}

// clip returns s, or its beginning if it is too long for a message.
func clip(s string) string {
	const most = 64
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// Broken says what is wrong with something that is no JSON object.
func Broken(raw []byte) Finding {
	var value any
	err := json.Unmarshal(raw, &value)
	if number, ok := value.(float64); ok {
		value = json.Number(strconv.FormatFloat(number, 'g', -1, 64))
	}
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &syntax):
		return Finding{"", fmt.Sprintf("it is not JSON: %v, at byte %d of %d: expected an object with the fields of an event", syntax, syntax.Offset, len(raw))}
	case err != nil:
		return Finding{"", fmt.Sprintf("it is not JSON: %v: expected an object with the fields of an event", err)}
	case value == nil:
		return Finding{"", "it is null: expected an object with the fields of an event"}
	}
	return Finding{"", "it is " + describe(value) + ": expected an object with the fields of an event"}
}
