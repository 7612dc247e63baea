package rest

import (
	"context"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weir-stream/weir/internal/analytics"
	"github.com/weir-stream/weir/internal/problem"
)

// explain turns an engine's error into an RFC 9457 answer. Only errors that the caller can do
// something about are told in full; the rest is logged.
func (h *Handler) explain(ctx context.Context, asked string, err error) error {
	switch {
	case errors.Is(err, analytics.ErrNoSession),
		errors.Is(err, analytics.ErrUnknownMetric):
		return huma.Error404NotFound(err.Error())
	case errors.Is(err, analytics.ErrAmbiguous):
		return huma.Error409Conflict(err.Error())
	case errors.Is(err, analytics.ErrUnknownDimension), errors.Is(err, analytics.ErrInvalidQuery):
		return huma.Error400BadRequest(err.Error())
	}
	switch status := problem.Status(err); status {
	case http.StatusGatewayTimeout:
		return huma.NewError(status, asked+": the store did not answer in time; ask for a shorter range")
	case http.StatusServiceUnavailable:
		return huma.NewError(status, asked+": stopped before it was done")
	default:
		h.set.Log.ErrorContext(ctx, "request of the API has no answer", "asked", asked, "error", err)
		return huma.Error500InternalServerError(asked + ": the store could not answer; the server's log has the cause")
	}
}
