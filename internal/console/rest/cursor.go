package rest

import (
	"encoding/base64"
	"strings"
	"time"

	"github.com/weir-stream/weir/internal/analytics"
)

// cursor returns the opaque text that asks for the sessions after the last one of a page.
func cursor(last analytics.Session) string {
	return base64.RawURLEncoding.EncodeToString([]byte(last.Start.UTC().Format(time.RFC3339Nano) + " " + last.ID))
}

func parseCursor(s string) (start time.Time, id string, err error) {
	text, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return time.Time{}, "", err
	}
	at, id, _ := strings.Cut(string(text), " ")
	start, err = time.Parse(time.RFC3339Nano, at)
	return start, id, err
}
