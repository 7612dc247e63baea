package cmcd

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"strings"
	"testing"
)

func TestTolerances(t *testing.T) {
	for _, tc := range []struct {
		name, in string
		want     string // the record as it is written
		warnings Warning
	}{
		{"nothing to tolerate", `br=(3000;v 164;a),ot=v,sid="s",v=2`, `br=(3000;v 164;a),ot=v,sid="s",v=2`, 0},
		{"spaces of a structured field", `sid="s" , sf=d,	su`, `sf=d,sid="s",su`, 0},
		{"spaces behind a key alone", `sid="s",su ,x-y="a"	, bs`, `bs,sid="s",su,x-y="a"`, 0},
		{"spaces around equals signs", `sid= "s",br =1,ot = v`, `br=1,ot=v,sid="s"`, WarnSpace},
		{"any order", `sid="s",br=1`, `br=1,sid="s"`, 0},
		{"trailing comma", `br=3000,`, `br=3000`, WarnComma},
		{"leading and double comma", `,br=3000,,su`, `br=3000,su`, WarnComma},
		{"quoted token", `ot="v",sf="h"`, `ot=v,sf=h`, WarnQuoted},
		{"quoted number", `br="3000",d="4000"`, `br=3000,d=4000`, WarnQuoted},
		{"unquoted string", `sid=6e2fb550-c457-11e9,cid=a b`, `cid="a b",sid="6e2fb550-c457-11e9"`, WarnUnquoted},
		{"scalar for list", `bl=2000,br=900,v=2`, `bl=(2000),br=(900),v=2`, WarnScalar},
		{"list of one for scalar of version 1", `br=(900)`, `br=900`, WarnList},
		{"list for scalar", `d=(4000;v),ot=(v),sid=("s" "t")`, `d=4000,ot=v,sid="s"`, WarnList},
		{"bare error code", `ec=27,v=2`, `ec=("27"),v=2`, WarnScalar | WarnUnquoted},
		{"unescaped quotes", `cid="movie "A"\1",ot=v`, `cid="movie \"A\"\\1",ot=v`, WarnQuote},
		{"unescaped quote and comma", `cid="he said "hi", and left",ot=v`, `cid="he said \"hi\", and left",ot=v`, WarnQuote},
		{"unescaped quotes and an equals sign", `cid="a,b="c",br=9",ot="v",sid="s"`, `cid="a,b=\"c\",br=9",ot=v,sid="s"`, WarnQuote | WarnQuoted},
		{"unescaped quote and semicolon", `cid="Say "Hi"; then",ot=v,sid="s"`, `cid="Say \"Hi\"; then",ot=v,sid="s"`, WarnQuote},
		{"unescaped quote, semicolon and words", `cid="Say "Hi"; then we left",ot=v,sid="s"`, `cid="Say \"Hi\"; then we left",ot=v,sid="s"`, WarnQuote},
		{"list of which nothing is left", `br=(3000),br=(x),bl=(x),v=2`, `br=(3000),v=2`, WarnBadValue},
		{"commas between strings of a list", `ec=("E1", "E2"),nor=("a.m4s","b.m4s"),v=2`, `ec=("E1" "E2"),nor=("a.m4s" "b.m4s"),v=2`, WarnComma},
		{"range where there is none", `br=(1;r="0-1"),ec=("a";r="1-2"),nor=("a";v),v=2`, `br=(1),ec=("a"),nor=("a"),v=2`, WarnParameter},
		{"escaped quotes", `cid="movie \"A\"\\1",ot=v`, `cid="movie \"A\"\\1",ot=v`, 0},
		{"comma in a string", `cid="a,b=c",ot=v`, `cid="a,b=c",ot=v`, 0},
		{"unknown token", `ot=xx,sta=w,br=(1;zz),v=2`, `br=(1;zz),ot=xx,sta=w,v=2`, WarnUnknownToken},
		{"duplicate", `br=1,br=2,ot=v,ot=?0`, `br=2,ot=v`, WarnDuplicate | WarnBadValue},
		{"boolean as a word", `bs=true,su=false,nr=1`, `bs,nr,su=?0`, WarnBoolean},
		{"boolean of structured fields", `bs=?1,su=?0`, `bs,su=?0`, 0},
		{"decimals", `br=467.63,pr=1.08`, `br=467.63,pr=1.08`, WarnDecimal},
		{"too many digits after the point", `pr=1.33333333`, `pr=1.333`, WarnDecimal},
		{"negative latency", `ltc=-200,sid="s"`, `ltc=-200,sid="s"`, 0},
		{"bad values cost no other", `bl=-5,br=abc,d=,dl=1e3,mtp=1234567890123456,rtp=NaN,ot=1,sid="s",su=x,tb`, `sid="s"`, WarnBadValue},
		{"unknown key", `foo=1,bar="a,b",br=3000,x`, `br=3000`, WarnUnknownKey},
		{"custom keys", `com.example-a="x",com.example-b=tok,com.example-c,com.example-d=1;p=2`, `com.example-a="x",com.example-b=tok,com.example-c,com.example-d=1;p=2`, 0},
		{"unquoted custom string", `com.example-a=hello world,su`, `com.example-a="hello world",su`, WarnUnquoted},
		{"string without end", `sid="abc,ot=v,su`, `ot=v,su`, WarnBadValue},
		{"record cut off in a string", `ot=v,sid="abc`, `ot=v`, WarnBadValue},
		{"record cut off in a list", `ot=v,br=(3000;v 16`, `ot=v`, WarnBadValue},
		{"list without end", `br=(3000,ot=v`, `ot=v`, WarnBadValue},
		{"commas in a list", `br=(3000, 164),v=2`, `br=(3000 164),v=2`, WarnComma},
		{"bad item", `br=(x 3000;v (),v=2`, `br=(3000;v),v=2`, WarnBadValue},
		{"empty list", `br=(),v=2`, `br=(),v=2`, 0},
		{"rubbish after a list", `br=(1)x,ot=v,v=2`, `br=(1),ot=v,v=2`, WarnBadValue},
		{"parameters", `d=4000;x=1,br=(3000;v=?1;x=2 1;v=?0),sid="s";y,v=2`, `br=(3000;v 1),d=4000,sid="s",v=2`, WarnParameter},
		{"object type as a named parameter", `br=(3000;ot=v),v=2`, `br=(3000;v),v=2`, WarnParameter},
		{"range", `nor=("a";r="0-99" "b"),v=2`, `nor=("a";r="0-99" "b"),v=2`, 0},
		{"next object of version 1", `nor="..%2Ffoo.m4v",nrr="12-34"`, `nor="..%2Ffoo.m4v",nrr="12-34"`, 0},
		{"control characters", "sid=\"a\x01b\",cid=\"\xff\"", `cid="�",sid="a b"`, WarnCharacter},
		{"characters outside ASCII", `cid="é"`, `cid="é"`, WarnCharacter},
		{"line feed at the end", "su\r\n", `su`, 0},
		{"long session ID", `sid="` + strings.Repeat("x", 65) + `"`, `sid="` + strings.Repeat("x", 65) + `"`, WarnTooLong},
		{"version in quotes", `sid="s",v="2"`, `sid="s",v=2`, WarnQuoted},
		{"no version", `sid="s",v=0`, `sid="s"`, WarnBadValue},
	} {
		t.Run(tc.name, func(t *testing.T) {
			v, err := Parse(tc.in)
			if err != nil {
				t.Fatal(err)
			}
			if got := v.String(); got != tc.want {
				t.Errorf("record is %s\nwant      %s", got, tc.want)
			}
			if v.Warnings != tc.warnings {
				t.Errorf("warnings are %v, want %v", v.Warnings, tc.warnings)
			}
		})
	}
}

