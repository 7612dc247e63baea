package cmcd

import (
	"maps"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// hostile are pieces that records are made of to cost as much as they can.
var hostile = map[string]string{
	"strings": `a-b="x;,`, "quotes": `"`, "lists": `br=("x,`, "keys": `a-b=",`, "escapes": `cid="\",`,
	"items": "1 ", "typed items": "1;v ", "texts": `"" `, "ranges": `"";r="" `, "custom keys": "a-%,", "bare keys": "su,",
	"parameters": ";v", "commas": ",", "brackets": "(", "backslashes": `\"`, "broken": "\xff", "control": "\x01", "empty lists": "br=(),",
	"short lists": "br=(1 2),nor=(\"\" \"\"),",
}

func hostileRecords(size int) map[string]string {
	records := map[string]string{}
	for name, part := range hostile {
		records[name] = strings.Repeat(part, size/len(part))
		for _, start := range []string{"br=(", "nor=(", `cid="`, "a-b=("} {
			records[start+name] = start + records[name]
			records[start+name+")"] = start + records[name] + `)`
		}
	}
	numbered := strings.Builder{}
	for i := 0; numbered.Len() < size; i++ {
		numbered.WriteString("a-" + string(rune('a'+i%26)) + string(rune('a'+i/26%26)) + string(rune('a'+i/676%26)) + ",")
	}
	records["many custom keys"] = numbered.String()
	return records
}

// allocated returns the bytes that f allocates, also those that it does not keep.
func allocated(f func()) float64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return float64(after.TotalAlloc - before.TotalAlloc)
}

// Whatever comes in, decoding takes no more memory than 16 times as much, beyond what a record takes at all.
func TestMemoryIsBounded(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector takes memory itself")
	}
	for _, size := range []int{512, 2 << 10, 16 << 10} {
		testMemory(t, size)
	}
}

func testMemory(t *testing.T, size int) {
	const least = 8 << 10
	records := hostileRecords(size)
	for _, name := range slices.Sorted(maps.Keys(records)) {
		record := records[name]
		query := "CMCD=" + url.QueryEscape(record)
		values, _ := Parse(record)
		array := "[" + strings.TrimSuffix(strings.Repeat(`{"br":[1,2],"a-b":"\""},`, size/24), ",") + "]"
		for how, test := range map[string]struct {
			input  int
			decode func()
		}{
			"record": {len(record), func() { _, _ = Parse(record) }},
			"query":  {len(query), func() { FromRequest(query, nil) }},
			"raw":    {len(record), func() { FromRequest("CMCD="+record, nil) }},
			"body": {len(record), func() {
				for range ParseBody([]byte(record)) {
				}
			}},
			"clone": {len(record), func() { values.Clone() }},
			"json": {size, func() {
				for range ParseJSON([]byte(`{"br":[1` + strings.Repeat(",1", size/2) + `]}`)) {
				}
			}},
			"json strings": {size, func() {
				for range ParseJSON([]byte(`{"ec":["` + strings.TrimSuffix(strings.Repeat(`\n","`, size/6), `,"`) + `]}`)) {
				}
			}},
			"json array": {len(array), func() {
				for range ParseJSON([]byte(array)) {
				}
			}},
		} {
			if got := allocated(test.decode); got > 16*float64(test.input)+least {
				t.Errorf("%s, %s of %d bytes: %.0f bytes, %.1f times as many", name, how, test.input, got, got/float64(test.input))
			}
		}
	}
}

// The cost of a record must grow with its length, whatever it is made of.
func BenchmarkHostile(b *testing.B) {
	records := hostileRecords(64 << 10)
	for _, name := range slices.Sorted(maps.Keys(records)) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(records[name])))
			for b.Loop() {
				_, _ = Parse(records[name])
			}
		})
	}
}
