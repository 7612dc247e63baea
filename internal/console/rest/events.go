package rest

import (
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// PlayerEvent is an event of a player that does not speak CMCD. The collector takes it, on the public
// listener; here it is only described.
type PlayerEvent struct {
	EventID       string    `json:"event_id" doc:"The sender's name for this event. One that comes again in the same session is left out." minLength:"1" maxLength:"256" example:"EVENT_a1b2c3d4"`
	SessionID     string    `json:"session_id" doc:"The playback that it belongs to (CMCD sid)." minLength:"1" maxLength:"256" example:"SESSION_3m4n5o6p"`
	EventType     string    `json:"event_type" doc:"What happened: start, play, resume, pause, seek, buffering, buffer_end, stop, complete, error, heartbeat, quality_change; or anything else." minLength:"1" maxLength:"64" example:"start"`
	Timestamp     time.Time `json:"event_timestamp" doc:"When, by the player's clock." example:"2025-08-11T14:30:45.123Z"`
	TitleID       string    `json:"title_id,omitempty" doc:"What is played (CMCD cid)." maxLength:"256" example:"TITLE_9i0j1k2l"`
	CustomerID    string    `json:"customer_id,omitempty" doc:"The subscriber." maxLength:"256" example:"CUST_5e6f7g8h"`
	WatchDuration *float64  `json:"watch_duration_seconds,omitempty" doc:"How long the viewer has watched." minimum:"0" maximum:"1000000000" example:"1800"`
	Position      *float64  `json:"position_seconds,omitempty" doc:"Place in the title (CMCD pt)." minimum:"0" maximum:"1000000000" example:"900"`
	Completion    *float64  `json:"completion_percentage,omitempty" doc:"How much of the title was watched." minimum:"0" maximum:"100" example:"45.5"`
	DeviceType    string    `json:"device_type,omitempty" maxLength:"256" example:"mobile"`
	DeviceOS      string    `json:"device_os,omitempty" maxLength:"256" example:"iOS"`
	Quality       string    `json:"quality,omitempty" doc:"The sender's word for it." maxLength:"256" example:"HD"`
	Bandwidth     *float64  `json:"bandwidth_mbps,omitempty" doc:"Measured throughput in Mbit/s (CMCD mtp)." minimum:"0" maximum:"1000000" example:"25.5"`
	Buffering     *int64    `json:"buffering_events,omitempty" doc:"Rebuffers since the session began (CMCD bsa)." minimum:"0" maximum:"1000000000" example:"2"`
	Country       string    `json:"country,omitempty" maxLength:"256" example:"United States"`
	State         string    `json:"state,omitempty" maxLength:"256" example:"California"`
	City          string    `json:"city,omitempty" maxLength:"256" example:"Los Angeles"`
}

// EventsResult says what became of the events of a body.
type EventsResult struct {
	Accepted   int            `json:"accepted"`
	Duplicates int            `json:"duplicates" doc:"Events that came before, and were left out."`
	Dropped    int            `json:"dropped"`
	Errors     []EventFinding `json:"errors" doc:"Why events were dropped; one event can have several."`
	Warnings   []EventFinding `json:"warnings" doc:"What is odd about events that were taken or left out."`
}

// EventFinding is about one event of a body.
type EventFinding struct {
	Index   int    `json:"index" doc:"The event's place in the body, from 0."`
	EventID string `json:"event_id,omitempty"`
	Reason  string `json:"reason,omitempty" doc:"Why it was dropped, in a word." example:"invalid_event"`
	Field   string `json:"field,omitempty" doc:"Absent if it is of the event as a whole."`
	Message string `json:"message" doc:"What was found, and what was expected."`
}

// describeEvents adds the events API to the description. It is not served here: players reach the
// public listener, and nobody else's.
func describeEvents(api *huma.OpenAPI) {
	registry := api.Components.Schemas
	event := registry.Schema(reflect.TypeFor[PlayerEvent](), true, "PlayerEvent")
	// Unknown fields are told as warnings, and null stands for a field that is not there.
	registry.Map()["PlayerEvent"].AdditionalProperties = true
	result := registry.Schema(reflect.TypeFor[EventsResult](), true, "EventsResult")
	answer := func(description string) *huma.Response {
		return &huma.Response{Description: description, Content: map[string]*huma.MediaType{"application/json": {Schema: result}}}
	}
	lines := &huma.Schema{Type: huma.TypeString, Description: "One event a line."}
	api.AddOperation(&huma.Operation{
		OperationID: "postEvents", Method: http.MethodPost, Path: "/api/v1/events", Tags: []string{"cmcd"},
		Summary:     "Events of players that do not speak CMCD; on the public listener",
		Description: "Each event is taken or dropped by itself. The answer is never 429 or 5xx.",
		Servers:     []*huma.Server{{URL: "http://localhost:8080", Description: "The public listener."}},
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
			"application/json":     {Schema: &huma.Schema{OneOf: []*huma.Schema{event, {Type: huma.TypeArray, Items: event}}}},
			"application/x-ndjson": {Schema: lines},
		}},
		Responses: map[string]*huma.Response{
			"200": answer("At least one event was good."),
			"400": answer("Not one event was good."),
			"410": answer("All events are of sessions that are to send nothing more."),
		},
	})
}
