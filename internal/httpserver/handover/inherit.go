package handover

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

const (
	firstFD = 3 // SD_LISTEN_FDS_START

	variableFDs   = "LISTEN_FDS"
	variableNames = "LISTEN_FDNAMES"
	variablePID   = "LISTEN_PID"
	// variableParent stands instead of LISTEN_PID: no process knows its child's number before it is started.
	variableParent = "LISTEN_PARENT_PID"

	controlName = "control"
	// A relay is called "relay", the share of the new process, the generation at the other end, and its socket.
	relayPrefix = "relay "
)

// Sockets are the listening sockets of a process.
type Sockets struct {
	control *net.UnixConn // to the process before; nil: there is none

	starting sync.Mutex // one new process at a time; taken before mu

	mu        sync.Mutex          // guards what follows
	inherited []inherited         // that nobody has asked for yet
	open      map[exporter]string // the sockets in use, by what they were asked for
	order     []exporter          // of their opening
}

// inherited is a socket that the process was started with.
type inherited struct {
	name   string // network and address that it was asked for by, or what systemd calls it
	file   *os.File
	relays map[byte]*os.File // of a UDP socket: to the processes before, by generation
	share  share             // of a UDP socket with relays
}

// exporter is a socket that can be given to another process.
type exporter interface {
	dup() (*os.File, error)
}

// Inherit returns the sockets that the process was started with, if any.
func Inherit() (*Sockets, error) {
	defer func() {
		for _, variable := range []string{variableFDs, variableNames, variablePID, variableParent} {
			_ = os.Unsetenv(variable)
		}
	}()
	return inherit(os.Getenv, os.Getpid(), os.Getppid(), func(i int) int { return firstFD + i })
}

func inherit(getenv func(string) string, pid, parent int, fd func(i int) int) (_ *Sockets, err error) {
	s := &Sockets{open: make(map[exporter]string)}
	if getenv(variablePID) != strconv.Itoa(pid) && getenv(variableParent) != strconv.Itoa(parent) {
		return s, nil // nothing, or not for this process
	}
	count, err := strconv.Atoi(getenv(variableFDs))
	if err != nil || count < 0 || count > 1000 {
		return nil, fmt.Errorf("%s: %q is not a number of sockets", variableFDs, getenv(variableFDs))
	}
	names := strings.Split(getenv(variableNames), ":")
	relays := make(map[string]map[byte]*os.File)
	shares := make(map[string]share)
	var files []*os.File
	defer func() {
		if err != nil {
			for _, file := range files {
				_ = file.Close()
			}
		}
	}()
	for i := range count {
		if _, err := unix.FcntlInt(uintptr(fd(i)), unix.F_SETFD, unix.FD_CLOEXEC); err != nil {
			return nil, fmt.Errorf("%s: descriptor %d: %w", variableFDs, fd(i), err)
		}
		name := ""
		if i < len(names) {
			name, _ = url.QueryUnescape(names[i])
		}
		file := os.NewFile(uintptr(fd(i)), name)
		files = append(files, file)
		switch {
		case name == controlName && getenv(variableParent) != "":
			if s.control, err = unixConn(file); err != nil {
				return nil, fmt.Errorf("control socket: %w", err)
			}
		case strings.HasPrefix(name, relayPrefix):
			own, generation, socket, err := parseRelayName(name)
			if err != nil {
				return nil, err
			}
			if shares[socket] = own; relays[socket] == nil {
				relays[socket] = make(map[byte]*os.File)
			}
			relays[socket][generation] = file
		default:
			s.inherited = append(s.inherited, inherited{name: name, file: file})
		}
	}
	for i, socket := range s.inherited {
		s.inherited[i].relays, s.inherited[i].share = relays[socket.name], shares[socket.name]
	}
	return s, nil
}

// unixConn returns the connection of a descriptor, which it closes.
func unixConn(file *os.File) (*net.UnixConn, error) {
	defer file.Close()
	c, err := net.FileConn(file)
	if err != nil {
		return nil, err
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		_ = c.Close()
		return nil, fmt.Errorf("it is a %T", c)
	}
	return u, nil
}

// Inherited reports whether there are sockets that the process was started with and that nobody has asked for.
func (s *Sockets) Inherited() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.inherited) > 0
}

