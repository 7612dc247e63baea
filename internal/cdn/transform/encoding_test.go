package transform

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

var all = []Encoding{Zstd, Brotli, Gzip}

func TestNegotiate(t *testing.T) {
	for _, test := range []struct {
		field   string
		offered []Encoding
		want    Encoding
	}{
		{"", all, Identity},
		{"gzip, deflate, br, zstd", all, Zstd}, // what browsers say
		{"gzip, deflate, br, zstd", []Encoding{Brotli, Zstd, Gzip}, Brotli},
		{"gzip, deflate, br", all, Brotli},
		{"gzip, deflate", all, Gzip},
		{"gzip", []Encoding{Brotli}, Identity},
		{"gzip", nil, Identity},
		{"deflate", all, Identity},
		{"x-gzip", all, Gzip},
		{"GZIP;Q=0.5", all, Gzip},
		{"zstd;q=0.5, br;q=0.9, gzip;q=0.1", all, Brotli},
		{"zstd;q=0.123, gzip;q=0.124", all, Gzip},
		{"zstd;q=0, br;q=0.000, gzip", all, Gzip},
		{"zstd;q=0, br;q=0, gzip;q=0", all, Identity},
		{"gzip ; q=1.000 ,\tbr;q=0.9", all, Gzip},
		{"*", all, Zstd},
		{"*;q=0.5, zstd;q=0", all, Brotli},
		{"gzip, *;q=0", all, Gzip},
		{"gzip;q=0.5, *;q=1", all, Zstd},
		{"*;q=0", all, Identity},
		{"identity", all, Identity},
		{"identity, gzip;q=0.5", all, Identity},
		{"identity;q=0.5, gzip;q=0.5", all, Gzip},
		{"identity;q=0.5, gzip;q=1.0", all, Gzip},
		{"identity;q=0", all, Identity}, // refused, but there is nothing else
		{"identity;q=0, *", all, Zstd},
		// What is malformed counts as not there.
		{"zstd;q=2, gzip", all, Gzip},
		{"zstd;q=, gzip", all, Gzip},
		{"zstd;q=0.1234, gzip", all, Gzip},
		{"zstd;q=1.001, gzip", all, Gzip},
		{"zstd;q=-1, br;q=.5, gzip;q=0.5x", all, Identity},
		{"z std, gzip", all, Gzip},
		{",,gzip,,", all, Gzip},
		{"gzip;level=9;q=0.5", all, Gzip},
		{"gzip;q=0, gzip", all, Identity}, // the first counts
	} {
		if got := Negotiate(test.field, test.offered); got != test.want {
			t.Errorf("%q of %v: %s, want %s", test.field, test.offered, got, test.want)
		}
	}
	if n := testing.AllocsPerRun(100, func() { Negotiate("gzip, deflate, br;q=0.9, zstd", all) }); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

func FuzzNegotiate(f *testing.F) {
	for _, s := range []string{"", "gzip, deflate, br, zstd", "*;q=0", "identity;q=0.5, gzip;q=0.001", ";;;,,,", "gzip;q=1.0000", "gzip; q=0.5"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, field string) {
		got := Negotiate(field, all)
		if got != Identity && !slices.Contains(all, got) {
			t.Fatalf("%q: %q was not offered", field, got)
		}
		if got != Identity && !strings.Contains(strings.ToLower(field), string(got)) && !strings.Contains(field, "*") {
			t.Errorf("%q: %s was not asked for", field, got)
		}
		if again := Negotiate(string(got), all); again != got {
			t.Errorf("%q: %s is not its own normal form, but %s", field, got, again)
		}
		if got := Negotiate(field, nil); got != Identity {
			t.Errorf("%q: %s although nothing is offered", field, got)
		}
		// A client that takes a coding from three gets it also when it is the only one.
		if one := Negotiate(field, []Encoding{got}); one != got {
			t.Errorf("%q: %s of all, %s of it alone", field, got, one)
		}
		// What stands behind what is malformed counts.
		if strings.TrimSpace(field) == "" {
			return
		}
		if !strings.Contains(strings.ToLower(field), "zstd") && Negotiate(field+",zstd", []Encoding{Zstd}) != Zstd &&
			!strings.Contains(strings.ToLower(field), "identity") {
			t.Errorf("%q: zstd behind it is not seen", field)
		}
	})
}

func TestTags(t *testing.T) {
	for _, test := range []struct {
		etag string
		e    Encoding
		want string
	}{
		{`"abc"`, Brotli, `W/"abc-br"`},
		{`W/"abc"`, Gzip, `W/"abc-gzip"`},
		{`"a,b c"`, Zstd, `W/"a,b c-zstd"`},
		{`""`, Identity, `W/"-identity"`},
		{`abc`, Brotli, ""},
		{`"abc`, Brotli, ""},
		{`"a"b"`, Brotli, ""},
		{`"a", "b"`, Brotli, ""},
	} {
		if got := Tag(test.etag, test.e); got != test.want {
			t.Errorf("Tag(%s, %s) = %s, want %s", test.etag, test.e, got, test.want)
		}
	}
	for _, test := range []struct{ sent, want string }{
		{"", ""},
		{"*", "*"},
		{`"abc"`, `"abc"`},
		{`W/"abc-br"`, `W/"abc-br", "abc"`},
		{`W/"a,b-gzip" ,"c"`, `W/"a,b-gzip", "a,b", "c"`},
		{`W/"abc-1"`, `W/"abc-1"`},
		{`"abc-br"`, `"abc-br"`}, // strong: none of ours
		{`W/"-identity",, W/"x-zstd"`, `W/"-identity", "", W/"x-zstd", "x"`},
		{`W/"abc-br" garbage`, `W/"abc-br" garbage`},
		{`abc-br`, `abc-br`},
	} {
		if got := OriginalTags(test.sent); got != test.want {
			t.Errorf("OriginalTags(%s) = %s, want %s", test.sent, got, test.want)
		}
	}
}

func FuzzTags(f *testing.F) {
	for _, s := range []string{`"abc"`, `W/"abc-br"`, `"a,b", W/"c"`, "*", `""`, `W/`, `"`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, etag string) {
		OriginalTags(etag)
		tag := Tag(etag, Brotli)
		if tag == "" {
			return
		}
		if strong := strings.TrimPrefix(etag, "W/"); !strings.Contains(OriginalTags(tag), strong) {
			t.Errorf("%s became %s, which leads back to %s", etag, tag, OriginalTags(tag))
		}
	})
}

// playlist is text as an edge serves it: n media segments.
func playlist(n int) []byte {
	random := rand.New(rand.NewPCG(1, 2))
	var b strings.Builder
	b.WriteString("#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:6\n")
	for i := range n {
		b.WriteString("#EXTINF:6.00")
		b.WriteString(strings.Repeat("0", random.IntN(3)))
		b.WriteString(",\nsegment-")
		for v := i*7919 + random.IntN(1000); v > 0; v /= 10 {
			b.WriteByte(byte('0' + v%10))
		}
		b.WriteString(".m4s\n")
	}
	return []byte(b.String())
}
