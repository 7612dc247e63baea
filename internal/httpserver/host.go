package httpserver

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// RefuseForeignHosts answers 403 where [ForeignHost] says so, and leaves the rest to next.
func RefuseForeignHosts(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if ForeignHost(r) {
			http.Error(w, "this listener is for its own machine and answers only to localhost or an IP address", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// ForeignHost reports whether a request came to a loopback address under a name that is not this
// machine's own. A page of any site can let its name lead to 127.0.0.1 (DNS rebinding) and is then of
// the same origin as whatever listens there, so what protects nothing but its address must refuse
// such requests. Names that no page can have, which are addresses and "localhost", are never foreign.
func ForeignHost(r *http.Request) bool {
	var local net.IP
	switch address := r.Context().Value(http.LocalAddrContextKey).(type) {
	case *net.TCPAddr:
		local = address.IP
	case *net.UDPAddr: // HTTP/3
		local = address.IP
	}
	if !local.IsLoopback() {
		return false
	}
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil || host == "" {
		return false
	}
	return host != "localhost" && !strings.HasSuffix(host, ".localhost")
}
