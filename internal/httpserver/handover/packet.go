package handover

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// PacketConn is a UDP socket for QUIC that processes which follow each other have in common. It has what quic-go
// asks of a socket to read in batches (quic.OOBCapablePacketConn), and makes its connection IDs.
//
// Of a new process, reads wait until it is ready and the old one reads no more.
type PacketConn struct {
	*net.UDPConn
	share
	sockets *Sockets
	batch   *ipv4.PacketConn
	begun   chan struct{} // closed: this process may read
	ended   chan struct{} // closed: nobody wants to read any more
	once    struct{ begin, end sync.Once }

	after   atomic.Pointer[net.UnixConn] // from the processes after; nil: there is none
	dropped atomic.Int64
	scratch []byte // of the reader

	mu     sync.Mutex             // guards before
	before map[byte]*net.UnixConn // to the processes before that still run, by generation
}

// maxRelayed is the largest message between two processes: lengths, address, control message and packet.
const maxRelayed = 2 + 32 + 1024 + 65535

func newPacketConn(s *Sockets, udp *net.UDPConn, from inherited) (*PacketConn, error) {
	c := &PacketConn{
		UDPConn: udp, share: from.share, sockets: s, batch: ipv4.NewPacketConn(udp),
		begun: make(chan struct{}), ended: make(chan struct{}), before: make(map[byte]*net.UnixConn),
	}
	if len(from.relays) == 0 {
		c.share = newShare()
		c.begin()
		return c, nil
	}
	var errs []error
	for generation, file := range from.relays {
		relay, err := unixConn(file)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		c.before[generation] = relay
	}
	return c, errors.Join(errs...)
}

func (c *PacketConn) dup() (*os.File, error) { return duplicate(c.UDPConn) }

// begin lets this process read.
func (c *PacketConn) begin() { c.once.begin.Do(func() { close(c.begun) }) }

// yield leaves the socket to the process after, which passes on what belongs to this one over relay.
func (c *PacketConn) yield(relay *net.UnixConn) {
	c.after.Store(relay)
	_ = c.UDPConn.SetReadDeadline(time.Unix(1, 0))
}

// Dropped returns how many packets of the process before could not be passed on, because it was too slow.
func (c *PacketConn) Dropped() int64 { return c.dropped.Load() }

// SetReadDeadline is only for ending: a deadline that has passed ends reading for good.
func (c *PacketConn) SetReadDeadline(t time.Time) error {
	if !t.IsZero() && !t.After(time.Now()) {
		c.once.end.Do(func() { close(c.ended) })
		if after := c.after.Load(); after != nil {
			_ = after.SetReadDeadline(t)
		}
	}
	return c.UDPConn.SetReadDeadline(t)
}

// Close gives the socket back, in this process.
func (c *PacketConn) Close() error {
	c.sockets.remove(c)
	c.once.end.Do(func() { close(c.ended) })
	if after := c.after.Load(); after != nil {
		_ = after.Close()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, relay := range c.before {
		_ = relay.Close()
	}
	clear(c.before)
	return c.UDPConn.Close()
}

// ReadBatch reads packets that belong to this process.
func (c *PacketConn) ReadBatch(messages []ipv4.Message, flags int) (int, error) {
	select {
	case <-c.begun:
	case <-c.ended:
		return 0, os.ErrDeadlineExceeded
	}
	for {
		if relay := c.after.Load(); relay != nil {
			return c.readRelay(relay, messages)
		}
		n, err := c.batch.ReadBatch(messages, flags)
		if err != nil {
			if c.after.Load() != nil && errors.Is(err, os.ErrDeadlineExceeded) {
				continue
			}
			return n, err
		}
		if n = c.passOn(messages[:n]); n > 0 {
			return n, nil
		}
	}
}

// passOn gives processes before what belongs to them, and returns how many messages are left at the beginning.
func (c *PacketConn) passOn(messages []ipv4.Message) int {
	kept := 0
	for i := range messages {
		m := &messages[i]
		if owner := c.owner(m.Buffers[0][:m.N]); owner != c.generation && c.relay(owner, m) {
			continue
		}
		if kept != i {
			// The buffers stay with their messages: who reads owns them in this order.
			to := &messages[kept]
			to.N, to.NN = copy(to.Buffers[0], m.Buffers[0][:m.N]), copy(to.OOB, m.OOB[:m.NN])
			to.Addr, to.Flags = m.Addr, m.Flags
		}
		kept++
	}
	return kept
}

// relay gives a message to the process of a generation. It reports false if that has ended.
func (c *PacketConn) relay(owner byte, m *ipv4.Message) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.before[owner]
	from, ok := m.Addr.(*net.UDPAddr)
	if before == nil || !ok {
		return false
	}
	err := sendNow(before, relayed(from.AddrPort(), m.OOB[:m.NN], m.Buffers[0][:m.N]))
	switch {
	case err == nil:
	case errors.Is(err, unix.EAGAIN): // as a network does; QUIC sends it again
		c.dropped.Add(1)
	default:
		delete(c.before, owner)
		_ = before.Close()
		return false
	}
	return true
}

// relays returns second descriptors of the relays to the processes before.
func (c *PacketConn) relays() (map[byte]*os.File, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make(map[byte]*os.File)
	var errs []error
	for generation, relay := range c.before {
		file, err := duplicate(relay)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		all[generation] = file
	}
	return all, errors.Join(errs...)
}

// sendNow sends without waiting.
func sendNow(c *net.UnixConn, message []byte) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var sendErr error
	if err := raw.Control(func(fd uintptr) {
		sendErr = unix.Sendto(int(fd), message, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, nil)
	}); err != nil {
		return err
	}
	return sendErr
}

// readRelay reads one message from a process after.
func (c *PacketConn) readRelay(relay *net.UnixConn, messages []ipv4.Message) (int, error) {
	if c.scratch == nil {
		c.scratch = make([]byte, maxRelayed)
	}
	for {
		select {
		case <-c.ended:
			return 0, os.ErrDeadlineExceeded
		default:
		}
		n, err := relay.Read(c.scratch)
		if err != nil {
			// Without the process after there is nobody to get packets from.
			<-c.ended
			return 0, os.ErrDeadlineExceeded
		}
		from, oob, packet, ok := parseRelayed(c.scratch[:n])
		if !ok || len(messages) == 0 {
			continue
		}
		m := &messages[0]
		m.N, m.NN, m.Flags = copy(m.Buffers[0], packet), copy(m.OOB, oob), 0
		m.Addr = net.UDPAddrFromAddrPort(from)
		if c.passOn(messages[:1]) == 1 {
			return 1, nil
		}
	}
}

// relayed returns a packet as it is passed between processes.
func relayed(from netip.AddrPort, oob, packet []byte) []byte {
	address, _ := from.MarshalBinary() // never fails
	b := make([]byte, 0, 1+len(address)+2+len(oob)+len(packet))
	b = append(b, byte(len(address)))
	b = append(b, address...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(oob)))
	b = append(b, oob...)
	return append(b, packet...)
}

func parseRelayed(b []byte) (from netip.AddrPort, oob, packet []byte, ok bool) {
	if len(b) < 1 || len(b) < 1+int(b[0])+2 {
		return from, nil, nil, false
	}
	address, b := b[1:1+int(b[0])], b[1+int(b[0]):]
	if from.UnmarshalBinary(address) != nil {
		return from, nil, nil, false
	}
	n := int(binary.BigEndian.Uint16(b))
	if b = b[2:]; len(b) < n {
		return from, nil, nil, false
	}
	return from, b[:n], b[n:], true
}
