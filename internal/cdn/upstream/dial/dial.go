// Package dial makes the connections to one origin: how it is verified, by which proxy it is reached, how
// many connections there are and how long each took.
package dial

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"time"
)

const (
	proxyEnvironment = "environment"
	maxHeadBytes     = 256 << 10
	readBufferBytes  = 16 << 10
	http2Idle        = 15 * time.Second
	http2Ping        = 5 * time.Second
)

// ValidateProxy reports whether proxy cannot be one.
func ValidateProxy(proxy string) error {
	_, err := proxyOf(proxy)
	return err
}

// proxyOf returns how a proxy is chosen, nil if there is none.
func proxyOf(proxy string) (func(*http.Request) (*url.URL, error), error) {
	switch proxy {
	case "":
		return nil, nil
	case proxyEnvironment:
		return http.ProxyFromEnvironment, nil
	}
	u, err := url.Parse(proxy)
	if err != nil || u.Host == "" || !slices.Contains([]string{"http", "https", "socks5", "socks5h"}, u.Scheme) {
		// It may hold a password, so it is not shown.
		return nil, fmt.Errorf("proxy is no URL of a proxy; one such as http://proxy.example:3128, socks5://proxy.example or environment is expected")
	}
	return http.ProxyURL(u), nil
}

// Settings are what a transport is made of.
type Settings struct {
	Proxy          string
	ConnectTimeout time.Duration // for connecting, and for the TLS handshake after it
	IdleTimeout    time.Duration
	MaxConnections int
	MaxIdle        int
	HTTP2          bool
	TLS            TLS
}

// Transport returns a transport for one origin, and a digest of what it was made of: the settings and the
// files that they name. How long the head of an answer may take is the caller's: its context ends.
func (c Settings) Transport() (*http.Transport, string, error) {
	proxy, err := proxyOf(c.Proxy)
	if err != nil {
		return nil, "", err
	}
	config, digest, err := c.TLS.load()
	if err != nil {
		return nil, "", err
	}
	fmt.Fprintf(digest, "%+v", c)
	dialer := &net.Dialer{Timeout: c.ConnectTimeout} // asks the resolver each time, tries all addresses (RFC 8305)
	t := &http.Transport{
		Proxy: proxy,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			start := time.Now()
			conn, err := dialer.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return newConn(conn, start), nil
		},
		TLSClientConfig:        config,
		TLSHandshakeTimeout:    c.ConnectTimeout,
		DisableCompression:     true, // what the origin sends is what is kept
		MaxIdleConns:           c.MaxIdle,
		MaxIdleConnsPerHost:    c.MaxIdle,
		MaxConnsPerHost:        c.MaxConnections,
		IdleConnTimeout:        c.IdleTimeout,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: maxHeadBytes,
		ReadBufferSize:         readBufferBytes,
		Protocols:              new(http.Protocols),
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: http2Idle, PingTimeout: http2Ping},
	}
	t.Protocols.SetHTTP1(true)
	t.Protocols.SetHTTP2(c.HTTP2)
	return t, string(digest.Sum(nil)), nil
}

// Conn is a connection that knows how long it took.
type Conn struct {
	net.Conn
	Remote    netip.AddrPort
	Connected time.Time     // when it was there, before any TLS handshake
	Connect   time.Duration // with the resolution of the name
}

// Of returns the connection that c is or encrypts, nil if it was not made here; secure says that it is
// encrypted.
func Of(c net.Conn) (made *Conn, secure bool) {
	if encrypted, ok := c.(*tls.Conn); ok {
		c, secure = encrypted.NetConn(), true
	}
	made, _ = c.(*Conn)
	return made, secure
}

func newConn(c net.Conn, start time.Time) *Conn {
	now := time.Now()
	made := &Conn{Conn: c, Connected: now, Connect: now.Sub(start)}
	if tcp, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		address := tcp.AddrPort()
		made.Remote = netip.AddrPortFrom(address.Addr().Unmap(), address.Port())
	}
	return made
}
