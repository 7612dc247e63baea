package ffmpeg

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Child is an ffmpeg process to be run.
type Child struct {
	// Path is the program; Args its arguments.
	Path string
	Args []string
	// Log receives one line when the child starts and one when it ends.
	Log *slog.Logger
}

// stopTime is how long a child may take to finish its output once it has been interrupted.
const stopTime = 3 * time.Second

// tailBytes is how much of the end of a child's stderr is kept for the error.
const tailBytes = 4 << 10

// Run starts the child and waits for it. When ctx ends it interrupts the child, gives it a few
// seconds, kills it, and returns nil; if the child ends by itself the error has the end of what it
// wrote to stderr.
func (c Child) Run(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return nil // told to stop before it began: a clean stop
	}
	// The kernel's parent-death signal follows the thread that started the child, so that thread
	// has to live as long as the child does.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	stderr := &tail{limit: tailBytes}
	cmd := exec.CommandContext(ctx, c.Path, c.Args...)
	cmd.Stderr = stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setpgid:   true, // Ctrl-C in a terminal is for the parent, which stops its parts in order
		Pdeathsig: syscall.SIGKILL,
	}
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = stopTime
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", c.Path, err)
	}
	c.Log.Info("ffmpeg started", "pid", cmd.Process.Pid)
	err := cmd.Wait()
	if ctx.Err() != nil {
		c.Log.Info("ffmpeg stopped", "pid", cmd.Process.Pid)
		return nil
	}
	if err == nil {
		return fmt.Errorf("ffmpeg ended by itself: %s", stderr)
	}
	return fmt.Errorf("ffmpeg: %w: %s", err, stderr)
}

// Keep runs the child again and again until ctx ends, with a pause that grows from 0.5 s to 10 s
// while it keeps failing and begins anew after it has run for 30 s.
func (c Child) Keep(ctx context.Context) error {
	const shortest, longest, settled = 500 * time.Millisecond, 10 * time.Second, 30 * time.Second
	pause := shortest
	for {
		began := time.Now()
		err := c.Run(ctx)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // told to stop while it ran: a clean stop
		}
		if time.Since(began) > settled {
			pause = shortest
		}
		c.Log.Warn("ffmpeg will be started again", "error", err, "pause", pause)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		pause = min(2*pause, longest)
	}
}

// tail keeps the last limit bytes that were written to it.
type tail struct {
	mu    sync.Mutex
	bytes []byte
	limit int
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.bytes = append(t.bytes, p...)
	if over := len(t.bytes) - t.limit; over > 0 {
		t.bytes = append(t.bytes[:0], t.bytes[over:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	text := strings.TrimSpace(string(t.bytes))
	if text == "" {
		return "it wrote nothing to stderr"
	}
	return text
}
