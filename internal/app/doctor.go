package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/weir-stream/weir/internal/config"
	"github.com/weir-stream/weir/internal/ffmpeg"
	"github.com/weir-stream/weir/internal/httpserver"
)

// finding is what one check of the doctor found.
type finding struct {
	Check  string `json:"check"`
	Result string `json:"result"` // ok, warning or error
	Detail string `json:"detail"`
	Fix    string `json:"fix,omitempty"`
}

const (
	resultOK      = "ok"
	resultWarning = "warning"
	resultError   = "error"
)

func newDoctor(line *commandLine, stdout io.Writer) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "See whether this machine has what it takes",
		Long: `Checks ffmpeg, the addresses, the data folder and the disk, then runs the whole program for a moment
on free ports and a temporary folder: publishes a picture, plays it, and asks for the session of that viewer.
It ends with 0 if nothing is wrong, else with 1.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := line.load(environ())
			if err != nil {
				return err
			}
			if output != "text" && output != "json" {
				return usageError{fmt.Errorf("--output %q is not text or json", output)}
			}
			found := examine(cmd.Context(), c)
			if err := report(stdout, output, found); err != nil {
				return err
			}
			for _, f := range found {
				if f.Result == resultError {
					return errors.New("something is wrong; see above")
				}
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	return cmd
}

func report(w io.Writer, output string, found []finding) error {
	if output == "json" {
		return json.NewEncoder(w).Encode(found)
	}
	sign := map[string]string{resultOK: "✓", resultWarning: "!", resultError: "✗"}
	for _, f := range found {
		fmt.Fprintf(w, "%s %-12s %s\n", sign[f.Result], f.Check, f.Detail)
		if f.Fix != "" {
			fmt.Fprintf(w, "  %-12s → %s\n", "", f.Fix)
		}
	}
	return nil
}

func examine(ctx context.Context, c config.Config) []finding {
	found := []finding{checkFFmpeg(ctx, c.FFmpeg)}
	for _, a := range []struct{ name, key, address string }{
		{"public", "public.address", c.Public.Address},
		{"private", "private.address", c.Private.Address},
		{"rtmp", "live.rtmp.address", c.Live.RTMP.Address},
	} {
		found = append(found, checkAddress(ctx, a.name, a.key, a.address))
	}
	found = append(found, checkData(c.Data), checkDisk(c.Data), checkFiles())
	if found[0].Result == resultOK {
		found = append(found, selfTest(ctx, c))
	}
	return found
}

func checkFFmpeg(ctx context.Context, program string) finding {
	f := finding{Check: "ffmpeg", Result: resultOK}
	abilities, err := ffmpeg.Probe(ctx, program)
	if err != nil {
		f.Result, f.Detail, f.Fix = resultError, err.Error(), "apt-get install ffmpeg, or set ffmpeg to its path"
		return f
	}
	f.Detail = fmt.Sprintf("version %s at %s", abilities.Version, abilities.Path)
	if _, err := ffmpeg.DefaultTestChannel("").Args(abilities); err != nil {
		f.Result, f.Detail = resultWarning, err.Error()
	}
	return f
}

func checkAddress(ctx context.Context, name, key, address string) finding {
	f := finding{Check: name, Result: resultOK, Detail: address + " is free"}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		f.Result, f.Detail = resultError, err.Error()
		f.Fix = fmt.Sprintf("stop what listens there (weir itself?), or set %s to another address", key)
		return f
	}
	_ = l.Close()
	return f
}

func checkData(dir string) finding {
	f := finding{Check: "data", Result: resultOK, Detail: dir + " can be written"}
	err := os.MkdirAll(dir, 0o750)
	if err == nil {
		probe := filepath.Join(dir, ".doctor")
		if err = os.WriteFile(probe, []byte("ok"), 0o600); err == nil {
			err = os.Remove(probe)
		}
	}
	if err != nil {
		f.Result, f.Detail, f.Fix = resultError, err.Error(), "choose another folder with --data"
	}
	return f
}

func checkDisk(dir string) finding {
	f := finding{Check: "disk", Result: resultOK}
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		f.Result, f.Detail = resultWarning, err.Error()
		return f
	}
	free := float64(fs.Bavail) * float64(fs.Bsize) / 1e9
	f.Detail = fmt.Sprintf("%.1f GB free", free)
	if free < 1 {
		f.Result, f.Fix = resultWarning, "a million requests take about 0.1 GB; make room, or choose another folder with --data"
	}
	return f
}

func checkFiles() finding {
	f := finding{Check: "files", Result: resultOK}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		f.Result, f.Detail = resultWarning, err.Error()
		return f
	}
	f.Detail = fmt.Sprintf("%d open files allowed", limit.Cur)
	if limit.Cur < 4096 {
		f.Result, f.Fix = resultWarning, "each viewer takes one; raise it with ulimit -n or LimitNOFILE="
	}
	return f
}

// selfTest runs the whole program for a moment.
func selfTest(ctx context.Context, c config.Config) finding {
	f := finding{Check: "self-test", Result: resultOK}
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := tryEverything(ctx, c); err != nil {
		f.Result, f.Detail = resultError, err.Error()
		return f
	}
	f.Detail = fmt.Sprintf("published, played and measured a stream in %.1f s", time.Since(began).Seconds())
	return f
}

func tryEverything(ctx context.Context, c config.Config) (err error) {
	dir, err := os.MkdirTemp("", "weir-doctor-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	c.Data = dir
	c.Public = httpserver.DefaultConfig("127.0.0.1:0")
	c.Private = httpserver.DefaultConfig("127.0.0.1:0")
	c.Live.RTMP.Address = "127.0.0.1:0"
	n, err := newNode(ctx, c, true, &process{log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	running, stop := context.WithCancel(ctx)
	defer stop()
	started, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- n.Run(running, func() { close(started) }) }()
	select {
	case <-started:
	case err := <-done:
		return err
	}
	err = n.playAndAsk(ctx)
	stop()
	return errors.Join(err, <-done)
}

// playAndAsk plays the test channel as a small player would, and asks for its own session.
func (n *node) playAndAsk(ctx context.Context) error {
	media := strings.TrimSuffix(n.addresses().local(testStream).HLS, "index.m3u8")
	const sid = "weir-doctor"
	keys := "?CMCD=" + "ot%3Dm%2Csf%3Dh%2Csid%3D%22" + sid + "%22%2Cst%3Dl"
	playlist, err := fetchUntil(ctx, media+"video.m3u8"+keys, func(body string) bool { return strings.Contains(body, "#EXTINF") })
	if err != nil {
		return fmt.Errorf("play the test channel: %w", err)
	}
	lines := strings.Split(strings.TrimSpace(playlist), "\n")
	segment := strings.TrimSpace(lines[len(lines)-1])
	if _, err := fetchUntil(ctx, media+segment+keys, func(body string) bool { return len(body) > 0 }); err != nil {
		return fmt.Errorf("fetch a segment: %w", err)
	}
	if _, err := fetchUntil(ctx, n.addresses().dashboard()+"api/v1/sessions/"+sid, func(body string) bool { return strings.Contains(body, segment) }); err != nil {
		return fmt.Errorf("find the session: %w", err)
	}
	return nil
}

// fetchUntil gets url until the answer is good or ctx ends.
func fetchUntil(ctx context.Context, url string, good func(body string) bool) (string, error) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		body, err := fetch(ctx, url)
		if err == nil && good(body) {
			return body, nil
		}
		if err == nil {
			err = fmt.Errorf("%s: what was expected is not in the answer", url)
		}
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("%w (gave up: %w)", err, ctx.Err())
		case <-tick.C:
		}
	}
}

func fetch(ctx context.Context, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", url, resp.Status)
	}
	return string(body), err
}
