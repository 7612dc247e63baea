package session

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/weir-stream/weir/cmcd"
	"github.com/weir-stream/weir/internal/analytics"
	"github.com/weir-stream/weir/internal/telemetry"
)

func after(s float64) time.Time { return base.Add(time.Duration(math.Round(s*1e6)) * time.Microsecond) }

// records are what a test writes down by hand; times are seconds after noon.
type records struct {
	t        *testing.T
	requests []telemetry.Request
	reports  []telemetry.Report
}

func (r *records) parse(record string) cmcd.Values {
	r.t.Helper()
	v, err := cmcd.Parse(record)
	if err != nil {
		r.t.Fatalf("%s: %v", record, err)
	}
	return v
}

// request adds a request that was answered with 200, a hit, between from and to.
func (r *records) request(from, to float64, path, record string) *telemetry.Request {
	r.t.Helper()
	r.requests = append(r.requests, telemetry.Request{
		ID: uuid.Must(uuid.NewV7()), Time: after(from), Duration: after(to).Sub(after(from)), TTFB: time.Millisecond, Edge: "e1",
		Client: netip.MustParseAddr("192.0.2.7"), UserAgent: "Mozilla/5.0 Chrome/130.0 Safari/537.36",
		Method: "GET", Path: "/live/test/" + path, Stream: "test", Status: 200, Bytes: 1000, CacheStatus: "hit",
		CMCD: r.parse(record), HasCMCD: true,
	})
	return &r.requests[len(r.requests)-1]
}

// report adds a report that was received at the time.
func (r *records) report(at float64, record string) {
	r.t.Helper()
	r.reports = append(r.reports, telemetry.Report{ID: uuid.Must(uuid.NewV7()), Time: after(at), Path: "/cmcd", CMCD: r.parse(record)})
}

func (r *records) join() analytics.Session { return Join(r.requests, r.reports, after(60)) }

// evening is a session by hand, of a DASH player that speaks version 1. The picture starts at
// 0.3 s. Video segments are 4 s long. The fifth is asked for at 8.4 s with 7.9 s in the buffer and
// takes 10 s, so that the picture stands still from 16.3 s to 18.4 s.
func evening(t *testing.T) *records {
	r := &records{t: t}
	r.request(0, 0.05, "manifest.mpd", `ot=m,sf=d,sid="s-1",cid="news",st=l,su`).CacheStatus = "collapsed"
	r.request(0.05, 0.06, "video-1-init.mp4", `ot=i,sf=d,sid="s-1",su`)
	video := func(n int, from, to float64, rest string) *telemetry.Request {
		return r.request(from, to, fmt.Sprintf("video-1-%d.m4s", n), rest+`,d=4000,ot=v,sf=d,sid="s-1"`)
	}
	audio := func(n int, from float64, rest string) {
		r.request(from, from+0.01, fmt.Sprintf("audio-1-%d.m4s", n), rest+`,br=128,d=4000,ot=a,sf=d,sid="s-1"`)
	}
	video(1, 0.10, 0.20, "bl=0,br=1000,su").CacheStatus = "miss"
	video(2, 0.20, 0.40, "bl=4000,br=1000,mtp=2000,su")
	video(3, 0.40, 0.60, "bl=7900,br=3000,mtp=4000")
	video(4, 4.40, 4.60, "bl=7900,br=3000,mtp=6000")
	video(5, 8.40, 18.40, "bl=7900,br=3000,mtp=6000")
	// What the player says at the end of the rebuffer speaks of the time before.
	video(6, 18.40, 18.50, "bl=4000,br=500,bs,mtp=600,su")
	video(7, 18.50, 18.60, "bl=7900,br=500,mtp=800")
	video(8, 22.50, 22.60, "bl=7900,br=3000,mtp=8600")
	// Audio is never short; but the player says of it, too, that it was starved.
	audio(1, 0.10, "bl=0")
	audio(2, 0.20, "bl=4000")
	audio(3, 0.30, "bl=8000")
	audio(4, 4.45, "bl=7800")
	audio(5, 8.45, "bl=7800")
	audio(6, 12.45, "bl=7800")
	audio(7, 16.25, "bl=8000")
	audio(8, 18.45, "bl=11900,bs")
	// None of these was shown.
	aborted := video(9, 22.61, 22.62, "br=9000")
	aborted.Aborted = true
	missing := video(10, 22.63, 22.64, "br=9000")
	missing.Status, missing.CacheStatus = 404, "miss"
	return r
}

