package message

import (
	"net/url"
	"path"
	"strings"
	"testing"
)

func TestTargetOf(t *testing.T) {
	for _, tt := range []struct{ in, key, path, query string }{
		{"/live/a/index.m3u8", "/live/a/index.m3u8", "/live/a/index.m3u8", ""},
		{"/", "/", "/", ""},
		{"/a/", "/a/", "/a/", ""},
		// Other spellings of the same path are the same key.
		{"//a/./b//../c", "/a/c", "/a/c", ""},
		{"/a/../../../etc", "/etc", "/etc", ""},
		{"/%61/b", "/a/b", "/a/b", ""},
		{"/a%2Fb", "/a/b", "/a/b", ""},
		{"/a/..%2f..%2fb/", "/b/", "/b/", ""},
		{"/a b/%C3%A9", "/a%20b/%C3%A9", "/a b/é", ""},
		{"/.hidden", "/.hidden", "/.hidden", ""},
		{"/a...b", "/a...b", "/a...b", ""},
		{"/a?b", "/a?b", "/a", "b"},
		{"/a%3Fb", "/a%3Fb", "/a?b", ""},
		{"/a?", "/a", "/a", ""},
		// CMCD is no part of the key, wherever it stands and however often.
		{"/a?CMCD=br%3D100", "/a", "/a", ""},
		{"/a?CMCD=br%3D100&x=1", "/a?x=1", "/a", "x=1"},
		{"/a?x=1&CMCD=br%3D100", "/a?x=1", "/a", "x=1"},
		{"/a?x=1&CMCD=br%3D100&y=2", "/a?x=1&y=2", "/a", "x=1&y=2"},
		{"/a?CMCD=a&x=1&CMCD=b&CMCD", "/a?x=1", "/a", "x=1"},
		{"/a?XCMCD=1&CMCDX=2", "/a?XCMCD=1&CMCDX=2", "/a", "XCMCD=1&CMCDX=2"},
		{"/a?y=2&x=1", "/a?y=2&x=1", "/a", "y=2&x=1"},
		// What no object is called.
		{"/a%00b", "", "", ""},
		{"/a%0d%0ab", "", "", ""},
		{`/a%5c..%5cb`, "", "", ""},
		{"/a%ff", "", "", ""},
		{"*", "", "", ""},
		{"/" + strings.Repeat("a", maxKeyBytes), "", "", ""},
		{"/a?" + strings.Repeat("a", maxKeyBytes), "", "", ""},
	} {
		u, err := url.ParseRequestURI(tt.in)
		if err != nil {
			t.Fatal(err)
		}
		got, ok := TargetOf(u)
		if ok != (tt.key != "") {
			t.Errorf("targetOf(%.40q): ok = %v", tt.in, ok)
			continue
		}
		if want := (Target{Key: tt.key, Path: tt.path, Query: tt.query}); ok && got != want {
			t.Errorf("targetOf(%q) = %+v, want %+v", tt.in, got, want)
		}
	}
}

func FuzzTargetOf(f *testing.F) {
	for _, s := range []string{"/a/b.m4s", "//a/../%2e%2e/b", "/a?x=1&CMCD=sid%3D%22a%22&y", "/%2e/?&&CMCD", "/a%252fb", "/é?#"} {
		f.Add(s)
	}
	base := &url.URL{Scheme: "http", Host: "origin.example", Path: "/base/"}
	f.Fuzz(func(t *testing.T, s string) {
		u, err := url.ParseRequestURI(s)
		if err != nil || u.Host != "" {
			t.Skip()
		}
		got, ok := TargetOf(u)
		if !ok {
			return
		}
		if clean := path.Clean(got.Path); clean != strings.TrimSuffix(got.Path, "/") && got.Path != "/" {
			t.Errorf("%q: path %q is not clean", s, got.Path)
		}
		for arg := range strings.SplitSeq(got.Query, "&") {
			if name, _, _ := strings.Cut(arg, "="); name == "CMCD" {
				t.Errorf("%q: CMCD is in the key %q", s, got.Key)
			}
		}
		// The key is a request target, which means what the key was made from.
		again, err := url.ParseRequestURI(got.Key)
		if err != nil {
			t.Fatalf("%q: key %q: %v", s, got.Key, err)
		}
		if second, ok := TargetOf(again); !ok || second != got {
			t.Errorf("%q: the key %q becomes %+v", s, got.Key, second)
		}
		// And the origin is asked for exactly the key, below its base.
		asked := OriginURL(base, got).RequestURI()
		if asked != "/base"+got.Key {
			t.Errorf("%q: the origin is asked for %q, the key is %q", s, asked, got.Key)
		}
	})
}

func TestStreamOf(t *testing.T) {
	for in, want := range map[string]string{
		"/live/a/index.m3u8":            "a",
		"/live/sport/final/index.m3u8":  "sport/final",
		"/live/sport/final/video-1.m4s": "sport/final",
		"/live/index.m3u8":              "",
		"/favicon.ico":                  "",
		"/":                             "",
		"":                              "",
		"/live//":                       "",
	} {
		if got := StreamOf(in); got != want {
			t.Errorf("streamOf(%q) = %q, want %q", in, got, want)
		}
	}
}
