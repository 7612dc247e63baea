package h1_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/weir-stream/weir/internal/cdn/edge/h1"
)

// library hits with bodies of the size that the path names: /memory/N, /file/OFFSET/N and /mapped/OFFSET/N.
type library struct {
	content []byte
	file    *os.File
	results chan h1.Result
	pace    atomic.Int64 // bytes per second
}

func newLibrary(t testing.TB, size int) *library {
	l := &library{content: pattern(size), results: make(chan h1.Result, 1000)}
	path := filepath.Join(t.TempDir(), "segment")
	if err := os.WriteFile(path, l.content, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	l.file = f
	return l
}

func (l *library) Hit(r *h1.Request, a *h1.Answer) bool {
	parts := strings.Split(string(r.Path), "/")
	n := func(i int) int64 { v, _ := strconv.ParseInt(parts[i], 10, 64); return v }
	switch parts[1] {
	case "memory":
		a.Body = l.content[:n(2)]
	case "file", "mapped":
		a.FD, a.Offset, a.Length = l.file.Fd(), n(2), n(3)
		if parts[1] == "mapped" {
			a.Body = l.content[n(2) : n(2)+n(3)]
		}
	case "unchanged":
		a.Head, a.NoBody = []byte("HTTP/1.1 304 Not Modified\r\nEtag: \"1\"\r\n"), true
		a.Body = l.content[:100] // not to be sent
	default:
		return false
	}
	if a.Head == nil {
		a.Head = fmt.Appendf(nil, okHead+"Content-Length: %d\r\n", max(int64(len(a.Body)), a.Length))
	}
	a.Extra = append(a.Extra, "Age: 7\r\n"...)
	a.Pace = l.pace.Load()
	a.Done = func(x h1.Result) {
		if x.TCP != nil {
			info := *x.TCP
			x.TCP = &info
		}
		l.results <- x
	}
	return true
}

var hitSizes = []int{0, 1, 1 << 10, 16 << 10, 16<<10 + 1, 64 << 10, 128 << 10, 256 << 10, 1<<20 + 7}

func TestHits(t *testing.T) {
	l := newLibrary(t, 2<<20)
	for _, secure := range []bool{false, true} {
		e := start(t, func(e *edge) {
			e.Hitter = l
			if secure {
				e.tls = certificate(t)
			}
		})
		c := dial
		if secure {
			c = dialTLS
		}
		connection := c(t, e.addr)
		count := 0
		for _, size := range hitSizes {
			for _, path := range []string{fmt.Sprintf("/memory/%d", size), fmt.Sprintf("/mapped/4096/%d", size), fmt.Sprintf("/file/12345/%d", size)} {
				from := 0
				_, _ = fmt.Sscanf(path, "/mapped/%d", &from)
				_, _ = fmt.Sscanf(path, "/file/%d", &from)
				if secure && strings.HasPrefix(path, "/file") || size == 0 && from > 0 {
					continue
				}
				for _, method := range []string{http.MethodGet, http.MethodHead} {
					name := fmt.Sprintf("%s %s, TLS %v", method, path, secure)
					connection.say(method + " " + path + " HTTP/1.1\r\nHost: edge\r\n\r\n")
					response, body := connection.hear(method)
					count++
					want := l.content[from : from+size]
					if method == http.MethodHead {
						want = nil
					}
					same(t, name, body, want)
					if response.StatusCode != 200 || response.Header.Get("Age") != "7" || response.Close || response.ContentLength != int64(size) {
						t.Errorf("%s: %v", name, response)
					}
					if date, err := http.ParseTime(response.Header.Get("Date")); err != nil || time.Since(date).Abs() > time.Minute {
						t.Errorf("%s: Date %v, %v", name, date, err)
					}
					x := <-l.results
					if x.Err != nil || x.Bytes != int64(len(want)) || x.FirstByte.IsZero() || x.Last.Before(x.FirstByte) {
						t.Errorf("%s: %+v", name, x)
					}
					if sampled := x.TCP != nil; sampled != (runtime.GOOS == "linux" && len(want) >= 64<<10) {
						t.Errorf("%s: sampled %v", name, sampled)
					}
				}
			}
		}
		connection.say(get("/unchanged"))
		if response, body := connection.hear("GET"); response.StatusCode != 304 || len(body) > 0 {
			t.Errorf("%v %q", response, body)
		}
		connection.say("GET /memory/10 HTTP/1.1\r\nHost: edge\r\nConnection: close\r\n\r\n")
		if response, body := connection.hear("GET"); !response.Close || len(body) != 10 {
			t.Errorf("%v %q", response, body)
		}
		connection.closed()
		<-l.results
		<-l.results
		if c := e.ended(t); c != nil {
			t.Error("a connection came back")
		}
		if ways := e.ways(t); ways["hit"] != float64(count+2) || len(ways) != 1 {
			t.Errorf("requests by way: %v", ways)
		}
	}
}

// Whatever arrives together is answered one after the other, and nothing is lost between.
func TestPipelining(t *testing.T) {
	l := newLibrary(t, 1<<20)
	for _, secure := range []bool{false, true} {
		e := start(t, func(e *edge) {
			e.Hitter = l
			e.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.URL.Path) })
			if secure {
				e.tls = certificate(t)
			}
		})
		dial := dial
		if secure {
			dial = dialTLS
		}
		var all bytes.Buffer
		var want []string
		for i := range 300 {
			switch i % 4 {
			case 0:
				want = append(want, string(l.content[:i*100]))
				all.WriteString(get(fmt.Sprintf("/memory/%d", i*100)))
			case 1:
				want = append(want, string(l.content[i:i+300<<10]))
				all.WriteString(get(fmt.Sprintf("/mapped/%d/%d", i, 300<<10)))
			default:
				want = append(want, fmt.Sprintf("/handled/%d", i))
				all.WriteString("\r\n" + get(fmt.Sprintf("/handled/%d", i)))
			}
		}
		for _, step := range []int{all.Len(), 1000, 7} {
			connection := dial(t, e.addr)
			sent := make(chan struct{})
			go func() {
				defer close(sent)
				for b := all.Bytes(); len(b) > 0; {
					n := min(step, len(b))
					if _, err := connection.Write(b[:n]); err != nil {
						t.Error(err)
						return
					}
					b = b[n:]
				}
				if c, ok := connection.Conn.(*net.TCPConn); ok {
					_ = c.CloseWrite() // what was asked before is answered
				}
			}()
			for i, body := range want {
				_, got := connection.hear("GET")
				same(t, fmt.Sprintf("answer %d", i), got, []byte(body))
				if t.Failed() {
					break
				}
			}
			<-sent
			if !secure {
				connection.closed()
			}
		}
	}
}

