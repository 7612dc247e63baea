package edge

import (
	"context"
	"errors"
	"net/http"
	"os"
)

var (
	errHeadTimeout = errors.New("the origin has not begun to answer in time")
	errFillTimeout = errors.New("the origin has not sent the whole object in time")
	errClosing     = errors.New("the edge is stopping")
	errOrigin      = errors.New("the origin's answer is of no use")
	errNoRules     = errors.New("edge: no rules are given")
)

// failure is how an error of the origin is told to a viewer.
type failure struct {
	status int
	token  string // for Cache-Status
	detail string
}

// failureOf says how err is told. The sentence names no host and no address: those are for the log.
func failureOf(err error) failure {
	switch {
	case errors.Is(err, errBusy):
		return failure{
			http.StatusServiceUnavailable, "busy",
			"This edge is fetching as many objects as it may; ask again in a second.",
		}
	case errors.Is(err, errClosing):
		return failure{
			http.StatusServiceUnavailable, "stopping",
			"This edge is stopping; ask again.",
		}
	case errors.Is(err, errHeadTimeout), errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return failure{
			http.StatusGatewayTimeout, "origin-timeout",
			"The origin did not begin to answer in time.",
		}
	case errors.Is(err, errFillTimeout):
		return failure{
			http.StatusGatewayTimeout, "origin-timeout",
			"The origin did not send the object in time.",
		}
	case errors.Is(err, errOrigin):
		return failure{
			http.StatusBadGateway, "origin-answer",
			"The origin gave an answer that cannot be used.",
		}
	default:
		return failure{
			http.StatusBadGateway, "origin-unreachable",
			"The origin could not be reached, or it broke off.",
		}
	}
}
