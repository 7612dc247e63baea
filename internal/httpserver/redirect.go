package httpserver

import (
	"net"
	"net/http"
	"strconv"
)

// redirect sends everybody to the same place over TLS, on the port that port returns.
func redirect(port func() int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
			if net.ParseIP(host) != nil && host[0] != '[' {
				host = bracketed(host)
			}
		}
		if host == "" {
			http.Error(w, "this server is reached over TLS; the request names no host to redirect to", http.StatusBadRequest)
			return
		}
		if p := port(); p != 443 {
			host += ":" + strconv.Itoa(p)
		}
		// 308 keeps the method; what only reads may have what every client knows.
		code := http.StatusPermanentRedirect
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			code = http.StatusMovedPermanently
		}
		w.Header().Set("Connection", "close")
		http.Redirect(w, r, "https://"+host+r.URL.RequestURI(), code)
	})
}

// bracketed returns a literal address as it is written in a URL.
func bracketed(address string) string {
	if ip := net.ParseIP(address); ip != nil && ip.To4() == nil {
		return "[" + address + "]"
	}
	return address
}
