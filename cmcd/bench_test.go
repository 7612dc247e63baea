package cmcd

import (
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/dunglas/httpsfv"
)

// What players sent, and the 250 bytes that the budget is set for: at most 0.6 µs for those, at most 1 µs
// for any record of up to 600 bytes, and no allocation.
var wire = []struct{ name, query, record string }{
	{name: "v1-query-250B", query: v1Query},
	{name: "v2-query-hls.js", query: `CMCD=bl%3D%286000%29%2Cbr%3D%28468%29%2Ccid%3D%22movie+%5C%22A%5C%22%5C%5C1%22%2Cd%3D2000%2Cdl%3D4000%2Cmtp%3D%281100%29%2Cnor%3D%28%22chunk-stream1-00014.m4s%22%29%2Cot%3Dv%2Cpb%3D%28217.63%29%2Cpr%3D1.5%2Crtp%3D2300%2Csf%3Dh%2Csid%3D%2263d563e7-8fa1-4c07-96f3-6b5bbfcdc163%22%2Csn%3D33%2Cst%3Dv%2Csta%3Dp%2Ctpb%3D%28966.106%29%2Cv%3D2`},
	{name: "v2-query-dash.js", query: `CMCD=ab%3D%28900%3Bv+64%3Ba%29%2Cbl%3D%281900%3Bv%29%2Cbr%3D%28900%3Bv%29%2Cbsd%3D%283855%3Bv%29%2Ccid%3D%22movie+%5C%22A%5C%22%5C%5C1%22%2Cd%3D2000%2Cdl%3D1900%2Clab%3D%28150%3Bv+64%3Ba%29%2Cmtp%3D%28238500%3Bv%29%2Cnor%3D%28%22chunk-stream2-00009.m4s%22%29%2Cot%3Dv%2Cpb%3D%28900%3Bv%29%2Crtp%3D4800%2Csf%3Dd%2Csid%3D%2214c32734-82be-4a47-990c-bd60763cd4a6%22%2Csn%3D19%2Cst%3Dv%2Csta%3Dp%2Ctab%3D%28900%3Bv+64%3Ba%29%2Ctb%3D%28900%3Bv%29%2Ctpb%3D%28900%3Bv%29%2Cv%3D2`},
	{name: "v2-event-hls.js", record: `bl=(3900),br=(966),cid="movie \"A\"\\1",e=t,mtp=(113000),sf=h,sid="63d563e7-8fa1-4c07-96f3-6b5bbfcdc163",sn=23,st=v,sta=p,ts=1795159996036,v=2`},
	{name: "v2-event-dash.js", record: `ab=(900;v 64;a),bl=(1900;v 2000;a),br=(900;v 64;a),bsd=(3855;v),cid="movie \"A\"\\1",cmsdd="ImVkZ2UtMSI7ZXRwPTk2MDA7cnR0PTg7bWI9NTAwMA==",cmsds="b3Q9dixzZj1oLHN0PXYsZD0yMDAwLGJyPTQwMCxuPSJPcmlnaW5BIg==",d=2000,dl=1900,e=rr,lab=(150;v 64;a),mtp=(238500;v 46500;a),nor=("chunk-stream2-00009.m4s"),ot=v,pb=(900;v 64;a),rc=200,rtp=4800,sf=d,sid="14c32734-82be-4a47-990c-bd60763cd4a6",sn=27,st=v,sta=p,tab=(900;v 64;a),tb=(900;v 64;a),tpb=(900;v 64;a),ts=1795160121453,ttfb=1795160105211,ttlb=5,url="http://example.com/media/chunk-stream2-00008.m4s",v=2`},
	{name: "v2-event-everything", record: v2Event},
}

const v1Query = "CMCD=bl%3D21300%2Cbr%3D3200%2Ccid%3D%22faec5fc2-ac30-11ea-bb37-0242ac130002%22%2Cd%3D4004%2Cdl%3D18500%2Cmtp%3D48100%2Cnor%3D%22seg-00042.m4s%22%2Cot%3Dv%2Crtp%3D12000%2Csf%3Dh%2Csid%3D%226e2fb550-c457-11e9-bb97-0800200c9a66%22%2Cst%3Dl%2Ctb%3D6000"

const v2Event = `bg,bl=(2100;v 1800;a),br=(3000;v 164;a),bs,bsa=(3;v 1;a),bsd=(1200;v 100;a),bsda=(4150;v 350;a),cid="content-id-123",d=4000,dfa=32,dl=1000,e=t,lb=(500;v 32;a),ltc=13500,msd=1700,mtp=(15000;v 6000;a),ot=v,pb=(2000;v 164;a),pr=1.1,pt=40000,rtp=4500,sf=d,sid="session-id-123",sn=129,st=v,sta=p,su,tb=(6000;v 320;a),ts=1764269150000,v=2`

// BenchmarkDecode measures the decoder beside what the field does (url.ParseQuery, a split at commas, a
// map) and beside a parser of structured fields (RFC 8941), which has yet to find out what the values mean.
func BenchmarkDecode(b *testing.B) {
	for _, w := range wire {
		b.Run(w.name+"/cmcd", func(b *testing.B) {
			var d Decoder
			b.SetBytes(int64(len(w.query) + len(w.record)))
			b.ReportAllocs()
			for b.Loop() {
				if w.query != "" {
					if v, ok := d.FromRequest(w.query, nil); !ok || v.Text(KeySID) == "" {
						b.Fatal("no CMCD")
					}
				} else if _, err := d.Parse(w.record); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(w.name+"/cmcd-owned", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if w.query != "" {
					if _, ok := FromRequest(w.query, nil); !ok {
						b.Fatal("no CMCD")
					}
				} else if _, err := Parse(w.record); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(w.name+"/naive", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if len(naive(argument(b, w.query, w.record))) < 8 {
					b.Fatal("no CMCD")
				}
			}
		})
		b.Run(w.name+"/httpsfv", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := httpsfv.UnmarshalDictionary([]string{argument(b, w.query, w.record)}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func argument(b *testing.B, query, record string) string {
	if query == "" {
		return record
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		b.Fatal(err)
	}
	return values.Get("CMCD")
}

// naive splits a record at the commas outside of quotes and parentheses.
func naive(record string) map[string]any {
	m := map[string]any{}
	depth, quoted, start := 0, false, 0
	for i := 0; i <= len(record); i++ {
		switch {
		case i == len(record) || record[i] == ',' && !quoted && depth == 0:
			k, v, _ := strings.Cut(record[start:i], "=")
			start = i + 1
			if n, err := strconv.ParseFloat(v, 64); err == nil {
				m[k] = n
			} else if strings.HasPrefix(v, "(") {
				m[k] = strings.Split(strings.Trim(v, "()"), " ")
			} else {
				m[k] = strings.Trim(v, `"`)
			}
		case record[i] == '\\':
			i++
		case record[i] == '"':
			quoted = !quoted
		case record[i] == '(' && !quoted:
			depth++
		case record[i] == ')' && !quoted:
			depth--
		}
	}
	return m
}

// No record may cost more than its length is worth, in time or in memory.
func TestDecoderAllocatesNothing(t *testing.T) {
	for _, w := range wire {
		var d Decoder
		decode := func() {
			if w.query != "" {
				d.FromRequest(w.query, nil)
			} else {
				_, _ = d.Parse(w.record)
			}
		}
		decode() // the first record makes the memory
		if n := testing.AllocsPerRun(100, decode); n != 0 {
			t.Errorf("%s: %v allocations", w.name, n)
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
