package validate

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/weir-stream/weir/cmcd"
)

func brief(issues []Issue) string {
	list := make([]string, len(issues))
	for i, issue := range issues {
		list[i] = strings.TrimSpace(string(issue.Severity[0]) + " " + issue.Rule + " " + issue.Key)
		if issue.Record > 0 {
			list[i] += fmt.Sprint(" @", issue.Record)
		}
	}
	return strings.Join(list, ", ")
}

// TestRecord has a record for each rule; e and w are errors and warnings.
func TestRecord(t *testing.T) {
	request, event := Options{}, Options{Mode: cmcd.EventMode}
	for _, test := range []struct {
		record  string
		options Options
		want    string
	}{
		{`br=3000,sid="s"`, request, ""},
		{`br=(3000;v 320;a),sid="s",v=2`, request, ""},
		{` br=(3000) ,	sid="s", v=2 `, request, ""},
		{``, request, "e empty"},
		{`  `, request, "e empty"},

		// Structured fields.
		{`cid="a"b",sid="s"`, request, "e syntax cid"},
		{`Sid="s"`, request, "e syntax, w session sid"},
		{`sid="s",`, request, "e syntax"},
		{`d=,ot=v,sid="Ü"`, request, "e syntax d, e syntax sid"},
		{`d=1,d=2,sid="s"`, request, "e duplicate d"},
		{`sid="s",d=1`, request, "w order d"},
		{`com.example-a=x,br=1,sid="s"`, request, "w order br"},
		{`br%3D3000%2Csid%3D%22s%22`, request, "e encoding"},

		// Versions.
		{`sid="s",v=1`, request, "w needless v"},
		{`br=x,sid="s",v=3`, request, "e version v"},
		{`sid="s",v=0`, request, "e version v"},
		{`br=(1),sid="s",v="2"`, request, "e type v"},
		{`sid="s",v=2`, Options{Version: 1}, "e version v"},
		{`sid="s"`, Options{Version: 2}, "e missing v"},
		{`nrr="0-9",sid="s",v=2`, request, "e unknown_key nrr"},
		{`sid="s",sta=p`, request, "e unknown_key sta"},
		{`sf=e,sid="s",st=ll`, request, "e token sf, e token st"},
		{`sf=e,sid="s",st=ll,v=2`, request, ""},
		{`bs=?0,sid="s",su=?0`, request, "e boolean bs, e boolean su"},
		{`bs=?0,sid="s",su=?0,v=2`, request, ""},
		{`cid="` + strings.Repeat("x", 65) + `",sid="s"`, request, "e length cid"},
		{`cid="` + strings.Repeat("x", 128) + `",sid="s",v=2`, request, ""},
		{`cid="` + strings.Repeat("x", 129) + `",sid="s",v=2`, request, "e length cid"},

		// Keys.
		{`sid="s",xyz=1`, request, "e unknown_key xyz"},
		{`cdn="x",sid="s",v=2`, request, "e unknown_key cdn"},
		{`com.example-a=1,sid="s"`, request, ""},
		{`com.example-a=1,com.example-b=x,com.example-c="x",com.example-d=(1),sid="s",v=2`, request, "e custom com.example-a, e custom com.example-d"},
		{`com.example-a="` + strings.Repeat("x", 65) + `",sid="s",v=2`, request, "e length com.example-a"},
		{`com.ex_ample-a=x,com.example-=x,com.example-*=y,sid="s",v=2`, request, "e custom com.example-"},
		{`*x.y-a=x,sid="s",v=2`, request, ""},
		{`myapp-a=x,sid="s",v=2`, request, "w custom myapp-a"},
		{`org.svta-p-n="hls.js",org.svta-p-x="x",sid="s",v=2`, request, "w custom org.svta-p-x"},
		{`org.svta-p-n=hls,sid="s",v=2`, request, "w custom org.svta-p-n"},

		// Types.
		{`br=(3000),sid="s"`, request, "e type br"},
		{`br=3000,sid="s",v=2`, request, "e type br"},
		{`br=("3000" 1.5 x),sid="s",v=2`, request, "e type br, e type br, w duplicate br, e type br, w duplicate br"},
		{`d=4.0,ot=v,sid="s"`, request, "e type d"},
		{`br=3000.5,sid="s",tb=-1.5`, request, "w rounding br, e type tb"},
		{`br=(3000.5),sid="s",v=2`, request, "e type br"},
		{`d=("x"),ot=v,sid="s",v=2`, request, "e type d"},
		{`br,sid="s",su=1`, request, "e type br, e type su"},
		{`pr=2,sid="s"`, request, ""},
		{`pr=0.999,sid="s"`, request, ""},
		{`pr=1.0,sid="s"`, request, "w needless pr"},
		{`pr=x,sid="s"`, request, "e type pr"},
		{`ot="v",sid=s`, request, "e type ot, e type sid"},
		{`sid=:AA==:`, request, "e type sid"},
		{`sid="s",su=?1`, request, "e boolean su"},
		{`ec=27,nor="x",sid="s",v=2`, request, "e type ec, e type nor"},
		{`ec=("a" 1),sid="s",v=2`, request, "e type ec"},
		{`ot=x,sid="s"`, request, "e token ot"},
		{`sid="s",sta=w,v=2`, request, "w token sta"},
		{`br=(),sid="",v=2`, request, "e empty br, w empty sid"},

		// Numbers.
		{`bl=150,dl=150,mtp=150,rtp=150,sid="s"`, request, "w rounding bl, e rounding dl, e rounding mtp, e rounding rtp"},
		{`bl=(150;v 100;a),mtp=(150),sid="s",tbl=(150),v=2`, request, "w rounding bl, e rounding mtp, w rounding tbl"},
		{`br=-1,d=-1,pr=-1,sid="s"`, request, "e range br, e range d"},
		{`ltc=-5,pt=-5,sid="s",sn=-1,v=2`, request, "e range sn"},
		{`br=(-1),sid="s",v=2`, request, "e range br"},

		// Lists and parameters.
		{`br=(1;v 2;x 3;a=1 4;c=?0),sid="s",v=2`, request, "e object_type br, e object_type br, e object_type br"},
		{`br=(1;v=?1),sid="s",v=2`, request, "e boolean br"},
		{`br=(1;v 2;v),bsd=(1;v 2;v),sid="s",v=2`, request, "w duplicate br"},
		{`br=(1);v,d=1;v,ec=("a";v),ot=v,sid="s",v=2`, request, "w parameter br, w parameter d, w parameter ec"},
		{`nor=("a";r="0-" "b";r="-5" "c";r="1-2" "d;r=\"0-1\""),sid="s",v=2`, request, ""},
		{`nor=("a";r=5 "b";r="5" "c";r="2-1" "d";r="-" "e";r="0-1,3-4" "f";r="bytes=0-1"),sid="s",v=2`, request, strings.TrimPrefix(strings.Repeat(", e byte_range nor", 6), ", ")},
		{`nor=("a";x),sid="s",v=2`, request, "w parameter nor"},
		{`nor=("//host/a" "https://host/a" "/a" "../a" "a:b/c" "1:2"),sid="s",v=2`, request, "e relative nor, e relative nor, w relative nor, e relative nor"},
		{`nor="..%2Fa%2Fb",nrr="0-9",sid="s"`, request, ""},
		{`nor="../a/b",nrr="0",sid="s"`, request, "w encoding nor, e byte_range nrr"},
		{`nor="https%3A%2F%2Fhost%2Fa",sid="s"`, request, "e relative nor"},

		// Keys that depend on others.
		{`ab=(1),br=(1),lab=(1),lb=(1),sid="s",tab=(1),tb=(1),v=2`, request, "e not_with ab, e not_with lab, e not_with tab"},
		{`d=1,dfa=1,ot=i,sid="s",tpb=(1),v=2`, request, "w privacy tpb, e object_type d, w object_type dfa, e object_type tpb"},
		{`br=1,bl=100,ot=m,sid="s"`, request, "w order bl, w object_type bl, w object_type br"},
		{`d=0,ot=i,sid="s"`, request, ""}, // version 1 does not say
		{`br=1`, request, "w session sid"},

		// Events.
		{`e=t,ts=1,v=2`, event, ""},
		{`sid="s"`, event, "e missing v, e missing e, e missing ts"},
		{`e=t,ts=1`, event, "e missing v"},
		{`e=t,ts=1,v=1`, event, "e version v"},
		{`e=x,ts=1,v=2`, event, "e token e"},
		{`e=h,h="a",sf=e,ts=1,v=2`, event, ""},
		{`e=,ts=1,v=2`, event, "e syntax e"},
		{`e=ps,ts=1,v=2`, event, "e missing sta"},
		{`e=e,ts=1,v=2`, event, "e missing ec"},
		{`e=rr,ts=1,v=2`, event, "e missing url"},
		{`e=ce,ts=1,v=2`, event, "e missing cen"},
		{`e=bc,ts=1,v=2`, event, "e missing br"},
		{`e=b,ts=1,v=2`, event, ""},
		{`e=pr,pr=1,ts=1,v=2`, event, ""},
		{`e=pr,ts=1,v=2`, event, "e missing pr"},
		{`e=h,ts=1,v=2`, event, "w missing h"},
		{`e=c,ts=1,v=2`, event, "e missing cid"},
		{`cmsdd="QQ==",cmsds="=",e=rr,smrt="QQ",ts=1,url="x",v=2`, event, "e base64 cmsds, e base64 smrt"},
		{`cmsdd="QQ======",e=rr,ts=1,url="x",v=2`, event, "e base64 cmsdd"},
		{`cen="x",cmsdd="",cmsds="A",e=t,rc=200,smrt="!",ts=1,ttfb=1,ttfbb=1,ttlb=1,url="x",v=2`, event, "w empty cmsdd, e base64 cmsds, e base64 smrt, " +
			"e event cen, e event cmsdd, e event cmsds, e event rc, e event smrt, e event ttfb, e event ttfbb, e event ttlb"},
		{`e=rr,rc=7,ts=1,url="x",v=2`, event, "e range rc"},
		{`e=rr,rc=0,ts=1,url="x",v=2`, event, ""},
		{`e=ps,sid="s",sta=p,ts=1,v=2`, request, "e mode e, e mode ts"},
		{`h="x",rc=200,sid="s",v=2`, request, "e mode h, e mode rc"},
	} {
		if got := brief(Record(test.record, test.options)); got != test.want {
			t.Errorf("%s (%v): %s\nwant %s", test.record, test.options.Mode, got, test.want)
		}
	}
}

