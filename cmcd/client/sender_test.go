package client_test

import (
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weir-stream/weir/cmcd"
	"github.com/weir-stream/weir/cmcd/client"
	"github.com/weir-stream/weir/cmcd/validate"
)

// player is a Sender whose reports are looked at.
type player struct {
	t *testing.T
	*client.Sender
}

func newPlayer(t *testing.T) player {
	t.Helper()
	s, err := client.NewSender("s-1")
	if err != nil {
		t.Fatal(err)
	}
	return player{t, s}
}

func (p player) event(target string, fill func(v *cmcd.Values), o client.Options) string {
	p.t.Helper()
	o.Now = at(1000)
	record, err := p.Record(target, values(fill), o)
	if err != nil {
		p.t.Fatal(err)
	}
	if issues := validate.Record(record, validate.Options{Mode: cmcd.EventMode}); validate.HasErrors(issues) {
		p.t.Errorf("%s: %v", record, issues)
	}
	return record
}

func (p player) request(target, objectType string, o client.Options) string {
	p.t.Helper()
	v, ok := cmcd.FromRequest(p.Query(target, values(func(v *cmcd.Values) { v.SetText(cmcd.KeyOT, objectType) }), o), nil)
	if !ok {
		return ""
	}
	return v.String()
}

func heartbeat(v *cmcd.Values) { v.SetText(cmcd.KeyE, "t") }

func expect(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s is %s\nwant %s", what, got, want)
	}
}

func TestSequenceNumbersAreOfEachModeAndTarget(t *testing.T) {
	p := newPlayer(t)
	o := client.Options{}
	expect(t, "first request", p.request("a", "v", o), `ot=v,sid="s-1",sn=0,v=2`)
	expect(t, "first event", p.event("a", heartbeat, o), `e=t,sid="s-1",sn=0,ts=1000,v=2`)
	expect(t, "second request", p.request("a", "v", o), `ot=v,sid="s-1",sn=1,v=2`)
	expect(t, "other target", p.request("b", "v", o), `ot=v,sid="s-1",sn=0,v=2`)
	expect(t, "version 1", p.request("a", "v", client.Options{Version: 1}), `ot=v,sid="s-1"`)
	expect(t, "no sn wanted", p.request("a", "v", client.Options{Keys: []cmcd.Key{cmcd.KeyOT}}), "ot=v,v=2")
	expect(t, "nothing wanted", p.request("a", "v", client.Options{Keys: []cmcd.Key{}}), "")
	expect(t, "third request", p.request("a", "v", o), `ot=v,sid="s-1",sn=2,v=2`)
}

func TestStartDelayIsSentOnceInEachMode(t *testing.T) {
	p := newPlayer(t)
	o := client.Options{}
	p.request("a", "m", o)
	p.Started(1234567 * time.Microsecond)
	p.Started(time.Hour)
	p.request("a", "v", client.Options{Version: 1}) // which cannot say it
	expect(t, "next request", p.request("b", "v", o), `msd=1235,ot=v,sid="s-1",sn=0,v=2`)
	expect(t, "one after", p.request("a", "v", o), `ot=v,sid="s-1",sn=1,v=2`)
	expect(t, "event", p.event("a", heartbeat, o), `e=t,msd=1235,sid="s-1",sn=0,ts=1000,v=2`)
	expect(t, "event after", p.event("b", heartbeat, o), `e=t,sid="s-1",sn=0,ts=1000,v=2`)
}

func TestStarvation(t *testing.T) {
	p := newPlayer(t)
	o := client.Options{Keys: []cmcd.Key{cmcd.KeyBS, cmcd.KeyBSD}}
	const at = "e=t,ts=1000,v=2"
	expect(t, "before", p.event("a", heartbeat, o), at)
	p.Starved("v")
	expect(t, "begin", p.event("a", heartbeat, o), "bs,"+at)
	expect(t, "as long as it lasts", p.event("a", heartbeat, o), "bs,"+at)
	expect(t, "request of another type", p.request("a", "a", o), "")
	p.Recovered("v", 1500*time.Millisecond)
	expect(t, "end", p.event("a", heartbeat, o), "bs,bsd=(1500;v),"+at)
	expect(t, "after", p.event("a", heartbeat, o), at)
	p.Starved("")
	p.Recovered("nonsense", 100*time.Millisecond)
	expect(t, "between two reports", p.event("a", heartbeat, o), "bs,bsd=(100),"+at)
	expect(t, "version 1 of another type", p.request("c", "a", client.Options{Version: 1, Keys: []cmcd.Key{cmcd.KeyBS}}), "bs")
	expect(t, "version 1", p.request("c", "v", client.Options{Version: 1, Keys: []cmcd.Key{cmcd.KeyBS}}), "bs")
	expect(t, "version 1 after", p.request("c", "v", client.Options{Version: 1, Keys: []cmcd.Key{cmcd.KeyBS}}), "")
	expect(t, "a new target", p.event("b", heartbeat, o), "bs,bsd=(1500;v 100),"+at)
	expect(t, "request", p.request("a", "v", o), "bs,bsd=(1500;v 100),v=2")
}

