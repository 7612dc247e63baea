package e2e

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// edge is a running weir serve --role edge, or its successors.
type edge struct {
	t   *testing.T
	log string // file
	out string // file
	cmd *exec.Cmd
	pid int // of the process that serves

	public, private string // "host:port"
}

// serveEdge starts an edge in front of an origin, with the settings of a file, and waits until it is ready. Its last
// process is stopped when the test ends.
func serveEdge(t *testing.T, origin, settings string, args ...string) *edge {
	t.Helper()
	dir := t.TempDir()
	e := &edge{t: t, log: filepath.Join(dir, "log"), out: filepath.Join(dir, "out")}
	e.configure(dir, settings)
	program, err := filepath.Abs(*binary)
	if err != nil {
		t.Fatal(err)
	}
	args = append([]string{
		"serve", "--role", "edge", "--origin", origin, "--listen", "127.0.0.1:0", "--private", "127.0.0.1:0",
		"--data", filepath.Join(dir, "data"), "--config", filepath.Join(dir, "weir.yaml"),
	}, args...)
	e.cmd = exec.Command(program, args...)
	e.cmd.Env, e.cmd.Dir = cleanEnvironment(), dir
	// Files, and not pipes: successors write to them too.
	for _, name := range []string{e.log, e.out} {
		to, err := os.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		defer to.Close()
		if name == e.log {
			e.cmd.Stderr = to
		} else {
			e.cmd.Stdout = to
		}
	}
	if err := e.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	e.pid = e.cmd.Process.Pid
	ended := make(chan struct{})
	go func() { _ = e.cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		if err := e.stop(); err != nil {
			t.Error(err)
		}
		<-ended
		if t.Failed() {
			t.Logf("the edge's log:\n%s", e.logged())
		}
	})
	waitFor(t, 30*time.Second, "the edge's banner", func() error {
		select {
		case <-ended:
			t.Fatalf("the edge has ended:\n%s", e.logged())
		default:
		}
		text, err := os.ReadFile(e.out)
		if err != nil {
			return err
		}
		public := regexp.MustCompile(`Edge +https?://([^/]+)/`).FindSubmatch(text)
		private := regexp.MustCompile(`Metrics +http://([^/]+)/`).FindSubmatch(text)
		if public == nil || private == nil {
			return fmt.Errorf("%q", text)
		}
		e.public, e.private = loopbackName(string(public[1])), string(private[1])
		return nil
	})
	return e
}

// loopbackName returns the address by which certificates of tests name it.
func loopbackName(address string) string {
	return strings.Replace(address, "localhost", "127.0.0.1", 1)
}

// configure replaces the configuration file.
func (e *edge) configure(dir, settings string) {
	e.t.Helper()
	name := filepath.Join(dir, "weir.yaml")
	if err := os.WriteFile(name+".new", []byte(settings), 0o600); err != nil {
		e.t.Fatal(err)
	}
	if err := os.Rename(name+".new", name); err != nil {
		e.t.Fatal(err)
	}
}

func (e *edge) dir() string { return filepath.Dir(e.log) }

// logged returns what the edge and its successors have logged.
func (e *edge) logged() string {
	text, err := os.ReadFile(e.log)
	if err != nil {
		e.t.Error(err)
	}
	return string(text)
}

// awaitLine waits until there are so many lines in the log that match, and returns the last.
func (e *edge) awaitLine(pattern string, count int) []string {
	e.t.Helper()
	expression := regexp.MustCompile(pattern)
	var last []string
	waitFor(e.t, 60*time.Second, fmt.Sprintf("%d log lines %q", count, pattern), func() error {
		all := expression.FindAllStringSubmatch(e.logged(), -1)
		if len(all) < count {
			return fmt.Errorf("there are %d", len(all))
		}
		last = all[count-1]
		return nil
	})
	return last
}

func (e *edge) signal(s syscall.Signal) {
	e.t.Helper()
	if err := syscall.Kill(e.pid, s); err != nil {
		e.t.Fatal(err)
	}
}

// reload changes the configuration, and waits until the edge has read it for the n-th time.
func (e *edge) reload(settings string, n int) {
	e.t.Helper()
	e.configure(e.dir(), settings)
	e.signal(syscall.SIGHUP)
	e.awaitLine(`msg="the configuration was read again`, n)
}

// restart starts the n-th successor, and waits until it serves.
func (e *edge) restart(n int) {
	e.t.Helper()
	e.signal(syscall.SIGUSR2)
	line := e.awaitLine(`msg="the successor serves[^\n]* pid=(\d+)`, n)
	pid, err := strconv.Atoi(line[1])
	if err != nil || pid == e.pid {
		e.t.Fatalf("successor %d of %d: %v", pid, e.pid, err)
	}
	e.pid = pid
}

// stop stops the process that serves and waits for its end.
func (e *edge) stop() error {
	_ = syscall.Kill(e.pid, syscall.SIGTERM)
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if ended(e.pid) {
			return nil
		}
	}
	_ = syscall.Kill(e.pid, syscall.SIGKILL)
	return fmt.Errorf("process %d did not stop", e.pid)
}

// ended reports whether a process has ended, also if nobody has asked yet how.
func ended(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	_, rest, _ := bytes.Cut(stat, []byte(") "))
	return len(rest) > 0 && rest[0] == 'Z'
}

// metric returns the value of a metric as it stands in the text, with its labels; "" if it is not there.
func (e *edge) metric(name string) string {
	e.t.Helper()
	response, err := http.Get("http://" + e.private + "/metrics")
	if err != nil {
		e.t.Fatal(err)
	}
	defer response.Body.Close()
	var text bytes.Buffer
	if _, err := text.ReadFrom(response.Body); err != nil {
		e.t.Fatal(err)
	}
	for line := range strings.Lines(text.String()) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
