package rest

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// Silencer makes players stop posting.
type Silencer interface {
	// Silence makes the collector refuse the session's reports for so long, or for its usual time if
	// length is 0. It returns when that ends.
	Silence(session string, length time.Duration) (until time.Time)
	// Unsilence ends that, and reports whether there was anything to end.
	Unsilence(session string) bool
}

// Silence is a session whose reports are refused.
type Silence struct {
	SessionID string    `json:"session_id"`
	Until     time.Time `json:"until" doc:"When the session's reports are taken again. A player that was told to stop stays silent beyond that."`
}

// maxSilence is the longest that a session can be silenced for.
const maxSilence = 30 * 24 * time.Hour

type silenceInput struct {
	ID  string `path:"sid" doc:"CMCD session ID (sid), in full." minLength:"1" maxLength:"256"`
	For string `query:"for" doc:"How long, such as 10m or 24h; default: silence_time of the collector." example:"1h"`
}

type silenceOutput struct{ Body Silence }

type unsilenceInput struct {
	ID string `path:"sid" doc:"CMCD session ID (sid), in full." minLength:"1" maxLength:"256"`
}

func (h *Handler) registerSilence() {
	huma.Register(h.api, huma.Operation{
		OperationID: "silenceSession", Method: http.MethodPut, Path: "/api/v1/sessions/{sid}/silence", Tags: []string{"sessions"},
		Summary:     "Tell a player to stop posting reports",
		Description: "The collector of this node drops the session's reports and answers them with 410, the first five on each address; players then post nothing more there for the rest of the session. A player that goes on is answered 204.",
		Errors:      []int{http.StatusBadRequest},
	}, h.silence)
	huma.Register(h.api, huma.Operation{
		OperationID: "unsilenceSession", Method: http.MethodDelete, Path: "/api/v1/sessions/{sid}/silence", Tags: []string{"sessions"},
		Summary: "Take a session's reports again", DefaultStatus: http.StatusNoContent,
		Errors: []int{http.StatusNotFound},
	}, h.unsilence)
}

func (h *Handler) silence(_ context.Context, in *silenceInput) (*silenceOutput, error) {
	var length time.Duration
	if in.For != "" {
		var err error
		if length, err = time.ParseDuration(in.For); err != nil || length <= 0 || length > maxSilence {
			return nil, huma.Error400BadRequest("for must be a duration of at most 720h, such as 10m or 24h")
		}
	}
	return &silenceOutput{Body: Silence{SessionID: in.ID, Until: h.set.Silencer.Silence(in.ID, length).UTC()}}, nil
}

func (h *Handler) unsilence(_ context.Context, in *unsilenceInput) (*struct{}, error) {
	if !h.set.Silencer.Unsilence(in.ID) {
		return nil, huma.Error404NotFound("the session is not silenced")
	}
	return nil, nil
}
