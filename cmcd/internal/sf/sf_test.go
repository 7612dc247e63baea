package sf

import (
	"compress/gzip"
	"encoding/base32"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// structuredField is a case of the structured-field-tests of the HTTP working group.
type structuredField struct {
	Name       string
	Raw        []string
	HeaderType string `json:"header_type"`
	Expected   any
	MustFail   bool `json:"must_fail"`
	CanFail    bool `json:"can_fail"`
}

func TestStructuredFields(t *testing.T) {
	f, err := os.Open("testdata/structured-fields.json.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var suites map[string][]structuredField
	if err := json.NewDecoder(r).Decode(&suites); err != nil {
		t.Fatal(err)
	}
	cases, newer := 0, 0
	for suite, fields := range suites {
		for _, field := range fields {
			t.Run(suite+"/"+field.Name, func(t *testing.T) {
				cases++
				got, err := read(field.HeaderType, strings.Join(field.Raw, ", "))
				switch suite {
				case "date", "display-string":
					// Dates and display strings are of RFC 9651, which is newer than CMCD: a receiver
					// of CMCD does not know them, so to send one is a mistake.
					newer++
					if err == nil {
						t.Errorf("%q was taken", field.Raw)
					}
					return
				}
				switch {
				case field.MustFail && err == nil:
					t.Errorf("%q was taken as %v", field.Raw, got)
				case field.MustFail || field.CanFail && err != nil:
				case err != nil:
					t.Errorf("%q: %v", field.Raw, err)
				case !reflect.DeepEqual(got, field.Expected):
					t.Errorf("%q is %v\nwant %v", field.Raw, got, field.Expected)
				}
			})
		}
	}
	t.Logf("%d cases, %d of them of RFC 9651", cases, newer)
	if cases != 1591 {
		t.Errorf("%d cases, want all 1591", cases)
	}
}

// read parses s and returns it in the notation of the cases.
func read(fieldType, s string) (any, error) {
	switch fieldType {
	case "item":
		item, err := ParseItem(s)
		return []any{bare(item.Value), params(item.Params)}, err
	case "list":
		members, errs := ParseList(s)
		list := []any{}
		for _, m := range members {
			list = append(list, member(m))
		}
		return list, first(errs)
	default:
		members, errs := ParseDictionary(s)
		dictionary := []any{}
		for i, m := range members {
			// Of several members with one name the last one counts, in the place of the first.
			if slices.IndexFunc(members, func(o Member) bool { return o.Name == m.Name }) == i {
				last, _ := Find(members, m.Name)
				dictionary = append(dictionary, []any{m.Name, member(last)})
			}
		}
		return dictionary, first(errs)
	}
}

func first(errs []*SyntaxError) error {
	if len(errs) == 0 {
		return nil
	}
	return errs[0]
}

func member(m Member) any {
	if !m.List {
		return []any{bare(m.Value), params(m.Params)}
	}
	items := []any{}
	for _, item := range m.Items {
		items = append(items, []any{bare(item.Value), params(item.Params)})
	}
	return []any{items, params(m.Params)}
}

func params(ps Params) []any {
	list := []any{}
	for i, p := range ps {
		if slices.IndexFunc(ps, func(o Param) bool { return o.Name == p.Name }) == i {
			last, _ := ps.Get(p.Name)
			list = append(list, []any{p.Name, bare(last.Value)})
		}
	}
	return list
}

func bare(v Value) any {
	switch v.Kind {
	case Integer, Decimal:
		return v.Number()
	case Boolean:
		return v.Bool
	case Token:
		return map[string]any{"__type": "token", "value": v.Text}
	case Bytes:
		return map[string]any{"__type": "binary", "value": base32.StdEncoding.EncodeToString([]byte(v.Text))}
	default:
		return v.Text
	}
}

func TestGoesOnBehindMistakes(t *testing.T) {
	for _, test := range []struct {
		in     string
		good   string   // names of the members that are good
		bad    string   // and of those that are not
		errors []string // offset, found, section
	}{
		{`a=1,b=,c=2`, "a c", "b", []string{`6 "," §3.3`}},
		{`a=1,b`, "a b", "", nil},
		{`a=1,`, "a", "", []string{`3 "," §3.2`}},
		{`,a=1,,b`, "a b", "", []string{`0 "," §3.2`, `5 "," §3.2`}},
		{`cid="movie "A"\1",d=4`, "d", "cid", []string{`12 "A" §3.2`}},
		{`cid="a\b, c=1",d=4`, "d", "cid", []string{`6 "\\" §3.3.3`}},
		{`cid="Fußball, d=4",d=3`, "d", "cid", []string{`7 "ß" §3.3.3`}},
		{`cid="abc,d=4`, "d", "cid", []string{`4 the end §3.3.3`}},
		{`cid="tab	here",d=4`, "d", "cid", []string{`8 "\t" §3.3.3`}},
		{`Br=1,d=4`, "d", "", []string{`0 "B" §3.1.2`}},
		{`Cid="a, b=1",d=4`, "d", "", []string{`0 "C" §3.1.2`}},
		{`a=1 b="x, c=2",d=4`, "d", "a", []string{`4 "b" §3.2`}},
		{`a=1 b="x, c=2,d=4`, "c d", "a", []string{`4 "b" §3.2`}},
		{`bR=1,d=4`, "d", "", []string{`1 "R" §3.1.2`}},
		{`bl=(1.2345 2),d=4`, "d", "bl", []string{`4 "1.2345" §3.3.2`}},
		{`bl=(1,2),d=4`, "d", "bl", []string{`5 "," §3.1.1`}},
		{`bl=(1 2`, "", "bl", []string{`3 the end §3.1.1`}},
		{`nor=https://a/b?x=1&y,d=4`, "d", "nor", []string{`15 "?" §3.2`}},
		{`nor=("a;b" "c,d";r="0-"),d=4`, "nor d", "", nil},
		{`a=1 b=2,c=3`, "c", "a", []string{`4 "b" §3.2`}},
		{`a =1,c=3`, "c", "a", []string{`2 "=" §3.2`}},
		{`a= 1,c=3`, "c", "a", []string{`2 " " §3.3`}},
		{`a=1;V,c=3`, "c", "a", []string{`4 "V" §3.1.2`}},
		{`a=?2,c=3`, "c", "a", []string{`3 "2" §3.3.6`}},
		{`a=:AA,c=3`, "c", "a", []string{`2 the end §3.3.5`}},
		{`d=1234567890123456`, "", "d", []string{`2 "1234567890123456" §3.3.1`}},
		{"a=1\n", "", "a", []string{`3 "\n" §3.2`}},
		{"\ufeffa=1,b", "b", "", []string{`0 "\ufeff" §3.1.2`}},
		{`a;b;c=1,d`, "a d", "", nil},
	} {
		members, errs := ParseDictionary(test.in)
		var good, bad, messages []string
		for _, m := range members {
			switch {
			case m.Err == nil:
				good = append(good, m.Name)
			case m.Name != "":
				bad = append(bad, m.Name)
			}
			if !strings.HasPrefix(test.in[m.Offset:], m.Raw) {
				t.Errorf("%s: the member at %d is not %q", test.in, m.Offset, m.Raw)
			}
		}
		for _, err := range errs {
			messages = append(messages, fmt.Sprintf("%d %s %s", err.Offset, err.Found, strings.TrimPrefix(err.Section, "RFC 8941 ")))
		}
		if got := strings.Join(good, " "); got != test.good {
			t.Errorf("%s: good members %q, want %q", test.in, got, test.good)
		}
		if got := strings.Join(bad, " "); got != test.bad {
			t.Errorf("%s: bad members %q, want %q", test.in, got, test.bad)
		}
		if !slices.Equal(messages, test.errors) {
			t.Errorf("%s: errors %q, want %q", test.in, messages, test.errors)
		}
	}
}

// TestListGoesOnBehindMistakes: a member of a list begins with its value.
func TestListGoesOnBehindMistakes(t *testing.T) {
	for in, want := range map[string]string{
		`"origin";rd=,"mid"`:             `"mid"`,
		`"a" b, "mid";etp=1`:             `"mid";etp=1`,
		`5;=,?1,:AA==:,"x"`:              `?1 :AA==: "x"`,
		`"a,"b","c"`:                     `"c"`,
		`"a\b, "x", "y"`:                 `"y"`,
		`"a";rd=1,"b";rd=,"c;d","e";rd=`: `"a";rd=1 "c;d"`,
	} {
		members, errs := ParseList(in)
		var good []string
		for _, m := range members {
			if m.Err == nil {
				good = append(good, m.Raw)
			}
		}
		if got := strings.Join(good, " "); got != want || len(errs) == 0 {
			t.Errorf("%s: %s, %v, want %s", in, got, errs, want)
		}
	}
}

// TestParser: what was read before stays until Reset, and the limit is for all of it.
func TestParser(t *testing.T) {
	var p Parser
	first, _ := p.Dictionary("a=(1;x 2),b;y")
	if _, errs := p.Dictionary(strings.Repeat("c=(1 2),", 511) + "d"); len(errs) != 0 {
		t.Error(errs)
	}
	for _, test := range []struct{ in, want string }{
		{"x" + strings.Repeat(";y", 1024), "parameters"}, {"x=(1)", "items of lists"}, {strings.Repeat("x;y,", 513), "members"},
	} {
		if _, errs := p.Dictionary(test.in); len(errs) != 1 || !strings.Contains(errs[0].Error(), "at most 1024 "+test.want) {
			t.Errorf("%.10s: %v", test.in, errs)
		}
	}
	if len(first) != 2 || first[0].Items[0].Params[0].Name != "x" || first[0].Items[1].Raw != "2" || first[1].Params[0].Name != "y" {
		t.Errorf("the first field is now %+v", first)
	}
	p.Reset()
	if got := testing.AllocsPerRun(10, func() {
		if members, errs := p.Dictionary(`a=(1;x "2"),b;y,c="d"`); len(members) != 3 || len(errs) > 0 {
			t.Errorf("%v, %v", members, errs)
		}
		p.Reset()
	}); got > 0 {
		t.Errorf("%v allocations", got)
	}
}

func TestErrorSaysWhatWasExpected(t *testing.T) {
	_, errs := ParseDictionary(`ot=v,cid=“movie”`)
	const want = `at byte 9 of key "cid": found "“", expected a value: a number, string in quotes, token, boolean or byte sequence (RFC 8941 §3.3)`
	if len(errs) != 1 || errs[0].Error() != want {
		t.Errorf("errors are %v\nwant       %s", errs, want)
	}
	if _, err := ParseItem("1 2"); err == nil || !strings.Contains(err.Error(), "expected the end of the item") {
		t.Errorf("error is %v", err)
	}
}

func TestPlaces(t *testing.T) {
	const in = ` a=1, nor=("x" "y";r="0-9";v);p=1 , k=tok`
	members, errs := ParseDictionary(in)
	if len(errs) != 0 || len(members) != 3 {
		t.Fatalf("%d members, errors %v", len(members), errs)
	}
	nor := members[1]
	if nor.Raw != `nor=("x" "y";r="0-9";v);p=1` || nor.Offset != 6 || !nor.List || nor.Items[1].Raw != `"y";r="0-9";v` || nor.Items[1].Offset != 15 {
		t.Errorf("nor is %+v", nor)
	}
	if p, ok := nor.Items[1].Params.Get("r"); !ok || p.Text != "0-9" || p.Raw != `r="0-9"` || p.Offset != 19 || p.Bare {
		t.Errorf("r is %+v", p)
	}
	if p, ok := nor.Items[1].Params.Get("v"); !ok || !p.Bare || !p.Bool {
		t.Errorf("v is %+v", p)
	}
	if k := members[2]; k.Raw != "k=tok" || k.Kind != Token || k.Text != "tok" {
		t.Errorf("k is %+v", k)
	}
}

func TestNumberValue(t *testing.T) {
	for f, want := range map[float64]Value{
		5: {Kind: Integer, Int: 5}, -1.5: {Kind: Decimal, Int: -1500}, 0.0004: {Kind: Decimal},
		999999999999999: {Kind: Integer, Int: 999999999999999},
	} {
		if got, ok := NumberValue(f); !ok || got != want {
			t.Errorf("%v is %v, want %v", f, got, want)
		}
	}
	if v, ok := NumberValue(1e15); ok {
		t.Errorf("1e15 is %v", v)
	}
}

// TestLimits: what no player sends costs no more than what it must.
func TestLimits(t *testing.T) {
	many := strings.Repeat("a,", MaxValues+10)
	for name, in := range map[string]string{
		"members": many + "a", "items": "a=(" + strings.Repeat("1 ", MaxValues+10) + ")",
		"parameters": "a=1" + strings.Repeat(";a", MaxValues+10), "commas": strings.Repeat(",", 1<<20),
		"bad members": strings.Repeat("A=1,", 1<<18),
	} {
		members, errs := ParseDictionary(in)
		if len(members) > MaxValues || len(errs) == 0 || len(errs) > MaxErrors+1 {
			t.Errorf("%s: %d members, %d errors", name, len(members), len(errs))
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		`bl=(2000;v 1800;a),cid="a \"b\" \\",nor=("x";r="0-"),ot=v,su,pr=1.25,x=?0,y=:AAE=:`,
		`cid="movie "A"\1",ot="v",`, `a="\",b="\,c="`, `"CDNB-3ak1";etp=96;rtt=8, "x"`, `:=:,:=,:`, "a=\"\x80\", b",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, parse := range []func(string) ([]Member, []*SyntaxError){ParseDictionary, ParseList} {
			members, errs := parse(s)
			bad := 0
			end := 0
			for _, m := range members {
				if m.Offset < end || !strings.HasPrefix(s[m.Offset:], m.Raw) {
					t.Fatalf("%q: the member at %d is not %q", s, m.Offset, m.Raw)
				}
				end = m.Offset + len(m.Raw)
				if m.Err != nil {
					bad++
				}
			}
			if bad > len(errs) {
				t.Fatalf("%q: %d bad members, %d errors", s, bad, len(errs))
			}
			for _, err := range errs {
				if err.Offset < 0 || err.Offset > len(s) || err.Found == "" || err.Want == "" || err.Section == "" {
					t.Fatalf("%q: error is %+v", s, err)
				}
			}
			if len(errs) > 0 {
				continue
			}
			for _, m := range members { // what was read well reads the same by itself
				again, errs := parse(m.Raw)
				if len(errs) > 0 || len(again) != 1 || again[0].Value != m.Value || len(again[0].Items) != len(m.Items) {
					t.Fatalf("%q by itself is %+v, was %+v", m.Raw, again, m)
				}
			}
		}
		_, _ = ParseItem(s)
	})
}

// BenchmarkHostile: the time per byte must be about the same for all of these, see the limits.
func BenchmarkHostile(b *testing.B) {
	for name, unit := range map[string]string{
		"strings never closed": `a="\",`, "byte sequences": `a=:,`, "commas": `a=",`, "lists": `a=(`,
		"strange strings": "a=\"\x80,b", "capitals": "aA,",
	} {
		b.Run(name, func(b *testing.B) {
			s := strings.Repeat(unit, 1<<20/len(unit))
			b.SetBytes(int64(len(s)))
			b.ReportAllocs()
			for b.Loop() {
				ParseDictionary(s)
			}
		})
	}
}
