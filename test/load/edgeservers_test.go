package load

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weir-stream/weir/internal/cdn/access/token"
	"github.com/weir-stream/weir/test/load/origin"
)

// The addresses of the namespace, where all ports are free.
const (
	edgeOriginAddress  = "127.0.0.1:18080"
	edgeServerAddress  = "127.0.0.1:18100"
	edgePrivateAddress = "127.0.0.1:18101"
)

// edgeServer is a caching server that can be started.
type edgeServer struct {
	name  string
	nginx bool
	tls   bool
	// files is what its folder has, by name; @DIR@ in it is the folder, @SHM@ one in memory.
	files map[string]string
	args  []string
	env   []string
}

// running is one that has been started.
type running struct {
	edgeServer
	pids []int
	dir  string
	stop func()
}

func (s edgeServer) scheme() string {
	if s.tls {
		return "https"
	}
	return "http"
}

func (s edgeServer) url(path, query string) string {
	return s.scheme() + "://" + edgeServerAddress + path + "?" + query
}

// start starts it on the server's core and waits until it answers.
func (s edgeServer) start(t *testing.T, visit edgeVisitor) *running {
	t.Helper()
	dir, err := os.MkdirTemp("", "weirload")
	if err != nil {
		t.Fatal(err)
	}
	shm, err := os.MkdirTemp("/dev/shm", "weirload")
	if err != nil {
		t.Fatal(err)
	}
	remove := func() { _ = os.RemoveAll(dir); _ = os.RemoveAll(shm) }
	t.Cleanup(remove)
	place := strings.NewReplacer("@DIR@", dir, "@SHM@", shm)
	// Some of them take another user's name.
	for _, folder := range []string{dir, shm} {
		if err := os.Chmod(folder, 0o755); err != nil { //nolint:gosec // nothing secret is in it
			t.Fatal(err)
		}
	}
	for name, content := range s.files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil { //nolint:gosec // as above
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(place.Replace(content)), 0o644); err != nil { //nolint:gosec // as above
			t.Fatal(err)
		}
	}
	args := []string{"-c", serverCore}
	for _, arg := range s.args {
		args = append(args, place.Replace(arg))
	}
	cmd := exec.Command("taskset", args...)
	cmd.Dir = dir
	// Nothing of the namespace's, and no settings.
	cmd.Env = slices.DeleteFunc(os.Environ(), func(entry string) bool { return strings.HasPrefix(entry, "WEIR_") })
	for _, variable := range s.env {
		cmd.Env = append(cmd.Env, place.Replace(variable))
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	log := new(bytes.Buffer)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { _ = cmd.Wait(); close(done) }()
	r := &running{edgeServer: s, dir: dir}
	stopped := false
	r.stop = func() {
		if stopped {
			return
		}
		stopped = true
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-done:
		case <-time.After(3 * time.Second):
		}
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // it and its children
		<-done
		remove()
		if t.Failed() {
			t.Logf("%s:\n%s", s.name, log)
		}
	}
	t.Cleanup(r.stop)
	for deadline := time.Now().Add(30 * time.Second); ; {
		status, err := get(s.url(origin.Path(1<<10, "ready"), visit.query(0)))
		if err == nil && status == http.StatusOK {
			break
		}
		select {
		case <-done:
			t.Fatalf("%s has ended: %s", s.name, log)
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not answer: %d %v\n%s", s.name, status, err, log)
		}
		time.Sleep(20 * time.Millisecond)
	}
	r.pids = tree(t, cmd.Process.Pid)
	prefer(t, r.pids)
	return r
}

// plainTLS believes every certificate.
var plainTLS = &tls.Config{InsecureSkipVerify: true} //nolint:gosec // the servers are those of the test

// plainClient asks for one thing at a time.
var plainClient = &http.Client{Timeout: time.Minute, Transport: &http.Transport{
	DisableKeepAlives: true, DisableCompression: true, TLSClientConfig: plainTLS,
}}

func get(url string) (status int, err error) { return getBy(plainClient, url) }

func getBy(client *http.Client, url string) (status int, err error) {
	resp, err := client.Get(url)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}

