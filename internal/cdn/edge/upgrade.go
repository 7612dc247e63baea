package edge

import (
	"bufio"
	"cmp"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"sync/atomic"
	"time"

	"github.com/weir-stream/weir/internal/cdn"
	"github.com/weir-stream/weir/internal/cdn/edge/message"
)

// farewell is how long a viewer may keep a connection that the origin has ended.
const farewell = 5 * time.Second

// upgrade passes a request that turns its connection into something else, such as a WebSocket (RFC 9110 §7.8).
// The row is made when that ends; it counts what went to the viewer.
func (x *exchange) upgrade() {
	x.row.CacheStatus = string(cdn.Bypass)
	// It may last for hours, so it has no place among what is answered and over.
	if err := x.h.upgrades.acquire(x.r.Context()); err != nil {
		x.refused(err)
		return
	}
	defer x.h.upgrades.release()
	ctx, cancel := context.WithCancelCause(x.r.Context())
	defer cancel(nil)
	defer context.AfterFunc(x.h.ctx, func() { cancel(errClosing) })()
	w := &upgradeWriter{output: &x.w}
	proxy := httputil.ReverseProxy{
		Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			response, fetch, err := x.h.ask(r, cancel, cdn.Uncacheable)
			x.fetch = fetch
			return response, err
		}),
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL = message.OriginURL(x.h.originURL, x.target)
			p.Out.Host = cmp.Or(x.target.Host, x.h.originURL.Host)
			header := x.rule.forwarded(x.r)
			for _, name := range []string{"Connection", "Upgrade"} {
				header[name] = p.Out.Header[name]
			}
			header["Via"] = append(header["Via"], x.h.via...)
			p.Out.Header = header
		},
		ErrorHandler: func(_ http.ResponseWriter, _ *http.Request, err error) {
			if x.r.Context().Err() != nil {
				x.row.Aborted = true
				return
			}
			x.fail(err)
		},
		ErrorLog: x.h.quiet,
	}
	defer func() {
		x.w.bytes += w.taken.Load()
		if x.fetch != nil && x.fetch.Status != 0 {
			x.fetch.End(x.h.now().Sub(x.fetch.Started))
		}
		switch p := recover(); p { // http.ErrAbortHandler itself says that an answer has broken off
		case nil:
		case http.ErrAbortHandler:
			x.broken = true
		default:
			panic(p)
		}
	}()
	proxy.ServeHTTP(w, x.r.WithContext(ctx))
}

// roundTrip is a function that asks the origin.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// upgradeWriter lets the proxy take the connection, and counts what goes to the viewer then.
type upgradeWriter struct {
	*output
	taken atomic.Int64
}

func (w *upgradeWriter) ReadFrom(r io.Reader) (int64, error) {
	return io.Copy(struct{ io.Writer }{w.output}, r)
}

// Hijack implements [http.Hijacker].
func (w *upgradeWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, buffered, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	w.status, w.first = http.StatusSwitchingProtocols, w.now()
	return &upgradedConn{c, &w.taken}, buffered, nil
}

// upgradedConn is the connection to the viewer after 101.
type upgradedConn struct {
	net.Conn
	taken *atomic.Int64
}

func (c *upgradedConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.taken.Add(int64(n))
	return n, err
}

// CloseWrite ends the direction to the viewer, who has a while to end the other. Without that, what it has not read
// yet might be lost.
func (c *upgradedConn) CloseWrite() error {
	_ = c.SetReadDeadline(time.Now().Add(farewell))
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return http.ErrNotSupported
}