// A small send buffer and a slow reader make every write a short one.
func TestShortWrites(t *testing.T) {
	l := newLibrary(t, 3<<20)
	e := start(t, func(e *edge) {
		e.Hitter = l
		e.below = func(c net.Conn) net.Conn {
			_ = c.(*net.TCPConn).SetWriteBuffer(4 << 10)
			return c
		}
		e.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(l.content[:1<<20])
			_, _ = w.Write(l.content[1<<20:])
		})
	})
	c, err := (&net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error {
		return raw.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4<<10) })
	}}).Dial("tcp", e.addr)
	if err != nil {
		t.Fatal(err)
	}
	connection := wrap(t, c)
	for _, test := range []struct {
		path     string
		from, to int
	}{
		{"/file/77777/2000001", 77777, 77777 + 2000001},
		{"/mapped/1/100000", 1, 100001},
		{"/memory/1500000", 0, 1500000},
		{"/handled", 0, 3 << 20},
		{"/file/3145727/1", 3145727, 3145728},
	} {
		connection.say(get(test.path))
		_, body := connection.hear("GET")
		same(t, test.path, body, l.content[test.from:test.to])
	}
}

func TestAFileThatIsTooShort(t *testing.T) {
	l := newLibrary(t, 1<<20)
	e := start(t, func(e *edge) { e.Hitter = l })
	connection := dial(t, e.addr).say(get("/file/1000000/200000"))
	response, err := http.ReadResponse(connection.answer, nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	if !errors.Is(err, io.ErrUnexpectedEOF) || len(body) != 48576 {
		t.Errorf("%d bytes, %v", len(body), err)
	}
	if x := <-l.results; x.Err == nil || x.Bytes != 48576 {
		t.Errorf("%+v", x)
	}
	e.ended(t)
}

// A file without its mapping is of no use to TLS; the client is not given an empty body.
func TestABodyThatIsMissing(t *testing.T) {
	l := newLibrary(t, 1<<20)
	e := start(t, func(e *edge) { e.Hitter, e.tls = l, certificate(t) })
	dialTLS(t, e.addr).say(get("/file/0/1000")).closed()
	if x := <-l.results; x.Err == nil || x.Bytes != 0 || !x.FirstByte.IsZero() {
		t.Errorf("%+v", x)
	}
}

// joining keeps what is written between Hold and Flush.
type joining struct {
	net.Conn
	mu     sync.Mutex
	held   []byte
	hold   bool
	writes int
}

func (j *joining) NetConn() net.Conn { return j.Conn }

func (j *joining) Hold() { j.mu.Lock(); j.hold = true; j.mu.Unlock() }

func (j *joining) Flush() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.hold = false
	if len(j.held) == 0 {
		return nil
	}
	j.writes++
	_, err := j.Conn.Write(j.held)
	j.held = nil
	return err
}

