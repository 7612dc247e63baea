package e2e

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/weir-stream/weir/internal/httpserver/certs/certstest"
	"github.com/weir-stream/weir/test/load/origin"
)

// The configuration changes again and again while viewers ask and download: none of them fails, and what it says
// counts for the next request.
func TestEdgeReloadsUnderLoad(t *testing.T) {
	source, err := origin.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	e := serveEdge(t, source.URL(), "")
	v := newViewing(t, "http://"+e.public)
	path := origin.Path(100_000, "a")
	body := origin.Content(path)
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	for range 8 {
		running.Go(func() {
			for tick := time.NewTicker(10 * time.Millisecond); ctx.Err() == nil; <-tick.C {
				_, err := v.get(path, body, 0)
				v.note(err)
			}
		})
	}
	for i := range 2 {
		running.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				slow := origin.SlowPath(0, 2<<20, 2<<20, fmt.Sprint(i, "-", n))
				_, err := v.get(slow, origin.Content(slow), 0)
				v.note(err)
			}
		})
	}
	for n := range 20 {
		cors := n%2 == 0
		e.reload(fmt.Sprintf("cdn: {edge: {max_fetches: %d, rules: [{path: /, forward: object, cors: %v}]}}\n", 50+n, cors), n+1)
		response, err := http.Get(fmt.Sprintf("%s/none/%d", v.base, n)) // of its own: what is in the cache has the header of before
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if got := response.Header.Get("Access-Control-Allow-Origin") == "*"; got != cors {
			t.Errorf("reload %d: CORS %v, want %v", n+1, got, cors)
		}
		time.Sleep(100 * time.Millisecond) // in which viewers ask under these rules
	}
	stop()
	running.Wait()
	t.Logf("%d requests over 20 reloads, %d failures", v.requests.Load(), v.failures.Load())
	for _, failure := range v.told {
		t.Error(failure)
	}
}

