package h1_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weir-stream/weir/internal/cdn/edge/h1"
)

// A viewer that has gone is not waited for: its request's context ends.
func TestAClientThatVanishes(t *testing.T) {
	for _, test := range []struct {
		name   string
		secure bool
		first  string // what it has sent besides
		vanish func(net.Conn)
	}{
		{"closed", false, "", func(c net.Conn) { _ = c.Close() }},
		{"reset", false, "", reset},
		{"half closed", false, "", func(c net.Conn) { _ = c.(*net.TCPConn).CloseWrite() }},
		{"reset after another request", false, get("/next"), reset},
		{"closed, TLS", true, "", func(c net.Conn) { _ = c.Close() }},
	} {
		t.Run(test.name, func(t *testing.T) {
			entered, left := make(chan struct{}), make(chan error, 1)
			e := start(t, func(e *edge) {
				e.Handler = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					close(entered)
					select {
					case <-r.Context().Done():
						left <- r.Context().Err()
					case <-time.After(patience):
						left <- errors.New("nobody has said that the client has gone")
					}
				})
				if test.secure {
					e.tls = certificate(t)
				}
			})
			dial := dial
			if test.secure {
				dial = dialTLS
			}
			c := dial(t, e.addr).say(get("/") + test.first)
			<-entered
			test.vanish(c.Conn)
			if err := <-left; !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			if e.ended(t) != nil {
				t.Error("the connection came back")
			}
		})
	}
}

func reset(c net.Conn) {
	_ = c.(*net.TCPConn).SetLinger(0)
	_ = c.Close()
}

// A client that goes while it is being written to is noticed by the write.
func TestAClientThatVanishesWhileItIsWrittenTo(t *testing.T) {
	ended := make(chan error, 1)
	e := start(t, func(e *edge) {
		e.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			piece := make([]byte, 100_000)
			for {
				if _, err := w.Write(piece); err != nil {
					if r.Context().Err() == nil {
						err = errors.New("the context goes on")
					}
					ended <- err
					return
				}
			}
		})
	})
	c := dial(t, e.addr).say(get("/"))
	if _, err := c.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	reset(c.Conn)
	if err := <-ended; err == nil || strings.Contains(err.Error(), "goes on") {
		t.Error(err)
	}
	e.ended(t)
}

// Requests that came while a Handler ran are answered after it, however many they are.
func TestRequestsThatComeMeanwhile(t *testing.T) {
	release := make(chan struct{})
	e := start(t, func(e *edge) {
		e.Config.HeaderBytes = 2000 // and the buffer holds 8 KB
		e.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/wait" {
				<-release
			}
			_, _ = io.WriteString(w, r.URL.Path)
		})
	})
	c := dial(t, e.addr).say(get("/wait"))
	go func() {
		for i := range 1000 {
			_, _ = io.WriteString(c, get(fmt.Sprintf("/%d", i)))
		}
		close(release)
	}()
	if _, body := c.hear("GET"); string(body) != "/wait" {
		t.Errorf("got %q", body)
	}
	for i := range 1000 {
		if _, body := c.hear("GET"); string(body) != fmt.Sprintf("/%d", i) {
			t.Fatalf("%d: got %q", i, body)
		}
	}
}

// lines collects what is logged.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func TestPanics(t *testing.T) {
	for _, test := range []struct {
		name   string
		panics func()
		hit    bool
		logged string
	}{
		{"handler", func() { panic("on purpose") }, false, "on purpose"},
		{"handler, abort", func() { panic(http.ErrAbortHandler) }, false, ""},
		{"hitter", func() { panic("on purpose") }, true, "on purpose"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var log lines
			e := start(t, func(e *edge) {
				e.Log = slog.New(slog.NewTextHandler(&log, nil))
				e.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					_, _ = io.WriteString(w, "not to be sent")
					test.panics()
				})
				if test.hit {
					e.Hitter = hitter(func(*h1.Request, *h1.Answer) bool { test.panics(); return false })
				}
			})
			dial(t, e.addr).say(get("/")).closed()
			e.ended(t)
			if text := log.String(); (test.logged == "") != (text == "") || !strings.Contains(text, test.logged) ||
				test.logged != "" && !strings.Contains(text, "handle_test.go") {
				t.Errorf("logged %q", text)
			}
		})
	}
}