// warm asks for each path until the origin is not asked for any of them, which takes some servers more than once.
func (r *running) warm(t *testing.T, visit edgeVisitor, paths ...string) {
	t.Helper()
	client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableCompression: true, TLSClientConfig: plainTLS}}
	defer client.CloseIdleConnections()
	for range 5 {
		if _, err := originCounts(t.Context()); err != nil {
			t.Fatal(err)
		}
		for i, path := range paths {
			if status, err := getBy(client, r.url(path, visit.query(i))); err != nil || status != http.StatusOK {
				t.Fatalf("%s: %s: %d %v", r.name, path, status, err)
			}
		}
		counts, err := originCounts(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(counts) == 0 {
			return
		}
	}
}

// nginxWith returns nginx as a cache in front of the origin, with settings for the server block. One worker.
func nginxWith(name, zone, settings string) edgeServer {
	const conf = `daemon off; worker_processes 1; pid @DIR@/pid; error_log @DIR@/error.log; user root;
events { worker_connections 65536; }
http {
  access_log off; sendfile on; tcp_nopush on; tcp_nodelay on; keepalive_requests 100000000; keepalive_timeout 300; default_type video/mp4;
  proxy_cache_path @DIR@/cache levels=1:2 keys_zone=disk:10m max_size=4g inactive=60m use_temp_path=off;
  proxy_cache_path @SHM@/cache levels=1:2 keys_zone=memory:10m max_size=4g inactive=60m use_temp_path=off;
  proxy_temp_path @DIR@/t1; client_body_temp_path @DIR@/t2; fastcgi_temp_path @DIR@/t3; uwsgi_temp_path @DIR@/t4; scgi_temp_path @DIR@/t5;
  proxy_http_version 1.1; proxy_set_header Connection ""; proxy_cache_lock on; proxy_cache_key $uri;
  add_header X-Cache $upstream_cache_status;
  ssl_certificate @DIR@/cert.pem; ssl_certificate_key @DIR@/key.pem; ssl_protocols TLSv1.3; ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;
  upstream origin { server ORIGIN; keepalive 32; }
  server { listen ADDRESS; SETTINGS location / { proxy_pass http://origin; proxy_cache ZONE; } }
}
`
	s := edgeServer{name: name, nginx: true, args: []string{"nginx", "-c", "@DIR@/nginx.conf", "-p", "@DIR@"}}
	address := edgeServerAddress
	if s.tls = strings.Contains(name, "TLS"); s.tls {
		address += " ssl http2"
	}
	s.files = map[string]string{"nginx.conf": strings.NewReplacer(
		"ORIGIN", edgeOriginAddress, "ADDRESS", address, "SETTINGS", settings, "ZONE", zone).Replace(conf)}
	withCertificate(s.files)
	return s
}

const (
	keepOpen  = "open_file_cache max=20000 inactive=300s; open_file_cache_valid 300s; "
	tunedTLS  = "sendfile off; output_buffers 4 256k; " + keepOpen
	plainHTTP = ""
)

// nginxPlain are the configurations of nginx that were best at one size or another.
func nginxPlain() []edgeServer {
	return []edgeServer{
		nginxWith("nginx disk", "disk", plainHTTP),
		nginxWith("nginx disk, open files, no nopush", "disk", keepOpen+"tcp_nopush off; "),
		nginxWith("nginx tmpfs, open files", "memory", keepOpen),
		nginxWith("nginx tmpfs, open files, no nopush", "memory", keepOpen+"tcp_nopush off; "),
	}
}

func nginxTLS() []edgeServer {
	return []edgeServer{
		nginxWith("nginx TLS", "memory", plainHTTP),
		nginxWith("nginx TLS, 16k buffers", "memory", tunedTLS+"ssl_buffer_size 16k; http2_chunk_size 16k; "),
		nginxWith("nginx TLS, 64k buffers", "memory", tunedTLS+"ssl_buffer_size 64k; http2_chunk_size 64k; "),
	}
}

// varnish keeps in memory. What is after the question mark is not of the key, as with the others.
func varnish(threads string) edgeServer {
	host, port, _ := net.SplitHostPort(edgeOriginAddress)
	return edgeServer{
		name: "varnish",
		files: map[string]string{"cache.vcl": fmt.Sprintf(`vcl 4.1;
backend default { .host = "%s"; .port = "%s"; }
sub vcl_hash { hash_data(regsub(req.url, "\?.*$", "")); return (lookup); }
`, host, port)},
		args: []string{
			"varnishd", "-F", "-j", "none", "-n", "@DIR@/varnish", "-a", edgeServerAddress, "-f", "@DIR@/cache.vcl", "-s", "malloc,3G",
			"-p", "thread_pool_min=" + threads, "-p", "thread_pool_max=12000", "-p", "timeout_idle=300",
		},
	}
}

