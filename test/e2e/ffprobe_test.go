package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"
)

type probed struct {
	Streams []struct {
		Type   string `json:"codec_type"`
		Codec  string `json:"codec_name"`
		Width  int    `json:"width"`
		Height int    `json:"height"`
		Rate   string `json:"sample_rate"`
	} `json:"streams"`
	Packets []struct {
		Type string `json:"codec_type"`
		DTS  string `json:"dts_time"`
	} `json:"packets"`
}

func ffprobe(url string) (probed, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "ffprobe", "-v", "error", "-of", "json", "-show_streams",
		"-show_packets", "-read_intervals", "%+4", url).Output()
	if err != nil {
		return probed{}, fmt.Errorf("ffprobe %s: %w", url, err)
	}
	var p probed
	return p, json.Unmarshal(out, &p)
}

// ffprobe reads what a publisher sends, through the edge, in both formats.
func TestFFprobeReadsHLSAndDASH(t *testing.T) {
	p := serve(t)
	p.publish(t, "sport/final")
	for _, manifest := range []string{"index.m3u8", "manifest.mpd"} {
		p.playable(t, "sport/final", manifest)
		got, err := ffprobe("http://" + p.public + "/live/sport/final/" + manifest)
		if err != nil {
			t.Error(err)
			continue
		}
		kinds := map[string]string{}
		for _, s := range got.Streams {
			kinds[s.Type] = s.Codec
			if s.Type == "video" && (s.Width != 640 || s.Height != 360) {
				t.Errorf("%s: video is %dx%d, want 640x360", manifest, s.Width, s.Height)
			}
		}
		if kinds["video"] != "h264" || kinds["audio"] != "aac" {
			t.Errorf("%s: streams are %v, want h264 and aac", manifest, kinds)
		}
		if n := len(got.Packets); n < 60 {
			t.Errorf("%s: %d packets in 4 s, want more than 60", manifest, n)
		}
	}
}

// A publisher without sound is playable as fast as one with it: nothing waits for the track that
// never comes.
func TestVideoAloneIsPlayable(t *testing.T) {
	p := serve(t)
	p.publish(t, "silent", "-re", "-f", "lavfi", "-i", "testsrc2=size=640x360:rate=30", "-an")
	text := p.playable(t, "silent", "index.m3u8")
	if strings.Contains(text, "mp4a") {
		t.Errorf("the playlist speaks of audio:\n%s", text)
	}
	if got, err := ffprobe("http://" + p.public + "/live/silent/index.m3u8"); err != nil {
		t.Error(err)
	} else if len(got.Streams) != 1 || got.Streams[0].Codec != "h264" {
		t.Errorf("streams = %+v", got.Streams)
	}
}

// A second publisher on a name is told so, and the first one goes on.
func TestASecondPublisherIsRefused(t *testing.T) {
	p := serve(t)
	first := p.publish(t, "taken")
	p.playable(t, "taken", "index.m3u8")
	second := p.publish(t, "taken")
	select {
	case <-second.done:
	case <-time.After(15 * time.Second):
		t.Fatal("the second publisher still runs")
	}
	if text := second.log.String(); !strings.Contains(text, "taken") {
		t.Errorf("the second publisher was told:\n%s", text)
	}
	select {
	case err := <-first.done:
		t.Errorf("the first publisher has ended: %v", err)
	default:
	}
}
