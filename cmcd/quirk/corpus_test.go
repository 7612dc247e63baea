package quirk

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/weir-stream/weir/cmcd"
)

// session is what a real player sent in one run of the capture.
type session struct {
	player, run       string
	requests, reports []cmcd.Values
}

// captured reads what real players sent, and what encoders made of which a player's source tells. Left
// out is what encoders made of keys at random: that is of no player.
func captured(t *testing.T) []*session {
	t.Helper()
	var list []*session
	byRun := map[string]*session{}
	for _, name := range []string{"testdata/player_corpus.jsonl.gz", "../testdata/captures/captures.jsonl.gz"} {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		z, err := gzip.NewReader(f)
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(z)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			var l line
			if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(l.Run, "enc-cml-") || strings.HasPrefix(l.Run, "enc-common-media-library") {
				continue
			}
			s := byRun[l.Run]
			if s == nil {
				s = &session{player: l.Player, run: l.Run}
				byRun[l.Run], list = s, append(list, s)
			}
			for _, v := range l.records() {
				if v.Has(cmcd.KeyE) {
					s.reports = append(s.reports, v)
				} else {
					s.requests = append(s.requests, v)
				}
			}
		}
		if err := lines.Err(); err != nil {
			t.Fatal(err)
		}
	}
	return list
}

// line is a request, or a POST to a collector, of the capture.
type line struct {
	Player, Run, Query, Body, Oracle string
	Headers                          map[string]string
}

func (l *line) records() []cmcd.Values {
	var out []cmcd.Values
	parse := cmcd.ParseBody
	switch {
	case l.Oracle == "json":
		parse = cmcd.ParseJSON
	case l.Body == "":
		h := http.Header{}
		for name, value := range l.Headers {
			h.Set(name, value)
		}
		if v, ok := cmcd.FromRequest(l.Query, h); ok {
			out = append(out, v)
		}
		return out
	}
	for v, err := range parse([]byte(l.Body)) {
		if err == nil {
			out = append(out, v)
		}
	}
	return out
}

// who is the player of the session, "" if it is none that is known, and whether its records tell.
func (s *session) who() (name string, tells bool) {
	name, version, _ := strings.Cut(s.player, " ")
	p := Player{Name: name, Version: version}
	second := strings.Contains(s.run, "v2")
	switch name = canonical(name); name {
	case HLSJS: // up to 1.6 only init segments tell, which transport streams do not have
		return name, !strings.HasSuffix(s.run, "-ts-u") || p.in("1.7", "")
	case DashJS: // between, it says nothing that others do not say as well
		return name, p.in("", "4.1") || second && p.in("5.2", "")
	case Shaka: // with HLS it sends little; 4.1 says nothing of its own; it numbers since 4.16
		hls := strings.HasSuffix(s.run, "h") || strings.HasSuffix(s.run, "-p")
		return name, !hls && p.in("4.3", "") && (!second || p.in("4.16", ""))
	default:
		return name, name != ""
	}
}

func told(records []cmcd.Values) Player {
	var s Signature
	for i := range records {
		s.Add(&records[i])
	}
	p, _ := s.Player("")
	return p
}

// Of every captured session the player is told, or nothing is; whatever part of it is there, and in
// whatever order.
func TestCapturedPlayersAreRecognised(t *testing.T) {
	sessions := captured(t)
	players := map[string]bool{}
	for _, s := range sessions {
		players[s.player] = true
	}
	t.Logf("%d sessions of %d versions of players", len(sessions), len(players))
	if len(sessions) < 200 || len(players) < 30 {
		t.Errorf("only %d sessions of %d players", len(sessions), len(players))
	}
	for _, s := range sessions {
		t.Run(s.run, func(t *testing.T) {
			want, tells := s.who()
			all := append(append([]cmcd.Values{}, s.requests...), s.reports...)
			got := told(all)
			if tells && got.Name != want || !tells && got.Name != "" {
				t.Errorf("told %+v, want %q: %v", got, want, tells)
			}
			if from := told(s.requests); from != got {
				t.Errorf("requests alone tell %+v, all of it %+v", from, got)
			}
			right := func(what string, p Player) {
				if p.Name != "" && p.Name != want {
					t.Errorf("%s is taken for %q, it is of %s", what, p.Name, s.player)
				}
			}
			for i := range all {
				right(all[i].String(), told(all[i:i+1]))
				right("the session up to "+all[i].String(), told(all[:i]))
				right("the session from "+all[i].String(), told(all[i:]))
			}
			shuffle := rand.New(rand.NewPCG(1, 2))
			for range 20 {
				shuffle.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
				if again := told(all); again != got {
					t.Fatalf("in another order it is %+v, not %+v", again, got)
				}
				right("a part", told(all[:shuffle.IntN(len(all))]))
			}
			// A store keeps records in their canonical form, with the warnings.
			for i := range all {
				v, err := cmcd.Parse(all[i].String())
				if err != nil {
					t.Fatal(err)
				}
				v.Warnings = all[i].Warnings
				all[i] = v
			}
			if stored := told(all); stored != got {
				t.Errorf("out of a store it is %+v, not %+v", stored, got)
			}
		})
	}
}

