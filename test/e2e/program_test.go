package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

var binary = flag.String("weir", "../../bin/weir", "the program to test")

func TestMain(m *testing.M) {
	flag.Parse()
	if _, err := os.Stat(*binary); err != nil {
		fmt.Fprintf(os.Stderr, "%v\nrun make e2e, which builds it, or make build first\n", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// program is a running weir.
type program struct {
	t       *testing.T
	cmd     *exec.Cmd
	log     *lockedBuffer
	done    chan struct{} // closed when the process has ended
	exit    error
	started time.Time     // when the process was started
	ready   time.Duration // from then to the banner

	public, private, rtmp string // "host:port"
}

// serve starts weir serve on free ports with a data folder of its own and waits until it is ready.
// It is stopped, if the test has not done so, when the test ends.
func serve(t *testing.T, args ...string) *program {
	t.Helper()
	args = append([]string{
		"serve", "--listen", "127.0.0.1:0", "--private", "127.0.0.1:0", "--rtmp", "127.0.0.1:0", "--data", t.TempDir(),
	}, args...)
	p := &program{t: t, log: &lockedBuffer{}, done: make(chan struct{}), started: time.Now()}
	p.cmd = exec.Command(*binary, args...)
	p.cmd.Env = cleanEnvironment()
	p.cmd.Dir = t.TempDir() // no weir.yaml here
	p.cmd.Stderr = p.log
	if path, err := os.Getwd(); err == nil && !strings.HasPrefix(*binary, "/") {
		p.cmd.Path = path + "/" + *binary
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	banner := make(chan string, 1)
	go func() {
		var text strings.Builder
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			text.WriteString(lines.Text() + "\n")
			if strings.HasPrefix(lines.Text(), "Ctrl-C") {
				banner <- text.String()
			}
		}
		p.exit = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		select {
		case <-p.done:
		default:
			_ = p.stop()
		}
		if t.Failed() {
			t.Logf("the program's log:\n%s", p.log)
		}
	})
	select {
	case text := <-banner:
		p.ready = time.Since(p.started)
		find := func(pattern string) string {
			if m := regexp.MustCompile(pattern).FindStringSubmatch(text); m != nil {
				return m[1]
			}
			t.Fatalf("the banner has no %s:\n%s", pattern, text)
			return ""
		}
		p.public = find(`Watch +http://([^/]+)/watch/test`)
		p.private = find(`Dashboard +http://([^/]+)/`)
		p.rtmp = find(`Publish +rtmp://([^/]+)/live/test`)
	case <-p.done:
		t.Fatalf("weir ended before it was ready: %v\n%s", p.exit, p.log)
	case <-time.After(30 * time.Second):
		_ = p.cmd.Process.Kill()
		t.Fatalf("weir was not ready within 30 s\n%s", p.log)
	}
	return p
}

// stop sends what Ctrl-C sends and waits for the end.
func (p *program) stop() error {
	_ = p.cmd.Process.Signal(os.Interrupt)
	select {
	case <-p.done:
		return p.exit
	case <-time.After(30 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.done
		return errors.New("weir did not stop within 30 s")
	}
}

// children returns the command lines of the program's child processes.
func (p *program) children() []string {
	return processes(func(parent int, _ string) bool { return parent == p.cmd.Process.Pid })
}

// leftBehind returns the command lines of processes that still publish to the program.
func (p *program) leftBehind() []string {
	return processes(func(_ int, line string) bool { return strings.Contains(line, "rtmp://"+p.rtmp+"/") })
}

// processes returns the command lines of the running processes that match.
func processes(match func(parent int, line string) bool) []string {
	var lines []string
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range stats {
		stat, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		command, err := os.ReadFile(filepath.Join(filepath.Dir(file), "cmdline"))
		if err != nil || len(command) == 0 {
			continue // ended, or waiting to be reaped
		}
		var state string
		var parent int
		if _, err := fmt.Sscan(string(stat[bytes.LastIndexByte(stat, ')')+1:]), &state, &parent); err != nil {
			continue
		}
		if line := strings.TrimSpace(string(bytes.ReplaceAll(command, []byte{0}, []byte{' '}))); match(parent, line) {
			lines = append(lines, line)
		}
	}
	return lines
}

func cleanEnvironment() []string {
	var env []string
	for _, entry := range os.Environ() {
		if !strings.HasPrefix(entry, "WEIR_") {
			env = append(env, entry)
		}
	}
	return env
}

// get returns the body of a successful answer from the private listener, decoded into out.
func (p *program) get(path string, out any) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.private+path, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s: %s", path, resp.Status, body)
	}
	return json.Unmarshal(body, out)
}

// metric returns the sum of a Prometheus metric over its labels.
func (p *program) metric(name string) float64 {
	p.t.Helper()
	resp, err := http.Get("http://" + p.private + "/metrics")
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	family, ok := families[name]
	if !ok {
		p.t.Fatalf("there is no metric %s", name)
	}
	sum := 0.0
	for _, m := range family.GetMetric() {
		sum += m.GetGauge().GetValue() + m.GetCounter().GetValue() + m.GetUntyped().GetValue()
	}
	return sum
}

// publisher is a running ffmpeg that publishes.
type publisher struct {
	cmd  *exec.Cmd
	log  *lockedBuffer
	done chan error
}

// publish starts an ffmpeg that publishes a picture with a counter and a tone to the stream, with a
// keyframe every second.
func (p *program) publish(t *testing.T, stream string, inputs ...string) *publisher {
	t.Helper()
	if len(inputs) == 0 {
		inputs = []string{
			"-re", "-f", "lavfi", "-i", "testsrc2=size=640x360:rate=30",
			"-re", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000",
		}
	}
	args := append([]string{"-hide_banner", "-loglevel", "warning", "-nostdin"}, inputs...)
	args = append(args,
		"-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-pix_fmt", "yuv420p", "-g", "30", "-sc_threshold", "0", "-b:v", "800k",
		"-c:a", "aac", "-b:a", "96k", "-f", "flv", "rtmp://"+p.rtmp+"/live/"+stream)
	f := &publisher{cmd: exec.Command("ffmpeg", args...), log: &lockedBuffer{}, done: make(chan error, 1)}
	f.cmd.Stderr = f.log
	f.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := f.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { f.done <- f.cmd.Wait(); close(f.done) }()
	t.Cleanup(f.kill)
	return f
}

// kill ends the publisher without a goodbye, as a pulled cable would.
func (f *publisher) kill() {
	_ = f.cmd.Process.Kill()
	<-f.done
}

// waitFor polls until condition returns nil; the last error says what was missing.
func waitFor(t *testing.T, limit time.Duration, what string, condition func() error) {
	t.Helper()
	deadline := time.Now().Add(limit)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := condition()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v: %v", what, limit, err)
		}
		<-tick.C
	}
}

// playable waits for the first manifest of a stream and returns its text.
func (p *program) playable(t *testing.T, stream, object string) string {
	t.Helper()
	var text string
	waitFor(t, 15*time.Second, "playable "+object, func() error {
		resp, err := http.Get("http://" + p.public + "/live/" + stream + "/" + object)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			return err
		}
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %s", resp.Status, body)
		}
		text = string(body)
		return nil
	})
	return text
}

// lockedBuffer is a buffer that a process writes to while a test reads it.
type lockedBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}