func TestSessionByHand(t *testing.T) {
	r := evening(t)
	s := r.join()
	near := func(what string, got, want float64) {
		t.Helper()
		if math.Abs(got-want) > 1e-6*math.Max(1, math.Abs(want)) {
			t.Errorf("%s = %v, want %v", what, got, want)
		}
	}
	if s.ID != "s-1" || s.Stream != "test" || s.ContentID != "news" || s.Format != "dash" || !s.Live || s.CMCDVersion != 1 ||
		s.Client != "192.0.2.7" || s.Edge != "e1" || s.Player != "Chrome" {
		t.Errorf("who: %+v", s)
	}
	if s.Requests != 20 || s.Errors != 1 || s.Bytes != 20_000 || s.Active || !s.Start.Equal(base) || !s.End.Equal(after(22.63)) {
		t.Errorf("what: %d requests, %d errors, %d bytes, active %v, %v to %v", s.Requests, s.Errors, s.Bytes, s.Active, s.Start, s.End)
	}
	// All but video 1 and video 10 were answered without the origin.
	near("hit ratio", *s.HitRatio, 18.0/20)
	// (1000·2 + 3000·3 + 500·2 + 3000) kbit/s over 8 segments of the same length.
	near("average bitrate", s.AverageBitrate, 1_875_000)
	// (2000 + 4000 + 6000 + 6000 + 600 + 800 + 8600) / 7 kbit/s.
	near("average throughput", s.AverageThroughput, 4_000_000)
	// Seven segments had come when the player told its last buffer length: 7·4 s − 7.9 s. By the
	// clock: from 0.3 s to 22.5 s are 22.2 s, less 2.1 s of standing still.
	near("played time", s.PlayedTime, 20.1)
	if s.StartupTime == nil || !s.StartupEstimated {
		t.Fatalf("startup = %v, estimated %v", s.StartupTime, s.StartupEstimated)
	}
	near("startup", *s.StartupTime, 0.3)
	if len(s.Rebuffers) != 1 || s.Rebuffers[0].Evidence != "bs" {
		t.Fatalf("rebuffers = %+v, want one by bs", s.Rebuffers)
	}
	near("rebuffer begins", s.Rebuffers[0].Time.Sub(base).Seconds(), 16.3)
	near("rebuffer lasts", s.Rebuffers[0].Duration, 2.1)
	near("rebuffer time", s.RebufferTime, 2.1)
	near("rebuffer ratio", s.RebufferRatio, 2.1/22.2)
}

