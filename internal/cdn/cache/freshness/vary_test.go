package freshness

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

func TestVaryNames(t *testing.T) {
	for _, tt := range []struct {
		lines    []string
		want     []string
		anything bool
	}{
		{nil, nil, false},
		{[]string{""}, nil, false},
		{[]string{"foo"}, []string{"Foo"}, false},
		{[]string{"foo, accept-ENCODING", "Foo,bar"}, []string{"Accept-Encoding", "Bar", "Foo"}, false},
		{[]string{"foo, *"}, nil, true},
		{[]string{"foo:"}, nil, true},
		{[]string{strings.Repeat("a,", 31) + "b"}, []string{"A", "B"}, false},
		{[]string{strings.Repeat("a,", 32) + "b"}, nil, true},
	} {
		names, anything := varyOf(http.Header{"Vary": tt.lines})
		if !slices.Equal(names, tt.want) || anything != tt.anything {
			t.Errorf("%q: %q, %v; want %q, %v", tt.lines, names, anything, tt.want, tt.anything)
		}
	}
}

// Which requests may be given each other's answers (RFC 9111 §4.1).
func TestVariants(t *testing.T) {
	foo := []string{"Foo"}
	three := []string{"Bar", "Baz", "Foo"}
	for _, tt := range []struct {
		name string
		vary []string
		a, b http.Header
		same bool
	}{
		{"nothing selects", nil, header("Foo", "1"), header("Foo", "2"), true},
		{"same", foo, header("Foo", "1"), header("Foo", "1"), true},
		{"different", foo, header("Foo", "1"), header("Foo", "2"), false},
		{"absent from one", foo, header(), header("Foo", "1"), false},
		{"absent from the other", foo, header("Foo", "1"), header(), false},
		{"absent is not empty", foo, header(), header("Foo", ""), false},
		{"absent from both", foo, header(), header(), true},
		{"what does not select", foo, header("Foo", "1", "Other", "2"), header("Foo", "1", "Other", "3"), true},
		{"two of two", []string{"Bar", "Foo"}, header("Foo", "1", "Bar", "a"), header("Foo", "1", "Bar", "a"), true},
		{"one of two", []string{"Bar", "Foo"}, header("Foo", "1", "Bar", "a"), header("Foo", "2", "Bar", "a"), false},
		{"neither of two", []string{"Bar", "Foo"}, header("Foo", "1", "Bar", "a"), header(), false},
		{"values change places", []string{"Bar", "Foo"}, header("Foo", "1", "Bar", "a"), header("Foo", "a", "Bar", "1"), false},
		{"three of three", three, header("Foo", "1", "Bar", "a", "Baz", "7"), header("Baz", "7", "Foo", "1", "Bar", "a"), true},
		{"two of three, in another order", three, header("Foo", "1", "Bar", "a", "Baz", "7"), header("Foo", "1", "Baz", "7", "Bar", "ab"), false},
		{"one of three absent from both", three, header("Foo", "1", "Baz", "7"), header("Foo", "1", "Baz", "7"), true},
		{"one line or two", foo, header("Foo", "1, 2"), header("Foo", "1", "Foo", "2"), true},
		{"lines in another order", foo, header("Foo", "1", "Foo", "2"), header("Foo", "2", "Foo", "1"), false},
		{"white space around members", foo, header("Foo", "1,2"), header("Foo", " 1,\t2 "), true},
		{"white space inside of a member", foo, header("Foo", "1 2"), header("Foo", "12"), false},
		{"how much white space inside of a member", foo, header("Foo", "1 2"), header("Foo", "1  2"), false},
		{"white space inside of quotes", foo, header("Foo", `"1, 2"`), header("Foo", `"1,2"`), false},
		{"white space after an escaped quote", foo, header("Foo", `"\", 2"`), header("Foo", `"\",2"`), false},
		{"letters", foo, header("Foo", "a"), header("Foo", "A"), false},
		{"a line that looks like another field", three, header("Bar", "1", "Baz", "2"), header("Bar", "1,Baz:2"), false},

		{"languages in another order", []string{"Accept-Language"}, header("Accept-Language", "en, de"), header("Accept-Language", "de, en"), true},
		{"languages in other letters", []string{"Accept-Language"}, header("Accept-Language", "en, de"), header("Accept-Language", "eN, De"), true},
		{"languages with white space", []string{"Accept-Language"}, header("Accept-Language", "en, de"), header("Accept-Language", " en ,   de"), true},
		{"languages on two lines", []string{"Accept-Language"}, header("Accept-Language", "en, de"), header("Accept-Language", "de", "Accept-Language", "en"), true},
		{"another language", []string{"Accept-Language"}, header("Accept-Language", "en, de"), header("Accept-Language", "en, fr"), false},
		{"languages with another preference", []string{"Accept-Language"}, header("Accept-Language", "en;q=0.5, de"), header("Accept-Language", "en, de;q=0.5"), false},
		{"qualities written differently", []string{"Accept-Language"}, header("Accept-Language", "en;q=1.0, de ; Q=0.50"), header("Accept-Language", "de;q=0.5,en"), true},
		{"quality that is none", []string{"Accept-Language"}, header("Accept-Language", "en;q=2, de"), header("Accept-Language", "de, en;q=2"), false},
		{"quality that is none, as it would be written", []string{"Accept-Language"}, header("Accept-Language", "en;q=0.500x"), header("Accept-Language", "en;q=0.5"), false},
		{"encodings in another order", []string{"Accept-Encoding"}, header("Accept-Encoding", "gzip, br"), header("Accept-Encoding", "BR,gzip,,gzip"), true},
		{"encoding refused", []string{"Accept-Encoding"}, header("Accept-Encoding", "gzip;q=0"), header("Accept-Encoding", "gzip"), false},
		{"no encoding", []string{"Accept-Encoding"}, header("Accept-Encoding", ""), header(), false},
		{"part of a name", []string{"Accept-Encoding"}, header("Accept-Encoding", "gzip"), header("Accept-Encoding", "gz, ip"), false},

		{"cookies on one line or two", []string{"Cookie"}, header("Cookie", "a=1; b=2"), header("Cookie", "a=1", "Cookie", "b=2"), true},
		{"cookies with spaces", []string{"Cookie"}, header("Cookie", "a=1, 2"), header("Cookie", "a=1,2"), false},
		{"browsers", []string{"User-Agent"}, header("User-Agent", "x (a, b)"), header("User-Agent", "x (a,b)"), false},

		{"long, same", foo, header("Foo", strings.Repeat("x", 999)+", 1"), header("Foo", strings.Repeat("x", 999)+",1"), true},
		{"long, different at the end", foo, header("Foo", strings.Repeat("x", 999)+"1"), header("Foo", strings.Repeat("x", 999)+"2"), false},
		{"many languages", []string{"Accept-Language"}, header("Accept-Language", strings.Repeat("a,", 33)), header("Accept-Language", "a"), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, b := VaryKey(tt.vary, tt.a), VaryKey(tt.vary, tt.b)
			if (a == b) != tt.same {
				t.Errorf("keys %q and %q; same is expected to be %v", a, b, tt.same)
			}
			if len(a) > maxVaryKey || len(b) > maxVaryKey {
				t.Errorf("keys of %d and %d bytes", len(a), len(b))
			}
			if (a == "") != (tt.vary == nil) {
				t.Errorf("key %q", a)
			}
		})
	}
}

