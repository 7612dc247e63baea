package h1_test

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weir-stream/weir/internal/cdn/edge/h1"
)

// piped serves a connection in memory, whose time is the bubble's.
func piped(t *testing.T, change func(*h1.Settings)) (client net.Conn, drain context.CancelFunc, ended chan net.Conn) {
	t.Helper()
	settings := h1.Settings{
		Config: h1.DefaultConfig(), Log: slog.New(slog.DiscardHandler), Handler: http.NotFoundHandler(),
		Hitter: &ready{head: []byte(okHead + "Content-Length: 5\r\n"), body: []byte("hello")},
	}
	if change != nil {
		change(&settings)
	}
	server, err := h1.New(settings)
	if err != nil {
		t.Fatal(err)
	}
	ctx, drain := context.WithCancel(context.Background())
	client, other := net.Pipe()
	ended = make(chan net.Conn, 1)
	go func() { ended <- server.ServeConn(ctx, other) }()
	return client, drain, ended
}

// endsAfter expects the connection to end after this time and not before.
func endsAfter(t *testing.T, ended chan net.Conn, since time.Time, want time.Duration) {
	t.Helper()
	<-ended
	// A deadline is as old as the grain when it is not set anew.
	if took := time.Since(since); took < want-5*time.Second || took > want {
		t.Errorf("the connection ended after %v, want %v", took, want)
	}
}

func TestAConnectionThatSaysNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, drain, ended := piped(t, nil)
		defer drain()
		begin := time.Now()
		rest, _ := io.ReadAll(client)
		endsAfter(t, ended, begin, 10*time.Second)
		if len(rest) > 0 {
			t.Errorf("it was told %q", rest)
		}
	})
}

// However a head trickles in, it has the time of one head.
func TestAHeadThatTricklesIn(t *testing.T) {
	for _, first := range []string{"", get("/"), get("/handled")} {
		synctest.Test(t, func(t *testing.T) {
			client, drain, ended := piped(t, func(s *h1.Settings) {
				ok := s.Hitter
				s.Hitter = hitter(func(r *h1.Request, a *h1.Answer) bool { return string(r.Path) == "/" && ok.Hit(r, a) })
			})
			defer drain()
			answers := bufio.NewReader(client)
			if first != "" {
				_, _ = io.WriteString(client, first)
				response, err := http.ReadResponse(answers, nil)
				if err != nil {
					t.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, response.Body)
				time.Sleep(50 * time.Second) // of the idle time
			}
			begin := time.Now()
			refused := make(chan struct{})
			go func() {
				defer close(refused)
				for i := 0; ; i++ {
					if _, err := client.Write([]byte("GET / HTTP/1.1\r\nX: aaaaaaaaaaaaaaaaaaaaaaaaa"[i : i+1])); err != nil {
						return
					}
					time.Sleep(900 * time.Millisecond)
				}
			}()
			response, err := http.ReadResponse(answers, nil)
			if err != nil || response.StatusCode != http.StatusRequestTimeout || !response.Close {
				t.Errorf("answered %v, %v", response, err)
			} else {
				_, _ = io.Copy(io.Discard, response.Body)
			}
			endsAfter(t, ended, begin, 10*time.Second)
			_ = client.Close()
			<-refused
		})
	}
}

// Each head has its own time, be the one before late as well.
func TestTwoSlowHeads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, drain, ended := piped(t, nil)
		defer drain()
		answers := bufio.NewReader(client)
		head := get("/")
		for i, text := range []string{head[:20], head[20:] + head[:20], head[20:] + head[:20], head[20:]} {
			_, _ = io.WriteString(client, text)
			if i > 0 {
				response, err := http.ReadResponse(answers, nil)
				if err != nil || response.StatusCode != http.StatusOK {
					t.Fatalf("answer %d: %v, %v", i, response, err)
				}
				_, _ = io.Copy(io.Discard, response.Body)
			}
			time.Sleep(8 * time.Second)
		}
		_ = client.Close()
		<-ended
	})
}

// The deadline that a Handler has set ends with it.
func TestTheDeadlineOfAnotherRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, drain, ended := piped(t, func(s *h1.Settings) {
			ok := s.Hitter
			s.Hitter = hitter(func(r *h1.Request, a *h1.Answer) bool { return string(r.Path) == "/" && ok.Hit(r, a) })
			s.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
				_, _ = io.WriteString(w, "hello")
			})
		})
		defer drain()
		answers := bufio.NewReader(client)
		for _, path := range []string{"/", "/handled", "/"} {
			_, _ = io.WriteString(client, get(path))
			response, err := http.ReadResponse(answers, nil)
			if err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			_, _ = io.Copy(io.Discard, response.Body)
			time.Sleep(200 * time.Millisecond)
		}
		_ = client.Close()
		<-ended
	})
}

