package problem

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"strconv"
)

// ContentType is the media type of an answer (RFC 9457 §3).
const ContentType = "application/problem+json"

// Details are the members of an answer. The type is always "about:blank", so it is left out and the
// title is that of the status code (RFC 9457 §4.2.1).
type Details struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	// Detail is a sentence for the person who reads it.
	Detail string `json:"detail,omitempty"`
}

// Encode returns the answer's body, ended by a line feed.
func Encode(status int, detail string) []byte {
	// Strings and an int cannot fail to be encoded; bytes that are no UTF-8 are replaced.
	body, _ := json.Marshal(Details{Title: title(status), Status: status, Detail: detail})
	return append(body, '\n')
}

// Write answers r with the status, its title and the detail. The answer is not to be stored unless
// the caller has already set a Cache-Control. Other headers that the caller has set are kept, except
// those that speak of a body which is now not sent.
func Write(w http.ResponseWriter, r *http.Request, status int, detail string) {
	body := Encode(status, detail)
	h := w.Header()
	for _, name := range []string{"Content-Encoding", "Content-Range", "Etag", "Last-Modified", "Accept-Ranges"} {
		h.Del(name)
	}
	h.Set("Content-Type", ContentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("X-Content-Type-Options", "nosniff")
	if h.Get("Cache-Control") == "" {
		h.Set("Cache-Control", "no-store")
	}
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		// The client may have gone; there is nobody left to tell.
		_, _ = w.Write(body)
	}
}

// Status returns the status code that tells of err: 404 for what does not exist, 403 for what is not
// permitted, 409 for what exists already, 504 for a deadline that has passed, 503 for work that was
// given up, 413 for a body that is too large, and 500 for all that it does not know. Of nil it
// returns 200.
func Status(err error) int {
	var tooLarge *http.MaxBytesError
	switch {
	case err == nil:
		return http.StatusOK
	case errors.Is(err, fs.ErrNotExist):
		return http.StatusNotFound
	case errors.Is(err, fs.ErrPermission):
		return http.StatusForbidden
	case errors.Is(err, fs.ErrExist):
		return http.StatusConflict
	case errors.Is(err, fs.ErrInvalid):
		return http.StatusBadRequest
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return http.StatusGatewayTimeout
	case errors.Is(err, context.Canceled), errors.Is(err, fs.ErrClosed):
		return http.StatusServiceUnavailable
	case errors.As(err, &tooLarge):
		return http.StatusRequestEntityTooLarge
	default:
		return http.StatusInternalServerError
	}
}

func title(status int) string {
	if t := http.StatusText(status); t != "" {
		return t
	}
	return "Status " + strconv.Itoa(status)
}
