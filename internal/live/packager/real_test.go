package packager_test

import (
	"bytes"
	"encoding/json"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weir-stream/weir/internal/format/cmaf/cmaftest"
	"github.com/weir-stream/weir/internal/live/packager"
	"github.com/weir-stream/weir/internal/media"
)

// record makes seconds of H.264 with B-frames and of AAC at 44.1 kHz.
func record(t testing.TB, seconds int, videoArgs ...string) *cmaftest.Recording {
	d := strconv.Itoa(seconds)
	return cmaftest.Record(t, slices.Concat([]string{
		"-f", "lavfi", "-i", "testsrc2=size=320x180:rate=30", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=44100",
		"-t", d, "-pix_fmt", "yuv420p", "-c:v", "libx264", "-preset", "veryfast", "-g", "30", "-bf", "2",
	}, videoArgs, []string{"-c:a", "aac", "-b:a", "96k"})...)
}

// real plays units whose audio is at another sample rate than the synthetic ones.
func (r *rig) real(rec *cmaftest.Recording, units []media.Unit) {
	r.t.Helper()
	time := func(u media.Unit) float64 { return float64(u.DTS) / float64(rec.Track(u.Track).Timescale) }
	p := r.publish("s", rec.Tracks...)
	r.playAt(p, units, time)
	r.close(p)
}

func TestRealMedia(t *testing.T) {
	for name, shift := range map[string]int64{"from zero": 0, "from far": 40_000, "from before zero": -3} {
		t.Run(name, func(t *testing.T) {
			rec := record(t, 12)
			units := make([]media.Unit, len(rec.Units))
			for i, u := range rec.Units { // shift in seconds
				u.DTS += shift * int64(rec.Track(u.Track).Timescale)
				u.PTS += shift * int64(rec.Track(u.Track).Timescale)
				units[i] = u
			}
			var objects map[string]string
			inRig(t, func(c *packager.Config) { c.ResumeWindow = 0 }, func(r *rig) {
				r.real(rec, units)
				objects = r.snapshot("s")
			})
			compare(t, rec, units, objects)
			check(t, objects, 12, len(only(units, 1)), len(only(units, 2)))
		})
	}
}

func only(units []media.Unit, track int) []media.Unit {
	return slices.DeleteFunc(slices.Clone(units), func(u media.Unit) bool { return u.Track != track })
}

// compare reads the files of one epoch and checks that they hold the units, at their times less a shift
// of whole seconds that is the same for all tracks.
func compare(t *testing.T, rec *cmaftest.Recording, units []media.Unit, objects map[string]string) {
	t.Helper()
	shifts := make(map[int64]bool)
	for id, playlist := range map[int]string{1: "video.m3u8", 2: "audio.m3u8"} {
		header := []byte(objects[fileName.FindString(objects[playlist])])
		var files [][]byte
		for _, f := range segments(objects[playlist]) {
			files = append(files, []byte(objects[f]))
			one, err := cmaftest.Read(header, []byte(objects[f]))
			if err != nil {
				t.Fatal(err)
			}
			if !one[0].Sync {
				t.Errorf("%s does not begin with a keyframe", f)
			}
		}
		got, err := cmaftest.Read(header, files...)
		if err != nil {
			t.Fatal(err)
		}
		want := only(units, id)
		if id == 2 { // those before the first picture are left out
			n := slices.IndexFunc(want, func(u media.Unit) bool { return bytes.Equal(u.Payload, got[0].Data) })
			if n > 3 {
				t.Fatalf("%d units of audio are missing in front", n)
			}
			want = want[n:]
		}
		if len(got) != len(want) {
			t.Fatalf("%s: %d samples of %d units", playlist, len(got), len(want))
		}
		scale := int64(rec.Track(id).Timescale)
		shift := got[0].DTS - want[0].DTS
		if shift%scale != 0 {
			t.Errorf("%s is shifted by %d ticks, no whole seconds", playlist, shift)
		}
		shifts[shift/scale] = true
		for i, s := range got {
			u := want[i]
			if s.DTS-shift != u.DTS || s.PTS-shift != u.PTS || s.Sync != u.Keyframe || !bytes.Equal(s.Data, u.Payload) {
				t.Fatalf("%s, sample %d: %d %d, want %d %d", playlist, i, s.DTS-shift, s.PTS-shift, u.DTS, u.PTS)
			}
			if i+1 < len(got) && s.DTS+int64(s.Duration) != got[i+1].DTS {
				t.Fatalf("%s: a gap after sample %d", playlist, i)
			}
		}
	}
	if len(shifts) != 1 {
		t.Errorf("tracks are shifted differently: %v", shifts)
	}
}

