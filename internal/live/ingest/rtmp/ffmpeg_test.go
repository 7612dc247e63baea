package rtmp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weir-stream/weir/internal/live"
	"github.com/weir-stream/weir/internal/live/hub"
	"github.com/weir-stream/weir/internal/media"
)

// recording is all that a reader of the hub got.
type recording struct {
	tracks map[int]media.Track
	units  map[int][]media.Unit
	err    error
}

// record reads every stream that is published to its end.
func record(t *testing.T, h *hub.Hub) <-chan recording {
	t.Helper()
	done := make(chan recording, 8)
	h.OnPublish(func(_ live.StreamName, r *hub.Reader) {
		go func() {
			rec := recording{tracks: map[int]media.Track{}, units: map[int][]media.Unit{}}
			for {
				item, err := r.Next(t.Context())
				if err != nil {
					rec.err = err
					done <- rec
					return
				}
				if item.Track != nil {
					rec.tracks[item.Track.ID] = *item.Track
				} else {
					rec.units[item.Unit.Track] = append(rec.units[item.Unit.Track], *item.Unit)
				}
			}
		}()
	})
	return done
}

func await[T any](t *testing.T, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(20 * time.Second):
		t.Fatalf("no %s within 20 s", what)
		panic("unreachable")
	}
}

// packet is one line of ffprobe.
type packet struct {
	Stream   int    `json:"stream_index"`
	PTS      string `json:"pts_time"`
	DTS      string `json:"dts_time"`
	Size     string `json:"size"`
	Flags    string `json:"flags"`
	dts, pts float64
}

// probe returns the packets of each stream of a file in order.
func probe(t *testing.T, file string) map[string][]packet {
	t.Helper()
	out, err := exec.Command("ffprobe", "-v", "error", "-show_packets", "-show_streams", "-of", "json", file).Output()
	if err != nil {
		t.Fatalf("ffprobe %s: %v", file, err)
	}
	var result struct {
		Packets []packet
		Streams []struct {
			Index int
			Kind  string `json:"codec_type"`
		}
	}
	if err := json.Unmarshal(out, &result); err != nil {
		t.Fatal(err)
	}
	packets := map[string][]packet{}
	for _, p := range result.Packets {
		p.dts, _ = strconv.ParseFloat(p.DTS, 64)
		p.pts, _ = strconv.ParseFloat(p.PTS, 64)
		kind := result.Streams[p.Stream].Kind
		packets[kind] = append(packets[kind], p)
	}
	return packets
}

