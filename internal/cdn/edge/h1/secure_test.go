package h1_test

import (
	"crypto/tls"
	"io"
	"net/http"
	"testing"

	"github.com/weir-stream/weir/internal/cdn/edge/h1"
)

// hitter answers every path but /handled.
type onlyHit struct{}

func (onlyHit) Hit(r *h1.Request, a *h1.Answer) bool {
	a.Head = []byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n")
	a.Body = []byte("ok")
	return string(r.Path) != "/handled"
}

func TestAnswersOverTLSHaveTheirFields(t *testing.T) {
	for _, secure := range []bool{true, false} {
		e := start(t, func(e *edge) {
			if secure {
				e.tls = certificate(t)
			}
			e.Hitter = onlyHit{}
			e.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
			e.Secure = func() []string { return []string{"Strict-Transport-Security", "max-age=60", "Alt-Svc", `h3=":443"`} }
		})
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} //nolint:gosec // the test's own certificate
		t.Cleanup(client.CloseIdleConnections)
		scheme := "http"
		if secure {
			scheme = "https"
		}
		for _, path := range []string{"/hit", "/handled"} {
			response, err := client.Get(scheme + "://" + e.addr + path)
			if err != nil {
				t.Fatal(err)
			}
			response.Body.Close()
			if got := response.Header.Get("Strict-Transport-Security") == "max-age=60" && response.Header.Get("Alt-Svc") != ""; got != secure {
				t.Errorf("%s over %s: %v", path, scheme, response.Header)
			}
		}
	}
}
