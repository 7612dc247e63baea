package collector

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weir-stream/weir/internal/httpserver"
	"github.com/weir-stream/weir/internal/telemetry"
)

// serve serves h as the public listener does, and returns its address.
func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	server, err := httpserver.New(httpserver.Settings{
		Config: httpserver.DefaultConfig("127.0.0.1:0"), Handler: h, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return server.Addr().String()
}

// newServer returns the address of a collector, and what it takes.
func newServer(t *testing.T, change func(*Config)) (address string, h *Handler, count func() int) {
	t.Helper()
	config := DefaultConfig()
	if change != nil {
		change(&config)
	}
	var mu sync.Mutex
	n := 0
	h, err := New(Settings{Config: config, Accept: func(_ context.Context, reports []telemetry.Report) error {
		mu.Lock()
		defer mu.Unlock()
		n += len(reports)
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	count = func() int {
		mu.Lock()
		defer mu.Unlock()
		return n
	}
	mux := http.NewServeMux()
	mux.Handle("/cmcd", h)
	mux.Handle("/api/v1/events", h.Events())
	return serve(t, mux), h, count
}

func newClient(t *testing.T) *http.Client {
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// postTo sends a body and returns the status, and whether the server closes the connection.
func postTo(t *testing.T, client *http.Client, url, body string) (status int, closed bool) {
	t.Helper()
	resp, err := client.Post(url, "application/cmcd", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, err := io.ReadAll(resp.Body); err != nil || len(text) > 0 {
		t.Errorf("answer has the body %q, %v", text, err)
	}
	return resp.StatusCode, resp.Close
}

func TestAPlayerIsSilencedOverHTTP(t *testing.T) {
	address, h, count := newServer(t, func(c *Config) { c.MaxSessionRecords = 3 })
	client := newClient(t)
	url := "http://" + address + "/cmcd"
	want := []int{204, 204, 204, 410, 410}
	for i, status := range want {
		if got, closed := postTo(t, client, url, fmt.Sprintf(`e=t,sid="s",sn=%d,ts=1,v=2`, i)); got != status || closed {
			t.Errorf("post %d: status %d, closed %v, want %d", i, got, closed, status)
		}
	}
	if got, _ := postTo(t, client, url, "e=t,sid=\"s\",sn=9,ts=1,v=2\ne=t,sid=\"other\",v=2"); got != 204 {
		t.Errorf("with a record of another session: status %d, want 204", got)
	}
	h.Silence("other", time.Hour)
	if got, _ := postTo(t, client, url, `e=t,sid="other",v=2`); got != 410 {
		t.Errorf("silenced by hand: status %d, want 410", got)
	}
	if n := count(); n != 4 {
		t.Errorf("%d records taken, want 4", n)
	}
}

// A sender must get to see its answer, or it would send everything again.
func TestAnEndlessBodyIsAnswered(t *testing.T) {
	record := "e=t,sid=\"" + strings.Repeat("x", 1009) + "\",v=2\n" // a kibibyte
	for name, length := range map[string]int64{"one byte too long": 1<<20 + 1, "twice": 2 << 20, "far too long": 64 << 20, "of unknown length": -1} {
		t.Run(name, func(t *testing.T) {
			address, _, count := newServer(t, func(c *Config) { c.MaxRecords, c.MaxSessionRecords = 1<<20, 0 })
			size := length
			if size < 0 {
				size = 8 << 20
			}
			req, err := http.NewRequest(http.MethodPost, "http://"+address+"/cmcd", io.LimitReader(endless(record), size))
			if err != nil {
				t.Fatal(err)
			}
			req.ContentLength = length
			resp, err := newClient(t).Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != 204 || !resp.Close {
				t.Errorf("status %d, closed %v, want 204 and the connection closed", resp.StatusCode, resp.Close)
			}
			if n := count(); n != 1024 {
				t.Errorf("%d records taken, want the 1,024 in the first mebibyte", n)
			}
		})
	}
}

// endless reads as text again and again.
func endless(text string) io.Reader { return &repeated{text: text} }

type repeated struct {
	text string
	at   int
}

func (r *repeated) Read(p []byte) (n int, err error) {
	for n < len(p) {
		c := copy(p[n:], r.text[r.at:])
		n += c
		r.at = (r.at + c) % len(r.text)
	}
	return n, nil
}

// raw sends text over a connection of its own, and returns the answer.
func raw(t *testing.T, address, text string, hangUp bool) *http.Response {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	if hangUp {
		if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp
}

// A player that closes its page cuts off the body.
func TestACutBodyDoesNoHarm(t *testing.T) {
	address, _, count := newServer(t, nil)
	resp := raw(t, address, "POST /cmcd HTTP/1.1\r\nHost: x\r\nContent-Type: application/cmcd\r\nContent-Length: 100\r\n\r\ne=t,sid=\"abc", true)
	if resp.StatusCode != http.StatusBadRequest || count() != 0 {
		t.Errorf("status %d, %d records, want 400 and none", resp.StatusCode, count())
	}
}

func TestABodyThatNeverEndsIsGivenUp(t *testing.T) {
	address, _, count := newServer(t, func(c *Config) { c.BodyTimeout = 50 * time.Millisecond })
	for _, path := range []string{"/cmcd", "/api/v1/events"} {
		resp := raw(t, address, "POST "+path+" HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nsid=", false)
		if resp.StatusCode != http.StatusRequestTimeout || !resp.Close || count() != 0 {
			t.Errorf("%s: status %d, closed %v, %d records, want 408", path, resp.StatusCode, resp.Close, count())
		}
	}
}

// The server gives each read of a body a deadline of its own; a sender that trickles meets them all.
func TestABodyThatTricklesIsGivenUp(t *testing.T) {
	address, _, _ := newServer(t, func(c *Config) { c.BodyTimeout = 100 * time.Millisecond })
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "POST /cmcd HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	trickling := make(chan struct{})
	go func() {
		defer close(trickling)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for range tick.C {
			if _, err := io.WriteString(conn, "x"); err != nil {
				return
			}
		}
	}()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	conn.Close()
	<-trickling
	if resp.StatusCode != http.StatusRequestTimeout {
		t.Errorf("status %d, want 408", resp.StatusCode)
	}
}

// What has its answer may send the next over the same connection.
func TestTheConnectionStaysOpen(t *testing.T) {
	address, _, count := newServer(t, nil)
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	answers := bufio.NewReader(conn)
	for i := range 20 {
		body := fmt.Sprintf(`e=t,sid="s",sn=%d,ts=1,v=2`, i)
		fmt.Fprintf(conn, "POST /cmcd HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		resp, err := http.ReadResponse(answers, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 204 || resp.Close {
			t.Fatalf("post %d: status %d, closed %v", i, resp.StatusCode, resp.Close)
		}
	}
	if count() != 20 {
		t.Errorf("%d records, want 20", count())
	}
}

// begin posts a record to h in a goroutine of its own.
func begin(h http.Handler) (answer *httptest.ResponseRecorder, done chan struct{}) {
	answer, done = httptest.NewRecorder(), make(chan struct{})
	ctx, hangUp := context.WithCancel(context.Background())
	req := httptest.NewRequestWithContext(ctx, http.MethodPost, "/cmcd", strings.NewReader(`e=t,sid="s",sn=1,ts=1,v=2`))
	go func() {
		defer close(done)
		h.ServeHTTP(answer, req)
	}()
	hangUp() // as a player does that closes its page
	return answer, done
}

// The answer comes after the bus has the record, not before.
func TestTheAnswerWaitsForTheBus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		release := make(chan struct{})
		r.accept = func(ctx context.Context, _ []telemetry.Report) error {
			<-release
			return ctx.Err()
		}
		answer, done := begin(r)
		synctest.Wait()
		select {
		case <-done:
			t.Fatal("the answer came before the bus had the record")
		default:
		}
		close(release)
		<-done
		if answer.Code != http.StatusNoContent {
			t.Errorf("status %d, want 204", answer.Code)
		}
		r.dropped(nil)
	})
}

func TestABusThatTakesTooLongIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		accept := r.accept
		r.accept = func(ctx context.Context, _ []telemetry.Report) error {
			<-ctx.Done()
			return ctx.Err()
		}
		began := time.Now()
		answer, done := begin(r)
		<-done
		if took := time.Since(began); took != r.config.AcceptTimeout || answer.Code != http.StatusNoContent {
			t.Errorf("status %d after %v, want 204 after %v", answer.Code, took, r.config.AcceptTimeout)
		}
		r.dropped(map[outcome]int{busFailed: 1})
		r.accept = accept
		_, done = begin(r)
		<-done
		if len(r.reports) != 1 {
			t.Errorf("%d reports of a resend, want it taken", len(r.reports))
		}
	})
}
