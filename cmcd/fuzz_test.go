package cmcd

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/dunglas/httpsfv"
)

func seeds(f *testing.F) {
	for _, s := range []string{
		`bl=21300,br=3200,bs,cid="faec5fc2-ac30-11ea-bb37-0242ac130002",d=4004,dl=18500,mtp=48100,nor="..%2F300kbps%2Ftrack.m4v",ot=v,pr=1.08,rtp=12000,sf=d,sid="6e2fb550",st=v,su,tb=6000`,
		`bg,bl=(2100;v 1800;a),ec=("2001" "x"),nor=("a";r="0-99" "b"),ltc=-5,v=2,com.example-a=(b;p=1 "c,d"),com.example-b="\"x\\"`,
		`cid="movie "A"\1",ot="v",bs=true,br=467.6355,`, `br=(3000,ot=v`, `a-b="x;,a-b="x;,`, "sid=\"\xff\x00\t\"", `,,=;()?"\`, `br=(1 2 3;v=?1;r="x),sid=s`,
		`a-b=c"d,e"`, `a-b=;x`, `x-y=(()`, `ot=(v;a),pr=-0.0005,v="2"`,
	} {
		f.Add(s)
	}
	// And of each player and encoder that was captured the first record of each way to send it.
	seen := map[string]bool{}
	for c := range captures(f) {
		way := c.Player + " " + strconv.FormatBool(c.Query != "") + strconv.FormatBool(c.Body != "")
		if seen[way] {
			continue
		}
		seen[way] = true
		for record := range SplitBody(c.Body) {
			f.Add(record)
		}
		if query, err := url.QueryUnescape(argumentValue(c.Query)); err == nil && query != "" {
			f.Add(query)
		}
		for _, record := range c.Headers {
			f.Add(record)
		}
	}
}

// What was decoded can be written, and decodes to the same again.
func FuzzParse(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, record string) {
		v, err := Parse(record)
		if err != nil {
			if v.Len() != 0 || v.Custom != nil || v.Warnings != 0 {
				t.Errorf("%q: %v, and yet values", record, err)
			}
			return
		}
		wire := v.String()
		if !utf8.ValidString(wire) || strings.ContainsAny(wire, "\r\n\x00") {
			t.Errorf("%q is written as %q", record, wire)
		}
		again, err := Parse(wire)
		if err != nil {
			t.Fatalf("%q is written as %q: %v", record, wire, err)
		}
		if !again.Equal(&v) {
			t.Errorf("%q is written as %q, which is read as %q", record, wire, again.String())
		}
		if again.Warnings&^(WarnUnknownToken|WarnDecimal|WarnCharacter|WarnTooLong|WarnScalar|WarnList) != 0 {
			t.Errorf("%q is written as %q, which needs %v", record, wire, again.Warnings)
		}
		if len(v.Map()) != v.Len()+len(v.Custom) {
			t.Errorf("%q has %d keys, its map %d", record, v.Len()+len(v.Custom), len(v.Map()))
		}
	})
}

// The fast way of reading is a short cut to where the lenient one leads.
func FuzzFastIsNoOtherWay(f *testing.F) {
	seeds(f)
	for _, w := range wire {
		f.Add(w.record)
	}
	f.Fuzz(func(t *testing.T, record string) {
		var fast, slow Decoder
		slow.p.slow = true
		v, errFast := fast.Parse(record)
		w, errSlow := slow.Parse(record)
		if v == nil || w == nil {
			if v != w || !errors.Is(errFast, errSlow) {
				t.Errorf("%q: %v, read leniently %v", record, errFast, errSlow)
			}
			return
		}
		if !v.Equal(w) || v.Warnings != w.Warnings {
			t.Errorf("%q is %q with %v (%v), read leniently %q with %v (%v)", record, v.String(), v.Warnings, errFast, w.String(), w.Warnings, errSlow)
		}
	})
}

