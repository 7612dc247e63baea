package quirk

import (
	"slices"
	"strconv"
	"strings"
)

// The players of which habits are known.
const (
	HLSJS      = "hls.js"
	DashJS     = "dash.js"
	Shaka      = "Shaka"
	VideoJS    = "Video.js"
	THEOplayer = "THEOplayer"
	Media3     = "Media3"
	AVPlayer   = "AVPlayer"
)

// Evidence is what a player was told by, the strongest first.
type Evidence string

// The sorts of evidence.
const (
	// OwnWord: the custom keys org.svta-p-n and org.svta-p-v, in which a player names itself.
	OwnWord Evidence = "org.svta-p-n"
	// ListStyle: how lists are written.
	ListStyle Evidence = "list_style"
	// Spelling: how values are written otherwise.
	Spelling Evidence = "spelling"
	// KeySet: which keys are sent together.
	KeySet Evidence = "key_set"
	// UserAgent: the HTTP header. Of a player in a browser it tells the browser only.
	UserAgent Evidence = "user_agent"
)

// Player is who sent the records of a session.
type Player struct {
	// Name is one of the constants of this package, or what the player calls itself, or the browser
	// it runs in.
	Name string
	// Version is what the player says of itself, "" if it does not.
	Version string
	// Evidence is what told the name.
	Evidence Evidence
}

// String returns the name and, if it is known, the version.
func (p Player) String() string {
	if p.Name == "" || p.Version == "" {
		return p.Name
	}
	return p.Name + " " + p.Version
}

// Known reports whether habits of the player are known.
func (p Player) Known() bool { return canonical(p.Name) != "" }

// Anonymous reports whether nothing tells the player: there is no evidence, or only of the browser that
// it runs in. So it may be any; see [Suspects].
func (p Player) Anonymous() bool {
	if p.Evidence != UserAgent {
		return p.Evidence == ""
	}
	return slices.ContainsFunc(families[:], func(f family) bool { return f.name == p.Name && f.kind == browser })
}

// Is reports whether the player is the one of that name, however it writes itself.
func (p Player) Is(name string) bool { return p.Name != "" && canonical(p.Name) == name }

// canonical returns the constant for a player's name, "" if it is none of them. Players write their
// names in many ways: "Hls.js", "hlsjs", "shaka-player".
func canonical(name string) string {
	var b strings.Builder
	for _, c := range strings.ToLower(name) {
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' {
			b.WriteRune(c)
		}
	}
	switch b.String() {
	case "hlsjs":
		return HLSJS
	case "dashjs":
		return DashJS
	case "shaka", "shakaplayer":
		return Shaka
	case "videojs", "videojscmcd":
		return VideoJS
	case "theo", "theoplayer":
		return THEOplayer
	case "media3", "androidxmedia3":
		return Media3
	case "avplayer", "applecoremedia":
		return AVPlayer
	default:
		return ""
	}
}

// in reports whether the player's version is at least from and less than before. A version that is
// not known is in every range.
func (p Player) in(from, before string) bool {
	version, ok := numbers(p.Version)
	if !ok {
		return true
	}
	if n, ok := numbers(from); ok && compare(version, n) < 0 {
		return false
	}
	if n, ok := numbers(before); ok && compare(version, n) >= 0 {
		return false
	}
	return true
}

// numbers reads the numbers at the beginning of a version such as "v1.7.0-rc.1".
func numbers(version string) (out [3]int, ok bool) {
	version = strings.TrimPrefix(strings.TrimSpace(version), "v")
	for i := range out {
		end := 0
		for end < len(version) && version[end] >= '0' && version[end] <= '9' {
			end++
		}
		n, err := strconv.Atoi(version[:end])
		if err != nil {
			return out, i > 0
		}
		out[i], ok = n, true
		if end == len(version) || version[end] != '.' {
			return out, ok
		}
		version = version[end+1:]
	}
	return out, ok
}

func compare(a, b [3]int) int {
	for i := range a {
		if a[i] != b[i] {
			return a[i] - b[i]
		}
	}
	return 0
}

// family is a word of user agents, and who it is of.
type family struct {
	word, name string
	kind       familyKind
}

type familyKind uint8

const (
	browser familyKind = iota // in which any player may run
	client                    // that plays by itself
	native                    // client that sends CMCD
)

// families are those that are known, the most telling first: a browser's user agent names its ancestors
// too.
var families = [...]family{
	{"AndroidXMedia3", Media3, native},
	{"ExoPlayer", "ExoPlayer", native},
	{"AppleCoreMedia", AVPlayer, native},
	{"Lavf/", "FFmpeg", client},
	{"VLC/", "VLC", client},
	{"GStreamer", "GStreamer", client},
	{"curl/", "curl", client},
	{"Edg/", "Edge", browser},
	{"OPR/", "Opera", browser},
	{"SamsungBrowser/", "Samsung Internet", browser},
	{"Firefox/", "Firefox", browser},
	{"Chrome/", "Chrome", browser},
	{"Safari/", "Safari", browser},
}

// familyOf returns the player or the browser that a user agent names.
func familyOf(userAgent string) (family, bool) {
	for _, f := range families {
		if strings.Contains(userAgent, f.word) {
			return f, true
		}
	}
	return family{}, false
}
