package rest

import (
	"context"
	"errors"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weir-stream/weir/internal/analytics"
)

// problem turns an engine's error into an RFC 9457 answer. Only errors that the caller can do
// something about are told in full; the rest is logged.
func (h *Handler) problem(ctx context.Context, asked string, err error) error {
	switch {
	case errors.Is(err, analytics.ErrNoSession),
		errors.Is(err, analytics.ErrUnknownMetric):
		return huma.Error404NotFound(err.Error())
	case errors.Is(err, analytics.ErrAmbiguous):
		return huma.Error409Conflict(err.Error())
	case errors.Is(err, analytics.ErrUnknownDimension), errors.Is(err, analytics.ErrInvalidQuery):
		return huma.Error400BadRequest(err.Error())
	case errors.Is(err, context.DeadlineExceeded):
		return huma.Error504GatewayTimeout(asked + ": the store did not answer in time; ask for a shorter range")
	case errors.Is(err, context.Canceled):
		return huma.Error503ServiceUnavailable(asked + ": stopped before it was done")
	}
	h.set.Log.ErrorContext(ctx, "request of the API has no answer", "asked", asked, "error", err)
	return huma.Error500InternalServerError(asked + ": the store could not answer; the server's log has the cause")
}
