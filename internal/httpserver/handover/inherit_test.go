package handover

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// given is what a process was started with.
type given struct {
	variables map[string]string
	fds       []int
}

func (g given) inherit(t *testing.T) (*Sockets, error) {
	t.Helper()
	s, err := inherit(func(name string) string { return g.variables[name] }, 100, 50, func(i int) int {
		if i >= len(g.fds) {
			return 1 << 20
		}
		return g.fds[i]
	})
	if s != nil {
		t.Cleanup(func() { _ = s.Ready() })
	}
	return s, err
}

// tcpSocket returns a descriptor that nobody owns, as a new process has it, and where it listens.
func tcpSocket(t *testing.T) (int, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	raw, err := l.(*net.TCPListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	fd := -1
	if err := raw.Control(func(from uintptr) { fd, err = unix.FcntlInt(from, unix.F_DUPFD_CLOEXEC, 0) }); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return fd, l.Addr().String()
}

func TestWhatIsTakenFromTheEnvironment(t *testing.T) {
	taken := []string{"more than there are", "a relay that says nothing"} // and then closed
	for _, test := range []struct {
		name      string
		variables map[string]string
		inherited bool
		want      string
	}{
		{"nothing", nil, false, ""},
		{"for this process", map[string]string{"LISTEN_PID": "100", "LISTEN_FDS": "1"}, true, ""},
		{"from the process before", map[string]string{"LISTEN_PARENT_PID": "50", "LISTEN_FDS": "1"}, true, ""},
		{"for another process", map[string]string{"LISTEN_PID": "99", "LISTEN_FDS": "1"}, false, ""},
		{"from another process", map[string]string{"LISTEN_PARENT_PID": "1", "LISTEN_FDS": "1"}, false, ""},
		{"no number", map[string]string{"LISTEN_PID": "100", "LISTEN_FDS": "x"}, false, `LISTEN_FDS: "x" is not a number of sockets`},
		{"less than none", map[string]string{"LISTEN_PID": "100", "LISTEN_FDS": "-1"}, false, `LISTEN_FDS: "-1" is not a number of sockets`},
		{"more than there are", map[string]string{"LISTEN_PID": "100", "LISTEN_FDS": "2"}, false, "LISTEN_FDS: descriptor 1048576: bad file descriptor"},
		{"a relay that says nothing", map[string]string{"LISTEN_PID": "100", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "relay+x"}, false, `relay: "relay x" is not a share, a generation and a socket`},
	} {
		t.Run(test.name, func(t *testing.T) {
			fd, address := tcpSocket(t)
			s, err := given{test.variables, []int{fd}}.inherit(t)
			if !test.inherited && !slices.Contains(taken, test.name) { // nobody took it
				defer unix.Close(fd)
			}
			if got := errorText(err); got != test.want {
				t.Fatalf("err = %q, want %q", got, test.want)
			}
			if err != nil {
				return
			}
			if s.Inherited() != test.inherited {
				t.Fatalf("inherited: %v", s.Inherited())
			}
			l, err := s.Listen(t.Context(), "tcp", address)
			if err != nil && test.inherited {
				t.Fatal(err)
			}
			if err == nil {
				_ = l.Close()
			}
			if s.Inherited() {
				t.Error("the socket was not taken")
			}
		})
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestASocketIsFoundByItsAddress(t *testing.T) {
	for _, test := range []struct {
		network, address string
		at               net.Addr
		want             bool
	}{
		{"tcp", ":80", &net.TCPAddr{IP: net.IPv6zero, Port: 80}, true},
		{"tcp", ":80", &net.TCPAddr{IP: net.IPv4zero, Port: 80}, true},
		{"tcp", "0.0.0.0:80", &net.TCPAddr{IP: net.IPv6zero, Port: 80}, true},
		{"tcp", "127.0.0.1:80", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80}, true},
		{"tcp", "127.0.0.1:80", &net.TCPAddr{IP: net.IPv6zero, Port: 80}, false},
		{"tcp", ":80", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80}, false},
		{"tcp", ":80", &net.TCPAddr{IP: net.IPv6zero, Port: 81}, false},
		{"tcp", ":0", &net.TCPAddr{IP: net.IPv6zero, Port: 81}, false},
		{"udp", ":443", &net.UDPAddr{IP: net.IPv6zero, Port: 443}, true},
		{"tcp", "nonsense", &net.TCPAddr{Port: 80}, false},
		{"unix", "/x", &net.UnixAddr{Name: "/x"}, false},
	} {
		if got := sameAddress(test.network, test.address, test.at); got != test.want {
			t.Errorf("%s %s at %v: %v", test.network, test.address, test.at, got)
		}
	}
}

// What the configuration does not name any more is not left open.
func TestReadyClosesWhatNobodyAskedFor(t *testing.T) {
	fd, address := tcpSocket(t)
	s, err := given{map[string]string{"LISTEN_PID": "100", "LISTEN_FDS": "1"}, []int{fd}}.inherit(t)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Ready(); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatalf("it is still taken: %v", err)
	}
	_ = l.Close()
}

