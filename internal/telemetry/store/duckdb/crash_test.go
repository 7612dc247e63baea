//go:build cgo && !noduckdb && linux

package duckdb

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/goleak"

	"github.com/weir-stream/weir/internal/telemetry"
)

const (
	childDir      = "WEIR_TEST_STORE_CHILD"
	childDiskFull = "WEIR_TEST_STORE_FULL"
	batchSize     = 40
)

// forEver is a configuration without retention, as the tests' records are of a fixed day.
func forEver() Config {
	c := DefaultConfig()
	c.Retention = 0
	return c
}

// runFull appends until no file may grow any more, and again when they may.
func runFull(s *Store) error {
	signal.Ignore(syscall.SIGXFSZ)
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	small := limit
	small.Cur = 1 << 20
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &small); err != nil {
		return err
	}
	ctx := context.Background()
	i := 0
	var err error
	for ; i < 10000 && err == nil; i++ {
		err = s.Append(ctx, numbered(i))
	}
	switch {
	case err == nil:
		return errors.New("the disk did not get full")
	case telemetry.IsPermanent(err):
		return fmt.Errorf("a full disk gives a permanent error: %w", err)
	}
	for range 3 {
		if err := s.Append(ctx, numbered(i-1)); err == nil || telemetry.IsPermanent(err) {
			return fmt.Errorf("a disk that is still full gives %w", err)
		}
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	for j := range i + 10 { // everything again: nothing may be lost, nothing double
		if err := s.Append(ctx, numbered(j)); err != nil {
			return fmt.Errorf("append when there is room again: %w", err)
		}
	}
	n, err := selectNumber(ctx, s, "SELECT (SELECT count(*) FROM requests) + (SELECT count(*) FROM reports)")
	if err != nil {
		return err
	}
	if n != (i+10)*batchSize {
		return fmt.Errorf("%d records, want %d", n, (i+10)*batchSize)
	}
	return s.Close()
}

// TestMain serves as the other process of the tests in this file.
func TestMain(m *testing.M) {
	dir := os.Getenv(childDir)
	if dir == "" {
		goleak.VerifyTestMain(m)
		return
	}
	s, err := New(Settings{Config: forEver(), Dir: dir})
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	fmt.Println("open")
	if os.Getenv(childDiskFull) != "" {
		fmt.Println(runFull(s))
		os.Exit(0)
	}
	for i := 0; ; i++ {
		fmt.Println("try", i)
		if err := s.Append(context.Background(), numbered(i)); err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		fmt.Println("done", i)
	}
}

// numbered returns the i-th batch, the same one in every process. Its records have the edge "i".
func numbered(i int) telemetry.Batch {
	var b telemetry.Batch
	for j := range batchSize {
		id := uuid.NewSHA1(uuid.Nil, fmt.Appendf(nil, "%d/%d", i, j))
		at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(i*batchSize+j) * time.Millisecond)
		if j%4 == 0 {
			b.Reports = append(b.Reports, telemetry.Report{ID: id, Time: at, Edge: fmt.Sprint(i)})
		} else {
			b.Requests = append(b.Requests, telemetry.Request{ID: id, Time: at, Edge: fmt.Sprint(i)})
		}
	}
	return b
}

type child struct {
	cmd   *exec.Cmd
	lines *bufio.Scanner
}

func start(t *testing.T, dir string, env ...string) *child {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(append(os.Environ(), env...), childDir+"="+dir)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := &child{cmd, bufio.NewScanner(out)}
	t.Cleanup(c.kill)
	return c
}

func (c *child) kill() {
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait()
}

func TestAcknowledgedBatchesSurviveAKill(t *testing.T) {
	dir := t.TempDir()
	acknowledged, tried := -1, -1
	for round := range 4 {
		c := start(t, dir)
		killAt := 3 + 11*round
		for c.lines.Scan() {
			word, rest, _ := strings.Cut(c.lines.Text(), " ")
			var n int
			fmt.Sscan(rest, &n)
			switch word {
			case "error":
				t.Fatalf("round %d: %s", round, rest)
			case "try":
				tried = max(tried, n)
			case "done":
				acknowledged = max(acknowledged, n)
			}
			if tried == killAt {
				_ = c.cmd.Process.Kill() // somewhere in the middle of an Append
			}
		}
		c.kill()

		s, err := New(Settings{Config: forEver(), Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i <= acknowledged; i++ {
			if n := batchRows(t, s, i); n != batchSize {
				t.Errorf("round %d: acknowledged batch %d has %d records, want %d", round, i, n, batchSize)
			}
		}
		for i := acknowledged + 1; i <= tried; i++ {
			if n := batchRows(t, s, i); n != 0 && n != batchSize {
				t.Errorf("round %d: batch %d is there in part: %d records", round, i, n)
			}
		}
		for i := 0; i <= tried; i++ {
			if err := s.Append(t.Context(), numbered(i)); err != nil {
				t.Fatalf("round %d: replay: %v", round, err)
			}
		}
		if n := number(t, s, "SELECT (SELECT count(*) FROM requests) + (SELECT count(*) FROM reports)"); n != (tried+1)*batchSize {
			t.Errorf("round %d: %d records after the replay, want %d", round, n, (tried+1)*batchSize)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		acknowledged = tried
	}
}

func batchRows(t *testing.T, s *Store, i int) int {
	t.Helper()
	edge := fmt.Sprint(i)
	return number(t, s, "SELECT (SELECT count(*) FROM requests WHERE edge = ?) + (SELECT count(*) FROM reports WHERE edge = ?)", edge, edge)
}

func TestASecondProcessIsToldWhoHasTheStore(t *testing.T) {
	dir := t.TempDir()
	c := start(t, dir)
	if !c.lines.Scan() || c.lines.Text() != "open" {
		t.Fatalf("the other process says %q", c.lines.Text())
	}
	_, err := New(Settings{Config: DefaultConfig(), Dir: dir})
	if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), fmt.Sprint(c.cmd.Process.Pid)) {
		t.Errorf("error is %v, want one that names process %d", err, c.cmd.Process.Pid)
	}
}

func TestAFullDiskIsWaitedFor(t *testing.T) {
	c := start(t, t.TempDir(), childDiskFull+"=1")
	var lines []string
	for c.lines.Scan() {
		lines = append(lines, c.lines.Text())
	}
	if got := strings.Join(lines, "\n"); got != "open\n<nil>" {
		t.Errorf("the other process says:\n%s", got)
	}
}