// The order in which records come, and coming twice, change nothing.
func TestOrderAndDuplicatesDoNotMatter(t *testing.T) {
	r := evening(t)
	want := fmt.Sprintf("%+v", r.join().Rebuffers) + fmt.Sprint(r.join().PlayedTime, r.join().Requests)
	slices.Reverse(r.requests)
	r.requests = append(r.requests, r.requests[3:9]...)
	if got := fmt.Sprintf("%+v", r.join().Rebuffers) + fmt.Sprint(r.join().PlayedTime, r.join().Requests); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestNothingMakesTheZeroSession(t *testing.T) {
	s := Join(nil, nil, base)
	if s.ID != "" || s.Rebuffers == nil || s.StartupTime != nil || s.RebufferRatio != 0 {
		t.Errorf("session of no records = %+v", s)
	}
}

func TestBitrate(t *testing.T) {
	cases := map[string]struct {
		write func(*records)
		want  float64
	}{
		"audio is never averaged into video": {func(r *records) {
			r.request(0, 1, "v1.m4s", `br=2000,d=2000,ot=v,sid="s"`)
			r.request(0, 1, "a1.m4s", `br=64,d=2000,ot=a,sid="s"`)
		}, 2e6},
		"audio where there is no video": {func(r *records) {
			r.request(0, 1, "a1.m4s", `br=64,d=2000,ot=a,sid="s"`)
			r.request(2, 3, "a2.m4s", `br=128,d=6000,ot=a,sid="s"`)
		}, (64e3*2 + 128e3*6) / 8},
		"muxed counts as video": {func(r *records) {
			r.request(0, 1, "x1.m4s", `br=(2100;av),d=2000,ot=av,sid="s",v=2`)
		}, 2.1e6},
		"of a list the object's own type": {func(r *records) {
			r.request(0, 1, "v1.m4s", `br=(128;a 3000;v),d=2000,ot=v,sid="s",v=2`)
		}, 3e6},
		"the same object again counts once": {func(r *records) {
			r.request(0, 1, "v1.m4s", `br=1000,d=2000,ot=v,sid="s"`)
			r.request(2, 3, "v2.m4s", `br=3000,d=2000,ot=v,sid="s"`)
			r.request(4, 5, "v2.m4s", `br=3000,d=2000,ot=v,sid="s"`)
		}, 2e6},
		"what is not rendered does not count": {func(r *records) {
			r.request(0, 1, "v1.m4s", `br=1000,d=2000,ot=v,sid="s",v=2`)
			r.request(2, 3, "v2.m4s", `br=9000,d=2000,nr,ot=v,sid="s",v=2`)
		}, 1e6},
		"manifests and init segments do not count": {func(r *records) {
			r.request(0, 1, "index.m3u8", `br=9000,ot=m,sid="s"`)
			r.request(0, 1, "init.mp4", `br=9000,d=0,ot=i,sid="s"`)
			r.request(0, 1, "v1.m4s", `br=1000,d=2000,ot=v,sid="s"`)
		}, 1e6},
		"none named": {func(r *records) { r.request(0, 1, "v1.m4s", `d=2000,ot=v,sid="s"`) }, 0},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			r := &records{t: t}
			c.write(r)
			if got := r.join().AverageBitrate; math.Abs(got-c.want) > 1e-6 {
				t.Errorf("average bitrate = %v, want %v", got, c.want)
			}
		})
	}
}

func TestPlayedTimeIsNeverMoreThanTheClockAllows(t *testing.T) {
	r := &records{t: t}
	for i := range 10 { // 40 s of media within a second, and no buffer length told
		r.request(float64(i)/10, float64(i)/10+0.05, fmt.Sprintf("v%d.m4s", i), `br=1000,d=4000,ot=v,sid="s"`)
	}
	if got := r.join().PlayedTime; got < 0 || got > 1 {
		t.Errorf("played %v s in less than a second", got)
	}
	// At twice the rate twice the media can be played.
	r = &records{t: t}
	r.request(0, 0.1, "v1.m4s", `bl=0,br=1000,d=4000,ot=v,pr=2,sid="s"`)
	r.request(0.1, 0.2, "v2.m4s", `bl=4000,br=1000,d=4000,ot=v,pr=2,sid="s"`)
	r.request(2.1, 2.2, "v3.m4s", `bl=4200,br=1000,d=4000,ot=v,pr=2,sid="s"`)
	if got := r.join().PlayedTime; math.Abs(got-3.8) > 1e-6 {
		t.Errorf("played %v s, want 8 s − 4.2 s", got)
	}
	// Of Video.js it is not known how fast it plays: it says 2 of any speed, and must not play twice as fast as the clock.
	for at, want := range map[float64]float64{10: 10, 4: 4} {
		r = &records{t: t}
		r.request(0, 0, "index.m3u8", `br=900,dl=0,mtp=4200,ot=m,pr=2,sf=h,sid="s",st=v,tb=2000`)
		for i := range 6 {
			r.request(0, 0.1, fmt.Sprintf("v%d.m4s", i), `br=900,d=4000,ot=v,pr=2,sf=h,sid="s"`)
		}
		r.request(at, at, "v6.m4s", `bl=0,br=900,d=4000,ot=v,pr=2,sf=h,sid="s"`)
		if s := r.join(); s.Player != "Video.js" || math.Abs(s.PlayedTime-want) > 1e-6 || distrusts(s) == "" {
			t.Errorf("%s played %v s in %v s", s.Player, s.PlayedTime, at)
		}
	}
	// A buffer that is longer than what came before the records begin.
	r = &records{t: t}
	r.request(0, 0.1, "v1.m4s", `bl=30000,br=1000,d=4000,ot=v,sid="s"`)
	if got := r.join().PlayedTime; got != 0 {
		t.Errorf("played %v s, want 0", got)
	}
}