// Two listeners on any port are told apart by their order.
func TestSocketsOnAnyPortKeepTheirOrder(t *testing.T) {
	var fds []int
	var want []string
	for range 2 {
		fd, address := tcpSocket(t)
		fds, want = append(fds, fd), append(want, address)
	}
	s, err := given{map[string]string{"LISTEN_PARENT_PID": "50", "LISTEN_FDS": "2", "LISTEN_FDNAMES": "tcp+127.0.0.1%3A0:tcp+127.0.0.1%3A0"}, fds}.inherit(t)
	if err != nil {
		t.Fatal(err)
	}
	for i, address := range want {
		l, err := s.Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if got := l.Addr().String(); got != address {
			t.Errorf("number %d is at %s, want %s", i, got, address)
		}
	}
}

func TestSharesAndNames(t *testing.T) {
	own := share{generation: 255, tag: [tagBytes]byte{1, 2, 3}}
	if next := own.next(); next.generation != 0 || next.tag != own.tag {
		t.Errorf("after %v comes %v", own, next)
	}
	got, generation, socket, err := parseRelayName(relayName(own, 7, "udp 127.0.0.1:443"))
	if got != own || generation != 7 || socket != "udp 127.0.0.1:443" || err != nil {
		t.Errorf("%v %d %q %v", got, generation, socket, err)
	}
	for _, name := range []string{"relay ", "relay 01 1 udp :1", "relay 01020304 256 udp :1", "relay 0102030g 1 udp :1"} {
		if _, _, _, err := parseRelayName(name); err == nil {
			t.Errorf("%q was taken", name)
		}
	}
}

func TestWhosePacketItIs(t *testing.T) {
	own := share{generation: 5, tag: [tagBytes]byte{0xaa, 0xbb, 0xcc}}
	id := func(generation byte) string { return string([]byte{generation, 0xaa, 0xbb, 0xcc}) + "12345678" }
	for _, test := range []struct {
		name, packet string
		want         byte
	}{
		{"short header, its own", "\x40" + id(5) + "rest", 5},
		{"short header, of the one before", "\x40" + id(4) + "rest", 4},
		{"short header, too short", "\x40" + id(4)[:11], 5},
		{"short header, another tag", "\x40\x04\xaa\xbb\xcd12345678", 5},
		{"long header, of the one before", "\xe0\x00\x00\x00\x01\x0c" + id(4) + "rest", 4},
		{"long header, an ID of another length", "\xc0\x00\x00\x00\x01\x08" + id(4) + "rest", 5},
		{"long header, too short", "\xc0\x00\x00\x00\x01\x0c" + id(4)[:11], 5},
		{"long header, nothing", "\xc0\x00\x00", 5},
		{"nothing", "", 5},
	} {
		if got := own.owner([]byte(test.packet)); got != test.want {
			t.Errorf("%s: %d, want %d", test.name, got, test.want)
		}
	}
	made, err := own.GenerateConnectionID()
	if err != nil || made.Len() != own.ConnectionIDLen() || own.next().owner(append([]byte{0x40}, made.Bytes()...)) != 5 {
		t.Errorf("%v, %v", made, err)
	}
}

