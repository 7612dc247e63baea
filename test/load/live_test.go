package load

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

const rounds = 7

// From the publisher's connection to a playlist whose segment can be fetched.
func TestPublishToPlayable(t *testing.T) {
	needMeasure(t)
	for _, gop := range []int{30, 60} {
		for _, sound := range []bool{true, false} {
			servers := []server{weir(t), nginx(t, 1, false)}
			results := make(map[string][]float64)
			for round := range rounds {
				for _, s := range servers {
					results[s.name] = append(results[s.name], publishToPlayable(t, s, fmt.Sprintf("s%d", round), gop, sound).Seconds())
				}
			}
			w, n := median(results["weir"]), median(results["nginx-rtmp"])
			t.Logf("publish → playable, keyframe every %.0f s, sound %v: weir %.3f s, nginx-rtmp %.3f s, ratio %.2f  (%.3f | %.3f)",
				float64(gop)/30, sound, w, n, w/n, results["weir"], results["nginx-rtmp"])
		}
	}
}

func publishToPlayable(t *testing.T, s server, stream string, gop int, sound bool) time.Duration {
	t.Helper()
	address, accepted := relay(t, s.rtmp)
	args := []string{"-re", "-f", "lavfi", "-i", "testsrc2=size=640x360:rate=30"}
	if sound {
		args = append(args, "-re", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000", "-c:a", "aac")
	}
	args = append(args, "-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-pix_fmt", "yuv420p", "-g", fmt.Sprint(gop),
		"-sc_threshold", "0", "-b:v", "800k", "-f", "flv", "rtmp://"+address+"/live/"+stream)
	stop := ffmpegRuns(t, args...)
	defer stop()
	var begun time.Time
	select {
	case begun = <-accepted:
	case <-time.After(10 * time.Second):
		t.Fatal("ffmpeg did not connect")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := playable(ctx, s.media(stream)); err != nil {
		t.Fatalf("%s: not playable: %v", s.name, err)
	}
	return time.Since(begun)
}

// The player shows pictures that carry the time at which they were drawn, as a row of black and
// white boxes; what is on screen is read back and compared with the clock.
const latencyPage = `<!doctype html><title>latency</title><video id=v muted autoplay playsinline width=640 height=360></video>
<script src="/hls.js"></script><script>
const url = new URLSearchParams(location.search).get('url'), v = document.getElementById('v');
const c = document.createElement('canvas'); c.width = 640; c.height = 360; const g = c.getContext('2d', {willReadFrequently: true});
window.samples = []; window.stalls = 0; window.failure = '';
const h = new Hls(); h.on(Hls.Events.ERROR, (e, d) => { if (d.fatal) window.failure = d.details; });
h.loadSource(url); h.attachMedia(v); v.addEventListener('waiting', () => { if (window.samples.length) window.stalls++; });
function frame() {
  const now = Date.now() / 10; g.drawImage(v, 0, 0, 640, 360); let n = 0;
  for (let k = 0; k < 14; k++) if (g.getImageData(20 + 40 * k + 10, 20, 1, 1).data[0] > 127) n += 2 ** k;
  const age = ((Math.floor(now) - n) % 16384 + 16384) % 16384; window.samples.push(age / 100);
  v.requestVideoFrameCallback(frame);
}
v.requestVideoFrameCallback(frame);
</script>`

// How old a picture is when hls.js shows it, with segments of one second and of two: one publisher
// to both servers, one player after the other.
func TestLiveLatency(t *testing.T) {
	needMeasure(t)
	for _, segment := range []int{1, 2} {
		compareLatency(t, segment)
	}
}

func compareLatency(t *testing.T, segment int) {
	t.Helper()
	servers := []server{weir(t, "--set", fmt.Sprintf("live.packager.segment_duration=%ds", segment)), nginx(t, segment, false)}
	// 14 boxes: the hundredths of a second of the wall clock, in binary. The comma of an expression
	// has to be escaped from the filter graph.
	picture := "testsrc2=size=640x360:rate=30,drawbox=x=0:y=0:w=640:h=50:color=black:t=fill"
	for k := range 14 {
		picture += fmt.Sprintf(`,drawbox=x=%d:y=10:w=24:h=24:color=white:t=fill:enable='mod(floor(time(0)*100/%d)\,2)'`, 20+40*k, 1<<k)
	}
	defer ffmpegRuns(t, "-re", "-f", "lavfi", "-i", picture, "-re", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000",
		"-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-pix_fmt", "yuv420p", "-g", "30", "-sc_threshold", "0", "-b:v", "1500k", "-c:a", "aac",
		"-map", "0:v", "-map", "1:a", "-flags", "+global_header", "-f", "tee",
		fmt.Sprintf("[f=flv]rtmp://%s/live/late|[f=flv]rtmp://%s/live/late", servers[0].rtmp, servers[1].rtmp))()
	hlsjs, err := os.ReadFile("../../web/node_modules/hls.js/dist/hls.min.js")
	if err != nil {
		t.Fatal(err)
	}
	pages := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hls.js" {
			w.Header().Set("Content-Type", "text/javascript")
			_, _ = w.Write(hlsjs)
			return
		}
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte(latencyPage))
	}))
	defer pages.Close()
	for _, s := range servers {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		if err := playable(ctx, s.media("late")); err != nil {
			t.Fatalf("%s: not playable: %v", s.name, err)
		}
		cancel()
	}
	time.Sleep(10 * time.Second) // so that both have a window to choose from

	results, stalls := make(map[string][]float64), make(map[string]int)
	for range 3 {
		for _, s := range servers {
			samples, stalled := latency(t, pages.URL+"/?url="+s.hls("late"))
			results[s.name] = append(results[s.name], samples)
			stalls[s.name] += stalled
		}
	}
	w, n := median(results["weir"]), median(results["nginx-rtmp"])
	t.Logf("latency with hls.js, segments of %d s: weir %.2f s (%d stalls), nginx-rtmp %.2f s (%d stalls), ratio %.2f  (%.2f | %.2f)",
		segment, w, stalls["weir"], n, stalls["nginx-rtmp"], w/n, results["weir"], results["nginx-rtmp"])
}

