package client_test

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-stream/weir/cmcd"
	"github.com/weir-stream/weir/cmcd/client"
)

func values(fill func(v *cmcd.Values)) *cmcd.Values {
	var v cmcd.Values
	fill(&v)
	return &v
}

func custom(key, value string, bare bool) cmcd.CustomValue {
	return cmcd.CustomValue{Key: key, Value: value, Bare: bare}
}

func at(ms int64) func() time.Time { return func() time.Time { return time.UnixMilli(ms) } }

func TestPrepare(t *testing.T) {
	v1, v2 := client.Options{Version: 1}, client.Options{}
	event := client.Options{Mode: cmcd.EventMode, Now: at(1234)}
	based := client.Options{BaseURL: "https://cdn.example.com/live/news/video-1.m4s?x=y"}
	based1 := based
	based1.Version = 1
	for _, test := range []struct {
		name     string
		fill     func(v *cmcd.Values)
		o        client.Options
		want     string
		warnings cmcd.Warning
	}{
		{"nothing", func(*cmcd.Values) {}, event, "", 0},
		{"version 1 in event mode is version 2", func(v *cmcd.Values) { v.SetText(cmcd.KeyE, "t") }, client.Options{Version: 1, Mode: cmcd.EventMode, Now: at(1234)}, "e=t,ts=1234,v=2", 0},
		{"rounding", func(v *cmcd.Values) {
			v.SetNumber(cmcd.KeyDL, 149.9)
			v.SetNumber(cmcd.KeyRTP, 50)
			v.SetNumber(cmcd.KeyPT, -0.4)
			v.SetNumber(cmcd.KeyPR, 1.23456)
			v.SetNumber(cmcd.KeyLTC, -1500.5)
			v.SetList(cmcd.KeyTBL, cmcd.Item{Number: 2050, Type: "v"}, cmcd.Item{Number: 1999.9, Type: "a"})
			v.SetList(cmcd.KeyPB, cmcd.Item{Number: 467.63})
		}, v2, "dl=100,ltc=-1501,pb=(468),pr=1.235,pt=0,rtp=100,tbl=(2100;v 2000;a),v=2", 0},
		{"almost 1 is 1", func(v *cmcd.Values) { v.SetNumber(cmcd.KeyPR, 0.99999); v.SetBool(cmcd.KeySU, true) }, v2, "su,v=2", 0},
		{"numbers that are none", func(v *cmcd.Values) {
			v.SetNumber(cmcd.KeyDL, math.NaN())
			v.SetNumber(cmcd.KeySN, -1)
			v.SetNumber(cmcd.KeyPT, 1e15)
			v.SetList(cmcd.KeyBR, cmcd.Item{Number: math.Inf(1)}, cmcd.Item{Number: 5, Type: "x"}, cmcd.Item{Number: 7, Type: "v"})
		}, v2, "br=(7;v),v=2", cmcd.WarnBadValue},
		{"response codes", func(v *cmcd.Values) {
			v.SetText(cmcd.KeyE, "rr")
			v.SetText(cmcd.KeyURL, "https://example.com/ä \"b\"")
			v.SetNumber(cmcd.KeyRC, 20)
			v.SetText(cmcd.KeyCMSDS, "?")
			v.SetText(cmcd.KeyCMSDD, "IkNETkItM2FrMSI7ZXRwPTk2O3J0dD04")
		}, event, `cmsdd="IkNETkItM2FrMSI7ZXRwPTk2O3J0dD04",e=rr,ts=1234,url="https://example.com/%C3%A4%20%22b%22",v=2`, cmcd.WarnBadValue},
		{"version 1 takes the item of the object's type", func(v *cmcd.Values) {
			v.SetText(cmcd.KeyOT, "a")
			v.SetList(cmcd.KeyBR, cmcd.Item{Number: 3000, Type: "v"}, cmcd.Item{Number: 128, Type: "a"})
			v.SetList(cmcd.KeyTB, cmcd.Item{Number: 6000, Type: "v"})
			v.SetText(cmcd.KeyST, "ll")
			v.SetText(cmcd.KeySF, "e")
			v.SetNumber(cmcd.KeyD, 4)
		}, v1, "br=128,d=4,ot=a,sf=o,st=l", 0},
		{"version 1 takes the item of no type", func(v *cmcd.Values) {
			v.SetText(cmcd.KeyOT, "a")
			v.SetList(cmcd.KeyBR, cmcd.Item{Number: 3000, Type: "v"}, cmcd.Item{Number: 164})
		}, v1, "br=164,ot=a", 0},
		{"version 1 does not take what is another object's", func(v *cmcd.Values) {
			v.SetText(cmcd.KeyOT, "a")
			v.SetList(cmcd.KeyBR, cmcd.Item{Number: 3000, Type: "v"}, cmcd.Item{Number: -1})
		}, v1, "ot=a", cmcd.WarnBadValue},
		{"version 1 takes the first for a playlist", func(v *cmcd.Values) {
			v.SetText(cmcd.KeyOT, "m")
			v.SetList(cmcd.KeyBL, cmcd.Item{Number: 3000, Type: "v"}, cmcd.Item{Number: 1000, Type: "a"})
		}, v1, "bl=3000,ot=m", 0},
		{"tokens", func(v *cmcd.Values) {
			v.SetText(cmcd.KeyOT, "x")
			v.SetText(cmcd.KeySTA, "w")
			v.SetText(cmcd.KeyST, "")
		}, v2, "sta=w,v=2", cmcd.WarnUnknownToken},
		{"known bitrates", func(v *cmcd.Values) {
			for _, k := range []cmcd.Key{cmcd.KeyAB, cmcd.KeyBR, cmcd.KeyLAB, cmcd.KeyTAB, cmcd.KeyTB} {
				v.SetList(k, cmcd.Item{Number: 1})
			}
			v.SetList(cmcd.KeyLB, cmcd.Item{Number: -1})
		}, v2, "br=(1),lab=(1),tb=(1),v=2", cmcd.WarnBadValue},
		{"object types", func(v *cmcd.Values) {
			v.SetText(cmcd.KeyOT, "tt")
			v.SetNumber(cmcd.KeyD, 4000)
			v.SetList(cmcd.KeyTPB, cmcd.Item{Number: 1})
		}, v2, "d=4000,ot=tt,v=2", 0},
		{"backgrounded", func(v *cmcd.Values) { v.SetText(cmcd.KeyE, "b"); v.SetBool(cmcd.KeyBS, false) }, event, "bg=?0,e=b,ts=1234,v=2", 0},
		{"the name of another event", func(v *cmcd.Values) { v.SetText(cmcd.KeyE, "t"); v.SetText(cmcd.KeyCEN, "x") }, event, "e=t,ts=1234,v=2", 0},
		{"the keys that an event must have", func(v *cmcd.Values) {
			v.SetText(cmcd.KeyE, "ps")
			v.SetText(cmcd.KeySTA, "p")
			v.SetText(cmcd.KeySID, "s")
			v.SetNumber(cmcd.KeyTS, 5)
			v.Custom = []cmcd.CustomValue{custom("a-b", "c", false)}
		}, client.Options{Mode: cmcd.EventMode, Keys: []cmcd.Key{}, CustomKeys: []string{}}, "e=ps,sta=p,ts=5,v=2", 0},
		{"strings", func(v *cmcd.Values) {
			v.SetText(cmcd.KeyCID, strings.Repeat("c", 128))
			v.SetText(cmcd.KeySID, strings.Repeat("s", 65))
			v.SetText(cmcd.KeyCS, "é")
			v.SetList(cmcd.KeyEC, cmcd.Item{Text: `a"\`}, cmcd.Item{}, cmcd.Item{Text: "\n"})
		}, v2, `cid="` + strings.Repeat("c", 128) + `",ec=("a\"\\"),v=2`, cmcd.WarnTooLong | cmcd.WarnCharacter},
		{"a content ID too long for version 1", func(v *cmcd.Values) {
			v.SetText(cmcd.KeyCID, strings.Repeat("c", 65))
			v.SetBool(cmcd.KeySU, true)
		}, v1, "su", cmcd.WarnTooLong},
		{"custom keys", func(v *cmcd.Values) {
			v.Custom = []cmcd.CustomValue{
				custom("com.b-x", "1", false), custom("com.a-x", "t", true), custom("com.b-x", "2", false), custom("nohyphen", "x", false),
				custom("com.n-x", "5", true), custom("com.l-x", strings.Repeat("l", 65), false), custom("com.q-x", `"q"`, true), custom("com.f-x", "?0", true),
				custom("com.i-x", "a,br=1", true), custom("com.e-x", "", false),
			}
		}, v2, `com.a-x=t,com.b-x="2",com.q-x="q",v=2`, cmcd.WarnUnknownKey | cmcd.WarnBadValue | cmcd.WarnTooLong},
		{"custom keys of version 1", func(v *cmcd.Values) {
			v.Custom = []cmcd.CustomValue{custom("com.n-x", "5;a=1", true), custom("com.t-x", "", true), custom("com.l-x", "(1 2)", true)}
		}, v1, "com.l-x=(1 2),com.n-x=5;a=1,com.t-x", 0},
		{"next objects", func(v *cmcd.Values) {
			v.SetList(cmcd.KeyNOR, cmcd.Item{Text: "https://CDN.example.com:443/live/sport/a b.m4s#f"}, cmcd.Item{Text: "video-2.m4s?t=1", Range: "0-99"},
				cmcd.Item{Text: "/live/news/a:b", Range: "-5"}, cmcd.Item{Text: "https://elsewhere.example.com/x"}, cmcd.Item{Text: "y", Range: "9-3"})
			v.SetText(cmcd.KeyNRR, "5-")
		}, based, `nor=("../sport/a%20b.m4s";r="5-" "video-2.m4s?t=1";r="0-99" "./a:b";r="-5"),v=2`, cmcd.WarnBadValue},
		{"next object of version 1", func(v *cmcd.Values) {
			v.SetList(cmcd.KeyNOR, cmcd.Item{Text: "/live/sport/a%20b.m4s", Range: "0-99"}, cmcd.Item{Text: "c"})
		}, based1, `nor="..%2Fsport%2Fa%2520b.m4s",nrr="0-99"`, 0},
		{"a range goes with its object", func(v *cmcd.Values) {
			v.SetList(cmcd.KeyNOR, cmcd.Item{Text: "https://other.example/x.mp4"}, cmcd.Item{Text: "c.mp4"})
			v.SetText(cmcd.KeyNRR, "0-99")
		}, based1, `nor="c.mp4"`, cmcd.WarnBadValue},
		{"and with no other", func(v *cmcd.Values) {
			v.SetList(cmcd.KeyNOR, cmcd.Item{Text: "https://other.example/x.mp4"})
			v.SetText(cmcd.KeyNRR, "0-99")
			v.SetBool(cmcd.KeySU, true)
		}, based1, "su", cmcd.WarnBadValue},
		{"nor with this one", func(v *cmcd.Values) {
			v.SetList(cmcd.KeyNOR, cmcd.Item{Text: "c.mp4"})
			v.SetText(cmcd.KeyNRR, "0-99")
			v.SetBool(cmcd.KeySU, true)
		}, client.Options{Version: 1, Keys: []cmcd.Key{cmcd.KeyNRR, cmcd.KeySU}}, "su", 0},
		{"an object without its range", func(v *cmcd.Values) {
			v.SetList(cmcd.KeyNOR, cmcd.Item{Text: "c.mp4"})
			v.SetText(cmcd.KeyNRR, "0-99")
			v.SetBool(cmcd.KeySU, true)
		}, client.Options{Version: 1, Keys: []cmcd.Key{cmcd.KeyNOR, cmcd.KeySU}}, "su", 0},
		{"range of this object", func(v *cmcd.Values) { v.SetText(cmcd.KeyNRR, "100-199") }, v1, `nrr="100-199"`, 0},
		{"no range", func(v *cmcd.Values) { v.SetText(cmcd.KeyNRR, "bytes=0-"); v.SetBool(cmcd.KeySU, true) }, v1, "su", cmcd.WarnBadValue},
		{"an absolute URL without a base", func(v *cmcd.Values) {
			v.SetList(cmcd.KeyNOR, cmcd.Item{Text: "https://cdn.example.com/x"}, cmcd.Item{Text: "//x/y"}, cmcd.Item{Text: "/z"})
		}, v2, `nor=("/z"),v=2`, cmcd.WarnBadValue},
		{"Base64 without its padding", func(v *cmcd.Values) {
			v.SetText(cmcd.KeyE, "rr")
			v.SetText(cmcd.KeyURL, "x")
			v.SetText(cmcd.KeyCMSDS, "QQ")
			v.SetText(cmcd.KeySMRT, "QQ==")
		}, event, `e=rr,smrt="QQ==",ts=1234,url="x",v=2`, cmcd.WarnBadValue},
		{"custom keys as RFC 8941 has keys", func(v *cmcd.Values) {
			v.Custom = []cmcd.CustomValue{custom("com.my_x-a", "1", false), custom("*a-b", "t", true), custom("_a-b", "t", true)}
		}, v2, `*a-b=t,com.my_x-a="1",v=2`, cmcd.WarnUnknownKey},
		{"what is false", func(v *cmcd.Values) { v.SetBool(cmcd.KeyBS, false) }, v2, "v=2", 0},
		{"what is false in version 1", func(v *cmcd.Values) { v.SetBool(cmcd.KeyBS, false) }, v1, "", 0},
		{"the reference library's cdn", func(v *cmcd.Values) { v.SetText(cmcd.KeyCDN, "x"); v.SetBool(cmcd.KeySU, true) }, v2, "su,v=2", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			v := values(test.fill)
			before := v.String()
			r := client.Prepare(v, test.o)
			if got := r.String(); got != test.want || r.Warnings != test.warnings {
				t.Errorf("%s\nis   %s with %v\nwant %s with %v", before, got, r.Warnings, test.want, test.warnings)
			}
			if after := v.String(); after != before {
				t.Errorf("%s has become %s", before, after)
			}
		})
	}
}

func TestPrepareIsBounded(t *testing.T) {
	v := values(func(v *cmcd.Values) {
		v.SetList(cmcd.KeyBSD, slices.Repeat([]cmcd.Item{{Number: 1}}, 5000)...)
		v.SetList(cmcd.KeyEC, slices.Repeat([]cmcd.Item{{Text: "x"}}, 5000)...)
		for i := range 100 {
			v.Custom = append(v.Custom, custom("com.example-"+strings.Repeat("x", i+1), "y", false))
		}
	})
	r := client.Prepare(v, client.Options{})
	again, err := cmcd.Parse(r.String())
	if err != nil || !again.Equal(&r) || r.Warnings != cmcd.WarnTooMany || len(r.List(cmcd.KeyBSD)) != 500 || r.Has(cmcd.KeyEC) || len(r.Custom) != 64 {
		t.Errorf("%d items, %d custom keys, %v, %v", len(r.List(cmcd.KeyBSD)), len(r.Custom), r.Warnings, err)
	}
}

// A nor of version 1 is encoded once, however often it is prepared.
func TestNextObjectIsEncodedOnce(t *testing.T) {
	for _, test := range []struct {
		record, v1, v2 string
	}{
		{`nor="..%2F300kbps%2Ftrack.m4v"`, `nor="..%2F300kbps%2Ftrack.m4v"`, `nor=("../300kbps/track.m4v"),v=2`},
		{`nor="../300kbps/track%20a.m4v"`, `nor="..%2F300kbps%2Ftrack%2520a.m4v"`, `nor=("../300kbps/track%20a.m4v"),v=2`},
		{`nor=("../a%2Fb" "c"),v=2`, `nor="..%2Fa%252Fb"`, `nor=("../a%2Fb" "c"),v=2`},
		{`nor=("a%2Fb"),v=2`, `nor="a%252Fb"`, `nor=("a%2Fb"),v=2`},
		{`nor="https%3A%2F%2Fcdn.example.com%2Fb.m4s"`, ``, ``},
		{`nor="a%2"`, ``, ``},
	} {
		v, err := cmcd.Parse(test.record)
		if err != nil {
			t.Fatal(err)
		}
		for version, want := range map[int]string{1: test.v1, 2: test.v2} {
			o := client.Options{Version: version}
			r := client.Prepare(&v, o)
			if got := r.String(); got != want && (want != "" || got != "v=2") {
				t.Errorf("%s of version %d is %s, want %s", test.record, version, got, want)
			}
			if twice := client.Prepare(&r, o); !twice.Equal(&r) && r.String() != "v=2" {
				t.Errorf("%s becomes %s the second time", r.String(), twice.String())
			}
		}
	}
}

func TestAddToURL(t *testing.T) {
	for _, test := range []struct{ url, argument, want string }{
		{"https://a/b", "", "https://a/b"},
		{"https://a/b?", "CMCD=su", "https://a/b?CMCD=su"},
		{"/b?x=%20&CMCD=1&y&CMCD=2#f?g", "CMCD=su", "/b?x=%20&CMCD=su&y#f?g"},
		{"/b#f?g", "CMCD=su", "/b?CMCD=su#f?g"},
		{"/b?CMCDX=1", "CMCD=su", "/b?CMCDX=1&CMCD=su"},
	} {
		if got := client.AddToURL(test.url, test.argument); got != test.want {
			t.Errorf("%q with %q is %q, want %q", test.url, test.argument, got, test.want)
		}
	}
}
