package cmcd

import (
	"slices"
	"strings"
)

// CustomKey is a key of the registry of custom keys that the SVTA keeps, version 1.0.0. All of them
// are strings.
type CustomKey struct {
	Name        string // such as "org.svta-p-n"
	Description string // such as "player name"
	Header      Header // where it is sent in request mode
}

// LookupCustomKey returns the registered custom key that is written as name.
func LookupCustomKey(name string) (CustomKey, bool) {
	short, ok := strings.CutPrefix(name, "org.svta-")
	if !ok {
		return CustomKey{}, false
	}
	i, ok := slices.BinarySearchFunc(customKeys[:], short, func(c CustomKey, name string) int { return strings.Compare(c.Name, name) })
	if !ok {
		return CustomKey{}, false
	}
	c := customKeys[i]
	c.Name = name
	return c, true
}

// IsCustomKey reports whether name is what a player should give a custom key (§4.1 item 5): lower case,
// with a prefix that a hyphen ends, of letters, digits, dots and hyphens. Like the reference library
// for players it does not allow the underscores and asterisks that RFC 8941 would; decoding takes them.
func IsCustomKey(name string) bool {
	if name == "" || name[0] < 'a' || name[0] > 'z' {
		return false
	}
	for i := 1; i < len(name); i++ {
		if c := name[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '.' && c != '-' {
			return false
		}
	}
	hyphen := strings.IndexByte(name, '-')
	return hyphen > 0 && hyphen < len(name)-1
}

// customKeys are the registered keys without their prefix, in alphabetical order.
var customKeys = [...]CustomKey{
	{"a-ad", "accessibility audio description", StatusHeader},
	{"a-c", "accessibility captions", StatusHeader},
	{"ap-c", "application configuration", SessionHeader},
	{"ap-d", "application domain", SessionHeader},
	{"ap-n", "application name", SessionHeader},
	{"ap-t", "application type", SessionHeader},
	{"ap-v", "application version", SessionHeader},
	{"c-s", "connection strength", StatusHeader},
	{"c-t", "connection type", StatusHeader},
	{"co-ar", "content age rating", SessionHeader},
	{"co-en", "content episode number", SessionHeader},
	{"co-g", "content genre", SessionHeader},
	{"co-l", "content language", SessionHeader},
	{"co-p", "content provider", SessionHeader},
	{"co-sn", "content season number", SessionHeader},
	{"co-t", "content title", SessionHeader},
	{"d-dt", "device display type", SessionHeader},
	{"d-m", "device model", SessionHeader},
	{"d-osn", "device operating system name", SessionHeader},
	{"d-osv", "device operating system version", SessionHeader},
	{"d-ss", "device screen size", SessionHeader},
	{"d-t", "device type", SessionHeader},
	{"e-c", "experiment cohort", SessionHeader},
	{"e-i", "experiment id", SessionHeader},
	{"e-t", "experiment type", SessionHeader},
	{"p-a", "player autoplay", SessionHeader},
	{"p-c", "player configuration", SessionHeader},
	{"p-n", "player name", SessionHeader},
	{"p-st", "player start trigger", SessionHeader},
	{"p-v", "player version", SessionHeader},
	{"u-i", "user id", SessionHeader},
	{"um-c", "utm campaign", SessionHeader},
	{"um-co", "utm content", SessionHeader},
	{"um-m", "utm medium", SessionHeader},
	{"um-s", "utm source", SessionHeader},
}