// An object's Vary may change: a value of one field is not taken for that of another.
func TestVariantsOfDifferentFields(t *testing.T) {
	if a, b := VaryKey([]string{"Foo"}, header("Foo", "1")), VaryKey([]string{"Bar"}, header("Bar", "1")); a == b {
		t.Errorf("both are %q", a)
	}
}

// A key that is made field by field is the one that is made of a header.
func TestVaryKeyFieldByField(t *testing.T) {
	vary := []string{"Accept-Encoding", "Accept-Language", "Foo"}
	h := header("Accept-Encoding", "br, GZIP;q=0.3", "Foo", "a , b", "Foo", strings.Repeat("c", 300))
	key := []byte("prefix")
	key = AppendVaryField(key, "Accept-Encoding", [][]byte{[]byte("br, GZIP;q=0.3")})
	key = AppendVaryField(key, "Accept-Language", [][]byte(nil))
	key = AppendVaryField(key, "Foo", [][]byte{[]byte("a , b"), []byte(strings.Repeat("c", 300))})
	key = CloseVaryKey(key, len("prefix"))
	if want := "prefix" + VaryKey(vary, h); string(key) != want {
		t.Errorf("%q, want %q", key, want)
	}
}

func FuzzVaryKey(f *testing.F) {
	for _, name := range []string{"Foo", "Accept-Language", "Cookie"} {
		f.Add(name, "1, 2", "1,2")
		f.Add(name, `"a, b" ,c`, "en;q=0.5,  DE")
	}
	f.Fuzz(func(t *testing.T, name, a, b string) {
		if strings.ContainsAny(name+a+b, "\r\n\x00") {
			t.Skip("no field value")
		}
		vary := []string{name}
		key := func(lines ...string) string { return VaryKey(vary, http.Header{name: lines}) }
		// White space around a member never selects, and a list may come on one line or two.
		if name != "Cookie" && name != "Authorization" && name != "Origin" && name != "Referer" && name != "User-Agent" {
			if key(a) != key(" "+a) {
				t.Errorf("%q: white space before %q selects", name, a)
			}
			if !strings.Contains(a, `"`) && key(a, b) != key(a+" , "+b) {
				t.Errorf("%q: %q and %q on two lines select", name, a, b)
			}
		}
		// What differs in more than case, white space and order is told apart.
		if letters(a) != letters(b) && name == "Foo" && key(a) == key(b) {
			t.Errorf("%q and %q are one", a, b)
		}
		if key(a) == VaryKey(vary, nil) {
			t.Errorf("%q is as good as absent", a)
		}
	})
}

func letters(s string) string {
	return strings.Map(func(r rune) rune {
		if r == ' ' || r == '\t' {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}