// trafficServer keeps in memory what is on its disk.
func trafficServer() edgeServer {
	lines := []string{
		"exec_thread.autoconfig INT 0", "exec_thread.limit INT 1", "accept_threads INT 0", "task_threads INT 1",
		"http.server_ports STRING " + edgeServerAddress[strings.LastIndexByte(edgeServerAddress, ':')+1:] + ":ip-in=127.0.0.1",
		"cache.ram_cache.size INT 3G", "cache.ram_cache_cutoff INT 32M", "cache.ram_cache.use_seen_filter INT 0", "cache.threads_per_disk INT 4", "log.logging_enabled INT 0",
		"http.keep_alive_no_activity_timeout_in INT 300", "http.insert_request_via_str INT 0", "http.insert_response_via_str INT 0",
		"admin.user_id STRING #-1", "net.connections_throttle INT 19000", "diags.debug.enabled INT 0",
	}
	var records strings.Builder
	for _, line := range lines {
		records.WriteString("CONFIG proxy.config." + line + "\n")
	}
	return edgeServer{
		name: "trafficserver",
		files: map[string]string{
			"etc/records.config": records.String(),
			"etc/storage.config": "@DIR@/cache 4G\n",
			"etc/remap.config":   "map / http://" + edgeOriginAddress + "/ @plugin=cachekey.so @pparam=--remove-all-params=true\n",
			"etc/plugin.config":  "", "etc/ip_allow.yaml": "ip_allow:\n  - apply: in\n    ip_addrs: 0/0\n    action: allow\n    methods: ALL\n",
			"cache/.keep": "", "run/.keep": "", "log/.keep": "",
			"runroot.yaml": `prefix: /usr
exec_prefix: /usr
bindir: /usr/bin
sbindir: /usr/sbin
sysconfdir: @DIR@/etc
datadir: @DIR@/cache
includedir: /usr/include
libdir: /usr/lib/trafficserver
libexecdir: /usr/lib/trafficserver/modules
localstatedir: @DIR@/run
runtimedir: @DIR@/run
logdir: @DIR@/log
cachedir: @DIR@/cache
`,
		},
		args: []string{"traffic_server", "--run-root=@DIR@/runroot.yaml"},
	}
}

const (
	edgeKeyID  = "k1"
	edgeSecret = "0123456789abcdef0123456789abcdef" // of the test alone
)

// weirEdge is the program under measurement, with what an operator would have on.
func weirEdge(t *testing.T, secure bool) edgeServer {
	t.Helper()
	program, err := filepath.Abs(*binary)
	if err != nil {
		t.Fatal(err)
	}
	certificates := ""
	if secure {
		certificates = "  tls: {http3: false, certificates: [{certificate: @DIR@/cert.pem, key: @DIR@/key.pem}]}\n"
	}
	s := edgeServer{
		name: "weir", tls: secure,
		files: map[string]string{
			"weir.yaml": "public:\n  max_connections: 200000\n  idle_timeout: 300s\n" + certificates + `cdn:
  access:
    rules:
      - path: /
        token: {keys: [{id: ` + edgeKeyID + `, secret: {file: @DIR@/secret}}]}
`,
			"secret": edgeSecret + "\n",
		},
		args: []string{
			program, "serve", "-c", "@DIR@/weir.yaml", "--role", "edge", "--origin", "http://" + edgeOriginAddress,
			"--listen", edgeServerAddress, "--private", edgePrivateAddress, "--data", "@DIR@/data",
		},
		env: []string{"GOMAXPROCS=1"},
	}
	withCertificate(s.files)
	return s
}

// withCertificate adds a certificate of ECDSA P-256.
func withCertificate(files map[string]string) {
	files["cert.pem"], files["key.pem"] = newCertificate()
}

// newCertificate makes a certificate for this machine, and its key.
func newCertificate() (certificate, key string) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		panic(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}))
}

// edgeVisitor makes what is in the requests beside the path: the token of a session and what its player says.
type edgeVisitor struct {
	tokens []string
}

// edgeSessions is how many sessions the requests are of.
const edgeSessions = 32

