package h1_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"testing"
	"time"
)

// crowd is the program of the process that holds the clients' ends.
const crowd = "WEIR_TEST_CROWD"

// runCrowd opens connections to an address, asks for something on each, says so, and waits to be ended.
func runCrowd(addr string, count int, stdin io.Reader, stdout io.Writer) error {
	request := []byte("GET /live/a/object.m4s HTTP/1.1\r\nHost: edge.example\r\n" + playerFields + "\r\n")
	buffer := make([]byte, 64<<10)
	for range count {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			return err
		}
		defer c.Close()
		for range 3 {
			if _, err := c.Write(request); err != nil {
				return err
			}
			if err := readAnswer(c, buffer, 1000); err != nil {
				return err
			}
		}
	}
	fmt.Fprintln(stdout, "ready")
	_, err := io.Copy(io.Discard, stdin)
	return err
}

// Idle connections are what an edge has most of. The connections that have been handled need no more than
// those that have been hit: the stack of the Handler is not theirs.
func TestIdleConnectionsAreSmall(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector needs memory of its own")
	}
	count, limit := 10_000, float64(8<<10) // measured are 6.1 KB
	if testing.Short() {
		count = 1000
	}
	body := make([]byte, 1000)
	for _, test := range []struct {
		name string
		hit  bool
	}{{"hit", true}, {"handled", false}} {
		t.Run(test.name, func(t *testing.T) {
			e := start(t, func(e *edge) {
				e.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) })
				if test.hit {
					e.Hitter = &ready{head: []byte(okHead + "Content-Length: 1000\r\n"), body: body}
				}
			})
			before := memory()
			clients := exec.Command(os.Args[0])
			clients.Env = append(os.Environ(), crowd+"="+e.addr, crowd+"_COUNT="+strconv.Itoa(count))
			clients.Stderr = os.Stderr
			stdin, err := clients.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			stdout, err := clients.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := clients.Start(); err != nil {
				t.Fatal(err)
			}
			if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "ready\n" {
				t.Fatalf("the clients say %q, %v", line, err)
			}
			after := memory()
			each := float64(after.sum()-before.sum()) / float64(count)
			t.Logf("stacks %d, heap %d, of the runtime %d", (after.stacks-before.stacks)/int64(count),
				(after.heap-before.heap)/int64(count), (after.runtime-before.runtime)/int64(count))
			t.Logf("%d idle connections need %.0f bytes each: all of it, with goroutine, net.Conn and poll descriptor", count, each)
			if each > limit {
				t.Errorf("want at most %.0f", limit)
			}
			_ = stdin.Close()
			if err := clients.Wait(); err != nil {
				t.Error(err)
			}
			for range count {
				select {
				case <-e.over:
				case <-time.After(patience):
					t.Fatal("connections do not end")
				}
			}
		})
	}
}

// usage is what the process uses of what it has taken from the system.
type usage struct{ stacks, heap, runtime int64 }

func (u usage) sum() int64 { return u.stacks + u.heap + u.runtime }

func memory() usage {
	for range 5 { // stacks shrink by half at a time
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return usage{int64(m.StackInuse), int64(m.HeapInuse), int64(m.OtherSys + m.MSpanInuse + m.GCSys)}
}
