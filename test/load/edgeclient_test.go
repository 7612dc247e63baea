package load

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// crowd is an HTTP/1.1 client of many connections that one thread serves. What it receives it throws away where
// the kernel has it (MSG_TRUNC, tcp(7)), so that it costs far less than the server that it asks.
type crowd struct {
	epoll int
	conns []crowdConn
	sink  []byte
	size  int // of each answer's body
}

// headBytes is how much is read at once of a head.
const headBytes = 4 << 10

type crowdConn struct {
	fd    int
	asked time.Time
	first time.Time // when the first byte of the body was there
	left  int       // bytes of the body to come, negative: the head is to come
	head  []byte    // what has come of an incomplete head
	bytes int64
}

// crowdOptions say how a crowd connects.
type crowdOptions struct {
	address string
	conns   int
	size    int // of each answer's body
	// receive is the size of the buffer that the kernel has for each connection; 0 leaves it to the kernel.
	receive int
	// perSource is how many connections one address may have: the addresses are 127.0.0.2 and those after it;
	// 0: all have the kernel's choice.
	perSource int
}

// connect opens all connections.
func connect(o crowdOptions) (*crowd, error) {
	address, err := netip.ParseAddrPort(o.address)
	if err != nil {
		return nil, err
	}
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	c := &crowd{epoll: epoll, conns: make([]crowdConn, 0, o.conns), sink: make([]byte, 1<<20), size: o.size}
	for i := range o.conns {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("connection %d: %w", i, err), c.close())
		}
		c.conns = append(c.conns, crowdConn{fd: fd, left: -1})
		if err := c.dial(int32(i), address, o); err != nil {
			return nil, errors.Join(fmt.Errorf("connection %d: %w", i, err), c.close())
		}
	}
	return c, nil
}

func (c *crowd) dial(i int32, to netip.AddrPort, o crowdOptions) error {
	fd := c.conns[i].fd
	if o.receive > 0 {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, o.receive); err != nil {
			return err
		}
	}
	if o.perSource > 0 {
		n := int(i)/o.perSource + 2
		source := &unix.SockaddrInet4{Addr: [4]byte{127, 0, byte(n >> 8), byte(n)}}
		// The port is chosen when the other end is known, so that each address has all of them.
		if err := unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1); err != nil {
			return err
		}
		if err := unix.Bind(fd, source); err != nil {
			return err
		}
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return err
	}
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}); err != nil {
		return err
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return err
	}
	// The number of the connection, in place of that of its descriptor.
	return unix.EpollCtl(c.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: i})
}

func (c *crowd) close() error {
	for i := range c.conns {
		_ = unix.Close(c.conns[i].fd)
	}
	return unix.Close(c.epoll)
}

// ask sends a request over a connection that waits for none. Requests are so short that the kernel takes them
// whole.
func (c *crowd) ask(conn *crowdConn, request []byte, at time.Time) error {
	conn.left, conn.asked, conn.first = -1, at, time.Time{}
	n, err := unix.Write(conn.fd, request)
	if err != nil {
		return fmt.Errorf("send a request: %w", err)
	}
	if n != len(request) {
		return fmt.Errorf("send a request: %d of %d bytes were taken", n, len(request))
	}
	return nil
}

// wait waits for answers until the time, and calls complete for each connection whose answer is there.
func (c *crowd) wait(events []unix.EpollEvent, until time.Time, complete func(i int, conn *crowdConn) error) error {
	n, err := unix.EpollWait(c.epoll, events, int(max(0, time.Until(until).Milliseconds())))
	if err != nil {
		if errors.Is(err, unix.EINTR) {
			return nil
		}
		return err
	}
	for _, event := range events[:n] {
		conn := &c.conns[event.Fd]
		done, err := c.receive(conn)
		if err == nil && done {
			err = complete(int(event.Fd), conn)
		}
		if err != nil {
			return fmt.Errorf("connection %d: %w", event.Fd, err)
		}
	}
	return nil
}

// receive takes what has arrived, and reports whether the answer is complete.
func (c *crowd) receive(conn *crowdConn) (complete bool, err error) {
	for {
		length, flags := headBytes, 0 // copied, so that no more of the body is among them than need be
		if conn.left >= 0 {
			length, flags = min(len(c.sink), conn.left), unix.MSG_TRUNC
		}
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(conn.fd), uintptr(unsafe.Pointer(&c.sink[0])), uintptr(length), uintptr(flags), 0, 0)
		switch {
		case errno == unix.EAGAIN:
			return false, nil
		case errno == unix.EINTR:
			continue
		case errno != 0:
			return false, fmt.Errorf("receive: %w", errno)
		case n == 0:
			return false, errors.New("the server has closed the connection")
		}
		if conn.left < 0 {
			body, ok, err := c.takeHead(conn, c.sink[:n])
			if err != nil {
				return false, err
			}
			if !ok {
				continue
			}
			n = uintptr(body)
		}
		if conn.left -= int(n); conn.left < 0 {
			return false, fmt.Errorf("there are %d bytes after the answer", -conn.left)
		}
		if n > 0 && conn.first.IsZero() {
			conn.first = time.Now()
		}
		conn.bytes += int64(n)
		if conn.left == 0 {
			return true, nil
		}
	}
}