// States are what the player says: they need no media to have come from this edge.
func TestStates(t *testing.T) {
	type report struct {
		at    float64
		state string
	}
	cases := map[string]struct {
		reports []report
		want    string
		played  float64
	}{
		"one rebuffer":                         {[]report{{0, "s"}, {1, "p"}, {5, "r"}, {7, "p"}, {10, "e"}}, "[5+2]", 7},
		"rebuffering before the first play":    {[]report{{0, "s"}, {0.5, "r"}, {1, "p"}, {4, "e"}}, "[]", 3},
		"rebuffering that belongs to a seek":   {[]report{{0, "p"}, {5, "k"}, {5.1, "r"}, {8, "p"}, {9, "e"}}, "[]", 6},
		"waiting, as dash.js says of a seek":   {[]report{{0, "p"}, {5, "k"}, {5.1, "w"}, {8, "p"}, {9, "e"}}, "[]", 6},
		"rebuffering again after a seek":       {[]report{{0, "p"}, {5, "k"}, {5.1, "r"}, {8, "p"}, {20, "r"}, {21, "p"}}, "[20+1]", 17},
		"two rebuffers close to each other":    {[]report{{0, "p"}, {5, "r"}, {6, "p"}, {7, "r"}, {8, "p"}}, "[5+1 7+1]", 6},
		"rebuffering that a pause ends":        {[]report{{0, "p"}, {5, "r"}, {6, "a"}, {9, "p"}}, "[5+1]", 5},
		"playing to the last report":           {[]report{{0, "s"}, {1, "p"}, {31, "p t"}, {61, "p t"}}, "[]", 60},
		"rebuffering to the end":               {[]report{{0, "p"}, {5, "r"}, {8, "q"}}, "[5+3]", 5},
		"the next item starts with a rebuffer": {[]report{{0, "p"}, {5, "e"}, {6, "s"}, {6.5, "r"}, {7, "p"}, {8, "e"}}, "[]", 6},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			r := &records{t: t}
			for i, s := range c.reports {
				// The player's clock is an hour off, and reports take 30 ms and sometimes more.
				state, event, timed := strings.Cut(s.state, " ")
				if !timed {
					event = "ps"
				}
				r.report(s.at+0.03+float64(i%2)*0.4, fmt.Sprintf(`e=%s,sid="s",sn=%d,sta=%s,ts=%d,v=2`, event, i, state, after(s.at+3600).UnixMilli()))
			}
			s := r.join()
			var got []string
			for _, b := range s.Rebuffers {
				if b.Evidence != "sta" {
					t.Errorf("evidence = %s", b.Evidence)
				}
				got = append(got, fmt.Sprintf("%.4g+%.4g", b.Time.Sub(base).Seconds()-0.03, b.Duration))
			}
			if fmt.Sprint(got) != c.want {
				t.Errorf("rebuffers %v, want %v", got, c.want)
			}
			if math.Abs(s.PlayedTime-c.played) > 1e-6 {
				t.Errorf("played %v s, want %v s", s.PlayedTime, c.played)
			}
		})
	}
}

