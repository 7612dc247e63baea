package cmcdtool

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// found is a piece in a form that is easy to write down.
func found(p Piece) string {
	var parts []string
	if p.RawQuery != "" {
		parts = append(parts, "?"+p.RawQuery)
	}
	for _, name := range []string{"Cmcd-Object", "Cmcd-Request", "Cmcd-Session", "Cmcd-Status"} {
		for _, value := range p.Header[name] {
			parts = append(parts, name+": "+value)
		}
	}
	if p.Text != "" {
		parts = append(parts, p.Text)
	}
	if p.ContentType != "" {
		parts = append(parts, "<"+p.ContentType+">")
	}
	if p.URL != "" {
		parts = append(parts, "@"+p.URL)
	}
	return fmt.Sprintf("%d %s %s", p.Line+p.Entry, p.Form, strings.Join(parts, " | "))
}

func readAll(t *testing.T, in io.Reader, as Form) (pieces []string, passed int, err error) {
	t.Helper()
	r := NewReader(in, "", as)
	for p, err := range r.Pieces() {
		if err != nil {
			return pieces, r.Passed, err
		}
		pieces = append(pieces, found(p))
	}
	return pieces, r.Passed, nil
}

func TestWhatInputIsTakenFor(t *testing.T) {
	for name, c := range map[string]struct {
		in     string
		as     Form
		want   []string
		passed int
	}{
		"an address":                     {in: "https://cdn.example/a.m4s?x=1&CMCD=bl%3D100#t", want: []string{"1 url ?x=1&CMCD=bl%3D100 | @https://cdn.example/a.m4s?x=1#t"}},
		"a path":                         {in: "/a.m4s?CMCD=bl%3D100", want: []string{"1 url ?CMCD=bl%3D100 | @/a.m4s"}},
		"a query":                        {in: "CMCD=bl%3D100\n?CMCD=bs\nx=1&CMCD=su\nv=1&CMCD=su", want: []string{"1 query ?CMCD=bl%3D100", "2 query ?CMCD=bs", "3 query ?x=1&CMCD=su", "4 query ?v=1&CMCD=su"}},
		"the value of an argument":       {in: "bl%3D100%2Cbs", as: Query, want: []string{"1 query ?CMCD=bl%3D100%2Cbs"}},
		"a line of a log":                {in: `1.2.3.4 - - [20/Nov/2026] "GET /a.m4s?CMCD=bl%3D100 HTTP/1.1" 200 17`, want: []string{"1 url ?CMCD=bl%3D100 | @/a.m4s"}},
		"columns":                        {in: "2026-11-20\tGET\t/a.m4s\tCMCD=bl%3D100\t200", want: []string{"1 query ?CMCD=bl%3D100"}},
		"an address in brackets":         {in: "see <https://cdn.example/a?CMCD=bs> there", want: []string{"1 url ?CMCD=bs | @https://cdn.example/a"}},
		"a record":                       {in: "br=100,bs", want: []string{"1 record br=100,bs"}},
		"a record with a comma too many": {in: ",br=100", want: []string{"1 record ,br=100"}},
		"a record of a boolean":          {in: "bs", want: []string{"1 record bs"}},
		"a record of a custom key":       {in: `org.svta-p-n="x"`, want: []string{`1 record org.svta-p-n="x"`}},
		"an address in a record":         {in: `e=rr,url="https://cdn.example/a?x=1&CMCD=bs",v=2`, want: []string{`1 record e=rr,url="https://cdn.example/a?x=1&CMCD=bs",v=2`}},
		"records, one a line":            {in: "\ufeffbr=1\r\n\r\n br=2 \n", want: []string{"1 record br=1", "3 record br=2"}},
		"a body":                         {in: "e=t,v=2\n\ne=ps,v=2\n", as: Body, want: []string{"0 body e=t,v=2\n\ne=ps,v=2\n"}},
		"JSON":                           {in: `{"br":100}`, want: []string{`1 json {"br":100}`}},
		"JSON over several lines":        {in: "[\n{\"br\":\n100, \"cid\": \"}\\\"\"}]\nbr=2", want: []string{"1 json [\n{\"br\":\n100, \"cid\": \"}\\\"\"}]", "4 record br=2"}},
		"header lines": {
			in:   "CMCD-Request: bl=100\ncmcd-session: sid=\"a:b\"\n\nCMCD-Request: bl=200\nbr=3",
			want: []string{`1 headers Cmcd-Request: bl=100 | Cmcd-Session: sid="a:b"`, "4 headers Cmcd-Request: bl=200", "5 record br=3"},
		},
		"the head of a request": {
			in:   "GET /a.m4s?x=1 HTTP/1.1\r\nHost: cdn.example\r\nCMCD-Request: bl=100\r\n\r\nGET /b.m4s?CMCD=bs HTTP/1.1\r\nHost: cdn.example\r\n\r\nGET /c HTTP/1.1\r\n",
			want: []string{"1 headers ?x=1 | Cmcd-Request: bl=100 | @/a.m4s?x=1", "5 url ?CMCD=bs | @/b.m4s"}, passed: 1,
		},
		"two heads without an empty line between": {
			in:   "GET /a\nCMCD-Request: bl=100\nGET /b\nCMCD-Request: bl=200",
			want: []string{"1 headers Cmcd-Request: bl=100 | @/a", "3 headers Cmcd-Request: bl=200 | @/b"},
		},
		"what curl -v writes": {
			in: "* Connected to cdn.example\n> GET /a HTTP/2\n> Host: cdn.example\n> CMCD-Request: bl=100\n>\n< HTTP/2 200\n< content-type: video/mp4\n<\n" +
				"> CMCD-Status: bs\n{ [5 bytes data]",
			want: []string{"2 headers Cmcd-Request: bl=100 | @/a", "9 headers Cmcd-Status: bs"}, passed: 5,
		},
		"a log whose lines begin with a bracket": {in: "[20/Nov/2026] /a?CMCD=bs\n{x} /b?CMCD=su", want: []string{"1 url ?CMCD=bs | @/a", "2 url ?CMCD=su | @/b"}},
		"heads that begin with any header":       {in: "User-Agent: x\nCMCD-Status: bs\nno header", as: Headers, want: []string{"1 headers Cmcd-Status: bs"}, passed: 1},
		"an address behind header lines":         {in: "CMCD-Status: bs\nhttps://cdn.example/a?CMCD=su", want: []string{"1 headers Cmcd-Status: bs", "2 url ?CMCD=su | @https://cdn.example/a"}},
		"a log of JSON": {
			in: `{"time":"x","uri":"/a.m4s?CMCD=bl%3D6100%2Cot%3Dv","status":200}
{"ts":"x","d":5,"request":{"url":"https:\/\/cdn.example\/b?x=1\u0026CMCD=bs"},"note":"\"?"}
{"ts":1,"url":"/favicon.ico","status":404}
{"request":{"headers":{"x-y":["1"]}}}
{}
[{"uri":"/c?CMCD=su"},{"uri":"/d?CMCD=bg"}]
{"request":"GET /e?CMCD=nr HTTP/1.1"}`,
			want: []string{
				"1 url ?CMCD=bl%3D6100%2Cot%3Dv | @/a.m4s", "2 url ?x=1&CMCD=bs | @https://cdn.example/b?x=1",
				"6 url ?CMCD=su | @/c", "6 url ?CMCD=bg | @/d", "7 url ?CMCD=nr | @/e",
			}, passed: 3,
		},
		"JSON of CMCD": {
			in: `{"br":100,"nor":"/a?CMCD=bs"}` + "\n" + `{"com.example-a":1}` + "\n" + `{"br":100,"nonsense":1}` + "\n" + `[{"sta":"p"}]` + "\n" + `{"br":100,}`,
			want: []string{
				`1 json {"br":100,"nor":"/a?CMCD=bs"}`, `2 json {"com.example-a":1}`, `3 json {"br":100,"nonsense":1}`, `4 json [{"sta":"p"}]`, `5 json {"br":100,}`,
			},
		},
		"a line that is not JSON after all": {
			in:   `{"time":"x" "uri":"/a?CMCD=bs"}`,
			want: []string{"1 url ?CMCD=bs | @/a"},
		},
		"a bracket that is never closed": {
			in:   "{\nbr=1\n[\n{\n\"br\":2}\n{\"a\":\nCMCD-Status: bs\nbr=3",
			want: []string{"2 record br=1", "4 json {\n\"br\":2}", "7 headers Cmcd-Status: bs", "8 record br=3"}, passed: 3,
		},
		"brackets around lines": {
			in:   "server {\n{\n/a?CMCD=bs\n}\n[\n]\nbr=1",
			want: []string{"3 url ?CMCD=bs | @/a", "7 record br=1"}, passed: 4,
		},
		"prose that begins like a record": {in: "d, e and f\nv; x\nsn\nd\nsu, e\nbs, hello\nst", passed: 7},
		"records without values":          {in: "bs,su\nbg\nbs,com.example-a\nbs;a=1\nd,br=100\nbs , nr", want: []string{"1 record bs,su", "2 record bg", "3 record bs,com.example-a", "4 record bs;a=1", "5 record d,br=100", "6 record bs , nr"}},
		"what has no CMCD":                {in: "https://cdn.example/a?x=CMCD\nhello\nfoo=1\na,b\nVCMCD=1", passed: 5},
		"an address that must be one":     {in: "https://cdn.example/a", as: URL, passed: 1},
		"nothing":                         {},
		"an empty body":                   {in: " \n", as: Body, passed: 1},
	} {
		t.Run(name, func(t *testing.T) {
			got, passed, err := readAll(t, strings.NewReader(c.in), c.as)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("pieces (-want +got):\n%s", diff)
			}
			if passed != c.passed {
				t.Errorf("passed over %d, want %d", passed, c.passed)
			}
		})
	}
}

