package handover

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// answerTimeout bounds the time that the old process has to answer that it reads no more UDP.
const answerTimeout = 5 * time.Second

// Command is the program to be started.
type Command struct {
	// Path is the executable and Args its arguments, the first of which is its name.
	Path string
	Args []string
	// Env is the environment as os.Environ gives it.
	Env []string
	// Files are its standard input, output and error; those of this process as a rule.
	Files [3]*os.File
}

// Start starts a process with the sockets of this one, and returns it when it is ready: then this process is to
// drain and end. If it does not become ready before ctx ends, it is killed, and this process goes on.
func (s *Sockets) Start(ctx context.Context, c Command) (*os.Process, error) {
	s.starting.Lock()
	defer s.starting.Unlock()
	e, err := s.export()
	if err != nil {
		return nil, err
	}
	defer e.close()
	process, err := os.StartProcess(c.Path, c.Args, &os.ProcAttr{
		Env:   environment(c.Env, e.names),
		Files: append(slices.Clone(c.Files[:]), e.files...),
	})
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Path, err)
	}
	_ = e.files[0].Close() // so that its end is seen
	if err := awaitReady(ctx, e.control); err != nil {
		_ = process.Kill()
		state, _ := process.Wait()
		return nil, fmt.Errorf("the new process was not ready (%v): %w", state, err)
	}
	for packets, relay := range e.relays {
		packets.yield(relay)
	}
	clear(e.relays) // they are theirs
	_, _ = e.control.Write([]byte{'.'})
	notify("MAINPID=" + strconv.Itoa(process.Pid))
	return process, nil
}

// export is what a new process is given, and what this one keeps of it.
type export struct {
	files   []*os.File // the first is the other end of control
	names   []string
	control *net.UnixConn
	relays  map[*PacketConn]*net.UnixConn
}

// export returns what to give to a new process.
func (s *Sockets) export() (_ *export, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := &export{relays: make(map[*PacketConn]*net.UnixConn)}
	defer func() {
		if err != nil {
			e.close()
		}
	}()
	if e.control, err = e.pair(unix.SOCK_STREAM, controlName); err != nil {
		return nil, err
	}
	for _, socket := range s.order {
		file, err := socket.dup()
		if err != nil {
			return nil, err
		}
		e.add(file, s.open[socket])
		if packets, ok := socket.(*PacketConn); ok {
			if err := e.addRelays(packets, s.open[socket]); err != nil {
				return nil, err
			}
		}
	}
	return e, nil
}

// addRelays adds a relay to this process, and those to the processes before it: they may well outlive this one.
func (e *export) addRelays(packets *PacketConn, socket string) error {
	own := packets.next()
	before, err := packets.relays()
	for generation, file := range before {
		e.add(file, relayName(own, generation, socket))
	}
	if err != nil {
		return err
	}
	e.relays[packets], err = e.pair(unix.SOCK_SEQPACKET, relayName(own, packets.generation, socket))
	return err
}

func (e *export) add(file *os.File, name string) {
	e.files, e.names = append(e.files, file), append(e.names, name)
}

// pair adds one of two sockets that are connected with each other, and returns the other.
func (e *export) pair(kind int, name string) (*net.UnixConn, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("socketpair: %w", err)
	}
	e.add(os.NewFile(uintptr(fds[1]), name), name)
	return unixConn(os.NewFile(uintptr(fds[0]), name))
}

func (e *export) close() {
	for _, file := range e.files {
		_ = file.Close()
	}
	for _, relay := range e.relays {
		if relay != nil {
			_ = relay.Close()
		}
	}
	if e.control != nil {
		_ = e.control.Close()
	}
}

// environment returns env with what tells the new process of its sockets.
func environment(env, names []string) []string {
	env = slices.DeleteFunc(slices.Clone(env), func(entry string) bool { return strings.HasPrefix(entry, "LISTEN_") })
	escaped := make([]string, len(names))
	for i, name := range names {
		escaped[i] = url.QueryEscape(name)
	}
	return append(env,
		variableFDs+"="+strconv.Itoa(len(names)),
		variableNames+"="+strings.Join(escaped, ":"),
		variableParent+"="+strconv.Itoa(os.Getpid()),
	)
}

// awaitReady returns when the new process is ready, or what went wrong.
func awaitReady(ctx context.Context, control *net.UnixConn) error {
	stop := context.AfterFunc(ctx, func() { _ = control.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := control.Read(make([]byte, 1)); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return errors.New("it has ended")
	}
	return nil
}

// Ready says that this process serves, and takes over what the one before it still had. Sockets that nobody has
// asked for are closed. It is to be called once everything listens.
func (s *Sockets) Ready() error {
	s.mu.Lock()
	for _, socket := range s.inherited {
		_ = socket.file.Close()
		for _, relay := range socket.relays {
			_ = relay.Close()
		}
	}
	s.inherited = nil
	packets := s.packetConns()
	control := s.control
	s.control = nil
	s.mu.Unlock()
	defer func() {
		for _, c := range packets {
			c.begin()
		}
	}()
	notify("READY=1")
	if control == nil {
		return nil
	}
	defer control.Close()
	if _, err := control.Write([]byte{'.'}); err != nil {
		return fmt.Errorf("telling the process before that this one is ready: %w", err)
	}
	_ = control.SetReadDeadline(time.Now().Add(answerTimeout))
	_, _ = control.Read(make([]byte, 1)) // if it is gone, all the better
	return nil
}

func (s *Sockets) packetConns() []*PacketConn {
	var all []*PacketConn
	for _, socket := range s.order {
		if c, ok := socket.(*PacketConn); ok {
			all = append(all, c)
		}
	}
	return all
}

// notify tells systemd something (sd_notify(3)), if it is there.
func notify(text string) {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return
	}
	if path[0] == '@' { // the abstract namespace
		path = "\x00" + path[1:]
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return
	}
	defer c.Close()
	_, _ = c.Write([]byte(text))
}

// duplicate returns a second descriptor of a socket. Unlike File of package net it leaves the socket non-blocking:
// that is something that both descriptors have in common.
func duplicate(c syscall.Conn) (*os.File, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd, dupErr := -1, error(nil)
	if err := raw.Control(func(from uintptr) { fd, dupErr = unix.FcntlInt(from, unix.F_DUPFD_CLOEXEC, 0) }); err != nil {
		return nil, err
	}
	if dupErr != nil {
		return nil, fmt.Errorf("duplicate a socket: %w", dupErr)
	}
	return os.NewFile(uintptr(fd), "socket"), nil
}
