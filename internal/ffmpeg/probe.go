package ffmpeg

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
)

// Abilities are what an installed ffmpeg says of itself.
type Abilities struct {
	// Path is where the program is; Version what it calls itself, such as "5.1.9-0+deb12u1".
	Path, Version string
	encoders      map[string]bool
	filters       map[string]bool
}

// ErrNotInstalled says that there is no ffmpeg to run.
var ErrNotInstalled = errors.New("ffmpeg is not installed (on Debian: apt-get install ffmpeg)")

// Probe finds the ffmpeg program, by name in the PATH or by path, and asks it what it can do.
func Probe(ctx context.Context, program string) (*Abilities, error) {
	path, err := exec.LookPath(program)
	if err != nil {
		return nil, fmt.Errorf("%w: looked for %q", ErrNotInstalled, program)
	}
	a := &Abilities{Path: path}
	version, err := ask(ctx, path, "-version")
	if err != nil {
		return nil, err
	}
	// "ffmpeg version 5.1.9-0+deb12u1 Copyright (c) …"
	if fields := strings.Fields(string(version)); len(fields) > 2 && fields[0] == "ffmpeg" {
		a.Version = fields[2]
	} else {
		return nil, fmt.Errorf("%s is not ffmpeg: -version answers %q", path, firstLine(version))
	}
	if a.encoders, err = names(ctx, path, "-encoders"); err != nil {
		return nil, err
	}
	if a.filters, err = names(ctx, path, "-filters"); err != nil {
		return nil, err
	}
	return a, nil
}

// Encoder reports whether ffmpeg has the encoder, such as "libx264".
func (a *Abilities) Encoder(name string) bool { return a.encoders[name] }

// Filter reports whether ffmpeg has the filter, such as "drawtext".
func (a *Abilities) Filter(name string) bool { return a.filters[name] }

func ask(ctx context.Context, path string, question string) ([]byte, error) {
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, path, "-hide_banner", question)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w: %s", path, question, err, firstLine(stderr.Bytes()))
	}
	return out, nil
}

// names reads a list such as " V....D libx264  libx264 H.264 …": flags, name, text.
func names(ctx context.Context, path, question string) (map[string]bool, error) {
	out, err := ask(ctx, path, question)
	if err != nil {
		return nil, err
	}
	set := make(map[string]bool)
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		if fields := strings.Fields(lines.Text()); len(fields) > 2 {
			set[fields[1]] = true
		}
	}
	return set, nil
}

func firstLine(text []byte) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
	return line
}
