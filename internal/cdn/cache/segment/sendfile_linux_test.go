package segment

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestABodyIsSentByTheKernel(t *testing.T) {
	s := open(t, Settings{Dir: t.TempDir(), CapacityBytes: 8 << 20})
	for i, n := range []int{10, 5000, 300_000} {
		r := mustAppend(t, s, uint64(i), n)
		g, err := s.Acquire(r)
		if err != nil {
			t.Fatal(err)
		}
		out, err := os.Create(filepath.Join(t.TempDir(), "out"))
		if err != nil {
			t.Fatal(err)
		}
		fd, offset := g.File()
		for sent := 0; sent < n; {
			m, err := unix.Sendfile(int(out.Fd()), int(fd), &offset, n-sent)
			if err != nil || m == 0 {
				t.Fatalf("sent %d of %d: %v", sent, n, err)
			}
			sent += m
		}
		got, err := os.ReadFile(out.Name())
		if err != nil || !bytes.Equal(got, bodyOf(uint64(i), n)) {
			t.Errorf("%d bytes are not what was sent (%v)", n, err)
		}
		out.Close()
		g.Release()
	}
}