const har = `{"log":{"version":"1.2","pages":[{"id":"p","nested":{"a":[1,2,{"b":null}]}}],"entries":[
{"startedDateTime":"2026-11-20T12:00:00.000Z","request":{"method":"GET","url":"https://cdn.example/a.m4s?CMCD=bl%3D100","headers":[{"name":"Accept","value":"*/*"}]},"response":{"content":{"text":"…"}}},
{"request":{"method":"GET","url":"https://cdn.example/b.m4s","headers":[{"name":"cmcd-request","value":"bl=200"},{"name":"CMCD-Session","value":"sid=\"s\""}]}},
{"request":{"method":"GET","url":"https://cdn.example/c.m4s","headers":[]}},
{"request":{"method":"POST","url":"https://cdn.example/reports","headers":[],"postData":{"mimeType":"application/cmcd; charset=utf-8","text":"e=t,v=2\n"}}},
{"request":{"method":"POST","url":"https://cdn.example/cmcd","headers":[],"postData":{"mimeType":"application/json","text":"{\"br\":100}"}}},
{"request":{"method":"POST","url":"https://cdn.example/cmcd/x","headers":[],"postData":{"mimeType":"","text":"ZT10LHY9Mg==","encoding":"base64"}}},
{"request":{"method":"POST","url":"https://cdn.example/login","headers":[],"postData":{"mimeType":"text/plain","text":"e=t"}}},
{"request":{"method":"POST","url":"https://cdn.example/cmcd?CMCD=su","headers":[],"postData":{"mimeType":"text/plain","text":"e=t"}}}
],"comment":"x"}}`