func (j *joining) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.hold {
		j.held = append(j.held, p...)
		return len(p), nil
	}
	j.writes++
	return j.Conn.Write(p)
}

func (j *joining) count() int { j.mu.Lock(); defer j.mu.Unlock(); return j.writes }

func TestTheRecordsOfAnAnswerAreJoined(t *testing.T) {
	l := newLibrary(t, 1<<20)
	joiners := make(chan *joining, 1)
	e := start(t, func(e *edge) {
		e.Hitter, e.tls = l, certificate(t)
		e.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(l.content[:100_000]) })
		e.below = func(c net.Conn) net.Conn {
			j := &joining{Conn: c}
			joiners <- j
			return j
		}
	})
	connection := dialTLS(t, e.addr)
	j := <-joiners
	for _, test := range []struct {
		path         string
		size, writes int
	}{{"/memory/1000", 1000, 1}, {"/mapped/0/500000", 500_000, 4}, {"/handled", 100_000, 2}} {
		_, body := connection.say(get("/memory/1")).hear("GET")
		same(t, "first", body, l.content[:1])
		before := j.count()
		_, body = connection.say(get(test.path)).hear("GET")
		same(t, test.path, body, l.content[:test.size])
		if n := j.count() - before; n > test.writes {
			t.Errorf("%s took %d writes, want %d", test.path, n, test.writes)
		}
	}
}

// slowJoin fails to send after a while what it has kept, and notes how long it might have taken for each 64 KB.
type slowJoin struct {
	*joining
	deadline time.Time
	least    time.Duration
	left     int // how much it still sends
}

func (j *slowJoin) SetWriteDeadline(t time.Time) error {
	j.deadline = t
	return j.Conn.SetWriteDeadline(t)
}

func (j *slowJoin) Flush() error {
	size := len(j.held)
	if each := time.Until(j.deadline) * (64 << 10) / time.Duration(max(size, 64<<10)); j.least == 0 || each < j.least {
		j.least = each
	}
	if j.left -= size; j.left < 0 {
		j.held, j.hold = nil, false
		return io.ErrClosedPipe
	}
	return j.joining.Flush()
}

// Of what is kept below TLS nothing has been written, and a client has the stall timeout for each 64 KB of it.
func TestWhatAJoinerKeepsIsNotWritten(t *testing.T) {
	l := newLibrary(t, 2<<20)
	joiners := make(chan *slowJoin, 1)
	e := start(t, func(e *edge) {
		e.Hitter, e.tls = l, certificate(t)
		e.below = func(c net.Conn) net.Conn {
			j := &slowJoin{joining: &joining{Conn: c}, left: 700_000}
			joiners <- j
			return j
		}
	})
	connection := dialTLS(t, e.addr)
	connection.say(get("/memory/1000000"))
	x := <-l.results
	if x.Err == nil || x.Bytes > 700_000 || x.Bytes < 500_000 {
		t.Errorf("%d bytes are said to be written (%v), want what was sent of 700,000 bytes with TLS", x.Bytes, x.Err)
	}
	stall := h1.DefaultConfig().StallTimeout
	if j := <-joiners; j.least < stall*9/10 {
		t.Errorf("a client has %v for 64 KB, want some %v", j.least, stall)
	}
}

