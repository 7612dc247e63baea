package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"
)

var (
	// ErrLoop is a request that has been through this node before; it is to be answered with 508.
	ErrLoop error = &statusError{http.StatusLoopDetected, "the request has been through this node before"}
	// ErrUnavailable is in every [UnavailableError].
	ErrUnavailable = errors.New("no origin can be asked")

	errAttemptTimeout = &timeoutError{}
	errKeptBroke      = errors.New("a kept connection has ended before the answer")
	errSealed         = errors.New("the attempt is over")
)

// statusError is an error that knows how it is to be answered.
type statusError struct {
	status int
	text   string
}

func (e *statusError) Error() string   { return e.text }
func (e *statusError) StatusCode() int { return e.status }

type timeoutError struct{}

func (*timeoutError) Error() string {
	return "the origin has not begun to answer within attempt_timeout"
}
func (*timeoutError) Timeout() bool   { return true }
func (*timeoutError) Temporary() bool { return true }

// UnavailableError says that nobody was asked, and why.
type UnavailableError struct {
	Origins []Unavailable
	// RetryAfter is when one of them will be tried again.
	RetryAfter time.Duration
}

// Unavailable is an origin that was not asked.
type Unavailable struct {
	Origin string
	Reason string
}

// Error names the origins; it is for the log, not for viewers.
func (e *UnavailableError) Error() string {
	var b strings.Builder
	b.WriteString(ErrUnavailable.Error())
	for i, o := range e.Origins {
		sep := "; "
		if i == 0 {
			sep = ": "
		}
		fmt.Fprintf(&b, "%s%q %s", sep, o.Origin, o.Reason)
	}
	return b.String()
}

// Unwrap makes the error an [ErrUnavailable].
func (e *UnavailableError) Unwrap() error { return ErrUnavailable }

// StatusCode is how a viewer is told, if nothing stale can be served.
func (e *UnavailableError) StatusCode() int { return http.StatusServiceUnavailable }

// OriginError says that an origin was asked and gave no answer.
type OriginError struct {
	Origin   string
	Class    FailureClass
	Attempts int // of the request, this one included
	Err      error
}

func (e *OriginError) Error() string {
	if e.Attempts > 1 {
		return fmt.Sprintf("ask origin %q (%s, attempt %d): %v", e.Origin, e.Class, e.Attempts, e.Err)
	}
	return fmt.Sprintf("ask origin %q (%s): %v", e.Origin, e.Class, e.Err)
}

func (e *OriginError) Unwrap() error { return e.Err }

// Timeout reports whether the origin was too slow.
func (e *OriginError) Timeout() bool { return e.Class == FailureTimeout }

// StatusCode is how a viewer is told, if nothing stale can be served.
func (e *OriginError) StatusCode() int {
	if e.Class == FailureTimeout {
		return http.StatusGatewayTimeout
	}
	return http.StatusBadGateway
}

// FailureClass is how an origin has failed.
type FailureClass int

// How an origin can fail, and how a request can.
const (
	FailureResolve  FailureClass = iota // its name has no address
	FailureConnect                      // no connection
	FailureTLS                          // no handshake, or a certificate that is not trusted
	FailureTimeout                      // too slow to the head of its answer
	FailureReset                        // the connection ended before the answer
	FailureProtocol                     // an answer that is no HTTP
	FailureStatus                       // an answer with a 5xx status
	FailureBody                         // the answer broke off
	// FailureCaller is none of the origin: who asked went away, or asked what cannot be sent.
	FailureCaller
	failureClasses
)

// String returns the class in metrics and in the log.
func (c FailureClass) String() string {
	switch c {
	case FailureResolve:
		return "resolve"
	case FailureConnect:
		return "connect"
	case FailureTLS:
		return "tls"
	case FailureTimeout:
		return "timeout"
	case FailureReset:
		return "reset"
	case FailureProtocol:
		return "protocol"
	case FailureStatus:
		return "status"
	case FailureBody:
		return "body"
	default:
		return "caller"
	}
}

// callerFault returns the class of a failure after the caller's context has ended. Its cause tells a viewer
// who went away from an origin that the caller has lost patience with: that has a Timeout method.
func callerFault(ctx context.Context) FailureClass {
	cause := context.Cause(ctx)
	var timeout interface{ Timeout() bool }
	if errors.Is(cause, context.DeadlineExceeded) || errors.Is(cause, os.ErrDeadlineExceeded) ||
		errors.As(cause, &timeout) && timeout.Timeout() {
		return FailureTimeout
	}
	return FailureCaller
}

// classify returns how an attempt has failed. connected says that there was a connection, own that the
// transport is ours, so that connected can be believed.
func classify(err error, connected, own, https bool) FailureClass {
	var (
		dns     *net.DNSError
		op      *net.OpError
		timeout net.Error
	)
	switch {
	case errors.As(err, &dns):
		return FailureResolve
	case errors.As(err, &op) && (op.Op == "dial" || op.Op == "proxyconnect" || op.Op == "socks connect"):
		return FailureConnect
	case refused(err):
		return FailureCaller
	case own && !connected && https && !errors.Is(err, errAttemptTimeout):
		return FailureTLS
	case errors.As(err, &timeout) && timeout.Timeout():
		return FailureTimeout
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET),
		errors.Is(err, syscall.EPIPE), errors.Is(err, net.ErrClosed), errors.Is(err, errKeptBroke), errors.As(err, &op), serverClosedIdle(err):
		return FailureReset
	case !own:
		return FailureConnect
	}
	return FailureProtocol
}

// serverClosedIdle is what the transport says of a connection that the origin has closed meanwhile.
func serverClosedIdle(err error) bool {
	return strings.Contains(err.Error(), "server closed idle connection")
}

// refused is what the transport says of a request that cannot be sent.
func refused(err error) bool {
	text := err.Error()
	return strings.HasPrefix(text, "net/http: invalid ") || strings.HasPrefix(text, "http: ContentLength=")
}