// Whatever a strict parser of structured fields makes sense of, the lenient one understands in the same way.
func FuzzAgreesWithStructuredFields(f *testing.F) {
	seeds(f)
	f.Add(`sid="s-1",su ,nrr="12",x-_.*="odd"	, br=(1;v 2)`)
	f.Fuzz(func(t *testing.T, record string) {
		dictionary, err := httpsfv.UnmarshalDictionary([]string{record})
		if err != nil {
			return
		}
		v, err := Parse(record)
		if err != nil {
			v = Values{}
		}
		for _, name := range dictionary.Names() {
			k, known := LookupKey(name)
			member, _ := dictionary.Get(name)
			item, isItem := member.(httpsfv.Item)
			if !known || !isItem || errors.Is(err, ErrVersion) {
				continue
			}
			switch want := item.Value.(type) {
			case string:
				if k.Type() == TextType && v.Text(k) != want {
					t.Errorf("%q: %v is %q, want %q", record, k, v.Text(k), want)
				}
			case httpsfv.Token:
				if k.Type() == TokenType && v.Text(k) != string(want) {
					t.Errorf("%q: %v is %q, want %q", record, k, v.Text(k), want)
				}
			case bool:
				if k.Type() == BoolType && (!v.Has(k) || v.Bool(k) != want) {
					t.Errorf("%q: %v is %v, want %v", record, k, v.Bool(k), want)
				}
			case int64:
				if n, ok := v.Number(k); k.Type() == NumberType && want > 0 && (!ok || n != float64(want)) {
					t.Errorf("%q: %v is %v, want %v", record, k, n, want)
				}
			}
		}
	})
}

// A query says what its record says.
func FuzzQueryIsItsRecord(f *testing.F) {
	seeds(f)
	f.Add(`com.example-d=1;p="x\"y",a-b=("x\"y" "z"),sid="\"s\\"`)
	f.Fuzz(func(t *testing.T, record string) {
		want, err := Parse(record)
		query := url.QueryEscape(record)
		for _, query := range []string{query, strings.ReplaceAll(query, "+", "%20")} {
			got, ok := FromRequest("CMCD="+query, nil)
			if ok != (err == nil) || ok && (!got.Equal(&want) || got.Warnings != want.Warnings) {
				t.Errorf("%q is %q with %v, as a query %q with %v", record, want.String(), want.Warnings, got.String(), got.Warnings)
			}
		}
	})
}

// A decoder has no memory of the records before.
func FuzzDecoderForgets(f *testing.F) {
	f.Add(`br=(1 2;v),sid="\"a\"",a-b`, `br=1`)
	f.Fuzz(func(t *testing.T, before, record string) {
		var d Decoder
		_, _ = d.Parse(before)
		_, _ = d.FromRequest("CMCD="+before, nil)
		v, err := d.Parse(record)
		w, err2 := Parse(record)
		if !errors.Is(err, err2) || err == nil && (!v.Equal(&w) || v.Warnings != w.Warnings) {
			t.Errorf("%q after %q is %q (%v), else %q (%v)", record, before, v.String(), err, w.String(), err2)
		}
		if err != nil {
			return
		}
		c := v.Clone()
		_, _ = d.Parse(before)
		_, _ = d.FromRequest("CMCD="+before, nil)
		if !c.Equal(&w) || c.Warnings != w.Warnings {
			t.Errorf("the clone of %q became %q", record, c.String())
		}
	})
}

