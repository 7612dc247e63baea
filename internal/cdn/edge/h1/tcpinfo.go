package h1

import (
	"net"
	"syscall"
	"time"
)

// TCPInfo is what the kernel knows of a connection (TCP_INFO, Linux).
type TCPInfo struct {
	// As they are now.
	RTT, RTTVariance time.Duration
	MinRTT           time.Duration
	Window           int64 // congestion window, in bytes
	// DeliveryRate is the newest measurement, in bytes per second. With AppLimited it is but a lower bound: the
	// connection could have carried more than it was given.
	DeliveryRate int64
	AppLimited   bool
	// Throughput is the newest DeliveryRate of this connection that was no such bound; 0: there has been none.
	Throughput int64
	// NotSent are the bytes that the kernel has taken and not yet sent.
	NotSent int64

	// Since the sample before on this connection, or since its beginning.
	Retransmits   int64 // segments
	BytesSent     int64 // with what was sent again
	BytesRetrans  int64
	Busy          time.Duration // there was something to send
	RwndLimited   time.Duration // the client's window was full: the player or its machine was too slow
	SndbufLimited time.Duration // the send buffer was too small
}

// Connection is what the ResponseWriter of a request that came through the loop offers a Handler beside.
type Connection interface {
	// SetPace bounds the rate of the connection, in bytes per second, until it is set anew; 0 is no bound.
	SetPace(rate int64)
	// TCP is how the connection fared since the kernel was asked before; nil if the answer is not worth asking it.
	TCP() *TCPInfo
	// LastTCP is what the kernel said when it was asked last; nil: it has not been.
	LastTCP() *TCPInfo
}

// since turns what counts from the connection's beginning into what was added after the sample before.
func (t TCPInfo) since(before *TCPInfo) TCPInfo {
	t.Retransmits -= before.Retransmits
	t.BytesSent -= before.BytesSent
	t.BytesRetrans -= before.BytesRetrans
	t.Busy -= before.Busy
	t.RwndLimited -= before.RwndLimited
	t.SndbufLimited -= before.SndbufLimited
	return t
}

// Probe asks the kernel how a connection fares. It is for one goroutine at a time.
type Probe struct {
	socket     syscall.RawConn
	ask        func(uintptr)
	ok         bool
	info, last TCPInfo
}

// NewProbe returns a probe of the TCP connection that is found below c through NetConn, nil if there is none.
func NewProbe(c net.Conn) *Probe {
	for {
		below, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			return newProbe(rawOf(c))
		}
		c = below.NetConn()
	}
}

func newProbe(socket syscall.RawConn) *Probe {
	if socket == nil {
		return nil
	}
	p := &Probe{socket: socket}
	p.ask = func(fd uintptr) { p.ok = sample(fd, &p.info) }
	return p
}

// Sample returns how the connection has fared since it was asked before, nil if the kernel does not say. What is
// returned is valid until the next Sample.
func (p *Probe) Sample() *TCPInfo {
	if p == nil || p.socket.Control(p.ask) != nil || !p.ok {
		return nil
	}
	now := p.info
	if now.Throughput = now.DeliveryRate; now.AppLimited || now.Throughput == 0 {
		now.Throughput = p.last.Throughput
	}
	p.info = now.since(&p.last)
	p.last = now
	return &p.info
}

// Last returns what the kernel said when it was asked last, nil if it has not been. It is valid until the next Sample.
func (p *Probe) Last() *TCPInfo {
	if p == nil || !p.ok {
		return nil
	}
	return &p.last
}
