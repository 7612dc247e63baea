package packager_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weir-stream/weir/internal/live"
	"github.com/weir-stream/weir/internal/live/hub"
	"github.com/weir-stream/weir/internal/live/packager"
	"github.com/weir-stream/weir/internal/media"
)

// rig is a hub and a packager in a bubble of synctest, where waiting costs no time.
type rig struct {
	t   *testing.T
	hub *hub.Hub
	*packager.Packager
	log strings.Builder
}

// inRig runs the test with a packager that is stopped after it.
func inRig(t *testing.T, change func(*packager.Config), test func(*rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t}
		c := packager.DefaultConfig()
		if change != nil {
			change(&c)
		}
		var err error
		if r.hub, err = hub.New(hub.Settings{Config: hub.DefaultConfig()}); err != nil {
			t.Fatal(err)
		}
		log := slog.New(slog.NewTextHandler(&r.log, &slog.HandlerOptions{Level: slog.LevelWarn}))
		if r.Packager, err = packager.New(packager.Settings{Config: c, Log: log}); err != nil {
			t.Fatal(err)
		}
		r.hub.OnPublish(r.Handle)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- r.Run(ctx) }()
		defer func() {
			if err := r.hub.Close(); err != nil {
				t.Error(err)
			}
			cancel()
			if err := <-done; err != nil {
				t.Errorf("Run: %v", err)
			}
		}()
		test(r)
	})
}

func (r *rig) publish(name live.StreamName, tracks ...media.Track) *hub.Publisher {
	r.t.Helper()
	p, err := r.hub.Publish(name, hub.PublisherInfo{Protocol: "test"})
	if err != nil {
		r.t.Fatal(err)
	}
	for _, track := range tracks {
		if err := p.SetTrack(track); err != nil {
			r.t.Fatal(err)
		}
	}
	return p
}

// play writes units as a publisher would, each when its decoding time has come; the first comes now.
func (r *rig) play(p *hub.Publisher, units []media.Unit) {
	r.t.Helper()
	r.playAt(p, units, func(u media.Unit) float64 { return at(u).Seconds() })
}

func (r *rig) playAt(p *hub.Publisher, units []media.Unit, seconds func(media.Unit) float64) {
	r.t.Helper()
	start := time.Now()
	for _, u := range units {
		time.Sleep(time.Until(start.Add(time.Duration((seconds(u) - seconds(units[0])) * 1e9))))
		u.Received = time.Now()
		if err := p.Write(u); err != nil {
			r.t.Fatal(err)
		}
	}
	synctest.Wait()
}

func (r *rig) close(p *hub.Publisher) {
	r.t.Helper()
	if err := p.Close(); err != nil {
		r.t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond) // the last segment may end with a picture that is still shown
	synctest.Wait()
}

// get returns an object that must be there.
func (r *rig) get(key string) string {
	r.t.Helper()
	body, _ := r.fetch(key)
	return body
}

func (r *rig) fetch(key string) (string, http.Header) {
	r.t.Helper()
	o, h, err := r.Object(r.t.Context(), key)
	if err != nil {
		r.t.Fatal(err)
	}
	defer o.Close()
	b, err := io.ReadAll(o)
	if err != nil {
		r.t.Fatal(err)
	}
	return string(b), h
}

func (r *rig) has(key string) bool {
	o, _, err := r.Object(r.t.Context(), key)
	if err == nil {
		_ = o.Close()
		return true
	}
	if !errors.Is(err, fs.ErrNotExist) {
		r.t.Errorf("%s: %v, want fs.ErrNotExist", key, err)
	}
	return false
}

// snapshot fetches all that the manifests of a stream name.
func (r *rig) snapshot(stream string) map[string]string {
	r.t.Helper()
	objects := make(map[string]string)
	for _, name := range []string{"index.m3u8", "manifest.mpd", "video.m3u8", "audio.m3u8"} {
		if !r.has(stream + "/" + name) {
			continue
		}
		objects[name] = r.get(stream + "/" + name)
		for _, file := range fileName.FindAllString(objects[name], -1) {
			objects[file] = r.get(stream + "/" + file)
		}
	}
	return objects
}

var (
	fileName = regexp.MustCompile(`(video|audio)-\d+-(init\.mp4|\d+\.m4s)`)
	segName  = regexp.MustCompile(`(?m)^(video|audio)-\d+-\d+\.m4s$`)
)

func segments(playlist string) []string { return segName.FindAllString(playlist, -1) }

// tag returns the values of a tag in a playlist.
func tags(playlist, name string) []string {
	var values []string
	for line := range strings.Lines(playlist) {
		if v, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "#"+name); ok {
			values = append(values, strings.TrimPrefix(v, ":"))
		}
	}
	return values
}

var (
	videoTrack = media.Track{
		ID: 1, Codec: media.H264, Timescale: media.VideoTimescale, Width: 320, Height: 180,
		SPS: []byte{0x67, 66, 0xc0, 13, 0xda, 5, 7, 0x44}, PPS: []byte{0x68, 0xce, 0x3c, 0x80},
	}
	audioTrack = media.Track{
		ID: 2, Codec: media.AAC, Timescale: 48000, SampleRate: 48000, Channels: 2, AudioSpecificConfig: []byte{0x11, 0x90},
	}
)

func timescale(u media.Unit) int64 {
	if u.Track == 1 {
		return media.VideoTimescale
	}
	return 48000
}

func at(u media.Unit) time.Duration {
	return time.Duration(u.DTS/timescale(u))*time.Second + time.Duration(u.DTS%timescale(u)*1e9/timescale(u))
}

// pictures are units of video at 25 pictures a second, a keyframe each gop, from one time to another.
func pictures(from, to, gop time.Duration) []media.Unit {
	var units []media.Unit
	for i := int64(0); ; i++ {
		t := from + time.Duration(i)*40*time.Millisecond
		if t >= to {
			return units
		}
		dts := int64(t / time.Millisecond * 90)
		units = append(units, media.Unit{
			Track: 1, DTS: dts, PTS: dts, Keyframe: i%int64(gop/(40*time.Millisecond)) == 0, Payload: []byte{0, 0, 0, 4, 0x41, byte(i), byte(i >> 8), 1},
		})
	}
}

// sound are units of audio.
func sound(from, to time.Duration) []media.Unit {
	var units []media.Unit
	for i := int64(0); ; i++ {
		dts := int64(from/time.Millisecond*48) + i*1024
		u := media.Unit{Track: 2, DTS: dts, PTS: dts, Keyframe: true, Payload: []byte{0x21, byte(i), byte(i >> 8)}}
		if at(u) >= to {
			return units
		}
		units = append(units, u)
	}
}

// mix puts units in order of decoding.
func mix(lists ...[]media.Unit) []media.Unit {
	var out []media.Unit
	for {
		next := -1
		for i, l := range lists {
			if len(l) > 0 && (next < 0 || at(l[0]) < at(lists[next][0])) {
				next = i
			}
		}
		if next < 0 {
			return out
		}
		out = append(out, lists[next][0])
		lists[next] = lists[next][1:]
	}
}