func TestQuery(t *testing.T) {
	for query, want := range map[string]string{
		"CMCD=br%3D3000%2Ccid%3D%22a+b%20c%22%2Csid%3D%22s%22": "",
		"a=b&CMCD=sid%3D%22s%22&c=d":                           "",
		"a=b":                                                  "w empty",
		"":                                                     "w empty",
		"CMCD=":                                                "e empty",
		"CMCD":                                                 "e empty",
		"cmcd=sid%3D%22s%22":                                   "e argument",
		"CMCD=sid%3D%22s%22&CMCD=br%3D3000":                    "e repeated, w session sid",
		`CMCD=sid="s"`:                                         "e encoding",
		"CMCD=sid%3D%22s%2":                                    "e encoding, e syntax sid",
		"CMCD=sid%3D%22s%zz%22":                                "e encoding",
		"CMCD=sid%253D%2522s%2522":                             "e encoding",
		"XCMCD=1&CMCDX=2":                                      "w empty",
	} {
		if got := brief(Query(query)); got != want {
			t.Errorf("%s: %s\nwant %s", query, got, want)
		}
	}
}

func TestHeaders(t *testing.T) {
	for _, test := range []struct {
		headers http.Header
		want    string
	}{
		{http.Header{"Cmcd-Session": {`sid="s",v=2`}, "Cmcd-Status": {"pr=2"}}, ""},
		{http.Header{"Cmcd-Session": {`pr=2,sid="s"`}}, ""},
		{http.Header{"Cmcd-Session": {`pr=2,sid="s",v=2`}}, "e header pr"},
		{http.Header{"Cmcd-Session": {`sid="s"`, `st=v`}, "cmcd-object": {"br=1"}}, ""},
		{http.Header{"Cmcd-Object": {`bl=100`}, "Cmcd-Session": {`sid="s"`}, "Cmcd-Status": {"br=1"}}, "e header bl, e header br"},
		{http.Header{"Cmcd-Object": {`br=1`}, "Cmcd-Session": {`br=1,sid="s"`}}, "e duplicate br, e header br"},
		{http.Header{"Cmcd-Session": {`com.example-a=x,org.svta-a-c="true",org.svta-p-n="x",sid="s"`}}, "w header org.svta-a-c"},
		{http.Header{"Cmcd-Session": {`sid="s",st=v`}, "Cmcd-Object": {"ot=v,br=1"}}, "w order br"},
		{http.Header{"Cmcd-Session": {`sid%3D%22s%22`}}, "e encoding"},
		{http.Header{"Cmcd-Session": {`sid="s",v=2`}, "Cmcd-Status": {"e=t"}}, "e mode e"},
		{http.Header{"Cmcd-Session": {`sid="s`}}, "e syntax sid"},
		{http.Header{"Cmcd-Session": {""}}, "e empty, w empty"},
		{http.Header{"Cmcd-Sessions": {`sid="s"`}}, "e header, w empty"},
		{nil, "w empty"},
	} {
		if got := brief(Headers(test.headers)); got != test.want {
			t.Errorf("%v: %s\nwant %s", test.headers, got, test.want)
		}
	}
}

