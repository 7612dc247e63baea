package message

import (
	"strings"
	"testing"
)

func TestHostOf(t *testing.T) {
	for _, tt := range []struct {
		host   string
		secure bool
		want   string // "": none
	}{
		{"video.example", false, "video.example"},
		{"Video.EXAMPLE", false, "video.example"},
		{"video.example.", false, "video.example"},
		{"video.example:80", false, "video.example"},
		{"video.example:443", true, "video.example"},
		{"video.example:443", false, "video.example:443"},
		{"video.example:8080", true, "video.example:8080"},
		{"video.example:", false, "video.example"},
		{"video.example.:8080", false, "video.example:8080"},
		{"192.0.2.1:8080", false, "192.0.2.1:8080"},
		{"[2001:DB8::1]", false, "[2001:db8::1]"},
		{"[2001:db8::1]:80", false, "[2001:db8::1]"},
		{"[2001:db8::1]:8080", false, "[2001:db8::1]:8080"},
		{"a_b-c.example", false, "a_b-c.example"},
		{"", false, ""},
		{".", false, ""},
		{":80", false, ""},
		{"a..b", false, ""},
		{"a..", false, ""},
		{"a/b", false, ""},
		{"a?b", false, ""},
		{"a b", false, ""},
		{"a\x00b", false, ""},
		{"user@video.example", false, ""},
		{"video.example:8o8o", false, ""},
		{"2001:db8::1", false, ""},
		{"[]", false, ""},
		{"[", false, ""},
		{"[2001:db8::1", false, ""},
		{strings.Repeat("a", 300), false, ""},
	} {
		got, ok := HostOf(tt.host, tt.secure)
		if ok != (tt.want != "") || ok && got != tt.want {
			t.Errorf("HostOf(%q, %v) = %q, %v; want %q", tt.host, tt.secure, got, ok, tt.want)
		}
	}
}

// What a clean spelling says can be read again and says the same, and can stand before a path in a key.
func FuzzHostOf(f *testing.F) {
	for _, seed := range []string{"video.example:80", "[::1]:8080", "A..b", "a:b:c", "[a]b]", "0.."} {
		f.Add(seed, true)
	}
	f.Fuzz(func(t *testing.T, host string, secure bool) {
		got, ok := HostOf(host, secure)
		if !ok {
			return
		}
		if got == "" || strings.ContainsAny(got, "/?# \x00") || got != strings.ToLower(got) {
			t.Errorf("HostOf(%q) = %q", host, got)
		}
		if again, ok := HostOf(got, secure); !ok || again != got {
			t.Errorf("HostOf(%q) = %q, of which it is %q, %v", host, got, again, ok)
		}
	})
}
