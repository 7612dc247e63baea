package ffmpeg

import (
	"fmt"
	"strconv"
)

// TestChannel is a picture of bars with a running clock and a tone, published in real time over
// RTMP as an encoder would.
type TestChannel struct {
	// URL is the RTMP address to publish to.
	URL string
	// Width and Height are in pixels, FrameRate in frames per second.
	Width, Height, FrameRate int
	// GOP is the time between keyframes in frames.
	GOP int
	// VideoBitrate and AudioBitrate are in bit/s.
	VideoBitrate, AudioBitrate int
}

// DefaultTestChannel returns a 720p test channel for url.
func DefaultTestChannel(url string) TestChannel {
	return TestChannel{URL: url, Width: 1280, Height: 720, FrameRate: 30, GOP: 30, VideoBitrate: 2_000_000, AudioBitrate: 128_000}
}

// Args returns the arguments that make the test channel with the abilities that ffmpeg has: where
// it has no way to write text, the picture is a test pattern with a counter of its own.
func (c TestChannel) Args(a *Abilities) ([]string, error) {
	for _, encoder := range []string{"libx264", "aac"} {
		if !a.Encoder(encoder) {
			return nil, fmt.Errorf("%s (version %s) has no encoder %s, which the test channel needs", a.Path, a.Version, encoder)
		}
	}
	size := fmt.Sprintf("size=%dx%d:rate=%d", c.Width, c.Height, c.FrameRate)
	picture := "testsrc2=" + size
	if a.Filter("drawtext") {
		box := fmt.Sprintf("fontcolor=white:box=1:boxcolor=black@0.7:boxborderw=%d:x=(w-text_w)/2", c.Height/45)
		picture = fmt.Sprintf("smptehdbars=%s,"+
			`drawtext=text='%%{gmtime\:%%H\\\:%%M\\\:%%S} UTC':fontsize=%d:y=h*0.30:%s,`+
			`drawtext=text='%%{pts\:hms}':fontsize=%d:y=h*0.47:%s`,
			size, c.Height/10, box, c.Height/16, box)
	}
	return []string{
		"-hide_banner", "-loglevel", "warning", "-nostats", "-nostdin",
		"-re", "-f", "lavfi", "-i", picture,
		"-re", "-f", "lavfi", "-i", "sine=frequency=440:beep_factor=4:sample_rate=48000",
		"-map", "0:v", "-map", "1:a",
		"-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-profile:v", "main", "-pix_fmt", "yuv420p",
		"-g", strconv.Itoa(c.GOP), "-keyint_min", strconv.Itoa(c.GOP), "-sc_threshold", "0",
		"-b:v", strconv.Itoa(c.VideoBitrate), "-maxrate", strconv.Itoa(c.VideoBitrate), "-bufsize", strconv.Itoa(c.VideoBitrate),
		"-c:a", "aac", "-ac", "2", "-b:a", strconv.Itoa(c.AudioBitrate),
		"-f", "flv", "-flvflags", "no_duration_filesize", c.URL,
	}, nil
}
