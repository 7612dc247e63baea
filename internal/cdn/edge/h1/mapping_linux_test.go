package h1_test

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/weir-stream/weir/internal/cdn/edge/h1"
)

// A disk that fails under a mapping ends the connection that reads it, and nothing else.
func TestAMappingThatCannotBeRead(t *testing.T) {
	const size = 1 << 20
	path := filepath.Join(t.TempDir(), "segment")
	if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	mapped, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(mapped)
	if err := f.Truncate(0); err != nil { // now reading is a SIGBUS, as after an error of the disk
		t.Fatal(err)
	}
	for _, test := range []struct {
		name   string
		secure bool
		length int
	}{{"inline", false, 1000}, {"written", false, 100_000}, {"sent from the file", false, 500_000}, {"TLS", true, 1000}, {"TLS, long", true, 500_000}} {
		t.Run(test.name, func(t *testing.T) {
			results := make(chan h1.Result, 2)
			e := start(t, func(e *edge) {
				e.Hitter = hitter(func(_ *h1.Request, a *h1.Answer) bool {
					a.Head, a.Body = []byte(okHead+"Content-Length: 1\r\n"), mapped[:test.length]
					a.FD, a.Length = f.Fd(), int64(test.length)
					a.Done = func(x h1.Result) { results <- x }
					return true
				})
				if test.secure {
					e.tls = certificate(t)
				}
			})
			dial := dial
			if test.secure {
				dial = dialTLS
			}
			c := dial(t, e.addr).say(get("/"))
			if x := <-results; x.Err == nil || x.Bytes != 0 {
				t.Errorf("%+v", x)
			}
			e.ended(t)
			_ = c.Close()
			if len(results) > 0 {
				t.Error("Done was called twice")
			}
		})
	}
}
