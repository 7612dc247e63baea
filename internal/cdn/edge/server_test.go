package edge

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/weir-stream/weir/cmcd"
	"github.com/weir-stream/weir/internal/telemetry"
)

const cmcdBitrate = cmcd.KeyBR

// serve puts the edge behind a real server.
func serve(t testing.TB, hs *harness) *httptest.Server {
	server := httptest.NewServer(hs)
	t.Cleanup(server.Close)
	return server
}

func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("10 s have passed without %s", what)
		}
	}
}

func TestRowOfARealRequest(t *testing.T) {
	hs := newAlphabetEdge(t)
	server := serve(t, hs)
	before := time.Now()
	request, err := http.NewRequest("GET", server.URL+"/live/a/seg.m4s?x=1&CMCD=br%3D100%2Csid%3D%22s%22", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("User-Agent", "player/1")
	request.Header.Set("Referer", "https://page.example/")
	request.Header.Set("Range", "bytes=5-9")
	response, err := server.Client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	_ = response.Body.Close()
	if err != nil || string(body) != alphabet[5:10] || response.StatusCode != 206 {
		t.Fatalf("%d %q, %v", response.StatusCode, body, err)
	}
	eventually(t, "a row", func() bool { return hs.rowCount() == 1 })
	row := hs.row(t, 0)
	if row.ID.Version() != 7 || row.Time.Before(before) || row.Time.After(time.Now()) {
		t.Errorf("ID %v, time %v", row.ID, row.Time)
	}
	if row.Duration < row.TTFB || row.TTFB < row.OriginTTFB || row.TTFB <= 0 || row.Duration > time.Since(before) {
		t.Errorf("ttfb %v, duration %v, origin ttfb %v", row.TTFB, row.Duration, row.OriginTTFB)
	}
	if row.Client.String() != "127.0.0.1" || row.ClientPort == 0 {
		t.Errorf("client %v, port %d", row.Client, row.ClientPort)
	}
	if sid := row.CMCD.Text(cmcd.KeySID); !row.HasCMCD || sid != "s" {
		t.Errorf("CMCD: %v, sid %q", row.HasCMCD, sid)
	}
	want := telemetry.Request{
		ID: row.ID, Time: row.Time, TTFB: row.TTFB, Duration: row.Duration, Client: row.Client, ClientPort: row.ClientPort,
		CMCD: row.CMCD, HasCMCD: true, OriginTTFB: row.OriginTTFB, OriginDuration: row.OriginDuration, Queued: row.Queued,
		Edge: "edge-1", UserAgent: "player/1", Referer: "https://page.example/",
		Method: "GET", Host: strings.TrimPrefix(server.URL, "http://"), Path: "/live/a/seg.m4s", Query: "x=1", Proto: "HTTP/1.1",
		Stream: "a", Kind: "segment", Range: "bytes=5-9", Status: 206, Bytes: 5, ContentType: "text/plain",
		CacheStatus: "miss", MissReason: "cold", OriginStatus: 200,
	}
	if d := cmp.Diff(want, row, cmpopts.IgnoreTypes(cmcd.Values{}), cmpopts.EquateComparable(netip.Addr{})); d != "" {
		t.Error(d)
	}
}

func TestViewerWhoGoesAwayIsARowWithTheBytesSent(t *testing.T) {
	const size = 32 << 20
	hs := newHarness(t, func(*http.Request) (*http.Response, error) {
		return reply(200, strings.Repeat("x", size), "Cache-Control", "max-age=60"), nil
	})
	server := serve(t, hs)
	hs.get("/a.m4s") // now it is a hit
	connection, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if err := connection.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(connection, "GET /a.m4s HTTP/1.1\r\nHost: edge\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(io.Discard, connection, 100<<10); err != nil {
		t.Fatal(err)
	}
	if err := connection.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a second row", func() bool { return hs.rowCount() == 2 })
	row := hs.row(t, 1)
	if !row.Aborted || row.Status != 200 || row.Bytes < 100<<10 || row.Bytes >= size || row.CacheStatus != "hit" {
		t.Errorf("aborted %v, status %d, %d of %d bytes, %s", row.Aborted, row.Status, row.Bytes, size, row.CacheStatus)
	}
}

func TestBrokenOffAnswerIsSeenAsSuchByTheViewer(t *testing.T) {
	hs := newHarness(t, func(r *http.Request) (*http.Response, error) {
		w := reply(200, "", "Cache-Control", "max-age=60")
		w.ContentLength = -1 // chunked: only the missing last chunk tells
		w.Body = &slowBody{pieces: []string{"one ", "two "}, pause: time.Millisecond, err: errors.New("reset"), ctx: r.Context()}
		return w, nil
	})
	server := serve(t, hs)
	response, err := server.Client().Get(server.URL + "/a.m4s")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if body, err := io.ReadAll(response.Body); err == nil {
		t.Errorf("the viewer takes %q for the whole", body)
	}
	eventually(t, "a row", func() bool { return hs.rowCount() == 1 })
	if row := hs.row(t, 0); row.Bytes != 8 || row.Aborted {
		t.Errorf("row = %+v", row)
	}
}

func TestBytesReachTheViewerAsTheyCome(t *testing.T) {
	next := make(chan struct{})
	hs := newHarness(t, func(r *http.Request) (*http.Response, error) {
		w := reply(200, "", "Cache-Control", "max-age=60")
		w.ContentLength = 8
		w.Body = &gatedBody{pieces: []string{"one ", "two "}, next: next}
		return w, nil
	})
	server := serve(t, hs)
	go func() { next <- struct{}{} }()
	response, err := server.Client().Get(server.URL + "/a.m4s")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var four [4]byte
	if _, err := io.ReadFull(response.Body, four[:]); err != nil || string(four[:]) != "one " {
		t.Fatalf("%q, %v", four, err)
	}
	next <- struct{}{} // only now does the origin go on
	if rest, err := io.ReadAll(response.Body); err != nil || string(rest) != "two " {
		t.Errorf("%q, %v", rest, err)
	}
}

// gatedBody gives a piece for each token.
type gatedBody struct {
	pieces []string
	next   chan struct{}
}

func (b *gatedBody) Read(p []byte) (int, error) {
	if len(b.pieces) == 0 {
		return 0, io.EOF
	}
	<-b.next
	n := copy(p, b.pieces[0])
	b.pieces = b.pieces[1:]
	return n, nil
}

func (b *gatedBody) Close() error { return nil }

func TestRunEndsTheFetches(t *testing.T) {
	asked := make(chan struct{})
	hs := newHarness(t, func(r *http.Request) (*http.Response, error) {
		close(asked)
		<-r.Context().Done()
		return nil, context.Cause(r.Context())
	})
	answered := make(chan int, 1)
	go func() { answered <- hs.get("/a.m4s").Code }()
	<-asked
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := hs.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if code := <-answered; code != 503 {
		t.Errorf("who waited got %d, want 503", code)
	}
	if w := hs.get("/b.m4s"); w.Code != 503 || w.Header().Get("Retry-After") == "" {
		t.Errorf("afterwards: %d, want 503", w.Code)
	}
}

// A listener that stops ends the contexts of viewers who are still there. What they have not got must not
// look like an answer that is whole.
func TestListenerThatStopsLeavesNoHalfAnswer(t *testing.T) {
	for _, test := range []struct {
		name  string
		begun bool // the head and the first bytes of a body of unknown length have been sent
	}{{"before the head", false}, {"within the body", true}} {
		t.Run(test.name, func(t *testing.T) {
			asked := make(chan struct{})
			hs := newHarness(t, func(r *http.Request) (*http.Response, error) {
				if !test.begun {
					close(asked)
					<-r.Context().Done()
					return nil, context.Cause(r.Context())
				}
				w := reply(200, "", "Cache-Control", "max-age=60")
				body, write := io.Pipe()
				w.Body, w.ContentLength = body, -1
				go func() { // ends with the edge, which closes the body
					_, _ = io.WriteString(write, "half")
					close(asked)
					<-r.Context().Done()
					_ = write.CloseWithError(context.Cause(r.Context()))
				}()
				return w, nil
			})
			requests, stop := context.WithCancel(t.Context())
			server := httptest.NewUnstartedServer(hs)
			server.Config.BaseContext = func(net.Listener) context.Context { return requests }
			server.Start()
			defer server.Close()
			go func() {
				<-asked
				if test.begun {
					return // stopped below, when the first bytes are here
				}
				stop()
			}()
			defer stop()
			response, err := http.Get(server.URL + "/a.m4s")
			if !test.begun {
				if err == nil {
					_ = response.Body.Close()
					t.Fatalf("got %s, want no answer", response.Status)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			if _, err := io.ReadFull(response.Body, make([]byte, 4)); err != nil {
				t.Fatal(err)
			}
			stop()
			if rest, err := io.ReadAll(response.Body); err == nil {
				t.Errorf("after half of it came %q and an end", rest)
			}
		})
	}
}