func TestRequest(t *testing.T) {
	h := http.Header{"Cmcd-Session": {`sid="s"`}}
	for _, test := range []struct {
		query   string
		headers http.Header
		want    string
	}{
		{"CMCD=sid%3D%22s%22", nil, ""},
		{"a=b", h, ""},
		{"a=b&CMCD=x%3D", h, "e both"},
		{"a=b", nil, "w empty"},
	} {
		if got := brief(Request(test.query, test.headers)); got != test.want {
			t.Errorf("%s, %v: %s\nwant %s", test.query, test.headers, got, test.want)
		}
	}
}

func TestBody(t *testing.T) {
	const one, two = "e=t,ts=1,v=2", "e=rr,ts=2,v=2"
	for _, test := range []struct{ contentType, body, want string }{
		{"", one, ""},
		{"application/cmcd", one + "\n" + one, ""},
		{"application/cmcd; charset=UTF-8", "  " + one + "  \n " + one, ""},
		{"application/cmcd", one + "\n" + two, "e missing url @1"},
		{"application/cmcd", one + "\n\n" + two, "e missing url @1, w line_feed"},
		{"application/cmcd", one + "\n", "w line_feed"},
		{"application/cmcd", one + "\r\n" + one, "e line_feed"},
		{"application/cmcd", "", "e empty"},
		{"application/cmcd", " \n\n", "e empty"},
		{"text/cmcd", one, "e media_type"},
		{"text/plain; x", one, "e media_type"},
		{"application/cmcd; charset=latin1", one, "e media_type"},
		{"", "\ufeff" + one, "e syntax, e missing e"},
		{"", `{"br":1}`, "e missing v, e syntax, e missing e, e missing ts"},
	} {
		if got := brief(Body(test.contentType, []byte(test.body))); got != test.want {
			t.Errorf("%s %q: %s\nwant %s", test.contentType, test.body, got, test.want)
		}
	}
	if got := brief(Report("GET", "", []byte(one))); got != "e method, e media_type" {
		t.Error(got)
	}
	if got := brief(Report("POST", "application/cmcd", []byte(one))); got != "" {
		t.Error(got)
	}
}

