package h2_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"github.com/weir-stream/weir/internal/cdn/edge/h1"
	"github.com/weir-stream/weir/internal/cdn/edge/h2"
)

// pipe returns both ends of a TCP connection.
func pipe(t *testing.T) (near, far net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if near, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if far, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	_ = near.SetDeadline(time.Now().Add(20 * time.Second))
	return near, far
}

// inTime runs a client against a server in a world whose time passes when nobody works.
func inTime(t *testing.T, hits *shelf, handler http.HandlerFunc, run func(t *testing.T, c net.Conn, since time.Time)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		if hits != nil {
			hits.results = make(chan h1.Result, 100)
		}
		server := start(t, hits, handler, func(s *h2.Settings) {
			if hits == nil {
				s.Hitter = nil
			}
		})
		near, far := net.Pipe()
		served := make(chan struct{})
		go func() { server.ServeConn(t.Context(), far); close(served) }()
		run(t, near, time.Now())
		_ = near.Close()
		<-served
	})
}

func TestSilentClient(t *testing.T) {
	inTime(t, nil, nil, func(t *testing.T, c net.Conn, since time.Time) {
		_, _ = io.Copy(io.Discard, c)
		if took := time.Since(since); took != h1.DefaultConfig().HeaderTimeout {
			t.Errorf("it ended after %v", took)
		}
	})
}

// note is what a test needs of a frame.
type note struct {
	kind http2.FrameType
	code http2.ErrCode
	ends bool // the stream
}

// talk makes a peer at a pipe, which has no buffer: somebody must always be reading.
func talk(t *testing.T, c net.Conn) (*peer, <-chan note) {
	notes := make(chan note, 1000)
	raw := http2.NewFramer(nil, c)
	go func() {
		defer close(notes)
		for {
			f, err := raw.ReadFrame()
			if err != nil {
				return
			}
			n := note{kind: f.Header().Type}
			if f, ok := f.(*http2.DataFrame); ok {
				n.ends = f.StreamEnded()
			}
			switch f := f.(type) {
			case *http2.RSTStreamFrame:
				n.code = f.ErrCode
			case *http2.GoAwayFrame:
				n.code = f.ErrCode
			}
			notes <- n
		}
	}()
	return meet(t, c), notes
}

func TestIdleConnection(t *testing.T) {
	hits := newShelf()
	inTime(t, hits, nil, func(t *testing.T, c net.Conn, since time.Time) {
		p, notes := talk(t, c)
		time.Sleep(time.Minute)
		p.get(1, "/little")
		var last note
		for last = range notes {
		}
		if want := (note{kind: http2.FrameGoAway, code: http2.ErrCodeNo}); last != want {
			t.Errorf("the last frame is %v", last)
		}
		if took := time.Since(since); took != time.Minute+h1.DefaultConfig().IdleTimeout {
			t.Errorf("it ended after %v", took)
		}
	})
}

// A client whose window lets nothing through has its stream ended, and keeps its connection.
func TestStalledStream(t *testing.T) {
	hits := newShelf()
	inTime(t, hits, nil, func(t *testing.T, c net.Conn, since time.Time) {
		p, notes := talk(t, c)
		p.get(1, "/large")
		for n := range notes {
			if n.kind == http2.FrameRSTStream {
				if n.code != http2.ErrCodeCancel {
					t.Errorf("reset with %v", n.code)
				}
				break
			}
		}
		stall := h1.DefaultConfig().StallTimeout
		if took := time.Since(since); took < stall || took > stall*5/4+time.Second {
			t.Errorf("it ended after %v", took)
		}
		if result := <-hits.results; result.Err == nil || result.Bytes != 65535 {
			t.Errorf("%+v", result)
		}
	})
}

// Handlers wait for a body, and to be read, as long as they may.
func TestHandlersDeadlines(t *testing.T) {
	errs := make(chan error, 3)
	inTime(t, nil, func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		switch r.URL.Path {
		case "/read":
			_ = control.SetReadDeadline(time.Now().Add(time.Second))
			_, err := io.ReadAll(r.Body)
			errs <- err
		case "/stall":
			_, err := io.ReadAll(r.Body)
			errs <- err
		case "/write":
			_ = control.SetWriteDeadline(time.Now().Add(time.Second))
			_, err := w.Write(pattern(1 << 20))
			errs <- err
		}
	}, func(t *testing.T, c net.Conn, since time.Time) {
		errs = make(chan error, 3)
		p, _ := talk(t, c)
		for i, path := range []string{"/read", "/stall", "/write"} {
			begun := time.Now()
			p.request(uint32(2*i+1), path == "/write", append(without(":path"), ":path", path)...)
			want := time.Second
			if path == "/stall" {
				want = h1.DefaultConfig().StallTimeout
			}
			if err := <-errs; !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begun) != want {
				t.Errorf("%s: %v after %v", path, err, time.Since(begun))
			}
		}
	})
}

// A Handler may write while something of its own reads the request: each is told of what it waits for.
func TestReadingAndWritingAtOnce(t *testing.T) {
	got := make(chan string, 1)
	inTime(t, nil, func(w http.ResponseWriter, r *http.Request) {
		go func() {
			time.Sleep(time.Second) // the Write below waits first
			b, err := io.ReadAll(r.Body)
			got <- string(b) + " " + errorText(err)
		}()
		_, _ = w.Write(pattern(1 << 20))
	}, func(t *testing.T, c net.Conn, since time.Time) {
		got = make(chan string, 1)
		p, _ := talk(t, c)
		p.request(1, false, ":method", "POST", ":scheme", "https", ":authority", "edge.test", ":path", "/")
		time.Sleep(2 * time.Second)
		p.must(p.framer.WriteData(1, true, []byte("abc")))
		if body := <-got; body != "abc " || time.Since(since) != 2*time.Second {
			t.Errorf("%q was read, after %v", body, time.Since(since))
		}
	})
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
