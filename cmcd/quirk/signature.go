package quirk

import (
	"slices"
	"strings"

	"github.com/weir-stream/weir/cmcd"
)

// The custom keys in which a player names itself (SVTA custom key registry).
const (
	nameKey    = "org.svta-p-n"
	versionKey = "org.svta-p-v"
)

// The custom keys with which THEOplayer tells of each object of audio or video which rendition it is of.
const (
	renditionKey  = "org.svalabs-cmi"
	renditionsKey = "org.svalabs-pmi"
)

// enough is the number of media requests after which the absence of a key means something.
const enough = 4

// maxWord is the greatest length of a player's own word that is believed.
const maxWord = 64

// Signature collects what the records of one session tell of their player. The order in which they
// are added does not matter. The zero value is ready to use; its size is fixed.
type Signature struct {
	name, version word
	habits        [habitCount]bool
	// What only all requests together tell.
	media    int // requests for audio or video by themselves
	without  bool
	hlsMedia bool // any with a bitrate, but none of what Shaka says beside it
	measured bool // any record that names a measured throughput, or a starved buffer
	inits    bool // any request for an init segment that names a bitrate
	bare     bool // … any that does not
	topInits bool // … and any that names the top bitrate, which Shaka never does
}

// word is what a player says of itself, unless it contradicts itself.
type word struct {
	text    string
	twofold bool
}

func (w *word) add(s string) {
	if s = strings.TrimSpace(s); s == "" || len(s) > maxWord {
		return
	}
	if w.text != "" && w.text != s {
		w.twofold = true
	}
	w.text = strings.Clone(s)
}

func (w *word) get() string {
	if w.twofold {
		return ""
	}
	return w.text
}

// habit is a way of speaking that one record shows and only one player has.
type habit uint8

const (
	// Since 1.7 hls.js keeps the bitrate of the level that it switched to last, and sends it with
	// requests for playlists. Video.js does so as well, but then with a deadline and a top bitrate.
	hlsPlaylists habit = iota
	// Up to 1.6 hls.js tells of init segments that they have no duration, and no bitrate although it names
	// that of the media, and never which type of stream it plays. Shaka does the first, but names the type
	// of stream, and the bitrate of both or of none.
	hlsInits
	// Since 5.2 dash.js sends a bitrate and an aggregate of it together, which the specification
	// forbids, as typed lists.
	dashBoth
	// Up to 4.0 dash.js put tokens in quotes and a comma at the end.
	dashQuotes
	// Shaka numbers its requests in version 2, but does not write lists: up to 5.1 because its version 2
	// was a draft, since 5.2 because it hands single numbers to its encoder. dash.js 5.0 and 5.1 do
	// not write lists either, but do not number requests.
	shakaScalars
	// Up to 5.1 Shaka sends with init segments what it sends with media: a bitrate, a throughput, a
	// duration of 0. Media3 and RxPlayer send these, and a top bitrate.
	shakaInits
	// The CMCD plugin of Video.js sends a deadline with requests for manifests, and a top bitrate, if it
	// has one, or that the next object is undefined.
	videoManifests
	// THEOplayer tells the rendition in keys of its own, and puts tokens in quotes.
	theoRenditions
	habitCount
)

var habitOf = [habitCount]struct {
	player   string
	evidence Evidence
}{
	hlsPlaylists:   {HLSJS, KeySet},
	hlsInits:       {HLSJS, KeySet},
	dashBoth:       {DashJS, KeySet},
	dashQuotes:     {DashJS, Spelling},
	shakaScalars:   {Shaka, ListStyle},
	shakaInits:     {Shaka, KeySet},
	videoManifests: {VideoJS, KeySet},
	theoRenditions: {THEOplayer, KeySet},
}