func TestJSON(t *testing.T) {
	for data, want := range map[string]string{
		`{"bl":2000,"br":3000,"bs":true,"com.example-a":1,"ot":"v","pr":1.5,"sid":"s"}`: "",
		`{"br":"3000","bs":"true","ot":"x","sid":null,"st":1}`:                          "e type br, e type bs, e token ot, e type sid, e type st",
		`{"br":[3000],"su":false}`:     "e type br, e boolean su",
		`{"br":3000,"br":1}`:           "e duplicate br",
		`{"br":1e3,"d":4e0,"sid":"s"}`: "",
		`{"com.example-a":null,"com.example-b":{"br":[1]},"com.example-c":[1],"com.example-d":false,"sid":"s"}`: "e custom com.example-a, " +
			"e custom com.example-b, e custom com.example-c",
		`{"com.example-a":null}`:                            "e custom com.example-a",
		` [ {"br" : 1} , [2] , {} , {"br":"\u00e4\\\n"} ] `: "e syntax, e syntax @1, e empty @2, e type br @3",
		`{"br":1} {"br":"x"}`:                               "e syntax",
		`{"sid":"s","br":1e3,"d":1e99}`:                     "e type d, w order br",
		`{"br":3000,"v":2}`:                                 "e version v",
		`{"sta":"p","xyz":{}}`:                              "e unknown_key sta, e unknown_key xyz",
		`[{"br":1},{"br":"x"}]`:                             "e syntax, e type br @1",
		`{}`:                                                "e empty",
		``:                                                  "e empty",
		`3`:                                                 "e syntax",
		`{"br":1} x`:                                        "e syntax",
		`{"br":1`:                                           "e syntax",
		`[1]`:                                               "e syntax, e syntax",
		`{"":1,"br":1}`:                                     "e syntax",
		"{\"a\\u0000b\":1,\"\\ud800\":1}":                   "e unknown_key \"a\\x00b\", e unknown_key �",
		`{"sid":"` + "ü" + `","cid":"ü"}`:                   "w order cid",
		`{"br":` + strings.Repeat("[", 31) + strings.Repeat("]", 31) + `}`: "e type br",
		`{"br":` + strings.Repeat("[", 32) + strings.Repeat("]", 32) + `}`: "e syntax",
		`{"sid":"` + strings.Repeat("[", 40) + `\"{"}`:                     "",
		strings.Repeat(`[`, 100_000):                                       "e syntax",
		`{"br":` + strings.Repeat(`[`, 1e5):                                "e syntax",
	} {
		if got := brief(JSON([]byte(data))); got != want {
			t.Errorf("%.80s: %s\nwant %s", data, got, want)
		}
	}
}

