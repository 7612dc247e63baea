package edge

import (
	"io"
	"net/http"
	"net/http/httputil"

	"github.com/weir-stream/weir/internal/cdn"
	"github.com/weir-stream/weir/internal/cdn/edge/message"
)

// upgrade passes a request that turns its connection into something else, such as a WebSocket (RFC 9110 §7.8).
// The row is made when that ends; it counts what went to the viewer.
func (x *exchange) upgrade() {
	x.row.CacheStatus = string(cdn.Bypass)
	x.status = message.CacheStatus{Forward: message.Bypass}
	if err := x.h.passes.acquire(x.r.Context()); err != nil {
		x.refused(err)
		return
	}
	defer x.h.passes.release()
	proxy := httputil.ReverseProxy{
		Transport: x.h.origin,
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL = message.OriginURL(x.h.originURL, x.target)
			p.Out.Host = x.h.originURL.Host
			header := x.rule.forwarded(x.r)
			for _, name := range []string{"Connection", "Upgrade"} {
				header[name] = p.Out.Header[name]
			}
			p.Out.Header = header
		},
		ModifyResponse: func(r *http.Response) error {
			x.row.OriginStatus = r.StatusCode
			return nil
		},
		ErrorHandler: func(_ http.ResponseWriter, _ *http.Request, err error) { x.fail(err) },
	}
	proxy.ServeHTTP(upgradeWriter{&x.w}, x.r)
}

// upgradeWriter lets the proxy take the connection.
type upgradeWriter struct{ *output }

func (w upgradeWriter) ReadFrom(r io.Reader) (int64, error) {
	return io.Copy(struct{ io.Writer }{w.output}, r)
}
