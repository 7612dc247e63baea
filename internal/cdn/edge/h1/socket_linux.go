package h1

import (
	"errors"
	"io"
	"net"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// rawOf gives access to the socket of a TCP connection, if it is one.
func rawOf(c net.Conn) syscall.RawConn {
	if t, ok := c.(*net.TCPConn); ok {
		if raw, err := t.SyscallConn(); err == nil {
			return raw
		}
	}
	return nil
}

// outcome tells what a call on a socket that does not block has come to; blocked is that it would. One that was
// interrupted has done nothing, and the caller goes on.
func outcome(n int, err error) (done int, blocked bool, failure error) {
	switch {
	case err == nil:
		return n, false, nil
	case errors.Is(err, unix.EAGAIN):
		return 0, true, nil
	case errors.Is(err, unix.EINTR):
		return 0, false, nil
	}
	return 0, false, err
}

// read returns 0 bytes without an error only if there was no room for any.
func read(fd uintptr, p []byte) (n int, blocked bool, err error) {
	for {
		n, err = unix.Read(int(fd), p)
		if n == 0 && err == nil && len(p) > 0 {
			err = io.EOF
		}
		if !errors.Is(err, unix.EINTR) {
			return outcome(n, err)
		}
	}
}

// send writes the pieces. With more, the kernel waits for what follows before it sends a segment that is not full
// (MSG_MORE).
func send(fd uintptr, pieces *[3][]byte, more bool) (n int, blocked bool, err error) {
	switch {
	case len(pieces[1])+len(pieces[2]) > 0:
		return outcome(unix.Writev(int(fd), pieces[:]))
	case more:
		return outcome(unix.SendmsgN(int(fd), pieces[0], nil, nil, unix.MSG_NOSIGNAL|unix.MSG_MORE))
	}
	return outcome(unix.Write(int(fd), pieces[0]))
}

// sendFile writes up to n bytes of a file and moves the offset, which is not the file's own: many answers read the
// same file.
func sendFile(fd, file uintptr, offset *int64, n int) (sent int, blocked bool, err error) {
	sent, err = unix.Sendfile(int(fd), int(file), offset, n)
	if sent == 0 && err == nil {
		err = errShort
	}
	return outcome(sent, err)
}

// unacknowledged returns how many bytes the socket holds that its peer has not taken.
func unacknowledged(fd uintptr) int64 {
	n, _ := unix.IoctlGetInt(int(fd), unix.SIOCOUTQ)
	return int64(n)
}

// setPace bounds the rate of a socket; 0 is no bound. Where the fq discipline is not there TCP paces itself. It is a
// favour: without it the answer is as good.
func setPace(fd uintptr, rate int64) {
	if rate <= 0 || rate > 1<<31-1 {
		rate = -1 // ~0U is without a bound
	}
	_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MAX_PACING_RATE, int(rate))
}

// kernelInfo is struct tcp_info of linux/tcp.h. That of x/sys has no name for the byte with the flags.
type kernelInfo struct {
	_             [7]uint8 // state, ca_state, retransmits, probes, backoff, options, window scales
	flags         uint8    // delivery_rate_app_limited:1, fastopen_client_fail:2
	_             [2]uint32
	sndMSS        uint32
	_             [12]uint32 // rcv_mss … rcv_ssthresh
	rtt, rttvar   uint32     // µs
	_             uint32     // snd_ssthresh
	cwnd          uint32
	_             [4]uint32 // advmss, reordering, rcv_rtt, rcv_space
	totalRetrans  uint32
	_             [4]uint64 // pacing_rate, max_pacing_rate, bytes_acked, bytes_received
	_             [2]uint32 // segs_out, segs_in
	notSent       uint32
	minRTT        uint32
	_             [2]uint32 // data_segs_in, data_segs_out
	deliveryRate  uint64    // bytes per second
	busyTime      uint64    // µs, as the next two
	rwndLimited   uint64
	sndbufLimited uint64
	_             [2]uint32 // delivered, delivered_ce
	bytesSent     uint64
	bytesRetrans  uint64
}

// sample asks the kernel how the connection of the socket has fared since its beginning.
func sample(fd uintptr, t *TCPInfo) bool {
	var k kernelInfo
	size := uint32(unsafe.Sizeof(k))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.IPPROTO_TCP, unix.TCP_INFO,
		uintptr(unsafe.Pointer(&k)), uintptr(unsafe.Pointer(&size)), 0)
	micros := func(n uint64) time.Duration { return time.Duration(n) * time.Microsecond }
	*t = TCPInfo{
		RTT: micros(uint64(k.rtt)), RTTVariance: micros(uint64(k.rttvar)), MinRTT: micros(uint64(k.minRTT)),
		Window: int64(k.cwnd) * int64(k.sndMSS), DeliveryRate: int64(k.deliveryRate), AppLimited: k.flags&1 != 0,
		NotSent: int64(k.notSent), Retransmits: int64(k.totalRetrans),
		BytesSent: int64(k.bytesSent), BytesRetrans: int64(k.bytesRetrans),
		Busy: micros(k.busyTime), RwndLimited: micros(k.rwndLimited), SndbufLimited: micros(k.sndbufLimited),
	}
	return errno == 0
}
