package h2_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/weir-stream/weir/internal/cdn/edge/h2"
)

var plain = []string{":method", "GET", ":scheme", "https", ":authority", "edge.test", ":path", "/little"}

// without returns the fields but for those with these names.
func without(names ...string) []string {
	var out []string
next:
	for i := 0; i < len(plain); i += 2 {
		for _, name := range names {
			if plain[i] == name {
				continue next
			}
		}
		out = append(out, plain[i], plain[i+1])
	}
	return out
}

func with(pairs ...string) []string { return append(append([]string{}, plain...), pairs...) }

// What RFC 9113 calls an error of the connection ends it, with this code.
func TestErrorsOfTheConnection(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(*peer)
		want http2.ErrCode
	}{
		"DATA on an idle stream (§5.1)":          {func(p *peer) { p.must(p.framer.WriteData(1, true, []byte("x"))) }, http2.ErrCodeProtocol},
		"RST_STREAM on an idle stream (§5.1)":    {func(p *peer) { p.must(p.framer.WriteRSTStream(1, http2.ErrCodeCancel)) }, http2.ErrCodeProtocol},
		"WINDOW_UPDATE on an idle stream (§5.1)": {func(p *peer) { p.must(p.framer.WriteWindowUpdate(1, 100)) }, http2.ErrCodeProtocol},
		"an even stream (§5.1.1)":                {func(p *peer) { p.request(2, true, plain...) }, http2.ErrCodeProtocol},
		"a stream before the last (§5.1.1)":      {func(p *peer) { p.request(5, true, plain...); p.request(3, true, plain...) }, http2.ErrCodeProtocol},
		"PUSH_PROMISE (§8.4)": {func(p *peer) {
			p.request(1, false, plain...)
			p.must(p.framer.WritePushPromise(http2.PushPromiseParam{StreamID: 1, PromiseID: 2, BlockFragment: p.encode(plain...), EndHeaders: true}))
		}, http2.ErrCodeProtocol},
		"SETTINGS on a stream (§6.5)":      {func(p *peer) { p.must(p.framer.WriteRawFrame(http2.FrameSettings, 0, 1, nil)) }, http2.ErrCodeProtocol},
		"SETTINGS of an odd length (§6.5)": {func(p *peer) { p.must(p.framer.WriteRawFrame(http2.FrameSettings, 0, 0, []byte{1})) }, http2.ErrCodeFrameSize},
		"SETTINGS with a window too wide (§6.5)": {func(p *peer) {
			p.must(p.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 31}))
		}, http2.ErrCodeFlowControl},
		"SETTINGS with a frame too small (§6.5)": {func(p *peer) {
			p.must(p.framer.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 100}))
		}, http2.ErrCodeProtocol},
		"PING on a stream (§6.7)":             {func(p *peer) { p.must(p.framer.WriteRawFrame(http2.FramePing, 0, 1, make([]byte, 8))) }, http2.ErrCodeProtocol},
		"PING of an odd length (§6.7)":        {func(p *peer) { p.must(p.framer.WriteRawFrame(http2.FramePing, 0, 0, make([]byte, 7))) }, http2.ErrCodeFrameSize},
		"a window wider than can be (§6.9.1)": {func(p *peer) { p.must(p.framer.WriteWindowUpdate(0, 1<<31-1)) }, http2.ErrCodeFlowControl},
		"a window by nothing (§6.9)":          {func(p *peer) { p.must(p.framer.WriteRawFrame(http2.FrameWindowUpdate, 0, 0, make([]byte, 4))) }, http2.ErrCodeProtocol},
		"a frame that is too long (§4.2)":     {func(p *peer) { p.must(p.framer.WriteRawFrame(http2.FrameData, 0, 1, make([]byte, 16385))) }, http2.ErrCodeFrameSize},
		"fields that cannot be decoded (§4.3)": {func(p *peer) {
			p.must(p.framer.WriteRawFrame(http2.FrameHeaders, http2.FlagHeadersEndHeaders|http2.FlagHeadersEndStream, 1, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}))
		}, http2.ErrCodeCompression},
		"CONTINUATION alone (§6.10)": {func(p *peer) { p.must(p.framer.WriteContinuation(1, true, nil)) }, http2.ErrCodeProtocol},
		"something between HEADERS and CONTINUATION (§6.2)": {func(p *peer) {
			p.must(p.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.encode(plain...), EndStream: true}))
			p.must(p.framer.WritePing(false, [8]byte{}))
		}, http2.ErrCodeProtocol},
		"more DATA than was allowed (§6.9)": {func(p *peer) {
			for i := range uint32(10) {
				p.request(2*i+1, false, ":method", "POST", ":scheme", "https", ":authority", "edge.test", ":path", "/wait")
				for range 15 {
					if p.framer.WriteData(2*i+1, false, make([]byte, 16384)) != nil {
						return
					}
				}
			}
		}, http2.ErrCodeFlowControl},
	} {
		t.Run(name, func(t *testing.T) {
			p := dial(t, listen(t, start(t, newShelf(), func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, nil)))
			p.insists = true
			go func() { c.do(p) }()
			_, code, over := p.read(nil)
			if !over || code != c.want {
				t.Errorf("ended with %v, want %v", code, c.want)
			}
		})
	}
}