// Add takes a record of the session into account.
func (s *Signature) Add(v *cmcd.Values) {
	renditions := 0
	for i := range v.Custom {
		switch v.Custom[i].Key {
		case renditionKey, renditionsKey:
			renditions++
		case nameKey:
			s.name.add(strings.Trim(v.Custom[i].Value, `"`))
		case versionKey:
			s.version.add(strings.Trim(v.Custom[i].Value, `"`))
		}
	}
	has := func(keys ...cmcd.Key) bool {
		return !slices.ContainsFunc(keys, func(k cmcd.Key) bool { return !v.Has(k) })
	}
	hasAny := func(keys ...cmcd.Key) bool { return slices.ContainsFunc(keys, v.Has) }
	format, kind := v.Text(cmcd.KeySF), v.Text(cmcd.KeyOT)
	second := v.Version() > 1
	dash := format == "d" || format == "s"
	// Single values in place of lists; that of ec is no sign, as dash.js writes it so.
	scalars := second && v.Warnings&cmcd.WarnScalar != 0 && !has(cmcd.KeyEC)

	if has(cmcd.KeyMTP) || v.Bool(cmcd.KeyBS) {
		s.measured = true
	}
	if dash && second && !scalars && (has(cmcd.KeyAB, cmcd.KeyBR) || has(cmcd.KeyTAB, cmcd.KeyTB)) {
		s.habits[dashBoth] = true
	}
	if has(cmcd.KeyE) {
		return // what follows is about requests
	}
	duration, told := v.Number(cmcd.KeyD)
	switch kind {
	case "m":
		if format == "h" && !scalars && has(cmcd.KeyBR, cmcd.KeyMTP) && !hasAny(cmcd.KeyTB, cmcd.KeyDL, cmcd.KeyD, cmcd.KeyRTP, cmcd.KeyNOR) {
			s.habits[hlsPlaylists] = true
		}
		if !second && has(cmcd.KeyDL) && (has(cmcd.KeyBR, cmcd.KeyTB, cmcd.KeyMTP) || Implausible(cmcd.KeyNOR, v)) {
			s.habits[videoManifests] = true
		}
	case "i":
		if !second && told && duration == 0 && has(cmcd.KeyMTP) {
			if format == "h" && !hasAny(cmcd.KeyBR, cmcd.KeyST, cmcd.KeyTB, cmcd.KeyDL, cmcd.KeyRTP) {
				s.habits[hlsInits] = true
			}
			if dash && has(cmcd.KeyBR, cmcd.KeyST) && !hasAny(cmcd.KeyTB, cmcd.KeyBL, cmcd.KeyDL) {
				s.habits[shakaInits] = true
			}
		}
		if has(cmcd.KeyBR, cmcd.KeyD, cmcd.KeyST) {
			s.inits = true
		} else {
			s.bare = true
		}
		s.topInits = s.topInits || has(cmcd.KeyTB)
	case "a", "v", "av":
		if !second && format == "h" && has(cmcd.KeyBR, cmcd.KeyD, cmcd.KeyMTP) && !hasAny(cmcd.KeyST, cmcd.KeyDL, cmcd.KeyRTP) {
			s.hlsMedia = true
		}
		if !second && renditions == 2 && v.Warnings&cmcd.WarnQuoted != 0 {
			s.habits[theoRenditions] = true
		}
		if scalars && has(cmcd.KeySN, cmcd.KeyBR, cmcd.KeyD, cmcd.KeyRTP) && !hasAny(cmcd.KeyAB, cmcd.KeyLAB, cmcd.KeyTAB) {
			s.habits[shakaScalars] = true
		}
		if kind == "av" {
			s.without = true // hls.js tells all that Shaka does, where audio and video are one
		} else {
			s.media++
		}
		if !has(cmcd.KeyTB, cmcd.KeyBR, cmcd.KeyD, cmcd.KeyRTP, cmcd.KeyST, cmcd.KeySF) {
			s.without = true
		}
	}
	const spelling = cmcd.WarnComma | cmcd.WarnQuoted
	if dash && !second && v.Warnings&spelling == spelling && kind != "" && has(cmcd.KeyST) {
		s.habits[dashQuotes] = true
	}
}

// Player returns who the records are of, as far as they tell: by the player's own word, else by
// habits that only one player has, else by the user agent. It reports false if nothing tells.
func (s *Signature) Player(userAgent string) (Player, bool) {
	if name := s.name.get(); name != "" {
		return Player{Name: name, Version: s.version.get(), Evidence: OwnWord}, true
	}
	agent, ok := familyOf(userAgent)
	// A player that needs no browser is none that does, whatever habits it has taken up.
	if p, told := s.byHabit(); told && agent.kind != native {
		return p, true
	}
	if !ok {
		return Player{}, false
	}
	return Player{Name: agent.name, Evidence: UserAgent}, true
}

// byHabit returns the player of which the session shows a habit, if it is only one.
func (s *Signature) byHabit() (Player, bool) {
	var found Player
	for h, shown := range s.habits {
		if !shown || habit(h) == hlsInits && !s.hlsMedia {
			continue
		}
		if found.Name != "" && found.Name != habitOf[h].player {
			return Player{}, false
		}
		if found.Name == "" {
			found = Player{Name: habitOf[h].player, Evidence: habitOf[h].evidence}
		}
	}
	if found.Name == Shaka && s.topInits {
		return Player{}, false
	}
	if found.Name == "" && s.saysNothing() {
		found = Player{Name: Shaka, Evidence: KeySet}
	}
	return found, found.Name != ""
}

// saysNothing reports that the session is one of Shaka since 5.2 in version 1: its requests for audio
// and video say all that Shaka knows, and those for init segments a bitrate and a duration, but
// nowhere is there a throughput or a starved buffer. dash.js, where these two are turned off, says
// nothing with init segments; Media3 names no throughput that it wants; RxPlayer names the top bitrate
// with init segments as well.
func (s *Signature) saysNothing() bool {
	return s.media >= enough && !s.without && !s.measured && s.inits && !s.bare && !s.topInits
}
