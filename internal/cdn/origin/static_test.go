package origin

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weir-stream/weir/cmcd/cmsd"
)

// stage is a source of live objects; those below wait/ are not there yet.
type stage struct{ types map[string]string }

func (s stage) Object(_ context.Context, key string) (io.ReadSeekCloser, http.Header, error) {
	if strings.HasPrefix(key, "wait/") {
		time.Sleep(700 * time.Millisecond)
	}
	header := http.Header{"Content-Type": {s.types[key]}}
	if key == "own.m4s" {
		header.Set(cmsd.StaticHeader, `ot=av`)
	}
	return struct {
		io.ReadSeeker
		io.Closer
	}{strings.NewReader("x"), io.NopCloser(nil)}, header, nil
}

func TestLiveObjectsSayWhatTheyAre(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, err := New(Settings{})
		if err != nil {
			t.Fatal(err)
		}
		s := stage{map[string]string{
			"tv/index.m3u8": "application/vnd.apple.mpegurl", "tv/manifest.mpd": "application/dash+xml",
			"tv/video-1-init.mp4": "video/mp4", "tv/video-1-7.m4s": "video/mp4", "tv/audio-1-7.m4s": "audio/mp4",
			"tv/text-1-7.vtt": "text/vtt", "tv/thumbnail.jpg": "image/jpeg", "own.m4s": "video/mp4",
			"wait/index.m3u8": "application/vnd.apple.mpegurl",
		}}
		h.MountLive("live/", s)
		h.Mount("vod/", s)
		for path, want := range map[string]string{
			"/live/tv/index.m3u8":       "ot=m,sf=h,st=l",
			"/live/tv/manifest.mpd":     "ot=m,sf=d,st=l",
			"/live/tv/video-1-init.mp4": "ot=i,st=l",
			"/live/tv/video-1-7.m4s":    "ot=v,st=l",
			"/live/tv/audio-1-7.m4s":    "ot=a,st=l",
			"/live/tv/text-1-7.vtt":     "ot=c,st=l",
			"/live/tv/thumbnail.jpg":    "st=l",
			"/live/own.m4s":             "ot=av",
			"/vod/tv/video-1-7.m4s":     "",
		} {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
			if got := w.Header().Get("CMSD-Static"); got != want {
				t.Errorf("%s: CMSD-Static is %q, want %q", path, got, want)
			}
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/live/wait/index.m3u8", nil))
		got, err := cmsd.ParseStatic(w.Header().Get("CMSD-Static"))
		if err != nil || got.Held == nil || *got.Held != 700 || got.AvailableAt == nil || *got.AvailableAt != time.Now().UnixMilli() {
			t.Errorf("of an object that was waited for: %q, %v", w.Header().Get("CMSD-Static"), err)
		}
	})
}