func TestHAR(t *testing.T) {
	want := []string{
		"1 url ?CMCD=bl%3D100 | @https://cdn.example/a.m4s",
		`2 headers Cmcd-Request: bl=200 | Cmcd-Session: sid="s" | @https://cdn.example/b.m4s`,
		"4 body e=t,v=2\n | <application/cmcd; charset=utf-8> | @https://cdn.example/reports",
		`5 json {"br":100} | <application/json> | @https://cdn.example/cmcd`,
		"6 body e=t,v=2 | @https://cdn.example/cmcd/x",
		"8 url ?CMCD=su | @https://cdn.example/cmcd",
		"8 body e=t | <text/plain> | @https://cdn.example/cmcd",
	}
	for name, in := range map[string]string{"as it is": har, "with a mark": "\ufeff" + har, "indented": "\n  " + strings.ReplaceAll(har, `{"log":`, "{\n\t\"log\" :\n")} {
		got, passed, err := readAll(t, strings.NewReader(in), "")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" || passed != 2 {
			t.Errorf("%s: passed over %d (-want +got):\n%s", name, passed, diff)
		}
	}
	other := `{"creator":{},"log":{"entries":[{"request":{"url":"/a?CMCD=bs"}}]}}`
	if got, _, err := readAll(t, strings.NewReader(other), HAR); err != nil || len(got) != 1 {
		t.Errorf("log is not the first member: %v, %v", got, err)
	}
}

