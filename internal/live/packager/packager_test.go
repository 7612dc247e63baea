package packager_test

import (
	"encoding/xml"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weir-stream/weir/internal/live"
	"github.com/weir-stream/weir/internal/live/packager"
	"github.com/weir-stream/weir/internal/media"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const second = time.Second

// mpd is what the tests read of an MPD.
type mpd struct {
	Type     string    `xml:"type,attr"`
	Start    time.Time `xml:"availabilityStartTime,attr"`
	Duration string    `xml:"mediaPresentationDuration,attr"`
	Periods  []struct {
		ID    string `xml:"id,attr"`
		Start string `xml:"start,attr"`
		Sets  []struct {
			ContentType string `xml:"contentType,attr"`
			Template    struct {
				Timescale int64 `xml:"timescale,attr"`
				Offset    int64 `xml:"presentationTimeOffset,attr"`
				Number    int64 `xml:"startNumber,attr"`
				Timeline  []struct {
					T *int64 `xml:"t,attr"`
					D int64  `xml:"d,attr"`
					R int64  `xml:"r,attr"`
				} `xml:"SegmentTimeline>S"`
			} `xml:"SegmentTemplate"`
		} `xml:"AdaptationSet"`
	} `xml:"Period"`
}

func parseMPD(t *testing.T, text string) mpd {
	t.Helper()
	var m mpd
	if err := xml.Unmarshal([]byte(text), &m); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return m
}

func isoDuration(t *testing.T, s string) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(strings.ToLower(strings.TrimPrefix(s, "PT")))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// edge returns where the newest segment ends on the wall clock, and how many segments there are.
func (m mpd) edge(t *testing.T) (end time.Time, count int64) {
	t.Helper()
	for _, p := range m.Periods {
		for _, set := range p.Sets {
			at := int64(0)
			for _, s := range set.Template.Timeline {
				if s.T != nil {
					at = *s.T
				}
				at += s.D * (s.R + 1)
				if set.ContentType == "video" {
					count += s.R + 1
				}
			}
			e := m.Start.Add(isoDuration(t, p.Start)).Add(time.Duration(float64(at-set.Template.Offset) / float64(set.Template.Timescale) * 1e9))
			if e.After(end) {
				end = e
			}
		}
	}
	return end, count
}

func TestFirstSegmentIsPlayableAtTheNextKeyframe(t *testing.T) {
	audio := sound(0, 8*second)
	for name, c := range map[string]struct {
		tracks []media.Track
		units  []media.Unit
		by     time.Duration
		object string
		absent string
	}{
		"video and audio":           {[]media.Track{videoTrack, audioTrack}, mix(pictures(0, 8*second, second), audio), second + 22*time.Millisecond, "audio.m3u8", ""},
		"long GOPs":                 {[]media.Track{videoTrack, audioTrack}, mix(pictures(0, 8*second, 4*second), audio), 4*second + 60*time.Millisecond, "audio.m3u8", ""},
		"video only":                {[]media.Track{videoTrack}, pictures(0, 8*second, second), second, "video.m3u8", "audio.m3u8"},
		"audio promised, not sent":  {[]media.Track{videoTrack, audioTrack}, pictures(0, 8*second, second), second, "video.m3u8", "audio.m3u8"},
		"audio only":                {[]media.Track{audioTrack}, audio, 520 * time.Millisecond, "audio.m3u8", "video.m3u8"},
		"video promised, not sent":  {[]media.Track{videoTrack, audioTrack}, audio, 2030 * time.Millisecond, "audio.m3u8", "video.m3u8"},
		"every picture a keyframe":  {[]media.Track{videoTrack}, pictures(0, 8*second, 40*time.Millisecond), 480 * time.Millisecond, "video.m3u8", "audio.m3u8"},
		"audio long before picture": {[]media.Track{videoTrack, audioTrack}, mix(pictures(second, 8*second, second), audio), 2*second + 60*time.Millisecond, "video.m3u8", ""},
	} {
		t.Run(name, func(t *testing.T) {
			inRig(t, nil, func(r *rig) {
				p := r.publish("a/b", c.tracks...)
				start := time.Now()
				done := false
				for _, u := range c.units {
					time.Sleep(time.Until(start.Add(at(u) - at(c.units[0]))))
					r.play(p, []media.Unit{u})
					if r.has("a/b/index.m3u8") {
						done = true
						break
					}
				}
				if took := time.Since(start); !done || took > c.by {
					t.Fatalf("playable %v after %v, want by %v", done, took, c.by)
				}
				if !r.has("a/b/"+c.object) || !r.has("a/b/manifest.mpd") {
					t.Error("manifests are missing")
				}
				if c.absent != "" && r.has("a/b/"+c.absent) {
					t.Errorf("%s is there without units", c.absent)
				}
				if n := segments(r.get("a/b/" + c.object)); len(n) == 0 {
					t.Error("the playlist is empty")
				}
				if got := r.Streams(); len(got) != 1 || got[0].Name != "a/b" || got[0].State != live.Running {
					t.Errorf("Streams = %v", got)
				}
			})
		})
	}
}

func TestSegmentsGrowToTheTarget(t *testing.T) {
	for gop, want := range map[time.Duration]string{
		second:                  "1 1 1 2 2 2",
		2 * second:              "2 2 2 2 2 2",
		480 * time.Millisecond:  "0.48 0.48 0.48 1.92 1.92 1.92",
		4 * second:              "4 4 4 4 4 4",
		800 * time.Millisecond:  "0.8 0.8 0.8 2.4 2.4 2.4",
		1520 * time.Millisecond: "1.52 1.52 1.52 1.52 1.52 1.52", // 3.04 s would not be a target duration of 2 s
	} {
		t.Run(gop.String(), func(t *testing.T) {
			inRig(t, func(c *packager.Config) { c.Window = time.Minute }, func(r *rig) {
				p := r.publish("s", videoTrack, audioTrack)
				r.play(p, mix(pictures(0, 30*second, gop), sound(0, 30*second)))
				var got []string
				for _, d := range tags(r.get("s/video.m3u8"), "EXTINF")[:6] {
					f, err := strconv.ParseFloat(strings.TrimSuffix(d, ","), 64)
					if err != nil {
						t.Fatal(err)
					}
					got = append(got, strconv.FormatFloat(f, 'g', 4, 64))
				}
				if s := strings.Join(got, " "); s != want {
					t.Errorf("durations %s, want %s", s, want)
				}
			})
		})
	}
}

func TestInterruptedResumedEndedForgotten(t *testing.T) {
	inRig(t, nil, func(r *rig) {
		both := []media.Track{videoTrack, audioTrack}
		p := r.publish("s", both...)
		r.play(p, mix(pictures(0, 7*second, second), sound(0, 7*second)))
		r.close(p)
		before := r.get("s/video.m3u8")
		if n := len(segments(before)); n != 5 { // 1 1 1 2, and the rest
			t.Fatalf("%d segments:\n%s", n, before)
		}
		time.Sleep(10 * second)
		if len(tags(r.get("s/video.m3u8"), "EXT-X-ENDLIST")) > 0 {
			t.Fatal("ended within the resume window")
		}

		other := videoTrack
		other.SPS = []byte{0x67, 77, 0xc0, 13, 0xda, 5, 7, 0x44}
		p = r.publish("s", other, audioTrack)
		r.play(p, mix(pictures(0, 3100*time.Millisecond, second), sound(0, 3100*time.Millisecond)))
		resumed := r.get("s/video.m3u8")
		files := segments(resumed)
		if len(files) != 8 || !slices.Equal(files[:5], segments(before)) {
			t.Fatalf("the playlist does not go on:\n%s", resumed)
		}
		if got := len(tags(resumed, "EXT-X-DISCONTINUITY")); got != 1 {
			t.Errorf("%d discontinuities, want 1:\n%s", got, resumed)
		}
		if maps := tags(resumed, "EXT-X-MAP"); len(maps) != 2 || maps[0] == maps[1] {
			t.Errorf("maps %v, want two that differ", maps)
		}
		m := parseMPD(t, r.get("s/manifest.mpd"))
		if len(m.Periods) != 2 || m.Type != "dynamic" {
			t.Fatalf("MPD is %s with %d Periods, want dynamic with 2", m.Type, len(m.Periods))
		}
		// 7 s of pictures, 10.1 s of nothing; the second Period is where it is on the wall clock.
		if d := isoDuration(t, m.Periods[1].Start) - 17100*time.Millisecond; d.Abs() > 20*time.Millisecond {
			t.Errorf("second Period starts %v off", d)
		}

		r.close(p)
		time.Sleep(second)
		if got := r.Streams(); len(got) != 1 || got[0].State != live.Interrupted {
			t.Errorf("Streams = %v, want one that is interrupted", got)
		}
		time.Sleep(19*second + 100*time.Millisecond)
		if got := r.Streams(); len(got) != 1 || got[0].State != live.Ended {
			t.Errorf("Streams = %v, want one that has ended", got)
		}
		ended := r.get("s/video.m3u8")
		if len(tags(ended, "EXT-X-ENDLIST")) != 1 || len(tags(r.get("s/audio.m3u8"), "EXT-X-ENDLIST")) != 1 {
			t.Errorf("not ended after the resume window:\n%s", ended)
		}
		if m := parseMPD(t, r.get("s/manifest.mpd")); m.Type != "static" || isoDuration(t, m.Duration) < 20*second {
			t.Errorf("MPD is %s of %s, want static of 20.2 s", m.Type, m.Duration)
		}

		p = r.publish("s", both...) // within linger: another life
		if !r.has("s/video.m3u8") {
			t.Error("the ended stream was forgotten within linger")
		}
		r.play(p, mix(pictures(0, 2*second, second), sound(0, 2*second)))
		again := r.get("s/video.m3u8")
		if len(tags(again, "EXT-X-ENDLIST")) > 0 || len(tags(again, "EXT-X-DISCONTINUITY")) > 0 || len(segments(again)) != 1 {
			t.Errorf("the new life is not fresh:\n%s", again)
		}
		last, now := segments(ended), segments(again)
		if numbers(t, now[0]) <= numbers(t, last[len(last)-1]) {
			t.Errorf("%s comes after %s", now[0], last[len(last)-1])
		}
		if !r.has("s/" + last[len(last)-1]) {
			t.Errorf("%s is gone already", last[len(last)-1])
		}
		r.close(p)

		time.Sleep(20*second + time.Minute + second)
		if r.has("s/index.m3u8") || r.has("s/"+now[0]) || len(r.Streams()) != 0 {
			t.Error("the stream is still there after linger")
		}
		p = r.publish("s", both...)
		r.play(p, mix(pictures(0, 2*second, second), sound(0, 2*second)))
		if s := segments(r.get("s/video.m3u8")); numbers(t, s[0]) <= numbers(t, now[0]) || s[0] == now[0] {
			t.Errorf("%s comes after %s", s[0], now[0])
		}
	})
}

// numbers returns epoch and number of a segment's name, to compare.
func numbers(t *testing.T, name string) int64 {
	t.Helper()
	var kind string
	var epoch, number int64
	if _, err := fmt.Sscanf(strings.ReplaceAll(name, "-", " "), "%s %d %d.m4s", &kind, &epoch, &number); err != nil {
		t.Fatal(err)
	}
	return number
}

func TestWindowIsBounded(t *testing.T) {
	inRig(t, nil, func(r *rig) {
		p := r.publish("s", videoTrack, audioTrack)
		type seen struct{ listed time.Time }
		seenAt := make(map[string]*seen)
		last := ""
		units := mix(pictures(0, 300*second, second), sound(0, 300*second))
		start := time.Now()
		for len(units) > 0 {
			n := min(len(units), 20)
			time.Sleep(time.Until(start.Add(at(units[0]))))
			r.play(p, units[:n])
			units = units[n:]
			if !r.has("s/video.m3u8") {
				continue
			}
			playlist := r.get("s/video.m3u8")
			if playlist == last {
				continue
			}
			last = playlist
			files := segments(playlist)
			if len(files) > 20 {
				t.Fatalf("%d segments in the playlist", len(files))
			}
			if got := tags(playlist, "EXT-X-MEDIA-SEQUENCE")[0]; got != strconv.FormatInt(numbers(t, files[0]), 10) {
				t.Fatalf("media sequence %s, first segment %s", got, files[0])
			}
			if td := tags(playlist, "EXT-X-TARGETDURATION"); td[0] != "2" {
				t.Fatalf("target duration %v", td)
			}
			for _, f := range files {
				if seenAt[f] == nil {
					seenAt[f] = &seen{}
				}
				seenAt[f].listed = time.Now()
			}
		}
		gone := 0
		for f, s := range seenAt {
			// RFC 8216 §6.2.2: its own 2 s and the 30 s of the playlist after it was listed last.
			switch age := time.Since(s.listed); {
			case age < 32*second && !r.has("s/"+f):
				t.Errorf("%s was listed %v ago and is gone", f, age)
			case age > 40*second && r.has("s/"+f):
				t.Errorf("%s was listed %v ago and is still there", f, age)
			case age > 40*second:
				gone++
			}
		}
		if gone < 80 {
			t.Errorf("only %d segments of 150 were forgotten", gone)
		}
	})
}

// DASH players ask for a segment as soon as the clock says that it ends.
func TestNothingIsAnnouncedBeforeItsTime(t *testing.T) {
	for name, speed := range map[string]float64{"real time": 1, "a publisher three times too fast": 3, "a slow publisher": 0.7} {
		t.Run(name, func(t *testing.T) {
			inRig(t, nil, func(r *rig) {
				p := r.publish("s", videoTrack, audioTrack)
				units := mix(pictures(0, 60*second, second), sound(0, 60*second))
				start := time.Now()
				var worst time.Duration
				for _, u := range units {
					time.Sleep(time.Until(start.Add(time.Duration(float64(at(u)) / speed))))
					r.play(p, []media.Unit{u})
					if !r.has("s/manifest.mpd") {
						continue
					}
					end, _ := parseMPD(t, r.get("s/manifest.mpd")).edge(t)
					if ahead := time.Until(end); ahead > time.Millisecond {
						t.Fatalf("after %v the MPD is %v ahead of the clock", time.Since(start), ahead)
					}
					worst = max(worst, time.Since(end))
				}
				// And what there is, is announced: a segment and a half of lag, or what the clock
				// correction allows of a publisher that is slow.
				if limit := 15 * second; worst > limit {
					t.Errorf("the MPD was %v behind the clock", worst)
				}
				if speed == 1 && worst > 2200*time.Millisecond {
					t.Errorf("the MPD was %v behind the clock", worst)
				}
			})
		})
	}
}

func TestTracksThatComeAndGo(t *testing.T) {
	inRig(t, nil, func(r *rig) {
		p := r.publish("s", videoTrack)
		r.play(p, pictures(0, 5*second, second))
		video := r.get("s/video.m3u8")
		if r.has("s/audio.m3u8") || strings.Contains(r.get("s/index.m3u8"), "AUDIO") {
			t.Error("audio is announced")
		}
		if err := p.SetTrack(audioTrack); err != nil {
			t.Fatal(err)
		}
		r.play(p, mix(pictures(5*second, 12*second, second), sound(5*second, 12*second)))
		if !strings.Contains(r.get("s/index.m3u8"), `CODECS="avc1.42c00d,mp4a.40.2"`) {
			t.Errorf("multivariant playlist without audio:\n%s", r.get("s/index.m3u8"))
		}
		v, a := r.get("s/video.m3u8"), r.get("s/audio.m3u8")
		for _, tag := range []string{"EXT-X-MEDIA-SEQUENCE", "EXT-X-DISCONTINUITY-SEQUENCE", "EXT-X-TARGETDURATION"} {
			if !slices.Equal(tags(v, tag), tags(a, tag)) || len(tags(v, tag)) != 1 {
				t.Errorf("%s: video %v, audio %v", tag, tags(v, tag), tags(a, tag))
			}
		}
		if old := segments(video); slices.Contains(segments(v), old[0]) || !r.has("s/"+old[0]) {
			t.Error("the epoch without audio must leave the playlist, and stay fetchable")
		}
		if m := parseMPD(t, r.get("s/manifest.mpd")); len(m.Periods) != 2 || len(m.Periods[1].Sets) != 2 {
			t.Errorf("MPD: %+v", m)
		}

		// Audio stops: segments go on without it.
		r.play(p, pictures(12*second, 20*second, second))
		if r.has("s/audio.m3u8") || len(segments(r.get("s/video.m3u8"))) < 2 {
			t.Errorf("audio that stopped holds the video up:\n%s", r.get("s/video.m3u8"))
		}
		// Video stops and audio goes on.
		r.play(p, sound(20*second, 45*second))
		if r.has("s/video.m3u8") || len(segments(r.get("s/audio.m3u8"))) < 3 {
			t.Error("video that stopped holds the audio up")
		}
		r.play(p, mix(pictures(45*second, 52*second, second), sound(45*second, 52*second)))
		if !r.has("s/video.m3u8") || !r.has("s/audio.m3u8") {
			t.Error("video did not come back")
		}
	})
}

func TestNewConfigurationBeginsAnEpoch(t *testing.T) {
	inRig(t, nil, func(r *rig) {
		p := r.publish("s", videoTrack, audioTrack)
		r.play(p, mix(pictures(0, 6*second, second), sound(0, 6*second)))
		if err := p.SetTrack(videoTrack); err != nil { // the same again changes nothing
			t.Fatal(err)
		}
		r.play(p, mix(pictures(6*second, 10*second, second), sound(6*second, 10*second)))
		if got := tags(r.get("s/video.m3u8"), "EXT-X-MAP"); len(got) != 1 {
			t.Fatalf("maps %v, want one", got)
		}
		other := videoTrack
		other.Width, other.PPS = 640, []byte{0x68, 0xce, 0x3c, 0x81}
		if err := p.SetTrack(other); err != nil {
			t.Fatal(err)
		}
		r.play(p, mix(pictures(10*second, 13*second, second), sound(10*second, 13*second)))
		v := r.get("s/video.m3u8")
		if len(tags(v, "EXT-X-MAP")) != 2 || len(tags(v, "EXT-X-DISCONTINUITY")) != 1 || len(tags(r.get("s/audio.m3u8"), "EXT-X-DISCONTINUITY")) != 1 {
			t.Errorf("no new epoch:\n%s", v)
		}
		// The publisher's clock went on, so the second Period joins the first.
		m := parseMPD(t, r.get("s/manifest.mpd"))
		if d := isoDuration(t, m.Periods[1].Start) - 10*second; d.Abs() > 25*time.Millisecond {
			t.Errorf("second Period is %v off", d)
		}
		// A jump of the publisher's clock.
		r.play(p, mix(pictures(1000*second, 1004*second, second), sound(1000*second, 1004*second)))
		if v = r.get("s/video.m3u8"); len(tags(v, "EXT-X-DISCONTINUITY")) != 2 {
			t.Errorf("no epoch after the jump:\n%s", v)
		}
		for _, d := range tags(v, "EXTINF") {
			if f, _ := strconv.ParseFloat(strings.TrimSuffix(d, ","), 64); f > 2.5 {
				t.Errorf("a segment of %v s", f)
			}
		}
	})
}

func TestEndlessGOPIsGivenUp(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*packager.Config)
		want   string
	}{
		"duration": {nil, "max_segment_duration"},
		"bytes":    {func(c *packager.Config) { c.MaxSegmentBytes = 64 << 10 }, "max_segment_bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			inRig(t, c.change, func(r *rig) {
				p := r.publish("s", videoTrack)
				units := pictures(0, 40*second, time.Hour)
				for i := range units {
					units[i].Payload = make([]byte, 300)
				}
				r.play(p, units)
				if !strings.Contains(r.log.String(), c.want) {
					t.Errorf("log: %s", r.log.String())
				}
				if r.has("s/index.m3u8") {
					t.Error("there is a manifest")
				}
				if n := r.hub.Streams()[0].Readers; len(n) != 0 {
					t.Errorf("the packager still reads: %v", n)
				}
				r.close(p)
				// The next publication starts afresh.
				p = r.publish("s", videoTrack)
				r.play(p, pictures(0, 3*second, second))
				if !r.has("s/index.m3u8") {
					t.Error("the next publication is not packaged")
				}
			})
		})
	}
}