func TestErrorsWaitForEachTarget(t *testing.T) {
	p := newPlayer(t)
	o := client.Options{Keys: []cmcd.Key{cmcd.KeyEC}}
	p.request("a", "v", o)
	p.Failed("E1")
	p.Failed("Zeit überschritten")
	failed := func(v *cmcd.Values) {
		v.SetText(cmcd.KeyE, "e")
		v.SetList(cmcd.KeyEC, cmcd.Item{Text: "not heeded"})
	}
	expect(t, "event", p.event("b", failed, client.Options{Keys: []cmcd.Key{}}), `e=e,ec=("E1" "Zeit ?berschritten"),ts=1000,v=2`)
	expect(t, "event once more", p.event("b", failed, o), `e=e,ec=("Zeit ?berschritten"),ts=1000,v=2`)
	expect(t, "other event", p.event("b", heartbeat, o), "e=t,ts=1000,v=2")
	expect(t, "request", p.request("a", "v", o), `ec=("E1" "Zeit ?berschritten"),v=2`)
	expect(t, "request after", p.request("a", "v", o), "")
	p.Failed("")
	expect(t, "event after", p.event("b", heartbeat, o), `e=t,ec=("?"),ts=1000,v=2`)
}

// However long codes are and however many, a request stays short; what it cannot carry waits for the next.
func TestOneRequestCarriesLittle(t *testing.T) {
	p := newPlayer(t)
	o := client.Options{Keys: []cmcd.Key{cmcd.KeyEC, cmcd.KeyBSD}}
	for i := range 20 {
		p.Failed(fmt.Sprint(i, strings.Repeat("\"é", 3000)))
		p.Recovered("v", time.Duration(i)*time.Millisecond)
	}
	var codes, durations []string
	for range 3 {
		query := p.Query("a", values(func(v *cmcd.Values) { v.SetText(cmcd.KeyOT, "v") }), o)
		v, ok := cmcd.FromRequest(query, nil)
		if !ok || len(query) > 3000 || len(v.List(cmcd.KeyEC)) > 8 || len(v.List(cmcd.KeyBSD)) > 8 {
			t.Errorf("a query has %d bytes: %s", len(query), query)
		}
		for _, item := range v.List(cmcd.KeyEC) {
			if len(item.Text) != 64 {
				t.Errorf("a code has %d characters", len(item.Text))
			}
			code, _, _ := strings.Cut(item.Text, `"`)
			codes = append(codes, code)
		}
		for _, item := range v.List(cmcd.KeyBSD) {
			durations = append(durations, fmt.Sprint(item.Number))
		}
	}
	const want = "0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19"
	expect(t, "the codes", strings.Join(codes, " "), want)
	expect(t, "the durations", strings.Join(durations, " "), want)
	expect(t, "the rest", p.request("a", "v", o), "")
	if v, err := cmcd.Parse(p.event("a", heartbeat, o)); err != nil || len(v.List(cmcd.KeyEC)) != 20 || p.Lost() != 0 {
		t.Errorf("an event has %d codes, %v, %d lost", len(v.List(cmcd.KeyEC)), err, p.Lost())
	}
}

func TestWarningsOfWhatIsSent(t *testing.T) {
	p := newPlayer(t)
	r, err := p.Prepare("a", values(func(v *cmcd.Values) { v.SetText(cmcd.KeyCS, "é"); v.SetBool(cmcd.KeySU, true) }), client.Options{})
	if err != nil || r.Warnings != cmcd.WarnCharacter {
		t.Errorf("%v, %v", r.Warnings, err)
	}
	expect(t, "the query", r.Query(), "CMCD=sid%3D%22s-1%22%2Csn%3D0%2Csu%2Cv%3D2")
	expect(t, "the next one", p.request("a", "v", client.Options{}), `ot=v,sid="s-1",sn=1,v=2`)
	if _, err := p.Prepare("a", values(func(*cmcd.Values) {}), client.Options{Mode: cmcd.EventMode}); err == nil {
		t.Error("a report without an event is none")
	}
}

