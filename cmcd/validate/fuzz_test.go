package validate

import (
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/weir-stream/weir/cmcd"
)

var seeds = []string{
	`bl=(2000;v 1800;a),br=(3000;v),cid="a \"b\"",nor=("x";r="0-9"),ot=v,sid="s",su,v=2`,
	`bl=150,br="3000",cid="movie "A"\1",ot="v",sid=s,`,
	`e=rr,rc=200,sid="s",ts=1,url="x",v=2`,
	`br=(1,2),d=4.5,pr=1.2345,su=true,xyz,com.example-a=(1);x`,
	`br=(1 2,ot=;v,v=3`, "sid=\"\x80\",\t=1", `bs=?1,nr=?0,su=1,bl=(1;v=?1 2;ot=v)`,
}

func FuzzRecord(f *testing.F) {
	for _, seed := range seeds {
		f.Add(seed)
	}
	f.Fuzz(laws)
}

// TestLaws tries the laws of FuzzRecord on records that are made of what players could write, rightly or
// wrongly.
func TestLaws(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	pick := func(list []string) string { return list[r.IntN(len(list))] }
	values := []string{
		"=1", "=0", "=-1", "=100", "=150", "=2.5", "=2.0", "=1.2345", "=9999999999999999", "=v", "=w", "=a", "=rr", "=e", `="v"`, `="x"`,
		`=""`, `="1"`, `="a "b""`, `="a\"b"`, `="a\b"`, `="a,v=1"`, `="Ü"`, `="`, "=", "", "=?1", "=?0", "=?2", "=true", "=:AA==:",
		"=(1)", "=(1;v 2;a)", "=(1 2)", "=(1,2)", "=()", "=(", "=(1", `=("x")`, `=("x";r="0-1" "y")`, "=(1;x)", "=(1;v=?1)", "=(1;ot=v)",
		"=(v)", "=(?1)", "=(2.5)", `=("1")`, "=(1);v", "=1;v", `="x";y=1`, "=(-1)", "=( 1  2 )", "=https://a/b", "=(1;r=5)", "=\t1", "=1\t",
	}
	names := []string{"com.example-a", "a-b", "A-b", "xyz", "Br", "org.svta-p-n", ""}
	for k := range cmcd.AllKeys() {
		names = append(names, k.String())
	}
	separators := []string{",", ",", ",", ",", ",", ", ", " , ", ",,", ";", " ", "\n"}
	for range 20_000 {
		var record strings.Builder
		for i := range 1 + r.IntN(5) {
			if i > 0 {
				record.WriteString(pick(separators))
			}
			record.WriteString(pick(names) + pick(values))
		}
		record.WriteString(pick([]string{"", ",v=2", ",v=2", ",v=1", ",", " "}))
		laws(t, record.String())
	}
}

// laws hold the strict and the lenient reading of a record against each other.
func laws(t *testing.T, record string) {
	issues := Record(record, Options{})
	check(t, issues)
	check(t, Record(record, Options{Version: 2, Mode: cmcd.EventMode}))
	v, err := cmcd.Parse(record)
	if err != nil {
		if len(issues) == 0 {
			t.Fatalf("%q: Parse says %v, and there is no issue", record, err)
		}
		return
	}
	// The decoder keeps so many list items and custom keys, and counts characters of versions it
	// does not tell apart: these two speak of its limits, not of the specification.
	if w := v.Warnings &^ (cmcd.WarnTooMany | cmcd.WarnTooLong); w != 0 && len(issues) == 0 {
		t.Fatalf("%q: Parse warns of %v, and there is no issue", record, w)
	}
	for _, issue := range issues {
		if v.Warnings == 0 && mustWarn(issue) {
			t.Fatalf("%q: Parse does not warn of %v", record, issue)
		}
	}
	if HasErrors(issues) || v.Warnings != 0 {
		return
	}
	if again := Record(v.String(), Options{}); HasErrors(again) {
		t.Fatalf("%q is valid, and written as %q has %v", record, v.String(), again)
	}
}

// mustWarn reports whether an issue is one that the lenient decoder too must have noticed. It does not
// have to where the record has another version's key or token, and where it takes what is written
// for what is meant without any doubt: white space, capitals in custom keys, bs=?1.
func mustWarn(issue Issue) bool {
	return issue.Rule == "type" || issue.Rule == "duplicate" && issue.Severity == Error
}