// A player that has keys turned off says less, never something else.
func TestPlayersThatSayLessAreNotTakenForOthers(t *testing.T) {
	for _, s := range captured(t) {
		if strings.HasPrefix(s.player, "rx-player") {
			continue // its keys cannot be turned off
		}
		want, _ := s.who()
		for _, all := range [][]cmcd.Values{s.requests, s.reports} {
			keys := map[cmcd.Key]bool{}
			for i := range all {
				for k := range all[i].Keys() {
					keys[k] = true
				}
			}
			for off := range keys {
				for _, second := range []cmcd.Key{off, cmcd.KeyMTP, cmcd.KeyBS, cmcd.KeyBR, cmcd.KeyST} {
					var less []cmcd.Values
					for i := range all {
						less = append(less, without(&all[i], off, second))
					}
					if got := told(less); got.Name != "" && got.Name != want {
						t.Errorf("%s without %v and %v is taken for %s", s.run, off, second, got.Name)
					}
				}
			}
		}
	}
}

// without is v with some keys left out, as where a page turns them off.
func without(v *cmcd.Values, off ...cmcd.Key) cmcd.Values {
	var kept []string
	for key, value := range v.Map() {
		k, ok := cmcd.LookupKey(key)
		if ok && (k == off[0] || k == off[1]) {
			continue
		}
		switch value {
		case "true":
			kept = append(kept, key)
		case "false":
			kept = append(kept, key+"=?0")
		default:
			kept = append(kept, key+"="+value)
		}
	}
	out, err := cmcd.Parse(strings.Join(kept, ","))
	if err != nil {
		return cmcd.Values{}
	}
	out.Warnings = v.Warnings
	return out
}

// The habits that the capture is the evidence of are in it.
func TestCapturedHabitsShow(t *testing.T) {
	sessions := captured(t)
	shown := func(player string, key cmcd.Key, verdict Verdict) int {
		n := 0
		for _, s := range sessions {
			name, version, _ := strings.Cut(s.player, " ")
			quirks := Of(Player{Name: name, Version: version})
			if canonical(name) != player {
				continue
			}
			for _, all := range [][]cmcd.Values{s.requests, s.reports} {
				for i := range all {
					if q, ok := quirks.Find(key, &all[i]); ok && q.Verdict == verdict {
						n++
					}
				}
			}
		}
		return n
	}
	for _, c := range []struct {
		player  string
		key     cmcd.Key
		verdict Verdict
		least   int
	}{
		{HLSJS, cmcd.KeyBR, Ignore, 200},
		{HLSJS, cmcd.KeyBS, Corroborate, 8},
		{HLSJS, cmcd.KeyD, IgnoreZero, 20},
		{HLSJS, cmcd.KeyMTP, IgnoreFirst, 30},
		{HLSJS, cmcd.KeyPB, Round, 30},
		{HLSJS, cmcd.KeyTPB, Round, 30},
		{HLSJS, cmcd.KeyLB, Round, 10},
		{HLSJS, cmcd.KeySTA, OfSeek, 2},
		{DashJS, cmcd.KeyAB, Ignore, 100},
		{DashJS, cmcd.KeyBS, Corroborate, 10},
		{DashJS, cmcd.KeyEC, IgnoreRepeats, 4},
		{DashJS, cmcd.KeyMSD, Ignore, 3},
		{DashJS, cmcd.KeySTA, OfSeek, 3},
		{DashJS, cmcd.KeyTAB, Ignore, 100},
		{DashJS, cmcd.KeyTPB, Ignore, 10},
		{DashJS, cmcd.KeyTTFB, IgnoreImplausible, 90},
		{Shaka, cmcd.KeyBS, Corroborate, 2},
		{Shaka, cmcd.KeyD, IgnoreZero, 4},
		{Shaka, cmcd.KeyMTP, IgnoreFirst, 40},
		{Shaka, cmcd.KeySN, Accept, 10},
		{Shaka, cmcd.KeyBR, Accept, 10},
		{DashJS, cmcd.KeyBR, Accept, 30},
		{DashJS, cmcd.KeyOT, Accept, 100},
		{Shaka, cmcd.KeyE, Accept, 200},
		{Shaka, cmcd.KeySTA, Ignore, 50},
		{VideoJS, cmcd.KeyBL, Absent, 40},
		{VideoJS, cmcd.KeyBR, Ignore, 10},
		{VideoJS, cmcd.KeyBS, Corroborate, 20},
		{VideoJS, cmcd.KeyNOR, IgnoreImplausible, 30},
		{VideoJS, cmcd.KeyOT, Absent, 10},
		{THEOplayer, cmcd.KeyCID, Decode, 20},
		{THEOplayer, cmcd.KeyD, Absent, 20},
		{THEOplayer, cmcd.KeyMTP, Round, 20},
		{THEOplayer, cmcd.KeyOT, Corroborate, 9},
		{THEOplayer, cmcd.KeySF, Accept, 40},
	} {
		if n := shown(c.player, c.key, c.verdict); n < c.least {
			t.Errorf("%s: %v is to be %v %d times in the capture, want at least %d", c.player, c.key, c.verdict, n, c.least)
		}
	}
}
