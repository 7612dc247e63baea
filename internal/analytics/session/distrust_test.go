package session

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/weir-stream/weir/internal/analytics"
)

func distrusts(s analytics.Session) string {
	var out []string
	for _, d := range s.Distrusted {
		out = append(out, d.Key+":"+d.Verdict)
	}
	return strings.Join(out, " ")
}

const hlsPlaylist = `br=900,mtp=500,ot=m,sf=h,sid="s"` // hls.js, beyond doubt

func TestWhatIsNotBelieved(t *testing.T) {
	cases := map[string]struct {
		records, reports []string
		want             string
	}{
		"a player that does nothing of the sort": {
			[]string{`br=900,d=2000,mtp=900,ot=v,sf=h,sid="s"`}, nil, "",
		},
		"hls.js": {
			[]string{hlsPlaylist, `br=218,d=2000,ot=a,sf=h,sid="s"`, `bs,br=900,d=2000,mtp=500,ot=v,sf=h,sid="s"`},
			nil,
			"br:ignore br:ignore bs:corroborate mtp:ignore_first",
		},
		"hls.js that has measured before": {
			[]string{strings.Replace(hlsPlaylist, "500", "7000", 1), `br=900,d=2000,mtp=500,ot=v,sf=h,sid="s"`}, nil, "br:ignore",
		},
		"an HLS player that could be hls.js": {
			[]string{`br=900,d=2000,mtp=500,ot=v,sf=h,sid="s"`}, nil, "mtp:ignore_first",
		},
		"dash.js": {
			[]string{`ab=(900;v),br=(900;v),d=2000,msd=3,ot=v,sf=d,sid="s",v=2`},
			[]string{`e=rr,sid="s",ts=1,ttfb=1795160105219,ttlb=5,url="/u",v=2`, `e=e,ec=27,sid="s",ts=2,v=2`, `e=t,ec=27,sid="s",ts=3,v=2`},
			"ab:ignore dfa:absent ec:ignore_repeats msd:ignore ttfb:ignore_implausible",
		},
		"dash.js with one error": {
			[]string{`ab=(900;v),br=(900;v),d=2000,dfa=3,ot=v,sf=d,sid="s",v=2`}, []string{`e=e,ec=27,sid="s",ts=2,v=2`}, "ab:ignore",
		},
		"a DASH player that could be dash.js": {
			[]string{`br=(900;v),d=2000,msd=3,ot=v,sf=d,sid="s",v=2`}, nil, "msd:ignore",
		},
		"a player that names itself, DASH": {
			[]string{`br=(900;v),d=2000,msd=800,org.svta-p-n="ACME Player",ot=v,sf=d,sid="s",v=2`}, nil, "",
		},
		"a player that names itself, HLS": {
			[]string{`br=900,d=2000,mtp=500,org.svta-p-n="ACME Player",ot=v,sf=h,sid="s"`}, nil, "",
		},
		"Shaka 5.2": {
			[]string{`br=900,d=2000,org.svta-p-n="Shaka",org.svta-p-v="5.2.12",ot=v,sf=d,sid="s",v=2`}, nil, "bs:absent mtp:absent",
		},
		"Shaka 4.16": {
			[]string{`br=900,bs,d=2000,mtp=5500,org.svta-p-n="Shaka",org.svta-p-v="4.16.4",ot=v,sf=d,sid="s"`}, nil, "bs:corroborate mtp:ignore_first",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			r := &records{t: t}
			for i, record := range c.records {
				r.request(float64(i), float64(i)+0.1, fmt.Sprintf("x%d", i), record)
			}
			for i, record := range c.reports {
				r.report(float64(i)+9, record)
			}
			s := r.join()
			if got := distrusts(s); got != c.want {
				t.Errorf("of %q not believed: %s; want %s", s.Player, got, c.want)
			}
			for _, d := range s.Distrusted {
				if !strings.HasSuffix(d.Why, ".") {
					t.Errorf("%s without a reason: %+v", d.Key, d)
				}
			}
		})
	}
}