// One odd entry is not the end of a HAR file: what can be read of it is used, and it is passed over if
// there is no CMCD in that.
func TestHARWithOddEntries(t *testing.T) {
	long := strings.Repeat("e=t,v=2\\n", maxLine/8+1)
	in := `{"log":{"entries":[
{"request":{"url":"/a?CMCD=bs"}},
{"startedDateTime":5,"request":{"url":"/b?CMCD=bs"}},
{"request":{"url":7,"method":"GET"}},
5,null,
{"request":{"method":"POST","url":"/cmcd","postData":{"mimeType":"application/cmcd","text":"` + long + `"}}},
{"request":{"method":"POST","url":"/cmcd?CMCD=su","postData":{"mimeType":"application/cmcd","text":"` + long + `"}}},
{"request":{"url":"/c?CMCD=bs"}}]}}`
	got, passed, err := readAll(t, strings.NewReader(in), "")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"1 url ?CMCD=bs | @/a", "2 url ?CMCD=bs | @/b", "7 url ?CMCD=su | @/cmcd", "8 url ?CMCD=bs | @/c"}
	if diff := cmp.Diff(want, got); diff != "" || passed != 5 {
		t.Errorf("passed over %d (-want +got):\n%s", passed, diff)
	}
}

// A body may have several objects, one a line or each over several.
func TestHARWithSeveralObjects(t *testing.T) {
	for body, want := range map[string]string{
		`{\"br\":100}`:                                     `0:{"br":100}`,
		`{\"br\":100}\n{\"br\":200}\n`:                     `1:{"br":100} 2:{"br":200}`,
		`{\n\"br\":100}\r\n\n{\"br\":200}\n[{\"br\":300}]`: "1:{\n\"br\":100} 2:{\"br\":200} 3:[{\"br\":300}]",
		`{\"br\":100}\n{\"br\":`:                           "0:{\"br\":100}\n{\"br\":",
		`[{\"br\":100},{\"br\":200}]`:                      `0:[{"br":100},{"br":200}]`,
		`{\"br\":100}\nnonsense`:                           "1:{\"br\":100} 2:nonsense",
		`{\"time\":1}\n{\"br\":200}`:                       "1:{\"time\":1} 2:{\"br\":200}",
	} {
		in := `{"log":{"entries":[{"request":{"method":"POST","url":"/cmcd","postData":{"mimeType":"application/json","text":"` + body + `"}}}]}}`
		var got []string
		for p, err := range NewReader(strings.NewReader(in), "", "").Pieces() {
			if err != nil || p.Form != JSON || p.Entry != 1 || p.Line != 0 {
				t.Fatalf("%s: %+v, %v", body, p, err)
			}
			got = append(got, fmt.Sprintf("%d:%s", p.Record, p.Text))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %q, want %q", body, got, want)
		}
	}
}

