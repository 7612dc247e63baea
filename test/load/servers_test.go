package load

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

var (
	binary  = flag.String("weir", "../../bin/weir", "the program to measure")
	measure = flag.Bool("measure", false, "run the measurements")
)

func needMeasure(t *testing.T) {
	t.Helper()
	if !*measure {
		t.Skip("a measurement; run make load")
	}
}

// server is a program under measurement.
type server struct {
	name string
	rtmp string                     // "host:port"
	hls  func(stream string) string // address of the playlist that a player is given
	// media returns the address of a playlist with segments.
	media func(stream string) string
	pid   int
}

// weir starts weir serve on free ports.
func weir(t *testing.T, args ...string) server {
	t.Helper()
	path, err := filepath.Abs(*binary)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, append([]string{
		"serve", "--listen", "127.0.0.1:0", "--private", "127.0.0.1:0", "--rtmp", "127.0.0.1:0", "--data", t.TempDir(),
	}, args...)...)
	cmd.Dir = t.TempDir()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var log bytes.Buffer
	cmd.Stderr = &log
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("weir's log:\n%s", &log)
		}
	})
	var text strings.Builder
	for lines := bufio.NewScanner(stdout); lines.Scan() && !strings.HasPrefix(lines.Text(), "Ctrl-C"); {
		text.WriteString(lines.Text() + "\n")
	}
	go func() { _, _ = io.Copy(io.Discard, stdout) }()
	find := func(pattern string) string {
		m := regexp.MustCompile(pattern).FindStringSubmatch(text.String())
		if m == nil {
			t.Fatalf("the banner has no %s:\n%s\n%s", pattern, &text, &log)
		}
		return m[1]
	}
	public := find(`Watch +http://([^/]+)/`)
	return server{
		name: "weir", pid: cmd.Process.Pid,
		rtmp:  find(`Publish +rtmp://([^/]+)/`),
		hls:   func(stream string) string { return "http://" + public + "/live/" + stream + "/index.m3u8" },
		media: func(stream string) string { return "http://" + public + "/live/" + stream + "/video.m3u8" },
	}
}

// nginx starts nginx with its RTMP module, set to segments of so many seconds; with dash it makes
// DASH beside HLS, as weir does.
func nginx(t *testing.T, segment int, dash bool) server {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	rtmp, web := freePort(t), freePort(t)
	dashLines := ""
	if dash {
		dashLines = fmt.Sprintf("dash on; dash_path %s/dash; dash_fragment %ds; dash_playlist_length 30s;", dir, segment)
	}
	conf := fmt.Sprintf(`
load_module /usr/lib/nginx/modules/ngx_rtmp_module.so;
daemon off; master_process off; worker_processes 1; pid %[1]s/pid; error_log %[1]s/error.log;
events { worker_connections 256; }
rtmp { server { listen 127.0.0.1:%[2]d; chunk_size 65536;
  application live { live on; hls on; hls_path %[1]s/hls; hls_fragment %[5]ds; hls_playlist_length 30s; %[4]s } } }
http { access_log off; client_body_temp_path %[1]s/t1; proxy_temp_path %[1]s/t2; fastcgi_temp_path %[1]s/t3; uwsgi_temp_path %[1]s/t4; scgi_temp_path %[1]s/t5;
  server { listen 127.0.0.1:%[3]d; location / { root %[1]s; types { application/vnd.apple.mpegurl m3u8; video/mp2t ts; }
    add_header Cache-Control no-cache; add_header Access-Control-Allow-Origin *; } } }
`, dir, rtmp, web, dashLines, segment)
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("nginx", "-c", file, "-p", dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var log bytes.Buffer
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	address := fmt.Sprintf("127.0.0.1:%d", rtmp)
	for deadline := time.Now().Add(5 * time.Second); ; {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("nginx does not listen: %v\n%s", err, &log)
		}
		time.Sleep(20 * time.Millisecond)
	}
	playlist := func(stream string) string { return fmt.Sprintf("http://127.0.0.1:%d/hls/%s.m3u8", web, stream) }
	return server{name: "nginx-rtmp", pid: cmd.Process.Pid, rtmp: address, hls: playlist, media: playlist}
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// ffmpegRuns starts ffmpeg and ends it with the test.
func ffmpegRuns(t *testing.T, args ...string) (stop func()) {
	t.Helper()
	cmd := exec.Command("ffmpeg", append([]string{"-hide_banner", "-loglevel", "error", "-nostdin"}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var log bytes.Buffer
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { _ = cmd.Wait(); close(done) }()
	stop = func() { _ = cmd.Process.Kill(); <-done }
	t.Cleanup(func() {
		stop()
		if t.Failed() {
			t.Logf("ffmpeg's log:\n%s", &log)
		}
	})
	return stop
}

// relay passes one connection on to address and tells when it was accepted.
func relay(t *testing.T, address string) (front string, accepted <-chan time.Time) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	times := make(chan time.Time, 1)
	go func() {
		client, err := l.Accept()
		if err != nil {
			return
		}
		times <- time.Now()
		defer client.Close()
		back, err := net.Dial("tcp", address)
		if err != nil {
			return
		}
		defer back.Close()
		go func() { _, _ = io.Copy(client, back); client.Close() }()
		_, _ = io.Copy(back, client)
	}()
	return l.Addr().String(), times
}

// playable waits until the media playlist names a segment that can be fetched.
func playable(ctx context.Context, media string) error {
	client := &http.Client{Timeout: 2 * time.Second}
	defer client.CloseIdleConnections()
	get := func(url string) (string, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return "", err
		}
		resp, err := client.Do(req)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err == nil && resp.StatusCode != http.StatusOK {
			err = errors.New(resp.Status)
		}
		return string(body), err
	}
	for ctx.Err() == nil {
		// A cache may keep "not found" for a moment; a player that is told of the stream does not
		// ask before. So each question is one that no cache has heard.
		body, err := get(media + "?" + strconv.FormatInt(time.Now().UnixNano(), 36))
		if err == nil {
			for line := range strings.Lines(body) {
				if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
					if _, err := get(media[:strings.LastIndex(media, "/")+1] + line); err == nil {
						return nil
					}
				}
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	return ctx.Err()
}

// cpu returns the processor time that a process and its threads have used.
func cpu(t *testing.T, pid int) time.Duration {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	ticks := 0
	for _, field := range fields[11:13] { // utime, stime in clock ticks of 10 ms
		n, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	if n := len(sorted); n%2 == 0 {
		return (sorted[n/2-1] + sorted[n/2]) / 2
	}
	return sorted[len(sorted)/2]
}
