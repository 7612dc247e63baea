package handover_test

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"
	"go.uber.org/goleak"

	"github.com/weir-stream/weir/internal/httpserver"
	"github.com/weir-stream/weir/internal/httpserver/certs"
	"github.com/weir-stream/weir/internal/httpserver/certs/certstest"
	"github.com/weir-stream/weir/internal/httpserver/handover"
)

// roleVariable has the test binary be a server, with what is in the folder that it names.
const roleVariable = "HANDOVER_TEST_FOLDER"

func TestMain(m *testing.M) {
	if folder := os.Getenv(roleVariable); folder != "" {
		if err := serve(folder); err != nil {
			fmt.Fprintln(os.Stderr, "server:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

const (
	segmentBytes = 1 << 20
	segmentParts = 8
)

// segment is what every server serves at /segment, slowly, and its checksum.
func segment() []byte {
	content := make([]byte, segmentBytes)
	for i := range content {
		content[i] = byte(i ^ i>>8 ^ i>>16)
	}
	return content
}

// serve is a server as the program runs it: it takes over, says that it is ready, starts its successor on SIGUSR2
// and drains.
func serve(folder string) error {
	sockets, err := handover.Inherit()
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(folder, "broken")); err == nil && sockets.Inherited() {
		return fmt.Errorf("this version does not start")
	}
	content := segment()
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/segment" {
			_, _ = fmt.Fprint(w, os.Getpid())
			return
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(content)))
		for part := range segmentParts {
			if _, err := w.Write(content[part*segmentBytes/segmentParts : (part+1)*segmentBytes/segmentParts]); err != nil {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	})
	var servers []*httpserver.Server
	for _, secure := range []bool{true, false} {
		config := httpserver.DefaultConfig("127.0.0.1:0")
		if secure {
			config.TLS.Certificates = []certs.File{{Certificate: filepath.Join(folder, "site.pem"), Key: filepath.Join(folder, "site.key")}}
		}
		server, err := httpserver.New(httpserver.Settings{Config: config, Handler: handler, Log: slog.New(slog.NewTextHandler(os.Stderr, nil)), Sockets: sockets})
		if err != nil {
			return err
		}
		if err := server.Listen(); err != nil {
			return err
		}
		servers = append(servers, server)
	}
	restart := make(chan os.Signal, 1)
	signal.Notify(restart, syscall.SIGUSR2)
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer cancel()
	var running sync.WaitGroup
	errs := make(chan error, len(servers))
	for _, server := range servers {
		running.Go(func() { errs <- server.Run(ctx) })
	}
	if err := sockets.Ready(); err != nil {
		return err
	}
	line := fmt.Sprintf("%d %s %s\n", os.Getpid(), servers[0].Addr(), servers[1].Addr())
	if err := os.WriteFile(filepath.Join(folder, "running.new"), []byte(line), 0o600); err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(folder, "running.new"), filepath.Join(folder, "running")); err != nil {
		return err
	}
	for ctx.Err() == nil {
		select {
		case <-restart:
			limited, stop := context.WithTimeout(ctx, 20*time.Second)
			_, err := sockets.Start(limited, handover.Command{
				Path: os.Args[0], Args: os.Args, Env: os.Environ(), Files: [3]*os.File{os.Stdin, os.Stdout, os.Stderr},
			})
			stop()
			if err != nil {
				if err := os.WriteFile(filepath.Join(folder, "refused"), []byte(err.Error()), 0o600); err != nil {
					return err
				}
				continue
			}
			cancel()
		case <-ctx.Done():
		}
	}
	running.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// fleet is the servers that follow each other.
type fleet struct {
	folder        string
	secure, plain string // addresses
	pool          *x509.CertPool
}

// await returns the process that runs, once it is another than before.
func (f *fleet) await(t *testing.T, before int) int {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		line, err := os.ReadFile(filepath.Join(f.folder, "running"))
		if err != nil {
			continue
		}
		var pid int
		var secure, plain string
		if _, err := fmt.Sscan(string(line), &pid, &secure, &plain); err != nil {
			t.Fatal(err)
		}
		if pid == before {
			continue
		}
		if f.secure == "" {
			f.secure, f.plain = secure, plain
		}
		if f.secure != secure || f.plain != plain {
			t.Errorf("the new server is at %s and %s, want %s and %s", secure, plain, f.secure, f.plain)
		}
		return pid
	}
	t.Fatal("no new server is running")
	return 0
}

func startFleet(t *testing.T) (*fleet, int) {
	t.Helper()
	f := &fleet{folder: t.TempDir()}
	authority := certstest.NewAuthority(t)
	authority.Write(t, f.folder, "site", "127.0.0.1")
	f.pool = authority.Pool
	process, err := os.StartProcess(os.Args[0], os.Args[:1], &os.ProcAttr{
		Env: append(os.Environ(), roleVariable+"="+f.folder), Files: []*os.File{os.Stdin, os.Stdout, os.Stderr},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		line, _ := os.ReadFile(filepath.Join(f.folder, "running"))
		first, _, _ := strings.Cut(string(line), " ")
		if pid, err := strconv.Atoi(first); err == nil && pid != process.Pid {
			_ = syscall.Kill(pid, syscall.SIGTERM)
		}
		_ = process.Signal(syscall.SIGTERM)
		_, _ = process.Wait()
	})
	return f, f.await(t, 0)
}

