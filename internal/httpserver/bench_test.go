package httpserver_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"golang.org/x/sys/unix"

	"github.com/weir-stream/weir/internal/httpserver"
	"github.com/weir-stream/weir/internal/httpserver/certs"
	"github.com/weir-stream/weir/internal/httpserver/certs/certstest"
)

// benchVariable has the test binary be a server: "weir" or "net/http", then its certificate and key.
const benchVariable = "HTTPSERVER_BENCH"

// benchServer serves answers of the size that is asked for, in the way that its environment says, and at /cpu the
// time that it has used up.
func benchServer(kind, certificate, key string) error {
	content := make([]byte, 1<<20)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/cpu" {
			var usage syscall.Rusage
			_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
			_, _ = fmt.Fprint(w, usage.Utime.Nano()+usage.Stime.Nano())
			return
		}
		size, _ := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/"))
		w.Header().Set("Content-Length", strconv.Itoa(size))
		w.Header()["Date"] = nil // so that all answers have the same length
		_, _ = w.Write(content[:size])
	})
	if kind == "net/http" {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		fmt.Println(l.Addr())
		c := httpserver.DefaultConfig("") // the same bounds, as far as it has them
		server := &http.Server{Handler: handler, ReadHeaderTimeout: c.HeaderTimeout, IdleTimeout: c.IdleTimeout, MaxHeaderBytes: c.MaxHeaderBytes}
		return server.ServeTLS(l, certificate, key)
	}
	config := httpserver.DefaultConfig("127.0.0.1:0")
	config.TLS.HTTP3 = false // says nothing of itself in the answers
	config.TLS.Certificates = []certs.File{{Certificate: certificate, Key: key}}
	server, err := httpserver.New(httpserver.Settings{Config: config, Handler: handler, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	if err := server.Listen(); err != nil {
		return err
	}
	fmt.Println(server.Addr())
	return server.Run(context.Background())
}

// startBench starts a server in a process with one core.
func startBench(b *testing.B, kind string) (address string, pool *x509.CertPool) {
	b.Helper()
	authority := certstest.NewAuthority(b)
	certificate, key := authority.Write(b, b.TempDir(), "site", "127.0.0.1")
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), benchVariable+"="+kind+" "+certificate+" "+key, "GOMAXPROCS=1")
	command.Stderr = os.Stderr
	out, err := command.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := command.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	return strings.TrimSpace(line), authority.Pool
}

// benchClient asks over one connection, and does not decrypt the answers but the first: it knows by then how many
// bytes they have.
type benchClient struct {
	tcp    *net.TCPConn
	tls    *tls.Conn
	read   int // bytes
	framer *http2.Framer
	reader *bufio.Reader
	stream uint32
	buffer []byte
}

// Read counts for the TLS above.
func (c *benchClient) Read(p []byte) (int, error) {
	n, err := c.tcp.Read(p)
	c.read += n
	return n, err
}

type countingTCP struct {
	net.Conn
	client *benchClient
}

func (c countingTCP) Read(p []byte) (int, error) { return c.client.Read(p) }

func newBenchClient(address, protocol string, pool *x509.CertPool) (*benchClient, error) {
	raw, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	c := &benchClient{tcp: raw.(*net.TCPConn), buffer: make([]byte, 1<<20), stream: 1}
	c.tls = tls.Client(countingTCP{raw, c}, &tls.Config{RootCAs: pool, ServerName: "127.0.0.1", NextProtos: []string{protocol}})
	if err := c.tls.Handshake(); err != nil {
		return nil, err
	}
	if protocol == "http/1.1" {
		c.reader = bufio.NewReader(c.tls)
		return c, nil
	}
	c.framer = http2.NewFramer(c.tls, c.tls)
	c.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	_, err = io.WriteString(c.tls, http2.ClientPreface)
	return c, errors.Join(err,
		c.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1<<31 - 1}),
		c.framer.WriteWindowUpdate(0, 1<<26))
}

// send sends a request for path.
func (c *benchClient) send(path string) error {
	if c.framer == nil {
		_, err := io.WriteString(c.tls, "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n")
		return err
	}
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for _, f := range []hpack.HeaderField{{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "https"}, {Name: ":authority", Value: "x"}, {Name: ":path", Value: path}} {
		f.Sensitive = true // in no table, so that all requests are the same
		_ = encoder.WriteField(f)
	}
	if size, _ := strconv.Atoi(path[1:]); size > 0 {
		if err := c.framer.WriteWindowUpdate(0, uint32(size)); err != nil {
			return err
		}
	}
	err := c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: c.stream, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true})
	c.stream += 2
	return err
}

