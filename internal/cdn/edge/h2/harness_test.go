package h2_test

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/weir-stream/weir/internal/cdn/edge/h1"
	"github.com/weir-stream/weir/internal/cdn/edge/h2"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// shelf answers with what lies on it, by path.
type shelf struct {
	mu      sync.Mutex
	bodies  map[string][]byte
	heads   []string
	results chan h1.Result
}

func newShelf() *shelf {
	return &shelf{bodies: map[string][]byte{"/little": []byte("little"), "/large": pattern(1 << 20)}, results: make(chan h1.Result, 1000)}
}

func (s *shelf) Hit(r *h1.Request, a *h1.Answer) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heads = append(s.heads, string(r.Raw()))
	body, ok := s.bodies[string(r.Path)]
	if !ok {
		r.Carry = "carried"
		return false
	}
	a.Head = []byte("HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\nX-Long: " + string(bytes.Repeat([]byte("x"), 300)) + "\r\n")
	a.Extra = append(a.Extra, "Age: 7\r\n"...)
	a.Body = body
	a.Done = func(r h1.Result) { s.results <- r }
	return true
}

func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * 7 >> 3)
	}
	return b
}

// start returns a server and what serves one connection with it.
func start(t testing.TB, hitter h1.Hitter, handler http.HandlerFunc, change func(*h2.Settings)) *h2.Server {
	t.Helper()
	if handler == nil {
		handler = http.NotFound
	}
	s := h2.Settings{Config: h1.DefaultConfig(), Hitter: hitter, Handler: handler, Log: slog.New(slog.DiscardHandler)}
	if change != nil {
		change(&s)
	}
	server, err := h2.New(s)
	if err != nil {
		t.Fatal(err)
	}
	return server
}

// listen serves connections on a port until the test ends.
func listen(t testing.TB, server *h2.Server) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { server.ServeConn(t.Context(), c) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); serving.Wait() })
	return l.Addr().String()
}

// peer is a client that can say whatever it likes.
type peer struct {
	t      testing.TB
	conn   net.Conn
	framer *http2.Framer
	block  bytes.Buffer
	fields *hpack.Encoder
	// insists says that it goes on to send when the server has ended the connection.
	insists bool
}

// dial connects, and says the preface and settings.
func dial(t testing.TB, address string, settings ...http2.Setting) *peer {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return meet(t, c, settings...)
}

func meet(t testing.TB, c net.Conn, settings ...http2.Setting) *peer {
	t.Helper()
	t.Cleanup(func() { _ = c.Close() })
	p := &peer{t: t, conn: c, framer: http2.NewFramer(c, c)}
	p.fields = hpack.NewEncoder(&p.block)
	p.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	p.framer.AllowIllegalWrites = true
	if _, err := io.WriteString(c, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	p.must(p.framer.WriteSettings(settings...))
	return p
}

func (p *peer) must(err error) {
	p.t.Helper()
	if err != nil && !p.insists {
		p.t.Fatal(err)
	}
}

func (p *peer) encode(pairs ...string) []byte {
	p.block.Reset()
	for i := 0; i < len(pairs); i += 2 {
		p.must(p.fields.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]}))
	}
	return bytes.Clone(p.block.Bytes())
}

func (p *peer) request(id uint32, end bool, pairs ...string) {
	p.t.Helper()
	p.must(p.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: p.encode(pairs...), EndStream: end, EndHeaders: true}))
}

func (p *peer) get(id uint32, path string, more ...string) {
	p.t.Helper()
	p.request(id, true, append([]string{":method", "GET", ":scheme", "https", ":authority", "edge.test", ":path", path}, more...)...)
}

// reply is what came of one stream.
type reply struct {
	status string
	fields map[string]string
	body   []byte
	ended  bool
	reset  http2.ErrCode
	broken bool
}

// read reads until enough says so, or the connection has ended. goAway is its code then.
func (p *peer) read(enough func(map[uint32]*reply) bool) (all map[uint32]*reply, goAway http2.ErrCode, ended bool) {
	p.t.Helper()
	all = make(map[uint32]*reply)
	of := func(id uint32) *reply {
		if all[id] == nil {
			all[id] = &reply{fields: make(map[string]string)}
		}
		return all[id]
	}
	goAway = http2.ErrCode(0xffff)
	for enough == nil || !enough(all) {
		f, err := p.framer.ReadFrame()
		if err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				p.t.Fatalf("nothing more came; so far %v", all)
			}
			return all, goAway, true
		}
		switch f := f.(type) {
		case *http2.MetaHeadersFrame:
			r := of(f.StreamID)
			r.status = f.PseudoValue("status")
			for _, field := range f.RegularFields() {
				r.fields[field.Name] = field.Value
			}
			r.ended = r.ended || f.StreamEnded()
		case *http2.DataFrame:
			r := of(f.StreamID)
			r.body = append(r.body, f.Data()...)
			r.ended = r.ended || f.StreamEnded()
		case *http2.RSTStreamFrame:
			r := of(f.StreamID)
			r.reset, r.broken = f.ErrCode, true
		case *http2.GoAwayFrame:
			goAway = f.ErrCode
		}
	}
	return all, goAway, false
}

// answer reads until the stream has ended.
func (p *peer) answer(id uint32) *reply {
	p.t.Helper()
	all, code, over := p.read(func(all map[uint32]*reply) bool { return all[id] != nil && (all[id].ended || all[id].broken) })
	if over {
		p.t.Fatalf("the connection has ended with %v before stream %d was answered", code, id)
	}
	return all[id]
}