func TestAnIdleConnection(t *testing.T) {
	for _, path := range []string{"/", "/handled"} {
		synctest.Test(t, func(t *testing.T) {
			client, drain, ended := piped(t, func(s *h1.Settings) {
				ok := s.Hitter
				s.Hitter = hitter(func(r *h1.Request, a *h1.Answer) bool { return string(r.Path) == "/" && ok.Hit(r, a) })
			})
			defer drain()
			answers := bufio.NewReader(client)
			var begin time.Time
			for range 10 { // the time is that between two requests
				time.Sleep(map[bool]time.Duration{true: 9 * time.Second, false: 70 * time.Second}[begin.IsZero()])
				_, _ = io.WriteString(client, get(path))
				response, err := http.ReadResponse(answers, nil)
				if err != nil {
					t.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, response.Body)
				begin = time.Now()
			}
			if rest, _ := io.ReadAll(answers); len(rest) > 0 {
				t.Errorf("it was told %q", rest)
			}
			endsAfter(t, ended, begin, 75*time.Second)
		})
	}
}

// A handler may take its time, be it for hours.
func TestAnAnswerThatIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, drain, ended := piped(t, func(s *h1.Settings) {
			s.Hitter = nil
			s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				time.Sleep(3 * time.Hour)
				if r.Context().Err() != nil {
					t.Error("the client is there")
				}
				_, _ = io.WriteString(w, "late")
			})
		})
		defer drain()
		answers := bufio.NewReader(client)
		for range 2 {
			_, _ = io.WriteString(client, get("/"))
			response, err := http.ReadResponse(answers, nil)
			if err != nil {
				t.Fatal(err)
			}
			if body, _ := io.ReadAll(response.Body); string(body) != "late" {
				t.Errorf("got %q", body)
			}
		}
		_ = client.Close()
		<-ended
	})
}

func TestAnAnswerThatIsNotTaken(t *testing.T) {
	for _, path := range []string{"/", "/handled"} {
		synctest.Test(t, func(t *testing.T) {
			results := make(chan error, 1)
			client, drain, ended := piped(t, func(s *h1.Settings) {
				s.Hitter = hitter(func(r *h1.Request, a *h1.Answer) bool {
					a.Head, a.Body = []byte(okHead+"Content-Length: 1000000\r\n"), make([]byte, 1_000_000)
					a.Done = func(x h1.Result) { results <- x.Err }
					return string(r.Path) == "/"
				})
				s.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					_, err := w.Write(make([]byte, 1_000_000))
					results <- err
				})
			})
			defer drain()
			_, _ = io.WriteString(client, get(path))
			// A piece of it is taken now and then, and at last nothing.
			for range 5 {
				time.Sleep(20 * time.Second)
				if _, err := io.CopyN(io.Discard, client, 70_000); err != nil {
					t.Fatal(err)
				}
			}
			begin := time.Now()
			if err := <-results; err == nil {
				t.Error("the answer was taken")
			}
			endsAfter(t, ended, begin, 30*time.Second)
			_ = client.Close()
		})
	}
}

func TestDraining(t *testing.T) {
	finish := make(chan struct{})
	entered := make(chan struct{}, 10)
	e := start(t, func(e *edge) {
		e.Hitter = hitter(func(r *h1.Request, a *h1.Answer) bool {
			a.Head, a.Body = []byte(okHead+"Content-Length: 5\r\n"), []byte("hello")
			return string(r.Path) == "/"
		})
		e.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/begun" {
				_, _ = io.WriteString(w, "begun")
				w.(http.Flusher).Flush()
			}
			entered <- struct{}{}
			<-finish
			if r.Context().Err() != nil {
				t.Error("the request has been ended")
			}
			_, _ = io.WriteString(w, "done")
		})
	})
	idle := dial(t, e.addr).say(get("/"))
	idle.hear("GET")
	fresh := dial(t, e.addr)
	running := dial(t, e.addr).say(get("/running") + get("/never"))
	begun := dial(t, e.addr).say(get("/begun"))
	<-entered
	<-entered
	e.drain()
	idle.closed()
	close(finish)
	if response, body := running.hear("GET"); string(body) != "done" || !response.Close {
		t.Errorf("%v %q", response, body)
	}
	running.closed()
	if _, body := begun.hear("GET"); string(body) != "begundone" {
		t.Errorf("%q", body)
	}
	begun.closed()
	if response, body := fresh.say(get("/")).hear("GET"); string(body) != "hello" || !response.Close {
		t.Errorf("%v %q", response, body)
	}
	fresh.closed()
	for range 4 {
		e.ended(t)
	}
}