// What RFC 9113 calls an error of a stream ends that, and the others go on.
func TestErrorsOfAStream(t *testing.T) {
	long := strings.Repeat("x", 100)
	for name, c := range map[string]struct {
		do   func(*peer)
		want http2.ErrCode
	}{
		"no :method (§8.3.1)":                  {func(p *peer) { p.request(1, true, without(":method")...) }, http2.ErrCodeProtocol},
		"no :scheme (§8.3.1)":                  {func(p *peer) { p.request(1, true, without(":scheme")...) }, http2.ErrCodeProtocol},
		"no :path (§8.3.1)":                    {func(p *peer) { p.request(1, true, without(":path")...) }, http2.ErrCodeProtocol},
		"an empty :path (§8.3.1)":              {func(p *peer) { p.request(1, true, append(without(":path"), ":path", "")...) }, http2.ErrCodeProtocol},
		"an unknown pseudo-field (§8.3)":       {func(p *peer) { p.request(1, true, append([]string{":x", "y"}, plain...)...) }, http2.ErrCodeProtocol},
		"a pseudo-field of answers (§8.3)":     {func(p *peer) { p.request(1, true, append([]string{":status", "200"}, plain...)...) }, http2.ErrCodeProtocol},
		"a pseudo-field at the end (§8.3)":     {func(p *peer) { p.request(1, true, append([]string{"a", "b"}, plain...)...) }, http2.ErrCodeProtocol},
		"a pseudo-field twice (§8.3)":          {func(p *peer) { p.request(1, true, append([]string{":path", "/"}, plain...)...) }, http2.ErrCodeProtocol},
		"a name in upper case (§8.2)":          {func(p *peer) { p.request(1, true, with("X-Upper", "1")...) }, http2.ErrCodeProtocol},
		"a value with CR LF (§8.2.1)":          {func(p *peer) { p.request(1, true, with("x", "a\r\nHost: b")...) }, http2.ErrCodeProtocol},
		"connection (§8.2.2)":                  {func(p *peer) { p.request(1, true, with("connection", "close")...) }, http2.ErrCodeProtocol},
		"transfer-encoding (§8.2.2)":           {func(p *peer) { p.request(1, true, with("transfer-encoding", "chunked")...) }, http2.ErrCodeProtocol},
		"te other than trailers (§8.2.2)":      {func(p *peer) { p.request(1, true, with("te", "gzip")...) }, http2.ErrCodeProtocol},
		"a host that is another (§8.3.1)":      {func(p *peer) { p.request(1, true, with("host", "other.test")...) }, http2.ErrCodeProtocol},
		"a content-length of no body (§8.1.1)": {func(p *peer) { p.request(1, true, with("content-length", "1")...) }, http2.ErrCodeProtocol},
		"a content-length that is none":        {func(p *peer) { p.request(1, false, with("content-length", "x")...) }, http2.ErrCodeProtocol},
		"CONNECT with a path (§8.5)":           {func(p *peer) { p.request(1, true, append([]string{":method", "CONNECT"}, without(":method")...)...) }, http2.ErrCodeProtocol},
		"more DATA than Content-Length (§8.1.1)": {func(p *peer) {
			p.request(1, false, with("content-length", "1")...)
			p.must(p.framer.WriteData(1, true, []byte("xx")))
		}, http2.ErrCodeProtocol},
		"less DATA than Content-Length (§8.1.1)": {func(p *peer) {
			p.request(1, false, with("content-length", "3")...)
			p.must(p.framer.WriteData(1, true, []byte("xx")))
		}, http2.ErrCodeProtocol},
		"HEADERS in the middle (§8.1)": {func(p *peer) {
			p.request(1, false, plain...)
			p.request(1, false, "x", "y")
		}, http2.ErrCodeProtocol},
		"trailers with a pseudo-field (§8.1)": {func(p *peer) {
			p.request(1, false, plain...)
			p.request(1, true, ":path", "/")
		}, http2.ErrCodeProtocol},
		"a stream that needs itself": {func(p *peer) {
			p.must(p.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.encode(plain...), EndStream: true, EndHeaders: true, Priority: http2.PriorityParam{StreamDep: 1, Weight: 3}}))
		}, http2.ErrCodeProtocol},
		"a window wider than can be (§6.9.1)": {func(p *peer) {
			p.request(1, false, append(without(":path"), ":path", "/wait", "x", long)...)
			p.must(p.framer.WriteWindowUpdate(1, 1<<31-1))
		}, http2.ErrCodeFlowControl},
		"more DATA than was allowed (§6.9)": {func(p *peer) {
			p.request(1, false, append(without(":path"), ":path", "/wait")...)
			for range 17 {
				p.must(p.framer.WriteData(1, false, make([]byte, 16384)))
			}
		}, http2.ErrCodeFlowControl},
	} {
		t.Run(name, func(t *testing.T) {
			p := dial(t, listen(t, start(t, newShelf(), func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, nil)))
			c.do(p)
			if r := p.answer(1); !r.broken || r.reset != c.want || r.status != "" {
				t.Errorf("%+v, want %v", r, c.want)
			}
			// The state of the fields' table is that of both still.
			p.get(101, "/little", "x-after", "y")
			if r := p.answer(101); string(r.body) != "little" {
				t.Errorf("the next: %+v", r)
			}
		})
	}
}

