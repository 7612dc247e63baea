package validate

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// hostile are pieces that records are made of to cost as much as they can.
var hostile = map[string]string{
	"bad records": "x\n", "empty lines": "\n", "good records": "e=t,ts=1,v=2\n", "good values": "br=(1),e=t,ot=v,sta=p,ts=1,v=2\n", "bad strings": "a=\"\\\",\n",
	"keys": "a,", "custom keys": "a-b,", "values": "a=1,", "strings": `a="\",`, "lists": "br=(),", "bad lists": "br=(", "duplicates": "br=(),br=(),br=()\n",
	"items": "1 ", "types": "1;a;v;av;m;x ", "texts": `"" `, "ranges": `"";r="" `, "parameters": ";a", "commas": ",", "capitals": "A,", "broken": "\xff,", "control": "\x01,",
	"escapes": `\"`, "bytes": ":AA==:,", "percent": "%3D,", "two members": "a b,", "tokens": "e=t,ot=v,sf=d,st=v,sta=p,", "mostly encoded": "%22a%22\n", "no event": "e=z\n", "no type": "ot=z,", "bad item": "br=(1;v=z)\n", "incomplete": "e=rr\n",
}

func hostileRecords(size int) map[string]string {
	records := map[string]string{}
	for name, part := range hostile {
		records[name] = strings.Repeat(part, size/len(part))
		for _, start := range []string{"br=(1", `nor=(""`, `cid="`, "a-b=1", "a=%3D%22"} {
			records[start+name] = start + records[name]
			if strings.Contains(start, "(") {
				records[start+name+")"] = start + records[name] + `)`
			}
		}
	}
	for _, prefix := range []string{"", "a-", "A"} {
		numbered := strings.Builder{}
		for i := 0; numbered.Len() < size; i++ {
			fmt.Fprintf(&numbered, "%sx%c%c%c,", prefix, 'a'+i%26, 'a'+i/26%26, 'a'+i/676%26)
		}
		records["many "+prefix] = numbered.String()
	}
	return records
}

func hostileJSON(size int) map[string]string {
	texts := map[string]string{}
	for _, part := range []string{"1,", `"\n",`, "[],", "{},", "[[],[]],", "1e999,", `"\ud83d\ude00",`, "null,", `""` + ",", "0.5,"} {
		list := strings.TrimSuffix(strings.Repeat(part, size/len(part)), ",")
		texts["list of "+part] = `{"br":[` + list + `]}`
		texts["array of "+part] = `[` + list + `]`
	}
	for _, part := range []string{`{"a":1},`, `{"br":1},`, `{},`, `{"br":[1,2],"a-b":"\""},`, `{"":1},`} {
		texts["array of "+part] = `[` + strings.TrimSuffix(strings.Repeat(part, size/len(part)), ",") + `]`
	}
	for _, part := range []string{`"a":1,`, `"":1,`, `"\n":"\n",`, `"br":[1],`} {
		texts["members "+part] = `{` + strings.TrimSuffix(strings.Repeat(part, size/len(part)), ",") + `}`
	}
	texts["broken"] = `{"br":[` + strings.Repeat("1,", size/2)
	texts["deep"] = strings.Repeat("[", size)
	return texts
}

// allocated returns the bytes that f allocates, also those that it does not keep.
func allocated(f func()) int {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return int(after.TotalAlloc - before.TotalAlloc)
}

// least is what MaxIssues issues and sf.MaxValues members, items and parameters may take, however short the input is.
const least = 512 << 10

// Whatever comes in, validating takes no more memory than 16 times as much, beyond that.
func TestMemoryIsBounded(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector takes memory and time itself")
	}
	worst := map[int]string{}
	most := map[int]int{}
	for _, size := range []int{512, 1 << 10, 2 << 10, 4 << 10, 16 << 10, 64 << 10} {
		look := func(how, name string, length int, f func() []Issue) {
			var issues []Issue
			got := allocated(func() { issues = f() })
			if allowed := 16*length + least; got > allowed {
				t.Errorf("%s, %s of %d bytes: %d bytes with %d issues, want at most %d", how, name, length, got, len(issues), allowed)
			}
			if got > most[size] {
				most[size], worst[size] = got, fmt.Sprint(how, ", ", name, " with ", len(issues), " issues")
			}
		}
		records := hostileRecords(size)
		for _, name := range slices.Sorted(maps.Keys(records)) {
			record := records[name]
			query := "CMCD=" + url.QueryEscape(record)
			look("record", name, len(record), func() []Issue { return Record(record, Options{}) })
			look("record of version 2", name, len(record)+4, func() []Issue { return Record(record+",v=2", Options{}) })
			look("query", name, len(query), func() []Issue { return Query(query) })
			look("raw query", name, len(record), func() []Issue { return Query("CMCD=" + record) })
			look("body", name, len(record), func() []Issue { return Body("", []byte(record)) })
			h := http.Header{"Cmcd-Object": {record}, "Cmcd-Request": {record}, "Cmcd-Session": {record}, "Cmcd-Status": {record, record}}
			look("headers", name, 5*len(record), func() []Issue { return Headers(h) })
		}
		arguments := strings.Repeat("CMCD=x%3D&", size/10)
		look("query", "arguments", len(arguments), func() []Issue { return Query(arguments) })
		texts := hostileJSON(size)
		for _, name := range slices.Sorted(maps.Keys(texts)) {
			look("JSON", name, len(texts[name]), func() []Issue { return JSON([]byte(texts[name])) })
		}
		t.Logf("%d bytes: at most %d (%.1f times), %s", size, most[size], float64(most[size])/float64(size), worst[size])
	}
}

// TestTimeIsLinear: eight times the input takes about eight times as long, whatever it is made of. Were it
// quadratic, it would be 64 times.
func TestTimeIsLinear(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector takes memory and time itself")
	}
	const size = 32 << 10
	best := func(f func()) time.Duration {
		shortest := time.Hour
		for range 5 {
			start := time.Now()
			f()
			shortest = min(shortest, time.Since(start))
		}
		return shortest
	}
	small, large := hostileRecords(size), hostileRecords(8*size)
	for name := range hostile {
		for _, name := range []string{name, `cid="` + name, "br=(1" + name} {
			for how, f := range map[string]func(string) []Issue{
				"record": func(s string) []Issue { return Record(s, Options{}) },
				"body":   func(s string) []Issue { return Body("", []byte(s)) },
				"query":  func(s string) []Issue { return Query("CMCD=" + s) },
			} {
				one, eight := best(func() { f(small[name]) }), best(func() { f(large[name]) })
				if eight > 32*max(one, 100*time.Microsecond) {
					t.Errorf("%s, %s: %v for %d bytes, %v for eight times as many", how, name, one, size, eight)
				}
			}
		}
	}
}
