// Package secret has a type for what a configuration must not show.
package secret

import "log/slog"

// Redacted is shown in place of a secret.
const Redacted = "[redacted]"

// Text is a secret that stands in a configuration. Printed, logged or encoded it shows only whether there is one; string(t)
// is the secret.
type Text string

// String returns what may be shown.
func (t Text) String() string {
	if t == "" {
		return ""
	}
	return Redacted
}

// GoString returns what may be shown, for %#v.
func (t Text) GoString() string { return `"` + t.String() + `"` }

// MarshalYAML returns what may be shown.
func (t Text) MarshalYAML() (any, error) { return t.String(), nil }

// MarshalText returns what may be shown, for JSON and others.
func (t Text) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// LogValue returns what may be shown.
func (t Text) LogValue() slog.Value { return slog.StringValue(t.String()) }
