package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/quic-go/quic-go/http3"

	"github.com/weir-stream/weir/internal/httpserver/certs/certstest"
)

// site is an origin with a page, what the page loads, and a large object.
func site(t *testing.T) *httptest.Server {
	t.Helper()
	started := time.Now().Add(-time.Hour).Truncate(time.Second)
	objects := map[string][]byte{
		"/":          []byte(`<!doctype html><link rel="icon" href="data:,"><script src="/app.js"></script><body>loading`),
		"/app.js":    []byte(`fetch('/large').then(r => r.arrayBuffer()).then(b => { document.body.textContent = 'loaded ' + b.byteLength; });`),
		"/large":     bytes.Repeat([]byte("0123456789abcdef"), 3<<16),
		"/vip/large": bytes.Repeat([]byte("fedcba9876543210"), 3<<10),
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, ok := objects[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Cache-Control", "max-age=3600")
		w.Header().Set("ETag", fmt.Sprintf(`"%x"`, sha256.Sum256(body)))
		http.ServeContent(w, r, map[string]string{"/": "index.html", "/app.js": "app.js"}[r.URL.Path], started, bytes.NewReader(body))
	}))
	t.Cleanup(server.Close)
	return server
}

// secured is an edge with TLS in front of a site.
type secured struct {
	*edge
	authority   *certstest.Authority
	certificate string
	redirect    string // address of the listener without TLS
	secret      string // file
}

func serveSecured(t *testing.T) *secured {
	t.Helper()
	s := &secured{authority: certstest.NewAuthority(t)}
	dir := t.TempDir()
	certificate, key := s.authority.Write(t, dir, "site", "127.0.0.1")
	s.certificate, s.secret = certificate, filepath.Join(dir, "secret")
	if err := os.WriteFile(s.secret, []byte(strings.Repeat("0123456789", 4)), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.redirect = l.Addr().String()
	_ = l.Close()
	s.edge = serveEdge(t, site(t).URL, fmt.Sprintf(`
public:
  tls:
    certificates: [{certificate: %s, key: %s}]
    hsts: 24h
    redirect: %s
cdn:
  access:
    rules:
      - path: /vip/
        token: {keys: [{id: k1, secret: {file: %s}}]}
`, certificate, key, s.redirect, s.secret))
	return s
}

// clients returns one for each protocol.
func (s *secured) clients(t *testing.T) map[string]*http.Client {
	t.Helper()
	all := make(map[string]*http.Client)
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	for name, second := range map[string]bool{"HTTP/1.1": false, "HTTP/2.0": true} {
		protocols := new(http.Protocols)
		protocols.SetHTTP1(!second)
		protocols.SetHTTP2(second)
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.authority.Pool}, Protocols: protocols, DisableCompression: true}
		t.Cleanup(transport.CloseIdleConnections)
		all[name] = &http.Client{Transport: transport, CheckRedirect: stay, Timeout: 20 * time.Second}
	}
	transport := &http3.Transport{TLSClientConfig: &tls.Config{RootCAs: s.authority.Pool}, DisableCompression: true}
	t.Cleanup(func() { _ = transport.Close() })
	all["HTTP/3.0"] = &http.Client{Transport: transport, CheckRedirect: stay, Timeout: 20 * time.Second}
	return all
}

// answered is an answer with its body.
type answered struct {
	*http.Response
	body []byte
}