// TestRulesAreDocumented: the words of the rules are a promise, so all of them, and no others, are in the docs.
func TestRulesAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/cmcd.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "\n## Validating\n")
	section, _, _ = strings.Cut(section, "\n## ")
	documented := map[string]bool{}
	for line := range strings.SplitSeq(section, "\n") {
		if words, ok := strings.CutPrefix(line, "| `"); ok {
			words, _, _ = strings.Cut(words, " |")
			for word := range strings.SplitSeq(words, ", ") {
				documented[strings.Trim(word, "`")] = true
			}
		}
	}
	words := map[string]bool{}
	for id, rule := range ruleTable {
		words[rule.word] = true
		if rule.word == "" || rule.says == "" || rule.severity == "" || rule.v1 == "" && rule.v2 == "" && id != ruleTooMany {
			t.Errorf("rule %d is %+v", id, rule)
		}
	}
	if got, want := slices.Sorted(maps.Keys(documented)), slices.Sorted(maps.Keys(words)); !slices.Equal(got, want) {
		t.Errorf("docs/cmcd.md has the rules %q\nthe package has           %q", got, want)
	}
}

// TestMessages: a message names the key, what was found and what was expected.
func TestMessages(t *testing.T) {
	for record, want := range map[string]string{
		`br="3000",sid="s",v=2`:                      `error type br: br is the string "3000", expected a list of integers in parentheses such as (2000;v) (CTA-5004-B §4.3 Table 1)`,
		`bl=150,sid="s"`:                             `warning rounding bl: bl is 150, expected it rounded to the nearest 100: 200 (CTA-5004 §3.3 Table 1)`,
		`cid="a "b"",sid="s"`:                        `error syntax cid: at byte 8: found "b", expected a comma or the end after the value; a quote inside a string is written as \" (RFC 8941 §3.2)`,
		`sid="s",sta=p`:                              `error unknown_key sta: sta is a key of version 2, expected a key of version 1, or v=2 in the record (CTA-5004 §3.2 item 4)`,
		`br=(3000),sid="s"`:                          `error type br: br is a list, expected an integer, or v=2 in the record (CTA-5004 §3.3 Table 1)`,
		`nor="a;r=1",sid="s",v=2`:                    `error type nor: nor is the string "a;r=1", expected a list of strings in parentheses such as ("x") (CTA-5004-B §4.3 Table 1)`,
		`ot=` + strings.Repeat("x", 99) + `,sid="s"`: `error token ot: ot is ` + strings.Repeat("x", 48) + `…, expected one of m, a, v, av, i, c, tt, k, o (CTA-5004 §3.3 Table 1)`,
	} {
		issues := Record(record, Options{})
		if len(issues) != 1 || issues[0].String() != want {
			t.Errorf("%s: %v\nwant  %s", record, issues, want)
		}
	}
}

