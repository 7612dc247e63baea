package h1_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"syscall"
	"testing"

	"github.com/weir-stream/weir/internal/cdn/edge/h1"
)

// ready is a Hitter that has one answer.
type ready struct {
	head, body []byte
	file       *os.File
}

func (h *ready) Hit(_ *h1.Request, a *h1.Answer) bool {
	a.Head, a.Body = h.head, h.body
	if h.file != nil {
		a.FD, a.Length = h.file.Fd(), int64(len(h.body))
		a.Done = nothing
	}
	a.Extra = append(a.Extra, "Age: 7\r\nCache-Status: edge; hit; ttl=3600\r\n"...)
	return true
}

func nothing(h1.Result) {}

const playerFields = "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36\r\n" +
	"Accept: */*\r\nOrigin: https://player.example\r\nReferer: https://player.example/watch/7\r\n" +
	"Accept-Encoding: gzip, deflate, br\r\nAccept-Language: en-GB,en;q=0.9\r\nSec-Fetch-Mode: cors\r\nConnection: keep-alive\r\n"

// BenchmarkLoop compares the loop with net/http, both over one kept connection of the loopback.
func BenchmarkLoop(b *testing.B) {
	for _, size := range []int{1 << 10, 64 << 10, 1 << 20} {
		body := bytes.Repeat([]byte("x"), size)
		hit := &ready{fmt.Appendf(nil, okHead+"Content-Length: %d\r\nEtag: \"1\"\r\nCache-Control: max-age=3600\r\nAccept-Ranges: bytes\r\n", size), body, nil}
		file, err := os.CreateTemp(b.TempDir(), "segment")
		if err != nil {
			b.Fatal(err)
		}
		defer file.Close()
		if _, err := file.Write(body); err != nil {
			b.Fatal(err)
		}
		plain := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			h := w.Header()
			h.Set("Content-Type", "video/mp4")
			h.Set("Content-Length", strconv.Itoa(size))
			h.Set("Etag", `"1"`)
			h.Set("Cache-Control", "max-age=3600")
			h.Set("Accept-Ranges", "bytes")
			h.Set("Age", "7")
			h.Set("Cache-Status", "edge; hit; ttl=3600")
			_, _ = w.Write(body)
		})
		for _, contender := range []struct {
			name  string
			serve func(b *testing.B, l net.Listener)
		}{
			{"hit", loop(hit, http.NotFoundHandler())},
			{"hit-file", loop(&ready{hit.head, body, file}, http.NotFoundHandler())},
			{"handled", loop(nil, plain)},
			{"net-http", func(b *testing.B, l net.Listener) {
				server := &http.Server{Handler: plain}
				go server.Serve(l)
				b.Cleanup(func() { server.Close() })
			}},
		} {
			b.Run(fmt.Sprintf("%dKB/%s", size>>10, contender.name), func(b *testing.B) {
				l, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					b.Fatal(err)
				}
				contender.serve(b, l)
				c, err := net.Dial("tcp", l.Addr().String())
				if err != nil {
					b.Fatal(err)
				}
				defer c.Close()
				request := []byte("GET /live/a/object.m4s HTTP/1.1\r\nHost: edge.example\r\n" + playerFields + "\r\n")
				buffer := make([]byte, 1<<20)
				b.SetBytes(int64(size))
				b.ReportAllocs()
				begin := processorTime()
				for b.Loop() {
					if _, err := c.Write(request); err != nil {
						b.Fatal(err)
					}
					if err := readAnswer(c, buffer, size); err != nil {
						b.Fatal(err)
					}
				}
				// Where others use the machine too, this says more than the time that has passed. The client's is in it.
				b.ReportMetric(float64(processorTime()-begin)/float64(b.N), "cpu-ns/op")
			})
		}
	}
}

// processorTime is what this process has used.
func processorTime() int64 {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

func loop(hit h1.Hitter, handler http.Handler) func(b *testing.B, l net.Listener) {
	return func(b *testing.B, l net.Listener) {
		server, err := h1.New(h1.Settings{Config: h1.DefaultConfig(), Hitter: hit, Handler: handler, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			b.Fatal(err)
		}
		var connections sync.WaitGroup
		ctx, cancel := context.WithCancel(context.Background())
		connections.Go(func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				connections.Go(func() { server.ServeConn(ctx, c) })
			}
		})
		b.Cleanup(func() { cancel(); l.Close(); connections.Wait() })
	}
}

// readAnswer reads a head and so many bytes of body, with as little work as can be.
func readAnswer(r io.Reader, buffer []byte, body int) error {
	have := 0
	for {
		n, err := r.Read(buffer[have:])
		if err != nil {
			return err
		}
		have += n
		end := bytes.Index(buffer[:min(have, 4<<10)], []byte("\r\n\r\n"))
		if end < 0 {
			continue
		}
		for left := body - (have - end - 4); left > 0; left -= n {
			if n, err = r.Read(buffer[:min(left, len(buffer))]); err != nil {
				return err
			}
		}
		return nil
	}
}