// What is only unusual is served.
func TestWhatIsAllowed(t *testing.T) {
	p := dial(t, listen(t, start(t, newShelf(), nil, nil)))
	p.must(p.framer.WriteRawFrame(0x42, 0xff, 0, []byte("of an extension")))  // §5.5
	p.must(p.framer.WriteRawFrame(0x10, 0, 0, []byte("\x00\x00\x00\x01u=1"))) // PRIORITY_UPDATE, RFC 9218 §7.1
	p.must(p.framer.WriteSettings(http2.Setting{ID: 0x99, Val: 1}, http2.Setting{ID: http2.SettingHeaderTableSize, Val: 0}))
	p.must(p.framer.WritePriority(7, http2.PriorityParam{StreamDep: 3, Weight: 5}))
	block := p.encode(with("te", "trailers", "x", strings.Repeat("y", 5000))...)
	p.must(p.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block[:10], EndStream: true, PadLength: 20}))
	p.must(p.framer.WriteContinuation(1, false, block[10:20]))
	p.must(p.framer.WriteContinuation(1, true, block[20:]))
	if r := p.answer(1); r.status != "404" { // the handler's
		t.Errorf("%+v", r)
	}
	p.must(p.framer.WriteWindowUpdate(1, 5)) // of a stream that has ended
	p.must(p.framer.WriteRSTStream(1, http2.ErrCodeCancel))
	p.must(p.framer.WritePing(false, [8]byte{1, 2, 3}))
	for {
		f, err := p.framer.ReadFrame()
		p.must(err)
		if ping, ok := f.(*http2.PingFrame); ok {
			if !ping.IsAck() || ping.Data != [8]byte{1, 2, 3} {
				t.Errorf("%+v", ping)
			}
			return
		}
	}
}

func TestFieldsTooLarge(t *testing.T) {
	p := dial(t, listen(t, start(t, newShelf(), nil, func(s *h2.Settings) { s.Config.HeaderBytes = 4096 })))
	p.get(1, "/little", "x", strings.Repeat("y", 5000))
	if r := p.answer(1); r.status != "431" {
		t.Errorf("%+v", r)
	}
	p.get(3, "/little")
	if r := p.answer(3); string(r.body) != "little" {
		t.Errorf("the next: %+v", r)
	}
}

