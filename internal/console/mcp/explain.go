package mcp

import (
	"context"
	"errors"
	"fmt"

	"github.com/weir-stream/weir/internal/analytics"
)

// explain makes of an error what the model is told: what was wrong, and what to do next. Errors
// that it can do nothing about are logged and not told in full.
func (s *Server) explain(ctx context.Context, tool string, err error) error {
	var bad inputError
	switch {
	case errors.As(err, &bad):
		return err
	case errors.Is(err, analytics.ErrAmbiguous):
		return fmt.Errorf("%w. Call again with one of these IDs, or with more of its beginning", err)
	case errors.Is(err, analytics.ErrNoSession):
		return fmt.Errorf("%w. Call list_sessions for the sessions there are; a session without CMCD has no ID", err)
	case errors.Is(err, analytics.ErrUnknownMetric), errors.Is(err, analytics.ErrUnknownDimension):
		return fmt.Errorf("%w. Call list_metrics for what each of them means", err)
	case errors.Is(err, analytics.ErrInvalidQuery):
		return err
	case errors.Is(err, context.DeadlineExceeded):
		return errors.New("the store did not answer in time: ask for a shorter range")
	case errors.Is(err, context.Canceled):
		return errors.New("stopped before it was done")
	}
	s.set.Log.ErrorContext(ctx, "MCP tool has no answer", "tool", tool, "error", err)
	return errors.New("the store could not answer; the server's log has the cause")
}

// inputError is an argument that makes no sense.
type inputError struct{ message string }

func (e inputError) Error() string { return e.message }

func badInput(format string, args ...any) error { return inputError{fmt.Sprintf(format, args...)} }