// takeHead reads the head of an answer; body is how many bytes came after it.
func (c *crowd) takeHead(conn *crowdConn, received []byte) (body int, ok bool, err error) {
	if len(conn.head) > 0 {
		received = append(conn.head, received...)
		conn.head = nil
	}
	end := bytes.Index(received, []byte("\r\n\r\n"))
	if end < 0 {
		if len(received) > 16<<10 {
			return 0, false, errors.New("the head does not end")
		}
		conn.head = bytes.Clone(received)
		return 0, false, nil
	}
	head := received[:end+2]
	if !bytes.HasPrefix(head, []byte("HTTP/1.1 200")) {
		return 0, false, fmt.Errorf("the answer is %q", head)
	}
	length, err := contentLength(head)
	if err != nil {
		return 0, false, err
	}
	if length != c.size {
		return 0, false, fmt.Errorf("the answer has %d bytes, want %d", length, c.size)
	}
	conn.left = length
	return len(received) - end - 4, true, nil
}

func contentLength(head []byte) (int, error) {
	const name = "content-length:"
	for line := range bytes.Lines(head) {
		if len(line) > len(name) && line[0]|0x20 == 'c' && bytes.EqualFold(line[:len(name)], []byte(name)) {
			return strconv.Atoi(strings.TrimSpace(string(line[len(name):])))
		}
	}
	return 0, fmt.Errorf("the answer has no Content-Length: %q", head)
}

// flood asks over and over: each connection has one request on its way at any time.
type flood struct {
	crowdOptions
	requests   [][]byte // in turn
	warm, time time.Duration
	// usage returns the processor time that the server has used.
	usage func() time.Duration
}

// flooded is what a flood has measured.
type flooded struct {
	perSecond float64
	bits      float64 // per second
	p50, p99  time.Duration
	cost      time.Duration // processor time of the server for one answer
	busy      float64       // processor time of the server per second
	answers   int
}

func (f flood) run() (flooded, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	c, err := connect(f.crowdOptions)
	if err != nil {
		return flooded{}, err
	}
	defer c.close()
	turn := 0
	next := func() []byte {
		turn++
		return f.requests[turn%len(f.requests)]
	}
	for i := range c.conns {
		if err := c.ask(&c.conns[i], next(), time.Now()); err != nil {
			return flooded{}, err
		}
	}
	events := newEvents()
	latencies := make([]time.Duration, 0, 1<<20)
	var received int64
	record := false
	again := func(_ int, conn *crowdConn) error {
		now := time.Now()
		if record {
			latencies = append(latencies, now.Sub(conn.asked))
		}
		return c.ask(conn, next(), now)
	}
	until := func(end time.Time) error {
		for time.Now().Before(end) {
			if err := c.wait(events, end, again); err != nil {
				return err
			}
		}
		return nil
	}
	if err := until(time.Now().Add(f.warm)); err != nil {
		return flooded{}, err
	}
	for i := range c.conns {
		c.conns[i].bytes = 0
	}
	record = true
	begun, used := time.Now(), f.usage()
	if err := until(begun.Add(f.time)); err != nil {
		return flooded{}, err
	}
	took := time.Since(begun).Seconds()
	used = f.usage() - used
	for i := range c.conns {
		received += c.conns[i].bytes
	}
	if len(latencies) == 0 {
		return flooded{}, errors.New("there was no answer")
	}
	slices.Sort(latencies)
	return flooded{
		perSecond: float64(len(latencies)) / took, bits: float64(received) * 8 / took,
		p50: quantile(latencies, .5), p99: quantile(latencies, .99),
		cost: used / time.Duration(len(latencies)), busy: used.Seconds() / took, answers: len(latencies),
	}, nil
}

// quantile returns the value that so much of the sorted values lies below.
func quantile(sorted []time.Duration, share float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(share*float64(len(sorted))))]
}

// rushed is what a rush has measured.
type rushed struct {
	last               time.Duration // until the last answer was there
	firstP50, firstP99 time.Duration // from a request to the first byte of the body
}

// rush sends the request over every connection and waits until all answers are there.
func (c *crowd) rush(request []byte, limit time.Duration) (rushed, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	begun := time.Now()
	for i := range c.conns {
		if err := c.ask(&c.conns[i], request, time.Now()); err != nil {
			return rushed{}, fmt.Errorf("connection %d: %w", i, err)
		}
	}
	events := newEvents()
	firsts := make([]time.Duration, 0, len(c.conns))
	for len(firsts) < len(c.conns) {
		if time.Since(begun) > limit {
			return rushed{}, fmt.Errorf("after %v %d of %d answers were there", limit, len(firsts), len(c.conns))
		}
		err := c.wait(events, begun.Add(limit), func(_ int, conn *crowdConn) error {
			firsts = append(firsts, conn.first.Sub(conn.asked))
			return nil
		})
		if err != nil {
			return rushed{}, err
		}
	}
	r := rushed{last: time.Since(begun)}
	slices.Sort(firsts)
	r.firstP50, r.firstP99 = quantile(firsts, .5), quantile(firsts, .99)
	return r, nil
}

func newEvents() []unix.EpollEvent { return make([]unix.EpollEvent, 256) }
