package h2_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/weir-stream/weir/internal/cdn/edge/h1"
)

var post = []string{":method", "POST", ":scheme", "https", ":authority", "edge.test", ":path", "/"}

// The end of a body needs no window (§6.9.1), and no stream waits for one.
func TestEndNeedsNoWindow(t *testing.T) {
	inTime(t, nil, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(pattern(65535)) // all that the connection's window lets through
		_ = http.NewResponseController(w).Flush()
		time.Sleep(time.Second)
	}, func(t *testing.T, c net.Conn, since time.Time) {
		p, notes := talk(t, c)
		p.get(1, "/")
		for n := range notes {
			if n.kind == http2.FrameData && n.ends {
				break
			}
		}
		if took := time.Since(since); took != time.Second {
			t.Errorf("the end came after %v", took)
		}
	})
}

// Who takes a byte in each stall timeout does not hold an object for hours.
func TestDrippingClient(t *testing.T) {
	hits := newShelf()
	inTime(t, hits, nil, func(t *testing.T, c net.Conn, since time.Time) {
		p, notes := talk(t, c)
		go func() {
			for range notes { // a pipe has no buffer
			}
		}()
		p.get(1, "/large")
		for len(hits.results) == 0 && time.Since(since) < time.Hour {
			time.Sleep(20 * time.Second)
			p.must(p.framer.WriteWindowUpdate(0, 1))
			p.must(p.framer.WriteWindowUpdate(1, 1))
		}
		if took := time.Since(since); took > 3*h1.DefaultConfig().StallTimeout {
			t.Errorf("it was let go after %v", took)
		}
	})
}

// What a client sends for a stream that a draining server does not serve harms no other (§6.8).
func TestLateStreamWhileDraining(t *testing.T) {
	for name, send := range map[string]func(*peer){
		"WINDOW_UPDATE": func(p *peer) { p.must(p.framer.WriteWindowUpdate(3, 1000)) },
		"DATA":          func(p *peer) { p.must(p.framer.WriteData(3, true, []byte("x"))) },
		"RST_STREAM":    func(p *peer) { p.must(p.framer.WriteRSTStream(3, http2.ErrCodeCancel)) },
	} {
		t.Run(name, func(t *testing.T) {
			release := make(chan struct{})
			server := start(t, nil, func(w http.ResponseWriter, _ *http.Request) {
				<-release
				_, _ = io.WriteString(w, "finished")
			}, nil)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			near, far := pipe(t)
			served := make(chan struct{})
			go func() { server.ServeConn(ctx, far); close(served) }()
			p := meet(t, near)
			p.get(1, "/")
			for goAways := 0; goAways < 2; {
				f, err := p.framer.ReadFrame()
				p.must(err)
				switch f := f.(type) {
				case *http2.SettingsFrame:
					if f.IsAck() { // the request is there
						cancel()
					}
				case *http2.GoAwayFrame:
					goAways++
				}
			}
			p.request(3, name != "DATA", post...)
			send(p)
			p.must(p.framer.WritePing(false, [8]byte{}))
			for pong := false; !pong; { // all of it has been taken
				f, err := p.framer.ReadFrame()
				p.must(err)
				_, pong = f.(*http2.PingFrame)
			}
			close(release)
			if r := p.answer(1); string(r.body) != "finished" {
				t.Errorf("%+v", r)
			}
			_ = near.Close()
			<-served
		})
	}
}

// What a connection has not taken is not counted as sent.
func TestResultOfWhatWasNotTaken(t *testing.T) {
	hits := newShelf()
	hits.bodies["/some"] = pattern(20_000)
	near, far := pipe(t)
	served := make(chan struct{})
	go func() { start(t, hits, nil, nil).ServeConn(t.Context(), &broken{Conn: far}); close(served) }()
	meet(t, near).get(1, "/some")
	if r := <-hits.results; r.Err == nil || r.Bytes != 0 {
		t.Errorf("%+v", r)
	}
	_ = near.Close()
	<-served
}

// broken takes little only.
type broken struct{ net.Conn }