// chain returns a socket and those of the processes after it, each of which has the packets of all before.
func chain(t *testing.T, n int) []*PacketConn {
	t.Helper()
	var all []*PacketConn
	sockets := &Sockets{open: make(map[exporter]string)}
	from := inherited{}
	for range n {
		var c *PacketConn
		if len(all) == 0 {
			packets, err := sockets.ListenPacket(t.Context(), "udp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			c = packets.(*PacketConn)
		} else {
			again, err := net.FilePacketConn(from.file)
			if err != nil {
				t.Fatal(err)
			}
			_ = from.file.Close()
			if c, err = newPacketConn(sockets, again.(*net.UDPConn), from); err != nil {
				t.Fatal(err)
			}
			c.begin()
		}
		t.Cleanup(func() { _ = c.Close() })
		all = append(all, c)
		if len(all) == n {
			break
		}
		e := &export{relays: make(map[*PacketConn]*net.UnixConn)}
		if err := e.addRelays(c, "udp"); err != nil {
			t.Fatal(err)
		}
		from = inherited{share: c.next(), relays: make(map[byte]*os.File)}
		for i, name := range e.names {
			_, generation, _, err := parseRelayName(name)
			if err != nil {
				t.Fatal(err)
			}
			from.relays[generation] = e.files[i]
		}
		var err error
		if from.file, err = c.dup(); err != nil {
			t.Fatal(err)
		}
		c.yield(e.relays[c])
	}
	return all
}

// read returns the next packet of c, and from whom it is.
func read(t *testing.T, c *PacketConn) (string, net.Addr) {
	t.Helper()
	messages := make([]ipv4.Message, 4)
	for i := range messages {
		messages[i] = ipv4.Message{Buffers: [][]byte{make([]byte, 1500)}, OOB: make([]byte, 128)}
	}
	n, err := c.ReadBatch(messages, 0)
	if err != nil || n != 1 {
		t.Fatal(n, err)
	}
	return string(messages[0].Buffers[0][:messages[0].N]), messages[0].Addr
}

func TestPacketsReachTheProcessThatTheyBelongTo(t *testing.T) {
	processes := chain(t, 3)
	newest := processes[2]
	client, err := net.Dial("udp", newest.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	send := func(owner *PacketConn, text string) string {
		t.Helper()
		id, err := owner.GenerateConnectionID()
		if err != nil {
			t.Fatal(err)
		}
		packet := "\x40" + string(id.Bytes()) + text
		if _, err := client.Write([]byte(packet)); err != nil {
			t.Fatal(err)
		}
		return packet
	}
	got := make(chan string)
	for i, process := range processes {
		want := send(process, "for "+strconv.Itoa(i))
		if process != newest {
			send(newest, "next") // so that the newest does not wait for ever
			go func() {
				packet, _ := read(t, newest)
				got <- packet
			}()
			if packet := <-got; !strings.HasSuffix(packet, "next") {
				t.Errorf("the newest process reads %q", packet)
			}
		}
		packet, from := read(t, process)
		if packet != want || from.String() != client.LocalAddr().String() {
			t.Errorf("process %d reads %q from %v, want %q from %v", i, packet, from, want, client.LocalAddr())
		}
	}

	// When the one in the middle has ended, the oldest still gets what is its own, and the newest all the rest.
	_ = processes[1].Close()
	orphan := send(processes[1], "orphan")
	if packet, _ := read(t, newest); packet != orphan {
		t.Errorf("the newest process reads %q, want %q", packet, orphan)
	}
	want := send(processes[0], "old")
	send(newest, "next")
	read(t, newest)
	if packet, _ := read(t, processes[0]); packet != want {
		t.Errorf("the oldest process reads %q, want %q", packet, want)
	}
}

func TestAProcessThatDoesNotReadHoldsNobody(t *testing.T) {
	processes := chain(t, 2)
	client, err := net.Dial("udp", processes[1].LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	id, _ := processes[0].GenerateConnectionID()
	old := append(append([]byte{0x40}, id.Bytes()...), make([]byte, 1200)...)
	own, _ := processes[1].GenerateConnectionID()
	for processes[1].Dropped() == 0 {
		if _, err := client.Write(old); err != nil {
			t.Fatal(err)
		}
		if _, err := client.Write(append([]byte{0x40}, own.Bytes()...)); err != nil {
			t.Fatal(err)
		}
		read(t, processes[1])
	}
}

func TestReadingWaitsForItsTurnAndEnds(t *testing.T) {
	processes := chain(t, 1)
	c := processes[0]
	waiting := &PacketConn{UDPConn: c.UDPConn, sockets: c.sockets, batch: c.batch, begun: make(chan struct{}), ended: make(chan struct{})}
	ended := make(chan error)
	go func() {
		_, err := waiting.ReadBatch(make([]ipv4.Message, 1), 0)
		ended <- err
	}()
	select {
	case err := <-ended:
		t.Fatalf("it did not wait: %v", err)
	default:
	}
	_ = waiting.SetReadDeadline(time.Now())
	if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("err = %v", err)
	}
	_ = c.UDPConn.SetReadDeadline(time.Time{})
}

func FuzzParseRelayed(f *testing.F) {
	f.Add(relayed(netip.MustParseAddrPort("192.0.2.1:443"), []byte("oob"), []byte("packet")))
	f.Add(relayed(netip.MustParseAddrPort("[2001:db8::1]:443"), nil, nil))
	f.Fuzz(func(t *testing.T, message []byte) {
		from, oob, packet, ok := parseRelayed(message)
		if !ok {
			return
		}
		again := relayed(from, oob, packet)
		from2, oob2, packet2, ok := parseRelayed(again)
		if !ok || from2 != from || !bytes.Equal(oob, oob2) || !bytes.Equal(packet, packet2) {
			t.Errorf("%x became %x", message, again)
		}
	})
}
