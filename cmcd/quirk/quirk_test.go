package quirk

import (
	"strings"
	"testing"

	"github.com/weir-stream/weir/cmcd"
)

func parse(t *testing.T, record string) *cmcd.Values {
	t.Helper()
	v, err := cmcd.Parse(record)
	if err != nil {
		t.Fatalf("%s: %v", record, err)
	}
	return &v
}

func TestVerdicts(t *testing.T) {
	cases := map[string]struct {
		player Player
		record string
		key    cmcd.Key
		want   string // the verdict, "" for none
	}{
		"hls.js, audio":                      {Player{Name: HLSJS}, `br=218,d=2000,ot=a,sf=h`, cmcd.KeyBR, "ignore"},
		"hls.js, video":                      {Player{Name: HLSJS}, `br=900,d=2000,ot=v,sf=h`, cmcd.KeyBR, ""},
		"hls.js, a playlist":                 {Player{Name: HLSJS}, `br=900,ot=m,sf=h`, cmcd.KeyBR, "ignore"},
		"hls.js 1.6, a playlist":             {Player{Name: HLSJS, Version: "1.6.15"}, `br=900,ot=m,sf=h`, cmcd.KeyBR, ""},
		"hls.js, report of a response":       {Player{Name: HLSJS}, `br=(900),e=rr,sf=h,ts=1,url="u",v=2`, cmcd.KeyBR, "ignore"},
		"hls.js, another report":             {Player{Name: HLSJS}, `br=(900),e=bc,sf=h,ts=1,v=2`, cmcd.KeyBR, ""},
		"hls.js, the default":                {Player{Name: HLSJS}, `mtp=500,ot=v,sf=h`, cmcd.KeyMTP, "ignore_first"},
		"hls.js, a measurement":              {Player{Name: HLSJS}, `mtp=600,ot=v,sf=h`, cmcd.KeyMTP, ""},
		"hls.js, an init segment":            {Player{Name: HLSJS}, `d=0,ot=i`, cmcd.KeyD, "ignore_zero"},
		"hls.js, a segment":                  {Player{Name: HLSJS}, `d=2000,ot=v`, cmcd.KeyD, ""},
		"hls.js, decimals":                   {Player{Name: HLSJS}, `ot=v,pb=(467.63),v=2`, cmcd.KeyPB, "round"},
		"hls.js, no decimals":                {Player{Name: HLSJS}, `ot=v,pb=(467),v=2`, cmcd.KeyPB, ""},
		"hls.js, starved":                    {Player{Name: HLSJS}, `bs,ot=v`, cmcd.KeyBS, "corroborate"},
		"hls.js, not starved":                {Player{Name: HLSJS}, `bs=?0,ot=v`, cmcd.KeyBS, ""},
		"hls.js, rebuffering":                {Player{Name: HLSJS}, `e=ps,sta=r,ts=1,v=2`, cmcd.KeySTA, "of_seek"},
		"hls.js, playing":                    {Player{Name: HLSJS}, `e=ps,sta=p,ts=1,v=2`, cmcd.KeySTA, ""},
		"hls.js under another name":          {Player{Name: "Hls.JS"}, `br=218,ot=a`, cmcd.KeyBR, "ignore"},
		"dash.js, a time of day":             {Player{Name: DashJS}, `e=rr,ts=1,ttfb=1795160105219,ttlb=10,url="u",v=2`, cmcd.KeyTTFB, "ignore_implausible"},
		"dash.js, a time of day, no ttlb":    {Player{Name: DashJS}, `e=rr,ts=1,ttfb=1795160105219,url="u",v=2`, cmcd.KeyTTFB, "ignore_implausible"},
		"dash.js, a time":                    {Player{Name: DashJS}, `e=rr,ts=1,ttfb=2,ttlb=3,url="u",v=2`, cmcd.KeyTTFB, ""},
		"dash.js, rounded":                   {Player{Name: DashJS}, `e=rr,ts=1,ttfb=3,ttlb=2,url="u",v=2`, cmcd.KeyTTFB, ""},
		"dash.js, start delay":               {Player{Name: DashJS}, `msd=2,ot=m,v=2`, cmcd.KeyMSD, "ignore"},
		"dash.js 5.1, start delay":           {Player{Name: "dash.js", Version: "5.1.1"}, `msd=2000,ot=m,v=2`, cmcd.KeyMSD, ""},
		"dash.js, both":                      {Player{Name: DashJS}, `ab=(900;v),br=(900;v),ot=v,v=2`, cmcd.KeyAB, "ignore"},
		"dash.js, one":                       {Player{Name: DashJS}, `ab=(900;v),ot=v,v=2`, cmcd.KeyAB, ""},
		"dash.js, waiting":                   {Player{Name: DashJS}, `e=ps,sta=w,ts=1,v=2`, cmcd.KeySTA, "of_seek"},
		"dash.js, error":                     {Player{Name: DashJS}, `e=t,ec=27,ts=1,v=2`, cmcd.KeyEC, "ignore_repeats"},
		"Shaka 5.2, nothing of starvation":   {Player{Name: "shaka-player", Version: "5.2.12"}, `ot=v`, cmcd.KeyBS, "absent"},
		"Shaka 4.16, starved":                {Player{Name: Shaka, Version: "v4.16.4"}, `bs,ot=v`, cmcd.KeyBS, "corroborate"},
		"Shaka 4.16, not starved":            {Player{Name: Shaka, Version: "v4.16.4"}, `ot=v`, cmcd.KeyBS, ""},
		"Shaka of some version, starved":     {Player{Name: Shaka}, `bs,ot=v`, cmcd.KeyBS, "corroborate"},
		"Shaka of some version, not starved": {Player{Name: Shaka}, `ot=v`, cmcd.KeyBS, "absent"},
		"Shaka, an init segment":             {Player{Name: Shaka}, `ot=i`, cmcd.KeyBS, ""},
		"Video.js, a rate":                   {Player{Name: "videojs"}, `pr=2`, cmcd.KeyPR, "ignore"},
		"Video.js, a pause":                  {Player{Name: "videojs"}, `pr=0`, cmcd.KeyPR, ""},
		"Video.js, no next object":           {Player{Name: "videojs"}, `nor="undefined"`, cmcd.KeyNOR, "ignore_implausible"},
		"Video.js, a next object":            {Player{Name: "videojs"}, `nor="undefined.m4s"`, cmcd.KeyNOR, ""},
		"Video.js, a segment without a type": {Player{Name: "videojs"}, `br=900,d=2000`, cmcd.KeyOT, "absent"},
		"Video.js, a segment with a type":    {Player{Name: "videojs"}, `br=900,d=2000,ot=v`, cmcd.KeyOT, ""},
		"Video.js, what may have no type":    {Player{Name: "videojs"}, `br=900`, cmcd.KeyOT, ""},
		"THEOplayer, a name in two codes":    {Player{Name: "THEOplayer"}, `cid="a%20b"`, cmcd.KeyCID, "decode"},
		"THEOplayer, a name":                 {Player{Name: "THEOplayer"}, `cid="100% b"`, cmcd.KeyCID, ""},
		"THEOplayer, an init segment or not": {Player{Name: "THEO"}, `ot=i`, cmcd.KeyOT, "corroborate"},
		"THEOplayer, video":                  {Player{Name: "THEO"}, `ot=v`, cmcd.KeyOT, ""},
		"Shaka 5.1, waiting":                 {Player{Name: Shaka, Version: "5.1.12"}, `e=ps,sta=w,ts=1,v=2`, cmcd.KeySTA, "ignore"},
		"Shaka 5.1, playing":                 {Player{Name: Shaka, Version: "5.1.12"}, `e=ps,sta=p,ts=1,v=2`, cmcd.KeySTA, ""},
		"a player that is not known":         {Player{Name: "Acme"}, `br=218,ot=a,sf=h`, cmcd.KeyBR, ""},
		"a browser":                          {Player{Name: "Chrome"}, `br=218,ot=a,sf=h`, cmcd.KeyBR, ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got := ""
			quirks := Of(c.player)
			if q, ok := quirks.Find(c.key, parse(t, c.record)); ok {
				got = q.Verdict.String()
			}
			if got != c.want {
				t.Errorf("%s of %v: %q, want %q", c.key, c.player, got, c.want)
			}
			ignored := strings.HasPrefix(c.want, "ignore") && c.want != "ignore_first" && c.want != "ignore_repeats"
			if quirks.Ignores(c.key, parse(t, c.record)) != ignored {
				t.Errorf("ignored = %v, want %v", !ignored, ignored)
			}
		})
	}
}

