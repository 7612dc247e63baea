package policy

import (
	"fmt"
	"strings"
	"testing"
)

func TestSegmentsSideBySideAreAGroup(t *testing.T) {
	for _, test := range []struct {
		a, b string
		same bool
	}{
		{"/vod/film/720p/0.m4s", "/vod/film/720p/15.m4s", true},
		{"/vod/film/720p/0.m4s", "/vod/film/720p/16.m4s", false},
		{"/vod/film/720p/0016.m4s", "/vod/film/720p/31.m4s", true},
		{"/vod/film/720p/segment-17.ts", "/vod/film/720p/segment-30.ts", true},
		{"/vod/film/720p/segment-17.ts", "/vod/film/1080p/segment-17.ts", false},
		{"/vod/film/720p/segment-17.ts", "/vod/movie/720p/segment-17.ts", false},
		{"/vod/film/720p-17.ts", "/vod/film/720p-18.ts", true},
		{"/vod/film/720p-17.ts", "/vod/film/1080p-17.ts", false},
		{"/vod/film/chunk-stream0-00017.m4s", "/vod/film/chunk-stream0-00018.m4s", true},
		{"/vod/film/chunk-stream0-00017.m4s", "/vod/film/chunk-stream1-00017.m4s", false},
		{"/vod/film/17.ts?token=1", "/vod/film/18.ts?token=999", true},
		{"/vod/film/17", "/vod/film/18", true},
		{"/vod/film/17.m4s", "/vod/film/17.m4a", true}, // what follows the number is how it is wrapped
		{"/vod/film/init.mp4", "/vod/film/index.mp4", false},
		{"/vod/2024/init.mp4", "/vod/2025/init.mp4", false},
		{"/vod/2024/init.mp4", "/vod/2024/init.mp4", true},
		{"/vod.1/7", "/vod.1/8", true},
		// $Time$ at 90 kHz, six seconds each: nearby ones are together, far ones are not.
		{"/vod/film/v/108000000.m4s", "/vod/film/v/108540000.m4s", true},
		{"/vod/film/v/108000000.m4s", "/vod/film/v/216000000.m4s", false},
		{"/k/123456789012345678901234567890", "/k/123456789012345678901234567891", false},
		{"", "/", false},
	} {
		if same := GroupOf(test.a) == GroupOf(test.b); same != test.same {
			t.Errorf("%s and %s: one group = %v, want %v", test.a, test.b, same, test.same)
		}
	}
}

func TestSlicesSideBySideAreAGroup(t *testing.T) {
	const film = "/vod/film.mp4"
	if GroupOfSlice(film, 0) != GroupOfSlice(film+"?token=1", 15) {
		t.Error("slices 0 and 15 are not in one group")
	}
	if GroupOfSlice(film, 15) == GroupOfSlice(film, 16) || GroupOfSlice(film, 0) == GroupOfSlice("/vod/other.mp4", 0) {
		t.Error("slices that have nothing to do with one another are in one group")
	}
}

// A title of two hours in five renditions, six-second segments: each block has a group of its own.
func TestGroupsDoNotFallTogether(t *testing.T) {
	groups := make(map[uint64]string)
	for title := range 200 {
		for rendition := range 5 {
			for segment := 0; segment < 1200; segment += blockSegments {
				path := fmt.Sprintf("/vod/%d/%d/%05d.m4s", title, rendition, segment)
				if other, ok := groups[GroupOf(path)]; ok {
					t.Fatalf("%s and %s are one group", path, other)
				}
				groups[GroupOf(path)] = path
			}
		}
	}
}

func FuzzGroupOf(f *testing.F) {
	for _, path := range []string{"", "/", "?", "/a/1.ts", "/a/720p/000000000000000017.m4s?x=1", "/99999999999999999999", "1.2.3", "/a.b/c"} {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		group := GroupOf(path)
		if group == 0 {
			t.Errorf("%q has no group", path)
		}
		if !strings.Contains(path, "?") && GroupOf(path+"?token=17") != group {
			t.Errorf("the query of %q counts", path)
		}
		if n := testing.AllocsPerRun(1, func() { GroupOf(path) }); n > 0 {
			t.Errorf("%q cost %v allocations", path, n)
		}
	})
}
