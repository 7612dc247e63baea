package conformance

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// process is a child that a test started, and what it has said.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	exit error

	mu   sync.Mutex
	said bytes.Buffer
}

// start runs a command until the test ends. If ready is not nil, start waits for a line on stdout or stderr
// that it accepts, and fails the test if the process ends first.
func start(t *testing.T, cmd *exec.Cmd, ready func(line string) bool) *process {
	t.Helper()
	p := &process{cmd: cmd, done: make(chan struct{})}
	out, in := io.Pipe()
	cmd.Stdout, cmd.Stderr = in, in
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	isReady := make(chan struct{})
	read := make(chan struct{})
	go func() {
		defer close(read)
		waiting := ready != nil
		lines := bufio.NewReader(out)
		for {
			line, err := lines.ReadString('\n')
			p.mu.Lock()
			p.said.WriteString(line)
			p.mu.Unlock()
			if waiting && ready(strings.TrimRight(line, "\n")) {
				waiting = false
				close(isReady)
			}
			if err != nil {
				return
			}
		}
	}()
	go func() {
		p.exit = cmd.Wait()
		in.Close()
		<-read
		close(p.done)
	}()
	t.Cleanup(func() {
		p.stop()
		if t.Failed() {
			t.Logf("%s said:\n%s", cmd.Path, p.output())
		}
	})
	if ready == nil {
		return p
	}
	select {
	case <-isReady:
	case <-p.done:
		t.Fatalf("%s ended before it was ready: %v\n%s", cmd.Path, p.exit, p.output())
	case <-time.After(30 * time.Second):
		t.Fatalf("%s was not ready within 30 s\n%s", cmd.Path, p.output())
	}
	return p
}

// output returns the last of what the process has said.
func (p *process) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	const most = 16 << 10
	said := p.said.String()
	return said[max(0, len(said)-most):]
}

// stop asks the process to end, and makes it end.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(10 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

// answers waits until something listens at address.
func (p *process) answers(t *testing.T, address string) {
	t.Helper()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if conn, err := net.Dial("tcp", address); err == nil {
			conn.Close()
			return
		}
		select {
		case <-p.done:
			t.Fatalf("%s ended before it listened: %v\n%s", p.cmd.Path, p.exit, p.output())
		case <-deadline.C:
			t.Fatalf("%s did not listen at %s within 30 s\n%s", p.cmd.Path, address, p.output())
		case <-tick.C:
		}
	}
}

// freeAddress returns an address of this machine at which nothing listens, for a program that cannot say
// which one it took. It is none that the system gives to connections: on a busy machine one of these would
// soon have it.
func freeAddress(t *testing.T) string {
	t.Helper()
	const lowest, beyond = 16384, 32768
	for range 100 {
		port := strconv.Itoa(lowest + rand.IntN(beyond-lowest))
		if l, err := net.Listen("tcp", ":"+port); err == nil {
			l.Close()
			return "127.0.0.1:" + port
		}
	}
	t.Fatalf("no port from %d to %d is free", lowest, beyond-1)
	return ""
}

// environment is the environment without what the programs here read from it and nobody has set for them.
func environment(more ...string) []string {
	var env []string
	for _, entry := range os.Environ() {
		if !strings.HasPrefix(entry, "WEIR_") && !strings.HasPrefix(entry, "npm_") {
			env = append(env, entry)
		}
	}
	return append(env, more...)
}

// failure says what a command that ended with err has written to stderr.
func failure(err error) string {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return err.Error() + "\n" + string(exit.Stderr)
	}
	return err.Error()
}
