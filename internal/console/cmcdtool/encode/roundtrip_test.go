package encode

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/weir-stream/weir/cmcd"
	"github.com/weir-stream/weir/internal/console/cmcdtool"
)

// sent is a line of the corpus: what a real player has sent.
type sent struct {
	Player, Kind, Query, Body, Path string
	Headers                         map[string]string
}

func corpus(t *testing.T) []sent {
	t.Helper()
	f, err := os.Open("../../../../cmcd/testdata/player_corpus.jsonl.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var all []sent
	for d := json.NewDecoder(z); ; {
		var s sent
		if err := d.Decode(&s); err == io.EOF {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
}

// What decode makes of a correct record, encode makes a record of again that is the same byte for byte.
func TestDecodeAndEncodeAreTheIdentity(t *testing.T) {
	correct, all := 0, 0
	for _, s := range corpus(t) {
		var records []string
		switch s.Kind {
		case "event":
			for record := range cmcd.SplitBody(s.Body) {
				records = append(records, record)
			}
		case "request":
			if query, err := url.ParseQuery(s.Query); err == nil && query.Has("CMCD") {
				records = append(records, query.Get("CMCD"))
			}
		}
		for _, record := range records {
			all++
			p := cmcdtool.NewPiece(cmcdtool.Record, record, "")
			for f := range p.Records(cmcdtool.Look{Validate: true}) {
				if len(f.Issues) > 0 {
					continue
				}
				correct++
				line, err := json.Marshal(f)
				if err != nil {
					t.Fatal(err)
				}
				var out, warned bytes.Buffer
				e, err := New(&out, &warned, Options{})
				if err != nil {
					t.Fatal(err)
				}
				if err := e.JSON(string(line)); err != nil {
					t.Fatalf("encode %s: %v", line, err)
				}
				if got := strings.TrimSuffix(out.String(), "\n"); got != record || warned.Len() > 0 {
					t.Errorf("%s: %s\n was %s\n now %s\nsaid %s", s.Player, line, record, got, &warned)
				}
			}
		}
	}
	t.Logf("%d of %d records of the corpus are correct", correct, all)
	if correct < 100 {
		t.Errorf("only %d of %d records were looked at", correct, all)
	}
}

// The JSON loses nothing of a record, be it correct or not.
func FuzzValues(f *testing.F) {
	f.Add(`br=(3000;v 128;a),e=ps,nor=("a";r="0-1" "b"),org.svta-p-n="hls\"js",sid="s-1",sta=p,ts=1764269150889,v=2`)
	f.Add(`br=3000,com.ex-a=12,com.ex-b=1.50,com.ex-c=?0,com.ex-d,com.ex-e=(1 2),com.ex-f=tok,com.ex-g=01,pr=1.08,bs=?0,su`)
	f.Add(`ec=("a" "b"),bsd=(),ltc=-5,cid="<&>é",com.ex-h=?1,com.ex-i=;a=1,com.ex-j=-`)
	f.Fuzz(func(t *testing.T, record string) {
		v, err := cmcd.Parse(record)
		if err != nil {
			return
		}
		p := cmcdtool.NewPiece(cmcdtool.Record, record, "")
		var text []byte
		for f := range p.Records(cmcdtool.Look{}) {
			if text, err = json.Marshal(f.Values); err != nil {
				t.Fatalf("%q: %v", record, err)
			}
		}
		again, err := parseValues(text)
		if err != nil {
			t.Fatalf("%q: %s: %v", record, text, err)
		}
		if !v.Equal(&again) {
			t.Fatalf("%q: %s\n was %s\n now %s", record, text, v.String(), again.String())
		}
	})
}

// A writer that cannot be written to ends the command, and what stands in a message cannot command the
// terminal.
func TestOutput(t *testing.T) {
	full := errors.New("full")
	e, err := New(failing{full}, io.Discard, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Pairs([]string{"bs"}); !errors.Is(err, full) {
		t.Errorf("err = %v", err)
	}
	var warned bytes.Buffer
	if e, err = New(io.Discard, &warned, Options{}); err != nil {
		t.Fatal(err)
	}
	if err := e.JSON(`{"bs":true,"\u001b[2J-a":1}`); err != nil || !strings.Contains(warned.String(), "[2J-a") || strings.Contains(warned.String(), "\x1b") {
		t.Errorf("err = %v, said %q", err, &warned)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func TestAddresses(t *testing.T) {
	for address, want := range map[string]string{
		"https://cdn.example/a":                "https://cdn.example/a?CMCD=bs",
		"https://cdn.example/a?":               "https://cdn.example/a?CMCD=bs",
		"https://cdn.example/a?x=1&CMCD=old#t": "https://cdn.example/a?x=1&CMCD=bs#t",
		"https://cdn.example/a?CMCD=old":       "https://cdn.example/a?CMCD=bs",
		"https://cdn.example/a#":               "https://cdn.example/a?CMCD=bs#",
	} {
		if got := withCMCD(address, "CMCD=bs"); got != want {
			t.Errorf("%s: %s, want %s", address, got, want)
		}
	}
}