func TestStartup(t *testing.T) {
	cases := map[string]struct {
		write     func(*records)
		want      float64
		estimated bool
		unknown   bool
	}{
		"the player's word": {func(r *records) {
			r.request(0, 0.1, "index.m3u8", `ot=m,sf=h,sid="s",v=2`)
			r.report(0.9, fmt.Sprintf(`e=ps,sid="s",sta=p,ts=%d,v=2`, after(0.9).UnixMilli()))
		}, 0.9, false, false},
		"media start delay": {func(r *records) {
			r.request(0, 0.1, "index.m3u8", `ot=m,sf=h,sid="s",v=2`)
			r.request(3, 3.1, "v1.m4s", `bl=2000,d=2000,msd=1200,ot=v,sf=h,sid="s",v=2`)
		}, 1.2, false, false},
		"media start delay of dash.js is none": {func(r *records) {
			r.request(0, 0.1, "manifest.mpd", `msd=2,ot=m,sf=d,sid="s",v=2`)
			r.request(0.1, 0.2, "v1.m4s", `ab=(900;v 64;a),bl=(0;v),br=(900;v),d=4000,ot=v,sf=d,sid="s",v=2`)
			r.request(0.2, 0.3, "v2.m4s", `ab=(900;v 64;a),bl=(4000;v),br=(900;v),d=4000,ot=v,sf=d,sid="s",v=2`)
			r.request(2.5, 2.6, "v3.m4s", `ab=(900;v 64;a),bl=(6000;v),br=(900;v),d=4000,ot=v,sf=d,sid="s",v=2`)
		}, 0.5, true, false}, // 8 s had come and 6 s were left at 2.5 s: playing for 2 s
		"reports that came in one batch": {func(r *records) {
			for i, state := range []string{"s", "p", "p"} {
				r.report(10, fmt.Sprintf(`e=ps,sid="s",sn=%d,sta=%s,ts=%d,v=2`, i, state, after(float64(2*i)).UnixMilli()))
			}
		}, 2, false, false},
		"nothing played yet": {func(r *records) {
			r.request(0, 0.1, "v1.m4s", `bl=0,d=4000,ot=v,sid="s"`)
			r.request(0.1, 0.2, "v2.m4s", `bl=4000,d=4000,ot=v,sid="s"`)
		}, 0, false, true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			r := &records{t: t}
			c.write(r)
			s := r.join()
			switch {
			case c.unknown != (s.StartupTime == nil):
				t.Errorf("startup = %v, want unknown %v", deref(s.StartupTime), c.unknown)
			case !c.unknown && (math.Abs(*s.StartupTime-c.want) > 1e-6 || s.StartupEstimated != c.estimated):
				t.Errorf("startup = %v, estimated %v; want %v, %v", *s.StartupTime, s.StartupEstimated, c.want, c.estimated)
			}
		})
	}
}

// shakaEvening is the session of TestSessionByHand as Shaka 5.2 would tell it: no bs, no mtp, but all
// else with each object.
func shakaEvening(t *testing.T) *records {
	r := evening(t)
	for i := range r.requests {
		old := &r.requests[i].CMCD
		var v cmcd.Values
		for k := range old.Keys() {
			switch k {
			case cmcd.KeyBS, cmcd.KeyMTP:
			default:
				switch k.Type() {
				case cmcd.BoolType:
					v.SetBool(k, old.Bool(k))
				case cmcd.NumberType:
					n, _ := old.Number(k)
					v.SetNumber(k, n)
				case cmcd.NumberListType:
					v.SetList(k, old.List(k)...)
				default:
					v.SetText(k, old.Text(k))
				}
			}
		}
		switch v.Text(cmcd.KeyOT) {
		case "v", "a":
			v.SetList(cmcd.KeyTB, cmcd.Item{Number: 3000})
			v.SetNumber(cmcd.KeyRTP, 15000)
			v.SetText(cmcd.KeyST, "l")
		case "i":
			v.SetList(cmcd.KeyBR, cmcd.Item{Number: 3000})
			v.SetNumber(cmcd.KeyD, 0)
			v.SetText(cmcd.KeyST, "l")
		}
		r.requests[i].CMCD = v
	}
	return r
}

