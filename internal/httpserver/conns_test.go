package httpserver_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weir-stream/weir/internal/httpserver"
)

// loop is a handler of connections that answers GET /loop… itself and gives everything else back.
type loop struct {
	conns   chan net.Conn
	release chan struct{} // answers of /loop/held wait for it
	entered chan struct{}
	served  atomic.Int64
}

func newLoop() *loop {
	return &loop{conns: make(chan net.Conn, 100), release: make(chan struct{}), entered: make(chan struct{}, 100)}
}

func (l *loop) ServeConn(ctx context.Context, c net.Conn) net.Conn {
	l.conns <- c
	idle := context.AfterFunc(ctx, func() { _ = c.SetReadDeadline(time.Now()) })
	defer idle()
	reader := bufio.NewReader(c)
	for {
		line, err := reader.Peek(len("GET /loop"))
		if err != nil {
			return nil
		}
		if !bytes.HasPrefix(line, []byte("GET /loop")) {
			return &readAhead{c, reader}
		}
		request, err := http.ReadRequest(reader)
		if err != nil {
			return nil
		}
		if request.URL.Path == "/loop/held" {
			l.entered <- struct{}{}
			<-l.release
		}
		l.served.Add(1)
		if _, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nloop"); err != nil || ctx.Err() != nil {
			return nil
		}
	}
}

type readAhead struct {
	net.Conn
	reader *bufio.Reader
}

func (c *readAhead) Read(p []byte) (int, error) { return c.reader.Read(p) }

// below returns the connection that is under all others.
func below(c net.Conn) net.Conn {
	for {
		inner, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			return c
		}
		c = inner.NetConn()
	}
}

func TestAHandlerOfConnectionsComesFirst(t *testing.T) {
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprintf("tls=%v", secure), func(t *testing.T) {
			l := newLoop()
			s := startSite(t, func(settings *httpserver.Settings) {
				settings.Conns = l
				if !secure {
					settings.Config.TLS = httpserver.DefaultTLSConfig()
				}
			})
			url := "http://" + s.Addr().String()
			if secure {
				url = s.url()
			}
			client := s.client(t, "http/1.1")
			for _, test := range []struct{ path, want string }{
				{"/loop/a", "loop"}, {"/loop/b", "loop"}, {"/other", fmt.Sprintf("HTTP/1.1 %v", secure)}, {"/loop/late", fmt.Sprintf("HTTP/1.1 %v", secure)},
			} {
				if _, body := get(t, client, url+test.path); body != test.want {
					t.Errorf("%s: %q, want %q", test.path, body, test.want)
				}
			}
			c := <-l.conns
			if len(l.conns) > 0 {
				t.Error("there was more than one connection")
			}
			if _, ok := below(c).(*net.TCPConn); !ok {
				t.Errorf("below it is a %T", below(c))
			}
			if _, ok := c.(interface {
				ConnectionState() tls.ConnectionState
			}); ok != secure {
				t.Errorf("it has a ConnectionState: %v", ok)
			}
			if secure { // those of HTTP/2 are not the loop's
				if _, body := get(t, s.client(t, "h2"), url+"/loop/a"); body != "HTTP/2.0 true" {
					t.Errorf("over HTTP/2: %q", body)
				}
			}
		})
	}
}

