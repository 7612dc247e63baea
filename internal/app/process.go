package app

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/weir-stream/weir/internal/config"
	"github.com/weir-stream/weir/internal/httpserver/handover"
)

// process is what a node has of the process that it runs in, beside its configuration.
type process struct {
	log   *slog.Logger
	level *slog.LevelVar
	// sockets are those of the process before, or of systemd; nil: the node opens its own.
	sockets *handover.Sockets
	// takesOver says that there were any: another process may still have the folder.
	takesOver bool
	// load reads the configuration again; nil: it is not read again.
	load func() (config.Config, error)
	// program is the file to start a successor from. It is looked up early: a new version may take its place.
	program string
	signals chan os.Signal
}

// newProcess takes over what the process was started with, and its signals.
func newProcess(log *slog.Logger, level *slog.LevelVar, load func() (config.Config, error)) (*process, error) {
	p := &process{log: log, level: level, load: load, signals: make(chan os.Signal, 4)}
	// Before anything else: without a handler these signals end the process.
	signal.Notify(p.signals, syscall.SIGHUP, syscall.SIGUSR2)
	var err error
	if p.sockets, err = handover.Inherit(); err != nil {
		return nil, fmt.Errorf("inherited sockets: %w", err)
	}
	p.takesOver = p.sockets.Inherited()
	if p.program, err = os.Executable(); err != nil {
		return nil, err
	}
	return p, nil
}

// close gives the signals back.
func (p *process) close() { signal.Stop(p.signals) }

// ready says that this process serves, and takes over what the one before still had.
func (p *process) ready() {
	if p.sockets == nil {
		return
	}
	if err := p.sockets.Ready(); err != nil {
		p.log.Warn("the process before has ended early", "error", err)
	}
}

// successor starts the process that follows this one, and returns when that is ready.
func (p *process) successor(ctx context.Context) (pid int, err error) {
	next, err := p.sockets.Start(ctx, handover.Command{
		Path: p.program, Args: os.Args, Env: environ(), Files: [3]*os.File{os.Stdin, os.Stdout, os.Stderr}, //nolint:forbidigo // those that the successor is started with
	})
	if err != nil {
		return 0, err
	}
	pid = next.Pid
	return pid, next.Release()
}