// More streams than are allowed are refused, so that the client may ask again (§5.1.2), and also where the client
// resets each to open another while its handler still runs.
func TestTooManyStreams(t *testing.T) {
	for _, resets := range []bool{false, true} {
		t.Run(fmt.Sprintf("resets=%v", resets), func(t *testing.T) {
			release := make(chan struct{})
			p := dial(t, listen(t, start(t, nil, func(http.ResponseWriter, *http.Request) { <-release }, func(s *h2.Settings) { s.Streams = 3 })))
			defer close(release)
			for i := range uint32(4) {
				p.get(2*i+1, "/")
				if resets && i < 3 {
					p.must(p.framer.WriteRSTStream(2*i+1, http2.ErrCodeCancel))
				}
			}
			if r := p.answer(7); !r.broken || r.reset != http2.ErrCodeRefusedStream {
				t.Errorf("%+v", r)
			}
		})
	}
}

// Clients that make work and take nothing of it are told to go (§10.5).
func TestExcess(t *testing.T) {
	for name, do := range map[string]func(p *peer, i uint32) error{
		"rapid reset": func(p *peer, i uint32) error {
			_ = p.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 2*i + 1, BlockFragment: p.encode(plain...), EndStream: true, EndHeaders: true})
			return p.framer.WriteRSTStream(2*i+1, http2.ErrCodeCancel)
		},
		"empty DATA": func(p *peer, i uint32) error {
			if i == 0 {
				p.request(1, false, with()...)
			}
			return p.framer.WriteData(1, false, nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newShelf()
			p := dial(t, listen(t, start(t, s, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, nil)))
			p.insists = true
			go func() {
				for i := range uint32(1000) {
					if do(p, i) != nil {
						return
					}
				}
			}()
			if _, code, over := p.read(nil); !over || code != http2.ErrCodeEnhanceYourCalm {
				t.Errorf("ended with %v", code)
			}
		})
	}
}

// The body of a request reaches the handler, however large; its windows are widened as it is read.
func TestRequestBody(t *testing.T) {
	body := pattern(5 << 20)
	address := listen(t, start(t, nil, func(w http.ResponseWriter, r *http.Request) {
		got, err := io.ReadAll(r.Body)
		if err != nil || !bytes.Equal(got, body) || r.ContentLength != int64(len(body)) {
			t.Errorf("%d bytes of %d, %v", len(got), r.ContentLength, err)
		}
		w.WriteHeader(http.StatusCreated)
	}, nil))
	for range 2 {
		resp, err := client(t).Post("http://"+address+"/", "video/mp4", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusCreated || resp.ProtoMajor != 2 {
			t.Errorf("%+v", resp)
		}
	}
}

// client returns one that speaks HTTP/2 without TLS.
func client(t *testing.T) *http.Client {
	t.Helper()
	transport := &http.Transport{Protocols: new(http.Protocols), DisableCompression: true}
	transport.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 20 * time.Second}
}

// A server that stops finishes what runs, and says so before it goes (§6.8).
func TestDrain(t *testing.T) {
	release, began := make(chan struct{}), make(chan struct{})
	server := start(t, nil, func(w http.ResponseWriter, _ *http.Request) {
		close(began)
		<-release
		_, _ = io.WriteString(w, "finished")
	}, nil)
	ctx, cancel := context.WithCancel(t.Context())
	near, far := pipe(t)
	served := make(chan struct{})
	go func() { server.ServeConn(ctx, far); close(served) }()
	p := meet(t, near)
	p.get(1, "/")
	<-began
	cancel()
	var goAways []uint32
	for len(goAways) < 2 {
		f, err := p.framer.ReadFrame()
		p.must(err)
		if g, ok := f.(*http2.GoAwayFrame); ok {
			if g.ErrCode != http2.ErrCodeNo {
				t.Errorf("GOAWAY with %v", g.ErrCode)
			}
			if goAways = append(goAways, g.LastStreamID); len(goAways) == 1 {
				continue
			}
			p.get(3, "/too-late")
			close(release)
		}
	}
	if goAways[0] != 1<<31-1 || goAways[1] != 1 {
		t.Errorf("GOAWAY of streams after %v", goAways)
	}
	if r := p.answer(1); string(r.body) != "finished" {
		t.Errorf("%+v", r)
	}
	if all, _, over := p.read(nil); !over || len(all) > 0 {
		t.Errorf("after it: %v", all)
	}
	p.must(p.conn.Close())
	<-served
}