func TestPlayerThatSaysNothingOfRebuffers(t *testing.T) {
	s := shakaEvening(t).join()
	if s.Player != "Shaka" || len(s.Rebuffers) != 1 || s.Rebuffers[0].Evidence != "drain" || math.Abs(s.Rebuffers[0].Duration-2.1) > 1e-6 {
		t.Errorf("player %q, rebuffers %+v; want one of 2.1 s by drain", s.Player, s.Rebuffers)
	}
	// A pause looks the same from far: no request, and by the clock the buffer would be dry. But
	// nothing was on its way, and the buffer turns out to be full.
	r := &records{t: t}
	r.request(0, 0.1, "init.mp4", `br=900,d=0,ot=i,sf=d,sid="s",st=v,su`)
	for i, at := range []float64{0, 0.2, 0.4, 4.4, 60, 64, 68} {
		bl := []int{0, 4000, 7900, 7900, 11900, 11900, 11900}[i]
		r.request(at, at+0.1, fmt.Sprintf("v%d.m4s", i), fmt.Sprintf(`bl=%d,br=900,d=4000,ot=v,rtp=4500,sf=d,sid="s",st=v,tb=900`, bl))
	}
	if s := r.join(); s.Player != "Shaka" || len(s.Rebuffers) != 0 {
		t.Errorf("player %q, rebuffers of a pause: %+v", s.Player, s.Rebuffers)
	}
}

// dash.js counts the wait for its first picture as starvation: in version 2 it tells its length with
// a later request, in version 1 it flags the first ones.
func TestStartIsNoRebuffer(t *testing.T) {
	for name, said := range map[string][3]string{
		"told as a length": {"", "bsd=(80;v),", ""},
		"told as a flag":   {"bs,", "bs,", ""},
		"a real one":       {"bs,", "", "bsd=(700;v),"},
	} {
		t.Run(name, func(t *testing.T) {
			r := &records{t: t}
			r.request(0, 0.01, "manifest.mpd", `ot=m,sf=d,sid="s",v=2`)
			add := func(n int, at float64, bl int, keys string) {
				r.request(at, at+0.005, fmt.Sprintf("v%d.m4s", n), fmt.Sprintf(`bl=(%d;v),br=(900;v),%sd=2000,ot=v,sf=d,sid="s",v=2`, bl, keys))
			}
			add(1, 0.10, 0, said[0])
			add(2, 0.21, 2000, said[1])
			// Buffer lengths are rounded, so the start looks earlier by up to a tenth of a second.
			add(3, 2.20, 1900, "")
			add(4, 4.20, 1900, "")
			add(5, 8.00, 1900, said[2])
			want := 0
			if name == "a real one" {
				want = 1
			}
			if s := r.join(); len(s.Rebuffers) != want {
				t.Errorf("rebuffers = %+v, want %d", s.Rebuffers, want)
			}
		})
	}
}

