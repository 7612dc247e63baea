package e2e

import (
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/weir-stream/weir/test/load/origin"
)

// An edge is replaced again and again while objects are purged through another node. What all have confirmed is
// served by no process any more, whichever of the two a viewer meets.
func TestEdgePurgesDuringRestarts(t *testing.T) {
	source, err := origin.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	bus := l.Addr().String()
	_ = l.Close()
	first := serveEdge(t, source.URL(), fmt.Sprintf("node: {id: first}\nbus: {address: '%s'}\n", bus))
	e := serveEdge(t, source.URL(), fmt.Sprintf("node: {id: second}\nbus: {servers: ['%s']}\n%s", bus, diskSettings))
	program, err := filepath.Abs(*binary)
	if err != nil {
		t.Fatal(err)
	}
	const restarts = 6
	stop, done := make(chan struct{}), make(chan struct{})
	purges, v := 0, newViewing(t, "http://"+e.public)
	folder := t.TempDir() // without a weir.yaml
	go func() {
		defer close(done)
		for ; ; purges++ {
			select {
			case <-stop:
				return
			default:
			}
			// Small ones stay in memory too, large ones are on disk only.
			path := origin.Path(1000+purges%2<<20, fmt.Sprint(purges))
			body := origin.Content(path)
			for range 3 {
				if _, err := v.get(path, body, 0); err != nil {
					t.Error(err)
				}
			}
			cmd := exec.Command(program, "purge", "--private", first.private, "--url", path, "--wait", "20s")
			cmd.Env, cmd.Dir = cleanEnvironment(), folder
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("purge %d: %v\n%s", purges, err, out)
			}
			source.Take()
			v.client.CloseIdleConnections()
			if status, err := v.get(path, body, 0); err != nil || source.Take().Requests == 0 {
				t.Errorf("%s was served after its purge: %s, %v", path, status, err)
			}
		}
	}()
	for n := range restarts {
		e.restart(n + 1)
		time.Sleep(700 * time.Millisecond)
	}
	close(stop)
	<-done
	t.Logf("%d purges during %d restarts", purges, restarts)
	waitFor(t, 10*time.Second, "a node that is ready", func() error { return e.isReady() })
}
