package dash_test

import (
	"encoding/xml"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-stream/weir/internal/format/dash"
)

var update = flag.Bool("update", false, "write the golden files")

var noon = time.Date(2026, 3, 1, 12, 0, 0, 250e6, time.UTC)

func live() dash.MPD {
	return dash.MPD{
		AvailabilityStart: noon, Published: noon.Add(8 * time.Second), UpdatePeriod: 2 * time.Second, WindowDepth: 30 * time.Second,
		PresentationDelay: 6 * time.Second, MinBuffer: 2 * time.Second, MaxSegment: 2 * time.Second, TimeURL: "/time",
		Periods: []dash.Period{
			{ID: "7", Duration: 3500 * time.Millisecond, Sets: []dash.AdaptationSet{{
				ID: 1, ContentType: "video", Timescale: 90000, PresentationTimeOffset: 900000,
				Media: "video-7-$Number$.m4s", Initialization: "video-7-init.mp4", StartNumber: 40,
				Timeline:        []dash.Segment{{900000, 90000}, {990000, 180000}, {1200000, 180000}, {1380000, 180000}},
				Representations: []dash.Representation{{ID: "video", Bandwidth: 3_000_000, Codecs: "avc1.64001f", Width: 1280, Height: 720, FrameRate: 29.97}},
			}}},
			{ID: "8", Start: 6*time.Second + 1500*time.Microsecond, Sets: []dash.AdaptationSet{{
				ID: 2, ContentType: "audio", Timescale: 48000, Media: "audio-8-$Number$.m4s", Initialization: "audio-8-init.mp4", StartNumber: 44,
				Timeline:        []dash.Segment{{0, 96256}, {96256, 96256}, {192512, 95232}},
				Representations: []dash.Representation{{ID: "audio", Bandwidth: 128_000, Codecs: "mp4a.40.2", SampleRate: 48000, Channels: 2}},
			}}},
		},
	}
}

func TestMPD(t *testing.T) {
	ended := live()
	ended.Ended = 12 * time.Second
	for name, m := range map[string]dash.MPD{"live.mpd": live(), "ended.mpd": ended} {
		t.Run(name, func(t *testing.T) {
			got := m.Append(nil)
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
				t.Errorf("(-golden +got):\n%s", d)
			}
		})
	}
}

// The scheme counts configurations, not channels, above six.
func TestChannels(t *testing.T) {
	for channels, want := range map[int]string{1: "1", 2: "2", 6: "6", 7: "11", 8: "7"} {
		m := dash.MPD{Periods: []dash.Period{{Sets: []dash.AdaptationSet{{Representations: []dash.Representation{{Channels: channels}}}}}}}
		if got := string(m.Append(nil)); !strings.Contains(got, `audio_channel_configuration:2011" value="`+want+`"`) {
			t.Errorf("%d channels: %s", channels, got)
		}
	}
}

func TestFrameRates(t *testing.T) {
	for rate, want := range map[float64]string{
		25: "25", 30: "30", 29.97: "30000/1001", 30000.0 / 1001: "30000/1001", 23.976: "24000/1001", 59.94: "60000/1001",
		12.5: "12500/1000", 29.998: "30", 0.5: "500/1000",
	} {
		m := dash.MPD{Periods: []dash.Period{{Sets: []dash.AdaptationSet{{Representations: []dash.Representation{{FrameRate: rate}}}}}}}
		if got := string(m.Append(nil)); !strings.Contains(got, ` frameRate="`+want+`"`) {
			t.Errorf("%v: want %s in %s", rate, want, got)
		}
	}
}

// Whatever a text holds, the MPD is well formed and the text comes back.
func FuzzText(f *testing.F) {
	f.Add("video-7-$Number$.m4s")
	f.Add(`"/><!-- & \x00 ]]>`)
	f.Add("tab\tand\r\nlines")
	f.Fuzz(func(t *testing.T, text string) {
		m := live()
		m.Periods[0].ID = text
		var got struct {
			Periods []struct {
				ID string `xml:"id,attr"`
			} `xml:"Period"`
		}
		if err := xml.Unmarshal(m.Append(nil), &got); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		want := strings.Map(func(r rune) rune {
			if r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0xfffe || r == 0xffff {
				return utf8.RuneError
			}
			return r
		}, strings.ToValidUTF8(text, "\ufffd"))
		if strings.ContainsRune(text, utf8.RuneError) || !utf8.ValidString(text) {
			return // a run of bytes that are not UTF-8 may come back as more marks than ToValidUTF8 makes
		}
		if len(got.Periods) != 2 || got.Periods[0].ID != want {
			t.Errorf("%q came back as %+v", text, got.Periods)
		}
	})
}
