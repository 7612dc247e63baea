package quirk

import (
	"fmt"
	"testing"

	"github.com/weir-stream/weir/cmcd"
)

const chrome = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0 Safari/537.36"

func signature(t *testing.T, records ...string) *Signature {
	t.Helper()
	var s Signature
	for _, r := range records {
		v, err := cmcd.Parse(r)
		if err != nil {
			t.Fatalf("%s: %v", r, err)
		}
		s.Add(&v)
	}
	return &s
}

// What players send that the capture does not have, after their source code.
func TestPlayers(t *testing.T) {
	media := func(n int, record string) []string {
		var out []string
		for i := range n {
			out = append(out, fmt.Sprintf(record, i), fmt.Sprintf(record, i))
		}
		return out
	}
	shaka52 := func(format string) []string {
		return append([]string{
			`ot=m,sf=` + format + `,sid="s",su`,
			`br=900,d=0,ot=i,sf=` + format + `,sid="s",st=v,su`,
		}, media(3, `bl=%d000,br=900,d=2000,dl=2000,nor="n.m4s",ot=v,rtp=4500,sf=`+format+`,sid="s",st=v,tb=900`)...)
	}
	cases := map[string]struct {
		records  []string
		agent    string
		want     string
		evidence Evidence
	}{
		"its own word": {
			[]string{`org.svta-p-n="hls.js",org.svta-p-v="1.7.4",ot=v,sid="s",v=2`}, chrome, "hls.js 1.7.4", OwnWord,
		},
		"its own word in two records": {
			[]string{`org.svta-p-n="hls.js",sid="s"`, `org.svta-p-v="1.7.4",sid="s"`}, chrome, "hls.js 1.7.4", OwnWord,
		},
		"its own word, against its habits": {
			[]string{`ab=(900;v),br=(900;v),org.svta-p-n="Acme",ot=v,sf=d,sid="s",v=2`}, chrome, "Acme", OwnWord,
		},
		"two versions of one player": {
			[]string{`org.svta-p-n="hls.js",org.svta-p-v="1.7.4",sid="s"`, `org.svta-p-n="hls.js",org.svta-p-v="1.7.5",sid="s"`}, chrome, "hls.js", OwnWord,
		},
		"two own words": {
			[]string{`org.svta-p-n="hls.js",sid="s"`, `org.svta-p-n="dash.js",sid="s"`}, chrome, "Chrome", UserAgent,
		},

		"hls.js 1.7, a playlist":      {[]string{`br=468,mtp=500,ot=m,sf=h,sid="s",su`}, chrome, HLSJS, KeySet},
		"hls.js 1.7, version 2":       {[]string{`bl=(100),br=(966),mtp=(5700),ot=m,sf=h,sid="s",sn=9,st=v,sta=p,v=2`}, chrome, HLSJS, KeySet},
		"hls.js 1.6, init segment":    {[]string{`d=0,mtp=500,ot=i,sf=h,sid="s",su`, `bl=0,br=900,d=2000,mtp=500,ot=v,sf=h,sid="s",tb=2000`}, chrome, HLSJS, KeySet},
		"hls.js 1.6, too little":      {[]string{`d=0,mtp=500,ot=i,sf=h,sid="s",su`}, chrome, "Chrome", UserAgent},
		"Shaka 4, HLS, st turned off": {[]string{`d=0,mtp=5500,ot=i,sf=h,sid="s",su`, `bl=2000,d=2000,dl=2000,mtp=5500,nor="n.m4s",ot=v,sf=h,sid="s"`}, chrome, "Chrome", UserAgent},
		"hls.js 1.6, TS":              {[]string{`mtp=500,ot=m,sf=h,sid="s",su`, `bl=0,br=900,d=6000,mtp=500,ot=av,sf=h,sid="s",su,tb=2000`}, chrome, "Chrome", UserAgent},
		"dash.js 5.2":                 {[]string{`ab=(900;v 64;a),br=(900;v),ot=v,sf=d,sid="s",v=2`}, chrome, DashJS, KeySet},
		"dash.js 5.2, a report":       {[]string{`ab=(900;v 64;a),br=(900;v 64;a),e=ps,ec=27,sf=d,sid="s",sta=p,ts=1,v=2`}, chrome, DashJS, KeySet},
		"dash.js 5.1, version 2":      {media(3, `bl=%d000,br=900,d=2000,dl=2000,ltc=9000,mtp=4000,nor=("n.m4s"),ot=v,rtp=4500,sf=d,sid="s",st=l,tb=900,v=2`), chrome, "Chrome", UserAgent},
		"dash.js 5, version 1":        {append(media(3, `bl=%d000,br=900,d=2000,dl=2000,mtp=4000,nor="n.m4s",ot=v,rtp=4500,sf=d,sid="s",st=v,tb=900`), `ot=i,sf=d,sid="s",st=v,su`), chrome, "Chrome", UserAgent},
		"dash.js 5, no mtp, no bs":    {append(media(3, `bl=%d000,br=900,d=2000,dl=2000,nor="n.m4s",ot=v,rtp=4500,sf=d,sid="s",st=v,tb=900`), `ot=i,sf=d,sid="s",st=v,su`), chrome, "Chrome", UserAgent},
		"dash.js 3.2":                 {[]string{`bl=0,br=900,cid="a "b"",d=2000,dl=500,nor="/x/n.m4s",ot="v",rtp=100,sf="d",sid="s",st="v",su,tb=900,`}, chrome, DashJS, Spelling},
		"Shaka 5.2, version 2":        {[]string{`bl=2000,br=900,d=2000,dl=2000,nor=("n.m4s"),ot=v,rtp=4500,sf=d,sid="s",sn=4,st=v,tb=900,v=2`}, chrome, Shaka, ListStyle},
		"Shaka 5.0, version 2":        {[]string{`bl=2000,br=900,d=2000,dl=2000,mtp=5500,nor="n.m4s",ot=v,rtp=4500,sf=h,sid="s",sn=4,st=v,tb=900,ts=1795160105422,v=2`}, chrome, Shaka, ListStyle},
		"Shaka 5.2, DASH":             {shaka52("d"), chrome, Shaka, KeySet},
		"Shaka 5.2, HLS":              {shaka52("h"), chrome, Shaka, KeySet},
		"Shaka 5.2, too little":       {shaka52("d")[:5], chrome, "Chrome", UserAgent},
		"Shaka 5.2, but bs":           {append(shaka52("d"), `bs,ot=v,sid="s"`), chrome, "Chrome", UserAgent},
		"Shaka 5.2, but a throughput": {append(shaka52("d"), `mtp=900,ot=m,sid="s"`), chrome, "Chrome", UserAgent},
		"Shaka 4, HLS":                {[]string{`br=900,d=0,mtp=5500,ot=i,sf=h,sid="s",st=v,su`, `mtp=5500,ot=m,sf=h,sid="s",su`}, chrome, "Chrome", UserAgent},
		"Shaka 4, DASH":               {[]string{`br=900,d=0,mtp=5500,ot=i,sf=d,sid="s",st=v,su`}, chrome, Shaka, KeySet},
		"Video.js":                    {[]string{`br=900,dl=0,mtp=4200,ot=m,sf=h,sid="s",st=v,tb=2000`}, chrome, VideoJS, KeySet},
		"Media3":                      {[]string{`br=900,mtp=4000,ot=v,sid="s",tb=900`}, "demo/1 (Linux;Android 15) AndroidXMedia3/1.8.0", Media3, UserAgent},
		"Media3 in disguise, one track": {
			append(media(3, `bl=%d99,br=125,d=19504,dl=2099200,nrr="1-2",ot=a,sf=d,sid="s",st=v,tb=125`), `br=125,ot=i,sf=d,sid="s",st=v,tb=125`), "demo", "", "",
		},
		"THEOplayer, its keys": {
			[]string{`bl=4400,br=1500,dl=4400,mtp=4144.421,org.svalabs-cmi=2,org.svalabs-pmi=2,ot="v",sf="d",sid="s",st="v",tb=1500`}, chrome, THEOplayer, KeySet,
		},
		"the keys of THEOplayer, but no quotes": {
			[]string{`bl=4400,br=1500,dl=4400,mtp=4144,org.svalabs-cmi=2,org.svalabs-pmi=2,ot=v,sf=d,sid="s",st=v,tb=1500`}, chrome, "Chrome", UserAgent,
		},
		"one of the keys of THEOplayer": {
			[]string{`bl=4400,br=1500,dl=4400,mtp=4144,org.svalabs-rid="1",ot="v",sf="d",sid="s",st="v",tb=1500`}, chrome, "Chrome", UserAgent,
		},
		"Video.js, DASH":                        {[]string{`bs,dl=0,nor="undefined",ot=m,sf=d,sid="s",st=v,su`}, chrome, VideoJS, KeySet},
		"a next object that is called that way": {[]string{`nor="undefined",ot=m,sf=d,sid="s",st=v,su`, `dl=900,nor="undefined",ot=v,sf=d,sid="s"`}, chrome, "Chrome", UserAgent},
		"THEOplayer":                            {append(media(3, `bl=%d000,br=900,dl=2000,mtp=4000,ot=v,rtp=4500,sf=d,sid="s",st=v,tb=900`), `ot=i,sf=d,sid="s",st=v`), chrome, "Chrome", UserAgent},
		"Bitmovin":                              {media(3, `bl=%d000,br=900,d=2000,dl=2000,nor="n",ot=v,sf=d,sid="s",st=v,tb=900`), chrome, "Chrome", UserAgent},
		"by hand, single values":                {[]string{`br=900,d=2000,ot=v,sf=d,sid="s",v=2`}, chrome, "Chrome", UserAgent},
		"habits of two players": {
			[]string{`br=468,mtp=500,ot=m,sf=h,sid="s"`, `ab=(900;v),br=(900;v),ot=v,sf=d,sid="s",v=2`}, chrome, "Chrome", UserAgent,
		},
		"a native player with habits of another": {[]string{`br=468,mtp=500,ot=m,sf=h,sid="s"`}, "AppleCoreMedia/1.0.0.22A (iPhone)", AVPlayer, UserAgent},

		"Edge, not Chrome":   {[]string{`sid="s"`}, chrome + " Edg/130.0", "Edge", UserAgent},
		"Safari, not Chrome": {[]string{`sid="s"`}, "Mozilla/5.0 Version/18.0 Safari/605.1.15", "Safari", UserAgent},
		"no evidence":        {[]string{`sid="s"`}, "something", "", ""},
		"no record":          {nil, "", "", ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			p, ok := signature(t, c.records...).Player(c.agent)
			if p.String() != c.want || p.Evidence != c.evidence || ok != (c.want != "") {
				t.Errorf("told %q by %q, %v; want %q by %q", p, p.Evidence, ok, c.want, c.evidence)
			}
		})
	}
}

