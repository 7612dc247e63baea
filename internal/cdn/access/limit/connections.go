package limit

import (
	"net/netip"
	"sync"
)

// ipv6Bits is the network that one subscriber has (RFC 6177): one client can take any address in it.
const ipv6Bits = 64

// ClientOf returns what is taken for one client: an address of IPv4, the /64 of one of IPv6.
func ClientOf(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if a.Is4() || !a.IsValid() {
		return a
	}
	b := a.As16()
	clear(b[ipv6Bits/8:])
	return netip.AddrFrom16(b)
}

const shards = 16

// Connections counts the connections that clients have open.
type Connections struct {
	shards [shards]struct {
		mu   sync.Mutex
		open map[netip.Addr]int
	}
}

// NewConnections returns Connections of which none is open.
func NewConnections() *Connections {
	c := new(Connections)
	for i := range c.shards {
		c.shards[i].open = make(map[netip.Addr]int)
	}
	return c
}

// Open counts one more connection of the client at a, if it has fewer than most. What it returns is to be
// called once, when the connection has ended; later calls do nothing.
func (c *Connections) Open(a netip.Addr, most int) (release func(), ok bool) {
	client := ClientOf(a)
	b := client.As16()
	s := &c.shards[(b[15]^b[7]^b[6]^b[5])%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[client] >= most {
		return func() {}, false
	}
	s.open[client]++
	var once sync.Once
	return func() {
		once.Do(func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.open[client]--; s.open[client] == 0 {
				delete(s.open, client)
			}
		})
	}, true
}

// Clients returns how many clients have connections open.
func (c *Connections) Clients() int {
	n := 0
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		n += len(s.open)
		s.mu.Unlock()
	}
	return n
}
