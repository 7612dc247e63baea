package collector

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/weir-stream/weir/cmcd"
	"github.com/weir-stream/weir/internal/problem"
	"github.com/weir-stream/weir/internal/telemetry"
	"github.com/weir-stream/weir/internal/telemetry/collector/playback"
)

// eventsAPI takes the events of players that do not speak CMCD: one JSON object, an array of them, or
// one object a line.
func eventsAPI() *api {
	return &api{
		name: "events",
		types: []string{
			"application/json", "application/x-ndjson", "application/ndjson", "application/jsonl", "text/plain",
		},
		jsonOnly: true,
		parse:    parseEvent, answer: answerEvents, refuse: problem.Write,
	}
}

func parseEvent(h *Handler, raw []byte, _ bool, r *record, report *telemetry.Report) outcome {
	event, err := playback.Parse(raw, h.config.MaxKeys, report)
	r.eventID, r.problems, r.remarks = event.ID, event.Problems, event.Remarks
	switch {
	case errors.Is(err, playback.ErrNotJSON):
		return notJSON
	case errors.Is(err, playback.ErrTooManyFields):
		return tooManyKeys
	case err != nil:
		return invalidEvent
	}
	name := appendAll(make([]byte, 0, 512), "event", report.CMCD.Text(cmcd.KeySID), event.ID)
	report.ID = hashID(name) // of what names the event, whatever time it says
	return taken
}

// eventsAnswer says what became of the events of a body.
type eventsAnswer struct {
	summary
	// Errors say why events were dropped; an event can have several. Warnings are of events that were
	// taken all the same.
	Errors   []eventFinding `json:"errors"`
	Warnings []eventFinding `json:"warnings"`
}

type eventFinding struct {
	// Index is the event's place in the body, from 0.
	Index   int     `json:"index"`
	EventID string  `json:"event_id,omitempty"`
	Reason  outcome `json:"reason,omitempty"`
	Field   string  `json:"field,omitempty"`
	Message string  `json:"message"`
}

// answerEvents answers 200 if something of the body was good, else 400; 410 if all was of sessions that
// are to send nothing. What could not be kept for want of room is told, but the status is still 200, as
// any other makes players send everything again at once.
func answerEvents(h *Handler, b *batch, w http.ResponseWriter, _ *http.Request) (status int) {
	answer := eventsAnswer{summary: b.summary(), Errors: []eventFinding{}, Warnings: []eventFinding{}}
	for i := range b.records {
		r := &b.records[i]
		for _, remark := range r.remarks {
			answer.Warnings = append(answer.Warnings, eventFinding{Index: i, EventID: r.eventID, Field: remark.Field, Message: remark.Message})
		}
		if r.outcome == taken || r.outcome == duplicate {
			continue
		}
		if len(r.problems) == 0 {
			r.problems = []playback.Finding{{Message: h.reason(r.outcome)}}
		}
		for _, problem := range r.problems {
			answer.Errors = append(answer.Errors, eventFinding{i, r.eventID, r.outcome, problem.Field, problem.Message})
		}
	}
	for _, rest := range []struct {
		n   int
		why outcome
	}{{b.tooMany, tooMany}, {b.tooLong, bodyTooLong}} {
		if rest.n > 0 {
			answer.Errors = append(answer.Errors, eventFinding{
				Index: len(b.records), Reason: rest.why, Message: fmt.Sprintf("%s: %d or more were left out", h.reason(rest.why), rest.n),
			})
		}
	}
	switch {
	case b.tell:
		status = http.StatusGone
	case answer.Accepted+answer.Duplicates == 0 && answer.bad == answer.Dropped:
		status = http.StatusBadRequest
		if len(answer.Errors) == 0 {
			answer.Errors = append(answer.Errors, eventFinding{Message: "the body is empty: expected an event, an array of events, or an event a line"})
		}
	default:
		status = http.StatusOK
	}
	writeJSON(w, status, answer)
	return status
}

// reason says in words why an event was dropped that has nothing wrong with it, or too much.
func (h *Handler) reason(o outcome) string {
	switch o {
	case tooLong:
		return fmt.Sprintf("it is too long: expected at most %d bytes", h.config.MaxRecordBytes)
	case tooManyKeys:
		return fmt.Sprintf("it has too many fields: expected at most %d", h.config.MaxKeys)
	case tooMany:
		return fmt.Sprintf("there are too many events: expected at most %d in a body", h.config.MaxRecords)
	case bodyTooLong:
		return fmt.Sprintf("the body is too long: expected at most %d bytes", h.config.MaxBodyBytes)
	case silenced:
		return "its session is to send nothing more"
	case sampled, shed:
		return "its session is not among those that are kept"
	case busFull:
		return "there is no room for it at the moment"
	case internalError:
		return "it could not be read, by a fault of the server"
	default:
		return "it could not be kept"
	}
}
