package live

import (
	"errors"
	"fmt"
	"strings"
)

// StreamName is the name of a stream, such as "test" or "sport/final". It is safe to use as a path
// in a URL without escaping. Make one with [ParseStreamName].
type StreamName string

// MaxStreamName is the greatest length of a stream name in bytes.
const MaxStreamName = 128

// ParseStreamName checks that s can name a stream: one to four segments joined by "/", each of
// letters, digits, "-", "_" and ".", none beginning with a dot, at most [MaxStreamName] bytes in
// all. The error wraps [ErrInvalidName] and says what is wrong.
func ParseStreamName(s string) (StreamName, error) {
	switch {
	case s == "":
		return "", fmt.Errorf("%w: it is empty", ErrInvalidName)
	case len(s) > MaxStreamName:
		return "", fmt.Errorf("%w: %d bytes long, at most %d are allowed", ErrInvalidName, len(s), MaxStreamName)
	}
	segments := strings.Split(s, "/")
	if len(segments) > 4 {
		return "", fmt.Errorf("%w %q: %d segments, at most 4 are allowed", ErrInvalidName, s, len(segments))
	}
	for _, segment := range segments {
		if segment == "" {
			return "", fmt.Errorf("%w %q: an empty segment", ErrInvalidName, s)
		}
		if segment[0] == '.' {
			return "", fmt.Errorf("%w %q: a segment begins with a dot", ErrInvalidName, s)
		}
		for i := range len(segment) {
			if !nameByte(segment[i]) {
				return "", fmt.Errorf("%w %q: %q is not a letter, digit, '-', '_' or '.'", ErrInvalidName, s, segment[i])
			}
		}
	}
	return StreamName(s), nil
}

func nameByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.'
}

// State is where a stream stands in its life.
type State string

// The states of a stream. A stream is made by its first publisher, waits for a keyframe, runs,
// and is interrupted when its publisher goes away; it runs again if a publisher returns within
// the resume window, else it has ended.
const (
	Starting    State = "starting"
	Running     State = "running"
	Interrupted State = "interrupted"
	Ended       State = "ended"
)

// The errors of publishing and reading. Each is wrapped with the name of the stream.
var (
	// ErrInvalidName: the text cannot name a stream.
	ErrInvalidName = errors.New("stream name is not valid")
	// ErrTaken: another publisher has the stream (conflict).
	ErrTaken = errors.New("stream name is taken by another publisher")
	// ErrNotFound: no stream of that name is running (not found).
	ErrNotFound = errors.New("no such stream")
	// ErrDenied: the publisher or reader may not use the stream (denied).
	ErrDenied = errors.New("not allowed on this stream")
	// ErrFull: the server has as many streams as it is configured to take (unavailable).
	ErrFull = errors.New("the server takes no more streams")
	// ErrClosed: the stream or the hub was closed while it was used.
	ErrClosed = errors.New("stream is closed")
)
