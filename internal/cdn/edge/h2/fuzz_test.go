package h2_test

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/weir-stream/weir/internal/cdn/edge/h1"
	"github.com/weir-stream/weir/internal/cdn/edge/h2"
)

// Whatever a client sends: the server does not panic, ends when the client has gone, and every answer that was lent is
// given back.
func FuzzServe(f *testing.F) {
	frames := func(write func(*http2.Framer)) []byte {
		var b bytes.Buffer
		write(http2.NewFramer(&b, nil))
		return b.Bytes()
	}
	fields := func(path string) []byte {
		var b bytes.Buffer
		e := hpack.NewEncoder(&b)
		for _, field := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", "a"}, {":path", path}, {"cookie", "a=b"}} {
			_ = e.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]})
		}
		return b.Bytes()
	}
	f.Add(frames(func(fr *http2.Framer) {
		_ = fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 10})
		_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: fields("/little"), EndStream: true, EndHeaders: true})
		_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, BlockFragment: fields("/large"), EndStream: true, EndHeaders: true})
		_ = fr.WriteWindowUpdate(3, 1000)
		_ = fr.WriteWindowUpdate(0, 1000)
		_ = fr.WriteRSTStream(3, http2.ErrCodeCancel)
		_ = fr.WritePing(false, [8]byte{})
	}))
	f.Add(frames(func(fr *http2.Framer) {
		_ = fr.WriteSettings()
		_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: fields("/echo"), EndHeaders: true})
		_ = fr.WriteData(1, false, []byte("abc"))
		_ = fr.WriteData(1, true, nil)
		_ = fr.WriteGoAway(0, http2.ErrCodeNo, nil)
	}))
	f.Fuzz(func(t *testing.T, sent []byte) {
		hits := newShelf()
		lent := make(chan int, 1000)
		server := start(t, hitterFunc(func(r *h1.Request, a *h1.Answer) bool {
			ok := hits.Hit(r, a)
			if ok {
				lent <- 1
			}
			return ok
		}), func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }, func(s *h2.Settings) {
			s.Config.HeaderTimeout, s.Config.IdleTimeout, s.Config.StallTimeout = time.Second, time.Second, time.Second
		})
		near, far := net.Pipe()
		served := make(chan struct{})
		go func() { server.ServeConn(t.Context(), far); close(served) }()
		go func() { _, _ = io.Copy(io.Discard, near) }()
		_ = near.SetWriteDeadline(time.Now().Add(5 * time.Second))
		_, _ = io.WriteString(near, http2.ClientPreface)
		_, _ = near.Write(sent)
		_ = near.Close()
		<-served
		for range len(lent) {
			<-hits.results
		}
	})
}

type hitterFunc func(*h1.Request, *h1.Answer) bool

func (f hitterFunc) Hit(r *h1.Request, a *h1.Answer) bool { return f(r, a) }
