package cmsd

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/weir-stream/weir/cmcd"
)

// vector is a case of the reference library's tests.
type vector struct {
	ID, Fn   string
	Input    json.RawMessage
	Expected json.RawMessage
	Options  json.RawMessage
}

func TestReferenceVectors(t *testing.T) {
	data, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []vector
	if err := json.Unmarshal(data, &vectors); err != nil {
		t.Fatal(err)
	}
	if len(vectors) != 37 {
		t.Fatalf("%d vectors", len(vectors))
	}
	for _, vec := range vectors {
		t.Run(vec.ID, func(t *testing.T) {
			var input string
			_ = json.Unmarshal(vec.Input, &input) // null and undefined are no header
			switch vec.Fn {
			case "decodeCmsdStatic":
				s, err := ParseStatic(input)
				if want := staticOf(t, vec.Expected); err != nil || s.String() != want.String() {
					t.Errorf("%s: %s, %v", input, s.String(), err)
				}
			case "decodeCmsdDynamic":
				d, err := ParseDynamic(input)
				if want := dynamicOf(t, vec.Expected, nil); err != nil || d.String() != want.String() {
					t.Errorf("%s: %s, %v", input, d, err)
				}
			case "encodeCmsdStatic":
				s := staticOf(t, vec.Input)
				if got := s.String(); got != textOf(vec.Expected) {
					t.Errorf("%s, want %s", got, vec.Expected)
				}
			case "encodeCmsdDynamic":
				if got := dynamicOf(t, vec.Input, vec.Options).String(); got != textOf(vec.Expected) {
					t.Errorf("%s, want %s", got, vec.Expected)
				}
			case "isCmsdCustomKey":
				if got := cmcd.IsCustomKey(input); got != (string(vec.Expected) == "true") {
					t.Errorf("%q: %v", input, got)
				}
			default:
				t.Errorf("no function %s", vec.Fn)
			}
		})
	}
}

func textOf(data json.RawMessage) string {
	var token struct {
		Token string `json:"$token"`
	}
	if json.Unmarshal(data, &token) == nil {
		return token.Token
	}
	var text string
	_ = json.Unmarshal(data, &text) // the caller sees that it is empty
	return text
}

