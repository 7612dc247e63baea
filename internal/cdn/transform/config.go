package transform

import (
	"fmt"
	"slices"
	"strings"
)

// Config is what users write about compression.
type Config struct {
	// Enabled makes answers smaller. What is stored encoded is decoded for who needs it either way.
	Enabled bool `yaml:"enabled"`
	// Encodings are offered to clients; among those that a client likes equally, the first is taken.
	Encodings []Encoding `yaml:"encodings"`
	// Types are the media types that are worth it: a type, all of a kind ("text/*"), or all with a
	// suffix ("application/*+json").
	Types []string `yaml:"types"`
	// MinBytes is the size below which an answer is left as it is.
	MinBytes int64 `yaml:"min_bytes"`
}

// DefaultConfig returns a configuration for playlists, pages, scripts, captions and data.
func DefaultConfig() Config {
	return Config{
		Enabled:   true,
		Encodings: []Encoding{Zstd, Brotli, Gzip},
		Types: []string{
			"text/*",
			"application/javascript", "application/json", "application/*+json", "application/manifest+json",
			"application/xml", "application/*+xml", "application/wasm",
			"application/vnd.apple.mpegurl", "application/x-mpegurl", "audio/mpegurl", "audio/x-mpegurl",
			"image/svg+xml", "font/otf", "font/ttf",
		},
		MinBytes: 256,
	}
}

// Validate reports the first value that cannot be.
func (c Config) Validate() error {
	for i, e := range c.Encodings {
		if !slices.Contains(codings[:], e) {
			return fmt.Errorf("encodings has %q; zstd, br and gzip are expected", e)
		}
		if slices.Contains(c.Encodings[:i], e) {
			return fmt.Errorf("encodings has %q twice; once is expected", e)
		}
	}
	for _, t := range c.Types {
		if !validPattern(t) {
			return fmt.Errorf("types has %q; a media type such as text/css, text/* or application/*+json is expected", t)
		}
	}
	if c.MinBytes < 0 {
		return fmt.Errorf("min_bytes is %d; a number from 0 is expected", c.MinBytes)
	}
	return nil
}

func validPattern(p string) bool {
	kind, name, ok := strings.Cut(p, "/")
	if !ok || kind == "" || name == "" || kind == "*" || strings.ContainsAny(p, " \t;,\"") {
		return false
	}
	before, suffix, wild := strings.Cut(name, "*")
	return !wild || before == "" && (suffix == "" || suffix[0] == '+' && !strings.Contains(suffix, "*"))
}

// types are the media types of a configuration, ready to be looked up.
type types struct {
	exact    map[string]bool
	kinds    map[string]bool // "text"
	suffixes map[string]bool // "application+json"
}

func newTypes(patterns []string) types {
	t := types{exact: map[string]bool{}, kinds: map[string]bool{}, suffixes: map[string]bool{}}
	for _, p := range patterns {
		p = strings.ToLower(p)
		kind, name, _ := strings.Cut(p, "/")
		switch {
		case name == "*":
			t.kinds[kind] = true
		case name[0] == '*':
			t.suffixes[kind+name[1:]] = true
		default:
			t.exact[p] = true
		}
	}
	return t
}

// has reports whether answers of the type that contentType names are worth it. Pictures and sound never are;
// playlists and drawings, which are text, only have such names.
func (t types) has(contentType string) bool {
	media, _, _ := strings.Cut(contentType, ";")
	media = strings.ToLower(strings.Trim(media, " \t"))
	kind, name, _ := strings.Cut(media, "/")
	switch kind {
	case "video":
		return false
	case "audio":
		if name != "mpegurl" && name != "x-mpegurl" {
			return false
		}
	case "image":
		if name != "svg+xml" {
			return false
		}
	}
	if t.exact[media] || t.kinds[kind] {
		return true
	}
	plus := strings.LastIndexByte(name, '+')
	return plus >= 0 && len(t.suffixes) > 0 && t.suffixes[kind+name[plus:]]
}
