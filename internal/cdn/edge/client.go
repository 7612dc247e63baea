package edge

import (
	"net/http"
	"net/netip"
	"strings"
)

// client returns the address of the viewer who sent r, and its port if that is known. A proxy that the
// configuration trusts is believed about whom it speaks for; of a chain, the last address that is not
// such a proxy counts, because everything before it can be invented.
func (h *Handler) client(r *http.Request) (netip.Addr, uint16) {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}, 0
	}
	address := peer.Addr().Unmap().WithZone("")
	proxies := h.table.Load().cfg.TrustedProxies
	if len(proxies) == 0 || !trusted(proxies, address) {
		return address, peer.Port()
	}
	lines := r.Header["X-Forwarded-For"]
	for i := len(lines) - 1; i >= 0; i-- {
		for line := lines[i]; line != ""; {
			var last string
			if comma := strings.LastIndexByte(line, ','); comma >= 0 {
				line, last = line[:comma], line[comma+1:]
			} else {
				line, last = "", line
			}
			forwarded, port, ok := parseForwarded(strings.TrimSpace(last))
			if !ok {
				return address, 0
			}
			address = forwarded
			if !trusted(proxies, address) {
				return address, port
			}
		}
	}
	if address == peer.Addr().Unmap().WithZone("") {
		return address, peer.Port()
	}
	return address, 0
}

func trusted(proxies []netip.Prefix, a netip.Addr) bool {
	for _, p := range proxies {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// parseForwarded parses a member of X-Forwarded-For: an address, with or without a port.
func parseForwarded(s string) (netip.Addr, uint16, bool) {
	if a, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return a.Unmap().WithZone(""), 0, true
	}
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr().Unmap().WithZone(""), ap.Port(), true
	}
	return netip.Addr{}, 0, false
}