func TestWhatTheHandlerOfConnectionsGivesBackIsSniffed(t *testing.T) {
	s := startSite(t, func(settings *httpserver.Settings) {
		settings.Conns = newLoop()
		settings.Config.TLS = httpserver.DefaultTLSConfig()
		settings.Handler = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the handler saw it") })
	})
	c := speak(t, s.Addr().String(), "GET /loop/a HTTP/1.1\r\nHost: x\r\n\r\nPOST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
	reader := bufio.NewReader(c)
	for _, want := range []int{http.StatusOK, http.StatusBadRequest} {
		response, err := http.ReadResponse(reader, nil)
		if err != nil || response.StatusCode != want {
			t.Fatalf("%v, %v, want %d", response, err, want)
		}
		_, _ = io.Copy(io.Discard, response.Body)
	}
}

func TestAPanicOfTheHandlerOfConnectionsEndsOneConnection(t *testing.T) {
	s := startSite(t, func(settings *httpserver.Settings) {
		settings.Config.TLS = httpserver.DefaultTLSConfig()
		settings.Config.MaxConnections = 1
		settings.Conns = panicking{}
	})
	for range 3 {
		c := speak(t, s.Addr().String(), "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		if text, _ := io.ReadAll(c); len(text) > 0 {
			t.Errorf("got %q", text)
		}
	}
}

type panicking struct{}

func (panicking) ServeConn(context.Context, net.Conn) net.Conn { panic("as is to be expected") }

// When the server stops: the answer that runs is finished, an idle connection closed at once, and one that has
// not asked yet gets its first answer.
func TestStoppingWithAHandlerOfConnections(t *testing.T) {
	l := newLoop()
	s := startSite(t, func(settings *httpserver.Settings) {
		settings.Conns = l
		settings.Config.TLS = httpserver.DefaultTLSConfig()
		settings.Config.DrainTimeout = time.Minute
	})
	idle := speak(t, s.Addr().String(), "GET /loop/a HTTP/1.1\r\nHost: x\r\n\r\n")
	idleReader := bufio.NewReader(idle)
	if response, err := http.ReadResponse(idleReader, nil); err != nil || response.StatusCode != http.StatusOK {
		t.Fatal(response, err)
	}
	_, _ = idleReader.Discard(4)
	held := speak(t, s.Addr().String(), "GET /loop/held HTTP/1.1\r\nHost: x\r\n\r\n")
	<-l.entered
	stopped := make(chan error, 1)
	go func() { stopped <- s.stop() }()
	if _, err := idleReader.ReadByte(); err != io.EOF {
		t.Errorf("the idle connection: %v", err)
	}
	select {
	case err := <-stopped:
		t.Fatalf("stopped (%v) while an answer runs", err)
	default:
	}
	close(l.release)
	if text, err := io.ReadAll(held); err != nil || !strings.HasSuffix(string(text), "loop") {
		t.Errorf("the answer that ran: %q, %v", text, err)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

// After the drain time nobody is waited for.
func TestStoppingEndsWithTheDrainTime(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			entered := make(chan struct{})
			s := startSite(t, func(settings *httpserver.Settings) {
				settings.Config.DrainTimeout = 3 * stall
				settings.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					close(entered)
					for {
						if _, err := w.Write(make([]byte, 1<<20)); err != nil {
							return
						}
					}
				})
			})
			response := make(chan *http.Response, 1)
			go func() {
				r, err := s.client(t, protocol).Get(s.url())
				if err != nil {
					t.Error(err)
				}
				response <- r
			}()
			<-entered
			r := <-response // and nothing of its body is read
			begun := time.Now()
			if err := s.stop(); err != nil {
				t.Error(err)
			}
			if took := time.Since(begun); took < 3*stall || took > 50*stall {
				t.Errorf("stopping took %v", took)
			}
			if r != nil {
				_ = r.Body.Close()
			}
		})
	}
}

// Who downloads when the server stops gets everything, whatever the protocol.
func TestStoppingLetsDownloadsFinish(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			const size = 8 << 20
			half := make(chan struct{})
			s := startSite(t, func(settings *httpserver.Settings) {
				settings.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					_, _ = w.Write(make([]byte, size/2))
					<-half
					_, _ = w.Write(make([]byte, size/2))
				})
			})
			response, err := s.client(t, protocol).Get(s.url())
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			if _, err := io.CopyN(io.Discard, response.Body, 1<<20); err != nil {
				t.Fatal(err)
			}
			stopped := make(chan error, 1)
			go func() { stopped <- s.stop() }()
			for { // until nobody can connect any more
				c, err := net.Dial("tcp", s.Addr().String())
				if err != nil {
					break
				}
				_ = c.Close()
			}
			close(half)
			if n, err := io.Copy(io.Discard, response.Body); err != nil || n != size-1<<20 {
				t.Errorf("%d of %d bytes after the stop: %v", n, size-1<<20, err)
			}
			if err := <-stopped; err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAProxySpeaksForItsClients(t *testing.T) {
	for _, test := range []struct {
		name, trusted, header, want string
	}{
		{"a trusted proxy", "127.0.0.0/8", "PROXY TCP4 192.0.2.1 198.51.100.1 8080 443\r\n", "192.0.2.1:8080"},
		{"a health check of its own", "127.0.0.0/8", "PROXY UNKNOWN\r\n", "127.0.0.1:"},
		{"nobody is trusted", "192.0.2.0/24", "", "127.0.0.1:"},
		{"a header from who is not trusted", "192.0.2.0/24", "PROXY TCP4 192.0.2.1 198.51.100.1 8080 443\r\n", "HTTP/1.1 400"},
		{"no header from who is trusted", "127.0.0.0/8", "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := startSite(t, func(settings *httpserver.Settings) {
				settings.Config.TLS = httpserver.DefaultTLSConfig()
				settings.Config.ProxyProtocol = []string{test.trusted}
				settings.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.RemoteAddr) })
			})
			c := speak(t, s.Addr().String(), test.header+"GET / HTTP/1.0\r\nHost: x\r\n\r\n")
			text, _ := io.ReadAll(c)
			if test.want == "" && len(text) > 0 || !strings.Contains(string(text), test.want) {
				t.Errorf("got %q, want %q", text, test.want)
			}
		})
	}
}