// check holds what is true of all issues.
func check(t *testing.T, issues []Issue) {
	t.Helper()
	if len(issues) > MaxIssues {
		t.Fatalf("there are %d issues", len(issues))
	}
	for _, issue := range issues {
		known := slices.ContainsFunc(ruleTable[:], func(r rule) bool { return r.word == issue.Rule && r.severity == issue.Severity })
		if !known || issue.Message == "" || issue.Section == "" && issue.Rule != "too_many" || len(issue.Message) > 1000 {
			t.Fatalf("an issue is %+v", issue)
		}
		if strings.ContainsFunc(issue.Message+issue.Key, func(r rune) bool { return r < ' ' }) {
			t.Fatalf("an issue is not printable: %+v", issue)
		}
	}
}

func FuzzQuery(f *testing.F) {
	for _, seed := range seeds {
		f.Add("a=b&CMCD=" + strings.NewReplacer(`"`, "%22", " ", "+", "=", "%3D").Replace(seed))
	}
	f.Add("CMCD=a%2&cmcd=%zz&CMCD")
	f.Fuzz(func(t *testing.T, query string) {
		issues := Query(query)
		check(t, issues)
		if v, ok := cmcd.FromRequest(query, nil); ok && v.Warnings&^(cmcd.WarnTooMany|cmcd.WarnTooLong) != 0 && len(issues) == 0 {
			t.Fatalf("%q: FromRequest warns of %v, and there is no issue", query, v.Warnings)
		}
		h := http.Header{"Cmcd-Request": {query}, "cmcd-status": {query, query}}
		check(t, Headers(h))
		check(t, Request(query, h))
	})
}

func FuzzBody(f *testing.F) {
	f.Add("application/cmcd", strings.Join(seeds, "\n"))
	f.Add("text/plain; charset=x", "\n\r\n e=t,ts=1,v=2 \n")
	f.Fuzz(func(t *testing.T, contentType, body string) {
		issues := Body(contentType, []byte(body))
		check(t, issues)
		if contentType == "" && len(issues) == 0 {
			for v, err := range cmcd.ParseBody([]byte(body)) {
				if err != nil || v.Warnings&^(cmcd.WarnTooMany|cmcd.WarnTooLong) != 0 {
					t.Fatalf("%q: ParseBody has %v, %v, and there is no issue", body, v.Warnings, err)
				}
			}
		}
	})
}

func FuzzJSON(f *testing.F) {
	f.Add(`{"bl":2000,"br":[1,"x",null],"cid":"ü","bs":false,"a":{"b":[]},"v":1e99}`)
	f.Add(`[{"br":1},{},3]`)
	f.Add(`{"br":1e3,"sid":"s"}`)
	for _, value := range []string{"null", `{"br":[1]}`, "[1]", "1e99", `"\ud83d\ude00\ud800\n"`} {
		f.Add(`{"com.example-b":` + value + `,"sid":"s"}`)
		f.Add(`{"br":` + value + `,"sid":` + value + `}`)
	}
	f.Fuzz(func(t *testing.T, data string) {
		issues := JSON([]byte(data))
		check(t, issues)
		for v, err := range cmcd.ParseJSON([]byte(data)) {
			if len(issues) == 0 && (err != nil || v.Warnings&^(cmcd.WarnTooMany|cmcd.WarnTooLong|cmcd.WarnCharacter) != 0) {
				t.Fatalf("%q: ParseJSON has %v, %v, and there is no issue", data, v.Warnings, err)
			}
		}
	})
}

// BenchmarkHostile has a megabyte of what is worst; the time per byte must not depend on the size.
func BenchmarkHostile(b *testing.B) {
	for name, unit := range map[string]string{
		"bad records": "x\n", "empty lines": "\n", "bad strings": "a=\"\\\",\n", "one record of keys": "a,",
		"one record of strings": `a="\",`, "duplicates": "br=(),br=(),br=(),br=()\n", "good records": "e=t,ts=1,v=2\n",
		"items": "1;v ", "types": "1;a;v;av;m;x ",
	} {
		for _, size := range []int{1 << 16, 1 << 20} {
			b.Run(name+map[int]string{1 << 16: "/64k", 1 << 20: "/1M"}[size], func(b *testing.B) {
				body := strings.Repeat(unit, size/len(unit))
				if name == "items" || name == "types" {
					body = "br=(" + body + ")"
				}
				b.SetBytes(int64(len(body)))
				b.ReportAllocs()
				for b.Loop() {
					Body("", []byte(body))
				}
			})
		}
	}
}

func BenchmarkRecord(b *testing.B) {
	const record = `bl=(2100;v 1800;a),br=(3000;v 164;a),cid="content-id-123",d=4000,mtp=(15000;v 6000;a),nor=("next-seg.mp4"),` +
		`ot=v,pt=632782,sf=d,sid="session-id-123",sn=129,st=l,sta=p,v=2`
	b.ReportAllocs()
	for b.Loop() {
		if issues := Record(record, Options{}); len(issues) > 0 {
			b.Fatal(issues)
		}
	}
}