// However brackets are nested that nobody closes, each line is looked at a few times only.
func TestBracketsThatNobodyCloses(t *testing.T) {
	for _, text := range []string{"[\n", "{\n", "{\"a\":\n", "[{\"a\":\n", "[\n{}\n"} {
		began := time.Now()
		in := io.LimitReader(&repeated{text: strings.Repeat(text, 1000), n: 1 << 18}, 1<<18)
		if _, passed, err := readAll(t, in, ""); err != nil || passed < 1000 {
			t.Errorf("%q: passed over %d, %v", text, passed, err)
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("%q: took %v", text, took)
		}
	}
}

// What cannot be read is said with the place.
func TestWhatCannotBeRead(t *testing.T) {
	for name, c := range map[string]struct {
		in   io.Reader
		as   Form
		want string
	}{
		"a line too long":      {in: io.MultiReader(strings.NewReader("br=1\n"), long(maxLine+9)), want: "line 2 is longer than 1048576 bytes"},
		"a body too long":      {in: long(maxLine + 1), as: Body, want: "the body is longer"},
		"JSON too long":        {in: io.MultiReader(strings.NewReader("{\n"), lines(maxLine)), as: JSON, want: "line 1: the JSON value that begins there is longer"},
		"JSON without an end":  {in: strings.NewReader("{\"br\":1}\n{\"br\":\n1"), as: JSON, want: "line 2: the JSON value that begins there has no end"},
		"a head too long":      {in: io.MultiReader(strings.NewReader("GET /a HTTP/1.1\n"), lines(maxLine)), want: "header lines of one request are longer"},
		"a HAR file cut off":   {in: strings.NewReader(har[:600]), want: "cut off after entry"},
		"a HAR file of others": {in: strings.NewReader(`{"log":{"entries":{}}}`), want: "{ stands where a [ is expected"},
		"no entries":           {in: strings.NewReader(`{"log":{"pages":[]}}`), want: "no entries at log.entries"},
		"JSON in an abyss":     {in: strings.NewReader(strings.Repeat("[", 100)), as: JSON, want: "line 1: the JSON value that begins there is nested"},
		"a broken entry":       {in: strings.NewReader(`{"log":{"entries":[{"request":{"url":"/a?CMCD=bs"}},{"request":{"url":7;}}]}}`), want: "from entry 2 on"},
		"no HAR file":          {in: strings.NewReader("br=1"), as: HAR, want: "the HAR file cannot be read"},
		"an entry too long":    {in: io.MultiReader(strings.NewReader(`{"log":{"entries":[{"x":"`), long(maxEntry+1<<20)), want: "longer than 64 MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, _, err := readAll(t, c.in, c.as); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("err = %v, want one with %q", err, c.want)
			}
		})
	}
}

// repeated is n bytes of a text again and again.
type repeated struct {
	text  string
	n, at int
}

func (r *repeated) Read(p []byte) (int, error) {
	if r.at == r.n {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), r.n-r.at)], r.text[r.at%len(r.text):])
	r.at += n
	return n, nil
}

func long(n int) io.Reader  { return &repeated{text: strings.Repeat("x", 4096), n: n} }
func lines(n int) io.Reader { return &repeated{text: strings.Repeat("A: bcd\n", 1000), n: 2 * n} }