// TestSections: an issue cites the version that the record is of, also where that was not known yet.
func TestSections(t *testing.T) {
	for name, test := range map[string]struct {
		issues []Issue
		want   string
	}{
		"version 1":          {Query(`CMCD=sid="s"`), "CTA-5004 §3.2 item 10"},
		"version 2":          {Query(`CMCD=sid="s",v=2`), "CTA-5004-B §4.1 item 11"},
		"argument":           {Query("cmcd=sid%3D%22s%22"), "CTA-5004 §2.2"},
		"one after another":  {Query("CMCD=sid%3D%22s%22%2Cv%3D2&cmcd=sid%3D%22s%22"), "CTA-5004 §2.2"},
		"no such header":     {Headers(http.Header{"Cmcd-Foo": {"x"}, "Cmcd-Session": {`sid="s",v=2`}}), "CTA-5004-B §3.1"},
		"no header of 1":     {Headers(http.Header{"Cmcd-Foo": {"x"}, "Cmcd-Session": {`sid="s"`}}), "CTA-5004 §2.1"},
		"encoded header":     {Headers(http.Header{"Cmcd-Session": {"sid%3D%22s%22"}}), "CTA-5004 §3.2 item 10"},
		"encoded body":       {Body("", []byte("e%3Dt%2Cts%3D1%2Cv%3D2")), "CTA-5004-B §4.1 item 11"},
		"JSON":               {JSON([]byte(`{"xyz":1}`)), "CTA-5004 §3.1 item 1"},
		"null in JSON":       {JSON([]byte(`{"a-b":null}`)), "CTA-5004 §3.1"},
		"nothing whatsoever": {Query(""), "CTA-5004-B §4.3"},
	} {
		i := slices.IndexFunc(test.issues, func(i Issue) bool { return i.Section == test.want })
		if i < 0 {
			t.Errorf("%s: %v, want one that cites %s", name, test.issues, test.want)
		}
	}
}

// TestJSONMessages: JSON has version 1 only, so that there is no way out into version 2, and its values say what
// they are.
func TestJSONMessages(t *testing.T) {
	for data, want := range map[string]string{
		`{"br":[1]}`:                "br is a list, expected an integer",
		`{"br":{"a":1}}`:            "br is an object, expected an integer",
		`{"br":null}`:               "br is null, expected an integer",
		`{"d":1e99}`:                "d is a number beyond 999,999,999,999,999, expected an integer",
		`{"sta":"p"}`:               "sta is a key of version 2, expected a key of version 1, the only one that has JSON",
		`{"com.example-b":{"c":1}}`: "com.example-b is an object, expected a string, a number or a boolean",
	} {
		issues := JSON([]byte(data))
		if len(issues) == 0 || issues[0].Message != want {
			t.Errorf("%s: %v\nwant %s", data, issues, want)
		}
	}
}

// TestManyIssues: what is wrong in a thousand places is not described a million times.
func TestManyIssues(t *testing.T) {
	for name, issues := range map[string][]Issue{
		"body":    Body("", []byte(strings.Repeat("x\n", 1<<19))),
		"record":  Record("br=("+strings.Repeat("x ", 1<<19)+"),v=2", Options{}),
		"query":   Query(strings.Repeat("CMCD=x&", 1<<17)),
		"headers": Headers(http.Header{"Cmcd-Object": slices.Repeat([]string{"x=x"}, 1<<17)}),
		"json":    JSON([]byte("[" + strings.Repeat(`{"x":1},`, 1<<17) + "{}]")),
	} {
		if len(issues) > MaxIssues {
			t.Errorf("%s: %d issues", name, len(issues))
		}
		if name == "body" || name == "query" || name == "json" {
			if last := issues[len(issues)-1]; last.Rule != "too_many" || len(issues) != MaxIssues {
				t.Errorf("%s: the last of %d issues is %v", name, len(issues), last)
			}
		}
	}
}