// hls.js names the bitrate of a variant with audio, so a session of audio alone has none that is known.
func TestAudioBitrateOfHLSJS(t *testing.T) {
	r := &records{t: t}
	r.request(0, 0.1, "index.m3u8", hlsPlaylist)
	for i := range 3 {
		r.request(float64(i), float64(i)+0.1, fmt.Sprintf("a%d.m4s", i), `br=218,d=2000,mtp=500,ot=a,sf=h,sid="s"`)
	}
	if s := r.join(); s.AverageBitrate != 0 || s.AverageThroughput != 0 {
		t.Errorf("average bitrate %v, throughput %v; want none that is known", s.AverageBitrate, s.AverageThroughput)
	}
	exchanges, _ := newJoin(r.requests, r.reports).details()
	if e := exchanges[2]; e.Bitrate != 0 || e.CMCD["br"] != "218" {
		t.Errorf("the request shows a bitrate of %v and br=%s; want none, and what was sent", e.Bitrate, e.CMCD["br"])
	}
}

func TestFirstEstimateOfThroughput(t *testing.T) {
	const shaka, hls = `br=900,d=0,mtp=5500,ot=i,sf=d,sid="s",st=v`, hlsPlaylist
	cases := map[string]struct {
		player string
		told   []int
		want   float64
	}{
		"hls.js, then measured":        {hls, []int{500, 500, 4000, 500}, 2250e3},
		"hls.js, measured from before": {hls, []int{4000, 500}, 2250e3},
		"hls.js, never measured":       {hls, []int{500, 500}, 0},
		"Shaka, whatever comes first":  {shaka, []int{5500, 5500, 140000, 5500}, (140000 + 5500) / 2 * 1e3},
		"another player":               {`ot=m,sf=d,sid="s"`, []int{500, 1500}, 1000e3},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			r := &records{t: t}
			r.request(0, 0.1, "first", c.player)
			for i, mtp := range c.told {
				r.request(float64(i)+1, float64(i)+1.1, fmt.Sprintf("v%d.m4s", i), fmt.Sprintf(`br=900,d=2000,mtp=%d,ot=v,sid="s"`, mtp))
			}
			if got := r.join().AverageThroughput; math.Abs(got-c.want) > 1e3 {
				t.Errorf("average throughput = %v, want %v", got, c.want)
			}
		})
	}
}

// Only a player that could be another one is suspected: of a browser it is not known what plays in it.
func TestWhoIsSuspected(t *testing.T) {
	for agent, suspected := range map[string]bool{
		"Mozilla/5.0 Chrome/130.0 Safari/537.36": true, "": true, "something": true,
		"demo/1 (Linux;Android 15) ExoPlayer/2.19": false, "AppleCoreMedia/1.0": false, "VLC/3.0 LibVLC/3.0": false,
	} {
		r := &records{t: t}
		r.request(0, 0.1, "v1.m4s", `br=(900;v),d=2000,msd=800,ot=v,sf=d,sid="s",v=2`).UserAgent = agent
		s := r.join()
		if (s.StartupTime == nil) != suspected || (len(s.Distrusted) > 0) != suspected {
			t.Errorf("%q: startup %v, not believed %v; want suspected %v", agent, deref(s.StartupTime), s.Distrusted, suspected)
		}
	}
}

// Only the versions of dash.js that send something else are not believed.
func TestStartDelayOfADashJSThatMeansIt(t *testing.T) {
	for version, want := range map[string]any{"5.1.1": 1.2, "5.2.1": nil} {
		r := &records{t: t}
		r.request(0, 0.1, "manifest.mpd", `msd=1200,org.svta-p-n="dash.js",org.svta-p-v="`+version+`",ot=m,sf=d,sid="s",v=2`)
		if got := deref(r.join().StartupTime); got != want {
			t.Errorf("dash.js %s: startup = %v, want %v", version, got, want)
		}
	}
}

// Shaka before 5.2 says that it waits, and plays on.
func TestWaitingOfShakaIsNoState(t *testing.T) {
	for version, want := range map[string]float64{"5.1.12": 9, "5.2.12": 1} {
		r := &records{t: t}
		for i, state := range []string{"w", "p", "w", "e"} {
			at := []float64{0, 1, 2, 10}[i]
			r.report(at, fmt.Sprintf(`e="ps",org.svta-p-n="Shaka",org.svta-p-v="%s",sid="s",sn=%d,sta="%s",ts=%d,v=2`, version, i+1, state, after(at).UnixMilli()))
		}
		if s := r.join(); math.Abs(s.PlayedTime-want) > 1e-6 || (distrusts(s) == "sta:ignore") != (version == "5.1.12") {
			t.Errorf("%s played %v s, want %v s; not believed %s", s.Player, s.PlayedTime, want, distrusts(s))
		}
	}
}