func ask(t *testing.T, client *http.Client, url string, fields ...string) answered {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(fields); i += 2 {
		request.Header.Set(fields[i], fields[i+1])
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answered{response, body}
}

// Every protocol gives the same.
func TestEdgeOverTLS(t *testing.T) {
	s := serveSecured(t)
	base := "https://" + s.public
	want := bytes.Repeat([]byte("0123456789abcdef"), 3<<16)
	for round, cached := range []string{"", "; hit"} {
		for protocol, client := range s.clients(t) {
			whole := ask(t, client, base+"/large")
			if whole.Proto != protocol || whole.StatusCode != http.StatusOK || !bytes.Equal(whole.body, want) {
				t.Errorf("%s: %s %s, %d bytes", protocol, whole.Proto, whole.Status, len(whole.body))
			}
			if round > 0 && !strings.Contains(whole.Header.Get("Cache-Status"), cached) {
				t.Errorf("%s: Cache-Status %s", protocol, whole.Header.Get("Cache-Status"))
			}
			if got := whole.Header.Get("Strict-Transport-Security"); got != "max-age=86400" {
				t.Errorf("%s: Strict-Transport-Security %q", protocol, got)
			}
			if got := whole.Header.Get("Alt-Svc"); protocol != "HTTP/3.0" && !strings.HasPrefix(got, `h3=":`) {
				t.Errorf("%s: Alt-Svc %q", protocol, got)
			}
			for _, part := range []struct {
				asked    string
				from, to int
			}{{"bytes=100-4099", 100, 4100}, {"bytes=-10", len(want) - 10, len(want)}, {"bytes=1000000-", 1000000, len(want)}} {
				a := ask(t, client, base+"/large", "Range", part.asked)
				if a.StatusCode != http.StatusPartialContent || !bytes.Equal(a.body, want[part.from:part.to]) ||
					a.Header.Get("Content-Range") != fmt.Sprintf("bytes %d-%d/%d", part.from, part.to-1, len(want)) {
					t.Errorf("%s: %s: %s, %s, %d bytes", protocol, part.asked, a.Status, a.Header.Get("Content-Range"), len(a.body))
				}
			}
			if a := ask(t, client, base+"/large", "Range", "bytes=9999999-"); a.StatusCode != http.StatusRequestedRangeNotSatisfiable {
				t.Errorf("%s: a range after the end: %s", protocol, a.Status)
			}
			for _, condition := range [][2]string{{"If-None-Match", whole.Header.Get("Etag")}, {"If-Modified-Since", whole.Header.Get("Last-Modified")}} {
				a := ask(t, client, base+"/large", condition[0], condition[1])
				if a.StatusCode != http.StatusNotModified || len(a.body) != 0 {
					t.Errorf("%s: %s: %s, %d bytes", protocol, condition[0], a.Status, len(a.body))
				}
			}
		}
	}
	plain := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	a := ask(t, plain, "http://"+s.redirect+"/large?a=b%20c")
	if a.StatusCode/100 != 3 || a.Header.Get("Location") != base+"/large?a=b%20c" {
		t.Errorf("without TLS: %s, Location %s, want %s/large?a=b%%20c", a.Status, a.Header.Get("Location"), base)
	}
	if got := a.Header.Get("Strict-Transport-Security"); got != "" {
		t.Errorf("without TLS there is a Strict-Transport-Security (RFC 6797 §7.2): %s", got)
	}
}

// What is signed by the command is let in, over every protocol, and nothing else is.
func TestEdgeTokens(t *testing.T) {
	s := serveSecured(t)
	program, err := filepath.Abs(*binary)
	if err != nil {
		t.Fatal(err)
	}
	base := "https://" + s.public
	sign := exec.Command(program, "sign", "token", base+"/vip/large", "--prefix", "/vip/", "--key-id", "k1", "--key-file", s.secret)
	sign.Env = cleanEnvironment()
	out, err := sign.Output()
	if err != nil {
		t.Fatal(err)
	}
	signed := strings.TrimSpace(string(out))
	want := bytes.Repeat([]byte("fedcba9876543210"), 3<<10)
	last := signed[len(signed)-2:]
	changed := strings.TrimSuffix(signed, last) + map[bool]string{true: "BA", false: "AA"}[last == "AA"]
	for protocol, client := range s.clients(t) {
		for range 2 { // from the origin, or from the cache
			if a := ask(t, client, signed); a.StatusCode != http.StatusOK || !bytes.Equal(a.body, want) {
				t.Errorf("%s: %s, %d bytes", protocol, a.Status, len(a.body))
			}
		}
		for name, url := range map[string]string{"a changed token": changed, "none": base + "/vip/large", "another path": strings.Replace(signed, "/vip/", "/vip/../vip/%2e%2e/vip/", 1) + "x"} {
			a := ask(t, client, url)
			if a.StatusCode != http.StatusForbidden || bytes.Contains(a.body, want[:16]) {
				t.Errorf("%s: %s: %s, %q", protocol, name, a.Status, a.body)
			}
		}
	}
	for _, reason := range []string{"token-signature", "token-missing"} {
		if n := s.metric(`weir_cdn_access_refused_total{reason="` + reason + `"}`); n != "3" {
			t.Errorf("%s requests were refused with %s, want 3", n, reason)
		}
	}
	if n := s.metric("weir_cdn_access_allowed_total"); n != "6" {
		t.Errorf("%s requests were allowed, want 6", n)
	}
}

// A browser loads a page over HTTP/2, and over HTTP/3 if it is told to.
func TestEdgeInABrowser(t *testing.T) {
	s := serveSecured(t)
	text, err := os.ReadFile(s.certificate)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
	for protocol, flag := range map[string]chromedp.ExecAllocatorOption{
		"h2": chromedp.Flag("disable-quic", true),
		"h3": chromedp.Flag("origin-to-force-quic-on", s.public),
	} {
		t.Run(protocol, func(t *testing.T) {
			options := []chromedp.ExecAllocatorOption{
				chromedp.NoFirstRun, chromedp.NoDefaultBrowserCheck, chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU,
				chromedp.UserDataDir(t.TempDir()), chromedp.Flag("disable-background-networking", true),
				chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true), chromedp.Flag("disable-dev-shm-usage", true),
				chromedp.Flag("ignore-certificate-errors-spki-list", base64.StdEncoding.EncodeToString(sum[:])), flag,
			}
			allocator, cancel := chromedp.NewExecAllocator(context.Background(), options...)
			defer cancel()
			ctx, cancelBrowser := chromedp.NewContext(allocator)
			defer cancelBrowser()
			if err := chromedp.Do(ctx, chromedp.Navigate("https://"+s.public+"/")); err != nil {
				t.Fatal(err)
			}
			waitFor(t, 20*time.Second, "the page", func() error {
				body, err := evaluate[string](ctx, "document.body.textContent")
				if err == nil && body != "loaded 3145728" {
					err = fmt.Errorf("it says %q", body)
				}
				return err
			})
			used, err := evaluate[[]string](ctx, `[...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]
				.filter(e => !e.name.startsWith('data:')).map(e => e.nextHopProtocol)`)
			if err != nil {
				t.Fatal(err)
			}
			for _, got := range used {
				if got != protocol {
					t.Errorf("the page came over %v, want %s", used, protocol)
					break
				}
			}
			if len(used) != 3 {
				t.Errorf("%d objects were loaded, want 3", len(used))
			}
		})
	}
}