func TestWhatTheHitterIsTold(t *testing.T) {
	type seen struct {
		method, target, path, query, host, agent, cookie, cmcd string
		close, head, http10, tls                               bool
		remote                                                 string
		fields                                                 []string
	}
	got := make(chan seen, 1)
	e := start(t, func(e *edge) {
		e.Hitter = hitter(func(r *h1.Request, a *h1.Answer) bool {
			s := seen{
				method: string(r.Method), target: string(r.Target), path: string(r.Path), query: string(r.Query), host: string(r.Host),
				agent: string(r.UserAgent), cookie: string(r.Cookie), cmcd: string(bytes.Join(r.CMCD[:], []byte("|"))),
				close: r.Close, head: r.Head, http10: r.HTTP10, tls: r.TLS, remote: r.Remote.String(),
			}
			for name, value := range r.Fields() {
				s.fields = append(s.fields, string(name)+"="+string(value))
			}
			got <- s
			a.Head, a.NoBody = []byte("HTTP/1.1 204 No Content\r\n"), true
			return true
		})
	})
	c := dial(t, e.addr)
	c.say("HEAD /a%20b/c.m4s?x=1?y HTTP/1.1\r\nHOST: Edge:80 \r\nuser-agent:\tp \r\nCookie: a=b\r\nCMCD-Object: o\r\n" +
		"CMCD-Request: r\r\nCMCD-Session: s\r\nCMCD-Status: t\r\nX-Other:\r\n\r\n")
	c.hear("HEAD")
	want := seen{
		"HEAD", "/a%20b/c.m4s?x=1?y", "/a%20b/c.m4s", "x=1?y", "Edge:80", "p", "a=b", "o|r|s|t", false, true, false, false, c.LocalAddr().String(),
		[]string{"HOST=Edge:80", "user-agent=p", "Cookie=a=b", "CMCD-Object=o", "CMCD-Request=r", "CMCD-Session=s", "CMCD-Status=t", "X-Other="},
	}
	if s := <-got; fmt.Sprint(s) != fmt.Sprint(want) {
		t.Errorf("got  %+v\nwant %+v", s, want)
	}
	c.say("GET / HTTP/1.0\r\n\r\n")
	if s := <-got; !s.http10 || !s.close || s.host != "" {
		t.Errorf("%+v", s)
	}
	c.hear("GET")
	c.closed()
}

func TestTheKernelTellsAndPaces(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("Linux only")
	}
	l := newLibrary(t, 2<<20)
	l.pace.Store(20 << 20)
	e := start(t, func(e *edge) { e.Hitter, e.Config.TCPInfoEvery = l, 2 })
	c := dial(t, e.addr)
	begin := time.Now()
	_, body := c.say(get("/file/0/2000000")).hear("GET")
	took := time.Since(begin)
	same(t, "paced", body, l.content[:2000000])
	// The first burst goes out at once.
	if took < 30*time.Millisecond {
		t.Errorf("2 MB took %v at 20 MB/s", took)
	}
	x := <-l.results
	if x.TCP == nil || x.TCP.RTT <= 0 || x.TCP.MinRTT <= 0 || x.TCP.BytesSent <= 0 || x.TCP.Window <= 0 {
		t.Errorf("%+v", x.TCP)
	}
	c.say(get("/memory/10")).hear("GET")
	if x := <-l.results; x.TCP == nil || x.TCP.BytesSent > 2000000 {
		t.Errorf("the second of two is to be sampled, and to tell of itself: %+v", x.TCP)
	}
	c.say(get("/memory/10")).hear("GET")
	if x := <-l.results; x.TCP != nil {
		t.Errorf("the third is not to be sampled: %+v", x.TCP)
	}
	l.pace.Store(0)
	begin = time.Now()
	c.say(get("/file/0/2000000")).hear("GET")
	if fast := time.Since(begin); fast > took {
		t.Errorf("without pacing it takes %v, with it %v", fast, took)
	}
}