func TestRecordsOfNoUse(t *testing.T) {
	for in, want := range map[string]error{
		"": ErrNoKeys, "  ": ErrNoKeys, ",,": ErrNoKeys, "hello": ErrNoKeys, `br=x`: ErrNoKeys,
		`sid="s",v=3`: ErrVersion, `v=99999`: ErrVersion,
	} {
		if v, err := Parse(in); !errors.Is(err, want) || !v.Equal(&Values{}) {
			t.Errorf("%q: error %v and %v, want %v and nothing", in, err, v, want)
		}
	}
}

func TestFromRequest(t *testing.T) {
	for _, tc := range []struct {
		name, query string
		headers     map[string]string
		want        string // "" if the request has no CMCD
		warnings    Warning
	}{
		{name: "none", query: "a=1&b=2"},
		{name: "form encoding", query: "a=1&CMCD=cid%3D%22a+b%20c%22%2Csu&b=2", want: `cid="a b c",su`},
		{name: "not encoded at all", query: `CMCD=br=3000,ot=v`, want: `br=3000,ot=v`},
		{name: "a percent sign alone", query: `CMCD=cid%3D%22100%%22`, want: `cid="100%"`, warnings: WarnPercent},
		{name: "the last good argument", query: "CMCD=br%3D1&CMCD=br%3D2&CMCD=br%3Dx&CMCD=", want: `br=2`, warnings: WarnRepeated},
		{name: "lower case is another argument", query: "cmcd=br%3D1&XCMCD=br%3D1&CMCDX=br%3D1"},
		{name: "unknown version", query: "CMCD=sid%3D%22s%22%2Cv%3D3"},
		{
			name: "headers", headers: map[string]string{"cmcd-request": "bl=2000", "CMCD-Object": "br=3000,ot=v", "CMCD-Session": `sid="s"`, "CMCD-Status": "bs"},
			want: `bl=2000,br=3000,bs,ot=v,sid="s"`,
		},
		{
			name: "headers win", query: "CMCD=br%3D1", headers: map[string]string{"CMCD-Object": "ot=v"},
			want: `ot=v`, warnings: WarnQueryIgnored,
		},
		{name: "headers win though they are of no use", query: "CMCD=br%3D1", headers: map[string]string{"CMCD-Object": "br=x"}},
		{name: "an empty header is none", query: "CMCD=br%3D1", headers: map[string]string{"CMCD-Object": ""}, want: `br=1`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := http.Header{}
			for name, value := range tc.headers {
				h.Set(name, value)
			}
			v, ok := FromRequest(tc.query, h)
			if got := v.String(); ok != (tc.want != "") || got != tc.want || v.Warnings != tc.warnings {
				t.Errorf("%v, %s with warnings %v\nwant %s with %v", ok, got, v.Warnings, tc.want, tc.warnings)
			}
		})
	}
}

