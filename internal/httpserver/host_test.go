package httpserver_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/weir-stream/weir/internal/httpserver"
)

func TestForeignHost(t *testing.T) {
	for _, c := range []struct {
		local, host string
		want        bool
	}{
		{"127.0.0.1:8090", "localhost:8090", false},
		{"127.0.0.1:8090", "LOCALHOST.", false},
		{"127.0.0.1:8090", "weir.localhost:8090", false},
		{"127.0.0.1:8090", "127.0.0.1:8090", false},
		{"[::1]:8090", "[::1]:8090", false},
		{"[::1]:8090", "[::1]", false},
		{"127.0.0.1:8090", "", false}, // HTTP/1.0, which no browser speaks
		{"127.0.0.1:8090", "pages.example:8090", true},
		{"127.0.0.1:8090", "localhost.pages.example", true},
		{"127.0.0.1:8090", "127.0.0.1.pages.example:8090", true},
		{"[::1]:8090", "pages.example", true},
		{"192.0.2.1:8090", "weir.example:8090", false}, // it is reached by its name from elsewhere
	} {
		local, err := net.ResolveTCPAddr("tcp", c.local)
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Host = c.host
		r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, net.Addr(local)))
		if got := httpserver.ForeignHost(r); got != c.want {
			t.Errorf("%q asked of %s: foreign %v, want %v", c.host, c.local, got, c.want)
		}
	}
}