// A hit that is being written when draining begins is written to its end.
func TestDrainingDuringAHit(t *testing.T) {
	l := newLibrary(t, 1<<20)
	e := start(t, func(e *edge) { e.Hitter = l })
	c := dial(t, e.addr)
	const count = 50 // more than the kernel's buffers hold
	c.say(strings.Repeat(get("/file/0/1048576"), count))
	_, body := c.hear("GET")
	same(t, "first", body, l.content)
	e.drain()
	whole := 1
	for {
		response, err := http.ReadResponse(c.answer, nil)
		if err != nil {
			break
		}
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		same(t, "later", body, l.content)
		whole++
	}
	if whole == count {
		t.Error("draining had no effect")
	}
	e.ended(t)
}

// The same on a socket, where the kernel's buffers are between.
func TestAStalledSocket(t *testing.T) {
	l := newLibrary(t, 8<<20)
	e := start(t, func(e *edge) { e.Hitter, e.Config.StallTimeout = l, 200*time.Millisecond })
	for _, path := range []string{"/file/0/8388608", "/memory/8388608"} {
		begin := time.Now()
		dial(t, e.addr).say(get(path))
		x := <-l.results
		if x.Err == nil || x.Bytes == 0 || time.Since(begin) < 150*time.Millisecond {
			t.Errorf("%s: %+v after %v", path, x, time.Since(begin))
		}
		e.ended(t)
	}
	if ways := e.ways(t); ways["answer"] != 2 {
		t.Errorf("%v", ways)
	}
}

// A client that takes a little all the time is not one that takes nothing, though the socket says for long that it
// can take no more.
func TestASlowSocket(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("Linux only")
	}
	l := newLibrary(t, 16<<20) // more than the kernel's buffers hold
	e := start(t, func(e *edge) { e.Hitter, e.Config.StallTimeout = l, 300*time.Millisecond })
	raw, err := (&net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error {
		return raw.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 8<<10) })
	}}).Dial("tcp", e.addr)
	if err != nil {
		t.Fatal(err)
	}
	c := wrap(t, raw).say(get("/memory/16777216"))
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	begin := time.Now()
	piece, got := make([]byte, 4<<10), 0
	for time.Since(begin) < 1500*time.Millisecond {
		select {
		case <-tick.C:
		case x := <-l.results: // what the kernel has may still be read for long
			t.Fatalf("given up after %v: %+v", time.Since(begin), x)
		}
		n, err := c.Read(piece)
		if got += n; err != nil {
			t.Fatalf("cut after %d bytes and %v: %v", got, time.Since(begin), err)
		}
	}
	_ = c.Close()
	<-l.results
	e.ended(t)
}

// One that could take for ever what is sent does not keep others from their turn.
func TestFairness(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	huge := make([]byte, 64<<20)
	e := start(t, func(e *edge) {
		small := &ready{head: []byte(okHead + "Content-Length: 5\r\n"), body: []byte("hello")}
		e.Hitter = hitter(func(r *h1.Request, a *h1.Answer) bool {
			if string(r.Path) == "/small" {
				return small.Hit(r, a)
			}
			a.Head, a.Body = []byte(okHead+"Content-Length: 67108864\r\n"), huge
			return true
		})
	})
	var stop atomic.Bool
	ended := make(chan struct{})
	large := dial(t, e.addr)
	go func() {
		defer close(ended)
		for !stop.Load() {
			_, _ = io.WriteString(large, get("/huge"))
			response, err := http.ReadResponse(large.answer, nil)
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := io.Copy(io.Discard, response.Body); err != nil {
				t.Error(err)
			}
		}
	}()
	c := dial(t, e.addr)
	begin := time.Now()
	const count = 200
	for range count {
		c.say(get("/small")).hear("GET")
	}
	each := time.Since(begin) / count
	stop.Store(true)
	<-ended
	t.Logf("a small answer beside a large one takes %v", each)
	if each > 100*time.Millisecond {
		t.Errorf("a small answer beside a large one takes %v", each)
	}
}
