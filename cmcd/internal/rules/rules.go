package rules

import (
	"encoding/base64"
	"slices"
	"strconv"
	"strings"

	"github.com/weir-stream/weir/cmcd"
)

// Need says how much an event wants the key that it speaks of.
type Need uint8

// The needs.
const (
	// Must: Table 1 demands the key.
	Must Need = iota + 1
	// Telling: Table 1 does not demand the key, but a change without the value that has changed says
	// nothing, and the reference library refuses it.
	Telling
	// Should: Table 1 does not demand the key; the report is hardly of use without it.
	Should
	// Implied: the event without the key has a meaning of its own.
	Implied
)

// Partner returns the key that an event speaks of (Table 1, e).
func Partner(event string) (k cmcd.Key, need Need, ok bool) {
	switch event {
	case "b": // without bg: no longer in the background
		return cmcd.KeyBG, Implied, true
	case "bc":
		return cmcd.KeyBR, Telling, true
	case "c":
		return cmcd.KeyCID, Telling, true
	case "ce":
		return cmcd.KeyCEN, Must, true
	case "e":
		return cmcd.KeyEC, Must, true
	case "h":
		return cmcd.KeyH, Should, true
	case "pr": // without pr: the rate is 1 again, where pr should not be sent
		return cmcd.KeyPR, Telling, true
	case "ps":
		return cmcd.KeySTA, Must, true
	case "rr":
		return cmcd.KeyURL, Must, true
	}
	return 0, 0, false
}

// OnlyWith returns the event without which the key must not be sent. It is not url's: that must be sent
// with rr, but may be sent with others.
func OnlyWith(k cmcd.Key) (event string, ok bool) {
	switch k {
	case cmcd.KeyCEN:
		return "ce", true
	case cmcd.KeyURL:
		return "", false
	default:
		return "rr", k.ResponseOnly()
	}
}

// NotWith returns the key beside which key k must not be sent (Table 1).
func NotWith(k cmcd.Key) (other cmcd.Key, ok bool) {
	switch k {
	case cmcd.KeyAB:
		return cmcd.KeyBR, true
	case cmcd.KeyLAB:
		return cmcd.KeyLB, true
	case cmcd.KeyTAB:
		return cmcd.KeyTB, true
	default:
		return 0, false
	}
}

// The object types that keys are for.
var (
	played        = [...]string{"a", "v", "av"}
	encoded       = [...]string{"a", "v", "av", "i", "c", "tt", "k", "o"}
	lasting       = [...]string{"a", "v", "av", "tt", "c", "o"}
	pictured      = [...]string{"v", "av", "o"}
	playable      = [...]string{"a", "v", "av", "c"}
	mayBeNegative = [...]cmcd.Key{cmcd.KeyLTC, cmcd.KeyPR, cmcd.KeyPT}
)

// ForType reports whether key k may go with an object of a type. If not, types are those that it is for,
// and must tells a MUST from a SHOULD. It may go with any type that is not known, and in event mode,
// where bl and br do not speak of the object, these two with all.
func ForType(k cmcd.Key, version int, m cmcd.Mode, objectType string) (ok bool, types []string, must bool) {
	switch {
	case k == cmcd.KeyBL && version < 2 && m == cmcd.RequestMode:
		types = played[:]
	case k == cmcd.KeyBR && m == cmcd.RequestMode:
		types = encoded[:]
	case k == cmcd.KeyD && version > 1:
		types, must = lasting[:], true
	case k == cmcd.KeyDFA && version > 1:
		types = pictured[:]
	case k == cmcd.KeyTPB && version > 1:
		types, must = playable[:], true
	default:
		return true, nil, false
	}
	if slices.Contains(types, objectType) || !slices.Contains(encoded[:], objectType) && objectType != "m" {
		return true, nil, false
	}
	return false, slices.Clone(types), must
}

// MayBeNegative reports whether the number of key k can be: clocks differ, playback can run backwards, and a timeline
// can begin before zero.
func MayBeNegative(k cmcd.Key) bool { return slices.Contains(mayBeNegative[:], k) }

// IsCustomKey reports whether name can be that of a custom key (§4.1 item 5): a key of RFC 8941 §3.1.2
// with a prefix that a hyphen ends. [cmcd.IsCustomKey] may be stricter.
func IsCustomKey(name string) bool {
	if name == "" || (name[0] < 'a' || name[0] > 'z') && name[0] != '*' {
		return false
	}
	for i := range len(name) {
		if c := name[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && strings.IndexByte("_-.*", c) < 0 {
			return false
		}
	}
	hyphen := strings.IndexByte(name, '-')
	return hyphen > 0 && hyphen < len(name)-1
}

// IsRange reports whether s is a byte range as nor and nrr have it: "0-99", "100-" or "-100".
func IsRange(s string) bool {
	from, to, ok := strings.Cut(s, "-")
	if !ok || from == "" && to == "" {
		return false
	}
	first, err1 := strconv.ParseUint("0"+from, 10, 64)
	last, err2 := strconv.ParseUint("0"+to, 10, 64)
	return err1 == nil && err2 == nil && (from == "" || to == "" || first <= last)
}

// IsBase64 reports whether s is Base64 with its padding (RFC 4648 §4), as cmsdd, cmsds and smrt are.
func IsBase64(s string) bool {
	if strings.ContainsAny(s, "\r\n") { // which the decoder would pass over
		return false
	}
	_, err := base64.StdEncoding.DecodeString(s)
	return err == nil
}