func ffmpeg(t *testing.T, arguments string, more ...string) {
	t.Helper()
	args := append([]string{"-hide_banner", "-loglevel", "error", "-nostdin", "-y"}, strings.Fields(arguments)...)
	out, err := exec.Command("ffmpeg", append(args, more...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("ffmpeg %s: %v\n%s", arguments, err, out)
	}
}

const (
	testVideo = "-f lavfi -i testsrc2=size=320x180:rate=30"
	testAudio = "-f lavfi -i sine=frequency=440:sample_rate=48000"
	encodeX   = "-c:v libx264 -preset ultrafast -g 30 -pix_fmt yuv420p"
)

// TestFFmpegPublishes publishes a file and compares every unit with what ffprobe says of the file.
func TestFFmpegPublishes(t *testing.T) {
	for _, test := range []struct {
		name, encode string
		video, audio bool
		rate         int
	}{
		{"video and audio", testVideo + " " + testAudio + " -t 4 " + encodeX + " -bf 0 -c:a aac", true, true, 48000},
		{"B-frames", testVideo + " " + testAudio + " -t 4 -c:v libx264 -preset veryfast -bf 3 -g 60 -pix_fmt yuv420p -c:a aac", true, true, 48000},
		{"video only", testVideo + " -t 2 " + encodeX, true, false, 0},
		{"audio only", "-f lavfi -i sine=frequency=440:sample_rate=44100 -t 20 -ac 2 -c:a aac", false, true, 44100},
		{"large keyframes", "-f lavfi -i nullsrc=size=1280x720:rate=25,geq=random(1)*255:128:128 -t 0.4 -c:v libx264 -preset ultrafast -qp 18 -g 5 -pix_fmt yuv420p", true, false, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "truth.flv")
			ffmpeg(t, test.encode, file)
			truth := probe(t, file)

			h, s := start(t, nil)
			done := record(t, h)
			ffmpeg(t, "-i "+file+" -c copy -f flv", urlOf(s, "live/test"))
			got := await(t, done, "end of stream")
			if !errors.Is(got.err, io.EOF) {
				t.Fatalf("reader ended with %v, want EOF", got.err)
			}
			video, audio := got.units[videoTrack], got.units[audioTrack]
			if len(video) != len(truth["video"]) || len(audio) != len(truth["audio"]) {
				t.Fatalf("got %d video and %d audio units, want %d and %d", len(video), len(audio), len(truth["video"]), len(truth["audio"]))
			}
			if test.video != (len(video) > 0) || test.audio != (len(audio) > 0) {
				t.Fatalf("got %d video and %d audio units", len(video), len(audio))
			}
			for i, unit := range video {
				want := truth["video"][i]
				if key := strings.Contains(want.Flags, "K"); unit.Keyframe != key {
					t.Errorf("video unit %d: keyframe is %v, want %v", i, unit.Keyframe, key)
				}
				near(t, fmt.Sprintf("DTS of video unit %d", i), float64(unit.DTS)/90000, want.dts, 0.0015)
				near(t, fmt.Sprintf("PTS of video unit %d", i), float64(unit.PTS)/90000, want.pts, 0.0015)
				if size, _ := strconv.Atoi(want.Size); len(unit.Payload) != size {
					t.Errorf("video unit %d has %d bytes, want %d", i, len(unit.Payload), size)
				}
				if i > 0 && unit.DTS <= video[i-1].DTS {
					t.Errorf("video unit %d has DTS %d after %d", i, unit.DTS, video[i-1].DTS)
				}
			}
			for i, unit := range audio {
				// The grid keeps durations exact: no frame is off by a sample.
				if i > 0 && unit.DTS-audio[i-1].DTS != 1024 {
					t.Errorf("audio unit %d comes %d samples after the one before it, want 1024", i, unit.DTS-audio[i-1].DTS)
				}
				want := truth["audio"][i]
				near(t, fmt.Sprintf("DTS of audio unit %d", i), float64(unit.DTS)/float64(test.rate), want.dts, 0.002)
				if size, _ := strconv.Atoi(want.Size); len(unit.Payload) != size {
					t.Errorf("audio unit %d has %d bytes, want %d", i, len(unit.Payload), size)
				}
			}
			if test.video {
				track := got.tracks[videoTrack]
				if track.Width == 0 || track.FrameRate < 24 || track.FrameRate > 31 || track.Timescale != 90000 || track.Codec != media.H264 {
					t.Errorf("video track is %+v", live.Describe(track))
				}
			}
			if test.audio {
				track := got.tracks[audioTrack]
				if track.SampleRate != test.rate || track.Timescale != uint32(test.rate) || track.Channels == 0 || track.CodecString() != "mp4a.40.2" {
					t.Errorf("audio track is %+v", live.Describe(track))
				}
			}
		})
	}
}

func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if got-want > tolerance || want-got > tolerance {
		t.Errorf("%s is %.4f s, want %.4f s", what, got, want)
	}
}

// publishing starts an ffmpeg that publishes in real time until it is killed.
func publishing(t *testing.T, to string, encode string) (kill func(), log *bytes.Buffer) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	args := strings.Fields("-hide_banner -loglevel info -nostdin -re " + encode + " -f flv " + to)
	command := exec.CommandContext(ctx, "ffmpeg", args...) // killed with SIGKILL
	log = &bytes.Buffer{}
	command.Stderr = log
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	killed := false
	kill = func() {
		if !killed {
			killed = true
			cancel()
			_ = command.Wait()
		}
	}
	t.Cleanup(kill)
	return kill, log
}

// awaitUnit waits for the first unit of a stream.
func awaitUnit(t *testing.T, units <-chan live.StreamName) {
	t.Helper()
	await(t, units, "unit in the hub")
}

func firstUnits(t *testing.T, h *hub.Hub) <-chan live.StreamName {
	t.Helper()
	first := make(chan live.StreamName, 8)
	h.OnPublish(func(name live.StreamName, r *hub.Reader) {
		go func() {
			defer r.Close()
			for {
				item, err := r.Next(t.Context())
				if err != nil {
					return
				}
				if item.Unit != nil {
					first <- name
					return
				}
			}
		}()
	})
	return first
}

