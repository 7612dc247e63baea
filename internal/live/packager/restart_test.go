package packager_test

import (
	"context"
	"testing"
	"time"

	"github.com/weir-stream/weir/internal/live/packager"
)

// A player goes on with the process that comes after a restart only if the numbers do.
func TestNumbersGoOnAfterARestart(t *testing.T) {
	shortest := func(c *packager.Config) { c.SegmentDuration = 500 * time.Millisecond }
	inRig(t, shortest, func(r *rig) {
		time.Sleep(time.Until(time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)))
		p := r.publish("s", videoTrack)
		r.play(p, pictures(0, 60*second, 480*time.Millisecond))
		r.close(p)
		files := segments(r.get("s/video.m3u8"))
		last := numbers(t, files[len(files)-1])
		c := packager.DefaultConfig()
		shortest(&c)
		first := r.Packager
		restarted, err := packager.New(packager.Settings{Config: c})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(r.t.Context())
		done := make(chan error)
		go func() { done <- restarted.Run(ctx) }()
		r.hub.OnPublish(restarted.Handle)
		r.Packager = restarted
		p = r.publish("s", videoTrack)
		r.play(p, pictures(0, second, 480*time.Millisecond))
		if s := segments(r.get("s/video.m3u8")); numbers(t, s[0]) <= last {
			t.Errorf("%s comes after number %d", s[0], last)
		}
		r.close(p)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		r.Packager = first
	})
}
