package e2e

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/weir-stream/weir/test/load/origin"
)

// systemd opens the socket, and starts the edge with it when somebody connects: who was first is answered too.
func TestEdgeIsActivatedBySocket(t *testing.T) {
	source, err := origin.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	socket, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	answer := make(chan error, 1)
	go func() { // before anybody accepts
		client := &http.Client{Timeout: 30 * time.Second}
		response, err := client.Get("http://" + address + origin.Path(1000, "a"))
		if err == nil {
			_ = response.Body.Close()
			if response.StatusCode != http.StatusOK {
				err = fmt.Errorf("%s", response.Status)
			}
		}
		answer <- err
	}()
	program, err := filepath.Abs(*binary)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/bin/sh", "-c", `LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=weir.socket exec "$0" "$@"`, program,
		"serve", "--role", "edge", "--origin", source.URL(), "--listen", address, "--private", "127.0.0.1:0", "--data", t.TempDir())
	cmd.Env, cmd.Dir, cmd.Stderr = cleanEnvironment(), t.TempDir(), os.Stderr
	cmd.ExtraFiles = []*os.File{socket}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = socket.Close()
	_ = l.Close() // the edge has its own descriptor
	if err := <-answer; err != nil {
		t.Error(err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}