// Of a player that is not known, only what harms most is suspected.
func TestSuspects(t *testing.T) {
	for format, want := range map[string]string{"h": "mtp", "d": "msd", "s": "", "": ""} {
		var got []string
		for _, q := range Suspects(format) {
			got = append(got, q.Key.String())
		}
		if strings.Join(got, " ") != want {
			t.Errorf("format %q: %v, want %s", format, got, want)
		}
	}
}

func TestVersions(t *testing.T) {
	for _, c := range []struct {
		version, from, before string
		want                  bool
	}{
		{"1.7.4", "1.7", "", true},
		{"1.7.0-rc.1", "1.7", "", true},
		{"1.10", "1.7", "2", true},
		{"1.6.15", "1.7", "", false},
		{"5.2", "", "5.2", false},
		{"5.1.20", "", "5.2", true},
		{"v5", "5.0", "5.2", true},
		{"", "1.7", "1.8", true},
		{"nightly", "1.7", "1.8", true},
		{"99999999999999999999", "1.7", "1.8", true}, // is no version
	} {
		if got := (Player{Version: c.version}).in(c.from, c.before); got != c.want {
			t.Errorf("%q from %q before %q: %v, want %v", c.version, c.from, c.before, got, c.want)
		}
	}
}

// The table is read by people: every line has its evidence, and none contradicts itself.
func TestTheTable(t *testing.T) {
	all := All()
	for i, q := range all {
		name := q.Player + " " + q.Key.String() + " " + q.Verdict.String()
		switch {
		case canonical(q.Player) != q.Player:
			t.Errorf("%s: the player is none of the constants", name)
		case !strings.HasSuffix(q.Why, ".") || strings.Count(q.Why, ". ") > 0:
			t.Errorf("%s: the evidence is not one sentence: %q", name, q.Why)
		case q.Source == "":
			t.Errorf("%s: no source", name)
		case q.Token != "" && q.Key.Type() != cmcd.TokenType:
			t.Errorf("%s: a token of a key that has none", name)
		case q.Value != 0 && q.Verdict != IgnoreFirst && q.Verdict != Ignore:
			t.Errorf("%s: a value that means nothing", name)
		case len(q.Events) > 0 && q.CMCD == 1:
			t.Errorf("%s: version 1 has no events", name)
		case q.Key.ResponseOnly() && (len(q.Events) != 1 || q.Events[0] != "rr"):
			t.Errorf("%s: the key is of responses only", name)
		}
		if from, ok := numbers(q.From); ok {
			if before, ok := numbers(q.Before); ok && compare(from, before) >= 0 {
				t.Errorf("%s: from %s before %s", name, q.From, q.Before)
			}
		}
		if i > 0 && (all[i-1].Player > q.Player || all[i-1].Player == q.Player && all[i-1].Key > q.Key) {
			t.Errorf("%s stands behind %s", name, all[i-1].Player)
		}
	}
	if names := len(verdictNames); Verdict(names-1).String() != "absent" || Verdict(names).String() != "Verdict(11)" {
		t.Error("the verdicts have other names")
	}
}

