package edge

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"

	"github.com/weir-stream/weir/cmcd"
	"github.com/weir-stream/weir/internal/cdn/edge/h1"
	"github.com/weir-stream/weir/internal/cdn/edge/h2"
	"github.com/weir-stream/weir/internal/telemetry"
)

const hitQuery = "CMCD=bl%3D21300%2Cbr%3D3200%2Ccid%3D%22faec5fc2-ac30-11ea-bb37-0242ac130002%22%2Cd%3D4004%2Cdl%3D18500%2Cmtp%3D48100" +
	"%2Cnor%3D%22seg-8.m4s%22%2Cot%3Dv%2Cpr%3D1.08%2Crtp%3D12000%2Csf%3Dd%2Csid%3D%226e2fb550-c457-11e9-bb97-0800200c9a66%22%2Cst%3Dv%2Ctb%3D6000"

func hitRequest() *h1.Request { return hitRequestOf(hitQuery) }

func hitRequestOf(query string) *h1.Request {
	r, ok := h1.ParseRequest([]byte("GET /vod/film/v1/seg-7.m4s?" + query + " HTTP/1.1\r\nHost: cdn.example\r\n" +
		"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36\r\nReferer: https://page.example/\r\n\r\n"))
	if !ok {
		panic("the request is none")
	}
	r.Remote, r.Received = netip.MustParseAddrPort("192.0.2.7:40000"), time.Now()
	return r
}

// serveLoop serves the edge through its own loop.
func serveLoop(t testing.TB, hs *harness) string {
	t.Helper()
	server, err := h1.New(h1.Settings{Config: h1.DefaultConfig(), Hitter: hs.Handler, Handler: hs, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return listenLoop(t, server)
}

// listenLoop serves connections by one of the edge's loops.
func listenLoop(t testing.TB, server interface {
	ServeConn(ctx context.Context, c net.Conn) net.Conn
},
) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				if rest := server.ServeConn(ctx, c); rest != nil {
					rest.Close()
				}
			})
		}
	})
	t.Cleanup(func() {
		cancel()
		l.Close()
		running.Wait()
	})
	return l.Addr().String()
}

// exchangeRaw sends a request and returns the answer's status line, sorted fields and body.
func exchangeRaw(t *testing.T, c net.Conn, r *bufio.Reader, method, target string, fields ...string) (string, http.Header, string) {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: cdn.example\r\n", method, target)
	for i := 0; i < len(fields); i += 2 {
		fmt.Fprintf(&b, "%s: %s\r\n", fields[i], fields[i+1])
	}
	if _, err := io.WriteString(c, b.String()+"\r\n"); err != nil {
		t.Fatal(err)
	}
	request, _ := http.NewRequest(method, "http://cdn.example"+target, nil)
	response, err := http.ReadResponse(r, request)
	if err != nil {
		t.Fatalf("%s %s %q: %v", method, target, fields, err)
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.ContentLength >= 0 && response.StatusCode != http.StatusNotModified {
		response.Header.Set("Content-Length", fmt.Sprint(response.ContentLength))
	}
	return response.Status, response.Header, string(body)
}

// askHTTP2 returns what sends requests over HTTP/2 to the edge's own loop.
func askHTTP2(t *testing.T, hs *harness) func(method, target string, fields ...string) (string, http.Header, string) {
	t.Helper()
	server, err := h2.New(h2.Settings{Config: h1.DefaultConfig(), Hitter: hs.Handler, Handler: hs, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	address := listenLoop(t, server)
	transport := &http.Transport{Protocols: new(http.Protocols), DisableCompression: true}
	transport.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(transport.CloseIdleConnections)
	return func(method, target string, fields ...string) (string, http.Header, string) {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), method, "http://"+address+target, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Host, request.Header["User-Agent"] = "cdn.example", nil
		for i := 0; i < len(fields); i += 2 {
			request.Header.Add(fields[i], fields[i+1])
		}
		response, err := transport.RoundTrip(request)
		if err != nil {
			t.Fatalf("%s %s %q: %v", method, target, fields, err)
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response.Status, response.Header, string(body)
	}
}

// The short way of a hit and the long way give the same answers and make the same rows.
func TestBothWaysOfAHitAreOne(t *testing.T) {
	hs := newAlphabetEdge(t)
	hs.get("/vod/a.m4s")
	c, err := net.Dial("tcp", serveLoop(t, hs))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	reader := bufio.NewReader(c)
	first := func(method, target string, fields ...string) (string, http.Header, string) {
		return exchangeRaw(t, c, reader, method, target, fields...)
	}
	target := "/vod/a.m4s?" + hitQuery
	requests := slices.Concat(conditionalRequests, [][]string{
		{"User-Agent", "player/1", "Referer", "https://page.example/", "Range", "bytes=1-3"},
		{"CMCD-Session", `sid="x"`},
		{"Cookie", "a=b"},
		{"Authorization", "Basic x"},
		{"Cache-Control", "no-cache"},
	})
	for proto, ask := range map[string]func(method, target string, fields ...string) (string, http.Header, string){
		"HTTP/1.1": first, "HTTP/2.0": askHTTP2(t, hs),
	} {
		for _, fields := range requests {
			for _, method := range []string{"GET", "HEAD"} {
				before := hs.rowCount()
				status, header, body := ask(method, target, fields...)
				waitForRows(t, hs, before+1)
				got := hs.row(t, -1)

				recorder := httptest.NewRecorder()
				r := httptest.NewRequest(method, target, nil)
				r.Host, r.Proto, r.ProtoMajor = "cdn.example", proto, int(proto[5]-'0')
				for i := 0; i < len(fields); i += 2 {
					r.Header.Add(fields[i], fields[i+1])
				}
				hs.ServeHTTP(recorder, r)
				want := hs.row(t, -1)
				long := recorder.Result()
				for _, h := range []http.Header{header, long.Header} {
					for _, name := range []string{"Age", "Cache-Status"} { // of the moment
						h.Del(name)
					}
				}
				if status[:3] != fmt.Sprint(long.StatusCode) || body != recorder.Body.String() {
					t.Errorf("%s %s %q: %s, %q by the loop; %d, %q by the handler", proto, method, fields, status, body, long.StatusCode, recorder.Body)
				}
				if d := cmp.Diff(long.Header, header); d != "" {
					t.Errorf("%s %s %q: header of the handler and of the loop: %s", proto, method, fields, d)
				}
				for _, row := range []*telemetry.Request{&got, &want} {
					row.ID, row.Time, row.TTFB, row.Duration, row.ClientPort = telemetry.Request{}.ID, time.Time{}, 0, 0, 0
					row.Client, row.TCP = netip.Addr{}, telemetry.TCP{}
					row.Range = strings.TrimSpace(row.Range) // the recorder is not a parser
					row.CMCD.Warnings = 0
				}
				if got.CMCD.String() != want.CMCD.String() {
					t.Errorf("%s %s %q: CMCD %q by the loop, %q by the handler", proto, method, fields, &got.CMCD, &want.CMCD)
				}
				got.CMCD, want.CMCD = cmcd.Values{}, cmcd.Values{}
				if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
					t.Errorf("%s %s %q: row of the handler and of the loop: %s", proto, method, fields,
						cmp.Diff(want, got, cmpopts.IgnoreFields(telemetry.Request{}, "CMCD"), cmpopts.EquateComparable(netip.Addr{})))
				}
			}
		}
	}
}

func waitForRows(t *testing.T, hs *harness, n int) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); hs.rowCount() < n; {
		if time.Now().After(deadline) {
			t.Fatalf("%d rows, want %d", hs.rowCount(), n)
		}
	}
}

