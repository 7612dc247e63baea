package client_test

import (
	"encoding/binary"
	"math"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/weir-stream/weir/cmcd"
	"github.com/weir-stream/weir/cmcd/client"
	"github.com/weir-stream/weir/cmcd/internal/rules"
	"github.com/weir-stream/weir/cmcd/validate"
)

// allOptions are the ways to send that the law is tried with.
func allOptions() []client.Options {
	now := func() time.Time { return time.UnixMilli(1764269150889) }
	return []client.Options{
		{Version: 1},
		{Version: 1, BaseURL: "https://cdn.example.com/a/b/c.m3u8?x"},
		{BaseURL: "http://CDN.example.com:80/a//b/"},
		{Keys: []cmcd.Key{cmcd.KeyBL, cmcd.KeyAB, cmcd.KeyNOR, cmcd.KeySID}, CustomKeys: []string{"com.example-a"}},
		{Mode: cmcd.EventMode, Now: now, BaseURL: "https://cdn.example.com"},
		{Mode: cmcd.EventMode, Now: now, Keys: []cmcd.Key{}},
	}
}

// law: whatever a player says, what Prepare makes of it has no errors on the wire, is read as what it
// is, and needs no tolerance for it. Only what the player does not say can be missing.
func law(t *testing.T, v *cmcd.Values) {
	t.Helper()
	for _, o := range allOptions() {
		r := client.Prepare(v, o)
		wire := r.String()
		if wire == "" {
			if r.Len() > 0 || len(r.Custom) > 0 {
				t.Errorf("%q: %d keys, none of which is written", v.String(), r.Len())
			}
			continue
		}
		again, err := cmcd.Parse(wire)
		if err != nil || !again.Equal(&r) || again.Warnings != 0 {
			t.Errorf("%q is sent as %q, which is read as %q with %v: %v", v.String(), wire, again.String(), again.Warnings, err)
		}
		missing := o.Mode == cmcd.EventMode && incomplete(&r)
		noErrors(t, wire, validate.Record(wire, validate.Options{Version: r.Version(), Mode: o.Mode}), missing)
		if wire != "v=2" { // which is what is left of values that are all unusable
			if twice := client.Prepare(&r, o); !twice.Equal(&r) || twice.Warnings != 0 {
				t.Errorf("%q becomes %q the second time, with %v", wire, twice.String(), twice.Warnings)
			}
		}
		if o.Mode == cmcd.EventMode {
			body := client.Body(wire, wire)
			noErrors(t, string(body), validate.Body(client.ContentType, body), missing)
			continue
		}
		noErrors(t, r.Query(), validate.Query(r.Query()), false)
		if again, ok := cmcd.FromRequest(r.Query(), nil); !ok || !again.Equal(&r) || again.Warnings != 0 {
			t.Errorf("%q is read as %q with %v", r.Query(), again.String(), again.Warnings)
		}
		noErrors(t, wire, validate.Headers(r.Headers(nil)), false)
		if again, ok := cmcd.FromRequest("", r.Headers(nil)); !ok || !again.Equal(&r) || again.Warnings != 0 {
			t.Errorf("%v is read as %q with %v", r.Headers(nil), again.String(), again.Warnings)
		}
	}
}

// incomplete reports whether r lacks its event, or what that must have.
func incomplete(r *cmcd.Values) bool {
	event := r.Text(cmcd.KeyE)
	k, _, ok := rules.Partner(event)
	return event == "" || ok && !r.Has(k)
}

func noErrors(t *testing.T, wire string, issues []validate.Issue, missing bool) {
	t.Helper()
	for _, issue := range issues {
		if issue.Severity == validate.Error && (!missing || issue.Rule != "missing") {
			t.Errorf("%q: %v", wire, issue)
		}
	}
}

func FuzzPrepareParsed(f *testing.F) {
	for _, s := range []string{
		`bl=21300,br=3200,bs,cid="faec5fc2",d=4004,dl=18500,mtp=48100,nor="..%2F300kbps%2Ftrack.m4v",nrr="0-99",ot=v,pr=1.08,rtp=12000,sf=d,sid="6e2fb550",st=v,su,tb=6000`,
		`ab=(1),bg=?0,bl=(2149;v 1800.5;a),br=(467.63),ec=("2001" "é"),nor=("a";r="0-99" "https://cdn.example.com/a/x:y";r="-5" "//h/x" "/abs"),ltc=-50,e=b,ts=5,v=2`,
		`e=rr,rc=42,cmsdd="not base64",url="https://example.com/ü?\"",ttfb=-1,cen="x",sta=zz,d=4,ot=m,tpb=(5;v),v=2,com.example-a=(b;p=1 "c,d"),com.example-b="\"x\\",a-b,A-b=c,x-y=?0`,
		`e=ce,cen="aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",cdn="x",st=ll,sf=e,nrr="5-3",v=2`,
		`nor="..%2Fa%2520b%3Fc",nrr="5-",sid="x"`, `br=(3000;v 164),nor=("//h/x" "y"),nrr="0-9",ot=a`,
		`nor=("a b" "%zz" "a:b" "#f" "?q" "" ".." "a/../b"),sid="x",v=2`, `e=e,bsd=(1;v 2;v),pt=-5,pr=-0.0004,v=2`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, record string) {
		if v, err := cmcd.Parse(record); err == nil {
			law(t, &v)
		}
	})
}

