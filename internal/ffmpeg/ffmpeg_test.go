package ffmpeg_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weir-stream/weir/internal/ffmpeg"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func probe(t *testing.T) *ffmpeg.Abilities {
	t.Helper()
	a, err := ffmpeg.Probe(t.Context(), "ffmpeg")
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestProbe(t *testing.T) {
	a := probe(t)
	if !a.Encoder("libx264") || !a.Encoder("aac") || a.Encoder("nonsense") || !a.Filter("scale") {
		t.Errorf("abilities of ffmpeg %s are read wrongly", a.Version)
	}
}

func TestProbeOfWhatIsNotThere(t *testing.T) {
	if _, err := ffmpeg.Probe(t.Context(), "no-such-ffmpeg"); !errors.Is(err, ffmpeg.ErrNotInstalled) || !strings.Contains(err.Error(), "no-such-ffmpeg") {
		t.Errorf("err = %v", err)
	}
	if _, err := ffmpeg.Probe(t.Context(), "true"); err == nil || !strings.Contains(err.Error(), "is not ffmpeg") {
		t.Errorf("err = %v", err)
	}
}

// The test channel's arguments, with a file in the place of the server and no more than two
// seconds of it, make what the test channel promises.
func TestTheTestChannel(t *testing.T) {
	a := probe(t)
	file := filepath.Join(t.TempDir(), "out.flv")
	args, err := ffmpeg.DefaultTestChannel(file).Args(a)
	if err != nil {
		t.Fatal(err)
	}
	args = slices.Insert(args, len(args)-3, "-t", "2")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if out, err := exec.CommandContext(ctx, a.Path, args...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	} else if len(bytes.TrimSpace(out)) > 0 {
		t.Logf("ffmpeg warns: %s", out)
	}
	out, err := exec.CommandContext(ctx, "ffprobe", "-v", "error", "-of", "json", "-show_streams", "-show_entries", "packet=codec_type,flags", file).Output()
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Streams []struct {
			Codec  string `json:"codec_name"`
			Width  int    `json:"width"`
			Height int    `json:"height"`
			Rate   string `json:"r_frame_rate"`
		}
		Packets []struct {
			Type  string `json:"codec_type"`
			Flags string `json:"flags"`
		}
	}
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Streams) != 2 || got.Streams[0].Codec != "h264" || got.Streams[0].Width != 1280 || got.Streams[0].Rate != "30/1" || got.Streams[1].Codec != "aac" {
		t.Errorf("streams = %+v", got.Streams)
	}
	frames, keyframes := 0, 0
	for _, p := range got.Packets {
		if p.Type == "video" {
			frames++
			if strings.HasPrefix(p.Flags, "K") {
				keyframes++
			}
		}
	}
	if frames != 60 || keyframes != 2 {
		t.Errorf("%d frames with %d keyframes, want 60 with 2", frames, keyframes)
	}
}

func TestAChildThatFailsSaysWhy(t *testing.T) {
	a := probe(t)
	err := ffmpeg.Child{Path: a.Path, Args: []string{"-i", "/does/not/exist"}, Log: slog.New(slog.DiscardHandler)}.Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "No such file or directory") {
		t.Errorf("err = %v", err)
	}
}

func TestAChildIsStoppedWithItsContext(t *testing.T) {
	a := probe(t)
	started := make(chan int, 1)
	log := slog.New(pidHandler{started})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- ffmpeg.Child{Path: a.Path, Args: []string{"-re", "-f", "lavfi", "-i", "testsrc2", "-f", "null", "-"}, Log: log}.Run(ctx)
	}()
	pid := <-started
	cancel()
	if err := <-done; err != nil {
		t.Errorf("err = %v", err)
	}
	if process, err := os.FindProcess(pid); err == nil && process.Signal(syscall.Signal(0)) == nil {
		t.Errorf("process %d still runs", pid)
	}
}

// pidHandler hands on the pid attribute of each record.
type pidHandler struct{ pids chan int }

func (h pidHandler) Enabled(context.Context, slog.Level) bool { return true }
func (h pidHandler) WithAttrs([]slog.Attr) slog.Handler       { return h }
func (h pidHandler) WithGroup(string) slog.Handler            { return h }
func (h pidHandler) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "pid" {
			select {
			case h.pids <- int(a.Value.Int64()):
			default:
			}
		}
		return true
	})
	return nil
}