func TestRecordRefusesWhatIsNoEvent(t *testing.T) {
	p := newPlayer(t)
	p.Started(time.Second)
	for _, event := range []string{"", "x", "b1", "bc", "c", "ce", "e", "h", "pr", "ps", "rr"} {
		record, err := p.Record("a", values(func(v *cmcd.Values) { v.SetText(cmcd.KeyE, event) }), client.Options{})
		if err == nil || record != "" || !strings.Contains(err.Error(), "must") {
			t.Errorf("event %q: %q, %v", event, record, err)
		}
	}
	expect(t, "first good event", p.event("a", heartbeat, client.Options{}), `e=t,msd=1000,sid="s-1",sn=0,ts=1000,v=2`)
}

func TestSessionID(t *testing.T) {
	for _, sid := range []string{"", strings.Repeat("s", 65), "é", "a\nb"} {
		if _, err := client.NewSender(sid); err == nil {
			t.Errorf("%q is no session ID", sid)
		}
	}
}

func TestHeaders(t *testing.T) {
	p := newPlayer(t)
	v := values(func(v *cmcd.Values) {
		v.SetText(cmcd.KeySID, "another")
		v.SetList(cmcd.KeyBR, cmcd.Item{Number: 3000, Type: "v"})
		v.SetNumber(cmcd.KeyPR, 2)
		v.Custom = []cmcd.CustomValue{custom("com.example-a", "b", false)}
	})
	got := p.Headers("a", v, client.Options{CustomHeaders: map[string]cmcd.Header{"com.example-a": cmcd.SessionHeader}})
	want := http.Header{
		"Cmcd-Object": {"br=(3000;v)"}, "Cmcd-Request": {"sn=0"}, "Cmcd-Status": {"pr=2"}, "Cmcd-Session": {`com.example-a="b",sid="s-1",v=2`},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("headers are %v\nwant %v", got, want)
	}
	got = p.Headers("a", v, client.Options{Version: 1, CustomKeys: []string{}})
	want = http.Header{"Cmcd-Object": {"br=3000"}, "Cmcd-Session": {`pr=2,sid="s-1"`}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("headers of version 1 are %v\nwant %v", got, want)
	}
}

// What a Sender remembers has an end, whatever the player does.
func TestMemoryIsBounded(t *testing.T) {
	p := newPlayer(t)
	o := client.Options{Keys: []cmcd.Key{cmcd.KeyEC, cmcd.KeySN}}
	for i := range 100 {
		p.Failed(fmt.Sprint(i))
		p.Starved("a")
		p.Recovered("a", time.Second)
	}
	record := p.event("a", heartbeat, o)
	if v, err := cmcd.Parse(record); err != nil || len(v.List(cmcd.KeyEC)) != 64 || v.List(cmcd.KeyEC)[63].Text != "99" || p.Lost() != 36 {
		t.Errorf("%s: %v, %d lost", record, err, p.Lost())
	}
	for i := range 63 {
		p.event(fmt.Sprint(i), heartbeat, o)
	}
	p.event("a", heartbeat, o)
	p.event("one too many", heartbeat, o) // the target "0" is forgotten
	expect(t, "a target that was used", p.event("a", heartbeat, o), "e=t,sn=2,ts=1000,v=2")
	if record := p.event("0", heartbeat, o); !strings.Contains(record, "sn=0,") {
		t.Errorf("a target that was forgotten gets %s", record)
	}
}

func TestManyGoroutines(t *testing.T) {
	p := newPlayer(t)
	p.Started(time.Second)
	const each, workers = 50, 8
	var mu sync.Mutex
	seen := map[string]int{}
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for range each {
				p.Failed("E1")
				p.Starved("v")
				p.Recovered("v", time.Second)
				record, err := p.Record(fmt.Sprint(w%2), values(heartbeat), client.Options{})
				v, parseErr := cmcd.Parse(record)
				if err != nil || parseErr != nil {
					t.Errorf("%s: %v, %v", record, err, parseErr)
				}
				sn, _ := v.Number(cmcd.KeySN)
				mu.Lock()
				seen[fmt.Sprint(w%2, " sn ", sn)]++
				seen[fmt.Sprint(w%2, " ec")] += len(v.List(cmcd.KeyEC))
				seen[fmt.Sprint(w%2, " bsd")] += len(v.List(cmcd.KeyBSD))
				if v.Has(cmcd.KeyMSD) {
					seen["msd"]++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for target := range 2 {
		for sn := range each * workers / 2 {
			if key := fmt.Sprint(target, " sn ", sn); seen[key] != 1 {
				t.Errorf("%s was seen %d times", key, seen[key])
			}
		}
	}
	p.event("0", heartbeat, client.Options{})
	p.event("1", heartbeat, client.Options{})
	if seen["msd"] != 1 || seen["0 ec"] > each*workers || seen["1 bsd"] > each*workers {
		t.Errorf("msd %d times, %d codes, %d durations", seen["msd"], seen["0 ec"], seen["1 bsd"])
	}
}