func waitForFetches(t *testing.T, hs *harness, n int) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); hs.fetches() < n; {
		if time.Now().After(deadline) {
			t.Fatalf("%d fetches, want %d", hs.fetches(), n)
		}
	}
}

// What has been hit is answered with little made.
func TestAHitMakesLittle(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector makes things of its own, and empties pools; CI runs this without it too")
	}
	hs := newHarness(t, func(*http.Request) (*http.Response, error) {
		return reply(200, strings.Repeat("x", 1024), "Cache-Control", "max-age=60", "Etag", `"1"`), nil
	})
	hs.observe = func(*telemetry.Request) {}
	hs.get("/vod/film/v1/seg-7.m4s")
	hs.get("/vod/film/v1/seg-8.m4s") // which the player announces
	r := hitRequest()
	extra := make([]byte, 0, 256)
	allocations := testing.AllocsPerRun(100, func() {
		a := h1.Answer{Extra: extra[:0]}
		if !hs.Hit(r, &a) {
			t.Fatal("no hit")
		}
		a.Done(h1.Result{Bytes: 1024})
	})
	if allocations > 3 { // the row's texts, CMCD's, and the name of what is announced
		t.Errorf("a hit makes %v allocations", allocations)
	}
}

func TestIDsAreUUIDv7(t *testing.T) {
	at := time.UnixMilli(1_795_190_613_033)
	seen := make(map[string]bool)
	for range 1000 {
		id := newID(at)
		if id.Version() != 7 || id.Variant() != uuid.RFC4122 || seen[id.String()] {
			t.Fatalf("%v: version %d, variant %v", id, id.Version(), id.Variant())
		}
		seen[id.String()] = true
		if sec, nsec := id.Time().UnixTime(); sec != at.Unix() || nsec/1e6 != int64(at.Nanosecond())/1e6 {
			t.Fatalf("%v is of %d.%09d, want %v", id, sec, nsec, at)
		}
	}
}

func BenchmarkHit(b *testing.B) {
	for _, withCMCD := range []bool{true, false} {
		b.Run(fmt.Sprintf("cmcd=%v", withCMCD), func(b *testing.B) {
			hs := newHarness(b, func(*http.Request) (*http.Response, error) {
				return reply(200, strings.Repeat("x", 1024), "Cache-Control", "max-age=60", "Etag", `"1"`), nil
			})
			hs.observe = func(*telemetry.Request) {}
			hs.get("/vod/film/v1/seg-7.m4s")
			hs.get("/vod/film/v1/seg-8.m4s") // which the player announces
			query := ""
			if withCMCD {
				query = hitQuery
			}
			r := hitRequestOf(query)
			extra := make([]byte, 0, 256)
			b.ReportAllocs()
			for b.Loop() {
				a := h1.Answer{Extra: extra[:0]}
				if !hs.Hit(r, &a) {
					b.Fatal("no hit")
				}
				a.Done(h1.Result{Bytes: 1024, FirstByte: r.Received, Last: r.Received})
			}
		})
	}
}
