package freshness

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

func TestTags(t *testing.T) {
	long, longest := strings.Repeat("x", MaxTagBytes+1), strings.Repeat("x", MaxTagBytes)
	var many []string
	for i := range MaxTags + 2 {
		many = append(many, fmt.Sprintf("t%d", i))
	}
	for _, tt := range []struct {
		name    string
		header  http.Header
		want    []string
		dropped int
	}{
		{"none", header(), nil, 0},
		{"groups", header("Cache-Groups", `"a", "B c";x=1`, "Cache-Groups", `"d"`), []string{"a", "B c", "d"}, 0},
		{"groups that do not parse", header("Cache-Groups", `"a", b c`, "Surrogate-Key", "d"), []string{"d"}, 0},
		{"groups that are no Strings", header("Cache-Groups", `"a", b`), nil, 0},
		{"groups in a group", header("Cache-Groups", `("a" "b")`), nil, 0},
		{"surrogate keys", header("Surrogate-Key", "a  b\tc", "Surrogate-Key", "d"), []string{"a", "b", "c", "d"}, 0},
		{"xkey", header("xkey", "a b", "xkey", "c"), []string{"a", "b", "c"}, 0},
		{"cache tags", header("Cache-Tag", "a, b c ,,d"), []string{"a", "b c", "d"}, 0},
		{"each once", header("Cache-Groups", `"a"`, "Surrogate-Key", "a b a", "Cache-Tag", "b"), []string{"a", "b"}, 0},
		{"as long as can be", header("Cache-Tag", longest), []string{longest}, 0},
		{"too long", header("Cache-Tag", long+",a"), []string{"a"}, 1},
		{"too many", header("Surrogate-Key", strings.Join(many, " ")), many[:MaxTags], 2},
	} {
		got, dropped := Tags(tt.header)
		if !slices.Equal(got, tt.want) || dropped != tt.dropped {
			t.Errorf("%s: %q, %d dropped; want %q, %d", tt.name, got, dropped, tt.want, tt.dropped)
		}
	}
}

func TestInvalidatedGroups(t *testing.T) {
	got, dropped := InvalidatedGroups(header("Cache-Group-Invalidation", `"a", "b"`, "Cache-Groups", `"c"`))
	if !slices.Equal(got, []string{"a", "b"}) || dropped != 0 {
		t.Errorf("%q, %d", got, dropped)
	}
}

func FuzzTags(f *testing.F) {
	f.Add(`"a", "b"`, "a b", "a,b")
	f.Add(`"a";x, ("b")`, "", ",,")
	f.Fuzz(func(t *testing.T, groups, keys, tags string) {
		got, _ := Tags(header("Cache-Groups", groups, "Surrogate-Key", keys, "Cache-Tag", tags))
		if len(got) > MaxTags {
			t.Errorf("%d tags", len(got))
		}
		seen := map[string]bool{}
		for _, tag := range got {
			if tag == "" || len(tag) > MaxTagBytes || seen[tag] {
				t.Errorf("tag %q", tag)
			}
			seen[tag] = true
		}
	})
}

func TestWhatInvalidates(t *testing.T) { // RFC 9111 §4.4
	for _, tt := range []struct {
		method string
		status int
		want   bool
	}{
		{"POST", 200, true},
		{"PUT", 204, true},
		{"DELETE", 303, true},
		{"M-SEARCH", 200, true},
		{"post", 200, true},
		{"POST", 400, false},
		{"POST", 500, false},
		{"POST", 103, false},
		{"GET", 200, false},
		{"HEAD", 200, false},
		{"OPTIONS", 200, false},
		{"QUERY", 200, false},
		{"", 200, false},
	} {
		if got := Invalidates(tt.method, tt.status); got != tt.want {
			t.Errorf("%s %d: %v", tt.method, tt.status, got)
		}
	}
}

func TestWhatIsInvalidated(t *testing.T) {
	target, err := url.Parse("https://edge.example/dir/a?x")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name     string
		response http.Header
		want     []string
	}{
		{"itself", header(), nil},
		{"relative", header("Location", "b", "Content-Location", "/c?y"), []string{"https://edge.example/dir/b", "https://edge.example/c?y"}},
		{"same origin", header("Location", "HTTPS://EDGE.example:443/b"), []string{"https://EDGE.example:443/b"}},
		{"itself again", header("Location", "/dir/a?x"), nil},
		{"another host", header("Location", "https://other.example/b", "Content-Location", "//other.example/c"), nil},
		{"another port", header("Location", "https://edge.example:444/b"), nil},
		{"another scheme", header("Location", "http://edge.example/b"), nil},
		{"no URL", header("Location", "http://[::1/", "Content-Location", ""), nil},
	} {
		var got []string
		for _, u := range Invalidated(target, tt.response) {
			got = append(got, u.String())
		}
		if want := append([]string{"https://edge.example/dir/a?x"}, tt.want...); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", tt.name, got, want)
		}
	}
}
