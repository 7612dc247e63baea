package conformance

import (
	"flag"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

var measurePeers = flag.Bool("peers", false, "run the suite against nginx and Varnish, to check the harness")

// What is known of caches that others have measured too, by edition: https://cache-tests.fyi for the newer
// one. The harness is right if it finds the same.
var peers = []struct {
	name          string
	start         func(t *testing.T, originURL string) string
	npm, head     int // required tests passed
	npmOf, headOf int
}{
	{name: "nginx 1.22", start: startNginx, npm: 94, npmOf: 165, head: 100, headOf: 160},
	{name: "Varnish 7.1", start: startVarnish, npm: 108, npmOf: 165, head: 119, headOf: 160},
}

func TestHarnessFindsWhatOthersFound(t *testing.T) {
	if !*measurePeers {
		t.Skip("only with -peers: it needs nginx and Varnish")
	}
	c := chosenEdition(t)
	suite := c.list(t)
	for _, peer := range peers {
		t.Run(peer.name, func(t *testing.T) {
			base := peer.start(t, c.startOrigin(t))
			outcomes := judge(suite, c.run(t, base))
			t.Logf("%s\n%s", c.title, summary(suite, outcomes))
			want, of := peer.npm, peer.npmOf
			if *newer != "" {
				want, of = peer.head, peer.headOf
			}
			const repeatable = 2
			n := whole(suite, outcomes)[required]
			if n.of != of || n.passed < want-repeatable || n.passed > want+repeatable {
				t.Errorf("%d of %d required tests passed, %d ± %d of %d are expected", n.passed, n.of, want, repeatable, of)
			}
		})
	}
}

// startNginx starts nginx with the suite's own configuration of it.
func startNginx(t *testing.T, originURL string) string {
	t.Helper()
	dir, address := t.TempDir(), freeAddress(t)
	file := filepath.Join(dir, "nginx.conf")
	write(t, file, fmt.Sprintf(`
daemon off;
master_process off;
pid %[1]s/pid;
error_log stderr;
events { worker_connections 1024; }
http {
	access_log off;
	client_body_temp_path %[1]s/body;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	proxy_cache_path %[1]s/cache levels=1:2 keys_zone=cache:8m max_size=1000m inactive=600m;
	proxy_temp_path %[1]s/cache/tmp;
	server {
		listen %[2]s;
		location / {
			proxy_pass %[3]s;
			proxy_cache cache;
			proxy_cache_revalidate on;
			proxy_http_version 1.1;
		}
	}
}
`, dir, address, originURL))
	start(t, exec.Command("nginx", "-p", dir, "-c", file), nil).answers(t, address)
	return "http://" + address
}

// startVarnish starts Varnish with no rules of its own and no default freshness, as the suite does.
func startVarnish(t *testing.T, originURL string) string {
	t.Helper()
	dir, address := t.TempDir(), freeAddress(t)
	origin, err := url.Parse(originURL)
	if err != nil {
		t.Fatal(err)
	}
	host, port, err := net.SplitHostPort(origin.Host)
	if err != nil {
		t.Fatal(err)
	}
	// Its child runs as a user of its own.
	for _, d := range []string{filepath.Dir(dir), dir} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(dir, "default.vcl")
	write(t, file, fmt.Sprintf("vcl 4.1;\nbackend default { .host = %q; .port = %q; }\n", host, port))
	start(t, exec.Command("varnishd", "-F", "-n", filepath.Join(dir, "varnish"), "-a", address, "-f", file,
		"-p", "default_ttl=0", "-p", "default_grace=0", "-p", "default_keep=3600", "-s", "malloc,256M"), nil).answers(t, address)
	return "http://" + address
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
