package h1_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-stream/weir/internal/cdn/edge/h1"
)

// echo answers with what it was asked, in as many ways as the path names.
func echo(w http.ResponseWriter, r *http.Request) {
	local, _ := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	host, _, _ := net.SplitHostPort(r.RemoteAddr)
	body, err := io.ReadAll(r.Body)
	asked := fmt.Sprintf("%s %q %q %q %d %d\nhost %q, from %v, to %v, length %d %v, close %v, body %q %v, TLS %v, form %v\n", r.Method, r.RequestURI, r.URL,
		r.Proto, r.ProtoMajor, r.ProtoMinor, r.Host, host, local != nil && local.IP.IsLoopback(), r.ContentLength, r.TransferEncoding,
		r.Close, body, err, r.TLS != nil, r.URL.Query())
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		asked += fmt.Sprintf("%s: %q\n", name, r.Header[name])
	}
	h := w.Header()
	h.Set("X-Written", "before")
	control := http.NewResponseController(w)
	switch how := strings.Split(r.URL.Path, "/")[1]; how {
	case "short":
		_, _ = io.WriteString(w, asked)
	case "nothing":
	case "status":
		w.WriteHeader(http.StatusTeapot)
		w.WriteHeader(http.StatusOK) // superfluous
		h.Set("X-Written", "too late")
	case "odd-status":
		w.WriteHeader(599)
	case "no-content":
		h.Set("Content-Length", "5")
		w.WriteHeader(http.StatusNoContent)
		_, err := w.Write([]byte("hello"))
		h.Set("X-Error", fmt.Sprint(err))
	case "not-modified":
		h.Set("Content-Type", "text/html")
		h.Set("Etag", `"1"`)
		w.WriteHeader(http.StatusNotModified)
		_, _ = w.Write([]byte("hello"))
	case "long":
		_, _ = io.WriteString(w, strings.Repeat(asked, 100))
	case "edge-of-buffer":
		_, _ = w.Write(bytes.Repeat([]byte("x"), 2048))
	case "beyond-buffer":
		_, _ = w.Write(bytes.Repeat([]byte("x"), 2049))
	case "pieces":
		for range 1000 {
			_, _ = w.Write([]byte("a piece of seventeen"))
		}
	case "large-pieces":
		for i := range 10 {
			_, _ = w.Write(bytes.Repeat([]byte{byte('0' + i)}, 100_000))
			_, _ = w.Write([]byte("-"))
		}
	case "length":
		h.Set("Content-Length", "50000")
		_, _ = w.Write(bytes.Repeat([]byte("x"), 50000))
	case "too-short":
		h.Set("Content-Length", "50")
		_, _ = w.Write([]byte("hello"))
	case "too-long":
		h.Set("Content-Length", "5")
		_, err1 := w.Write([]byte("hello"))
		_, err2 := w.Write([]byte(" world"))
		if err1 != nil || !errors.Is(err2, http.ErrContentLength) {
			panic(http.ErrAbortHandler)
		}
	case "flush":
		_, _ = w.Write([]byte("hello"))
		w.(http.Flusher).Flush()
		_, _ = w.Write([]byte(" world"))
		if err := control.Flush(); err != nil {
			panic(err)
		}
		if err := control.Flush(); err != nil {
			panic(err)
		}
	case "flush-only":
		_ = control.Flush()
	case "close":
		h.Set("Connection", "close")
		_, _ = w.Write([]byte("hello"))
	case "identity":
		h.Set("Transfer-Encoding", "identity")
		_, _ = w.Write([]byte("hello"))
	case "chunked":
		h.Set("Transfer-Encoding", "chunked")
		_, _ = w.Write([]byte("hello"))
	case "coded":
		h.Set("Content-Encoding", "gzip")
		_, _ = w.Write([]byte("\x1f\x8b"))
	case "typed":
		h.Set("Content-Type", "video/mp4")
		_, _ = w.Write([]byte("<html>"))
	case "untyped":
		h["Content-Type"] = nil
		_, _ = w.Write([]byte("<html>"))
	case "sniffed":
		_, _ = w.Write([]byte("<html>"))
	case "dated":
		h.Set("Date", "Sat, 01 Jan 2000 00:00:00 GMT")
	case "undated":
		h["Date"] = nil
	case "odd-fields":
		h["X-Lines"] = []string{"a\r\nX-Split: b", " spaces ", ""}
		h["x-case"] = []string{"1"}
		h["X Y"] = []string{"not a name"}
		h.Add("Set-Cookie", "a=b")
		h.Add("Set-Cookie", "c=d")
	case "hints":
		h.Set("Link", "</a>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		h.Set("Link", "</b>; rel=preload")
		w.WriteHeader(http.StatusProcessing)
		h.Del("Link")
		_, _ = w.Write([]byte("hello"))
	case "copy":
		_, _ = io.Copy(w, strings.NewReader(strings.Repeat(asked, 1000)))
	case "content":
		http.ServeContent(w, r, "a.txt", time.Unix(1e9, 0), strings.NewReader(strings.Repeat("0123456789", 1000)))
	case "redirect":
		http.Redirect(w, r, "/elsewhere?a=b", http.StatusFound)
	case "error":
		http.Error(w, "no", http.StatusBadGateway)
	case "abort":
		_, _ = w.Write(bytes.Repeat([]byte("x"), 5))
		panic(http.ErrAbortHandler)
	case "abort-later":
		_, _ = w.Write(bytes.Repeat([]byte("x"), 50000))
		_ = control.Flush()
		panic(http.ErrAbortHandler)
	case "panic":
		panic("on purpose")
	case "deadlines":
		err := errors.Join(control.SetReadDeadline(time.Now().Add(time.Minute)), control.SetWriteDeadline(time.Now().Add(time.Minute)))
		fmt.Fprint(w, err)
	case "late":
		_ = control.SetWriteDeadline(time.Now().Add(-time.Second))
		_, _ = w.Write(bytes.Repeat([]byte("x"), 50000))
		if err := control.Flush(); !errors.Is(err, os.ErrDeadlineExceeded) {
			panic(err)
		}
	default:
		http.NotFound(w, r)
	}
}

