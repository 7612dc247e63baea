package validate

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/weir-stream/weir/cmcd"
)

// faults are what the players of the corpus do wrong, and nothing else is found in it.
var faults = []string{
	"dash.js 5.2.1 event line_feed",
	"dash.js 5.2.1 event not_with ab",
	"dash.js 5.2.1 event not_with tab",
	"dash.js 5.2.1 event object_type tpb",
	"dash.js 5.2.1 event privacy tpb",
	"dash.js 5.2.1 event token sta", // sta=w
	"dash.js 5.2.1 event type ec",   // ec=27
	"dash.js 5.2.1 request not_with ab",
	"dash.js 5.2.1 request not_with tab",
	"dash.js 5.2.1 request privacy tpb",
	"dash.js 5.2.1 request token sta",
	"hls.js 1.7.4 event line_feed",
	"hls.js 1.7.4 request header pr",      // version 1 has it in CMCD-Session
	"hls.js 1.7.4 request object_type bl", // of an init segment
	"hls.js 1.7.4 request object_type br", // of a playlist
	"hls.js 1.7.4 request object_type d",  // of an init segment
	"hls.js 1.7.4 request privacy tpb",
	"hls.js 1.7.4 request type lb", // decimals
	"hls.js 1.7.4 request type pb",
	"hls.js 1.7.4 request type tpb",
}

func TestPlayerCorpus(t *testing.T) {
	f, err := os.Open("../testdata/player_corpus.jsonl.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	records, found := 0, map[string]int{}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var line struct {
			Player, Kind, Query, Body string
			Headers                   map[string]string
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatal(err)
		}
		records++
		h := http.Header{}
		for name, value := range line.Headers {
			h.Set(name, value)
		}
		issues := Request(line.Query, h)
		if line.Kind == "event" {
			issues = Body("", []byte(line.Body))
		}
		for _, issue := range issues {
			found[strings.TrimSpace(fmt.Sprint(line.Player, " ", line.Kind, " ", issue.Rule, " ", issue.Key))]++
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d payloads: %v", records, found)
	if got := slices.Sorted(maps.Keys(found)); !slices.Equal(got, faults) {
		t.Errorf("the corpus has %q\nwant           %q", got, faults)
	}
}

// TestHabits: what other players are known to write.
func TestHabits(t *testing.T) {
	for _, test := range []struct {
		name, record string
		mode         cmcd.Mode
		want         string
	}{
		{
			"dash.js 3.2.2",
			`bl=2000,br=900,cid="movie "A"\1",d=2000,nor="https://example.com/v/2.m4s",ot="v",sf="d",sid="s",st="v",`,
			cmcd.RequestMode,
			"error syntax cid, error syntax, error relative nor, error type ot, error type sf, error type st",
		},
		{
			"Shaka 5.2.12", `bl=2000,br=900,cid="movie",d=2000,ot=v,sf=h,sid="s",st=v,tb=900,v=2`, cmcd.RequestMode,
			"error type bl, error type br, error type tb",
		},
		{
			"Shaka 5.2.12", `br=900,cid="movie",e=e,sid="s",sn=3,ts=1764752400000,v=2`, cmcd.EventMode,
			"error type br, error missing ec",
		},
		{
			"AVPlayer", `bl=2000,ot=v,sf=lh,sid="s"`, cmcd.RequestMode, "error token sf",
		},
		{
			"Media3", `br=840,bl=500,cid="a",ot=v,sid="s",pr=1.00`, cmcd.RequestMode, "warning needless pr, warning order bl",
		},
	} {
		got := []string{}
		for _, issue := range Record(test.record, Options{Mode: test.mode}) {
			got = append(got, strings.TrimSpace(string(issue.Severity)+" "+issue.Rule+" "+issue.Key))
		}
		if strings.Join(got, ", ") != test.want {
			t.Errorf("%s: %s\nhas  %s\nwant %s", test.name, test.record, strings.Join(got, ", "), test.want)
		}
	}
}