// latency plays for 20 s and returns the median age of the pictures of the last ten.
func latency(t *testing.T, page string) (seconds float64, stalls int) {
	t.Helper()
	allocator, cancel := chromedp.NewExecAllocator(context.Background(), chromedp.NoFirstRun, chromedp.Headless, chromedp.NoSandbox,
		chromedp.DisableGPU, chromedp.UserDataDir(t.TempDir()), chromedp.Flag("autoplay-policy", "no-user-gesture-required"),
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true),
		chromedp.Flag("disable-quic", true), chromedp.Flag("mute-audio", true))
	defer cancel()
	ctx, cancelTab := chromedp.NewContext(allocator)
	defer cancelTab()
	if err := chromedp.Do(ctx, chromedp.Navigate(page)); err != nil {
		t.Fatal(err)
	}
	time.Sleep(20 * time.Second)
	type result struct {
		Samples []float64 `json:"samples"`
		Stalls  int       `json:"stalls"`
		Failure string    `json:"failure"`
	}
	got, err := chromedp.Run(ctx, chromedp.Evaluate[result](`({samples: window.samples.slice(-300), stalls: window.stalls, failure: window.failure})`))
	if err != nil {
		t.Fatal(err)
	}
	if got.Failure != "" || len(got.Samples) < 100 {
		t.Fatalf("%s: %d pictures seen, failure %q", page, len(got.Samples), got.Failure)
	}
	return median(got.Samples), got.Stalls
}

// The processor time that packaging 720p streams takes: HLS and DASH from the same publishers. The
// streams are encoded beforehand, so that no encoder disturbs.
func TestPackagingCPU(t *testing.T) {
	needMeasure(t)
	file := filepath.Join(t.TempDir(), "720p.flv")
	encode := exec.Command("ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc2=size=1280x720:rate=30", "-f", "lavfi", "-i", "sine=sample_rate=48000",
		"-t", "50", "-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-pix_fmt", "yuv420p", "-g", "30", "-sc_threshold", "0",
		"-b:v", "3M", "-maxrate", "3M", "-bufsize", "3M", "-c:a", "aac", "-b:a", "128k", file)
	if out, err := encode.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, streams := range []int{1, 10} {
		results := make(map[string][]float64)
		for range 3 {
			for _, start := range []func() server{func() server { return weir(t) }, func() server { return nginx(t, 2, true) }} {
				s := start()
				results[s.name] = append(results[s.name], packagingCPU(t, s, file, streams))
			}
		}
		w, n := median(results["weir"]), median(results["nginx-rtmp"])
		t.Logf("packaging %d × 720p of 3 Mbit/s, each: weir %.2f %% of a core, nginx-rtmp (HLS and DASH) %.2f %%, ratio %.2f  (%.2f | %.2f)",
			streams, w, n, w/n, results["weir"], results["nginx-rtmp"])
	}
}

// packagingCPU returns the share of a core that the server uses for each of so many streams.
func packagingCPU(t *testing.T, s server, file string, streams int) float64 {
	t.Helper()
	const span = 20 * time.Second
	for i := range streams {
		defer ffmpegRuns(t, "-re", "-i", file, "-c", "copy", "-f", "flv", fmt.Sprintf("rtmp://%s/live/cpu%d", s.rtmp, i))()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := playable(ctx, s.media("cpu0")); err != nil {
		t.Fatalf("%s: not playable: %v", s.name, err)
	}
	time.Sleep(3 * time.Second)
	before := cpu(t, s.pid)
	time.Sleep(span)
	return 100 * (cpu(t, s.pid) - before).Seconds() / span.Seconds() / float64(streams)
}