// check lets ffprobe read a stream that has ended, by HLS and by DASH, and ffmpeg decode it.
func check(t *testing.T, objects map[string]string, seconds float64, pictures, frames int) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, ok := objects[path.Base(r.URL.Path)]
		if !ok {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write([]byte(body))
	}))
	defer server.Close()
	for _, manifest := range []string{"index.m3u8", "manifest.mpd"} {
		out := cmaftest.Run(t, "ffprobe", "-loglevel", "error", "-of", "json", "-show_packets", "-show_streams", server.URL+"/s/"+manifest)
		var probe struct {
			Packets []struct {
				Type string `json:"codec_type"`
				PTS  string `json:"pts_time"`
				DTS  string `json:"dts_time"`
			} `json:"packets"`
			Streams []struct {
				Type string `json:"codec_type"`
			} `json:"streams"`
		}
		if err := json.Unmarshal([]byte(out), &probe); err != nil {
			t.Fatal(err)
		}
		count := make(map[string]int)
		first, last := make(map[string]float64), make(map[string]float64)
		for _, p := range probe.Packets {
			at, err := strconv.ParseFloat(p.PTS, 64)
			if err != nil {
				t.Fatal(err)
			}
			if count[p.Type]++; count[p.Type] == 1 {
				first[p.Type], last[p.Type] = at, at
			}
			first[p.Type], last[p.Type] = min(first[p.Type], at), max(last[p.Type], at)
		}
		if count["video"] != pictures || count["audio"] < frames-3 || count["audio"] > frames {
			t.Errorf("%s: ffprobe reads %d pictures and %d frames of sound, %d and %d were published", manifest, count["video"], count["audio"], pictures, frames)
		}
		if d := first["audio"] - first["video"]; math.Abs(d) > 0.024 {
			t.Errorf("%s: audio begins %v s after video", manifest, d)
		}
		for kind := range count {
			if d := last[kind] - first[kind]; math.Abs(d-seconds) > 0.1 {
				t.Errorf("%s: %s of %v s, want %v", manifest, kind, d, seconds)
			}
		}
		cmaftest.Run(t, "ffmpeg", "-hide_banner", "-loglevel", "error", "-xerror", "-i", server.URL+"/s/"+manifest, "-map", "0:v:0", "-map", "0:a:0", "-f", "null", "-")
	}
	if !strings.Contains(objects["index.m3u8"], "RESOLUTION=320x180,FRAME-RATE=30.000") {
		t.Errorf("multivariant playlist:\n%s", objects["index.m3u8"])
	}
}

// A publisher that goes away and comes back with another picture: one HLS playlist plays both.
func TestRealMediaResumed(t *testing.T) {
	a, b := record(t, 5), record(t, 4, "-profile:v", "baseline", "-bf", "0")
	var objects map[string]string
	inRig(t, nil, func(r *rig) {
		r.real(a, a.Units)
		time.Sleep(7 * time.Second)
		r.real(b, b.Units)
		time.Sleep(20*time.Second + time.Second)
		objects = r.snapshot("s")
	})
	// ffmpeg 5.1 reads only the first of a playlist's headers, so each epoch is decoded by itself.
	pictures := 0
	for _, epoch := range epochs(objects["video.m3u8"]) {
		file := filepath.Join(t.TempDir(), "epoch.mp4")
		data := objects[epoch[0]]
		for _, f := range epoch[1:] {
			data += objects[f]
		}
		if err := os.WriteFile(file, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
		cmaftest.Run(t, "ffmpeg", "-hide_banner", "-loglevel", "error", "-xerror", "-i", file, "-f", "null", "-")
		samples, err := cmaftest.Read([]byte(objects[epoch[0]]), []byte(data[len(objects[epoch[0]]):]))
		if err != nil {
			t.Fatal(err)
		}
		pictures += len(samples)
	}
	if want := len(only(a.Units, 1)) + len(only(b.Units, 1)); pictures != want {
		t.Errorf("%d pictures, %d were published", pictures, want)
	}
	if n := len(tags(objects["video.m3u8"], "EXT-X-DISCONTINUITY")); n != 1 {
		t.Errorf("%d discontinuities", n)
	}
}

// epochs returns the header and the segments of each epoch of a playlist.
func epochs(playlist string) [][]string {
	var list [][]string
	for _, part := range strings.Split(playlist, "#EXT-X-DISCONTINUITY\n") {
		list = append(list, append([]string{fileName.FindString(part)}, segments(part)...))
	}
	return list
}