func TestSecondPublisherIsRefused(t *testing.T) {
	h, s := start(t, nil)
	first := firstUnits(t, h)
	publishing(t, urlOf(s, "live/sport/final"), testVideo+" "+encodeX)
	awaitUnit(t, first)
	before := h.Streams()[0]

	out, err := exec.Command("ffmpeg", strings.Fields("-hide_banner -nostdin -re "+testVideo+" -t 5 "+encodeX+" -f flv "+urlOf(s, "live/sport/final"))...).CombinedOutput()
	if err == nil {
		t.Error("the second ffmpeg ended without an error")
	}
	if want := `stream name "sport/final" is taken by another publisher`; !strings.Contains(string(out), want) {
		t.Errorf("the second ffmpeg's log has no %q:\n%s", want, out)
	}
	streams := h.Streams()
	if len(streams) != 1 || streams[0].Publisher != before.Publisher || streams[0].State != live.Running {
		t.Errorf("the first publisher was disturbed: %+v", streams)
	}
}

func TestKilledPublisherEndsTheStream(t *testing.T) {
	h, s := start(t, nil)
	first := firstUnits(t, h)
	ended := record(t, h)
	kill, _ := publishing(t, urlOf(s, "live/test"), testVideo+" "+testAudio+" "+encodeX+" -c:a aac")
	awaitUnit(t, first)
	kill()
	killed := time.Now()
	if got := await(t, ended, "end of stream"); !errors.Is(got.err, io.EOF) {
		t.Errorf("reader ended with %v", got.err)
	}
	if took := time.Since(killed); took > 5*time.Second { // the idle timeout is far longer
		t.Errorf("the stream ended %s after its publisher", took)
	}
	if streams := h.Streams(); len(streams) != 0 {
		t.Errorf("streams left: %+v", streams)
	}
	// The name is free at once.
	publishing(t, urlOf(s, "live/test"), testVideo+" "+encodeX)
	awaitUnit(t, first)
}

func TestKickedPublisherIsDisconnected(t *testing.T) {
	h, s := start(t, nil)
	first := firstUnits(t, h)
	ended := record(t, h)
	publishing(t, urlOf(s, "live/test"), testVideo+" "+encodeX)
	awaitUnit(t, first)
	if err := h.Kick("test"); err != nil {
		t.Fatal(err)
	}
	await(t, ended, "end of stream")
	waitFor(t, "the connection to be closed", func() bool { return count(t, s, reasonKicked) == 1 })
}

// TestFFmpegIsToldWhy looks for the text of the status in ffmpeg's log.
func TestFFmpegIsToldWhy(t *testing.T) {
	_, s := start(t, func(settings *Settings) {
		settings.Authorize = func(_ context.Context, name live.StreamName, _ string, query url.Values) error {
			if name == "locked" && query.Get("token") != "open sesame" {
				return fmt.Errorf("%w: the token is wrong", live.ErrDenied)
			}
			return nil
		}
	})
	const short = testVideo + " -t 2 " + encodeX
	for _, test := range []struct{ name, encode, path, want string }{
		{"wrong application", short, "vod/test", `application "vod" is not served here; publish to rtmp://host/live/<stream>`},
		{"invalid name", short, "live/.hidden", `begins with a dot`},
		{"denied", short, "live/locked?token=guess", `the token is wrong`},
		{"allowed", short, "live/locked?token=open%20sesame", ``},
		{"MP3", testAudio + " -t 2 -ar 44100 -c:a libmp3lame", "live/test", `audio as MP3 is not supported, send AAC`},
		{"FLV1", testVideo + " -t 2 -c:v flv", "live/test", `video as Sorenson H.263 is not supported, send H.264`},
	} {
		t.Run(test.name, func(t *testing.T) {
			args := strings.Fields("-hide_banner -nostdin -re " + test.encode + " -f flv " + urlOf(s, test.path))
			out, err := exec.Command("ffmpeg", args...).CombinedOutput()
			if test.want == "" {
				if err != nil {
					t.Errorf("ffmpeg: %v\n%s", err, out)
				}
				return
			}
			if err == nil {
				t.Error("ffmpeg ended without an error")
			}
			if !strings.Contains(string(out), test.want) {
				t.Errorf("ffmpeg's log has no %q:\n%s", test.want, out)
			}
		})
	}
	t.Run("play", func(t *testing.T) {
		out, err := exec.Command("ffprobe", "-hide_banner", urlOf(s, "live/test")).CombinedOutput()
		if want := "playback over RTMP is not offered"; err == nil || !strings.Contains(string(out), want) {
			t.Errorf("ffprobe's log has no %q (%v):\n%s", want, err, out)
		}
	})
}
