package cmcd

import (
	"net/url"
	"strconv"
	"strings"
	"testing"
)

// v1Query is a CMCD argument of 250 bytes as hls.js sends it.
const v1Query = "CMCD=bl%3D21300%2Cbr%3D3200%2Ccid%3D%22faec5fc2-ac30-11ea-bb37-0242ac130002%22%2Cd%3D4004%2Cdl%3D18500%2Cmtp%3D48100%2Cnor%3D%22seg-00042.m4s%22%2Cot%3Dv%2Crtp%3D12000%2Csf%3Dh%2Csid%3D%226e2fb550-c457-11e9-bb97-0800200c9a66%22%2Cst%3Dl%2Ctb%3D6000"

func BenchmarkFromRequestV1(b *testing.B) {
	b.SetBytes(int64(len(v1Query)))
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := FromRequest(v1Query, nil); !ok {
			b.Fatal("no CMCD")
		}
	}
}

// BenchmarkNaiveV1 is what the field does: url.ParseQuery, split at commas, into a map.
func BenchmarkNaiveV1(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		query, err := url.ParseQuery(v1Query)
		if err != nil {
			b.Fatal(err)
		}
		m := map[string]any{}
		for part := range strings.SplitSeq(query.Get("CMCD"), ",") {
			k, v, _ := strings.Cut(part, "=")
			if n, err := strconv.ParseFloat(v, 64); err == nil {
				m[k] = n
			} else {
				m[k] = strings.Trim(v, `"`)
			}
		}
		if len(m) == 0 {
			b.Fatal("no CMCD")
		}
	}
}

const v2Event = `bg,bl=(2100;v 1800;a),br=(3000;v 164;a),bs,bsa=(3;v 1;a),bsd=(1200;v 100;a),bsda=(4150;v 350;a),cid="content-id-123",d=4000,dfa=32,dl=1000,e=t,lb=(500;v 32;a),ltc=13500,msd=1700,mtp=(15000;v 6000;a),ot=v,pb=(2000;v 164;a),pr=1.1,pt=40000,rtp=4500,sf=d,sid="session-id-123",sn=129,st=v,sta=p,su,tb=(6000;v 320;a),ts=1764269150000,v=2`

func BenchmarkParseV2(b *testing.B) {
	b.SetBytes(int64(len(v2Event)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(v2Event); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	v, err := Parse(v2Event)
	if err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		buf = v.Append(buf[:0])
	}
}

func BenchmarkStripQueryWithout(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		StripQuery("token=0123456789abcdef&expires=1764269150&x=y")
	}
}

// The cost of a record must grow with its length, whatever it is made of.
func BenchmarkHostile(b *testing.B) {
	for name, part := range map[string]string{"strings": `a-b="x;,`, "quotes": `"`, "lists": `br=("x,`, "keys": `a-b=",`, "escapes": `cid="\",`} {
		record := strings.Repeat(part, 64<<10/len(part))
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(record)))
			for b.Loop() {
				_, _ = Parse(record)
			}
		})
	}
}