func (f *fleet) clients(t *testing.T) map[string]*http.Client {
	t.Helper()
	all := make(map[string]*http.Client)
	for _, protocol := range []string{"http/1.1", "h2", "plain"} {
		protocols := new(http.Protocols)
		protocols.SetHTTP1(protocol != "h2")
		protocols.SetHTTP2(protocol == "h2")
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: f.pool}, Protocols: protocols}
		t.Cleanup(transport.CloseIdleConnections)
		all[protocol] = &http.Client{Transport: transport}
	}
	transport := &http3.Transport{TLSClientConfig: &tls.Config{RootCAs: f.pool}}
	t.Cleanup(func() { _ = transport.Close() })
	all["h3"] = &http.Client{Transport: transport}
	return all
}

// notLookedAt reports whether a request over HTTP/3 was rejected, or not sent, because the connection is about to end.
// It is then to be sent again (RFC 9114 §5.2), which browsers do and this client leaves to its caller.
func notLookedAt(err error) bool {
	var h3 *http3.Error
	return errors.As(err, &h3) && h3.ErrorCode == http3.ErrCodeRequestRejected ||
		err != nil && strings.Contains(err.Error(), "connection in graceful shutdown")
}

func (f *fleet) url(protocol string) string {
	if protocol == "plain" {
		return "http://" + f.plain
	}
	return "https://" + f.secure
}

// TestRestartsUnderLoad restarts a server again and again while clients of every protocol ask and download.
func TestRestartsUnderLoad(t *testing.T) {
	restarts, each := 20, 3
	if raceDetector { // processes take ten times as long to start and to serve
		restarts, each = 5, 1
	}
	f, pid := startFleet(t)
	want := sha256.Sum256(segment())
	ctx, cancel := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	var requests, downloads, failures atomic.Int64
	answered := make(map[string]*atomic.Int64)
	fail := func(protocol string, err error) {
		failures.Add(1)
		t.Errorf("%s: %v", protocol, err)
	}
	for protocol, client := range f.clients(t) {
		count := new(atomic.Int64)
		answered[protocol] = count
		ask := func(path string) ([]byte, error) {
			response, err := client.Get(f.url(protocol) + path)
			for notLookedAt(err) {
				response, err = client.Get(f.url(protocol) + path)
			}
			if err != nil {
				return nil, err
			}
			defer response.Body.Close()
			body, err := io.ReadAll(response.Body)
			if err == nil && response.StatusCode != http.StatusOK {
				err = fmt.Errorf("status %d", response.StatusCode)
			}
			return body, err
		}
		for range each {
			clients.Go(func() {
				for ctx.Err() == nil {
					if _, err := ask("/"); err != nil {
						fail(protocol, err)
					}
					requests.Add(1)
					count.Add(1)
				}
			})
			clients.Go(func() {
				for ctx.Err() == nil {
					body, err := ask("/segment")
					if err != nil || sha256.Sum256(body) != want {
						fail(protocol, fmt.Errorf("download of %d of %d bytes: %w", len(body), segmentBytes, err))
					}
					downloads.Add(1)
				}
			})
		}
	}
	seen := map[int]bool{pid: true}
	for range restarts {
		if err := syscall.Kill(pid, syscall.SIGUSR2); err != nil {
			t.Fatal(err)
		}
		pid = f.await(t, pid)
		if seen[pid] {
			t.Errorf("process %d is not new", pid)
		}
		seen[pid] = true
		time.Sleep(50 * time.Millisecond) // in which clients connect to it
	}
	cancel()
	clients.Wait()
	t.Logf("%d restarts, %d requests, %d downloads of %d bytes, %d failures", restarts, requests.Load(), downloads.Load(), segmentBytes, failures.Load())
	for protocol, count := range answered {
		if count.Load() == 0 {
			t.Errorf("nobody asked over %s", protocol)
		}
	}
}

// A new version that does not start changes nothing.
func TestAProcessThatDoesNotBecomeReady(t *testing.T) {
	f, pid := startFleet(t)
	if err := os.WriteFile(filepath.Join(f.folder, "broken"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		text, err := os.ReadFile(filepath.Join(f.folder, "refused"))
		if err == nil && len(text) > 0 {
			if want := "the new process was not ready (exit status 1): it has ended"; string(text) != want {
				t.Errorf("refused: %s, want %s", text, want)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("nothing was refused")
		}
	}
	for protocol, client := range f.clients(t) {
		response, err := client.Get(f.url(protocol))
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if string(body) != strconv.Itoa(pid) {
			t.Errorf("%s: process %s answered, want %d", protocol, body, pid)
		}
	}
}

// systemd starts a process with sockets and its own number in LISTEN_PID.
func TestSocketActivation(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	t.Setenv("ACTIVATION_ADDRESS", l.Addr().String())
	file, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	process, err := os.StartProcess("/bin/sh", []string{"sh", "-c", `LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=weir.socket exec "$0" -test.run='^TestActivated$' -test.v`, os.Args[0]},
		&os.ProcAttr{Env: append(os.Environ(), "ACTIVATED=yes"), Files: []*os.File{nil, nil, os.Stderr, file}})
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	if text, err := io.ReadAll(c); err != nil || string(text) != "activated" {
		t.Errorf("got %q, %v", text, err)
	}
	if state, err := process.Wait(); err != nil || !state.Success() {
		t.Errorf("the process ended with %v, %v", state, err)
	}
}

// TestActivated is the other half of TestSocketActivation.
func TestActivated(t *testing.T) {
	if os.Getenv("ACTIVATED") == "" {
		t.Skip("it is run by TestSocketActivation")
	}
	sockets, err := handover.Inherit()
	if err != nil {
		t.Fatal(err)
	}
	l, err := sockets.Listen(t.Context(), "tcp", os.Getenv("ACTIVATION_ADDRESS"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if os.Getenv("LISTEN_FDS") != "" {
		t.Error("children would see LISTEN_FDS")
	}
	if err := sockets.Ready(); err != nil {
		t.Fatal(err)
	}
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(c, "activated")
	_ = c.Close()
}
