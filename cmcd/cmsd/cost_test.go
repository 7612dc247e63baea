package cmsd

import (
	"runtime"
	"strings"
	"testing"
)

// least is what sf.MaxValues members, items and parameters may take, however short the header is.
const least = 384 << 10

// Whatever comes in, reading takes no more memory than 16 times as much, beyond that.
func TestMemoryIsBounded(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector takes memory itself")
	}
	parts := []string{
		"a,", "a;etp=1,", ";a", "a;b=1,", ";b-c", `"",`, `"\",`, "a=(", "(1 2),", "a-b=(1 2),", ",", "A,", "1,", ";etp=x", "br=x,", "n=(),", `a="\"",`, ":AA==:,", "a b,", "\xff", "etp=1;",
	}
	for _, size := range []int{512, 1 << 10, 2 << 10, 4 << 10, 16 << 10, 64 << 10} {
		most, worst := 0, ""
		for _, part := range parts {
			for _, start := range []string{"", "a", `"`, "a=(", "(", "a=1"} {
				header := start + strings.Repeat(part, size/len(part))
				for how, read := range map[string]func(){
					"static":  func() { _, _ = ParseStatic(header) },
					"dynamic": func() { _, _ = ParseDynamic(header) },
					"append":  func() { Append([]string{header}, Hop{Name: "edge"}) },
				} {
					got := allocated(read)
					if got > 16*len(header)+least {
						t.Errorf("%s, %d bytes of %q and %q: %d bytes", how, len(header), start, part, got)
					}
					if got > most {
						most, worst = got, how+" "+start+part
					}
				}
			}
		}
		t.Logf("%d bytes: at most %d, %q", size, most, worst)
	}
}

// allocated returns the bytes that f allocates, also those that it does not keep.
func allocated(f func()) int {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return int(after.TotalAlloc - before.TotalAlloc)
}

func TestLimits(t *testing.T) {
	d, err := ParseDynamic(strings.Repeat("a;b-c;b-d=x,", 100) + "b")
	others := 0
	for i := range d {
		others += len(d[i].Other)
	}
	if len(d) != maxHops || others != maxOther || err == nil || strings.Count(err.Error(), "\n") != maxErrors || !strings.HasSuffix(err.Error(), " more of such kinds were dropped") {
		t.Errorf("%d hops, %d other keys, %v", len(d), others, err)
	}
	if _, err := ParseStatic("br=" + strings.Repeat("x", 5000)); err == nil || len(err.Error()) > 200 {
		t.Errorf("error is %v", err)
	}
}