var echoes = strings.Fields("short nothing status odd-status no-content not-modified long edge-of-buffer beyond-buffer pieces large-pieces " +
	"length too-short too-long flush flush-only close identity chunked coded typed untyped sniffed dated undated odd-fields hints " +
	"copy content redirect error abort abort-later panic deadlines late elsewhere")

// answers sends a request and, on the same connection, another one, and returns what came, with the fields of each
// head sorted and chunks joined.
func answers(t *testing.T, addr, request, method string) string {
	t.Helper()
	c := dial(t, addr)
	var all strings.Builder
	for range 2 {
		if _, err := io.WriteString(c, request); err != nil {
			return all.String() + "ended\n"
		}
		for status := 100; status < 200; {
			head, err := http.ReadResponse(c.answer, &http.Request{Method: method})
			if err != nil {
				return all.String() + "ended\n"
			}
			status = head.StatusCode
			body, err := io.ReadAll(head.Body)
			if date := head.Header.Get("Date"); date != "" && !strings.Contains(date, "2000") {
				head.Header.Set("Date", "now")
			}
			fmt.Fprintf(&all, "%s %s, length %d, coding %v, close %v\n", head.Proto, head.Status, head.ContentLength, head.TransferEncoding, head.Close)
			for _, name := range slices.Sorted(maps.Keys(head.Header)) {
				fmt.Fprintf(&all, "%s: %q\n", name, head.Header[name])
			}
			fmt.Fprintf(&all, "%q %v\n", body, err)
		}
		request, method = nextRequest, http.MethodGet
	}
	return all.String()
}

const nextRequest = "GET /short?next HTTP/1.1\r\nHost: next\r\n\r\n"

