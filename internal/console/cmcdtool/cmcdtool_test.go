package cmcdtool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/weir-stream/weir/cmcd"
)

// Every key, token and warning that there is can be explained, and the watch page says the same of
// each key.
func TestEverythingHasAMeaning(t *testing.T) {
	source, err := os.ReadFile("../../../web/src/cmcd/keys.ts")
	if err != nil {
		t.Fatal(err)
	}
	page := make(map[string]string)
	for _, m := range regexp.MustCompile(`(?m)^  ([a-z]+): '(.*)',$`).FindAllStringSubmatch(string(source), -1) {
		page[m[1]] = m[2]
	}
	units := map[unit]string{kilobits: ", kbit/s", milliseconds: ", ms", playhead: ", ms", unixMilliseconds: ", Unix ms"}
	for k := range cmcd.AllKeys() {
		text, u := meanings[k].text, meanings[k].unit
		if text == "" {
			t.Errorf("%v has no meaning", k)
		}
		if want := text + units[u]; page[k.String()] != want {
			t.Errorf("web/src/cmcd/keys.ts says %q of %v, the command line %q", page[k.String()], k, want)
		}
		for _, token := range k.Tokens() {
			if tokenMeaning(k, token) == "" {
				t.Errorf("%v=%s has no meaning", k, token)
			}
		}
	}
	for _, word := range cmcd.Warning(1<<32 - 1).Names() {
		if tolerances[word] == "" {
			t.Errorf("the warning %s has no meaning", word)
		}
	}
}

func TestExplain(t *testing.T) {
	v, err := cmcd.Parse(`bl=(250),br=(3000;v 128;a),bs=?0,com.example-a="x",dl=2000,ltc=-1500,nor=("a.m4s"),org.svta-p-n="p",ot=zz,pr=1.5,pt=1764269150889,sta=r,ts=1764269150889,v=2`)
	if err != nil {
		t.Fatal(err)
	}
	for k, want := range map[cmcd.Key]string{
		cmcd.KeyBL:  "buffer length: 250 ms",
		cmcd.KeyBR:  "encoded bitrate of this object: 3 Mbit/s video, 128 kbit/s audio",
		cmcd.KeyBS:  "not: the buffer ran dry since the last report (also after a seek)",
		cmcd.KeyLTC: "live latency: -1.5 s",
		cmcd.KeyNOR: "next object that will be requested",
		cmcd.KeyOT:  "object type",
		cmcd.KeyPR:  "playback rate, 1 is real time",
		cmcd.KeyPT:  "playhead time: 2025-11-27 18:45:50.889 UTC",
		cmcd.KeySTA: "state of the player: rebuffering",
		cmcd.KeyTS:  "time of the event: 2025-11-27 18:45:50.889 UTC",
	} {
		if got := explain(&v, k); got != want {
			t.Errorf("%v: %q, want %q", k, got, want)
		}
	}
	if got := customMeaning("org.svta-p-n"); got != "player name (registered custom key)" {
		t.Errorf("org.svta-p-n: %q", got)
	}
	if got := customMeaning("com.example-a"); got != "custom key" {
		t.Errorf("com.example-a: %q", got)
	}
}

// What comes from outside cannot command the terminal, and does not push the columns apart.
func TestTablesAreSafeToLookAt(t *testing.T) {
	var out bytes.Buffer
	in := Input{Args: []string{"https://cdn.example/\x1b[2J?CMCD=" + "cid%3D%22" + strings.Repeat("x", 60) + "%1b%5b2J%22%2Cbs"}}
	if err := Decode(t.Context(), &out, in, Look{}, false); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(out.String(), "\x1b") {
		t.Errorf("an escape character came through: %q", out.String())
	}
	if !regexp.MustCompile(`(?m)^  bs   true +the buffer`).MatchString(out.String()) {
		t.Errorf("the columns are pushed apart:\n%s", out.String())
	}
}

// A body and a JSON array are several records, each with its own issues; what is wrong with the whole
// stands at the first.
func TestIssuesBelongToTheirRecords(t *testing.T) {
	for _, c := range []struct {
		piece Piece
		want  string
	}{
		{Piece{Form: Body, Text: "e=ps,sid=\"s\",sta=p,ts=1764269150889,v=2\nnonsense\ne=ps,sid=\"s\",ts=1764269150889,v=2"}, "1:0 2:unreadable 3:1 "},
		{Piece{Form: Body, Text: "e=t,sid=\"s\",ts=1764269150889,v=2", ContentType: "text/html"}, "1:1 "},
		{Piece{Form: Body, Text: "\n"}, "1:unreadable "},
		{Piece{Form: JSON, Text: `{"br":3000,"sid":"s"}`}, "0:0 "},
		{Piece{Form: JSON, Text: `{"br":"fast","sid":"s"}`}, "0:1 "},
		{Piece{Form: JSON, Text: `{`}, "0:unreadable "},
	} {
		got := ""
		for f := range c.piece.Records(Look{Validate: true}) {
			errs := 0
			for _, issue := range f.Issues {
				if issue.isError() {
					errs++
				}
			}
			if f.Error != "" && len(f.Issues) > 0 {
				got += fmt.Sprintf("%d:unreadable ", f.Record)
			} else {
				got += fmt.Sprintf("%d:%d ", f.Record, errs)
			}
		}
		if got != c.want {
			t.Errorf("%s: record and errors are %q, want %q", c.piece.Text, got, c.want)
		}
	}
}

// A report that was sent as a request is a report all the same: players do so that cannot post.
func TestReportsInQueries(t *testing.T) {
	for query, want := range map[string]string{
		`CMCD=e%3Dt%2Csid%3D%22s%22%2Cts%3D1764269150889%2Cv%3D2`:         "event method",
		`x=1&CMCD=e%3Dps%2Csid%3D%22s%22%2Cts%3D1764269150889%2Cv%3D2`:    "event method missing",
		`CMCD=e%3Dt,sid%3D%22s%22%2Cts%3D1764269150889%2Cv%3D2`:           "event method encoding",
		`CMCD=bs&CMCD=e%3Dt%2Csid%3D%22s%22%2Cts%3D1764269150889%2Cv%3D2`: "event method repeated",
		`CMCD=sid%3D%22s%22%2Csta%3Dp%2Cv%3D2`:                            "request",
	} {
		piece := NewPiece(URL, "https://cdn.example/cmcd?"+query, "")
		for f := range piece.Records(Look{Validate: true}) {
			got := f.Mode
			for _, issue := range f.Issues {
				if issue.isError() {
					got += " " + issue.Rule
				}
			}
			if got != want {
				t.Errorf("%s: %q, want %q: %v", query, got, want, f.Issues)
			}
		}
	}
}

func TestACancelledCommandEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Decode(ctx, &bytes.Buffer{}, Input{Stdin: strings.NewReader("bs\nbs")}, Look{}, true); !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v", err)
	}
}

// A writer that cannot be written to ends the command.
func TestOutputThatCannotBeWritten(t *testing.T) {
	full := errors.New("full")
	for name, err := range map[string]error{
		"decode":   Decode(t.Context(), failing{full}, Input{Args: []string{"bs"}}, Look{}, false),
		"validate": Validate(t.Context(), failing{full}, Input{Args: []string{"bs"}}, Look{}, Report{}),
	} {
		if !errors.Is(err, full) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }
