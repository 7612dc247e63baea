package h1

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// counting is a socket that knows how much each call of Write has written.
type counting struct {
	syscall.RawConn
	c     *conn
	turns []int64
}

func (s *counting) Write(f func(uintptr) bool) error {
	before := s.c.total
	err := s.RawConn.Write(f)
	s.turns = append(s.turns, s.c.total-before)
	return err
}

// A large answer is written in turns, between which others have theirs.
func TestAnAnswerIsWrittenInTurns(t *testing.T) {
	const size = 3<<20 + 5
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	nc, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	path := filepath.Join(t.TempDir(), "segment")
	if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for longest, o := range map[int64]*output{
		memoryTurnBytes: {pieces: [3][]byte{make([]byte, 300), make([]byte, size-302), make([]byte, 2)}},
		turnBytes:       {pieces: [3][]byte{make([]byte, 300)}, file: f.Fd(), left: size - 300},
	} {
		read := make(chan error, 1)
		go func() {
			_, err := io.CopyN(io.Discard, client, size)
			read <- err
		}()
		c := &conn{server: &Server{config: DefaultConfig()}, nc: nc, direct: true}
		c.writeDirect = c.writeSocket
		s := &counting{RawConn: rawOf(nc), c: c}
		c.socket = s
		if err := c.write(o); err != nil {
			t.Fatal(err)
		}
		if err := <-read; err != nil {
			t.Error(err)
		}
		if o.taken != size || !o.empty() {
			t.Errorf("%d bytes are written, want %d", o.taken, size)
		}
		for _, n := range s.turns {
			if n > longest {
				t.Errorf("a turn of %d bytes, want at most %d", n, longest)
			}
		}
	}
}