func TestImplausible(t *testing.T) {
	for record, want := range map[string]bool{
		`e=rr,ttfb=5,ttlb=9,v=2`:   false,
		`e=rr,ttfb=10,ttlb=9,v=2`:  false,
		`e=rr,ttfb=12,ttlb=9,v=2`:  true,
		`e=rr,ttfb=12,v=2`:         false,
		`e=rr,ttfb=86400001,v=2`:   true,
		`e=rr,ttfb=5,ttlb=1e3,v=2`: false,
		`e=rr,ttlb=9,v=2`:          false,
	} {
		if got := Implausible(cmcd.KeyTTFB, parse(t, record)); got != want {
			t.Errorf("%s: %v, want %v", record, got, want)
		}
	}
	for record, want := range map[string]bool{`nor="undefined"`: true, `nor="a.m4s"`: false, `nor=("undefined" "a.m4s"),v=2`: false, `ot=v`: false} {
		if got := Implausible(cmcd.KeyNOR, parse(t, record)); got != want {
			t.Errorf("%s: %v, want %v", record, got, want)
		}
	}
	if !Implausible(cmcd.KeyTTLB, parse(t, `ttlb=1795160105219,v=2`)) || Implausible(cmcd.KeyTTLB, parse(t, `ttlb=20000,v=2`)) {
		t.Error("the time to the last byte")
	}
	if !Implausible(cmcd.KeyMSD, parse(t, `msd=600001,v=2`)) || Implausible(cmcd.KeyMSD, parse(t, `msd=600000,v=2`)) || Implausible(cmcd.KeyBR, parse(t, `br=1`)) {
		t.Error("the media start delay")
	}
}