func TestHeaders(t *testing.T) {
	inRig(t, func(c *packager.Config) { c.SegmentDuration, c.Window = 4*second, 24*second }, func(r *rig) {
		for _, key := range []string{"s/index.m3u8", "index.m3u8", "", "/", "s/", "s//index.m3u8"} {
			if r.has(key) {
				t.Errorf("%q is there before any stream", key)
			}
		}
		p := r.publish("s", videoTrack, audioTrack)
		r.play(p, mix(pictures(0, 3*second, second), sound(0, 3*second)))
		file := segments(r.get("s/audio.m3u8"))[0]
		for key, want := range map[string][2]string{
			"index.m3u8":   {"application/vnd.apple.mpegurl", "public, max-age=2"},
			"video.m3u8":   {"application/vnd.apple.mpegurl", "public, max-age=2"},
			"manifest.mpd": {"application/dash+xml", "public, max-age=2"},
			file:           {"audio/mp4", "public, max-age=3600, immutable"},
			fileName.FindString(r.get("s/video.m3u8")): {"video/mp4", "public, max-age=3600, immutable"},
		} {
			_, h := r.fetch("s/" + key)
			if h.Get("Content-Type") != want[0] || h.Get("Cache-Control") != want[1] || !strings.HasPrefix(h.Get("ETag"), `"`) {
				t.Errorf("%s: %v", key, h)
			}
			h.Set("Content-Type", "changed") // the header is the caller's
			if _, again := r.fetch("s/" + key); again.Get("Content-Type") != want[0] {
				t.Errorf("%s: header is shared", key)
			}
		}
	})
}

func TestConfig(t *testing.T) {
	if err := packager.DefaultConfig().Validate(); err != nil {
		t.Errorf("default: %v", err)
	}
	for key, change := range map[string]func(*packager.Config){
		"segment_duration":     func(c *packager.Config) { c.SegmentDuration = time.Millisecond },
		"window":               func(c *packager.Config) { c.Window = 5 * second },
		"resume_window":        func(c *packager.Config) { c.ResumeWindow = -1 },
		"linger":               func(c *packager.Config) { c.Linger = -1 },
		"max_segment_duration": func(c *packager.Config) { c.MaxSegmentDuration = second },
		"max_segment_bytes":    func(c *packager.Config) { c.MaxSegmentBytes = 1 },
		"max_stream_bytes":     func(c *packager.Config) { c.MaxStreamBytes = 1 << 20 },
	} {
		c := packager.DefaultConfig()
		change(&c)
		if err := c.Validate(); err == nil || !strings.HasPrefix(err.Error(), key+":") {
			t.Errorf("%s: err = %v", key, err)
		}
	}
}