// ask reads an answer as everybody does.
func (c *benchClient) ask(path string) ([]byte, error) {
	if err := c.send(path); err != nil {
		return nil, err
	}
	if c.framer == nil {
		response, err := http.ReadResponse(c.reader, nil)
		if err != nil {
			return nil, err
		}
		return io.ReadAll(response.Body)
	}
	var content []byte
	for {
		frame, err := c.framer.ReadFrame()
		if err != nil {
			return nil, err
		}
		if data, ok := frame.(*http2.DataFrame); ok {
			if content = append(content, data.Data()...); data.StreamEnded() {
				return content, nil
			}
		}
	}
}

// askMany sends requests at once. How many bytes answer them depends on how they are put together, so it reads them.
func (c *benchClient) askMany(path string, requests int) error {
	for range requests {
		if err := c.send(path); err != nil {
			return err
		}
	}
	for requests > 0 {
		frame, err := c.framer.ReadFrame()
		if err != nil {
			return err
		}
		if data, ok := frame.(*http2.DataFrame); ok && data.StreamEnded() {
			requests--
		}
	}
	return nil
}

// drop sends a request and drops the n bytes that answer it, in the kernel.
func (c *benchClient) drop(path string, n int) error {
	if err := c.send(path); err != nil {
		return err
	}
	raw, err := c.tcp.SyscallConn()
	if err != nil {
		return err
	}
	for n > 0 && err == nil {
		err = errors.Join(raw.Read(func(fd uintptr) bool {
			got, _, e := unix.Recvfrom(int(fd), c.buffer[:min(n, len(c.buffer))], unix.MSG_TRUNC|unix.MSG_DONTWAIT)
			if e == unix.EAGAIN {
				return false
			}
			if err = e; got == 0 && e == nil {
				err = io.ErrUnexpectedEOF
			}
			n -= max(got, 0)
			return true
		}), err)
	}
	return err
}

// benched is one of the servers that are compared.
type benched struct {
	kind    string
	control *benchClient
	clients []*benchClient
	answer  int // bytes of an answer
	streams int // requests at once over a connection
	cpu     time.Duration
}

func (s *benched) used(b *testing.B) time.Duration {
	b.Helper()
	text, err := s.control.ask("/cpu")
	if err != nil {
		b.Fatal(err)
	}
	n, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil {
		b.Fatal(err)
	}
	return time.Duration(n)
}

// load asks n times over all connections at once, and adds what the server used for it.
func (s *benched) load(b *testing.B, path string, n int) {
	b.Helper()
	before := s.used(b)
	var left atomic.Int64
	left.Store(int64(n))
	var running sync.WaitGroup
	for _, c := range s.clients {
		running.Go(func() {
			for left.Add(-int64(s.streams)) >= 0 {
				var err error
				if s.streams > 1 {
					err = c.askMany(path, s.streams)
				} else {
					err = c.drop(path, s.answer)
				}
				if err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	running.Wait()
	s.cpu += s.used(b) - before
}

// BenchmarkServerCPU is what an answer over TLS takes of the server's processor, beside net/http alone: turn by turn,
// as much else may run on the machine.
func BenchmarkServerCPU(b *testing.B) {
	const turn, connections = 200, 8
	for _, by := range []struct {
		name, protocol string
		streams        int
	}{{"HTTP1", "http/1.1", 1}, {"HTTP2", "h2", 1}, {"HTTP2with8Streams", "h2", 8}} {
		for _, size := range []int{1 << 10, 64 << 10, 1 << 20} {
			b.Run(fmt.Sprintf("%s/%dKB", by.name, size>>10), func(b *testing.B) {
				path := "/" + strconv.Itoa(size)
				servers := []*benched{{kind: "net/http", streams: by.streams}, {kind: "weir", streams: by.streams}}
				for _, s := range servers {
					address, pool := startBench(b, s.kind)
					for i := range connections + 1 {
						c, err := newBenchClient(address, by.protocol, pool)
						if err != nil {
							b.Fatal(err)
						}
						b.Cleanup(func() { _ = c.tcp.Close() })
						for range 3 {
							c.read = 0
							if content, err := c.ask(path); err != nil || len(content) != size {
								b.Fatal(len(content), err)
							}
						}
						if s.answer = c.read; i == 0 {
							s.control = c
						} else {
							s.clients = append(s.clients, c)
						}
					}
				}
				b.ResetTimer()
				for left := b.N; left > 0; left -= turn {
					for _, s := range servers {
						s.load(b, path, min(left, turn))
					}
				}
				b.StopTimer()
				for _, s := range servers {
					b.ReportMetric(float64(s.cpu.Nanoseconds())/1e3/float64(b.N), s.kind+"-µs/op")
				}
				b.ReportMetric(float64(servers[0].cpu)/float64(servers[1].cpu), "times")
			})
		}
	}
}