func key(network, address string) string { return network + " " + address }

// take returns the inherited socket for an address; ok is false if there is none. The caller holds mu.
func (s *Sockets) take(network, address string, local func(*os.File) (net.Addr, error)) (inherited, bool) {
	index := -1
	for i, socket := range s.inherited {
		if socket.name == key(network, address) {
			index = i
			break
		}
		if at, err := local(socket.file); err == nil && index < 0 && sameAddress(network, address, at) {
			index = i
		}
	}
	if index < 0 {
		return inherited{}, false
	}
	socket := s.inherited[index]
	s.inherited = append(s.inherited[:index:index], s.inherited[index+1:]...)
	return socket, true
}

// sameAddress reports whether a socket at at is one for address.
func sameAddress(network, address string, at net.Addr) bool {
	var wanted, have net.IP
	var wantedPort, havePort int
	switch at := at.(type) {
	case *net.TCPAddr:
		a, err := net.ResolveTCPAddr(network, address)
		if err != nil {
			return false
		}
		wanted, wantedPort, have, havePort = a.IP, a.Port, at.IP, at.Port
	case *net.UDPAddr:
		a, err := net.ResolveUDPAddr(network, address)
		if err != nil {
			return false
		}
		wanted, wantedPort, have, havePort = a.IP, a.Port, at.IP, at.Port
	}
	if wantedPort == 0 || wantedPort != havePort {
		return false
	}
	return wanted.Equal(have) || (wanted == nil || wanted.IsUnspecified()) && have.IsUnspecified()
}

// Listen returns a listener at the address: an inherited socket, or a new one.
func (s *Sockets) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	socket, ok := s.take(network, address, func(file *os.File) (net.Addr, error) {
		return closeAfter(net.FileListener(file))
	})
	var l net.Listener
	var err error
	if ok {
		l, err = net.FileListener(socket.file)
		_ = socket.file.Close()
	} else {
		l, err = new(net.ListenConfig).Listen(ctx, network, address)
	}
	if err != nil {
		return nil, err
	}
	tcp, ok := l.(*net.TCPListener)
	if !ok {
		_ = l.Close()
		return nil, fmt.Errorf("listen on %s: %T is not handed over, expected TCP", address, l)
	}
	wrapped := &listener{TCPListener: tcp, sockets: s}
	s.add(wrapped, key(network, address))
	return wrapped, nil
}

// closeAfter returns where something is that was opened only to ask it.
func closeAfter[C interface {
	io.Closer
	Addr() net.Addr
}](c C, err error) (net.Addr, error) {
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.Addr(), nil
}

// ListenPacket returns a socket for packets at the address: an inherited one, or a new one.
func (s *Sockets) ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	socket, ok := s.take(network, address, func(file *os.File) (net.Addr, error) {
		c, err := net.FilePacketConn(file)
		if err != nil {
			return nil, err
		}
		defer c.Close()
		return c.LocalAddr(), nil
	})
	var c net.PacketConn
	var err error
	if ok {
		c, err = net.FilePacketConn(socket.file)
		_ = socket.file.Close()
	} else {
		c, err = new(net.ListenConfig).ListenPacket(ctx, network, address)
	}
	if err != nil {
		return nil, err
	}
	udp, ok := c.(*net.UDPConn)
	if !ok {
		_ = c.Close()
		return nil, fmt.Errorf("listen on %s: %T is not handed over, expected UDP", address, c)
	}
	packets, err := newPacketConn(s, udp, socket)
	if err != nil {
		_ = udp.Close()
		return nil, err
	}
	s.add(packets, key(network, address))
	return packets, nil
}

func (s *Sockets) add(socket exporter, name string) {
	s.open[socket] = name
	s.order = append(s.order, socket)
}

func (s *Sockets) remove(socket exporter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, socket)
	for i, other := range s.order {
		if other == socket {
			s.order = append(s.order[:i:i], s.order[i+1:]...)
			return
		}
	}
}

// listener is a TCP listener that another process can be given.
type listener struct {
	*net.TCPListener
	sockets *Sockets
}

// Close stops listening, in this process.
func (l *listener) Close() error {
	l.sockets.remove(l)
	return l.TCPListener.Close()
}

func (l *listener) dup() (*os.File, error) { return duplicate(l.TCPListener) }