// A Handler behind the loop gets and gives what it does behind net/http.
func TestTheLoopAndNetHTTPAgree(t *testing.T) {
	reference := http.Server{Handler: http.HandlerFunc(echo), ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- reference.Serve(listener) }()
	e := start(t, func(e *edge) { e.Handler = http.HandlerFunc(echo) })
	// What is handed over goes to a server like the reference.
	over := &feed{listener, e.over, make(chan struct{})}
	general := http.Server{Handler: http.HandlerFunc(echo), ErrorLog: reference.ErrorLog}
	go func() { served <- general.Serve(over) }()
	t.Cleanup(func() {
		_ = reference.Close()
		_ = general.Close()
		<-served
		<-served
	})

	var requests []string
	for _, how := range echoes {
		requests = append(requests,
			"GET /"+how+" HTTP/1.1\r\nHost: a\r\n\r\n",
			"HEAD /"+how+"?x HTTP/1.1\r\nHost: a\r\n\r\n",
			"GET /"+how+" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
			"GET /"+how+" HTTP/1.0\r\n\r\n",
			"HEAD /"+how+" HTTP/1.0\r\nHost: a\r\n\r\n",
			"GET /"+how+"/%2f//..;a=b?c=d&e=%zz HTTP/1.1\r\nHost: A.example:8080\r\nUser-Agent: x\r\nAccept: a\r\nAccept: b\r\nCookie: c=d; e=f\r\ncookie:g\r\n\r\n")
	}
	for _, fields := range []string{
		"Pragma: no-cache", "Pragma: no-cache\r\nCache-Control: max-age=0", "Range: bytes=5-10", "Range: bytes=-10", "Range: bytes=20000-",
		"If-Modified-Since: Sun, 09 Sep 2001 01:46:40 GMT", "If-None-Match: *", "Content-Length: 0", "Connection: keep-alive", "Connection: x, CLOSE",
		"X: \xe9\xff", "X:", "X:   \t a \t ", "x-lower: 1\r\nX-Lower: 2", "Trailer: X", "TE: trailers", "Forwarded: for=1.2.3.4", "CMCD-Request: bl=1",
		"Upgrade-Insecure-Requests: 1", "Authorization: Basic eDp5", "Accept-Encoding: gzip", "Keep-Alive: 5", "Expires: 0",
	} {
		for _, target := range []string{"/content", "/short?a=b", "//short//x", "/short/\"<>\\^`{|}", "/copy"} {
			for _, method := range []string{"GET", "HEAD"} {
				requests = append(requests, method+" "+target+" HTTP/1.1\r\nHost: [::1]:80\r\n"+fields+"\r\n\r\n")
			}
		}
	}
	// Handed over.
	requests = append(requests,
		"POST /short HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
		"PUT /short HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
		"GET http://b/short HTTP/1.1\r\nHost: a\r\n\r\n",
		"OPTIONS /short HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET /short HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n",
		"POST /short HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
		"GET /short#x HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET /short/é HTTP/1.1\r\nHost: a\r\n\r\n",
		"DELETE /nothing HTTP/1.1\r\nHost: a\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET /short HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
		"GET /short HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
	)
	// Interim answers are not for clients of version 1.0 (RFC 9110 §15.2); net/http sends them.
	requests = slices.DeleteFunc(requests, func(r string) bool { return strings.Contains(r, "/hints HTTP/1.0") })
	if len(requests) < 400 {
		t.Errorf("only %d requests", len(requests))
	}
	for _, request := range requests {
		method, _, _ := strings.Cut(request, " ")
		want, got := answers(t, listener.Addr().String(), request, method), answers(t, e.addr, request, method)
		if got != want {
			t.Errorf("%q\ngot  %.3000s\nwant %.3000s", request, got, want)
		}
	}
	ways := e.ways(t)
	if ways["handled"] < 400 || ways["handed_over"] != 12 || ways["refused"] > 0 {
		t.Errorf("requests by way: %v", ways)
	}
	t.Logf("%d requests", len(requests))
}