func TestStripQuery(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "a=1": "a=1", "CMCD=x": "", "CMCD": "", "CMCD=": "",
		"a=1&CMCD=x": "a=1", "CMCD=x&a=1": "a=1", "a=1&CMCD=x&b=%20+;": "a=1&b=%20+;",
		"CMCD=x&CMCD=y": "", "CMCD=x&a=1&CMCD=y": "a=1", "a=CMCD&b=CMCD=1": "a=CMCD&b=CMCD=1",
		"cmcd=x": "cmcd=x", "CMCDX=1&XCMCD=2": "CMCDX=1&XCMCD=2", "&CMCD=x&": "&", "&&CMCD=x": "&", "CMCD&a": "a", "CMCD=CMCD&CMCDCMCD": "CMCDCMCD",
	} {
		if got := StripQuery(in); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
	for _, query := range []string{"token=abc&x=CMC", "token=abc&CMCD=br%3D3200", "CMCD=br%3D3200&token=abc", "CMCD=br%3D3200"} {
		if n := testing.AllocsPerRun(100, func() { StripQuery(query) }); n != 0 {
			t.Errorf("%v allocations for the query %q, want none", n, query)
		}
	}
}

func TestParseJSON(t *testing.T) {
	var got []string
	for v, err := range ParseJSON([]byte(`[{"br":3200,"bs":true,"cid":"a\"b","com.example-x":"y","com.example-y":5,"d":4004,"nor":"n","ot":"v","foo":1},
		{"bl":[100,200],"v":2},{"br":"x"},{"v":7}]`)) {
		if err != nil {
			got = append(got, err.Error())
			continue
		}
		got = append(got, v.String())
	}
	want := []string{
		`br=3200,bs,cid="a\"b",com.example-x="y",com.example-y=5,d=4004,nor="n",ot=v`, `bl=(100 200),v=2`,
		ErrNoKeys.Error(), ErrVersion.Error(),
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("records are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, in := range []string{"", "{", "[1]", "null x", `{"br":1} {}`} {
		for v, err := range ParseJSON([]byte(in)) {
			if err == nil {
				t.Errorf("%q gives %v and no error", in, v.String())
			}
		}
	}
}

func TestNumberPicksTheObjectType(t *testing.T) {
	const lists = `bl=(2100;v 1800;a),br=(3000;v 164),mtp=(500),tb=(6000;v),v=2`
	for ot, want := range map[string]map[Key]float64{
		"a":  {KeyBL: 1800, KeyBR: 164, KeyMTP: 500}, // tb is of video, and no audio has it
		"v":  {KeyBL: 2100, KeyBR: 3000, KeyMTP: 500, KeyTB: 6000},
		"av": {KeyBL: 2100, KeyBR: 164, KeyMTP: 500, KeyTB: 6000},
		"":   {KeyBL: 2100, KeyBR: 164, KeyMTP: 500, KeyTB: 6000},
	} {
		v, err := Parse(lists)
		if err != nil {
			t.Fatal(err)
		}
		if ot != "" {
			v.SetText(KeyOT, ot)
		}
		for _, k := range []Key{KeyBL, KeyBR, KeyMTP, KeyTB} {
			n, ok := v.Number(k)
			if w, has := want[k]; ok != has || n != w {
				t.Errorf("%v of %q is %v, %v, want %v, %v", k, ot, n, ok, w, has)
			}
			if m, also := v.NumberFor(k, ot); m != n || also != ok {
				t.Errorf("%v for %q is %v, %v, want %v, %v", k, ot, m, also, n, ok)
			}
		}
	}
}

func TestWhatCannotBeWrittenIsLeftOut(t *testing.T) {
	var v Values
	v.SetNumber(KeyD, math.NaN())
	v.SetNumber(KeyDL, math.Inf(1))
	v.SetNumber(KeyRTP, 1e15)
	v.SetNumber(KeyPR, -0.0001)
	v.SetText(KeyOT, "a b")
	v.SetText(KeySID, "line\nfeed")
	v.SetList(KeyBR, Item{Number: math.NaN()}, Item{Number: 1, Type: "v"}, Item{Number: 2, Type: "?"})
	v.Custom = []CustomValue{{Key: "nohyphen", Value: "x"}, {Key: "a-b", Value: "1,br=5", Bare: true}, {Key: "a-c", Value: "1,br=5"}}
	if got, want := v.String(), `a-c="1,br=5",br=(1;v 2),pr=0,sid="line feed"`; got != want {
		t.Errorf("record is %s\nwant      %s", got, want)
	}
}

func TestCopiesDoNotSeeEachOther(t *testing.T) {
	a, err := Parse(`br=(1;v 2;a),v=2`)
	if err != nil {
		t.Fatal(err)
	}
	b, c := a, a
	b.SetList(KeyBL, Item{Number: 3, Type: "v"}, Item{Number: 4, Type: "a"})
	c.SetList(KeyBL, Item{Number: 5, Type: "v"}, Item{Number: 6, Type: "a"})
	if got, want := a.String()+" "+b.String()+" "+c.String(), `br=(1;v 2;a),v=2 bl=(3;v 4;a),br=(1;v 2;a),v=2 bl=(5;v 6;a),br=(1;v 2;a),v=2`; got != want {
		t.Errorf("records are %s\nwant %s", got, want)
	}
}

func TestMap(t *testing.T) {
	v, err := Parse(`br=(3000;v),bs,cid="a\"b",com.example-x="y",com.example-z,ot=v,su=?0,v=2`)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"br": "(3000;v)", "bs": "true", "cid": `"a\"b"`, "com.example-x": `"y"`, "com.example-z": "true", "ot": "v", "su": "false", "v": "2",
	}
	if got := v.Map(); !reflect.DeepEqual(got, want) {
		t.Errorf("map is %v, want %v", got, want)
	}
}

func TestKeys(t *testing.T) {
	for k := Key(0); k < keyCount; k++ {
		if got, ok := LookupKey(k.String()); !ok || got != k {
			t.Errorf("%v is looked up as %v, %v", k, got, ok)
		}
		if k > 0 && (k-1).String() >= k.String() {
			t.Errorf("%v and %v are out of order", k-1, k)
		}
	}
	slots := map[[2]int8]Key{}
	for k := Key(0); k < keyCount; k++ {
		class, limit := int8(k.Type()), map[Type]int8{NumberType: numberCount, TextType: textCount, NumberListType: listCount}
		switch k.Type() {
		case BoolType:
			continue
		case TokenType:
			class = int8(TextType)
		case TextListType:
			class = int8(NumberListType)
		default:
		}
		if other, taken := slots[[2]int8{class, k.slot()}]; taken || k.slot() >= limit[Type(class)] {
			t.Errorf("slot %d of %v is taken by %v, or out of bounds", k.slot(), k, other)
		}
		slots[[2]int8{class, k.slot()}] = k
	}
}

// corpusLine is what a player sent, as it was captured on the wire.
type corpusLine struct {
	Player, Kind, Query, Body string
	Headers                   map[string]string
}

func corpus(t testing.TB) []corpusLine {
	t.Helper()
	f, err := os.Open("testdata/player_corpus.jsonl.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var all []corpusLine
	lines := bufio.NewScanner(z)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var l corpusLine
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			t.Fatal(err)
		}
		all = append(all, l)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// Of what real players sent no session ID may be lost, and no value but those that make no sense.
func TestPlayerCorpus(t *testing.T) {
	records := 0
	check := func(player string, sent string, v *Values) {
		records++
		if strings.Contains(sent, "sid=") != v.Has(KeySID) {
			t.Errorf("%s: session ID is lost from %s", player, sent)
		}
		if v.Warnings&(WarnBadValue|WarnUnknownKey) != 0 {
			t.Errorf("%s: warnings %v for %s", player, v.Warnings, sent)
		}
		again, err := Parse(v.String())
		if err != nil || !again.Equal(v) {
			t.Errorf("%s: %s becomes %s: %v", player, v.String(), again.String(), err)
		}
	}
	for _, l := range corpus(t) {
		switch {
		case l.Body != "":
			lines := strings.Split(strings.TrimSpace(l.Body), "\n")
			n := 0
			for v, err := range ParseBody([]byte(l.Body)) {
				if err != nil {
					t.Errorf("%s: %v: %s", l.Player, err, lines[n])
				}
				check(l.Player, lines[n], &v)
				n++
			}
			if n != len(lines) {
				t.Errorf("%s: %d records of %d lines", l.Player, n, len(lines))
			}
		case l.Query != "" || len(l.Headers) > 0:
			h := http.Header{}
			sent := ""
			for name, value := range l.Headers {
				h.Set(name, value)
				sent += value + ","
			}
			v, ok := FromRequest(l.Query, h)
			if sent == "" {
				query, err := url.ParseQuery(l.Query)
				if err != nil {
					t.Fatal(err)
				}
				if sent = query.Get("CMCD"); sent == "" {
					continue
				}
			}
			if !ok {
				t.Errorf("%s: no CMCD in %s", l.Player, sent)
			}
			check(l.Player, sent, &v)
		}
	}
	if records < 1200 {
		t.Errorf("the corpus has only %d records", records)
	}
}
