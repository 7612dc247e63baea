package challenge

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gaissmai/bart"
)

// MaxNetworks bounds how many networks can be challenged at a time.
const MaxNetworks = 4096

// Networks are those whose clients are challenged, each until a moment. Reading takes no lock.
type Networks struct {
	mu     sync.Mutex
	table  atomic.Pointer[bart.Table[time.Time]] // nil: none
	missed atomic.Uint64
}

// Any reports whether any network is challenged.
func (n *Networks) Any() bool { return n.table.Load() != nil }

// Add challenges p until a moment. It is false if there are as many as can be.
func (n *Networks) Add(p netip.Prefix, until, now time.Time) bool {
	p = unmapped(p)
	n.mu.Lock()
	defer n.mu.Unlock()
	t := n.table.Load()
	if t == nil {
		t = new(bart.Table[time.Time])
	} else if t.Size() >= MaxNetworks {
		if _, there := t.Get(p); !there {
			if t = without(t, func(_ netip.Prefix, until time.Time) bool { return !now.Before(until) }); t.Size() >= MaxNetworks {
				n.missed.Add(1)
				return false
			}
		}
	}
	n.table.Store(t.InsertPersist(p, until))
	return true
}

// Remove challenges p no more, nor what is in it, and reports whether any was.
func (n *Networks) Remove(p netip.Prefix) bool {
	p = unmapped(p)
	n.mu.Lock()
	defer n.mu.Unlock()
	t := n.table.Load()
	if t == nil {
		return false
	}
	left := without(t, func(q netip.Prefix, _ time.Time) bool { return p.Bits() <= q.Bits() && p.Contains(q.Addr()) })
	n.store(left)
	return left.Size() < t.Size()
}

func (n *Networks) store(t *bart.Table[time.Time]) {
	if t.Size() == 0 {
		t = nil
	}
	n.table.Store(t)
}

func without(t *bart.Table[time.Time], drop func(netip.Prefix, time.Time) bool) *bart.Table[time.Time] {
	left := new(bart.Table[time.Time])
	for p, until := range t.All() {
		if !drop(p, until) {
			left.Insert(p, until)
		}
	}
	return left
}

// Has reports whether clients at a are challenged.
func (n *Networks) Has(a netip.Addr, now time.Time) bool {
	t := n.table.Load()
	if t == nil || !a.IsValid() {
		return false
	}
	a = a.Unmap().WithZone("")
	until, ok := t.Lookup(a)
	if !ok || now.Before(until) {
		return ok
	}
	// The narrowest network has expired, a wider one may not have.
	for _, until := range t.Supernets(netip.PrefixFrom(a, a.BitLen())) {
		if now.Before(until) {
			return true
		}
	}
	return false
}

// Sweep forgets the networks that are challenged no more.
func (n *Networks) Sweep(now time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if t := n.table.Load(); t != nil {
		n.store(without(t, func(_ netip.Prefix, until time.Time) bool { return !now.Before(until) }))
	}
}

// List returns the networks that are challenged at now, and until when.
func (n *Networks) List(now time.Time) map[netip.Prefix]time.Time {
	list := make(map[netip.Prefix]time.Time)
	if t := n.table.Load(); t != nil {
		for p, until := range t.All() {
			if now.Before(until) {
				list[p] = until
			}
		}
	}
	return list
}

// Missed returns how many networks were not challenged for want of room.
func (n *Networks) Missed() uint64 { return n.missed.Load() }

func unmapped(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p.Masked()
}
