package natsserver

import (
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// retransmitMax bounds how far TCP backs off, so that a path that was broken for a while is used
	// soon after it has healed. A second is the least that the kernel takes.
	retransmitMax = time.Second
)

// impatient makes a socket wait less before it sends again, and acknowledge sooner. A kernel that does not
// know an option leaves it: all of them are about time only.
func impatient(fd int, retransmitMin time.Duration) {
	for _, option := range []struct{ name, value int }{
		// Linux 6.15. The timers of the tail loss probe (RFC 8985 §7) and of the first retransmission follow
		// the minimum.
		{unix.TCP_RTO_MIN_US, int(retransmitMin.Microseconds())},
		{unix.TCP_RTO_MAX_MS, int(retransmitMax.Milliseconds())},
		// Half of the other end's minimum, so that what was not lost is not sent twice.
		{unix.TCP_DELACK_MAX_US, int(retransmitMin.Microseconds()) / 2},
		// With less than four segments on the way a loss cannot be told by the ones behind it, and the
		// network is not full: the first six retransmissions do not back off.
		{unix.TCP_THIN_LINEAR_TIMEOUTS, 1},
		{unix.TCP_NODELAY, 1},
	} {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, option.name, option.value)
	}
}

// tune makes the sockets of this process that have one of the ports at either end impatient: those that
// listen, from which accepted ones inherit, and those that are connected. The server has no hook for it.
func tune(ports map[uint16]bool, retransmitMin time.Duration) {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return
	}
	for _, entry := range entries {
		number, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		// A descriptor of our own: the one that was found may be closed, and be another's, at any moment.
		fd, err := unix.FcntlInt(uintptr(number), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			continue
		}
		if usesPort(fd, ports) {
			impatient(fd, retransmitMin)
		}
		_ = unix.Close(fd)
	}
}

// usesPort reports whether fd is a TCP socket with one of the ports at either end.
func usesPort(fd int, ports map[uint16]bool) bool {
	if protocol, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL); err != nil || protocol != unix.IPPROTO_TCP {
		return false
	}
	if local, err := unix.Getsockname(fd); err == nil && ports[portOf(local)] {
		return true
	}
	peer, err := unix.Getpeername(fd)
	return err == nil && ports[portOf(peer)]
}

func portOf(address unix.Sockaddr) uint16 {
	switch a := address.(type) {
	case *unix.SockaddrInet4:
		return uint16(a.Port)
	case *unix.SockaddrInet6:
		return uint16(a.Port)
	}
	return 0
}