// A player tells the length of a starvation once with a request and once to each target of its
// reports; it is still one rebuffer.
func TestLengthToldTwiceIsOneRebuffer(t *testing.T) {
	playing := func(r *records, rest string) {
		r.request(0, 0.1, "v0.m4s", `bl=(0;v),d=4000,ot=v,sid="s",v=2`)
		r.request(0.2, 0.3, "v1.m4s", `bl=(4000;v),d=4000,ot=v,sid="s",v=2`)
		r.request(4, 14, "v2.m4s", `bl=(4000;v),d=4000,ot=v,sid="s",v=2`)
		r.request(14, 14.1, "v3.m4s", `bl=(4000;v),`+rest+`d=4000,ot=v,sid="s",v=2`)
	}
	for name, write := range map[string]func(*records){
		"with a request and a report": func(r *records) {
			playing(r, "bsd=(5900;v),")
			r.report(40, fmt.Sprintf(`bsd=(5900;v),e=t,sid="s",sn=1,ts=%d,v=2`, after(40).UnixMilli()))
		},
		"to two targets": func(r *records) {
			playing(r, "")
			r.report(14, fmt.Sprintf(`bsd=(5900;v),e=t,sid="s",sn=1,ts=%d,v=2`, after(14).UnixMilli()))
			r.report(40, fmt.Sprintf(`bsd=(5900;v),e=t,sid="s",sn=1,ts=%d,v=2`, after(40).UnixMilli()))
			r.reports[1].Path = "/cmcd/other"
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := &records{t: t}
			write(r)
			if s := r.join(); len(s.Rebuffers) != 1 || math.Abs(s.RebufferTime-5.9) > 1e-6 || s.Rebuffers[0].Evidence != "bsd" {
				t.Errorf("rebuffers = %+v, want one of 5.9 s by bsd", s.Rebuffers)
			}
		})
	}
}

// A live stream begins with short segments, which are numbered like the long ones after them.
func TestSegmentsOfUnequalLengthAreNoJumps(t *testing.T) {
	r := &records{t: t}
	add := func(n int, at, d, bl float64) {
		r.request(at, at+0.005, fmt.Sprintf("video-1-%d.m4s", n), fmt.Sprintf(`bl=%.0f,br=900,d=%.0f,ot=v,sf=h,sid="s"`, bl*1000, d*1000))
	}
	add(1, 0.1, 1, 0)
	add(2, 0.2, 1, 1)
	add(3, 0.3, 1, 2)
	add(4, 1.3, 2, 2)
	add(5, 3.3, 2, 2)
	add(6, 5.3, 2, 2)
	add(7, 7.3, 2, 2)
	// The picture began at 0.3 s: at 1.3 s, 3 s had been delivered and 2 s were in the buffer.
	s := r.join()
	if s.StartupTime == nil || math.Abs(*s.StartupTime-0.2) > 1e-6 {
		t.Errorf("startup = %v s, want 0.2 s after the first request", deref(s.StartupTime))
	}
	if math.Abs(s.PlayedTime-7) > 1e-6 {
		t.Errorf("played time = %v s, want 7 s", s.PlayedTime)
	}
}

func TestSeekIsNoRebuffer(t *testing.T) {
	for name, far := range map[string]string{"by number": "v%d.m4s", "by range": "v.mp4"} {
		t.Run(name, func(t *testing.T) {
			r := &records{t: t}
			add := func(n int, at float64, record string) {
				path := far
				if name == "by number" {
					path = fmt.Sprintf(far, n)
				}
				q := r.request(at, at+0.05, path, record+`,br=900,d=4000,ot=v,sid="s"`)
				if name == "by range" {
					q.Range = fmt.Sprintf("bytes=%d-%d", n*1000, n*1000+999)
				}
			}
			add(1, 0, "bl=0")
			add(2, 0.1, "bl=4000")
			add(3, 0.2, "bl=8000")
			add(4, 4.2, "bl=8000")
			// With 8 s in the buffer the viewer jumps; the player says it was starved.
			add(40, 8.0, "bl=0,bs")
			add(41, 8.1, "bl=4000,bs")
			add(42, 8.2, "bl=7900")
			if s := r.join(); len(s.Rebuffers) != 0 {
				t.Errorf("rebuffers = %+v", s.Rebuffers)
			}
		})
	}
}

