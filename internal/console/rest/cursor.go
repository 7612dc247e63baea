package rest

import (
	"encoding/base64"
	"time"
)

// cursor returns the opaque text that asks for the sessions older than t.
func cursor(t time.Time) string {
	return base64.RawURLEncoding.EncodeToString([]byte(t.UTC().Format(time.RFC3339Nano)))
}

func parseCursor(s string) (time.Time, error) {
	text, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return time.Time{}, err
	}
	return time.Parse(time.RFC3339Nano, string(text))
}