// A player that is known is not taken for another, be nothing known of its habits.
func TestAnonymous(t *testing.T) {
	for _, c := range []struct {
		player Player
		want   bool
	}{
		{Player{}, true},
		{Player{Name: "Chrome", Evidence: UserAgent}, true},
		{Player{Name: "Samsung Internet", Evidence: UserAgent}, true},
		{Player{Name: "Chrome", Evidence: OwnWord}, false},
		{Player{Name: "ACME Player", Evidence: OwnWord}, false},
		{Player{Name: "ExoPlayer", Evidence: UserAgent}, false},
		{Player{Name: "VLC", Evidence: UserAgent}, false},
		{Player{Name: HLSJS, Evidence: KeySet}, false},
	} {
		if got := c.player.Anonymous(); got != c.want {
			t.Errorf("%+v: %v, want %v", c.player, got, c.want)
		}
	}
}

func FuzzSignature(f *testing.F) {
	f.Add(`br=468,mtp=500,ot=m,sf=h,sid="s"`, `org.svta-p-n="x",org.svta-p-v="1"`, `br=900,d=0,mtp=5500,ot=i,sf=d,st=v`, chrome)
	f.Fuzz(func(t *testing.T, a, b, c, agent string) {
		var there, back Signature
		records := []string{a, b, c, a, a, a}
		var list []cmcd.Values
		for _, r := range records {
			if v, err := cmcd.Parse(r); err == nil {
				list = append(list, v)
			}
		}
		for i := range list {
			there.Add(&list[i])
			back.Add(&list[len(list)-1-i])
		}
		p, ok := there.Player(agent)
		if q, also := back.Player(agent); p != q || ok != also {
			t.Fatalf("in one order %+v, in the other %+v", p, q)
		}
		if ok != (p.Name != "") {
			t.Fatalf("%+v, %v", p, ok)
		}
		for _, q := range Of(p) {
			for i := range list {
				q.Shows(&list[i])
			}
		}
	})
}