func TestTheDeadlinesOfAHandler(t *testing.T) {
	errs := make(chan error, 1)
	e := start(t, func(e *edge) {
		e.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			control := http.NewResponseController(w)
			switch r.URL.Path {
			case "/read":
				if err := control.SetReadDeadline(time.Now().Add(10 * time.Millisecond)); err != nil {
					t.Error(err)
				}
				<-r.Context().Done()
				errs <- nil
			case "/write":
				if err := control.SetWriteDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
					t.Error(err)
				}
				for piece := make([]byte, 1<<20); ; {
					if _, err := w.Write(piece); err != nil {
						errs <- err
						return
					}
				}
			case "/soon":
				if err := control.SetWriteDeadline(time.Now().Add(time.Minute)); err != nil {
					t.Error(err)
				}
				_, _ = io.WriteString(w, "in time")
			case "/hijack":
				_, _, err := control.Hijack()
				errs <- err
			}
		})
	})
	c := dial(t, e.addr)
	for range 3 { // one deadline does not outlive its request
		if _, body := c.say(get("/soon")).hear("GET"); string(body) != "in time" {
			t.Errorf("got %q", body)
		}
	}
	c.say(get("/hijack")).hear("GET")
	if err := <-errs; !errors.Is(err, http.ErrNotSupported) {
		t.Errorf("hijacking: %v", err)
	}
	c.say(get("/read"))
	<-errs
	dial(t, e.addr).say(get("/write"))
	if err := <-errs; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("writing for too long: %v", err)
	}
}

// Done is told of a failure of its own no second time.
func TestDoneIsCalledOnce(t *testing.T) {
	results := make(chan h1.Result, 2)
	e := start(t, func(e *edge) {
		e.Hitter = hitter(func(_ *h1.Request, a *h1.Answer) bool {
			a.Head, a.Body = []byte(okHead+"Content-Length: 5\r\n"), []byte("hello")
			a.Done = func(x h1.Result) { results <- x; panic("on purpose") }
			return true
		})
	})
	c := dial(t, e.addr).say(get("/"))
	if _, body := c.hear("GET"); string(body) != "hello" {
		t.Errorf("got %q", body)
	}
	c.closed()
	e.ended(t)
	if x := <-results; x.Err != nil || len(results) > 0 {
		t.Errorf("%+v, and %d more", x, len(results))
	}
}

func TestAnInvalidContentLengthIsNotSent(t *testing.T) {
	e := start(t, func(e *edge) {
		e.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "many")
			_, _ = io.WriteString(w, "hello")
		})
	})
	if response, body := dial(t, e.addr).say(get("/")).hear("GET"); response.ContentLength != 5 || string(body) != "hello" {
		t.Errorf("%v %q", response, body)
	}
}

func TestTheRequestsOfTLS(t *testing.T) {
	e := start(t, func(e *edge) {
		e.tls = certificate(t)
		e.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, r.TLS != nil && r.TLS.HandshakeComplete && r.TLS.Version > 0)
		})
	})
	if _, body := dialTLS(t, e.addr).say(get("/")).hear("GET"); string(body) != "true" {
		t.Errorf("got %s", body)
	}
}

// A field that comes twice is for the Handler, which sees both.
func TestWhatComesTwiceIsHandled(t *testing.T) {
	e := start(t, func(e *edge) {
		e.Hitter = &ready{head: []byte(okHead + "Content-Length: 3\r\n"), body: []byte("hit")}
		e.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Header["Range"]) })
	})
	c := dial(t, e.addr).say("GET / HTTP/1.1\r\nHost: a\r\nRange: bytes=0-1\r\nRange: bytes=2-3\r\n\r\n" + get("/"))
	if _, body := c.hear("GET"); string(body) != "[bytes=0-1 bytes=2-3]" {
		t.Errorf("got %s", body)
	}
	if _, body := c.hear("GET"); string(body) != "hit" {
		t.Errorf("got %s", body)
	}
}