// Of a session of Video.js little can be told; it says so.
func TestWhatVideoJSDoesNotSay(t *testing.T) {
	r := &records{t: t}
	r.request(0, 0.1, "master.m3u8", `bs,dl=0,nor="undefined",ot=m,sf=h,sid="s",st=v,su`)
	r.request(1, 1.1, "chunk-1.m4s", `br=468,bs,d=2000,dl=0,mtp=1500,nor="chunk-2.m4s",sf=h,sid="s",st=v,su`)
	if s := r.join(); s.Player != "Video.js" || distrusts(s) != "bl:absent bs:corroborate dl:ignore nor:ignore_implausible ot:absent" {
		t.Errorf("of %q not believed: %s", s.Player, distrusts(s))
	}
}

// THEOplayer encodes names twice, and calls everything an init segment that is no media.
func TestWhatTHEOplayerSaysInItsWay(t *testing.T) {
	r := &records{t: t}
	r.request(0, 0.1, "master.m3u8", `cid="a%20b",ot="i",sf="h",sid="s",st="v"`)
	r.request(1, 1.1, "chunk-1.m4s", `bl=4400,br=1500,cid="a%20b",dl=4400,mtp=4144.421,org.svalabs-cmi=2,org.svalabs-pmi=2,ot="v",sf="h",sid="s",st="v",tb=1500`)
	if s := r.join(); s.Player != "THEOplayer" || distrusts(s) != "cid:decode d:absent ot:corroborate" {
		t.Errorf("of %q not believed: %s", s.Player, distrusts(s))
	}
}

func TestClockOffset(t *testing.T) {
	r := &records{t: t}
	if s := r.join(); s.ClockOffset != nil {
		t.Errorf("of nothing: %v", *s.ClockOffset)
	}
	at := func(s float64) int64 { return after(s).UnixMilli() }
	r.report(5, fmt.Sprintf(`e=t,sid="s",sn=0,ts=%d,v=2`, at(5+90.4)))
	r.report(9, fmt.Sprintf(`e=t,sid="s",sn=1,ts=%d,v=2`, at(9+90.43))) // the fastest
	r.report(12, fmt.Sprintf(`e=rr,sid="s",sn=2,ts=%d,url="/x",v=2`, at(12+200)))
	s := r.join()
	if s.ClockOffset == nil || math.Abs(*s.ClockOffset+90.43) > 1e-9 {
		t.Errorf("clock offset = %v s, want -90.43 s", deref(s.ClockOffset))
	}
	faster := -90435 * time.Millisecond // the collector has seen a faster one, of which no row is left
	kept := r.reports[1]
	kept.ClockOffset = &faster
	if s := Join(nil, append(r.reports[:1:1], kept), after(60)); math.Abs(*s.ClockOffset-faster.Seconds()) > 1e-9 {
		t.Errorf("clock offset = %v s, want %v", *s.ClockOffset, faster)
	}
	if _, events := newJoin(nil, r.reports).details(); events[0].Time != after(4.97).UTC().Round(time.Millisecond) {
		t.Errorf("the first report was sent at %v", events[0].Time)
	}
}

// Each captured session says what of it was not believed.
func TestCapturedPlayersAreNotBelievedInAll(t *testing.T) {
	want := map[string]string{
		"hls-v1-q":       "br:ignore br:ignore bs:corroborate d:ignore_zero mtp:ignore_first",
		"hls-v1-muxed":   "br:ignore bs:corroborate d:ignore_zero mtp:ignore_first",
		"hls-v2-q":       "br:ignore br:ignore br:ignore bs:corroborate d:ignore_zero mtp:ignore_first sta:of_seek",
		"hls1.4.14-v1":   "br:ignore bs:corroborate d:ignore_zero mtp:ignore_first",
		"dash-v1-q":      "",
		"dash-v2-q":      "ab:ignore bs:corroborate dfa:absent msd:ignore sta:of_seek tab:ignore tpb:ignore ttfb:ignore_implausible",
		"shaka4.16.4-v1": "bs:corroborate d:ignore_zero mtp:ignore_first",
	}
	for _, c := range capturedSessions(t) {
		expected, ok := want[c.run]
		if got := distrusts(Join(c.requests, c.reports, after(3600))); ok && got != expected {
			t.Errorf("%s: %s, want %s", c.run, got, expected)
		}
		delete(want, c.run)
	}
	if len(want) > 0 {
		t.Errorf("not captured: %v", want)
	}
}