// A HAR file of any size is read with the memory of one entry.
func TestHARIsReadAsAStream(t *testing.T) {
	entry := `{"request":{"url":"/a?CMCD=bs"},"response":{"text":"` + strings.Repeat("x", 100_000) + `"}},`
	const entries = 300 // 30 MB
	in := io.MultiReader(strings.NewReader(`{"log":{"entries":[`), &repeated{text: entry, n: entries * len(entry)}, strings.NewReader(`{"request":{}}]}}`))
	n := 0
	r := NewReader(in, "", "")
	for _, err := range r.Pieces() {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != entries || r.Passed != 1 {
		t.Errorf("%d pieces and %d without, want %d and 1", n, r.Passed, entries)
	}
}

func TestReadingEndsWhenNoMoreIsWanted(t *testing.T) {
	for name, in := range map[string]string{"lines": "bs\nbs\nbs", "HAR": har, "heads": "GET /a?CMCD=bs\nGET /b?CMCD=bs\n"} {
		n := 0
		for _, err := range NewReader(strings.NewReader(in), "", "").Pieces() {
			if err != nil {
				t.Fatal(err)
			}
			n++
			break
		}
		if n != 1 {
			t.Errorf("%s: %d pieces", name, n)
		}
	}
}

// Whatever comes in, every piece has something to look at, and its place lies in the input.
func FuzzReader(f *testing.F) {
	for _, as := range append(inputForms, "") {
		f.Add(string(as), har)
		f.Add(string(as), "GET /a?CMCD=bs HTTP/1.1\nHost: x\nCMCD-Request: bl=100\n\n> GET /b\n> CMCD-Status: bs\n>\nbr=1\n{\"a\":\n1}")
		f.Add(string(as), `"GET /a?CMCD=bs HTTP/1.1" x?CMCD= CMCD= <?CMCD=> '?&CMCD=`)
		f.Add(string(as), "{\"log\" : {\"entries\":[{}, {\"request\":null}, {\"request\":{\"method\":\"POST\",\"url\":\"/cmcd\",\"postData\":{}}}]}}")
	}
	f.Fuzz(func(t *testing.T, as, in string) {
		form, err := ParseInputForm(as)
		if err != nil {
			return
		}
		r := NewReader(strings.NewReader(in), "", form)
		total := 0
		for p, err := range r.Pieces() {
			if err != nil {
				break
			}
			if total += len(p.Text) + len(p.RawQuery); total > 2*len(in)+64 {
				t.Fatalf("the pieces are longer than the input: %q", found(p))
			}
			switch p.Form {
			case Record, JSON, Body:
				if p.Text == "" && p.Entry == 0 {
					t.Fatalf("an empty piece: %q", found(p))
				}
			case URL, Query, Headers:
				if argument(p.RawQuery) < 0 && len(p.Header) == 0 {
					t.Fatalf("a request without CMCD: %q", found(p))
				}
			default:
				t.Fatalf("form %q", p.Form)
			}
			if p.Line > strings.Count(in, "\n")+1 {
				t.Fatalf("line %d of %q", p.Line, in)
			}
			n := 0
			for f := range p.Records(Look{PercentDecodings: 2}) {
				if n++; f.Error == "" && f.Version == 0 {
					t.Fatalf("a record without version or error: %+v", f)
				}
				if err := f.writeTable(io.Discard, false); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}

// Blocks are held against what net/http makes of the same header lines.
func FuzzHeaderLines(f *testing.F) {
	f.Add("bl=100", "sid=\"a: b\"", true)
	f.Add("", "?", false)
	f.Fuzz(func(t *testing.T, request, session string, quoted bool) {
		if strings.ContainsAny(request+session, "\r\n\x00") {
			return
		}
		sign := ""
		if quoted {
			sign = "> "
		}
		in := sign + "GET /a HTTP/1.1\n" + sign + "CMCD-Request: " + request + "\n" + sign + "X-Other: y\n" + sign + "cmcd-SESSION:" + session + "\n\n"
		want := make(http.Header)
		want.Add("CMCD-Request", strings.TrimSpace(request))
		want.Add("CMCD-Session", strings.TrimSpace(session))
		if strings.HasPrefix(request, "//") || strings.HasPrefix(session, "//") {
			return // taken for an address
		}
		for p, err := range NewReader(strings.NewReader(in), "", Headers).Pieces() {
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, p.Header); diff != "" || p.URL != "/a" {
				t.Fatalf("%q (-want +got):\n%s", in, diff)
			}
			return
		}
		t.Fatalf("nothing was found in %q", in)
	})
}