func numberOf(t *testing.T, data json.RawMessage) *int64 {
	t.Helper()
	var n *int64
	if data != nil {
		if err := json.Unmarshal(data, &n); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

func staticOf(t *testing.T, data json.RawMessage) Static {
	t.Helper()
	var m map[string]json.RawMessage
	if err := json.Unmarshal(data, &m); err != nil {
		t.Fatal(err)
	}
	return Static{
		ObjectType: textOf(m["ot"]), Format: textOf(m["sf"]), StreamType: textOf(m["st"]), Name: textOf(m["n"]),
		Duration: numberOf(t, m["d"]), Bitrate: numberOf(t, m["br"]),
	}
}

func dynamicOf(t *testing.T, data, params json.RawMessage) Dynamic {
	t.Helper()
	type item struct {
		Name   string                     `json:"$item"`
		Params map[string]json.RawMessage `json:"params"`
	}
	var items []item
	if data[0] == '[' {
		if err := json.Unmarshal(data, &items); err != nil {
			t.Fatal(err)
		}
	} else if name := textOf(data); name != "" && params != nil && string(params) != "null" {
		items = []item{{Name: name}}
		if err := json.Unmarshal(params, &items[0].Params); err != nil {
			t.Fatal(err)
		}
	}
	var d Dynamic
	for _, i := range items {
		h := Hop{Name: i.Name, Throughput: numberOf(t, i.Params["etp"]), RTT: numberOf(t, i.Params["rtt"]), MaxBitrate: numberOf(t, i.Params["mb"])}
		d = append(d, h)
	}
	return d
}

// What players do without a parser of structured fields must work with what is written here.
func TestWhatIsWrittenHasNoSpaces(t *testing.T) {
	s := Static{
		AvailableAt: new(int64(1764269150889)), Bitrate: new(int64(3000)), Duration: new(int64(4000)), Held: new(int64(0)), Name: "weir",
		Next: "../next part.m4s", NextRange: "0-99", ObjectType: "v", Format: "h", StreamType: "l", Startup: true, Version: new(int64(1)),
		Other: []cmcd.CustomValue{{Key: "stream.weir-a", Value: "b"}, {Key: "stream.weir-b", Bare: true}, {Key: "br", Value: "twice"}, {Key: "Bad", Value: "x"}},
	}
	s.Other = append(s.Other, cmcd.CustomValue{Key: "stream.weir-c", Bare: true, Value: "(1 2)"}, cmcd.CustomValue{Key: "stream.weir-d", Bare: true, Value: "1; e"},
		cmcd.CustomValue{Key: "stream.weir-e", Bare: true, Value: `"a \" b";c`}, cmcd.CustomValue{Key: "stream.weir-f", Value: "a b"})
	const static = `ot=v,sf=h,st=l,d=4000,br=3000,n="weir",nor="..%2Fnext%20part.m4s",nrr="0-99",at=1764269150889,ht=0,su,stream.weir-a="b",stream.weir-b,stream.weir-e="a \" b";c,stream.weir-f="a b"`
	if got := s.String(); got != static {
		t.Errorf("static is %s\nwant      %s", got, static)
	}
	h := Hop{
		Name: `edge "1"`, Duress: true, Throughput: new(int64(96)), RTT: new(int64(0)), MaxBitrate: new(int64(-1)), ResponseDelay: new(int64(1e15)),
		Other: []cmcd.CustomValue{{Key: "a-b", Bare: true, Value: "(1 2)"}, {Key: "a-c", Bare: true, Value: "d"}, {Key: "a-d", Bare: true, Value: ";e"}},
	}
	const hop = `"edge \"1\"";du;etp=96;rtt=0;a-c=d`
	if got := h.String(); got != hop {
		t.Errorf("hop is %s\nwant   %s", got, hop)
	}
	headers := map[string]string{"static": s.String(), "hop": h.String(), "dynamic": Dynamic{h, {Name: "a b"}, h}.String(), "appended": Append([]string{`"o" ; rd=1;a-b=1,  b;a-b="x y"`}, h)}
	read, err := ParseStatic(`ot=v , com.x-a=1; y=2;  z, com.x-b=(1  2), com.x-c=( "a b" ); d`)
	if err != nil {
		t.Error(err)
	}
	headers["read"] = read.String()
	if want := `ot=v,com.x-a=1;y=2;z`; headers["read"] != want {
		t.Errorf("read is %s, want %s", headers["read"], want)
	}
	for how, header := range headers {
		if withoutSpaces(header) != header {
			t.Errorf("%s has spaces: %s", how, header)
		}
	}
}

func TestABadValueCostsItselfOnly(t *testing.T) {
	s, err := ParseStatic(`br=3000, d=-4,ht=1.5,n=weir,nor="a%2Fb%zz"`, ``, `ot="v",sf=(h),su=1,st=l st=v,at=1764269150889, com.x-y=(1 2),com.x-y=a;b=1,future=?0`)
	if got, want := s.String(), `ot=v,br=3000,n="weir",nor="a%252Fb%25zz",at=1764269150889,com.x-y=a;b=1,future=?0`; got != want {
		t.Errorf("static is %s\nwant      %s", got, want)
	}
	for _, want := range []string{
		`cmsd: CMSD-Static: key "d": found d=-4, expected a whole number that is not below 0`,
		`key "ht": found ht=1.5, expected a whole number`, `key "sf": found sf=(h), expected a token`, `key "su": found su=1, expected a boolean`, `key "st"`,
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v\nnot with %s", err, want)
		}
	}
	d, err := ParseDynamic(`"a" ; etp=1; rtt=x;mb=3;mb=4`, `5, (b), token;du=?0;rd=0;com.x-y="z", "broken`)
	if got, want := d.String(), `"token";rd=0;com.x-y="z"`; got != want {
		t.Errorf("dynamic is %s, want %s", got, want)
	}
	if err == nil || strings.Count(err.Error(), "\n") != 3 {
		t.Errorf("error is %v", err)
	}
	d, err = ParseDynamic(`"a"; etp=1; rtt=x;mb=3;mb=4`)
	if got, want := d.String(), `"a";etp=1;mb=4`; got != want || err == nil {
		t.Errorf("dynamic is %s, %v, want %s", got, err, want)
	}
	many := strings.Builder{}
	for i := range 100 {
		many.WriteString("a-b" + strings.Repeat("c", i) + ",")
	}
	if s, err := ParseStatic(many.String() + "su"); len(s.Other) != maxOther || !s.Startup || err == nil {
		t.Errorf("%d other keys, %v", len(s.Other), err)
	}
}

func TestAppend(t *testing.T) {
	own := Hop{Name: "edge", RTT: new(int64(8))}
	for _, test := range []struct {
		headers []string
		want    string
	}{
		{nil, `"edge";rtt=8`},
		{[]string{""}, `"edge";rtt=8`},
		{[]string{`"origin"; rd=12`, `"mid";etp=5000;com.x-y=1`}, `"origin";rd=12,"mid";etp=5000;com.x-y=1,"edge";rtt=8`},
		{[]string{`"origin";rd=,mid`}, `"mid","edge";rtt=8`},
		{[]string{`"origin";rd=,"mid"`}, `"mid","edge";rtt=8`},
	} {
		if got := Append(test.headers, own); got != test.want {
			t.Errorf("%q becomes %s, want %s", test.headers, got, test.want)
		}
	}
}
