package natsserver

import (
	"net"
	"os"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// impatientSockets counts the connected sockets of this process that have one of the ports, and those of
// them whose timers are ours.
func impatientSockets(t *testing.T, ports map[uint16]bool) (all, tuned int) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		fd, _ := strconv.Atoi(entry.Name())
		if !usesPort(fd, ports) {
			continue
		}
		if _, err := unix.Getpeername(fd); err != nil {
			continue
		}
		all++
		if v, err := unix.GetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_RTO_MIN_US); err == nil && v < 200_000 { // rounded up to ticks of the kernel's clock
			tuned++
		}
	}
	return all, tuned
}

func needRetransmitOption(t *testing.T) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if _, err := unix.GetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_RTO_MIN_US); err != nil {
		t.Skipf("TCP_RTO_MIN_US: %v; Linux 6.15 has it", err)
	}
}

// Both ends of what nodes say to each other, whoever has dialled.
func TestEverySocketOfTheBusIsImpatient(t *testing.T) {
	needRetransmitOption(t)
	routes := freeAddresses(t, 2)
	var servers []*Server
	for i, name := range []string{"one", "two"} {
		servers = append(servers, start(t, name, t.TempDir(), func(c *Config) {
			c.Address, c.Cluster.Address, c.Cluster.Routes = "127.0.0.1:0", routes[i], routes
		}))
	}
	remote := start(t, "three", "", func(c *Config) { c.Servers = []string{servers[0].Addr()} })
	echo(t, connect(t, remote), connect(t, servers[1]))
	ports := servers[0].ports()
	for port := range servers[1].ports() {
		ports[port] = true
	}
	deadline := time.After(patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		all, tuned := impatientSockets(t, ports)
		if all >= 4 && all == tuned { // a client and at least one route, each with two ends
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%d of %d sockets are impatient", tuned, all)
		}
	}
}

// What has nothing to do with the bus keeps its timers.
func TestOtherSocketsAreLeftAlone(t *testing.T) {
	needRetransmitOption(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	tune(map[uint16]bool{1: true}, 10*time.Millisecond)
	port := uint16(l.Addr().(*net.TCPAddr).Port)
	if all, tuned := impatientSockets(t, map[uint16]bool{port: true}); all == 0 || tuned != 0 {
		t.Errorf("%d of %d sockets are impatient, want none", tuned, all)
	}
	tune(map[uint16]bool{port: true}, 10*time.Millisecond)
	if _, tuned := impatientSockets(t, map[uint16]bool{port: true}); tuned == 0 {
		t.Error("none is, although it was named")
	}
}