func (b *broken) Write(p []byte) (int, error) {
	if len(p) > 4000 {
		return 0, errors.New("broken")
	}
	return b.Conn.Write(p)
}

// The window of the connection is given back whatever becomes of a stream (§6.9).
func TestWindowOfRefusedBodies(t *testing.T) {
	p := dial(t, listen(t, start(t, nil, func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }, nil)))
	const bodies, size = 80, 16 << 10 // more than the window in all
	widened := 0
	for i := range uint32(bodies) {
		p.request(2*i+1, false, append(append([]string{}, post...), "content-length", "5")...)
		p.must(p.framer.WriteData(2*i+1, false, make([]byte, size)))
		for reset := false; !reset; {
			f, err := p.framer.ReadFrame()
			p.must(err)
			switch f := f.(type) {
			case *http2.WindowUpdateFrame:
				widened += int(f.Increment)
			case *http2.RSTStreamFrame:
				reset = f.StreamID == 2*i+1
			case *http2.GoAwayFrame:
				t.Fatalf("%v after %d bodies", f.ErrCode, i)
			}
		}
	}
	if first := 1<<20 - 65535; widened < first+bodies*size/2 {
		t.Errorf("of %d bytes %d were given back", bodies*size, widened-first)
	}
}

// After the end of a connection little more is read of it.
func TestFloodAfterTheEnd(t *testing.T) {
	server := start(t, nil, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, nil)
	near, far := pipe(t)
	served := make(chan struct{})
	go func() { server.ServeConn(t.Context(), far); close(served) }()
	p := meet(t, near)
	go func() { _, _ = io.Copy(io.Discard, near) }()
	p.insists = true
	for i := range uint32(201) { // too many
		p.request(2*i+1, true, plain...)
		p.must(p.framer.WriteRSTStream(2*i+1, http2.ErrCodeCancel))
	}
	sent := 0
	for flood := bytes.Repeat([]byte("\x00\x00\x08\x06\x00\x00\x00\x00\x00a ping!!"), 1<<16); ; {
		n, err := near.Write(flood)
		if sent += n; err != nil {
			break
		}
	}
	if sent > 16<<20 { // the kernel has buffers
		t.Errorf("%d bytes were taken", sent)
	}
	<-served
}

// No interim answer comes after the final one (§8.1), and none to a body that is there.
func TestNoContinueAfterTheHead(t *testing.T) {
	reads := make(chan struct{})
	p := dial(t, listen(t, start(t, nil, func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).Flush()
		<-reads
		_, _ = io.Copy(io.Discard, r.Body)
	}, nil)))
	p.request(1, false, append(append([]string{}, post...), "expect", "100-continue")...)
	statuses := ""
	p.framer.SetReuseFrames()
	for ended := false; !ended; {
		f, err := p.framer.ReadFrame()
		p.must(err)
		switch f := f.(type) {
		case *http2.MetaHeadersFrame:
			statuses += f.PseudoValue("status") + " "
			close(reads)
			p.must(p.framer.WriteData(1, true, []byte("x")))
		case *http2.DataFrame:
			ended = f.StreamEnded()
		}
	}
	if statuses != "200 " {
		t.Errorf("the statuses are %s", statuses)
	}
}

// The server outlives a panic of who is told of an answer's end.
func TestPanicOfWhoIsTold(t *testing.T) {
	told := make(chan struct{}, 10)
	p := dial(t, listen(t, start(t, hitterFunc(func(r *h1.Request, a *h1.Answer) bool {
		a.Head, a.Body = []byte("HTTP/1.1 200 OK\r\n"), pattern(1<<20)
		a.Done = func(h1.Result) { told <- struct{}{}; panic("told") }
		return string(r.Path) == "/hit"
	}), nil, nil)))
	p.must(p.framer.WriteWindowUpdate(0, wide))
	p.get(1, "/hit")
	p.must(p.framer.WriteRSTStream(1, http2.ErrCodeCancel))
	<-told
	p.get(3, "/other")
	if r := p.answer(3); r.status != "404" {
		t.Errorf("%+v", r)
	}
}