// What no decoder lets through can still be set.
func FuzzPrepareSet(f *testing.F) {
	f.Add([]byte("\x02\x02\x7f\xf8\x00\x00\x00\x00\x00\x01v\x0a\x05hello\x25\x03\x00\"\xff"), "a-b", "c d", "1-")
	f.Add([]byte("\x19\x01\x09http://cdn.example.com/a"), "com.example-a", `"x"`, "0-99")
	f.Fuzz(func(t *testing.T, data []byte, key, value, span string) {
		v := set(data, span)
		v.Custom = append(v.Custom, cmcd.CustomValue{Key: key, Value: value}, cmcd.CustomValue{Key: key, Value: value, Bare: true},
			cmcd.CustomValue{Key: "com.example-a", Value: value, Bare: true}, cmcd.CustomValue{Key: "com.example-b", Value: value})
		law(t, &v)
	})
}

// set sets keys to values as data says.
func set(data []byte, span string) cmcd.Values {
	var v cmcd.Values
	next := func(n int) []byte {
		n = min(n, len(data))
		b := data[:n]
		data = data[n:]
		return b
	}
	one := func() int {
		if b := next(1); len(b) == 1 {
			return int(b[0])
		}
		return 0
	}
	number := func() float64 {
		var b [8]byte
		copy(b[:], next(8))
		return math.Float64frombits(binary.BigEndian.Uint64(b[:]))
	}
	var keys []cmcd.Key
	for k := range cmcd.AllKeys() {
		keys = append(keys, k)
	}
	for len(data) > 0 {
		k := keys[one()%len(keys)]
		switch k.Type() {
		case cmcd.BoolType:
			v.SetBool(k, one()%2 == 0)
		case cmcd.NumberType:
			v.SetNumber(k, number())
		case cmcd.TextType:
			v.SetText(k, string(next(one())))
		case cmcd.TokenType:
			if i := one(); i < len(k.Tokens()) {
				v.SetText(k, k.Tokens()[i])
			} else {
				v.SetText(k, string(next(i)))
			}
		default:
			items := make([]cmcd.Item, one()%8)
			for i := range items {
				if k.Type() == cmcd.TextListType {
					items[i] = cmcd.Item{Text: string(next(one()))}
					if one()%2 == 0 {
						items[i].Range = span
					}
				} else {
					items[i] = cmcd.Item{Number: number(), Type: string(next(one() % 3))}
				}
			}
			v.SetList(k, items...)
		}
	}
	return v
}

// A path that was made relative leads back to where it came from.
func FuzzRelative(f *testing.F) {
	f.Add("http://test.com/base/manifest/manifest.mpd", "http://test.com/base/segments/video/1.mp4")
	f.Add("https://a/b/c?d", "https://A:443/b/?x=http://y#z")
	f.Add("https://a", "https://a//b:c/..//d%2fe")
	f.Add("https://a//x/", "/a:b")
	f.Fuzz(func(t *testing.T, base, target string) {
		if strings.ContainsFunc(target, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune("\"<>\\^`{|}", r) }) {
			return // what cannot stand in a URI is escaped
		}
		var v cmcd.Values
		v.SetList(cmcd.KeyNOR, cmcd.Item{Text: target})
		r := client.Prepare(&v, client.Options{BaseURL: base})
		from, err := url.Parse(base)
		if err != nil || !from.IsAbs() || from.Host == "" || !r.Has(cmcd.KeyNOR) {
			return
		}
		path := r.List(cmcd.KeyNOR)[0].Text
		there, err1 := from.Parse(path)
		want, err2 := from.Parse(target)
		if err2 != nil || strings.Contains(want.Path+from.Path, "//") {
			return // its fragment, which is cut off, is none; and net/url does not resolve empty segments as RFC 3986 §5.2.4 does
		}
		if err1 != nil || there.Path != want.Path && there.Path != "/"+want.Path || there.RawQuery != want.RawQuery {
			t.Errorf("%q is %q seen from %q, which leads to %q and not to %q", target, path, base, there, want)
		}
	})
}