func newVisitor(t *testing.T) edgeVisitor {
	t.Helper()
	secret, err := token.NewSecret([]byte(edgeSecret))
	if err != nil {
		t.Fatal(err)
	}
	var v edgeVisitor
	for i := range edgeSessions {
		text, err := token.OwnClaims{Prefix: "/", Expires: time.Now().Add(24 * time.Hour), Session: fmt.Sprint("s", i), Tenant: "load"}.Sign(edgeKeyID, secret)
		if err != nil {
			t.Fatal(err)
		}
		v.tokens = append(v.tokens, text)
	}
	return v
}

// query returns the query of the i-th request: CMCD version 1 as a player sends it (CTA-5004 §2.1), 250 bytes, and
// the token.
func (v edgeVisitor) query(i int) string {
	session := i % edgeSessions
	cmcd := fmt.Sprintf("CMCD=bl%%3D%d%%2Cbr%%3D3200%%2Ccid%%3D%%22faec5fc2-ac30-11ea-bb37-0242ac130002%%22%%2Cd%%3D4004%%2Cdl%%3D%d%%2Cmtp%%3D%d"+
		"%%2Cnor%%3D%%22seg-%05d.m4s%%22%%2Cot%%3Dv%%2Crtp%%3D12000%%2Csf%%3Dh%%2Csid%%3D%%226e2fb550-c457-11e9-bb97-%012x%%22%%2Cst%%3Dl%%2Ctb%%3D6000",
		20000+i%10*100, 18000+i%10*100, 40000+i%100*100, i%100000, session)
	if v.tokens == nil {
		return cmcd
	}
	return cmcd + "&token=" + v.tokens[session]
}

// requests returns n requests for the paths in turn, as bytes.
func (v edgeVisitor) requests(n int, paths ...string) [][]byte {
	all := make([][]byte, n)
	for i := range all {
		all[i] = []byte("GET " + paths[i%len(paths)] + "?" + v.query(i) + " HTTP/1.1\r\nHost: " + edgeServerAddress +
			"\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36\r\nAccept: */*\r\nOrigin: https://player.example\r\nReferer: https://player.example/\r\n\r\n")
	}
	return all
}

// edgeAccess makes the visitor of the program's, and says what of the features is not there: a program that
// answers whom it should refuse has no access rules, and its requests go without a token.
func edgeAccess(t *testing.T) (edgeVisitor, string) {
	t.Helper()
	visit := newVisitor(t)
	s := weirEdge(t, false)
	r := s.start(t, visit)
	defer r.stop()
	status, err := get(s.scheme() + "://" + edgeServerAddress + origin.Path(1<<10, "ready"))
	if err != nil {
		t.Fatal(err)
	}
	if status == http.StatusOK {
		fmt.Println("NOT MEASURED WITH ALL FEATURES: this program answers without a token, so there is no access rule to measure")
		return edgeVisitor{}, "Without an access rule: the program has none."
	}
	return visit, "Weir with an access rule (own token), CMCD of 250 bytes in each query, and a row of telemetry for each request; the same requests to all."
}

// startOrigin starts the origin, in a process of its own on the client's core.
func startOrigin(t *testing.T) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestEdgeOriginProcess$", "-test.timeout=0")
	cmd.Env = append(os.Environ(), edgeOriginRole+"="+edgeOriginAddress)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	for deadline := time.Now().Add(10 * time.Second); ; {
		if _, err := originCounts(t.Context()); err == nil {
			return
		} else if time.Now().After(deadline) {
			t.Fatalf("the origin does not answer: %v\n%s", err, &log)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

const edgeOriginRole = "WEIR_LOAD_EDGE_ORIGIN"

// TestEdgeOriginProcess is no test: it is the origin that the measurements start.
func TestEdgeOriginProcess(t *testing.T) {
	address := os.Getenv(edgeOriginRole)
	if address == "" {
		t.Skip("the measurements of the edge start it")
	}
	o, err := origin.Listen(address)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	select {} // until it is killed
}

// originCounts returns how often the origin was asked for each path since the last call.
func originCounts(ctx context.Context) (counts map[string]int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+edgeOriginAddress+origin.CountsPath, nil)
	if err != nil {
		return nil, err
	}
	resp, err := plainClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return counts, json.NewDecoder(resp.Body).Decode(&counts)
}
