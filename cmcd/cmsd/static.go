package cmsd

import (
	"net/url"
	"strings"

	"github.com/weir-stream/weir/cmcd"
	"github.com/weir-stream/weir/cmcd/internal/sf"
)

// The names of the headers.
const (
	StaticHeader  = "CMSD-Static"
	DynamicHeader = "CMSD-Dynamic"
)

// Static is what the origin says of an object. What is nil, empty or false is not said.
type Static struct {
	AvailableAt *int64 // at: when the first byte of the object became available, Unix ms
	Bitrate     *int64 // br: encoded bitrate, the average over the object, kbit/s
	Duration    *int64 // d: of playback, ms
	Held        *int64 // ht: how long the origin held the response back (LL-HLS), ms
	Name        string // n: of the server that writes this
	Next        string // nor: path of the next object, relative to this one; percent-encoded on the wire
	NextRange   string // nrr: the range of the next object, such as "0-99"
	ObjectType  string // ot: a token of CMCD's ot, such as "v"
	Format      string // sf: "d" DASH, "h" HLS, "s" Smooth Streaming, "o" other
	StreamType  string // st: "v" all segments are there, "l" live
	Startup     bool   // su: the object is needed to start, to seek or to recover
	Version     *int64 // v: of CMSD; nil means 1, which is not written
	// Other are custom keys, which have a hyphen, and keys of later versions.
	Other []cmcd.CustomValue
}

// fields are the keys in the order that they are written, which is that of the examples.
func (s *Static) fields() []field {
	return []field{
		token("ot", &s.ObjectType),
		token("sf", &s.Format),
		token("st", &s.StreamType),
		number("d", &s.Duration),
		number("br", &s.Bitrate),
		text("n", &s.Name),
		text("nor", &s.Next),
		text("nrr", &s.NextRange),
		number("at", &s.AvailableAt),
		number("ht", &s.Held),
		flag("su", &s.Startup),
		number("v", &s.Version),
	}
}

// ParseStatic reads the CMSD-Static headers of a response. The error tells what was dropped. Of keys that are not
// known there are 64 at most.
func ParseStatic(headers ...string) (Static, error) {
	var s Static
	r := reader{header: StaticHeader}
	fields := s.fields()
	for _, m := range r.members(sf.ParseDictionary(joined(headers))) {
		r.read(fields, m, &s.Other)
	}
	if path, err := url.PathUnescape(s.Next); err == nil {
		s.Next = path
	}
	return s, r.err()
}

// String returns the value of the CMSD-Static header, "" if there is nothing to say. What cannot be
// written is left out: tokens that are none, numbers below 0 or of more than 15 digits, and custom values that would
// need a space outside of a string: lists of several items.
func (s *Static) String() string {
	written := *s
	written.Next = strings.ReplaceAll(url.QueryEscape(s.Next), "+", "%20")
	if s.Version != nil && *s.Version < 2 {
		written.Version = nil
	}
	return strings.Join(write(written.fields(), s.Other, true), ",")
}