// Package quirk tells who played; here it only has to be asked, with all that the session has.
func TestPlayers(t *testing.T) {
	const browser = "Mozilla/5.0 Chrome/130.0 Safari/537.36"
	cases := map[string]struct {
		record, report, userAgent, want, evidence string
	}{
		"its own word":        {`org.svta-p-n="hls.js",org.svta-p-v="1.7.4",ot=v,sid="s",v=2`, "", browser, "hls.js 1.7.4", "org.svta-p-n"},
		"dash.js, both rates": {`ab=(900;v),br=(900;v),ot=v,sf=d,sid="s",v=2`, "", browser, "dash.js", "key_set"},
		"in a report":         {`ot=v,sid="s",v=2`, `ab=(900;v),br=(900;v),e=ps,sf=d,sid="s",sta=p,ts=1,v=2`, browser, "dash.js", "key_set"},
		"hls.js, sticky rate": {`br=900,mtp=500,ot=m,sf=h,sid="s"`, "", "Mozilla/5.0 Firefox/140.0", "hls.js", "key_set"},
		"version 2, no lists": {`bl=2000,br=900,d=2000,dl=2000,ot=v,rtp=4500,sf=d,sid="s",sn=3,st=v,tb=900,v=2`, "", browser, "Shaka", "list_style"},
		"the browser":         {`ot=v,sid="s"`, "", "Mozilla/5.0 Chrome/130.0 Safari/537.36 Edg/130.0", "Edge", "user_agent"},
		"no evidence":         {`ot=v,sid="s"`, "", "something", "", ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			r := &records{t: t}
			r.request(0, 1, "x", c.record).UserAgent = c.userAgent
			if c.report != "" {
				r.report(1, c.report)
			}
			if s := r.join(); s.Player != c.want || s.PlayerEvidence != c.evidence {
				t.Errorf("player = %q by %q, want %q by %q", s.Player, s.PlayerEvidence, c.want, c.evidence)
			}
		})
	}
}

func TestReportsThatComeAgainCountOnce(t *testing.T) {
	r := &records{t: t}
	for i := range 20 { // a player whose report was refused sends it again
		r.report(float64(i), fmt.Sprintf(`e=t,sid="s",sn=4,ts=%d,v=2`, base.UnixMilli()))
	}
	if s := r.join(); s.Reports != 1 {
		t.Errorf("%d reports, want 1", s.Reports)
	}
}

func FuzzJoin(f *testing.F) {
	f.Add(`bl=0,br=1000,d=2000,ot=v,sid="s",su`, `bs,bl=300,br=1000,d=2000,ot=v,pr=0,sid="s"`, `e=ps,sta=r,ts=1,v=2`, 1.0, 3.0)
	f.Add(`d=1,ot=av,pr=1e9`, `d=999999999,bl=99999999,ot=a`, `bsd=(1;v),e=ps,sta=p`, -5.0, 1e7)
	f.Fuzz(func(t *testing.T, a, b, c string, gap, took float64) {
		if math.IsNaN(gap) || math.IsNaN(took) || math.Abs(gap) > 1e6 || took < 0 || took > 1e6 {
			t.Skip()
		}
		var requests []telemetry.Request
		var reports []telemetry.Report
		for i := range 6 {
			v, err := cmcd.Parse([]string{a, b}[i%2])
			if err != nil {
				continue
			}
			requests = append(requests, telemetry.Request{Time: after(float64(i) * gap), Duration: seconds(took), Path: fmt.Sprintf("/v%d.m4s", i), Status: 200, CMCD: v})
		}
		if v, err := cmcd.Parse(c); err == nil {
			reports = append(reports, telemetry.Report{Time: after(gap), CMCD: v})
		}
		s := Join(requests, reports, after(1))
		for _, n := range []float64{s.PlayedTime, s.RebufferTime, s.AverageBitrate, s.AverageThroughput, s.RebufferRatio} {
			if math.IsNaN(n) || math.IsInf(n, 0) || n < 0 {
				t.Fatalf("a figure is %v: %+v", n, s)
			}
		}
		if s.RebufferRatio > 1 {
			t.Fatalf("rebuffer ratio = %v", s.RebufferRatio)
		}
		for _, r := range s.Rebuffers {
			if r.Duration < 0 || math.IsNaN(r.Duration) {
				t.Fatalf("rebuffer = %+v", r)
			}
		}
	})
}
