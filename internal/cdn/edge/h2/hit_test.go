package h2_test

import (
	"bytes"
	"net"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/net/http2"

	"github.com/weir-stream/weir/internal/cdn/edge/h1"
	"github.com/weir-stream/weir/internal/cdn/edge/h2"
)

const wide = 1<<31 - 1 - 65535

func TestHit(t *testing.T) {
	s := newShelf()
	p := dial(t, listen(t, start(t, s, nil, func(s *h2.Settings) {
		s.Secure = func() []string { return []string{"Strict-Transport-Security", "max-age=1"} }
	})))
	p.get(1, "/little?a=b", "accept", "*/*", "cookie", "a=1", "cookie", "b=2")
	r := p.answer(1)
	if r.status != "200" || string(r.body) != "little" || r.fields["age"] != "7" || r.fields["content-type"] != "video/mp4" ||
		r.fields["content-length"] != "6" || len(r.fields["x-long"]) != 300 || r.fields["date"] == "" {
		t.Errorf("%+v", r)
	}
	if r.fields["strict-transport-security"] != "" {
		t.Error("a field for TLS came over plaintext")
	}
	if result := <-s.results; result.Err != nil || result.Bytes != 6 || result.FirstByte.IsZero() || result.Last.Before(result.FirstByte) {
		t.Errorf("result %+v", result)
	}
	want := "GET /little?a=b HTTP/1.1\r\nHost: edge.test\r\naccept: */*\r\ncookie: a=1; b=2\r\n\r\n"
	if s.heads[0] != want {
		t.Errorf("the hitter was asked %q, want %q", s.heads[0], want)
	}
	p.request(3, true, ":method", "HEAD", ":scheme", "https", ":authority", "edge.test", ":path", "/little")
	if r := p.answer(3); r.status != "200" || len(r.body) != 0 || r.fields["content-length"] != "6" {
		t.Errorf("HEAD: %+v", r)
	}
	if result := <-s.results; result.Err != nil || result.Bytes != 0 {
		t.Errorf("HEAD: result %+v", result)
	}
}

// A body larger than the windows comes as they are widened, and several take turns.
func TestFlowControl(t *testing.T) {
	s := newShelf()
	p := dial(t, listen(t, start(t, s, nil, nil)))
	p.get(1, "/large")
	all, _, _ := p.read(func(all map[uint32]*reply) bool { return all[1] != nil && len(all[1].body) == 65535 })
	got := all[1].body
	p.must(p.framer.WriteWindowUpdate(0, wide))
	p.must(p.framer.WriteWindowUpdate(1, 100))
	all, _, _ = p.read(func(all map[uint32]*reply) bool { return all[1] != nil && len(all[1].body) == 100 })
	got = append(got, all[1].body...)
	p.must(p.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30}))
	p.get(3, "/large")
	all, _, _ = p.read(func(all map[uint32]*reply) bool {
		return all[1] != nil && all[1].ended && all[3] != nil && all[3].ended
	})
	if got = append(got, all[1].body...); !bytes.Equal(got, s.bodies["/large"]) {
		t.Errorf("%d bytes, not those that were to come", len(got))
	}
	if !bytes.Equal(all[3].body, s.bodies["/large"]) {
		t.Errorf("the other: %d bytes, not those that were to come", len(all[3].body))
	}
	for range 2 {
		if result := <-s.results; result.Err != nil || result.Bytes != 1<<20 || result.TCP == nil {
			t.Errorf("result %+v", result)
		}
	}
}

// While a large answer is sent a little one does not wait for its end.
func TestAnswersTakeTurns(t *testing.T) {
	s := newShelf()
	s.bodies["/huge"] = pattern(64 << 20)
	p := dial(t, listen(t, start(t, s, nil, nil)), http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30})
	p.must(p.framer.WriteWindowUpdate(0, wide))
	p.get(1, "/huge")
	p.read(func(all map[uint32]*reply) bool { return all[1] != nil && len(all[1].body) > 0 })
	p.get(3, "/little")
	all, _, _ := p.read(func(all map[uint32]*reply) bool { return all[3] != nil && all[3].ended })
	if n := len(all[1].body); n > 32<<20 {
		t.Errorf("the little answer came after %d bytes of the large one", n)
	}
	p.must(p.framer.WriteRSTStream(1, http2.ErrCodeCancel))
	for range 2 {
		result := <-s.results
		if result.Bytes == 6 {
			continue
		}
		if result.Err == nil || result.Bytes >= 64<<20 {
			t.Errorf("after a reset: %+v", result)
		}
	}
	p.get(5, "/little")
	if r := p.answer(5); string(r.body) != "little" {
		t.Errorf("after a reset: %+v", r)
	}
}

// Whoever goes away takes nothing with them: what was lent for their answers is given back.
func TestEveryAnswerIsAccountedFor(t *testing.T) {
	s := newShelf()
	address := listen(t, start(t, s, nil, nil))
	p := dial(t, address)
	const streams = 20
	for i := range uint32(streams) {
		p.get(2*i+1, "/large")
	}
	p.read(func(all map[uint32]*reply) bool { return len(all) > 3 })
	p.must(p.conn.(*net.TCPConn).SetLinger(0))
	p.must(p.conn.Close())
	for range streams {
		if result := <-s.results; result.Err == nil {
			t.Errorf("%+v without an error", result)
		}
	}
}

// What the hitter has found out reaches the handler, and requests that HTTP/1.1 could not say go there at once.
func TestMissGoesToTheHandler(t *testing.T) {
	s := newShelf()
	seen := make(chan *http.Request, 10)
	p := dial(t, listen(t, start(t, s, func(_ http.ResponseWriter, r *http.Request) { seen <- r }, nil)))
	p.get(1, "/other", "x-a", "1", "x-a", "2", "cookie", "a=1", "cookie", "b=2")
	p.answer(1)
	r := <-seen
	if h1.Carried(r.Context()) != "carried" || r.Proto != "HTTP/2.0" || r.Host != "edge.test" || r.URL.Path != "/other" ||
		strings.Join(r.Header["X-A"], ",") != "1,2" || r.Header.Get("Cookie") != "a=1; b=2" || r.RemoteAddr == "" {
		t.Errorf("%+v", r)
	}
	p.request(3, true, ":method", "POST", ":scheme", "https", ":authority", "edge.test", ":path", "/little")
	p.answer(3)
	if r := <-seen; r.Method != http.MethodPost || h1.Carried(r.Context()) != nil {
		t.Errorf("%+v", r)
	}
	p.get(5, "/a b\x00c")
	if r := p.answer(5); !r.broken && r.status != "400" {
		t.Errorf("a path with a NUL: %+v", r)
	}
	if len(s.heads) != 1 {
		t.Errorf("the hitter was asked %q", s.heads)
	}
}
