package origin

import (
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/weir-stream/weir/cmcd/cmsd"
	"github.com/weir-stream/weir/internal/cdn"
)

// waited is the time from which on a source has not been looking for an object, but has waited for it to be.
const waited = 10 * time.Millisecond

// describe adds what there is to be said of a live object to its header (CTA-5006, CMSD-Static), if the source has
// said nothing. held is how long the source took to open it, until now.
func describe(header http.Header, key string, held time.Duration, now time.Time) {
	if header.Get(cmsd.StaticHeader) != "" {
		return
	}
	s := cmsd.Static{StreamType: "l", ObjectType: objectType(key, header.Get("Content-Type"))}
	switch path.Ext(key) {
	case ".m3u8":
		s.Format = "h"
	case ".mpd":
		s.Format = "d"
	}
	if held >= waited {
		s.Held, s.AvailableAt = new(held.Milliseconds()), new(now.UnixMilli())
	}
	header.Set(cmsd.StaticHeader, s.String())
}

// objectType returns CMCD's word for what key names (CTA-5004, ot), "" if that cannot be told.
func objectType(key, contentType string) string {
	kind, _, _ := strings.Cut(contentType, "/")
	switch cdn.KindOf(key) {
	case cdn.Manifest:
		return "m"
	case cdn.Init:
		return "i"
	case cdn.Segment:
		switch kind {
		case "audio":
			return "a"
		case "video":
			return "v"
		case "text":
			return "c"
		}
	case cdn.Other:
	}
	return ""
}