// feed is a listener of connections that come back from ServeConn.
type feed struct {
	net.Listener
	over chan net.Conn
	done chan struct{}
}

func (f *feed) Accept() (net.Conn, error) {
	for {
		select {
		case c := <-f.over:
			if c != nil {
				return c, nil
			}
		case <-f.done:
			return nil, net.ErrClosed
		}
	}
}

func (f *feed) Close() error { close(f.done); return nil }

// A connection that is handed over is whole: what was read, what follows, and what is below.
func TestHandedOver(t *testing.T) {
	for _, secure := range []bool{false, true} {
		e := start(t, func(e *edge) {
			e.Hitter = &ready{head: []byte(okHead + "Content-Length: 2\r\n"), body: []byte("ok")}
			if secure {
				e.tls = certificate(t)
			}
		})
		dial := dial
		if secure {
			dial = dialTLS
		}
		c := dial(t, e.addr)
		const request = "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nsome"
		c.say(get("/") + "\r\n" + request)
		if _, body := c.hear("GET"); string(body) != "ok" {
			t.Errorf("got %q", body)
		}
		rest := e.ended(t)
		if rest == nil {
			t.Fatal("nothing came back")
		}
		c.say(" more")
		reader := bufio.NewReader(rest)
		r, err := http.ReadRequest(reader)
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(r.Body); string(body) != "some more" || err != nil {
			t.Errorf("%q, %v", body, err)
		}
		below := rest
		for {
			n, ok := below.(interface{ NetConn() net.Conn })
			if !ok {
				break
			}
			below = n.NetConn()
		}
		if _, ok := below.(*net.TCPConn); !ok {
			t.Errorf("below is a %T", below)
		}
		if _, ok := rest.(interface{ ConnectionState() any }); ok {
			t.Error("ConnectionState is another")
		}
		if _, ok := rest.(stater); ok != secure {
			t.Errorf("TLS %v: with its state %v", secure, ok)
		}
		if err := rest.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
			t.Error(err)
		}
		c.closed()
		_ = rest.Close()
	}
}

func TestRefusals(t *testing.T) {
	e := start(t, func(e *edge) {
		e.Config.HeaderBytes = 1000
		never := func() { t.Error("somebody was asked") }
		e.Hitter = hitter(func(*h1.Request, *h1.Answer) bool { never(); return false })
		e.Handler = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { never() })
	})
	refused := 0
	for _, test := range []struct {
		request string
		status  int
	}{
		{"GET / HTTP/1.1\nHost: a\n\n", 400},
		{"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400},
		{"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505},
		{"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501},
		{"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n" + get("/smuggled"), 400},
		{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 40\r\n\r\n" + get("/smuggled"), 400},
		{"GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("x", 1000) + "\r\n\r\n", 431},
		{"GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("x", 10_000), 431},
		{"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n", 400}, // TLS
		{"SSH-2.0-OpenSSH_9.6\r\n", 400},
	} {
		for _, step := range []int{len(test.request), 1} {
			c := dial(t, e.addr)
			for rest := test.request; rest != ""; rest = rest[min(step, len(rest)):] {
				if _, err := io.WriteString(c, rest[:min(step, len(rest))]); err != nil {
					break // refused before its end
				}
			}
			response, body := c.hear("GET")
			if response.StatusCode != test.status || !response.Close || !strings.Contains(string(body), fmt.Sprint(test.status)) {
				t.Errorf("%.60q: %v %q", test.request, response, body)
			}
			if c, ok := c.Conn.(*net.TCPConn); ok {
				_ = c.CloseWrite()
			}
			c.closed()
			if e.ended(t) != nil {
				t.Errorf("%.60q came back", test.request)
			}
			refused++
		}
	}
	if ways := e.ways(t); ways["refused"] != float64(refused) || len(ways) != 1 {
		t.Errorf("requests by way: %v", ways)
	}
}