// What is encoded more often than once is read as often as it needs.
func FuzzPercentDecodings(f *testing.F) {
	f.Add(`br=3200,nor="..%2Fa.m4s",cid="a b+c%"`)
	f.Fuzz(func(t *testing.T, record string) {
		v, err := Parse(record)
		if err != nil {
			return
		}
		once := url.QueryEscape(v.String())
		if first, _, _ := strings.Cut(v.String(), `"`); strings.Contains(first, "%") {
			return // a token with an escape in it
		}
		want, ok := FromRequest("CMCD="+once, nil)
		if !ok {
			t.Fatalf("%q is no record", once)
		}
		d := Decoder{PercentDecodings: 3}
		for _, query := range []string{once, url.QueryEscape(once), url.QueryEscape(url.QueryEscape(once))} {
			got, ok := d.FromRequest("CMCD="+query, nil)
			if !ok || !got.Equal(&want) {
				t.Errorf("%q is read as %v, want %q", query, got, want.String())
			}
		}
	})
}

func FuzzFromRequest(f *testing.F) {
	f.Add("a=1&CMCD=br%3D3000%2Csid%3D%22a+b%22&b=2", "", "")
	f.Add("CMCD=%", `br=3000`, `sid="s"`)
	f.Add("CMCD=x&CMCD=br%3D1&CMCD", "", "v=2")
	f.Fuzz(func(t *testing.T, query, object, session string) {
		h := http.Header{"Cmcd-Object": {object}, "Cmcd-Session": {session, object}}
		v, ok := FromRequest(query, h)
		if !ok && (v.Len() != 0 || v.Custom != nil) {
			t.Errorf("%q: no CMCD, and yet values", query)
		}
		if v, ok := FromRequest(StripQuery(query), nil); ok {
			t.Errorf("%q: CMCD after it was stripped: %q", query, v.String())
		}
	})
}

func FuzzStripQuery(f *testing.F) {
	for _, s := range []string{"", "a=1", "CMCD=x", "a&CMCD&b", "&&CMCD=&&", "CMCDCMCD=CMCD", "CMCD=1&CMCD=2&a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, query string) {
		var kept []string
		stripped := false
		for argument := range strings.SplitSeq(query, "&") {
			if name, _, _ := strings.Cut(argument, "="); name == "CMCD" {
				stripped = true
			} else {
				kept = append(kept, argument)
			}
		}
		want := strings.Join(kept, "&")
		got := StripQuery(query)
		if got != want || !stripped && got != query {
			t.Errorf("%q becomes %q, want %q", query, got, want)
		}
	})
}

// A body is its lines, each a record of its own.
func FuzzParseBody(f *testing.F) {
	f.Add([]byte("e=ps,sta=p,v=2\n\ne=t,v=2\r\n"))
	f.Add([]byte("\ufeffe=t,sid=\"a\nb\",v=3\n \t\nhello"))
	for c := range captures(f) {
		if len(c.Body) > 1000 {
			f.Add([]byte(c.Body))
		}
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		records := slices.Collect(SplitBody(string(body)))
		n := 0
		for v, err := range ParseBody(body) {
			w, wantErr := Parse(records[n])
			if !errors.Is(err, wantErr) || !v.Equal(&w) || v.Warnings != w.Warnings {
				t.Errorf("record %d of %q is %q (%v), alone %q (%v)", n, body, v.String(), err, w.String(), wantErr)
			}
			n++
		}
		if n != len(records) {
			t.Errorf("%q has %d records, want %d", body, n, len(records))
		}
		for _, record := range records {
			if strings.Trim(record, " \t\r") != record || record == "" || strings.Contains(record, "\n") {
				t.Errorf("record %q of %q", record, body)
			}
		}
	})
}

func FuzzParseJSON(f *testing.F) {
	f.Add([]byte(`{"br":3200,"bs":true,"com.example-x":"y","ec":["a",1],"ot":"v"}`))
	f.Add([]byte(`[{"bl":[1,2.5555]},{"a-b":1e3,"sid":"\u0000"}]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		for v, err := range ParseJSON(data) {
			if err != nil {
				continue
			}
			again, err := Parse(v.String())
			if err != nil || !again.Equal(&v) {
				t.Errorf("%q is written as %q, which is read as %q: %v", data, v.String(), again.String(), err)
			}
		}
	})
}
