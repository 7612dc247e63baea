package session

import (
	"strings"

	"github.com/weir-stream/weir/cmcd"
)

// The players that are told by the way they speak CMCD.
const (
	hlsJS  = "hls.js"
	dashJS = "dash.js"
	shaka  = "Shaka"
)

// The custom keys in which a player names itself (SVTA custom key registry).
const (
	playerNameKey    = "org.svta-p-n"
	playerVersionKey = "org.svta-p-v"
)

// is says that player, which may carry a version, is the one of that name.
func is(player, name string) bool {
	return strings.HasPrefix(strings.ToLower(player), strings.ToLower(name))
}

// enough is the number of media requests after which the absence of a key means something.
const enough = 4

// player names the player: by its own word, else by habits of speech that only one player has,
// else by the user agent. A habit counts only as evidence, never as a guess: hls.js speaks of init
// segments of no duration, dash.js sends aggregate and own bitrate together or the state "w",
// Shaka Player (5 and later) writes version 2 without lists, and names the top bitrate but never a
// measured throughput.
func (j *join) player(userAgent string) string {
	if name := j.ownName(); name != "" {
		return name
	}
	media, top, measured := 0, 0, 0
	for i := range j.requests {
		v := &j.requests[i].CMCD
		kind := v.Text(cmcd.KeyOT)
		d, hasDuration := v.Number(cmcd.KeyD)
		format := v.Text(cmcd.KeySF)
		switch {
		case v.Version() > 1 && v.Warnings&cmcd.WarnScalar != 0 && !v.Has(cmcd.KeyEC):
			return shaka
		case v.Text(cmcd.KeySTA) == "w",
			v.Has(cmcd.KeyAB) && v.Has(cmcd.KeyBR),
			v.Has(cmcd.KeyTAB) && v.Has(cmcd.KeyTB):
			return dashJS
		case format == "h" && v.Version() == 1 && kind == "i" && hasDuration && d == 0 && v.Has(cmcd.KeyMTP),
			format == "h" && kind == "m" && v.Has(cmcd.KeyBR) && v.Has(cmcd.KeyMTP):
			return hlsJS
		}
		if kind == "v" || kind == "a" || kind == "av" {
			media++
			if v.Has(cmcd.KeyTB) {
				top++
			}
			if v.Has(cmcd.KeyMTP) {
				measured++
			}
		}
	}
	if media >= enough && top == media && measured == 0 {
		return shaka
	}
	return userAgentFamily(userAgent)
}

func (j *join) ownName() string {
	for i := range j.requests {
		if name := nameIn(&j.requests[i].CMCD); name != "" {
			return name
		}
	}
	for i := range j.reports {
		if name := nameIn(&j.reports[i].CMCD); name != "" {
			return name
		}
	}
	return ""
}

func nameIn(v *cmcd.Values) string {
	var name, version string
	for _, c := range v.Custom {
		switch c.Key {
		case playerNameKey:
			name = strings.Trim(c.Value, `"`)
		case playerVersionKey:
			version = strings.Trim(c.Value, `"`)
		}
	}
	if name != "" && version != "" {
		return name + " " + version
	}
	return name
}

// families are words of user agents and who they are of, the most telling first: a browser's user
// agent names its ancestors too.
var families = [...]struct{ word, name string }{
	{"AndroidXMedia3", "Media3"},
	{"ExoPlayer", "ExoPlayer"},
	{"AppleCoreMedia", "AVPlayer"},
	{"Lavf/", "FFmpeg"},
	{"VLC/", "VLC"},
	{"GStreamer", "GStreamer"},
	{"curl/", "curl"},
	{"Edg/", "Edge"},
	{"OPR/", "Opera"},
	{"SamsungBrowser/", "Samsung Internet"},
	{"Firefox/", "Firefox"},
	{"Chrome/", "Chrome"},
	{"Safari/", "Safari"},
}

func userAgentFamily(userAgent string) string {
	for _, f := range families {
		if strings.Contains(userAgent, f.word) {
			return f.name
		}
	}
	return ""
}
