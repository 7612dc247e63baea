package hls_test

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-stream/weir/internal/format/hls"
)

var update = flag.Bool("update", false, "write the golden files")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("%s (-golden +got):\n%s", name, d)
	}
}

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.FixedZone("", 3600))

func TestMediaPlaylist(t *testing.T) {
	const ms = time.Millisecond
	for name, p := range map[string]hls.Media{
		"first.m3u8": {TargetDuration: 2, Sequence: 4711, Segments: []hls.Segment{
			{URI: "video-7-4711.m4s", Map: "video-7-init.mp4", Duration: 1001 * ms, Time: noon},
		}},
		"resumed.m3u8": {TargetDuration: 2, Sequence: 4711, DiscontinuitySequence: 3, Segments: []hls.Segment{
			{URI: "video-7-4711.m4s", Map: "video-7-init.mp4", Duration: 2 * time.Second, Time: noon},
			{URI: "video-7-4712.m4s", Map: "video-7-init.mp4", Duration: time.Second / 3, Time: noon.Add(2000 * ms)},
			{URI: "video-8-4713.m4s", Map: "video-8-init.mp4", Duration: 1 * time.Microsecond, Time: noon.Add(9 * time.Second), Discontinuity: true},
			{URI: "video-8-4714.m4s", Map: "video-8-init.mp4", Duration: 2*time.Second + 999_999_999},
		}},
		"same-map.m3u8": {TargetDuration: 2, Segments: []hls.Segment{
			{URI: "a-1.m4s", Map: "a.mp4", Duration: 2 * time.Second},
			{URI: "a-2.m4s", Map: "a.mp4", Duration: 2 * time.Second, Discontinuity: true},
		}},
		"ended.m3u8": {TargetDuration: 2, Sequence: 1, Ended: true, Segments: []hls.Segment{
			{URI: "audio-7-1.m4s", Map: "audio-7-init.mp4", Duration: 1980 * ms, Time: noon},
		}},
		"empty.m3u8": {TargetDuration: 6},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := p.Append(nil)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, name, b)
		})
	}
}

func TestMultivariantPlaylist(t *testing.T) {
	for name, p := range map[string]hls.Multivariant{
		"both.m3u8": {
			Audio: []hls.Audio{{Group: "audio", Name: "Audio", URI: "audio.m3u8", Channels: 2}},
			Variants: []hls.Variant{{
				URI: "video.m3u8", Bandwidth: 3_300_000, AverageBandwidth: 3_000_000, Codecs: []string{"avc1.64001f", "mp4a.40.2"},
				Width: 1280, Height: 720, FrameRate: 30000.0 / 1001, AudioGroup: "audio",
			}},
		},
		"audio-only.m3u8": {Variants: []hls.Variant{{URI: "audio.m3u8", Bandwidth: 128_000, Codecs: []string{"mp4a.40.2"}}}},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := p.Append(nil)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, name, b)
		})
	}
}

// A text from outside must not become a tag or an attribute.
func FuzzText(f *testing.F) {
	f.Add("video.m3u8")
	f.Add("a\n#EXT-X-ENDLIST")
	f.Add(`a",URI="http://evil/`)
	f.Add("#EXT-X-ENDLIST")
	f.Fuzz(func(t *testing.T, text string) {
		media := hls.Media{TargetDuration: 2, Segments: []hls.Segment{{URI: text, Map: text}}}
		b, err := media.Append(nil)
		if err == nil {
			plain := hls.Media{TargetDuration: 2, Segments: []hls.Segment{{URI: "x", Map: "x"}}}
			want, _ := plain.Append(nil)
			if got := strings.ReplaceAll(string(b), text, "x"); text != "" && strings.Count(got, "\n") != strings.Count(string(want), "\n") {
				t.Errorf("the text adds lines:\n%s", b)
			}
			for line := range strings.Lines(string(b)) {
				if strings.HasPrefix(line, "#EXT-X-MAP") && strings.Count(line, `"`) != 2 {
					t.Errorf("the text adds an attribute: %s", line)
				}
			}
		} else if !errors.Is(err, hls.ErrText) {
			t.Errorf("err = %v, want ErrText", err)
		}
		multi := hls.Multivariant{Audio: []hls.Audio{{Group: text, Name: text, URI: "a"}}, Variants: []hls.Variant{{URI: "v", AudioGroup: text}}}
		if b, err = multi.Append(nil); err == nil && strings.Count(string(b), "\n") != 6 {
			t.Errorf("the text adds lines:\n%s", b)
		}
	})
}