// status asks for a path and returns the status.
func (e *edge) status(path string) int {
	e.t.Helper()
	response, err := http.Get("http://" + e.public + path)
	if err != nil {
		e.t.Fatal(err)
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
	return response.StatusCode
}

// Each part of the configuration that counts without a restart, one after the other.
func TestEdgeReload(t *testing.T) {
	var sources []*origin.Origin
	for range 2 {
		source, err := origin.Listen("127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer source.Close()
		sources = append(sources, source)
	}
	e := serveEdge(t, sources[0].URL(), "")
	path := origin.Path(1000, "a")
	if s := e.status(path); s != http.StatusOK {
		t.Fatalf("status %d", s)
	}

	// Access, with a secret from a file.
	secret := filepath.Join(e.dir(), "secret")
	if err := os.WriteFile(secret, []byte(strings.Repeat("s", 40)), 0o600); err != nil {
		t.Fatal(err)
	}
	e.reload(fmt.Sprintf("cdn: {access: {rules: [{path: /, token: {keys: [{id: k1, secret: {file: %s}}]}}]}}\n", secret), 1)
	if s := e.status(path); s != http.StatusForbidden {
		t.Errorf("with a rule that asks for a token: status %d", s)
	}

	// What is wrong changes nothing, and is named.
	for i, wrong := range []struct{ settings, want string }{
		{"cdn: {access: {rules: [{pathh: /}]}}\n", `unknown key \"cdn.access.rules[0].pathh\"`},
		{"cdn: {access: {rules: [{path: /, token: {keys: [{id: k1, secret: {file: /not/there}}]}}]}}\n", "/not/there"},
		{"cdn: {upstream: {origins: [{url: 'ftp://a'}]}}\n", "ftp://a"},
		{"cdn: {edge: {rules: [{path: /a/, forward: object}]}}\n", "rules has none for /"},
		{"log: {level: loud}\n", "loud"},
		{"cdn: {access: {rules: []}, upstream: {origins: [{url: 'http://127.0.0.1:1', headers: [{name: X-Secret, file: /not/here}]}]}}\n", "/not/here"},
	} {
		e.configure(e.dir(), wrong.settings)
		e.signal(syscall.SIGHUP)
		line := e.awaitLine(`msg="the configuration was read again and cannot be used[^\n]*`, i+1)
		if !strings.Contains(line[0], wrong.want) {
			t.Errorf("%q is not in %s", wrong.want, line[0])
		}
		if s := e.status(path); s != http.StatusForbidden {
			t.Errorf("after a file that is wrong: status %d", s)
		}
	}

	// What needs a restart is named; the rest counts.
	e.configure(e.dir(), "log: {level: debug}\ncdn: {cache: {disk_bytes: 1073741824}, edge: {slice_bytes: 1048576}}\nnode: {id: other}\n")
	e.signal(syscall.SIGHUP)
	line := e.awaitLine(`takes effect with a restart only[^\n]*`, 1)
	for _, want := range []string{`changed="cdn.access.rules log.level"`, `needs_restart="cdn.cache.disk_bytes cdn.edge.slice_bytes node.id"`} {
		if !strings.Contains(line[0], want) {
			t.Errorf("%s is not in %s", want, line[0])
		}
	}
	if s := e.status(path); s != http.StatusOK {
		t.Errorf("without access rules: status %d", s)
	}

	// Another origin, from the file: the one of the command line is asked only when it cannot be.
	if sources[0].Take().Requests == 0 || sources[1].Take().Requests != 0 {
		t.Error("the origin was not asked")
	}
	if err := sources[0].Set(origin.Refuses); err != nil {
		t.Fatal(err)
	}
	e.configure(e.dir(), fmt.Sprintf("cdn: {upstream: {origins: [{url: '%s'}]}}\n", sources[1].URL()))
	e.signal(syscall.SIGHUP)
	e.awaitLine(`changed="cdn.upstream.origins log.level"`, 1)
	for i := range 4 {
		if s := e.status(origin.Path(1000, fmt.Sprint("b", i))); s != http.StatusOK {
			t.Errorf("with another origin: status %d", s)
		}
	}
	if sources[1].Take().Requests == 0 {
		t.Error("the other origin was not asked")
	}
}

// A certificate that has been replaced is used by the next handshake; connections that are open go on.
func TestEdgeReloadsCertificates(t *testing.T) {
	source, err := origin.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	authority := certstest.NewAuthority(t)
	dir := t.TempDir()
	certificate, key := authority.Write(t, dir, "site", "127.0.0.1")
	settings := fmt.Sprintf("public: {tls: {certificates: [{certificate: %s, key: %s}]}}\n", certificate, key)
	e := serveEdge(t, source.URL(), settings)
	serial := func() string {
		c, err := tls.Dial("tcp", e.public, &tls.Config{RootCAs: authority.Pool})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: authority.Pool}}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	ask := func() string {
		response, err := client.Get("https://" + e.public + origin.Path(1000, "a"))
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		_, _ = io.Copy(io.Discard, response.Body)
		return response.TLS.PeerCertificates[0].SerialNumber.String()
	}
	before := serial()
	if ask() != before {
		t.Error("two connections have two certificates")
	}
	authority.Write(t, dir, "site", "127.0.0.1")
	e.reload(settings, 1)
	after := serial()
	if after == before {
		t.Error("the next handshake has the certificate of before")
	}
	if got := ask(); got != before {
		t.Errorf("the open connection has certificate %s, want %s", got, before)
	}
	// One that cannot be used changes nothing.
	if err := os.WriteFile(key, []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	e.signal(syscall.SIGHUP)
	line := e.awaitLine(`msg="the configuration was read again and cannot be used[^\n]*`, 1)
	if !strings.Contains(line[0], "public.tls: certificate "+certificate) {
		t.Error(line[0])
	}
	if serial() != after {
		t.Error("a key that cannot be used has changed something")
	}
}
